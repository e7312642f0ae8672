/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tracing costs the traced process: programs at a function's entry, at its return, and at system
 * calls, by skep's agent and by the kernel's probes. Three copies of one process take turns, which
 * measure themselves: one traced by skep, one by the kernel (root), one by nobody, whose time is
 * subtracted. Medians. Then what entering and leaving a process of 100 threads takes, and what is left of
 * a redis server's throughput (if it is installed) while all its system calls are counted.
 *
 *	bench_trace [-r ROUNDS] [-n]		-n: no redis
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../test/asm.h"
#include "../test/kern.h"
#include "os/os.h"
#include "skep.h"
#include "trace/elf.h"
#include "trace/session.h"
#include "trace/trace.h"

#define MAX_ROUNDS 51
#define CALLS      50000 /* in one turn */
#define RING_SIZE  (16u << 20)
#define KEYS       512
#define THREADS    100

static struct skep *skep;
static const char *self;

static void die(const char *what, long err)
{
	fprintf(stderr, "bench_trace: %s: %s\n", what, strerror((int)-err));
	exit(1);
}

static double clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* ---- The traced process ---- */

/* As compilers begin a function that keeps a frame. */
void bench_target(const char *text);
__asm__(".text\n.balign 16\n.globl bench_target\n.type bench_target, @function\nbench_target:\n"
	"	push %rbp\n	mov %rsp, %rbp\n	push %rbx\n	mov %rdi, %rbx\n"
	"	pop %rbx\n	pop %rbp\n	ret\n.size bench_target, . - bench_target\n");

/* Measures as often as it is asked to: 'f', calls of the function; 's', system calls. */
static int victim(int in, int out)
{
	static const char text[64] =
		"a text of sixty-three bytes, as paths and names of hosts may be";
	char what;

	while (read(in, &what, 1) == 1) {
		double from = clock_ns(CLOCK_THREAD_CPUTIME_ID);

		if (what == 'f')
			for (int i = 0; i < CALLS; i++)
				bench_target(text);
		else
			for (int i = 0; i < CALLS; i++)
				syscall(SYS_getppid);
		from = (clock_ns(CLOCK_THREAD_CPUTIME_ID) - from) / CALLS;
		if (write(out, &from, sizeof(from)) != sizeof(from))
			return 1;
	}
	return 0;
}

static void *idle_thread(void *arg)
{
	for (;;)
		pause();
	return arg;
}

/* Many threads that wait. */
static int many(int in, int out)
{
	pthread_attr_t attr;
	pthread_t t;
	char byte;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	for (int i = 1; i < THREADS; i++)
		if (pthread_create(&t, &attr, idle_thread, NULL))
			return 1;
	(void)!write(out, "", 1);
	while (read(in, &byte, 1) == 1)
		bench_target("");
	return 0;
}

struct victim {
	pid_t pid;
	int to, from;
	struct skep_trace *trace; /* it was started by, or NULL */
};

static void start(struct victim *v, const char *how, struct skep_trace *trace)
{
	char in[12], out[12],
		*argv[] = {(char *)(uintptr_t)self, (char *)(uintptr_t)how, in, out, NULL};
	int to[2], from[2], e = 0;
	struct skep_error err;

	if (pipe(to) || pipe(from))
		die("pipe", -errno);
	fcntl(to[1], F_SETFD, FD_CLOEXEC);
	fcntl(from[0], F_SETFD, FD_CLOEXEC);
	snprintf(in, sizeof(in), "%d", to[0]);
	snprintf(out, sizeof(out), "%d", from[1]);
	if (trace) {
		e = skep_trace_start(trace, argv, &v->pid, &err);
	} else {
		v->pid = fork();
		if (!v->pid) {
			execv(self, argv);
			_exit(127);
		}
	}
	if (e || v->pid < 0)
		die("starting a process", e ? e : -errno);
	close(to[0]);
	close(from[1]);
	v->to = to[1];
	v->from = from[0];
	v->trace = trace;
}

