/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Run time of what the verifier tracks in loops, stack slots and map values: the same
 * programs on the kernel, compiled, interpreted, and interpreted with every access tested.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "bpf/instance.h"
#include "side.h"
#include "vasm.h"

#define NMAPS 2

struct run {
	const char *name;
	uint32_t type;
	const char *text;
	bool timed; /* ends by the clock: the result is some number, the same is not promised */
};

static const struct run runs[] = {
	{"may_goto over one", BPF_PROG_TYPE_SCHED_CLS, "r0 = 7; may_goto +1; r0 = 8; exit", false},
	{"may_goto counts to 1000", BPF_PROG_TYPE_SCHED_CLS,
	 "r0 = 0; l: may_goto e; r0 += 1; if r0 > 999 goto e; goto l; e: exit", false},
	{"may_goto counts to 256000", BPF_PROG_TYPE_SCHED_CLS,
	 "r2 = *(u32 *)(r1 +0); r2 *= 4000; r0 = 0; l: may_goto e; r0 += 1; if r0 > r2 goto e; "
	 "goto l;"
	 "e: exit",
	 false},
	{"all registers live through a refill", BPF_PROG_TYPE_SCHED_CLS,
	 "r9 = *(u32 *)(r1 +0); r9 *= 1100; r0 = 0; r1 = 1; r2 = 2; r3 = 3; r4 = 4; r5 = 5; r6 = "
	 "6; r7 = 7; r8 = 8;"
	 "l: may_goto e; r0 += 1; if r0 < r9 goto l;"
	 "r0 += r1; r0 += r2; r0 += r3; r0 += r4; r0 += r5; r0 *= r6; r0 += r7; r0 *= r8; r0 += r9;"
	 "e: exit",
	 false},
	{"may_goto for ever", BPF_PROG_TYPE_SCHED_CLS,
	 "r6 = 0; l: may_goto e; r6 += 1; goto l; e: r0 = r6; exit", true},
	{"may_goto in a function, called twice", BPF_PROG_TYPE_SCHED_CLS,
	 "r7 = *(u32 *)(r1 +0); r1 = r7; call :f; r6 = r0; r1 = r7; call :f; r0 += r6; exit;"
	 "f: r0 = 0; l: may_goto e; r0 += 1; if r0 > r1 goto e; goto l; e: exit",
	 false},
/* ---- Dynptrs: of 64 bytes of map 0, and of records of map 1 ---- */
#define FROM_MEM                                                                                   \
	"r1 = value 0 +0 ll; r2 = 64; r3 = 0; r4 = r10; r4 += -16; call dynptr_from_mem; r6 = r0;"
#define RESERVE                                                                                    \
	"r1 = map 1 ll; r2 = 16; r3 = 0; r4 = r10; r4 += -16; call ringbuf_reserve_dynptr; r6 = "  \
	"r0;"
#define READ(off, len, flags)                                                                      \
	"r1 = r10; r1 += -40; r2 = " len "; r3 = r10; r3 += -16; r4 = " off "; r5 = " flags        \
	"; call dynptr_read;"
#define WRITE(off, len, flags)                                                                     \
	"r1 = r10; r1 += -16; r2 = " off "; r3 = r10; r3 += -40; r4 = " len "; r5 = " flags        \
	"; call dynptr_write;"
#define DATA(off, len) "r1 = r10; r1 += -16; r2 = " off "; r3 = " len "; call dynptr_data;"
#define SUBMIT         "r1 = r10; r1 += -16; r2 = 0; call ringbuf_submit_dynptr;"
#define CLS            BPF_PROG_TYPE_SCHED_CLS
	{"dynptr of a map value", CLS, FROM_MEM "r0 = r6; exit", false},
	{"dynptr with flags", CLS,
	 "r1 = value 0 +0 ll; r2 = 64; r3 = 1; r4 = r10; r4 += -16; call dynptr_from_mem; r6 = "
	 "r0;" READ("0", "1", "0") "r0 += r6; exit",
	 false},
	{"write and read", CLS,
	 "*(u64 *)(r10 -40) = 77;" FROM_MEM
		 WRITE("8", "8", "0") "r6 = r0; *(u64 *)(r10 -40) = 0;" READ(
			 "8", "8", "0") "r0 += r6; r1 = *(u64 *)(r10 -40); r0 += r1; exit",
	 false},
	{"write and slice", CLS,
	 "*(u64 *)(r10 -40) = 78;" FROM_MEM WRITE("56", "8", "0")
		 DATA("56", "8") "if r0 == 0 goto e; r0 = *(u64 *)(r0 +0); e: exit",
	 false},
	{"read at the end", CLS, FROM_MEM READ("64", "0", "0") "exit", false},
	{"read one too far", CLS, FROM_MEM READ("57", "8", "0") "exit", false},
	{"read far away", CLS, FROM_MEM READ("-1", "8", "0") "exit", false},
	{"read at 2^32", CLS,
	 FROM_MEM
	 "r1 = r10; r1 += -40; r2 = 8; r3 = r10; r3 += -16; r4 = 0x100000000 ll; r5 = 0; call "
	 "dynptr_read; exit",
	 false},
	{"read with flags", CLS, FROM_MEM READ("0", "8", "1") "exit", false},
	{"write one too far", CLS, "*(u64 *)(r10 -40) = 7;" FROM_MEM WRITE("57", "8", "0") "exit",
	 false},
	{"write with flags", CLS, "*(u64 *)(r10 -40) = 7;" FROM_MEM WRITE("0", "8", "1") "exit",
	 false},
	{"slice one too far", CLS, FROM_MEM DATA("57", "8") "if r0 == 0 goto e; r0 = 5; e: exit",
	 false},
	{"slice of no bytes", CLS, FROM_MEM DATA("64", "0") "if r0 == 0 goto e; r0 = 5; e: exit",
	 false},
	{"record", CLS,
	 "*(u64 *)(r10 -40) = 9;" RESERVE WRITE("8", "8", "0") "r7 = r0;" SUBMIT
							       "r0 = r6; r0 += r7; exit",
	 false},
	{"record with flags", CLS,
	 "r1 = map 1 ll; r2 = 16; r3 = 1; r4 = r10; r4 += -16; call ringbuf_reserve_dynptr; r6 = "
	 "r0;" SUBMIT "r0 = r6; exit",
	 false},
	{"record that does not fit", CLS,
	 "r1 = map 1 ll; r2 = 5000; r3 = 0; r4 = r10; r4 += -16; call ringbuf_reserve_dynptr; r6 = "
	 "r0;" READ("0", "1", "0") "r7 = r0;" SUBMIT "r0 = r6; r0 += r7; exit",
	 false},
	{"record larger than any dynptr", CLS,
	 "r1 = map 1 ll; r2 = 0x1000000; r3 = 0; r4 = r10; r4 += -16; call ringbuf_reserve_dynptr; "
	 "r6 "
	 "= r0;" SUBMIT "r0 = r6; exit",
	 false},
	{"dynptr as a record is reserved in a loop", CLS,
	 "r8 = 0; r9 = 0; l:" RESERVE "r9 += r6;" SUBMIT
	 "r8 += 1; if r8 < 300 goto l; r0 = r9; exit",
	 false},
};

