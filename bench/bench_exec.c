// SPDX-License-Identifier: Apache-2.0
/*
 * How fast programs run: the same C compiled for the machine (clang -O2), on skep's
 * JIT compiler, on its interpreter and, where bpf(2) is permitted, on the kernel's
 * JIT compiler (TEST_RUN of a SCHED_CLS program). All take turns; medians; ratios
 * to native are net of what an empty program costs.
 *
 *	bench_exec [-r ROUNDS] [-d] [PROGRAM...]	-d: writes each one's machine
 *							code to PROGRAM.jit.bin
 */
#include <errno.h>
#include <libgen.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../test/kern.h"
#include "bpf/instance.h"
#include "exec/exec.h"
#include "skep.h"
#include "progs/list.h"

#define PACKET     1400
#define MAX_ROUNDS 101
#define SLICE_NS   200000.0 /* one turn of one variant: short, so that few are disturbed */

struct ctx {
	uint8_t *data, *data_end;
};

#define DECLARE(name) int native_##name(struct ctx *ctx);
BENCH_PROGS(DECLARE)

typedef int native_fn(struct ctx *ctx);
enum variant { NATIVE, JIT, INTERP, KERNEL, VARIANTS };

struct bench {
	const char *name;
	native_fn *native;
	struct skep_prog prog;
	const struct skep_prog *loaded; /* prog, or one of an instance */
	struct skep_env *env;
	int fd;
	uint8_t packet[PACKET];
	uint64_t repeat[VARIANTS];
	double ns[VARIANTS][MAX_ROUNDS], median[VARIANTS];
	double empty_ns[VARIANTS][MAX_ROUNDS], empty[VARIANTS]; /* a call, at the same time */
};

#define ROW(n) {.name = #n, .native = native_##n, .fd = -1},
static struct bench benches[] = {BENCH_PROGS(ROW)};
#define NBENCHES (sizeof(benches) / sizeof(benches[0]))

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

static void die(const char *what, const char *name, int err)
{
	fprintf(stderr, "bench_exec: %s: %s: %s\n", name, what, strerror(-err));
	exit(1);
}

static struct bpf_insn *read_insns(const char *dir, const char *name, const char *kind, uint32_t *n)
{
	char path[4096];
	struct bpf_insn *insns;
	long size;
	FILE *f;

	snprintf(path, sizeof(path), "%s/progs/%s.%s.bin", dir, name, kind);
	f = fopen(path, "re");
	if (!f || fseek(f, 0, SEEK_END))
		die("cannot be read", path, -errno);
	size = ftell(f);
	rewind(f);
	insns = malloc(size);
	if (!insns || fread(insns, 1, size, f) != (size_t)size)
		die("cannot be read", path, -EIO);
	fclose(f);
	*n = size / sizeof(*insns);
	return insns;
}

/* What each program expects to find. */
static void fill_packet(struct bench *b)
{
	static const uint8_t tcp[] = {
		2,    0,    0,    0,    0,    1,  2,  0, 0, 0,    0,  2, 8, 0,  0x45, 0,
		0,    80,   1,    2,    0x40, 0,  64, 6, 0, 0,    10, 0, 0, 1,  10,   0,
		0,    2,    0x30, 0x39, 0,    80, 1,  2, 3, 4,    0,  0, 0, 0,  0xf0, 0x02,
		0xff, 0xff, 0,    0,    0,    0,  2,  4, 5, 0xb4, 4,  2, 8, 10, 1,    2,
		3,    4,    5,    6,    7,    8,  1,  3, 3, 7,    1,  1, 1, 1,  5,    10,
		1,    2,    3,    4,    5,    6,  7,  8, 1, 1,    0,  0,
	};
	uint32_t x = 12345;

	for (int i = 0; i < PACKET; i++) {
		x = x * 1103515245 + 12345;
		b->packet[i] = x >> 16;
	}
	if (!strcmp(b->name, "parse") || !strcmp(b->name, "tcpopt"))
		memcpy(b->packet, tcp, sizeof(tcp));
	if (!strcmp(b->name, "strcmp")) {
		for (int i = 0; i < 60; i++)
			b->packet[64 + i] = b->packet[128 + i] = 'a' + i % 26;
		b->packet[124] = b->packet[188] = 0;
	}
	if (!strcmp(b->name, "memcpy256"))
		memcpy(b->packet + 264, b->packet + 8, 256);
	if (!strcmp(b->name, "bsearch")) {
		for (uint32_t i = 0; i < 128; i++) {
			uint32_t v = i * 1000 + 7;

			memcpy(b->packet + 256 + 4 * i, &v, 4);
		}
		for (uint32_t i = 0; i < 16; i++) {
			uint32_t v = (i * 7919) % 128000;

			memcpy(b->packet + 896 + 4 * i, &v, 4);
		}
	}
}

static struct skep *skep;

