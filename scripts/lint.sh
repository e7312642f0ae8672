#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Style (clang-format), common mistakes (clang-tidy, cppcheck, clang's warnings), and what no tool checks for us.
set -u
cd "$(dirname "$0")/.."
fail=0
flags="-std=gnu11 -Iinclude -Isrc -D_GNU_SOURCE -DSKEP_VERSION=\"0\""
# uapi.h stands as the kernel's BTF gives it.
mapfile -t sources < <(git ls-files '*.c' '*.h' | grep -v -e '\.bpf\.c$' -e '^src/bpf/uapi\.h$')
mapfile -t units < <(git ls-files 'src/*.c' 'cmd/*.c' 'tools/*.c' 'apps/*.c' | grep -v '\.bpf\.c$')

echo "clang-format: ${#sources[@]} files"
clang-format --dry-run -Werror "${sources[@]}" || fail=1

echo "clang-tidy: ${#units[@]} files"
printf '%s\n' "${units[@]}" | xargs -P "$(nproc)" -n 4 -I{} clang-tidy --quiet {} -- $flags 2>/dev/null |
	grep -E 'warning:|error:' && fail=1

echo "cppcheck"
cppcheck -q -j "$(nproc)" --std=c11 --inline-suppr --error-exitcode=1 --enable=warning,portability \
	--suppressions-list=scripts/cppcheck.txt --library=scripts/cppcheck.cfg -Iinclude -Isrc -D__x86_64__ -D__linux__ -D_GNU_SOURCE \
	"${units[@]}" || fail=1

# What gcc lets pass; and clang calls functions that gcc does not (bcmp), which must be there.
echo "the other compiler"
make --no-print-directory -j"$(nproc)" CC=clang BUILD=build/clang WERROR=-Werror all objs || fail=1

for f in $(git ls-files '*.c' '*.h' '*.sh'); do
	head -n 2 "$f" | grep -q SPDX-License-Identifier || { echo "$f: no SPDX line"; fail=1; }
done
exit $fail
