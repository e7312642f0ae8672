/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients of a served instance that are broken or mean. They get the kernel's errno, one that is not
 * notices nothing, and when they have gone the server holds what it held before.
 * SKEP_TEST_SCALE=20 makes them ten thousand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf/uapi.h"
#include "client/ask.h"
#include "client/msg.h"
#include "client/serve.h"
#include "cmd.h"
#include "scale.h"

static char self[4096];

static long raw_bpf(int cmd, void *a, unsigned size)
{
	long r = syscall(SYS_bpf, (long)cmd, a, (long)size);

	return r < 0 ? -errno : r;
}

static int make_map(uint32_t type, uint32_t flags)
{
	bool ring = type == BPF_MAP_TYPE_RINGBUF;
	union bpf_attr a = {.map_type = type,
			    .key_size = ring ? 0 : 4,
			    .value_size = ring ? 0 : 8,
			    .max_entries = ring ? 4096 : 16,
			    .map_flags = flags};

	return (int)raw_bpf(BPF_MAP_CREATE, &a, sizeof(a));
}

static int load(void)
{
	static struct bpf_insn ret0[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K},
					 {.code = BPF_JMP | BPF_EXIT}};
	union bpf_attr a = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
			    .insns = (uintptr_t)ret0,
			    .insn_cnt = 2,
			    .license = (uintptr_t) "GPL"};

	return (int)raw_bpf(BPF_PROG_LOAD, &a, sizeof(a));
}

static long element(int cmd, int fd, uint32_t key, void *value)
{
	union bpf_attr a = {
		.map_fd = (uint32_t)fd, .key = (uintptr_t)&key, .value = (uintptr_t)value};

	return raw_bpf(cmd, &a, sizeof(a));
}

/* ---- What is wrong in a way that a kernel answers the same each time ---- */

/* Commands with the places of their descriptors (4 bytes) and pointers (8 bytes) in the attributes. */
static const struct {
	int cmd;
	int fds[3], pointers[4];
} shapes[] = {
	{BPF_MAP_CREATE, {20}, {0}},
	{BPF_MAP_LOOKUP_ELEM, {0}, {8, 16}},
	{BPF_MAP_UPDATE_ELEM, {0}, {8, 16}},
	{BPF_MAP_DELETE_ELEM, {0}, {8}},
	{BPF_MAP_GET_NEXT_KEY, {0}, {8, 16}},
	{BPF_PROG_LOAD, {0}, {8, 16, 32}},
	{BPF_OBJ_PIN, {8}, {0}},
	{BPF_OBJ_GET, {0}, {0}},
	{BPF_PROG_TEST_RUN, {0}, {16, 24}},
	{BPF_OBJ_GET_INFO_BY_FD, {0}, {8}},
	{BPF_BTF_LOAD, {0}, {0, 8}},
	{BPF_MAP_LOOKUP_AND_DELETE_ELEM, {0}, {8, 16}},
	{BPF_MAP_FREEZE, {0}, {0}},
	{BPF_MAP_LOOKUP_BATCH, {36}, {0, 8, 16, 24}},
	{BPF_MAP_UPDATE_BATCH, {36}, {0, 8, 16, 24}},
	{BPF_MAP_DELETE_BATCH, {36}, {0, 8, 16, 24}},
	{BPF_PROG_BIND_MAP, {0, 4}, {0}},
	{BPF_LINK_UPDATE, {0, 4}, {0}},
	{BPF_LINK_DETACH, {0}, {0}},
};
#define N(a) (sizeof(a) / sizeof((a)[0]))

static uint64_t gap; /* a page that nobody may reach, behind one that all may */

static void put(uint8_t *bytes, int at, uint64_t v, unsigned len)
{
	memcpy(bytes + at, &v, len);
}

