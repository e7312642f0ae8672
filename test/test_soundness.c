/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is what the verifier accepts safe? Random programs are verified; those that it
 * accepts run in the checked interpreter on random input: no access may be
 * refused there, and before each instruction the registers must be as one of the
 * states that the verifier walked there says. Beside that, verdicts are compared
 * with the running kernel's.
 *
 * SKEP_TEST_SCALE=N runs N times as long, SKEP_TEST_SEED=N begins at seed N.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/btf.h>

#include "bpf/instance.h"
#include "bpf/uapi.h"
#include "prog/run.h"
#include "prog/type.h"
#include "scale.h"
#include "skep.h"
#include "verifier/state.h"
#include "rawbtf.h"
#include "verifier_gen.h"

#define MAX_STATES 30000
#define MAX_SLOTS  200000
#define ROOM       512

/* A slot of the stack of which something is known. */
struct seen_slot {
	struct vslot s;
	uint8_t at; /* its number */
};

struct seen {
	struct vreg reg[V_REGS];
	uint16_t live;
	uint32_t frame;
	int32_t next;
	uint32_t first_slot, nslots;
};

struct soundness {
	struct skep *skep;
	struct gen gen;
	struct skep_verify_watch watch;
	struct seen *seen;
	uint32_t nseen;
	struct seen_slot *slots;
	uint32_t nslots;
	int32_t head[GEN_MAX];
	bool overflow;
	struct skep_xdp xdp;
	uint32_t last;
	uint64_t rng, runs, checks, slot_checks, faults;
	char why[256];
};