static void get(struct victim *v, void *to, size_t size)
{
	struct pollfd p = {.fd = v->from, .events = POLLIN};

	while (v->trace && poll(&p, 1, 0) <= 0)
		if (skep_trace_serve(v->trace, 2, NULL))
			die("a traced process ended", -ECHILD);
	if (read(v->from, to, size) != (ssize_t)size)
		die("a process ended", -ECHILD);
}

static double turn(struct victim *v, char what)
{
	double ns;

	if (write(v->to, &what, 1) != 1)
		die("asking a process", -errno);
	get(v, &ns, sizeof(ns));
	return ns;
}

static void end(struct victim *v)
{
	close(v->to);
	close(v->from);
	if (v->pid > 0 && !v->trace)
		waitpid(v->pid, NULL, 0);
	while (v->trace && !skep_trace_serve(v->trace, 1, NULL))
		;
}

/* ---- Programs ---- */

#define COUNT                                                                                      \
	"*(u32 *)(r10 -4) = r1\n"                                                                  \
	"r1 = 1 ll\n"                                                                              \
	"r2 = r10\nr2 += -4\n"                                                                     \
	"call #1\n"                                                                                \
	"if r0 == 0x0 goto none\n"                                                                 \
	"r1 = 1\n"                                                                                 \
	"lock *(u64 *)(r0 +0) += r1\n"                                                             \
	"none:\n"                                                                                  \
	"r0 = 0\nexit\n"

static const char empty[] = "r0 = 0\nexit\n";
static const char count[] = "r1 = 7\n" COUNT;
static const char count_call[] = "r1 = *(u64 *)(r1 +8)\n" COUNT;
static const char event[] = "r1 = 5\n"
			    "*(u64 *)(r10 -8) = r1\n*(u64 *)(r10 -16) = r1\n"
			    "r1 = 2 ll\n"
			    "r2 = r10\nr2 += -16\nr3 = 16\nr4 = 0\n"
			    "call #130\n"
			    "r0 = 0\nexit\n";
static const char string[] = "r6 = r1\n"
			     "r1 = 2 ll\n"
			     "r2 = 64\nr3 = 0\n"
			     "call #131\n"
			     "if r0 == 0x0 goto full\n"
			     "r7 = r0\n"
			     "r1 = r7\nr2 = 64\nr3 = *(u64 *)(r6 +112)\n"
			     "call #114\n"
			     "r1 = r7\nr2 = 0\n"
			     "call #132\n"
			     "full:\n"
			     "r0 = 0\nexit\n";

/* On one of the two runtimes; here == NULL: the kernel. */
static long bpf(struct skep *here, int cmd, union bpf_attr *attr)
{
	return here ? skep_bpf(here, cmd, attr, sizeof(*attr)) : kern_bpf(cmd, attr);
}

static int load(struct skep *here, uint32_t type, const char *text, const int *maps)
{
	struct bpf_insn insns[64];
	int n = asm_text(text, insns, 64);
	union bpf_attr attr = {
		.prog_type = type, .insns = (uintptr_t)insns, .license = (uintptr_t) "GPL"};
	long fd;

	if (n < 0)
		exit(1);
	attr.insn_cnt = (uint32_t)n;
	for (int i = 0; i < n; i++)
		if (insns[i].code == (BPF_LD | BPF_DW | BPF_IMM)) {
			insns[i].src_reg = BPF_PSEUDO_MAP_FD;
			insns[i].imm = maps[insns[i].imm - 1];
			insns[++i].imm = 0;
		}
	fd = bpf(here, BPF_PROG_LOAD, &attr);
	if (fd < 0)
		die("loading a program", fd);
	return (int)fd;
}