/* Prints each answer. */
static int client_errnos(void)
{
	uint8_t *page =
		mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int pipes[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int memory = memfd_create("bpf-map", MFD_CLOEXEC), ok = !pipe2(pipes, O_CLOEXEC);
	int map = make_map(BPF_MAP_TYPE_HASH, 0), prog = load();
	int fds[] = {-1, 9999, pipes[0], null, memory, map, prog};
	const unsigned sizes[] = {0, 1, 3, 4, 7, 8, 12, 16, 24, 32, 40, 72, 120, 152, 4096};
	uint8_t bytes[8192];

	if (page == MAP_FAILED || map < 0 || prog < 0 || !ok ||
	    mprotect(page + 4096, 4096, PROT_NONE))
		return 1;
	gap = (uintptr_t)page + 4096;
	const uint64_t pointers[] = {0,       1,     8,     gap,        gap - 1,
				     gap - 4, ~0ull, ~7ull, 1ull << 47, 1ull << 63};

	for (size_t s = 0; s < N(shapes); s++) {
		/* Descriptors, with pointers that are all right, or all the same. */
		for (size_t f = 0; f < N(fds); f++)
			for (size_t p = 0; p < N(pointers); p++) {
				memset(bytes, 0, sizeof(bytes));
				for (int i = 0; i < 4; i++)
					if (i == 0 || shapes[s].pointers[i])
						put(bytes, shapes[s].pointers[i], pointers[p], 8);
				for (int i = 0; i < 3; i++)
					if (i == 0 || shapes[s].fds[i])
						put(bytes, shapes[s].fds[i], (uint32_t)fds[f], 4);
				printf("%d fd %zu pointer %zu: %ld\n", shapes[s].cmd, f, p,
				       raw_bpf(shapes[s].cmd, bytes, sizeof(union bpf_attr)));
			}
		for (size_t i = 0; i < N(sizes); i++) {
			memset(bytes, 0, sizeof(bytes));
			printf("%d size %u: %ld\n", shapes[s].cmd, sizes[i],
			       raw_bpf(shapes[s].cmd, bytes, sizes[i]));
			bytes[sizes[i] ? sizes[i] - 1 : 0] = 1;
			printf("%d size %u full: %ld\n", shapes[s].cmd, sizes[i],
			       raw_bpf(shapes[s].cmd, bytes, sizes[i]));
		}
		for (size_t p = 0; p < N(pointers); p++)
			printf("%d attributes %zu: %ld\n", shapes[s].cmd, p,
			       raw_bpf(shapes[s].cmd, (void *)(uintptr_t)pointers[p], 64));
	}
	for (int cmd = 40; cmd < 64; cmd++)
		printf("command %d: %ld\n", cmd, raw_bpf(cmd, memset(bytes, 0, 128), 128));
	printf("command -1: %ld\n", raw_bpf(-1, bytes, 128));
	return 0;
}

/* ---- What ends in the middle ---- */

static _Atomic int turn;

static void *call_on(void *arg)
{
	for (uint64_t i = 0;; i++) {
		int fd = make_map(i & 1 ? BPF_MAP_TYPE_HASH : BPF_MAP_TYPE_ARRAY, 0);

		for (uint32_t k = 0; k < 8; k++)
			element(BPF_MAP_UPDATE_ELEM, fd, k, &i);
		close(fd);
		turn++;
	}
	return arg;
}

static void in_the_middle(unsigned seed)
{
	pthread_t t;

	for (int i = 0; i < 3; i++)
		pthread_create(&t, NULL, call_on, NULL);
	while (turn < 2)
		usleep(100);
	usleep(seed % 700);
}

static void bad_killed(unsigned seed)
{
	in_the_middle(seed);
	kill(getpid(), SIGKILL);
}

static void bad_exec(unsigned seed)
{
	in_the_middle(seed);
	execl("/bin/true", "true", (char *)NULL);
}

static void bad_exits(unsigned seed)
{
	in_the_middle(seed);
	_exit(0);
}

/* Holds much, and closes nothing. */
static void bad_greedy(unsigned seed)
{
	uint64_t v = seed;

	for (uint32_t i = 0; i < 40; i++) {
		int fd = make_map(i % 3 == 0   ? BPF_MAP_TYPE_RINGBUF
				  : i % 3 == 1 ? BPF_MAP_TYPE_HASH
					       : BPF_MAP_TYPE_PERCPU_ARRAY,
				  0);

		element(BPF_MAP_UPDATE_ELEM, fd, 1, &v);
		load();
	}
	if (seed & 1)
		kill(getpid(), SIGKILL);
}

/* Descriptors that nobody ever takes out of a socket. */
static void bad_sent(unsigned seed)
{
	int sock[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sock))
		return;
	for (int i = 0; i < 8; i++) {
		int fds[] = {make_map(BPF_MAP_TYPE_HASH, 0), load(), sock[1]};

		skep_msg_send(sock[0], &seed, sizeof(seed), fds, 3);
	}
}

/* No room for a descriptor. */
static void bad_full(unsigned seed)
{
	struct rlimit none = {.rlim_cur = 3, .rlim_max = 3};

	close(3);
	close(4);
	setrlimit(RLIMIT_NOFILE, &none);
	for (unsigned i = 0; i < 8; i++)
		if (make_map(BPF_MAP_TYPE_HASH, 0) != -EMFILE || load() != -EMFILE)
			_exit(1);
}

