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
#include <linux/btf.h>

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

/* ---- Timers ---- */

/* 1 int, 2 struct bpf_timer, 3 struct value { int count; int key; struct bpf_timer timer; } */
static const struct {
	struct btf_header hdr;
	uint32_t types[4 + 6 + 12];
	char str[48];
} value_btf = {
	.hdr = {.magic = BTF_MAGIC,
		.version = 1,
		.hdr_len = sizeof(struct btf_header),
		.type_len = 22 * 4,
		.str_off = 22 * 4,
		.str_len = 48},
	.types = {1,  BTF_KIND_INT << 24,
		  4,  1u << 24 | 32, /* int */
		  5,  BTF_KIND_STRUCT << 24 | 1,
		  16, 15,
		  1,  0, /* bpf_timer */
		  22, BTF_KIND_STRUCT << 24 | 3,
		  24, 28,
		  1,  0,
		  34, 1,
		  32, 38,
		  2,  64},
	.str = "\0int\0bpf_timer\0opaque\0value\0count\0key\0timer",
};

static int timer_map(struct side *s, uint32_t type)
{
	union bpf_attr a = {.btf = (uintptr_t)&value_btf, .btf_size = sizeof(value_btf)};
	long btf = side_bpf(s, BPF_BTF_LOAD, &a), fd;

	if (btf < 0)
		return (int)btf;
	a = (union bpf_attr){.map_type = type,
			     .key_size = 4,
			     .value_size = 24,
			     .max_entries = 4,
			     .btf_fd = (uint32_t)btf,
			     .btf_key_type_id = 1,
			     .btf_value_type_id = 3};
	fd = side_bpf(s, BPF_MAP_CREATE, &a);
	close((int)btf);
	return (int)fd;
}

struct value {
	uint32_t count, key;
	uint64_t timer[2];
};

static long map_op(struct side *s, int cmd, int fd, uint32_t key, struct value *v)
{
	union bpf_attr a = {.map_fd = (uint32_t)fd,
			    .key = (uintptr_t)&key,
			    .value = (uintptr_t)v,
			    .flags = BPF_ANY};

	return side_bpf(s, cmd, &a);
}

static uint32_t run_timer(struct side *s, int map, const char *text, const char *callback)
{
	struct bpf_insn insns[256];
	uint8_t packet[64] = {0};
	char all[4096];
	uint32_t ret = 0;
	int n, start, fd = -1;
	long err;

	/* r6: the timer of key 1, r8: sums up results. */
	snprintf(all, sizeof(all),
		 "r8 = 0; *(u32 *)(r10 -4) = 1; r2 = r10; r2 += -4; r1 = map 0 ll; call "
		 "map_lookup_elem; if "
		 "r0 != 0 goto g; r0 = 77; exit; g: r7 = r0; r6 = r0; r6 += 8; %s r0 = r8; exit;"
		 "f:",
		 text);
	snprintf(strchr(all, 0), sizeof(all) - strlen(all), "%s", callback);
	n = vasm(all, &map, 1, insns, 256);
	for (start = n; start > 0; start--) {
		const struct bpf_insn *in = &insns[start - 1];

		if (in->code == (BPF_LD | BPF_DW) && in->src_reg == BPF_PSEUDO_FUNC)
			break;
	}
	assert_true(n > 0 && start > 0);
	start += insns[start - 1].imm;
	err = side_load_callback(s, BPF_PROG_TYPE_SCHED_CLS, insns, (uint32_t)n, (uint32_t)start,
				 &fd);
	if (err)
		fail_msg("%s: %s\n%s", text, strerror((int)-err), s->log);
	err = side_run_packet(s, fd, packet, sizeof(packet), &ret);
	assert_int_equal(err, 0);
	close(fd);
	return ret;
}

#define ADD       "r8 *= 1000; r8 -= r0;"
#define INIT      "r1 = r6; r2 = map 0 ll; r3 = 1; call timer_init;" ADD
#define SET       "r1 = r6; r2 = func f ll; call timer_set_callback;" ADD
#define START(ns) "r1 = r6; r2 = " ns "; r3 = 0; call timer_start;" ADD
#define CANCEL    "r1 = r6; call timer_cancel;" ADD
/* Counts, notes the key, and starts again until it counted five times. */
#define COUNTS                                                                                     \
	"r4 = *(u32 *)(r2 +0); *(u32 *)(r3 +4) = r4; r4 = *(u32 *)(r3 +0); r4 += 1; *(u32 *)(r3 "  \
	"+0) = r4; "                                                                               \
	"if r4 > 4 goto d; r1 = r3; r1 += 8; r2 = 1000000; r3 = 0; call timer_start; d: r0 = 0; "  \
	"exit"

