#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Copies the tree and plants faults in the copy, each switched on by SKEP_FAULT=NAME.

    plant.py LIST DEST

LIST has one fault per paragraph:

    NAME  FILE  what is wrong with it
    = text right before it, where it does not stand there only once otherwise
    - text that stands exactly once in FILE (several lines: each with its own "- ")
    + what stands there instead while the fault is on

An expression becomes `(skep_fault(N) ? (NEW) : (OLD))`. A paragraph whose old text ends in ';' or '}'
holds statements: `if (skep_fault(N)) { NEW } else { OLD }`. Text that is not there any more is an
error: the list follows the code.
"""
import os
import re
import shutil
import sys

FAULTS_C = """/* SPDX-License-Identifier: Apache-2.0 */
/* Made by scripts/plant.py: which of the planted faults is on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"

int skep_fault_on;

static const char *const names[] = {%s};

__attribute__((constructor)) static void choose(void)
{
	const char *want = getenv("SKEP_FAULT");

	if (want && !strcmp(want, "none"))
		return;
	for (unsigned i = 0; want && i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(want, names[i]))
			skep_fault_on = (int)i + 1;
	if (want && !skep_fault_on) {
		fprintf(stderr, "no fault is called '%%s'\\n", want);
		exit(99);
	}
}
"""


def parse(path):
    faults, now = [], None
    for number, line in enumerate(open(path), 1):
        line = line.rstrip("\n")
        if not line.strip() or line.startswith("#"):
            now = None
        elif now is None:
            name, file, what = line.split(None, 2)
            now = {"name": name, "file": file, "what": what, "=": [], "-": [], "+": [], "line": number}
            faults.append(now)
        elif line[0] in "=-+":
            now[line[0]].append(line[2:])
        else:
            sys.exit(f"{path}:{number}: none of = - +")
    return faults


def pattern(lines):
    """White space apart, and what continues a macro's lines."""
    return r"[\s\\]+".join(re.escape(w) for line in lines for w in line.split() if w != "\\")


def find(text, before, old):
    """Where old stands in text, behind before; None unless exactly once."""
    full = (pattern(before) + r"[\s\\]*" if before else "") + "(" + pattern(old) + ")"
    hits = [m.span(1) for m in re.finditer(full, text)]
    return hits[0] if len(hits) == 1 else None


def main(list_path, dest):
    os.makedirs(dest, exist_ok=True)
    faults, bad = parse(list_path), 0
    for part in ("src", "include", "test", "Makefile"):
        if os.path.isdir(part):
            shutil.copytree(part, os.path.join(dest, part), dirs_exist_ok=True)
        else:
            shutil.copy2(part, os.path.join(dest, part))
    texts = {}
    for f in faults:
        texts.setdefault(f["file"], open(f["file"]).read())
    edits = {}
    for n, f in enumerate(faults, 1):
        span = find(texts[f["file"]], f["="], f["-"])
        if not span:
            print(f"{list_path}:{f['line']}: {f['name']}: the text is not in {f['file']} exactly once")
            bad += 1
            continue
        old = texts[f["file"]][slice(*span)]
        new = " ".join(f["+"])
        # A ranges' macro goes on over lines: what stands inside must not end one.
        flat = old.replace("\\\n", " ").replace("\n", " ")
        if old.rstrip().endswith((";", "}")):
            made = f"{{ if (skep_fault({n})) {{ {new} }} else {{ {flat} }} }}"
        else:
            made = f"(skep_fault({n}) ? ({new}) : ({flat}))"
        edits.setdefault(f["file"], []).append((span, made))
    if bad:
        sys.exit(1)
    for file, list_ in edits.items():
        text = texts[file]
        list_.sort(reverse=True)
        for (low, _), (high, _) in zip(list_[1:], list_):
            if low[1] > high[0]:
                sys.exit(f"{file}: two faults overlap")
        for (start, end), made in list_:
            text = text[:start] + made + text[end:]
        with open(os.path.join(dest, file), "w") as out:
            out.write('#include "fault.h"\n' + text)
    with open(os.path.join(dest, "src/fault.h"), "w") as out:
        out.write("/* SPDX-License-Identifier: Apache-2.0 */\n#pragma once\nextern int skep_fault_on;\n"
                  "#define skep_fault(n) __builtin_expect(skep_fault_on == (n), 0)\n")
    with open(os.path.join(dest, "src/os/fault.c"), "w") as out:
        out.write(FAULTS_C % ", ".join(f'"{f["name"]}"' for f in faults))
    for f in faults:
        print(f["name"], f["file"], f["what"])


main(*sys.argv[1:])