static uint8_t *shifting;

static void *shift(void *arg)
{
	for (;;) {
		mmap(shifting, 4096, PROT_READ | PROT_WRITE,
		     MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		mprotect(shifting, 4096, PROT_NONE);
	}
	return arg;
}

/* Attributes and values that come and go while they are read. */
static void bad_shifting(unsigned seed)
{
	pthread_t t;
	int fd = make_map(BPF_MAP_TYPE_HASH, 0);
	uint64_t v = 1;

	shifting = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_create(&t, NULL, shift, NULL);
	for (unsigned i = 0; i < 200; i++) {
		long r = element(BPF_MAP_UPDATE_ELEM, fd, i & 7, i & 1 ? shifting : (void *)&v);

		raw_bpf((int)(i + seed) % 40, shifting, 128);
		if (r && r != -EFAULT)
			_exit(1);
	}
}

/* Numbers and structures without sense, asks too. */
static void bad_noise(unsigned seed)
{
	union bpf_attr a;
	uint8_t *bytes = (uint8_t *)&a;

	srand(seed);
	for (int i = 0; i < 300; i++) {
		int cmd = rand() % 42;

		for (size_t k = 0; k < sizeof(a); k++)
			bytes[k] = (uint8_t)(rand() % 7 ? 0 : rand());
		/* What a machine would have to pay for. */
		if (cmd == BPF_MAP_CREATE)
			a.max_entries &= 0xfff;
		if (cmd == BPF_MAP_CREATE)
			a.value_size &= 0xfff;
		if (cmd == BPF_PROG_TEST_RUN)
			a.test.repeat &= 0xf;
		/* Others' objects are not to be met. */
		if (cmd == BPF_MAP_GET_FD_BY_ID || cmd == BPF_PROG_GET_FD_BY_ID ||
		    cmd == BPF_BTF_GET_FD_BY_ID || cmd == BPF_LINK_GET_FD_BY_ID)
			a.map_id |= 1u << 30;
		raw_bpf(cmd, &a, (unsigned)rand() % (sizeof(a) + 2));
		syscall(SYS_bpf, (long)(SKEP_ASK_BTF + rand() % 16), (long)(rand() % 12 - 2),
			(long)rand());
	}
}

/* Its own maps' memory, spoilt under the server. */
static void bad_spoilt(unsigned seed)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_HASH,
					 BPF_MAP_TYPE_RINGBUF};

	srand(seed);
	for (size_t i = 0; i < N(types); i++) {
		int fd = make_map(types[i], types[i] == BPF_MAP_TYPE_ARRAY ? BPF_F_MMAPABLE : 0);
		uint8_t *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		uint32_t key = 0;
		uint64_t v;

		for (int k = 0; k < 4096 && p != MAP_FAILED; k++)
			p[k] = (uint8_t)rand();
		for (int k = 0; k < 20; k++) {
			union bpf_attr a = {.map_fd = (uint32_t)fd,
					    .key = (uintptr_t)&key,
					    .next_key = (uintptr_t)&key};

			element(BPF_MAP_UPDATE_ELEM, fd, (uint32_t)k, &v);
			element(BPF_MAP_LOOKUP_ELEM, fd, (uint32_t)k, &v);
			raw_bpf(BPF_MAP_GET_NEXT_KEY, &a, sizeof(a));
		}
		ftruncate(fd, 0);
	}
}

/* Pins, removed again, also behind the server's back, and names that are none. */
static void bad_pins(unsigned seed)
{
	char path[64];
	union bpf_attr a = {.pathname = (uintptr_t)path};

	for (unsigned i = 0; i < 6; i++) {
		snprintf(path, sizeof(path), "/sys/fs/bpf/bad%d%s", (int)getpid(),
			 i % 3 == 2 ? ".x" : "");
		a.bpf_fd = (uint32_t)(i & 1 ? load() : make_map(BPF_MAP_TYPE_HASH, 0));
		raw_bpf(BPF_OBJ_PIN, &a, sizeof(a));
		a.bpf_fd = 0;
		raw_bpf(BPF_OBJ_GET, &a, sizeof(a));
		unlink(path);
	}
}

static void (*const bad[])(unsigned seed) = {
	bad_killed, bad_exec, bad_greedy, bad_noise,    bad_exits,
	bad_sent,   bad_full, bad_pins,   bad_shifting, bad_spoilt,
};