static void make_maps(struct skep *here, int maps[2])
{
	union bpf_attr hash = {
		.map_type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 8, .max_entries = KEYS};
	union bpf_attr ring = {.map_type = BPF_MAP_TYPE_RINGBUF, .max_entries = RING_SIZE};

	maps[0] = (int)bpf(here, BPF_MAP_CREATE, &hash);
	maps[1] = (int)bpf(here, BPF_MAP_CREATE, &ring);
	if (maps[0] < 0 || maps[1] < 0)
		die("making maps", maps[0] < 0 ? maps[0] : maps[1]);
	for (uint32_t key = 0; key < KEYS; key++) {
		uint64_t zero = 0;
		union bpf_attr up = {.map_fd = (uint32_t)maps[0],
				     .key = (uintptr_t)&key,
				     .value = (uintptr_t)&zero};

		bpf(here, BPF_MAP_UPDATE_ELEM, &up);
	}
}

/* What is in the map at that key, and 0 from now on. */
static uint64_t take_count(struct skep *here, int map, uint32_t key)
{
	uint64_t value = 0, zero = 0;
	union bpf_attr attr = {
		.map_fd = (uint32_t)map, .key = (uintptr_t)&key, .value = (uintptr_t)&value};

	bpf(here, BPF_MAP_LOOKUP_ELEM, &attr);
	attr.value = (uintptr_t)&zero;
	bpf(here, BPF_MAP_UPDATE_ELEM, &attr);
	return value;
}

/* Bytes that were put into the ring since the last time. */
static uint64_t take_ring(int map)
{
	_Atomic uint64_t *head, *tail;
	uint64_t n;

	tail = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
	head = mmap(NULL, 4096, PROT_READ, MAP_SHARED, map, 4096);
	if (tail == MAP_FAILED || head == MAP_FAILED)
		die("mapping a ring buffer", -errno);
	n = *head - *tail;
	*tail = *head;
	munmap((void *)tail, 4096);
	munmap((void *)head, 4096);
	return n;
}

/* ---- The kernel's probes ---- */

static int read_number(const char *path)
{
	FILE *f = fopen(path, "re");
	int n = -1;

	if (f && fscanf(f, "%d", &n) != 1)
		n = -1;
	if (f)
		fclose(f);
	return n;
}

static int kern_uprobe(int prog, pid_t pid, bool ret)
{
	struct perf_event_attr attr = {.size = sizeof(attr), .config = ret};
	struct trace_elf *elf = NULL;
	struct trace_func f;
	int fd, type = read_number("/sys/bus/event_source/devices/uprobe/type");

	if (type < 0 || trace_elf_open(&elf, self) || trace_elf_find(elf, "bench_target", &f))
		die("the kernel's uprobes", -ENOENT);
	attr.type = (uint32_t)type;
	attr.config1 = (uintptr_t)self;
	attr.config2 = f.offset;
	fd = (int)syscall(SYS_perf_event_open, &attr, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0 || ioctl(fd, PERF_EVENT_IOC_SET_BPF, prog) ||
	    ioctl(fd, PERF_EVENT_IOC_ENABLE, 0))
		die("the kernel's uprobe", -errno);
	trace_elf_close(elf);
	return fd;
}

static int kern_raw(int prog, const char *name)
{
	union bpf_attr attr = {
		.raw_tracepoint = {.name = (uintptr_t)name, .prog_fd = (uint32_t)prog}};
	int fd = (int)kern_bpf(BPF_RAW_TRACEPOINT_OPEN, &attr);

	if (fd < 0)
		die("the kernel's raw tracepoint", fd);
	return fd;
}

/* ---- The table ---- */

enum { AT_ENTRY = 1, AT_RETURN = 2, AT_CALL = 4 };
enum check { NOTHING, COUNTED, CALLS_COUNTED, EVENTS, STRINGS };