static long bpf_at(bool kernel, int cmd, union bpf_attr *attr)
{
	return kernel ? kern_bpf(cmd, attr) : skep_bpf(skep, cmd, attr, sizeof(*attr));
}

#define CHAIN 15

/* Programs that each call the next one; the last returns 1. */
static int load_tailcall(bool kernel)
{
	union bpf_attr map = {.map_type = BPF_MAP_TYPE_PROG_ARRAY,
			      .key_size = 4,
			      .value_size = 4,
			      .max_entries = CHAIN + 1};
	int array = (int)bpf_at(kernel, BPF_MAP_CREATE, &map), fd = -1;

	for (uint32_t k = 0; k <= CHAIN; k++) {
		uint32_t slot = CHAIN - k, key = slot - 1;
		struct bpf_insn insns[] = {
			{.code = 0x18, .dst_reg = 2, .src_reg = BPF_PSEUDO_MAP_FD, .imm = array},
			{0},
			{.code = 0xb7, .dst_reg = 3, .imm = (int)slot},
			{.code = 0x85, .imm = BPF_FUNC_tail_call},
			{.code = 0xb7, .imm = 1},
			{.code = 0x95},
		};
		union bpf_attr load = {.prog_type = BPF_PROG_TYPE_SCHED_CLS,
				       .license = (uintptr_t) "GPL",
				       .insns = (uintptr_t)insns,
				       .insn_cnt = 6};
		union bpf_attr up = {
			.map_fd = (uint32_t)array, .key = (uintptr_t)&key, .value = (uintptr_t)&fd};

		fd = (int)bpf_at(kernel, BPF_PROG_LOAD, &load);
		if (fd < 0 || (slot && bpf_at(kernel, BPF_MAP_UPDATE_ELEM, &up)))
			die("not loaded", "tailcall", fd < 0 ? fd : -EINVAL);
	}
	return fd;
}

static void prepare_tailcall(struct bench *b)
{
	struct skep_object *obj = NULL;
	int fd, err = skep_open(&skep, NULL);

	if (err)
		die("no instance", b->name, err);
	fd = load_tailcall(false);
	err = fd < 0 ? fd : skep_object_get(skep, fd, SKEP_KIND_PROG, &obj);
	if (!err)
		err = skep_env_open(&b->env, skep);
	if (err)
		die("cannot be loaded", b->name, err);
	b->loaded = (struct skep_prog *)obj;
	b->env->call = skep_call;
	skep_enter(b->env);
	if (kern_available())
		b->fd = load_tailcall(true);
}

static void prepare(struct bench *b, const char *dir)
{
	static char log[1 << 20];
	struct bpf_insn *insns;
	uint32_t n;
	int err;

	fill_packet(b);
	b->loaded = &b->prog;
	if (!strcmp(b->name, "tailcall")) {
		prepare_tailcall(b);
		return;
	}
	insns = read_insns(dir, b->name, "user", &n);
	err = skep_image_raw(&b->prog.image, insns, n);
	if (!err)
		err = skep_bind(&b->prog);
	if (!err)
		err = skep_jit(&b->prog, &b->prog.code);
	if (err)
		die("cannot be compiled", b->name, err);
	free(insns);
	if (!kern_available())
		return;
	insns = read_insns(dir, b->name, "kernel", &n);
	b->fd = kern_load(BPF_PROG_TYPE_SCHED_CLS, insns, n, 1, log, sizeof(log));
	if (b->fd < 0)
		fprintf(stderr, "bench_exec: %s: the kernel refuses it: %s\n%s", b->name,
			strerror(-b->fd), log);
	free(insns);
}

static uint64_t run(struct bench *b, enum variant v, uint64_t repeat)
{
	struct skep_env own = {.prog = b->loaded}, *env = b->env ? b->env : &own;
	struct ctx ctx = {.data = b->packet, .data_end = b->packet + PACKET};
	native_fn *volatile native = b->native;
	skep_run_fn *volatile entry = b->loaded->code.entry;
	uint64_t result = 0;
	uint32_t ret;
	int err;

	switch (v) {
	case NATIVE:
		while (repeat--)
			result = (uint32_t)native(&ctx);
		return result;
	case JIT:
		while (repeat--) {
			env->tail_calls = 0;
			result = (uint32_t)entry(&ctx, env);
		}
		return result;
	case INTERP:
		while (repeat--) {
			env->tail_calls = 0;
			env->prog = b->loaded;
			result = (uint32_t)skep_interp(b->loaded, &ctx, env);
		}
		return result;
	default:
		err = kern_run_packet(b->fd, b->packet, PACKET, NULL, NULL, repeat, &ret, NULL);
		if (err)
			die("kernel", b->name, err);
		return ret;
	}
}

static bool has(const struct bench *b, enum variant v)
{
	return v != KERNEL || b->fd >= 0;
}