/* COUNT of them, beginning with number FIRST, some at a time. Prints how many did something that was wrong. */
static int client_swarm(unsigned first, unsigned count)
{
	unsigned running = 0, wrong = 0;
	int status;

	for (unsigned i = first; i < first + count || running;) {
		pid_t pid = i < first + count && running < 8 ? fork() : -1;

		if (pid == 0) {
			alarm(60);
			bad[i % N(bad)](i);
			_exit(0);
		}
		if (pid > 0) {
			running++;
			i++;
			continue;
		}
		if (wait(&status) < 0)
			return 2;
		running--;
		wrong += (WIFEXITED(status) && WEXITSTATUS(status)) ||
			 (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL);
	}
	printf("%u wrong\n", wrong);
	return wrong ? 1 : 0;
}

/* ---- The socket ---- */

static int dial(const char *name)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/skep/%s", cmd_dir(), name);
	assert_int_equal(connect(sock, (struct sockaddr *)&a, sizeof(a)), 0);
	return sock;
}

/* Messages of every length, with any number of descriptors, in any order. */
static void bad_messages(const char *name, unsigned seed)
{
	int sock = dial(name), fds[SKEP_MSG_FDS], pair[2];
	static uint8_t junk[70000];
	unsigned n;

	srand(seed);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	for (unsigned i = 0; i < SKEP_MSG_FDS; i++)
		fds[i] = pair[i & 1];
	for (int i = 0; i < 6; i++) {
		struct skep_serve_ask ask = {SKEP_SERVE_MAGIC, (uint32_t)rand() % 5};

		switch (rand() % 4) {
		case 0:
			skep_msg_send(sock, junk, (size_t)rand() % sizeof(junk), fds,
				      (unsigned)rand() % 9);
			break;
		case 1:
			skep_msg_send(sock, &ask, (size_t)rand() % sizeof(ask), NULL, 0);
			break;
		case 2:
			skep_msg_send(sock, &ask, sizeof(ask), fds, (unsigned)rand() % 9);
			break;
		default:
			skep_msg_send(sock, &ask, sizeof(ask), NULL, 0);
			if (rand() & 1)
				continue;
			if (skep_msg_recv(sock, junk, sizeof(junk), fds, &n, MSG_DONTWAIT) >= 0)
				while (n)
					close(fds[--n]);
			for (unsigned k = 0; k < SKEP_MSG_FDS; k++)
				fds[k] = pair[k & 1];
		}
	}
	close(pair[0]);
	close(pair[1]);
	close(sock);
}

/* ---- The test ---- */

static unsigned entries(pid_t pid, const char *what)
{
	char line[96];
	unsigned n = 0;
	FILE *f;

	snprintf(line, sizeof(line), "ls /proc/%d/%s | wc -l", (int)pid, what);
	f = popen(line, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%u", &n), 1);
	pclose(f);
	return n;
}

/* In KiB: its own memory, and what is in the segments. */
static unsigned memory(pid_t pid)
{
	char path[64], line[128];
	unsigned n = 0, part;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "RssAnon: %u", &part) == 1 ||
		    sscanf(line, "RssShmem: %u", &part) == 1)
			n += part;
	fclose(f);
	return n;
}

static double listed(const char *what)
{
	const struct cmd_result *r = skep_cmd("serve --list --json");
	char path[64];

	assert_int_equal(r->status, 0);
	snprintf(path, sizeof(path), "0.%s", what);
	return json_count(json_parse(r->out), "") ? json_number(json_parse(r->out), path) : -1;
}

static pid_t serve(void)
{
	pid_t pid = skep_start("serve bad");

	for (int i = 0; i < 1000 && listed("pid") != pid; i++)
		usleep(5000);
	assert_true(listed("pid") == pid);
	return pid;
}

/* A sanitizer's server says here what it has lost. */
static void end(pid_t server)
{
	int status;

	kill(server, SIGTERM);
	assert_int_equal(waitpid(server, &status, 0), server);
	assert_int_equal(status, 0);
}

static void settle(void)
{
	for (int i = 0; i < 500 && listed("clients") + listed("maps") + listed("programs") > 0; i++)
		usleep(10000);
	assert_true(listed("clients") == 0);
	assert_true(listed("maps") == 0);
	assert_true(listed("programs") == 0);
}

static void swarm(unsigned first, unsigned count)
{
	char a[16], b[16];
	const struct cmd_result *r;

	snprintf(a, sizeof(a), "%u", first);
	snprintf(b, sizeof(b), "%u", count);
	r = skep_cmd("exec --join bad -- %s --swarm %s %s", self, a, b);
	if (r->status)
		print_error("exit %d\n%s%s", r->status, r->out, r->err);
	assert_int_equal(r->status, 0);
}

