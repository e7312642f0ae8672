# SPDX-License-Identifier: Apache-2.0
#
#   make            the command, the libraries, the manual pages
#   make run        the main job, on real packets (installs what it misses)
#   make test       all tests (installs what it misses)
#   make bench | fuzz | judge | faults | lint | compilers | install | clean
#   make SAN=address,undefined | SAN=thread    a sanitizer build, in a folder of its own
#
# Sources are found by folder: a new file needs no line here.

# V=1 shows the commands.
V     ?=
MAKEFLAGS += $(if $(V),,-s)
JOBS  := $(shell nproc)

SAN   ?=
BUILD ?= build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))
comma := ,
CC    ?= cc
AR    ?= ar
PREFIX ?= /usr/local
DESTDIR ?=
VERSION := $(shell sed -n 's/^\#define SKEP_VERSION_[A-Z]* //p' include/skep.h | paste -sd.)
SOMAJOR := $(firstword $(subst ., ,$(VERSION)))

OPT      ?= -O2 -g
WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter
CPPFLAGS += -Iinclude -Isrc -D_GNU_SOURCE -DSKEP_VERSION='"$(VERSION)"'
CFLAGS   += -std=gnu11 $(OPT) $(WARN) $(WERROR) -fPIC -fvisibility=hidden -fno-strict-aliasing -pthread
ifneq ($(SAN),)
CFLAGS   += -fsanitize=$(SAN) -fno-omit-frame-pointer $(if $(findstring undefined,$(SAN)),$(if $(findstring clang,$(CC)),-fno-sanitize=function) -fno-sanitize-recover=undefined)
LDFLAGS  += -fsanitize=$(SAN)
endif
LDFLAGS  += -pthread

# Archives are appended to (q), because parts may have files of one name.
# The core needs libc only. The parts need libraries, which the command links.
CORE_DIRS := os isa btf verifier exec exec/jit map helper prog bpf
PART_DIRS := net client trace
CORE_SRC := $(wildcard $(CORE_DIRS:%=src/%/*.c))
PART_SRC := $(wildcard $(PART_DIRS:%=src/%/*.c))
CMD_SRC  := $(wildcard cmd/*.c)
# BPF objects that are built into the command.
TOOLS_BPF := $(patsubst %.bpf.c,$(BUILD)/obj/%.bpf.embed.o,$(wildcard tools/*.bpf.c))
# In the clients of skep exec: with what it shares, and without a sanitizer, which those lack.
PRELOAD_SRC := $(wildcard src/preload/*.c) src/client/standin.c
PRELOAD_OBJ := $(PRELOAD_SRC:%.c=$(BUILD)/obj/preload/%.o)
TEST_SRC := $(wildcard test/test_*.c)
TEST_LIB := $(filter-out $(TEST_SRC) test/conformance_plugin.c test/rooted.c,$(wildcard test/*.c))
BENCH_SRC := $(wildcard bench/bench_*.c)
obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

# libbpf as an archive: --wrap does not reach into a shared library.
LIBS_PARTS := -l:libbpf.a -lelf -lz -lpcap -lseccomp $(if $(filter x86_64,$(shell uname -m)),-lZydis)
# libbpf reaches the system through these; client/libbpf.c leads them to an instance.
# The command alone: disassembling machine code.
LIBS_CMD := -lm $(if $(filter x86_64,$(shell uname -m)),-lZydis)
WRAP := syscall mmap64 fopen64 open64 faccessat statfs64 mkdir unlink uname epoll_ctl epoll_wait close ioctl
WRAP_FLAGS := $(WRAP:%=-Wl,--wrap=%)

TESTS   := $(patsubst test/%.c,$(BUILD)/test/%,$(TEST_SRC))
BENCHES := $(patsubst bench/%.c,$(BUILD)/bench/%,$(BENCH_SRC))

# BPF programs, by the newest clang that is there.
CLANG ?= $(notdir $(firstword $(wildcard $(foreach v,19 16 15 14,/usr/bin/clang-$(v))) clang))
BPF_CFLAGS := -O2 -g -Wall -target bpf -mcpu=v3 $(if $(filter x86_64,$(shell uname -m)),-D__TARGET_ARCH_x86 -D__x86_64__,-D__TARGET_ARCH_arm64 -D__aarch64__) -I/usr/include/$(shell uname -m)-linux-gnu
# Applications: each folder makes a command of its name, its BPF object embedded.
APPS := $(patsubst apps/%/,%,$(dir $(wildcard apps/*/*.bpf.c)))
APP_BIN := $(APPS:%=$(BUILD)/%) $(BUILD)/flood

