/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps that hold locks and programs, against the running kernel's: spin locks in values
 * and BPF_F_LOCK, prog arrays and what may be stored in them.
 */
#include <errno.h>
#include <linux/btf.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "kern.h"
#include "map/access.h"
#include "map/map.h"
#include "os/os.h"
#include "scale.h"
#include "skep.h"

static struct skep *skep;
static bool have_kernel;
static unsigned long compared;

static long both_bpf(bool kern, int cmd, union bpf_attr *attr)
{
	return kern ? kern_bpf(cmd, attr) : skep_bpf(skep, cmd, attr, sizeof(*attr));
}

static void same(long k, long s, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void same(long k, long s, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	compared++;
	if (k == s || (k >= 0 && s >= 0))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fail_msg("%s: kernel %ld, skep %ld", text, k, s);
}

/* ---- Spin locks ---- */

#define INFO(kind, n) ((kind) << 24 | (n))

/* struct val { int a; struct bpf_spin_lock lock; int b[4]; }, and int as key. */
static int btf_load(bool kern)
{
	static const char names[] = "\0int\0bpf_spin_lock\0val\0a\0lock\0b";
	enum { N_INT = 1, N_LOCK = 5, N_VAL = 19, N_A = 23, N_LOCKF = 25, N_B = 30 };
	static const uint32_t types[] = {
		/* 1: int */ N_INT,
		INFO(BTF_KIND_INT, 0),
		4,
		1 << 24 | 32,
		/* 2: struct bpf_spin_lock */ N_LOCK,
		INFO(BTF_KIND_STRUCT, 1),
		4,
		N_VAL,
		1,
		0,
		/* 3: int[4] */ 0,
		INFO(BTF_KIND_ARRAY, 0),
		0,
		1,
		1,
		4,
		/* 4: struct val */ N_VAL,
		INFO(BTF_KIND_STRUCT, 3),
		24,
		N_A,
		1,
		0,
		N_LOCKF,
		2,
		32,
		N_B,
		3,
		64,
	};
	struct {
		struct btf_header h;
		uint8_t data[sizeof(types) + sizeof(names)];
	} blob = {.h = {.magic = BTF_MAGIC,
			.version = 1,
			.hdr_len = sizeof(struct btf_header),
			.type_len = sizeof(types),
			.str_off = sizeof(types),
			.str_len = sizeof(names)}};
	union bpf_attr attr = {.btf = (uintptr_t)&blob,
			       .btf_size = sizeof(blob.h) + sizeof(blob.data)};

	memcpy(blob.data, types, sizeof(types));
	memcpy(blob.data + sizeof(types), names, sizeof(names));
	return (int)both_bpf(kern, BPF_BTF_LOAD, &attr);
}

static long create(bool kern, int btf, uint32_t type, uint32_t value_size, uint32_t n,
		   uint32_t flags)
{
	union bpf_attr attr = {.map_type = type,
			       .key_size = 4,
			       .value_size = value_size,
			       .max_entries = n,
			       .map_flags = flags,
			       .btf_fd = (uint32_t)btf,
			       .btf_key_type_id = 1,
			       .btf_value_type_id = 4};

	return both_bpf(kern, BPF_MAP_CREATE, &attr);
}

static long elem(bool kern, int fd, int cmd, const void *key, void *value, uint64_t flags)
{
	union bpf_attr attr = {.map_fd = (uint32_t)fd,
			       .key = (uintptr_t)key,
			       .value = (uintptr_t)value,
			       .flags = flags};

	return both_bpf(kern, cmd, &attr);
}

static void test_lock_types(void **state)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_HASH,        BPF_MAP_TYPE_ARRAY,
					 BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_PERCPU_ARRAY,
					 BPF_MAP_TYPE_LRU_HASH,    BPF_MAP_TYPE_LRU_PERCPU_HASH};
	static const uint32_t flags[] = {0, BPF_F_NO_PREALLOC, BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG,
					 BPF_F_MMAPABLE};
	int kb, sb;

	if (!have_kernel)
		skip();
	kb = btf_load(true);
	sb = btf_load(false);
	assert_true(kb >= 0 && sb >= 0);
	for (uint32_t t = 0; t < sizeof(types) / 4; t++) {
		for (uint32_t f = 0; f < sizeof(flags) / 4; f++) {
			for (uint32_t size = 20; size <= 28; size += 4) {
				long k = create(true, kb, types[t], size, 4, flags[f]);
				long s = create(false, sb, types[t], size, 4, flags[f]);

				same(k, s, "type %u with a lock, value %u, flags %#x", types[t],
				     size, flags[f]);
				if (k >= 0) {
					close((int)k);
					close((int)s);
				}
			}
		}
	}
	close(kb);
	close(sb);
}