/* Who joins is killed at any moment of it. */
static void killed_joining(unsigned us)
{
	pid_t pid = skep_start("exec --join bad -- true");
	int status;

	usleep(us);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void all_kinds(unsigned clients)
{
	swarm(0, clients);
	for (unsigned i = 0; i < clients / 4; i++)
		bad_messages("bad", i);
	for (unsigned i = 0; i < clients / 25; i++)
		killed_joining(i * 311 % 9000);
}

static void test_nothing_left(void **state)
{
	unsigned n = (unsigned)scaled(500), fds, tasks, kib, now;
	pid_t server = serve();

	/* Once, for what a server makes on demand and keeps. */
	all_kinds(100);
	settle();
	fds = entries(server, "fd");
	tasks = entries(server, "task");
	kib = memory(server);
	all_kinds(n);
	settle();
	/* By itself, whether or not somebody asks. */
	for (int i = 0; i < 2000 && entries(server, "fd") > fds; i++)
		usleep(10000);
	now = memory(server);
	print_message("%u clients: descriptors %u, then %u; threads %u, then %u; memory %u KiB, "
		      "then %u\n",
		      n, fds, entries(server, "fd"), tasks, entries(server, "task"), kib, now);
	assert_true(entries(server, "fd") <= fds);
	assert_int_equal(entries(server, "task"), tasks);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	assert_true(now < kib + 2048);
#endif
	assert_int_equal(skep_cmd("exec --join bad -- true")->status, 0);
	end(server);
	print_message("ran: bad_clients %u\n", n);
}

/* Connections that say nothing don't keep others out. */
static void test_silent(void **state)
{
	pid_t server = serve();
	int socks[100];

	for (int i = 0; i < 100; i++) {
		socks[i] = dial("bad");
		if (i == 50)
			assert_int_equal(skep_cmd("exec --join bad -- true")->status, 0);
	}
	assert_int_equal(skep_cmd("exec --join bad -- true")->status, 0);
	assert_true(entries(server, "fd") < 100);
	/* Then nobody is left of them. */
	for (int i = 0; i < 800 && entries(server, "fd") > 24; i++)
		usleep(10000);
	assert_true(entries(server, "fd") <= 24);
	for (int i = 0; i < 100; i++)
		close(socks[i]);
	end(server);
	print_message("ran: bad_silent 1\n");
}

/* The running kernel's answers. */
static void test_errnos(void **state)
{
	const struct cmd_result *r;
	char line[9000], k[128], s[128];
	FILE *kernel, *skep;
	unsigned n = 0, wrong = 0;

	if (geteuid() || !cmd_kernel()) {
		print_message("skipped: root and bpf(2) are needed\n");
		skip();
	}
	snprintf(line, sizeof(line), "%s --errnos >%s", self, cmd_path("kernel"));
	assert_int_equal(system(line), 0);
	r = skep_cmd("exec -- %s --errnos", self);
	assert_int_equal(r->status, 0);
	kernel = fopen(cmd_path("kernel"), "re");
	skep = fmemopen(r->out, r->out_len, "r");
	assert_true(kernel && skep);
	while (fgets(k, sizeof(k), kernel)) {
		assert_non_null(fgets(s, sizeof(s), skep));
		n++;
		if (strcmp(k, s) != 0 && wrong++ < 20)
			print_error("kernel: %sskep:   %s", k, s);
	}
	assert_null(fgets(s, sizeof(s), skep));
	fclose(kernel);
	fclose(skep);
	assert_int_equal(wrong, 0);
	print_message("ran: bad_errnos %u\n", n);
}

static int setup(void **state)
{
	setenv("XDG_RUNTIME_DIR", cmd_dir(), 1);
	/* Each of libc's further arenas keeps some memory; which ones are used is chance. */
	setenv("MALLOC_ARENA_MAX", "1", 1);
	return 0;
}

static int teardown(void **state)
{
	cmd_cleanup();
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errnos),
		cmocka_unit_test(test_silent),
		cmocka_unit_test(test_nothing_left),
	};

	if (argc == 2 && !strcmp(argv[1], "--errnos"))
		return client_errnos();
	if (argc == 4 && !strcmp(argv[1], "--swarm"))
		return client_swarm((unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]));
	if (!realpath("/proc/self/exe", self))
		return 1;
	/* This program is a client too: a library before the sanitizer's is as it should be. */
	setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 0);
	return cmocka_run_group_tests(tests, setup, teardown);
}