/* ---- Where they run ---- */

enum { KERNEL, COMPILED, INTERPRETED, CHECKED, N_WHERE };
static const char *const where[] = {"kernel", "compiled", "interpreted", "checked"};

struct place {
	struct side side;
	int maps[NMAPS];
	bool on;
};

static void open_place(struct place *p, unsigned w)
{
	static const uint32_t flags[] = {
		[INTERPRETED] = SKEP_F_INTERPRET, [CHECKED] = SKEP_F_CHECKED, [COMPILED] = 0};
	struct skep_opts opts = {.sz = sizeof(opts), .flags = flags[w]};

	memset(p, 0, sizeof(*p));
	if (w != KERNEL)
		assert_int_equal(skep_open(&p->side.skep, &opts), 0);
	p->maps[0] = side_map(&p->side, BPF_MAP_TYPE_ARRAY, 4, 64, 1);
	p->maps[1] = side_map(&p->side, BPF_MAP_TYPE_RINGBUF, 0, 0, 4096);
	p->on = p->maps[0] >= 0;
	assert_true(p->on || w == KERNEL);
}

static void close_place(struct place *p)
{
	for (unsigned i = 0; i < NMAPS && p->on; i++)
		close(p->maps[i]);
	skep_close(p->side.skep);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Without a log first: that of a long walk is larger than any buffer. */
static int load(struct place *p, const struct run *r)
{
	struct bpf_insn insns[256];
	int n = vasm(r->text, p->maps, NMAPS, insns, 256), fd = -1;
	union bpf_attr a = {
		.prog_type = r->type,
		.insns = (uintptr_t)insns,
		.insn_cnt = (uint32_t)n,
		.license = (uintptr_t) "GPL",
	};

	if (n < 0)
		fail_msg("%s does not assemble", r->name);
	fd = (int)side_bpf(&p->side, BPF_PROG_LOAD, &a);
	if (fd < 0) {
		side_load(&p->side, r->type, insns, (uint32_t)n, "GPL", NULL);
		fail_msg("%s: %s\n%s", r->name, strerror(-fd), p->side.log);
	}
	return fd;
}

static uint32_t run_one(struct place *p, const struct run *r, uint64_t *ms)
{
	uint8_t packet[64] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 0};
	uint32_t ret = 0;
	int fd = load(p, r);
	long err;

	*ms = now_ms();
	err = side_run_packet(&p->side, fd, packet, sizeof(packet), &ret);
	*ms = now_ms() - *ms;
	close(fd);
	if (err)
		fail_msg("%s: run: %s", r->name, strerror((int)-err));
	return ret;
}

static void test_runs(void **state)
{
	struct place p[N_WHERE];
	unsigned n = 0;

	(void)state;
	for (unsigned w = 0; w < N_WHERE; w++)
		open_place(&p[w], w);
	if (!p[KERNEL].on)
		print_message("bpf(2) is not permitted: nothing to compare with\n");
	for (const struct run *r = runs; r < runs + sizeof(runs) / sizeof(runs[0]); r++) {
		uint64_t ms[N_WHERE];
		uint32_t ret[N_WHERE];

		for (unsigned w = p[KERNEL].on ? KERNEL : COMPILED; w < N_WHERE; w++) {
			ret[w] = run_one(&p[w], r, &ms[w]);
			if (r->timed && (ms[w] < 240 || !ret[w]))
				fail_msg("%s: %u after %u ms, %s", r->name, ret[w], (unsigned)ms[w],
					 where[w]);
			if (!r->timed && w > COMPILED && ret[w] != ret[COMPILED])
				fail_msg("%s: %u, %s: %u", r->name, ret[COMPILED], where[w],
					 ret[w]);
		}
		if (p[KERNEL].on && !r->timed && ret[COMPILED] != ret[KERNEL])
			fail_msg("%s: %u, kernel: %u", r->name, ret[COMPILED], ret[KERNEL]);
		n++;
	}
	for (unsigned w = 0; w < N_WHERE; w++)
		close_place(&p[w]);
	print_message("ran: dyn %u\n", n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