static void test_lock_operations(void **state)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_ARRAY};
	static const uint64_t flags[] = {0, 1, 2, 4, 5, 6, 7, 8, 12};
	int kb, sb;

	if (!have_kernel)
		skip();
	kb = btf_load(true);
	sb = btf_load(false);
	for (int t = 0; t < 2; t++) {
		int k = (int)create(true, kb, types[t], 24, 4, 0);
		int s = (int)create(false, sb, types[t], 24, 4, 0);

		assert_true(k >= 0 && s >= 0);
		for (int n = 0; n < 4000; n++) {
			uint32_t key = (uint32_t)rand() % 6;
			uint64_t f = flags[rand() % 9];
			uint8_t vk[24], vs[24];

			for (int i = 0; i < 24; i++)
				vk[i] = vs[i] = (uint8_t)rand();
			switch (rand() % 4) {
			case 0:
			case 1:
				same(elem(true, k, BPF_MAP_UPDATE_ELEM, &key, vk, f),
				     elem(false, s, BPF_MAP_UPDATE_ELEM, &key, vs, f),
				     "locked type %u update %#lx", types[t], f);
				break;
			case 2:
				same(elem(true, k, BPF_MAP_LOOKUP_ELEM, &key, vk, f),
				     elem(false, s, BPF_MAP_LOOKUP_ELEM, &key, vs, f),
				     "locked type %u lookup %#lx", types[t], f);
				/* The lock's bytes read as 0, the others as written. */
				assert_memory_equal(vk, vs, 24);
				break;
			case 3:
				same(elem(true, k, BPF_MAP_LOOKUP_AND_DELETE_ELEM, &key, vk, f),
				     elem(false, s, BPF_MAP_LOOKUP_AND_DELETE_ELEM, &key, vs, f),
				     "locked type %u take %#lx", types[t], f);
				assert_memory_equal(vk, vs, 24);
				break;
			}
		}
		close(k);
		close(s);
	}
	close(kb);
	close(sb);
}

struct locker {
	pthread_t thread;
	uint32_t *value; /* lock, then a counter in two halves */
	unsigned long n;
};

static void *add_under_lock(void *arg)
{
	struct locker *l = arg;
	struct skep_env *env;

	assert_int_equal(skep_env_open(&env, skep), 0);
	for (unsigned long i = 0; i < l->n; i++) {
		skep_enter(env);
		skep_spin_lock(&l->value[0], env);
		l->value[1]++;
		l->value[2]++;
		skep_spin_unlock(&l->value[0], env);
		skep_leave(env);
	}
	skep_env_close(env);
	return NULL;
}

static void test_lock_excludes(void **state)
{
	struct skep_map *map;
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 16, .max_entries = 1};
	struct locker l[8];

	assert_int_equal(skep_map_create(skep, &attr, NULL, NULL, &map), 0);
	for (int i = 0; i < 8; i++) {
		l[i] = (struct locker){.value = map->data.base, .n = scaled(50000)};
		pthread_create(&l[i].thread, NULL, add_under_lock, &l[i]);
	}
	for (int i = 0; i < 8; i++)
		pthread_join(l[i].thread, NULL);
	assert_int_equal(l[0].value[1], 8 * l[0].n);
	assert_int_equal(l[0].value[2], 8 * l[0].n);
	assert_int_equal(l[0].value[0], 0);
	skep_object_put(&map->obj);
}

