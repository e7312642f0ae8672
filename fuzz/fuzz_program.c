// SPDX-License-Identifier: Apache-2.0
/*
 * Programs. What the verifier accepts runs in the checked mode, where an access that was not
 * proved is a fault, and compiled, on a packet between pages that fault.
 *
 * Unlike fuzz_bytecode, most inputs are choices from what programs are usually made of, so that
 * many are accepted.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bpf/uapi.h"
#include "fuzz.h"
#include "skep.h"

#define MAX_INSNS 256
#define PAGE      4096

static struct skep *runtimes[2]; /* checked interpreter, compiler */
static int maps[2][4];
static uint8_t *pages;

static void on_text(void *arg, const char *text, size_t len)
{
	if (len > 18 && !memcmp(text, "skep: checked mode", 18)) {
		fwrite(text, 1, len, stderr);
		abort();
	}
}

static void setup(void)
{
	static const uint32_t shape[4][5] = {
		{BPF_MAP_TYPE_ARRAY, 4, 16, 4, 0},
		{BPF_MAP_TYPE_HASH, 8, 24, 8, 0},
		{BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0},
		{BPF_MAP_TYPE_LPM_TRIE, 8, 8, 8, BPF_F_NO_PREALLOC},
	};

	for (int r = 0; r < 2; r++) {
		struct skep_opts opts = {.sz = sizeof(opts),
					 .cpus = 2,
					 .flags = r ? 0 : SKEP_F_CHECKED,
					 .printk = on_text};

		if (skep_open(&runtimes[r], &opts))
			abort();
		for (int i = 0; i < 4; i++) {
			union bpf_attr attr = {.map_type = shape[i][0],
					       .key_size = shape[i][1],
					       .value_size = shape[i][2],
					       .max_entries = shape[i][3],
					       .map_flags = shape[i][4]};

			maps[r][i] =
				(int)skep_bpf(runtimes[r], BPF_MAP_CREATE, &attr, sizeof(attr));
			if (maps[r][i] < 0)
				abort();
		}
	}
	pages = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED || mprotect(pages + PAGE, PAGE, PROT_READ | PROT_WRITE))
		abort();
}

static struct bpf_insn insn(uint8_t code, unsigned dst, unsigned src, int off, int imm)
{
	return (struct bpf_insn){.code = code,
				 .dst_reg = dst & 15,
				 .src_reg = src & 15,
				 .off = (int16_t)off,
				 .imm = imm};
}

/* One or two instructions out of a few bytes. */
static uint32_t choose(struct bpf_insn *out, const uint8_t **data, size_t *size)
{
	static const uint8_t alu[] = {BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_OR,  BPF_AND, BPF_LSH,
				      BPF_RSH, BPF_NEG, BPF_MOD, BPF_XOR, BPF_MOV, BPF_ARSH};
	static const uint8_t jmp[] = {BPF_JEQ,  BPF_JGT, BPF_JGE, BPF_JSET, BPF_JNE, BPF_JSGT,
				      BPF_JSGE, BPF_JLT, BPF_JLE, BPF_JSLT, BPF_JSLE};
	static const uint8_t width[] = {BPF_B, BPF_H, BPF_W, BPF_DW};
	static const int32_t helper[] = {
		BPF_FUNC_map_lookup_elem, BPF_FUNC_map_update_elem, BPF_FUNC_map_delete_elem,
		BPF_FUNC_ringbuf_reserve, BPF_FUNC_ringbuf_submit,  BPF_FUNC_ringbuf_discard,
		BPF_FUNC_get_prandom_u32, BPF_FUNC_ktime_get_ns,    BPF_FUNC_xdp_adjust_head,
		BPF_FUNC_xdp_adjust_tail, BPF_FUNC_csum_diff,       BPF_FUNC_probe_read_kernel,
		BPF_FUNC_skb_load_bytes,  BPF_FUNC_xdp_load_bytes,  BPF_FUNC_snprintf};
	unsigned what = (unsigned)fuzz_take(data, size, 1),
		 regs = (unsigned)fuzz_take(data, size, 1);
	unsigned dst = (regs & 15) % 11, src = (regs >> 4) % 11;
	int off = (int8_t)fuzz_take(data, size, 1);
	int imm = what & 0x80 ? (int)fuzz_take(data, size, 4) : (int8_t)fuzz_take(data, size, 1);
	unsigned pick = (unsigned)imm & 0xff;

	switch (what & 15) {
	case 0:
	case 1:
		*out = insn(BPF_ALU64 | alu[pick % sizeof(alu)] | BPF_X, dst, src, 0, 0);
		return 1;
	case 2:
	case 3:
		*out = insn((what & 16 ? BPF_ALU : BPF_ALU64) | alu[(unsigned)off % sizeof(alu)] |
				    BPF_K,
			    dst, 0, 0, imm);
		return 1;
	case 4:
		*out = insn((what & 16 ? BPF_JMP32 : BPF_JMP) | jmp[pick % sizeof(jmp)] | BPF_X,
			    dst, src, off & 7, 0);
		return 1;
	case 5:
		*out = insn((what & 16 ? BPF_JMP32 : BPF_JMP) |
				    jmp[((unsigned)off >> 3) % sizeof(jmp)] | BPF_K,
			    dst, 0, off & 7, imm);
		return 1;
	case 6:
	case 7:
		*out = insn(BPF_LDX | BPF_MEM | width[pick % 4], dst, src, off, 0);
		return 1;
	case 8:
		*out = insn(BPF_STX | BPF_MEM | width[pick % 4], dst, src, off, 0);
		return 1;
	case 9:
		*out = insn(BPF_ST | BPF_MEM | width[what >> 4 & 3], dst, 0, off, imm);
		return 1;
	case 10:
		*out = insn(BPF_STX | BPF_ATOMIC | (what & 16 ? BPF_W : BPF_DW), dst, src, off,
			    (int)(pick & 0xf1));
		return 1;
	case 11:
		*out = insn(BPF_JMP | BPF_CALL, 0, 0, 0, helper[pick % (sizeof(helper) / 4)]);
		return 1;
	case 12:
		/* The map's number; setup's descriptors are put in later. */
		out[0] = insn(BPF_LD | BPF_DW | BPF_IMM, dst,
			      what & 16 ? BPF_PSEUDO_MAP_VALUE : BPF_PSEUDO_MAP_FD, 0, pick & 3);
		out[1] = insn(0, 0, 0, 0, what & 16 ? off & 15 : 0);
		return 2;
	case 13:
		/* A frame pointer, the usual argument. */
		out[0] = insn(BPF_ALU64 | BPF_MOV | BPF_X, dst, 10, 0, 0);
		out[1] = insn(BPF_ALU64 | BPF_ADD | BPF_K, dst, 0, 0, -8 * (1 + (pick & 7)));
		return 2;
	case 14:
		*out = insn(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, imm);
		return 1;
	default:
		*out = insn(BPF_JMP | (what & 16 ? BPF_EXIT : BPF_JA), 0, 0,
			    what & 16 ? 0 : (off & 7), 0);
		return 1;
	}
}