.PHONY: all objs tests benches run test bench fuzz judge faults lint compilers install clean deps
all: $(BUILD)/libskep.a $(BUILD)/libskep.so $(BUILD)/skep $(BUILD)/libskep-preload.so $(APP_BIN) $(BUILD)/skep.pc
objs: $(call obj,$(CORE_SRC) $(PART_SRC) $(CMD_SRC) $(TEST_SRC) $(TEST_LIB) $(BENCH_SRC)) $(PRELOAD_OBJ)
tests: $(TESTS) $(BUILD)/test/rooted
benches: $(BENCHES)

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# It reads these as text.
$(BUILD)/obj/src/btf/vmlinux.o: src/bpf/uapi.h $(wildcard src/btf/vmlinux_*.h)

$(BUILD)/libskep-core.a: $(call obj,$(CORE_SRC))
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) qcs $@ $^

# For embedding: one object that offers the API only, so that no name of ours meets the embedder's.
$(BUILD)/libskep.a: $(BUILD)/libskep-core.a
	$(CC) -r -nostdlib -Wl,--whole-archive $< -o $(BUILD)/obj/skep.o
	objcopy --localize-hidden $(BUILD)/obj/skep.o
	@rm -f $@
	$(AR) qcs $@ $(BUILD)/obj/skep.o

