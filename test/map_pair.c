// SPDX-License-Identifier: Apache-2.0
#include "map_pair.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "bpf/instance.h"
#include "kern.h"
#include "map/map.h"
#include "skep.h"

struct skep *pair_skep;
struct skep_env *pair_env;
bool pair_judge;
unsigned long pair_compared;

static uint64_t rnd_state = 88172645463325252ull;
uint32_t pair_rnd(uint32_t n)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return (uint32_t)(rnd_state >> 16) % n;
}

unsigned pair_scale(void)
{
	const char *s = getenv("SKEP_TEST_SCALE");

	return s && atoi(s) > 0 ? (unsigned)atoi(s) : 1;
}

long pair_call(int who, int cmd, union bpf_attr *attr)
{
	return who ? kern_bpf(cmd, attr) : skep_bpf(pair_skep, cmd, attr, sizeof(*attr));
}

int pair_create(int who, uint32_t type, uint32_t key, uint32_t value, uint32_t n, uint32_t flags)
{
	union bpf_attr attr = {.map_type = type,
			       .key_size = key,
			       .value_size = value,
			       .max_entries = n,
			       .map_flags = flags};

	return (int)pair_call(who, BPF_MAP_CREATE, &attr);
}

int pair_elem(int who, int cmd, int fd, const void *key, void *value, uint64_t flags)
{
	union bpf_attr attr = {.map_fd = (uint32_t)fd, .key = (uintptr_t)key, .flags = flags};

	attr.value = (uintptr_t)value; /* next_key for that command */
	return (int)pair_call(who, cmd, &attr);
}

struct pair pair_new(uint32_t type, uint32_t key, uint32_t value, uint32_t n, uint32_t flags)
{
	struct pair p = {{pair_create(0, type, key, value, n, flags), -1}};

	assert_true(p.fd[0] >= 0);
	if (pair_judge) {
		p.fd[1] = pair_create(1, type, key, value, n, flags);
		assert_true(p.fd[1] >= 0);
	}
	return p;
}

void pair_drop(struct pair *p)
{
	close(p->fd[0]);
	if (p->fd[1] >= 0)
		close(p->fd[1]);
}

int pair_op(struct pair *p, int cmd, const void *key, void *value, size_t size, uint64_t flags)
{
	uint8_t copy[1024];
	int a, b;

	assert_true(size <= sizeof(copy));
	memcpy(copy, value ? value : copy, value ? size : 0);
	a = pair_elem(0, cmd, p->fd[0], key, value, flags);
	if (p->fd[1] < 0)
		return a;
	b = pair_elem(1, cmd, p->fd[1], key, value ? copy : NULL, flags);
	if (a != b)
		fail_msg("command %d flags %llu: skep %d, kernel %d", cmd,
			 (unsigned long long)flags, a, b);
	if (value && memcmp(copy, value, size))
		fail_msg("command %d: other bytes than the kernel's", cmd);
	pair_compared++;
	return a;
}

struct skep_map *pair_map(int fd)
{
	struct skep_object *obj;

	assert_int_equal(skep_object_get(pair_skep, fd, SKEP_KIND_MAP, &obj), 0);
	return (struct skep_map *)obj;
}

int pair_setup(void **state)
{
	pair_judge = kern_available();
	if (!pair_judge)
		print_message(
			"bpf(2) is not allowed here: nothing is pair_compared with the kernel\n");
	return skep_open(&pair_skep, NULL) || skep_env_open(&pair_env, pair_skep);
}

int pair_teardown(void **state)
{
	skep_env_close(pair_env);
	skep_close(pair_skep);
	print_message("compared with the kernel: %lu operations\n", pair_compared);
	return 0;
}

void pair_seed(uint64_t seed)
{
	rnd_state ^= seed;
}

int pair_see(void *arg, const void *data, uint32_t size)
{
	struct pair_seen *s = arg;

	s->n++;
	memcpy(&s->last, data, 4);
	return 0;
}