/* Killed in a critical section: the next one gets the lock at once. */
static void test_lock_death(void **state)
{
	struct skep_map *map;
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 16, .max_entries = 1};
	struct skep_env *env;
	uint64_t worst = 0;

	assert_int_equal(skep_map_create(skep, &attr, NULL, NULL, &map), 0);
	assert_int_equal(skep_env_open(&env, skep), 0);
	for (unsigned long i = 0; i < scaled(20); i++) {
		uint64_t from;
		pid_t pid = fork();

		if (!pid) {
			if (skep_env_open(&env, skep))
				_exit(1);
			skep_enter(env);
			skep_spin_lock(map->data.base, env);
			kill(getpid(), SIGKILL);
		}
		waitpid(pid, NULL, 0);
		assert_int_not_equal(*(uint32_t *)map->data.base, 0);
		from = skep_clock_mono();
		skep_enter(env);
		skep_spin_lock(map->data.base, env);
		skep_spin_unlock(map->data.base, env);
		skep_leave(env);
		from = skep_clock_mono() - from;
		worst = from > worst ? from : worst;
	}
	print_message("lock of a dead holder taken after at most %lu us\n", worst / 1000);
	assert_true(worst < 500000000);
	skep_env_close(env);
	skep_object_put(&map->obj);
}

/* ---- Prog arrays ---- */

static long load(bool kern, uint32_t type, uint32_t flags, int array_fd)
{
	struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 6, .src_reg = 1},
		{.code = BPF_LD | BPF_DW | BPF_IMM,
		 .dst_reg = 2,
		 .src_reg = BPF_PSEUDO_MAP_FD,
		 .imm = array_fd},
		{0},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 3},
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_tail_call},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K},
		{.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr attr = {.prog_type = type,
			       .insns = (uintptr_t)insns,
			       .insn_cnt = 7,
			       .license = (uintptr_t) "GPL",
			       .prog_flags = flags};

	if (array_fd < 0) {
		attr.insns = (uintptr_t)&insns[5];
		attr.insn_cnt = 2;
	}
	return both_bpf(kern, BPF_PROG_LOAD, &attr);
}

static long array_new(bool kern)
{
	union bpf_attr attr = {.map_type = BPF_MAP_TYPE_PROG_ARRAY,
			       .key_size = 4,
			       .value_size = 4,
			       .max_entries = 4};

	return both_bpf(kern, BPF_MAP_CREATE, &attr);
}