static const struct row {
	const char *name, *entry, *exit;
	int at;
	enum check check;
	double goal;
} rows[] = {
	{"uprobe, empty", empty, NULL, AT_ENTRY, NOTHING, 40},
	{"uretprobe, empty", NULL, empty, AT_RETURN, NOTHING, 0},
	{"uprobe and uretprobe, empty", empty, empty, AT_ENTRY | AT_RETURN, NOTHING, 70},
	{"uprobe, counting in a hash map", count, NULL, AT_ENTRY, COUNTED, 60},
	{"uprobe, event of 16 bytes to a ring", event, NULL, AT_ENTRY, EVENTS, 60},
	{"uprobe, string of 64 bytes to a ring", string, NULL, AT_ENTRY, STRINGS, 150},
	{"system call, entry counted in a hash", count_call, NULL, AT_CALL, CALLS_COUNTED, 0},
	{"... and an empty program at its exit", count_call, empty, AT_CALL, CALLS_COUNTED, 25},
};

/* Every event of a turn must have arrived. */
static void check(const struct row *row, struct skep *here, const int *maps)
{
	uint64_t n = CALLS;

	switch (row->check) {
	case NOTHING:
		return;
	case COUNTED:
		n = take_count(here, maps[0], 7);
		break;
	case CALLS_COUNTED:
		n = take_count(here, maps[0], SYS_getppid);
		break;
	case EVENTS:
		n = take_ring(maps[1]) / 24;
		break;
	case STRINGS:
		n = take_ring(maps[1]) / 72;
		break;
	}
	if (n == CALLS)
		return;
	fprintf(stderr, "bench_trace: %s: %llu events of %d arrived (%s)\n", row->name,
		(unsigned long long)n, CALLS, here ? "skep" : "kernel");
	exit(1);
}

static void attach(const struct row *row, struct skep_trace *t, const int *maps)
{
	struct skep_error err = {{0}, {0}};
	struct skep_uprobe u = {.path = self, .func = "bench_target"};
	int e = 0;

	for (int k = 0; k < 2 && e >= 0; k++) {
		const char *text = k ? row->exit : row->entry;

		u.ret = k;
		if (text && row->at == AT_CALL)
			e = skep_trace_syscall(t,
					       load(skep, BPF_PROG_TYPE_RAW_TRACEPOINT, text, maps),
					       NULL, k ? AGENT_RAW_EXIT : AGENT_RAW_ENTER, 0, &err);
		else if (text)
			e = skep_trace_uprobe(t, load(skep, BPF_PROG_TYPE_KPROBE, text, maps), &u,
					      &err);
	}
	if (e < 0) {
		fprintf(stderr, "bench_trace: %s\n", err.what);
		exit(1);
	}
}

static void kern_attach(const struct row *row, pid_t pid, const int progs[2], int links[2])
{
	for (int k = 0; k < 2; k++) {
		links[k] = -1;
		if (progs[k] < 0)
			continue;
		links[k] = row->at == AT_CALL ? kern_raw(progs[k], k ? "sys_exit" : "sys_enter")
					      : kern_uprobe(progs[k], pid, k);
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), by_value);
	return v[n / 2];
}

static void on_notice(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "bench_trace: %s\n", text);
}

static struct skep_trace *open_trace(void)
{
	struct skep_trace_opts opts = {.notice = on_notice};
	struct skep_trace *t;
	struct skep_error err;
	int e = skep_trace_open(&t, skep, &opts, &err);

	if (e)
		die(err.what, e);
	return t;
}