# The agent in traced processes: parts of the core once more, without libc, thread-local storage
# and vector registers. What it has no use for and the core refers to (skep_*) answers -EOPNOTSUPP.
AGENT_SRC := $(filter-out src/helper/task.c src/helper/task_view.c src/helper/syncookie.c src/exec/timer.c,$(wildcard $(patsubst %,src/%/*.c,exec exec/jit map helper isa))) \
	src/os/participant.c $(wildcard src/trace/agent/*.c)
AGENT_OBJ := $(AGENT_SRC:%.c=$(BUILD)/obj/agent/%.o)
AGENT_CFLAGS := $(filter-out -fsanitize=% -fno-sanitize% -fno-omit-frame-pointer -pthread,$(CFLAGS)) -DSKEP_AGENT \
	-fno-stack-protector -mgeneral-regs-only -mfsgsbase -fcf-protection=none -ffunction-sections -fdata-sections
# Else the compiler makes malloc and memset of calloc a call of calloc.
$(BUILD)/obj/agent/src/trace/agent/libc.o: AGENT_CFLAGS += -fno-builtin
$(BUILD)/obj/agent/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(AGENT_CFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/skep-agent.so: $(AGENT_OBJ)
	ld -r $^ -o $(BUILD)/obj/agent/all.o
	nm -u $(BUILD)/obj/agent/all.o | sed -n 's/^ *U \(skep_.*\)/.globl \1\n.hidden \1\n\1:/p' > $(BUILD)/obj/agent/absent.s
	printf 'mov $$-95, %%rax\nret\n.section .note.GNU-stack,"",@progbits\n' >> $(BUILD)/obj/agent/absent.s
	$(CC) -c $(BUILD)/obj/agent/absent.s -o $(BUILD)/obj/agent/absent.o
	$(CC) -shared -nostdlib -Wl,-Bsymbolic,--gc-sections,--no-undefined,-z,norelro,--hash-style=sysv,--build-id=none $^ $(BUILD)/obj/agent/absent.o -lgcc -o $@
# In the command and in tests, as bytes.
AGENT_BLOB := $(if $(filter x86_64,$(shell uname -m)),$(BUILD)/obj/agent/blob.o)
$(BUILD)/obj/agent/blob.o: $(BUILD)/skep-agent.so
	printf '.section .rodata\n.balign 16\n.globl skep_agent_blob\n.globl skep_agent_blob_end\nskep_agent_blob:\n.incbin "$<"\nskep_agent_blob_end:\n.byte 0\n.section .note.GNU-stack,"",@progbits\n' | $(CC) -x assembler -c - -o $@

$(BUILD)/libskep-parts.a: $(call obj,$(PART_SRC)) $(AGENT_BLOB)
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) qcs $@ $^

$(BUILD)/libskep.so: $(call obj,$(CORE_SRC))
	$(CC) $(LDFLAGS) -shared -Wl,-soname,libskep.so.$(SOMAJOR) $^ -o $@.$(VERSION) -lm
	ln -sf libskep.so.$(VERSION) $(BUILD)/libskep.so.$(SOMAJOR)
	ln -sf libskep.so.$(SOMAJOR) $@

$(BUILD)/skep: $(call obj,$(CMD_SRC)) $(TOOLS_BPF) $(BUILD)/libskep-parts.a $(BUILD)/libskep-core.a
	$(CC) $(LDFLAGS) $(WRAP_FLAGS) $^ $(LIBS_PARTS) $(LIBS_CMD) -o $@

$(BUILD)/obj/preload/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(filter-out -fsanitize=% -fno-sanitize%,$(CFLAGS)) -MMD -MP -c $< -o $@

# The maps of the core, of the build without sanitizers.
PRELOAD_CORE := $(if $(SAN),build/libskep-core.a,$(BUILD)/libskep-core.a)
ifneq ($(SAN),)
$(PRELOAD_CORE): $(CORE_SRC)
	$(MAKE) SAN= BUILD=build $@
endif
$(BUILD)/libskep-preload.so: $(PRELOAD_OBJ) $(PRELOAD_CORE)
	$(CC) $(filter-out -fsanitize=%,$(LDFLAGS)) -shared -Wl,-z,now,-z,defs,--gc-sections,--exclude-libs,ALL $^ -o $@

$(BUILD)/bpf/%.bpf.o: %.bpf.c
	@mkdir -p $(@D)
	$(CLANG) $(BPF_CFLAGS) -MMD -MP -c $< -o $@

# A BPF object as a part of a program: skep_bpf_object_NAME .. skep_bpf_object_NAME_end.
$(BUILD)/obj/%.bpf.embed.o: $(BUILD)/bpf/%.bpf.o
	@mkdir -p $(@D)
	printf '.section .rodata\n.balign 8\n.globl skep_bpf_object_$(notdir $*)\n.globl skep_bpf_object_$(notdir $*)_end\nskep_bpf_object_$(notdir $*):\n.incbin "$<"\nskep_bpf_object_$(notdir $*)_end:\n.byte 0\n.section .note.GNU-stack,"",@progbits\n' | $(CC) -x assembler -c - -o $@

define app_rule
$(BUILD)/$(1): $(BUILD)/obj/apps/$(1)/$(1).o $(BUILD)/obj/apps/$(1)/$(1).bpf.embed.o $(BUILD)/libskep-parts.a $(BUILD)/libskep-core.a
	$$(CC) $$(LDFLAGS) $$(WRAP_FLAGS) $$^ $$(LIBS_PARTS) -o $$@
endef
$(foreach a,$(APPS),$(eval $(call app_rule,$(a))))

$(BUILD)/flood: $(BUILD)/obj/apps/guard/flood.o
	$(CC) $(LDFLAGS) $^ -o $@

# test_client_* use libbpf on an instance; the others need only what they name.
$(BUILD)/test/test_client_%: $(BUILD)/obj/test/test_client_%.o $(call obj,$(TEST_LIB)) $(BUILD)/libskep-parts.a $(BUILD)/libskep-core.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $(WRAP_FLAGS) $^ -lcmocka $(LIBS_PARTS) -o $@
$(BUILD)/test/test_client_objects: $(BUILD)/obj/test/bpf/objects.bpf.embed.o
$(BUILD)/test/%: $(BUILD)/obj/test/%.o $(call obj,$(TEST_LIB)) $(BUILD)/libskep-parts.a $(BUILD)/libskep-core.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $^ -lcmocka $(LIBS_PARTS) -lm -o $@
# By the calling convention of the bpf_conformance suite; test_conformance feeds it our own.
$(BUILD)/test/conformance_plugin: $(call obj,test/conformance_plugin.c test/asm.c test/kern.c) $(BUILD)/libskep-core.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $^ -lelf -lm -o $@
$(BUILD)/test/test_conformance: | $(BUILD)/test/conformance_plugin
# For test/run.sh.
$(BUILD)/test/rooted: $(call obj,test/rooted.c) $(BUILD)/libskep-parts.a $(BUILD)/libskep-core.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $^ $(LIBS_PARTS) -lm -o $@
# These drive the command.
$(filter $(BUILD)/test/test_cmd%,$(TESTS)): | $(BUILD)/skep $(BUILD)/libskep-preload.so
# Clients as others write them: nothing of skep in them, and the shared libbpf.
CLIENTS := $(patsubst test/clients/%.c,$(BUILD)/test/clients/%,$(wildcard test/clients/*.c))
$(BUILD)/test/clients/%: test/clients/%.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE $(filter-out -fsanitize=% -fno-sanitize%,$(CFLAGS)) -pthread $< -lbpf -o $@
$(BUILD)/test/test_cmd_preload: | $(CLIENTS)
$(BUILD)/test/test_clients $(BUILD)/test/test_clients_rights $(BUILD)/test/test_clients_view $(BUILD)/test/test_clients_net: | $(CLIENTS) $(BUILD)/skep $(BUILD)/libskep-preload.so $(BUILD)/bpf/test/clients/bpf/client.bpf.o $(BUILD)/bpf/test/clients/bpf/iters.bpf.o
# Programs to be traced, linked in every way.
VICTIMS := $(addprefix $(BUILD)/test/victims/,pie nopie static staticpie cet)
VICTIM_FLAGS_pie := -pie -fPIE
VICTIM_FLAGS_nopie := -no-pie -fno-pie
VICTIM_FLAGS_static := -static
VICTIM_FLAGS_staticpie := -static-pie -fPIE
VICTIM_FLAGS_cet := -fcf-protection=full
$(VICTIMS): $(BUILD)/test/victims/%: test/victims/victim.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -O2 -g $(VICTIM_FLAGS_$*) -pthread $< -o $@
$(BUILD)/test/victims/usdt: test/victims/usdt.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -O2 -g $< -o $@
$(BUILD)/test/test_cmd_usdt: | $(BUILD)/test/victims/usdt
$(BUILD)/test/test_cmd_trace $(BUILD)/test/test_cmd_probe $(BUILD)/test/test_cmd_tools: | $(VICTIMS)
$(BUILD)/test/victims/hard: test/victims/hard.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -O2 -g -pthread $< -o $@
$(BUILD)/test/victims/cxx: test/victims/cxx.cc
	@mkdir -p $(@D)
	g++ -O2 -g -pthread $< -o $@
$(BUILD)/test/test_trace_hard: | $(BUILD)/test/victims/hard $(BUILD)/test/victims/cxx
$(BUILD)/test/test_exports: | $(BUILD)/libskep.a $(BUILD)/libskep.so
# The programs of bench_exec: for the machine, for skep and for the kernel.
BPF_CLANG ?= clang
BENCH_PROGS := $(patsubst bench/progs/%.c,$(BUILD)/bench/progs/%,$(wildcard bench/progs/*.c))
$(BUILD)/bench/progs/%.native.o: bench/progs/%.c bench/progs/bench.h
	@mkdir -p $(@D)
	$(BPF_CLANG) -O2 -Dprog=native_$* -c $< -o $@
$(BUILD)/bench/progs/%.user.bin: bench/progs/%.c bench/progs/bench.h
	@mkdir -p $(@D)
	$(BPF_CLANG) -O2 -target bpf -mcpu=v3 -c $< -o $@.o
	llvm-objcopy -O binary --only-section=bpf $@.o $@
$(BUILD)/bench/progs/%.kernel.bin: bench/progs/%.c bench/progs/bench.h
	@mkdir -p $(@D)
	$(BPF_CLANG) -O2 -DKERNEL -target bpf -mcpu=v3 -c $< -o $@.o
	llvm-objcopy -O binary --only-section=bpf $@.o $@
$(BUILD)/bench/bench_exec: $(call obj,bench/bench_exec.c test/kern.c) $(BENCH_PROGS:%=%.native.o) \
		$(BUILD)/libskep-core.a | $(BENCH_PROGS:%=%.user.bin) $(BENCH_PROGS:%=%.kernel.bin)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $^ -lm -o $@
$(BUILD)/bench/bench_map $(BUILD)/bench/bench_trace: $(call obj,test/asm.c)
$(BUILD)/bench/bench_client: | $(CLIENTS) $(BUILD)/skep $(BUILD)/libskep-preload.so
$(BUILD)/bench/%: $(BUILD)/obj/bench/%.o $(call obj,test/kern.c) $(BUILD)/libskep-parts.a $(BUILD)/libskep-core.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $(WRAP_FLAGS) $^ $(LIBS_PARTS) -lm -o $@

MAN := $(patsubst man/%,$(BUILD)/man/%,$(wildcard man/*.1))
all: $(MAN)
$(BUILD)/man/%.1: man/%.1 include/skep.h
	@mkdir -p $(@D)
	sed 's/@VERSION@/$(VERSION)/' $< > $@

$(BUILD)/skep.pc: Makefile include/skep.h
	@mkdir -p $(@D)
	printf 'prefix=%s\nlibdir=$${prefix}/lib\nincludedir=$${prefix}/include\n\nName: skep\nDescription: eBPF in user space\nVersion: %s\nLibs: -L$${libdir} -lskep\nLibs.private: -pthread\nCflags: -I$${includedir}\n' $(PREFIX) $(VERSION) > $@

# Installing needs root or sudo, and only when something is missing.
deps:
	@scripts/deps.sh $(DEPS)

test: DEPS := test
test: deps
	@$(MAKE) --no-print-directory -j$(JOBS) $(if $(SAN),,WERROR=-Werror) all tests
	@test/run.sh $(BUILD) $(TESTS)

run: DEPS := build run
run: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@apps/guard/demo.sh $(BUILD)

# Verification: of what make judge gathered, else of what the installed packages carry and of our own.
CORPUS = $(or $(SKEP_JUDGE),/tmp/skep-judge)/corpus
bench: DEPS := bench
bench: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all benches
	@for b in $(BENCHES); do $$b || exit 1; done
	@scripts/corpus.py bench $(BUILD)/skep $(if $(wildcard $(CORPUS)/*.o),$(CORPUS),$(BUILD)/corpus)

# Each target for FUZZ_SECONDS; what it finds stays in build/fuzz, to start from the next time.
FUZZ_SECONDS ?= 60
FUZZERS := $(patsubst fuzz/%.c,%,$(wildcard fuzz/fuzz_*.c))
fuzz: DEPS := fuzz
fuzz: deps
	@$(MAKE) --no-print-directory -j$(JOBS) CC=clang SAN=fuzzer-no-link,address,undefined fuzzers
	@mkdir -p build/fuzz/fuzz_elf && for e in hello protocols syn_count sampler; do \
		clang -O2 -g -target bpf -idirafter /usr/include/$$(uname -m)-linux-gnu \
			-c examples/$$e.bpf.c -o build/fuzz/fuzz_elf/$$e.o || exit 1; \
	done
	@for f in $(FUZZERS); do \
		mkdir -p build/fuzz/$$f && echo "$$f, $(FUZZ_SECONDS) s" && \
		build/san-fuzzer-no-link-address-undefined/fuzz/$$f -max_total_time=$(FUZZ_SECONDS) \
			-print_final_stats=1 -artifact_prefix=build/fuzz/$$f- build/fuzz/$$f \
			$$(ls -d fuzz/seeds/$$f 2>/dev/null) \
			2>build/fuzz/$$f.log || { tail -40 build/fuzz/$$f.log; exit 1; }; \
		grep -E 'number_of_executed|new_units' build/fuzz/$$f.log; \
	done
.PHONY: fuzzers
fuzzers: $(FUZZERS:%=$(BUILD)/fuzz/%)
$(BUILD)/fuzz/%: $(BUILD)/obj/fuzz/%.o $(BUILD)/libskep-parts.a $(BUILD)/libskep-core.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -fsanitize=fuzzer $(WRAP_FLAGS) $^ $(LIBS_PARTS) -lm -o $@

# The kernel's own tests as judges, on skep and on the running kernel.
judge: DEPS := build judge
judge: deps
	@$(MAKE) --no-print-directory -j$(JOBS) all $(BUILD)/test/test_conformance
	@scripts/judge.sh $(BUILD) $(SUITES)

# Does the harness find what is wrong? Plants faults in a copy of the tree, one on at a time.
FAULTS := $(BUILD)/faults
faults: DEPS := build test
faults: deps
	@scripts/plant.py test/faults/list $(FAULTS) >$(FAULTS).txt || { cat $(FAULTS).txt; exit 1; }
	@$(MAKE) --no-print-directory -C $(FAULTS) -j$(JOBS) WARN= build/test/test_scalar build/test/test_soundness build/test/test_exec
	@test/faults/run.sh $(FAULTS)/build

# No compiler that is there has anything to warn of. It makes no code, so it takes a minute for all.
COMPILERS ?= gcc clang-14 clang-16 clang-19
compilers:
	for cc in $(COMPILERS); do command -v $$cc > /dev/null || continue; echo $$cc; \
	printf '%s\n' $(CORE_SRC) $(PART_SRC) $(CMD_SRC) $(TEST_SRC) $(TEST_LIB) $(BENCH_SRC) $(PRELOAD_SRC) $(wildcard test/victims/*.c) | \
	xargs -P $(JOBS) -n 8 $$cc $(CPPFLAGS) $(filter-out -Wmissing-prototypes,$(CFLAGS)) -Werror -fsyntax-only || exit 1; done

lint: DEPS := lint
lint: deps
	@scripts/lint.sh

# PREFIX is where it will be found, DESTDIR where it is put for now (for packages).
D = $(DESTDIR)$(PREFIX)
install: all
	install -d $(D)/bin $(D)/lib/skep $(D)/lib/pkgconfig $(D)/include $(D)/share/man/man1 $(D)/share/bash-completion/completions
	install $(BUILD)/skep $(D)/bin/
	install -m 644 $(BUILD)/libskep.a $(BUILD)/libskep.so.$(VERSION) $(D)/lib/
	install -m 644 $(BUILD)/libskep-preload.so $(D)/lib/skep/
	ln -sf libskep.so.$(VERSION) $(D)/lib/libskep.so.$(SOMAJOR)
	ln -sf libskep.so.$(SOMAJOR) $(D)/lib/libskep.so
	install -m 644 include/skep.h $(D)/include/
	sed 's|^prefix=.*|prefix=$(PREFIX)|' $(BUILD)/skep.pc > $(D)/lib/pkgconfig/skep.pc
	install -m 644 $(MAN) $(D)/share/man/man1/
	install -m 644 completion/skep.bash $(D)/share/bash-completion/completions/skep

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