static void calibrate(struct bench *b)
{
	uint64_t want = run(b, NATIVE, 1);

	for (enum variant v = NATIVE; v < VARIANTS; v++) {
		double t, per;

		if (!has(b, v))
			continue;
		if (run(b, v, 1) != want) {
			fprintf(stderr, "bench_exec: %s: results differ (%d)\n", b->name, v);
			exit(1);
		}
		b->repeat[v] = 10;
		do {
			b->repeat[v] *= 4;
			t = now_ns();
			run(b, v, b->repeat[v]);
			t = now_ns() - t;
		} while (t < SLICE_NS / 4);
		per = t / b->repeat[v];
		/* A system call has to be paid for out of the kernel's turn. */
		b->repeat[v] = (v == KERNEL ? 2 * SLICE_NS : SLICE_NS) / per + 1;
	}
}

static int by_value(const void *x, const void *y)
{
	double a = *(const double *)x, b = *(const double *)y;

	return a < b ? -1 : a > b;
}

static double turn(struct bench *b, enum variant v, uint64_t repeat)
{
	double t = now_ns();

	run(b, v, repeat);
	return (now_ns() - t) / repeat;
}

static void measure(struct bench *b, int rounds)
{
	struct bench *empty = &benches[0];

	for (int r = 0; r < rounds; r++) {
		for (enum variant v = NATIVE; v < VARIANTS; v++) {
			if (!has(b, v))
				continue;
			b->empty_ns[v][r] = turn(empty, v, empty->repeat[v] / 2 + 1);
			b->ns[v][r] = turn(b, v, b->repeat[v]);
		}
	}
	for (enum variant v = NATIVE; v < VARIANTS; v++) {
		qsort(b->ns[v], rounds, sizeof(double), by_value);
		qsort(b->empty_ns[v], rounds, sizeof(double), by_value);
		b->median[v] = has(b, v) ? b->ns[v][rounds / 2] : 0;
		b->empty[v] = has(b, v) ? b->empty_ns[v][rounds / 2] : 0;
	}
}

static void write_code(const struct bench *b)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s.jit.bin", b->name);
	f = fopen(path, "we");
	if (!f || fwrite(b->loaded->code.mem, 1, b->loaded->code.size, f) != b->loaded->code.size)
		die("cannot be written", path, -errno);
	fclose(f);
}

/* Geometric means over what ran everywhere it could. */
struct means {
	double log[VARIANTS];
	int n[VARIANTS];
};

static void report(const struct bench *b, const struct bench *empty, struct means *m)
{
	double base = b->median[NATIVE] - b->empty[NATIVE], ratio[VARIANTS] = {0};

	for (enum variant v = JIT; v < VARIANTS; v++) {
		if (!has(b, v) || b == empty)
			continue;
		ratio[v] = (b->median[v] - b->empty[v]) / base;
		if (ratio[v] > 0) {
			m->log[v] += log(ratio[v]);
			m->n[v]++;
		}
	}
	printf("%-10s %10.1f %10.1f %10.1f %10.1f", b->name, b->median[NATIVE], b->median[JIT],
	       b->median[INTERP], b->median[KERNEL]);
	if (b != empty)
		printf("   %8.2f %8.2f %8.2f", ratio[JIT], ratio[KERNEL], ratio[INTERP]);
	printf("   %5zu\n", b->loaded->code.size);
}

static bool wanted(const char *name, int argc, char **argv)
{
	if (!argc || !strcmp(name, "empty"))
		return true;
	for (int i = 0; i < argc; i++)
		if (!strcmp(argv[i], name))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	int rounds = 41, opt;
	struct means m = {0};
	bool code = false;
	char self[4096];
	const char *dir;

	while ((opt = getopt(argc, argv, "r:d")) != -1) {
		if (opt == 'r')
			rounds = atoi(optarg);
		else if (opt == 'd')
			code = true;
		else
			return 2;
	}
	if (rounds < 1 || rounds > MAX_ROUNDS)
		return 2;
	snprintf(self, sizeof(self), "%s", argv[0]);
	dir = dirname(self);
	printf("%-10s %10s %10s %10s %10s   %8s %8s %8s   %5s\n", "ns", "native", "jit", "interp",
	       "kernel", "jit/n", "kernel/n", "interp/n", "bytes");
	for (size_t i = 0; i < NBENCHES; i++) {
		struct bench *b = &benches[i];

		if (!wanted(b->name, argc - optind, argv + optind))
			continue;
		prepare(b, dir);
		calibrate(b);
		measure(b, rounds);
		report(b, &benches[0], &m);
		if (code)
			write_code(b);
		fflush(stdout);
	}
	if (m.n[JIT])
		printf("geometric mean, net of the empty call: jit %.2f, kernel %.2f, "
		       "interpreter %.2f x native\n",
		       exp(m.log[JIT] / m.n[JIT]),
		       m.n[KERNEL] ? exp(m.log[KERNEL] / m.n[KERNEL]) : 0,
		       exp(m.log[INTERP] / m.n[INTERP]));
	return 0;
}