static uint64_t next(struct soundness *t)
{
	t->rng ^= t->rng << 13;
	t->rng ^= t->rng >> 7;
	t->rng ^= t->rng << 17;
	return t->rng * 0x2545f4914f6cdd1dull;
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- What the verifier saw ---- */

static bool says_something(const struct vslot *s)
{
	for (unsigned k = 0; k < 8; k++)
		if (s->kind[k] == V_SPILL || s->kind[k] == V_ZERO)
			return true;
	return false;
}

static void keep_state(void *arg, const struct venv *env, const struct vstate *st, uint32_t insn)
{
	const struct vstack *stack = st->frame[st->curframe]->stack;
	struct soundness *t = arg;
	struct seen *s;

	if (t->nseen == MAX_STATES) {
		t->overflow = true;
		return;
	}
	s = &t->seen[t->nseen];
	memcpy(s->reg, st->frame[st->curframe]->reg, sizeof(s->reg));
	s->live = env->aux[insn].live;
	s->frame = st->curframe;
	s->first_slot = t->nslots;
	s->nslots = 0;
	for (uint32_t i = 0; stack && i < stack->n; i++) {
		if (!says_something(&stack->slot[i]))
			continue;
		if (t->nslots == MAX_SLOTS) {
			t->overflow = true;
			return;
		}
		t->slots[t->nslots].s = stack->slot[i];
		t->slots[t->nslots++].at = (uint8_t)i;
		s->nslots++;
	}
	s->next = t->head[insn];
	t->head[insn] = (int32_t)t->nseen++;
}

static bool in_packet(const struct vreg *r, const uint8_t *base, const uint8_t *end, uint64_t v)
{
	uint64_t var = v - (uint64_t)(uintptr_t)base - (uint64_t)(int64_t)r->off;

	if (!skep_scalar_has(&r->s, var))
		return false;
	if (r->range > 0)
		return (uintptr_t)base + var + (uint64_t)r->range <= (uintptr_t)end;
	if (r->range == V_AT_PKT_END)
		return v >= (uintptr_t)end;
	return r->range != V_BEYOND_PKT_END || v > (uintptr_t)end;
}

/* Whether v, with the frame pointer fp, is what reg says. */
static bool is_as(const struct soundness *t, const struct seen *s, const struct vreg *reg,
		  uint64_t v, uint64_t fp)
{
	if (reg->flags & V_MAYBE_NULL && !v)
		return true;
	switch (reg->type) {
	case V_SCALAR:
		return skep_scalar_has(&reg->s, v);
	case V_CTX:
		return v == (uintptr_t)&t->xdp;
	case V_STACK:
		return reg->frameno != s->frame ||
		       skep_scalar_has(&reg->s, v - fp - (uint64_t)(int64_t)reg->off);
	case V_PKT:
		return in_packet(reg, t->xdp.data, t->xdp.data_end, v);
	case V_PKT_META:
		return in_packet(reg, t->xdp.data_meta, t->xdp.data, v);
	case V_PKT_END:
		return v == (uintptr_t)t->xdp.data_end;
	case V_MAP_VALUE:
	case V_MEM:
		return v != 0;
	default:
		return true;
	}
}

static bool slot_holds(const struct soundness *t, const struct seen *s,
		       const struct seen_slot *slot, uint64_t fp)
{
	uint8_t bytes[8];
	uint64_t v = 0;
	unsigned n = 0;

	memcpy(bytes, (const char *)(uintptr_t)fp - 8 * (slot->at + 1), 8);
	for (unsigned k = 0; k < 8; k++)
		if (slot->s.kind[k] == V_ZERO && bytes[7 - k])
			return false;
	/* A register lies at the slot's beginning, in as many bytes as were stored. */
	while (n < 8 && slot->s.kind[7 - n] == V_SPILL)
		n++;
	if (!n || (n < 8 && slot->s.reg.type != V_SCALAR))
		return true;
	memcpy(&v, bytes, n);
	if (n < 8) {
		struct skep_scalar low = slot->s.reg.s;

		skep_scalar_zext(&low, n);
		return skep_scalar_has(&low, v);
	}
	return is_as(t, s, &slot->s.reg, v, fp);
}

static void check_step(void *arg, struct skep_env *env, uint32_t insn, const uint64_t *regs)
{
	struct soundness *t = arg;
	int n = 0, in_slot = 0;

	(void)env;
	/* One instruction may have become several: look before the first. */
	if (insn == t->last || insn >= GEN_MAX || t->why[0])
		return;
	t->last = insn;
	t->checks++;
	for (int32_t i = t->head[insn]; i >= 0; i = t->seen[i].next) {
		const struct seen *s = &t->seen[i];
		unsigned r;

		for (r = 0; r < 10; r++)
			if (s->live & 1u << r && !is_as(t, s, &s->reg[r], regs[r], regs[10]))
				break;
		if (r == 10) {
			uint32_t k = 0;

			while (k < s->nslots &&
			       slot_holds(t, s, &t->slots[s->first_slot + k], regs[10]))
				k++;
			t->slot_checks += k;
			if (k == s->nslots)
				return;
			in_slot = -8 * (t->slots[s->first_slot + k].at + 1);
		}
		n++;
	}
	snprintf(t->why, sizeof(t->why),
		 "insn %u: none of %d states holds fp%d r0=%#llx r1=%#llx r7=%#llx r8=%#llx "
		 "r9=%#llx",
		 insn, n, in_slot, (unsigned long long)regs[0], (unsigned long long)regs[1],
		 (unsigned long long)regs[7], (unsigned long long)regs[8],
		 (unsigned long long)regs[9]);
}

static void count_fault(void *arg, const char *text, size_t len)
{
	struct soundness *t = arg;

	t->faults++;
	if (!t->why[0])
		snprintf(t->why, sizeof(t->why), "%.*s", (int)len, text);
}

/* ---- Loading and running ---- */

static long bpf_call(struct skep *skep, int cmd, union bpf_attr *a)
{
	long r;

	if (skep)
		return skep_bpf(skep, cmd, a, sizeof(*a));
	r = syscall(SYS_bpf, cmd, a, sizeof(*a));
	return r < 0 ? -errno : r;
}

static long load(struct skep *skep, const struct gen *g, char *log, uint32_t size)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.prog_type = BPF_PROG_TYPE_XDP;
	a.insns = (uintptr_t)g->insn;
	a.insn_cnt = g->n;
	a.license = (uintptr_t) "GPL";
	a.log_level = log ? 4 : 0;
	a.log_buf = (uintptr_t)log;
	a.log_size = log ? size : 0;
	return bpf_call(skep, BPF_PROG_LOAD, &a);
}

static int make_map(struct skep *skep, uint32_t type, uint32_t key, uint32_t val, uint32_t max)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_type = type;
	a.key_size = key;
	a.value_size = val;
	a.max_entries = max;
	return (int)bpf_call(skep, BPF_MAP_CREATE, &a);
}

static void find_kfuncs(struct skep *skep, struct gen *g)
{
	static const char *const names[6] = {
		"bpf_iter_num_new",  "bpf_iter_num_next",  "bpf_iter_num_destroy",
		"bpf_iter_bits_new", "bpf_iter_bits_next", "bpf_iter_bits_destroy",
	};
	char *raw = rawbtf_open(skep);

	for (int i = 0; raw && i < 6; i++)
		g->kfunc[i] = rawbtf_find(raw, BTF_KIND_FUNC, names[i]);
	free(raw);
}