static void test_prog_array(void **state)
{
	static const struct {
		uint32_t type, flags;
	} kinds[] = {{BPF_PROG_TYPE_XDP, 0},
		     {BPF_PROG_TYPE_XDP, BPF_F_XDP_HAS_FRAGS},
		     {BPF_PROG_TYPE_SCHED_CLS, 0},
		     {BPF_PROG_TYPE_SOCKET_FILTER, 0},
		     {BPF_PROG_TYPE_SCHED_ACT, 0}};
	enum { N = sizeof(kinds) / sizeof(kinds[0]) };
	int progs[2][N + 1];

	if (!have_kernel)
		skip();
	for (int side = 0; side < 2; side++) {
		for (int i = 0; i < N; i++) {
			progs[side][i] = (int)load(!side, kinds[i].type, kinds[i].flags, -1);
			assert_true(progs[side][i] >= 0);
		}
		progs[side][N] = 0; /* no program */
	}
	for (int owner = 0; owner < 2 * N; owner++) {
		/* Who comes first: a program that is stored, or one that uses the array. */
		bool user = owner >= N;
		int first = owner % N, fd[2];

		for (int side = 0; side < 2; side++) {
			fd[side] = (int)array_new(!side);
			assert_true(fd[side] >= 0);
		}
		if (user) {
			long k = load(true, kinds[first].type, kinds[first].flags, fd[0]);
			long s = load(false, kinds[first].type, kinds[first].flags, fd[1]);

			same(k, s, "first user %d", first);
			close((int)k);
			close((int)s);
		}
		for (int n = 0; n < 60; n++) {
			int which = n || user ? rand() % (N + 1) : first;
			uint32_t key = (uint32_t)(n ? rand() % 5 : 0);
			uint64_t flags = rand() % 8 ? 0 : (uint64_t)(rand() % 5);
			uint32_t vk = (uint32_t)progs[0][which], vs = (uint32_t)progs[1][which];
			long k, s;

			switch (n ? rand() % 4 : 0) {
			case 0:
				same(elem(true, fd[0], BPF_MAP_UPDATE_ELEM, &key, &vk, flags),
				     elem(false, fd[1], BPF_MAP_UPDATE_ELEM, &key, &vs, flags),
				     "owner %d store %d key %u flags %#lx", owner, which, key,
				     flags);
				break;
			case 1:
				same(elem(true, fd[0], BPF_MAP_LOOKUP_ELEM, &key, &vk, 0),
				     elem(false, fd[1], BPF_MAP_LOOKUP_ELEM, &key, &vs, 0),
				     "prog array lookup");
				break;
			case 2:
				same(elem(true, fd[0], BPF_MAP_DELETE_ELEM, &key, NULL, 0),
				     elem(false, fd[1], BPF_MAP_DELETE_ELEM, &key, NULL, 0),
				     "prog array delete");
				break;
			case 3:
				which = rand() % N;
				k = load(true, kinds[which].type, kinds[which].flags, fd[0]);
				s = load(false, kinds[which].type, kinds[which].flags, fd[1]);
				same(k, s, "owner %d loading user %d", owner, which);
				if (k >= 0) {
					close((int)k);
					close((int)s);
				}
				break;
			}
		}
		close(fd[0]);
		close(fd[1]);
	}
	for (int side = 0; side < 2; side++)
		for (int i = 0; i < N; i++)
			close(progs[side][i]);
}

static uint32_t live(int cmd)
{
	union bpf_attr attr = {0};
	uint32_t n = 0;

	for (; !skep_bpf(skep, cmd, &attr, sizeof(attr)); n++)
		attr.start_id = attr.next_id;
	return n;
}

/* A program in the array that it jumps through: both go with their last handle. */
static void test_cycle(void **state)
{
	uint32_t progs = live(BPF_PROG_GET_NEXT_ID), maps = live(BPF_MAP_GET_NEXT_ID);
	uint32_t key = 0, value;
	int array = (int)array_new(false), prog;

	prog = (int)load(false, BPF_PROG_TYPE_XDP, 0, array);
	if (prog < 0) {
		print_message("no verifier: skipped\n");
		close(array);
		skip();
	}
	value = (uint32_t)prog;
	assert_int_equal(elem(false, array, BPF_MAP_UPDATE_ELEM, &key, &value, 0), 0);
	close(array);
	assert_int_equal(live(BPF_MAP_GET_NEXT_ID), maps + 1);
	/* The array's users are gone: the slot is empty though the program lives. */
	close(prog);
	for (int i = 0; i < 1000 && live(BPF_MAP_GET_NEXT_ID) != maps; i++)
		usleep(1000);
	assert_int_equal(live(BPF_PROG_GET_NEXT_ID), progs);
	assert_int_equal(live(BPF_MAP_GET_NEXT_ID), maps);
}

static int setup(void **state)
{
	struct skep_opts opts = {.sz = sizeof(opts), .cpus = skep_possible_cpus()};

	have_kernel = kern_available();
	if (!have_kernel)
		print_message("no bpf(2) here: comparisons are skipped\n");
	return skep_open(&skep, &opts);
}

static int teardown(void **state)
{
	skep_close(skep);
	print_message("ran: map_prog_compared %lu\n", compared);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lock_types),    cmocka_unit_test(test_lock_operations),
		cmocka_unit_test(test_lock_excludes), cmocka_unit_test(test_lock_death),
		cmocka_unit_test(test_prog_array),    cmocka_unit_test(test_cycle),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