static void run(int r, uint32_t type, const struct bpf_insn *from, uint32_t n)
{
	struct bpf_insn insns[MAX_INSNS + 4];
	union bpf_attr attr = {.prog_type = type,
			       .insns = (uintptr_t)insns,
			       .insn_cnt = n,
			       .license = (uintptr_t) "GPL"};
	struct skep_runner *runner;
	long fd;

	memcpy(insns, from, n * sizeof(insns[0]));
	for (uint32_t i = 0; i + 1 < n; i++)
		if (insns[i].code == (BPF_LD | BPF_DW | BPF_IMM) &&
		    (insns[i].src_reg == BPF_PSEUDO_MAP_FD ||
		     insns[i].src_reg == BPF_PSEUDO_MAP_VALUE))
			insns[i].imm = maps[r][insns[i].imm & 3];
	fd = skep_bpf(runtimes[r], BPF_PROG_LOAD, &attr, sizeof(attr));
	if (fd < 0)
		return;
	if (!skep_runner_open(&runner, runtimes[r], (int)fd)) {
		/* Once at the start of the page, once at its end. */
		for (int end = 0; end < 2; end++) {
			struct skep_packet p = {.buf = pages + PAGE + (end ? PAGE - 512 : 0),
						.cap = 512,
						.off = end ? 512 - 64 : 0,
						.len = 64,
						.ifindex = 1};

			memset(p.buf, 0x45, 512);
			if (skep_run_packets(runner, &p, 1) != 1 || p.off > p.cap ||
			    p.len > p.cap - p.off)
				abort();
		}
		skep_runner_close(runner);
	}
	close((int)fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t types[] = {BPF_PROG_TYPE_XDP, BPF_PROG_TYPE_SCHED_CLS,
					 BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_CGROUP_SKB};
	struct bpf_insn insns[MAX_INSNS + 4];
	uint32_t n = 0, type;
	unsigned how;

	if (!pages)
		setup();
	how = (unsigned)fuzz_take(&data, &size, 1);
	type = types[how >> 4 & 3];
	if (how & 1) {
		n = (uint32_t)(size / sizeof(insns[0]));
		n = n > MAX_INSNS ? MAX_INSNS : n;
		memcpy(insns, data, n * sizeof(insns[0]));
	} else {
		while (size && n < MAX_INSNS)
			n += choose(insns + n, &data, &size);
		insns[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1);
		insns[n++] = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	}
	if (!n)
		return 0;
	for (int r = 0; r < 2; r++)
		run(r, type, insns, n);
	return 0;
}