static void make_maps(struct skep *skep, struct gen *g)
{
	g->array = make_map(skep, BPF_MAP_TYPE_ARRAY, 4, GEN_VALUE, 1);
	g->hash = make_map(skep, BPF_MAP_TYPE_HASH, 4, 8, 8);
	g->ringbuf = make_map(skep, BPF_MAP_TYPE_RINGBUF, 0, 0, 4096);
	find_kfuncs(skep, g);
}

static void fill_maps(struct soundness *t)
{
	uint64_t value[GEN_VALUE / 8];
	uint32_t key = 0;
	union bpf_attr a;

	for (unsigned i = 0; i < GEN_VALUE / 8; i++) {
		uint64_t v = next(t);

		/* Small numbers pass more comparisons. */
		value[i] = v >> (v & 63 & (next(t) & 1 ? 63 : 0));
		if (!(next(t) & 7))
			value[i] = -value[i];
	}
	memset(&a, 0, sizeof(a));
	a.map_fd = (uint32_t)t->gen.array;
	a.key = (uintptr_t)&key;
	a.value = (uintptr_t)value;
	assert_int_equal(bpf_call(t->skep, BPF_MAP_UPDATE_ELEM, &a), 0);
	a.map_fd = (uint32_t)t->gen.hash;
	key = (uint32_t)next(t) & 7;
	assert_int_equal(bpf_call(t->skep, BPF_MAP_UPDATE_ELEM, &a), 0);
}

static void run(struct soundness *t, int fd, unsigned times, bool steps)
{
	static uint8_t memory[ROOM];
	struct skep_session s;
	struct skep_object *obj;

	assert_int_equal(skep_object_get(t->skep, fd, SKEP_KIND_PROG, &obj), 0);
	assert_int_equal(skep_session_open(&s, (struct skep_prog *)obj), 0);
	s.checker.step = steps ? check_step : NULL;
	s.checker.step_arg = t;
	while (times-- && !t->why[0]) {
		t->runs++;
		uint32_t len = (uint32_t)next(t) % 64;

		fill_maps(t);
		for (unsigned i = 0; i < ROOM; i++)
			memory[i] = (uint8_t)(next(t) >> 24);
		t->xdp = (struct skep_xdp){.data = memory + 256,
					   .data_end = memory + 256 + len,
					   .data_meta = memory + 256,
					   .hard_start = memory,
					   .hard_end = memory + ROOM};
		t->last = UINT32_MAX;
		skep_enter(s.env);
		s.checker.nregions = 0;
		skep_checker_add(&s.checker, &t->xdp, sizeof(t->xdp), SKEP_REGION_READ);
		skep_checker_add(&s.checker, t->xdp.data, len,
				 SKEP_REGION_READ | SKEP_REGION_WRITE);
		skep_session_run(&s, &t->xdp);
		if (s.env->nreserved && !t->why[0])
			snprintf(t->why, sizeof(t->why), "%u records were not given back",
				 s.env->nreserved);
		skep_leave(s.env);
	}
	skep_session_close(&s);
	skep_object_put(obj);
}

static uint64_t first_seed(void)
{
	const char *s = getenv("SKEP_TEST_SEED");

	return s ? strtoull(s, NULL, 0) : (uint64_t)time(NULL) * 1000;
}