static void run_row(const struct row *row, bool kernel, int rounds)
{
	char what = row->at == AT_CALL ? 's' : 'f';
	double bare[MAX_ROUNDS], ours[MAX_ROUNDS], theirs[MAX_ROUNDS];
	int maps[2], kmaps[2], progs[2] = {-1, -1}, links[2];
	uint32_t type = row->at == AT_CALL ? BPF_PROG_TYPE_RAW_TRACEPOINT : BPF_PROG_TYPE_KPROBE;
	struct skep_trace *t = open_trace();
	struct victim v[3];

	make_maps(skep, maps);
	attach(row, t, maps);
	if (kernel) {
		make_maps(NULL, kmaps);
		progs[0] = row->entry ? load(NULL, type, row->entry, kmaps) : -1;
		progs[1] = row->exit ? load(NULL, type, row->exit, kmaps) : -1;
	}
	start(&v[0], "victim", NULL);
	start(&v[1], "victim", NULL);
	start(&v[2], "victim", t);
	/* The first turn meets every place, and warms up. */
	for (int i = -1; i < rounds; i++) {
		double b = turn(&v[0], what), o, k = 0;

		o = turn(&v[2], what);
		if (skep_trace_entered(t) != 1)
			die("entering a started process", -EPERM);
		if (i >= 0)
			check(row, skep, maps);
		else
			take_count(skep, maps[0], SYS_getppid), take_count(skep, maps[0], 7),
				take_ring(maps[1]);
		if (kernel) {
			kern_attach(row, v[1].pid, progs, links);
			k = turn(&v[1], what);
			close(links[0]);
			close(links[1]);
			if (row->check == CALLS_COUNTED)
				take_count(NULL, kmaps[0], SYS_getppid); /* others' as well */
			else
				check(row, NULL, kmaps);
		}
		if (i >= 0) {
			bare[i] = b;
			ours[i] = o - b;
			theirs[i] = k - b;
		}
	}
	printf("%-38s %8.1f %8.1f", row->name, median(bare, rounds), median(ours, rounds));
	if (kernel)
		printf(" %8.1f", median(theirs, rounds));
	else
		printf(" %8s", "-");
	if (row->goal > 0)
		printf(" %8.0f", row->goal);
	printf("\n");
	fflush(stdout);
	for (int i = 0; i < 3; i++)
		end(&v[i]);
	skep_trace_close(t);
}

/* ---- Entering and leaving ---- */

static void run_attach(int rounds)
{
	double in[MAX_ROUNDS], out[MAX_ROUNDS];
	struct skep_error err;
	struct victim v;
	int maps[2], e;
	char byte;

	make_maps(skep, maps);
	start(&v, "many", NULL);
	get(&v, &byte, 1);
	for (int i = 0; i < rounds; i++) {
		struct skep_trace *t = open_trace();
		double from;

		attach(&rows[3], t, maps);
		from = clock_ns(CLOCK_MONOTONIC);
		e = skep_trace_enter(t, v.pid, &err);
		in[i] = clock_ns(CLOCK_MONOTONIC) - from;
		if (e)
			die(err.what, e);
		from = clock_ns(CLOCK_MONOTONIC);
		skep_trace_detach(t);
		out[i] = clock_ns(CLOCK_MONOTONIC) - from;
		skep_trace_close(t);
	}
	printf("\nentering a running process of %d threads %.1f ms (goal: 100), leaving it %.1f "
	       "ms\n",
	       THREADS, median(in, rounds) / 1e6, median(out, rounds) / 1e6);
	end(&v);
}

/* ---- redis ---- */

static bool installed(const char *name)
{
	char path[256];

	return !skep_trace_find_file(name, path, sizeof(path));
}