static const struct {
	const char *name, *text, *callback;
	uint32_t count; /* that it comes to */
} timers[] = {
	{"counts to five", INIT SET START("1000000"), COUNTS, 5},
	{"at once", INIT SET START("0"), COUNTS, 5},
	{"initialised twice", INIT INIT SET, COUNTS, 0},
	{"used without", SET START("1") CANCEL, COUNTS, 0},
	{"started without a callback", INIT START("1") CANCEL SET, COUNTS, 0},
	{"cancelled", INIT SET START("50000000") CANCEL CANCEL START("1"), COUNTS, 0},
	{"started twice", INIT SET START("5000000") START("2000000"), COUNTS, 5},
	{"bad clock", "r1 = r6; r2 = map 0 ll; r3 = 5; call timer_init;" ADD SET, COUNTS, 0},
	{"bad flags", INIT SET "r1 = r6; r2 = 1; r3 = 4; call timer_start;" ADD, COUNTS, 0},
	{"absolute, past", INIT SET "r1 = r6; r2 = 1; r3 = 1; call timer_start;" ADD, COUNTS, 5},
	{"absolute, soon",
	 INIT SET
	 "call ktime_get_ns; r1 = r6; r2 = r0; r2 += 3000000; r3 = 1; call timer_start;" ADD,
	 COUNTS, 5},
	{"cancelled by its callback", INIT SET START("1000"),
	 "*(u32 *)(r3 +4) = 9; r6 = r3; r1 = r3; r1 += 8; call timer_cancel; r0 = -r0; *(u32 *)(r6 "
	 "+0) = r0; "
	 "r0 = 0; exit",
	 EDEADLK},
};

/* What a value says once it stays the same for a while. */
static struct value settled(struct side *s, int map, uint32_t want)
{
	struct value v = {0};

	for (unsigned i = 0; i < 400; i++) {
		if (map_op(s, BPF_MAP_LOOKUP_ELEM, map, 1, &v))
			return v;
		if (want && v.count == want)
			break;
		if (!want && i == 40)
			break;
		usleep(2000);
	}
	usleep(5000);
	map_op(s, BPF_MAP_LOOKUP_ELEM, map, 1, &v);
	return v;
}

static void test_timers(void **state)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_HASH,
					 BPF_MAP_TYPE_LRU_HASH};
	struct place p[N_WHERE];
	unsigned n = 0;

	(void)state;
	for (unsigned w = 0; w < N_WHERE; w++)
		open_place(&p[w], w);
	for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]); i++)
		for (unsigned k = 0; k < 3; k++) {
			uint32_t first = 0;

			for (unsigned w = p[KERNEL].on ? KERNEL : COMPILED; w < N_WHERE; w++) {
				int map = timer_map(&p[w].side, types[k]);
				struct value v = {0};
				uint32_t ret;

				assert_true(map >= 0);
				assert_int_equal(
					map_op(&p[w].side, BPF_MAP_UPDATE_ELEM, map, 1, &v), 0);
				ret = run_timer(&p[w].side, map, timers[i].text,
						timers[i].callback);
				if (w == KERNEL || !p[KERNEL].on)
					first = ret;
				v = settled(&p[w].side, map, timers[i].count);
				if (ret != first || v.count != timers[i].count ||
				    v.key != (timers[i].count == 5 ? 1
					      : timers[i].count    ? 9
								   : 0))
					fail_msg("%s, %s: result %d (kernel %d), count %u, key %u",
						 timers[i].name, where[w], (int)ret, (int)first,
						 v.count, v.key);
				close(map);
				n++;
			}
		}
	for (unsigned w = 0; w < N_WHERE; w++)
		close_place(&p[w]);
	print_message("ran: dyn_timers %u\n", n);
}

/* A value that goes, or is written anew, takes its timer along; so does the map's last handle,
 * and the instance's end waits for nobody. */
static void test_timers_end(void **state)
{
	struct place p[N_WHERE];

	(void)state;
	for (unsigned w = 0; w < N_WHERE; w++)
		open_place(&p[w], w);
	for (unsigned w = p[KERNEL].on ? KERNEL : COMPILED; w < N_WHERE; w++)
		for (unsigned how = 0; how < 3; how++) {
			struct side *s = &p[w].side;
			int map = timer_map(s, how == 1 ? BPF_MAP_TYPE_ARRAY : BPF_MAP_TYPE_HASH);
			struct value v = {0}, got = {0};

			assert_true(map >= 0);
			assert_int_equal(map_op(s, BPF_MAP_UPDATE_ELEM, map, 1, &v), 0);
			assert_int_equal(run_timer(s, map, INIT SET START("20000000"), COUNTS), 0);
			if (how == 2) {
				close(map);
				continue; /* nobody looks any more; nothing may fall over */
			}
			if (how == 0)
				assert_int_equal(map_op(s, BPF_MAP_DELETE_ELEM, map, 1, NULL), 0);
			assert_int_equal(map_op(s, BPF_MAP_UPDATE_ELEM, map, 1, &v), 0);
			/* Nothing fires, and the new value's timer is not made yet. */
			got = settled(s, map, 0);
			assert_int_equal(got.count, 0);
			assert_int_equal(run_timer(s, map, INIT SET START("1000"), COUNTS), 0);
			assert_int_equal(settled(s, map, 5).count, 5);
			/* One that is still to fire when everything ends. */
			assert_int_equal(run_timer(s, map, SET START("1000000000"), COUNTS), 0);
			close(map);
		}
	for (unsigned w = 0; w < N_WHERE; w++)
		close_place(&p[w]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runs),
		cmocka_unit_test(test_timers),
		cmocka_unit_test(test_timers_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