static void test_accepted_is_safe(void **state)
{
	struct soundness *t = calloc(1, sizeof(*t));
	struct skep_opts opts = {
		.sz = sizeof(opts), .flags = SKEP_F_CHECKED, .printk = count_fault};
	double end = seconds() + (double)scaled(4);
	uint64_t seed = first_seed(), first = seed, accepted = 0, inside = 0;

	(void)state;
	assert_non_null(t);
	opts.printk_arg = t;
	t->seen = malloc(MAX_STATES * sizeof(*t->seen));
	t->slots = malloc(MAX_SLOTS * sizeof(*t->slots));
	assert_true(t->seen && t->slots);
	assert_int_equal(skep_open(&t->skep, &opts), 0);
	make_maps(t->skep, &t->gen);
	t->watch = (struct skep_verify_watch){.state = keep_state, .arg = t, .exact = true};
	for (; seconds() < end; seed++) {
		long fd;

		t->rng = seed | 1;
		gen_program(&t->gen, seed);
		t->nseen = t->nslots = 0;
		t->overflow = false;
		memset(t->head, 0xff, sizeof(t->head));
		t->skep->watch = &t->watch;
		fd = load(t->skep, &t->gen, NULL, 0);
		t->skep->watch = NULL;
		if (fd >= 0) {
			if (!t->overflow) {
				inside++;
				run(t, (int)fd, 8, true);
			}
			close((int)fd);
		}
		/* Once more as it is done in earnest, with numbers forgotten. */
		if (!t->why[0])
			fd = load(t->skep, &t->gen, NULL, 0);
		if (fd >= 0 && !t->why[0]) {
			accepted++;
			run(t, (int)fd, 8, false);
			close((int)fd);
		}
		if (t->why[0])
			fail_msg("seed %llu: %s", (unsigned long long)seed, t->why);
	}
	print_message("seeds %llu to %llu: %llu programs, %llu accepted, %llu runs, %llu compared "
		      "with the states "
		      "walked (%llu instructions, %llu stack slots)\n",
		      (unsigned long long)first, (unsigned long long)seed,
		      (unsigned long long)(seed - first), (unsigned long long)accepted,
		      (unsigned long long)t->runs, (unsigned long long)inside,
		      (unsigned long long)t->checks, (unsigned long long)t->slot_checks);
	assert_true(accepted > 0);
	assert_true(inside > 0);
	close(t->gen.array);
	close(t->gen.hash);
	close(t->gen.ringbuf);
	skep_close(t->skep);
	free(t->seen);
	free(t->slots);
	free(t);
}

static uint32_t processed(const char *log)
{
	const char *p = strstr(log, "processed ");

	return p ? (uint32_t)atol(p + 10) : 0;
}

static void test_verdicts_agree(void **state)
{
	struct gen *k = calloc(1, sizeof(*k)), *s = calloc(1, sizeof(*s));
	char *lk = malloc(1 << 16), *ls = malloc(1 << 16);
	double end = seconds() + (double)scaled(3);
	uint64_t seed = first_seed(), n = 0, both = 0, counts = 0, wider = 0, narrower = 0;
	struct skep *skep;

	(void)state;
	assert_true(k && s && lk && ls);
	assert_int_equal(skep_open(&skep, NULL), 0);
	make_maps(NULL, k);
	make_maps(skep, s);
	if (k->array < 0) {
		print_message("bpf(2) is not permitted: nothing to compare with\n");
		skip();
	}
	/* Both or none. */
	for (int i = 0; i < 6; i++)
		if (!k->kfunc[i] || !s->kfunc[i])
			memset(k->kfunc, 0, sizeof(k->kfunc)),
				memset(s->kfunc, 0, sizeof(s->kfunc));
	for (; seconds() < end; seed++, n++) {
		long rk, rs;

		gen_program(k, seed);
		gen_program(s, seed);
		rk = load(NULL, k, lk, 1 << 16);
		rs = load(skep, s, ls, 1 << 16);
		if (rk >= 0)
			close((int)rk);
		if (rs >= 0)
			close((int)rs);
		both += rk >= 0 && rs >= 0;
		counts += rk >= 0 && rs >= 0 && processed(lk) == processed(ls);
		if (rk < 0 && rs >= 0)
			wider++;
		if (rk >= 0 && rs < 0)
			narrower++;
		if ((rk < 0) != (rs < 0) && getenv("SKEP_TEST_LOGS"))
			print_message("seed %llu: kernel %ld %s: skep %ld %s\n",
				      (unsigned long long)seed, rk, lk, rs, ls);
	}
	print_message("%llu random programs: both accept %llu (%llu walk as many instructions); "
		      "only skep "
		      "accepts %llu, only the kernel %llu\n",
		      (unsigned long long)n, (unsigned long long)both, (unsigned long long)counts,
		      (unsigned long long)wider, (unsigned long long)narrower);
	/* Numbers are refined a little differently; that must stay the exception. */
	assert_true(wider * 50 <= n);
	assert_true(narrower * 50 <= n);
	close(k->array);
	close(k->hash);
	close(k->ringbuf);
	close(s->array);
	close(s->hash);
	close(s->ringbuf);
	skep_close(skep);
	free(k);
	free(s);
	free(lk);
	free(ls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted_is_safe),
		cmocka_unit_test(test_verdicts_agree),
	};

	cmocka_set_test_filter(getenv("SKEP_TEST_ONLY"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