/* Requests per second of a server at that socket. */
static double redis_rate(struct skep_trace *t, const char *socket, const char *test)
{
	char command[512], line[256];
	double rate = 0;
	FILE *f;
	pid_t pid;
	int ends[2];

	snprintf(command, sizeof(command),
		 "redis-benchmark -s %s -n 100000 -c 20 -t %s --csv 2>/dev/null", socket, test);
	if (pipe(ends))
		die("pipe", -errno);
	pid = fork();
	if (!pid) {
		dup2(ends[1], 1);
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	close(ends[1]);
	while (!waitpid(pid, NULL, WNOHANG))
		if (!t)
			usleep(2000);
		else if (skep_trace_serve(t, 2, NULL))
			die("the server ended", -ECHILD);
	f = fdopen(ends[0], "r");
	while (f && fgets(line, sizeof(line), f)) {
		char *comma = strstr(line, "\",\"");

		if (comma && atof(comma + 3) > 0)
			rate = atof(comma + 3);
	}
	if (f)
		fclose(f);
	return rate;
}

static void run_redis(int rounds)
{
	char dir[] = "/tmp/bench-redis.XXXXXX", path[2][64];
	static const char *const tests[] = {"set", "get"};
	struct skep_trace *t = open_trace();
	struct skep_error err;
	pid_t pid[2];
	int maps[2];

	if (!mkdtemp(dir))
		die("a directory", -errno);
	make_maps(skep, maps);
	attach(&rows[sizeof(rows) / sizeof(rows[0]) - 1], t, maps);
	for (int i = 0; i < 2; i++) {
		char *argv[] = {"redis-server", "--port", "0", "--unixsocket",
				path[i],        "--save", "",  "--daemonize",
				"no",           "--dir",  dir, "--logfile",
				"/dev/null",    NULL};
		struct timespec ts = {0, 20000000};

		snprintf(path[i], sizeof(path[i]), "%s/%d", dir, i);
		if (i && skep_trace_start(t, argv, &pid[i], &err))
			die(err.what, -EIO);
		if (!i && !(pid[i] = fork())) {
			execvp(argv[0], argv);
			_exit(127);
		}
		for (int k = 0; access(path[i], F_OK) && k < 500; k++)
			if (!i)
				nanosleep(&ts, NULL);
			else
				skep_trace_serve(t, 20, NULL);
	}
	for (size_t k = 0; k < 2; k++) {
		double bare[MAX_ROUNDS], ours[MAX_ROUNDS], kept[MAX_ROUNDS];

		for (int i = -1; i < rounds; i++) {
			double b = redis_rate(NULL, path[0], tests[k]);
			double o = redis_rate(t, path[1], tests[k]);

			if (i < 0)
				continue;
			bare[i] = b;
			ours[i] = o;
			kept[i] = o / b * 100;
		}
		printf("redis %s: %.0f requests per second, with all system calls counted %.0f: "
		       "%.0f %% "
		       "(goal: 90)\n",
		       tests[k], median(bare, rounds), median(ours, rounds), median(kept, rounds));
		fflush(stdout);
	}
	for (int i = 0; i < 2; i++)
		kill(pid[i], SIGTERM);
	waitpid(pid[0], NULL, 0);
	while (!skep_trace_serve(t, 1, NULL))
		;
	skep_trace_close(t);
	for (int i = 0; i < 2; i++)
		unlink(path[i]);
	rmdir(dir);
}

int main(int argc, char **argv)
{
	static char path[4096];
	int rounds = 21, opt;
	bool kernel, redis = true;

	if (argc == 4 && !strcmp(argv[1], "victim"))
		return victim(atoi(argv[2]), atoi(argv[3]));
	if (argc == 4 && !strcmp(argv[1], "many"))
		return many(atoi(argv[2]), atoi(argv[3]));
	while ((opt = getopt(argc, argv, "r:n")) != -1) {
		if (opt == 'n') {
			redis = false;
		} else if (opt != 'r' || (rounds = atoi(optarg)) < 1 || rounds > MAX_ROUNDS) {
			fprintf(stderr, "usage: bench_trace [-r ROUNDS] [-n]\n");
			return 2;
		}
	}
	if (readlink("/proc/self/exe", path, sizeof(path) - 1) < 0 || skep_open(&skep, NULL))
		die("opening an instance", -ENOMEM);
	self = path;
	signal(SIGPIPE, SIG_IGN);
	kernel = kern_available();
	printf("ns on top of the call itself; median of %d\n", rounds);
	printf("%-38s %8s %8s %8s %8s\n", "", "call", "skep", kernel ? "kernel" : "(no bpf)",
	       "goal");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		run_row(&rows[i], kernel, rounds);
	run_attach(rounds < 11 ? rounds : 11);
	if (redis && !(installed("redis-server") && installed("redis-benchmark")))
		printf("skipped: redis is not installed\n");
	else if (redis)
		run_redis(rounds < 7 ? rounds : 7);
	skep_close(skep);
	return 0;
}
