/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that make tracing hard go on unharmed: entered and left again and again under load, with
 * the tracer or themselves killed at random. After each, code is compared with the files byte by byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "asm.h"
#include "scale.h"
#include "skep.h"
#include "trace/session.h"
#include "trace/trace.h"

static char victim_path[4096];
static int entered, killed_tracers, killed_targets, lived;
static char notices[4096];

/* ---- Victims ---- */

struct victim {
	pid_t pid;
	_Atomic uint64_t *progress;
	const char *how;
};

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void nap(double seconds)
{
	struct timespec ts = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};

	nanosleep(&ts, NULL);
}

static char **arguments(const char *how)
{
	static char *argv[4];

	strcpy(strrchr(victim_path, '/'), strcmp(how, "exceptions") ? "/hard" : "/cxx");
	argv[0] = victim_path;
	argv[1] = (char *)(uintptr_t)how;
	argv[2] = (char *)"120";
	return argv;
}

/* Shared memory for the progress, at descriptor 9 for who is started next. */
static _Atomic uint64_t *share(void)
{
	int fd = memfd_create("progress", 0);
	void *p;

	assert_true(fd >= 0 && !ftruncate(fd, 4096));
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	if (fd != 9) {
		assert_int_equal(dup2(fd, 9), 9);
		close(fd);
	}
	return p;
}

static void check_moves(const struct victim *v)
{
	uint64_t before = *v->progress;
	double limit = now() + 20;

	while (*v->progress < before + 3) {
		int status;

		if (waitpid(v->pid, &status, WNOHANG) == v->pid)
			fail_msg("%s ended: %#x", v->how, status);
		if (now() > limit)
			fail_msg("%s stands still", v->how);
		nap(0.001);
	}
}

static struct victim start(const char *how)
{
	struct victim v = {.how = how, .progress = share()};
	char **argv;

	argv = arguments(how);
	v.pid = fork();
	if (!v.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execv(victim_path, argv);
		_exit(127);
	}
	close(9);
	check_moves(&v);
	return v;
}

/* It ends well, and everything that it did was right. */
static void finish(struct victim *v)
{
	int status;

	check_moves(v);
	kill(v->pid, SIGTERM);
	assert_int_equal(waitpid(v->pid, &status, 0), v->pid);
	if (status)
		fail_msg("%s ended with %#x", v->how, status);
	munmap((void *)v->progress, 4096);
	lived++;
}

/* Every byte of code that is mapped from a file is the file's: what differs, or NULL. */
static const char *changed_code(pid_t pid)
{
	static char what[700];
	char path[64], line[600];
	const char *bad = NULL;
	int mem;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "re");
	while (f && mem >= 0 && !bad && fgets(line, sizeof(line), f)) {
		unsigned long start, end, offset;
		char perms[8], file[512];
		uint8_t *a, *b;
		int fd;

		if (sscanf(line, "%lx-%lx %7s %lx %*s %*s %511s", &start, &end, perms, &offset,
			   file) < 5 ||
		    perms[2] != 'x' || file[0] != '/')
			continue;
		fd = open(file, O_RDONLY | O_CLOEXEC);
		a = malloc(end - start);
		b = calloc(1, end - start);
		assert_true(fd >= 0 && a && b);
		assert_true(pread(fd, b, end - start, (off_t)offset) > 0);
		if (pread(mem, a, end - start, (off_t)start) != (ssize_t)(end - start) ||
		    memcmp(a, b, end - start) != 0) {
			snprintf(what, sizeof(what), "%s", line);
			bad = what;
		}
		free(a);
		free(b);
		close(fd);
	}
	if (f)
		fclose(f);
	close(mem);
	return bad;
}

/* Agents live in a part of the address space that nobody else is given. */
static bool has_agent(pid_t pid)
{
	char path[64], line[600];
	bool has = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		unsigned long at = strtoul(line, NULL, 16);

		has |= at >= 0x200000000000 && at < 0x300000000000;
	}
	if (f)
		fclose(f);
	return has;
}

static int open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

/* ---- Tracing ---- */

/* A map of counts at keys 1 and up, and a ring; and every helper that a traced process may call. */
static const char count_entry[] = "r1 = 1\n*(u32 *)(r10 -4) = r1\n"
				  "r1 = 1 ll\nr2 = r10\nr2 += -4\ncall #1\n"
				  "if r0 == 0x0 goto none\nr1 = 1\n"
				  "lock *(u64 *)(r0 +0) += r1\nnone:\nr0 = 0\nexit\n";
static const char count_return[] = "r1 = 2\n*(u32 *)(r10 -4) = r1\n"
				   "r1 = 1 ll\nr2 = r10\nr2 += -4\ncall #1\n"
				   "if r0 == 0x0 goto none\nr1 = 1\n"
				   "lock *(u64 *)(r0 +0) += r1\nnone:\nr0 = 0\nexit\n";
static const char helpers[] =
	"r6 = r1\n"
	"call #14\ncall #15\ncall #8\ncall #7\ncall #5\ncall #125\n"
	"r1 = r10\nr1 += -16\nr2 = 16\ncall #16\n"
	"r1 = r10\nr1 += -8\nr2 = 8\nr3 = 0x10\ncall #112\n" /* nothing is there */
	"r1 = 2 ll\nr2 = 64\nr3 = 0\ncall #131\n"
	"if r0 == 0x0 goto full\n"
	"r7 = r0\n"
	"r1 = r7\nr2 = 64\nr3 = *(u64 *)(r6 +112)\ncall #114\n"
	"r8 = r0\n"
	"r1 = r7\nr2 = 0\ncall #132\n"
	"r1 = 3\n"
	"if r8 s> 0 goto read\n"
	"r1 = 4\n"
	"read:\n"
	"*(u32 *)(r10 -4) = r1\n"
	"r1 = 1 ll\nr2 = r10\nr2 += -4\ncall #1\n"
	"if r0 == 0x0 goto full\nr1 = 1\n"
	"lock *(u64 *)(r0 +0) += r1\n"
	"full:\n"
	"r1 = 9\n*(u32 *)(r10 -4) = r1\n"
	"*(u64 *)(r10 -16) = r1\n"
	"r1 = 1 ll\nr2 = r10\nr2 += -4\nr3 = r10\nr3 += -16\nr4 = 0\ncall #2\n"
	"r1 = 1 ll\nr2 = r10\nr2 += -4\ncall #3\n"
	"r0 = 0\nexit\n";

static void on_notice(void *arg, const char *text)
{
	size_t n = strlen(notices);

	(void)arg;
	snprintf(notices + n, sizeof(notices) - n, "%s\n", text);
}

struct tracer {
	struct skep *skep;
	struct skep_trace *t;
	int maps[2];
};

/* func NULL: at system calls. */
static void load_at(struct tracer *tr, const char *text, const char *func, bool ret)
{
	struct skep_uprobe u = {.path = victim_path, .func = func, .ret = ret};
	static char log[65536];
	struct bpf_insn insns[96];
	int n = asm_text(text, insns, 96);
	union bpf_attr attr = {.prog_type =
				       func ? BPF_PROG_TYPE_KPROBE : BPF_PROG_TYPE_RAW_TRACEPOINT,
			       .insns = (uintptr_t)insns,
			       .insn_cnt = (uint32_t)n,
			       .log_level = 1,
			       .log_buf = (uintptr_t)log,
			       .log_size = sizeof(log),
			       .license = (uintptr_t) "GPL"};
	struct skep_error err = {{0}, {0}};
	long fd;

	assert_true(n > 0);
	for (int i = 0; i < n; i++)
		if (insns[i].code == (BPF_LD | BPF_DW | BPF_IMM)) {
			insns[i].src_reg = BPF_PSEUDO_MAP_FD;
			insns[i].imm = tr->maps[insns[i].imm - 1];
			insns[++i].imm = 0;
		}
	fd = skep_bpf(tr->skep, BPF_PROG_LOAD, &attr, sizeof(attr));
	if (fd < 0)
		fail_msg("a program is refused: %s", log);
	if (func ? skep_trace_uprobe(tr->t, (int)fd, &u, &err) < 0
		 : skep_trace_syscall(tr->t, (int)fd, NULL, ret ? AGENT_RAW_EXIT : AGENT_RAW_ENTER,
				      0, &err) < 0)
		fail_msg("%s", err.what);
	close((int)fd);
}

static void open_trace(struct tracer *tr)
{
	struct skep_trace_opts opts = {.notice = on_notice};
	struct skep_error err;

	notices[0] = 0;
	if (skep_trace_open(&tr->t, tr->skep, &opts, &err))
		fail_msg("%s", err.what);
	load_at(tr, count_entry, "hard_add", false);
	load_at(tr, count_return, "hard_add", true);
	load_at(tr, helpers, "hard_text", false);
}

static void open_tracer(struct tracer *tr)
{
	union bpf_attr hash = {
		.map_type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 8, .max_entries = 64};
	union bpf_attr ring = {.map_type = BPF_MAP_TYPE_RINGBUF, .max_entries = 1 << 16};

	assert_int_equal(skep_open(&tr->skep, NULL), 0);
	tr->maps[0] = (int)skep_bpf(tr->skep, BPF_MAP_CREATE, &hash, sizeof(hash));
	tr->maps[1] = (int)skep_bpf(tr->skep, BPF_MAP_CREATE, &ring, sizeof(ring));
	assert_true(tr->maps[0] >= 0 && tr->maps[1] >= 0);
	for (uint32_t key = 1; key <= 4; key++) {
		uint64_t zero = 0;
		union bpf_attr up = {.map_fd = (uint32_t)tr->maps[0],
				     .key = (uintptr_t)&key,
				     .value = (uintptr_t)&zero};

		assert_int_equal(skep_bpf(tr->skep, BPF_MAP_UPDATE_ELEM, &up, sizeof(up)), 0);
	}
}

static void close_tracer(struct tracer *tr)
{
	close(tr->maps[0]);
	close(tr->maps[1]);
	skep_close(tr->skep);
}

static uint64_t counted(struct tracer *tr, uint32_t key)
{
	uint64_t value = 0;
	union bpf_attr attr = {.map_fd = (uint32_t)tr->maps[0],
			       .key = (uintptr_t)&key,
			       .value = (uintptr_t)&value};

	assert_int_equal(skep_bpf(tr->skep, BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr)), 0);
	return value;
}

static void enter(struct tracer *tr, const struct victim *v)
{
	struct skep_error err;

	if (skep_trace_enter(tr->t, v->pid, &err))
		fail_msg("%s: %s", v->how, err.what);
}

/* ---- Entering and leaving under load ---- */

static void again_and_again(const char *how, unsigned long rounds)
{
	struct victim v = start(how);
	int files = open_files();
	struct tracer tr;

	open_tracer(&tr);
	for (unsigned long i = 0; i < rounds; i++) {
		uint64_t entries = counted(&tr, 1), returns = counted(&tr, 2);
		double limit = now() + 10;
		const char *bad;

		open_trace(&tr);
		enter(&tr, &v);
		/* Every other time at once. */
		while (i % 2 == 0 && (counted(&tr, 1) == entries || counted(&tr, 2) == returns) &&
		       now() < limit)
			nap(0.0005);
		if (now() >= limit)
			fail_msg("%s: no events", how);
		skep_trace_close(tr.t);
		if (notices[0])
			fail_msg("%s, round %lu: %s", how, i, notices);
		bad = changed_code(v.pid);
		if (bad)
			fail_msg("%s, round %lu: code was changed in %s", how, i, bad);
		assert_false(has_agent(v.pid));
		check_moves(&v);
		entered++;
	}
	close_tracer(&tr);
	assert_int_equal(open_files(), files);
	finish(&v);
}

static void plain(void **state)
{
	again_and_again("plain", scaled(20));
}

static void threads(void **state)
{
	again_and_again("threads", scaled(12));
}

static void churn(void **state)
{
	again_and_again("churn", scaled(20));
}

static void children(void **state)
{
	again_and_again("children", scaled(12));
}

static void signals(void **state)
{
	again_and_again("signals", scaled(20));
}

static void blocked(void **state)
{
	again_and_again("blocked", scaled(20));
}

static void closer(void **state)
{
	again_and_again("closer", scaled(20));
}

static void sandbox(void **state)
{
	if (geteuid()) {
		printf("skipped: entering a sandbox, which takes root\n");
		return;
	}
	again_and_again("sandbox", scaled(12));
}

static void exceptions(void **state)
{
	again_and_again("exceptions", scaled(12));
}

/* ---- Killed at random ---- */

static void random_nap(double most)
{
	nap(most * (double)(rand() % 1000) / 1000);
}

static void await_clean(const struct victim *v)
{
	double limit = now() + 20;
	const char *bad;

	while ((bad = changed_code(v->pid)) || has_agent(v->pid)) {
		if (now() > limit)
			fail_msg("%s: after its tracer was killed: %s", v->how,
				 bad ? bad : "the agent is in there");
		nap(0.002);
	}
}

/* Enters and leaves until it is killed. */
static void trace_for_ever(const struct victim *v)
{
	struct tracer tr;

	open_tracer(&tr);
	for (int i = 0;; i++) {
		open_trace(&tr);
		enter(&tr, v);
		if (i % 2)
			random_nap(0.005);
		skep_trace_close(tr.t);
	}
}

static void tracer_killed(void **state)
{
	static const char *const kinds[] = {"plain", "threads", "churn", "signals", "children"};
	size_t n = sizeof(kinds) / sizeof(kinds[0]);

	for (size_t k = 0; k < n; k++) {
		struct victim v = start(kinds[k]);

		for (unsigned long i = 0; i < scaled(4); i++) {
			pid_t tracer = fork();

			if (!tracer) {
				srand((unsigned)getpid());
				trace_for_ever(&v);
			}
			nap(0.03);
			random_nap(0.1);
			kill(tracer, SIGKILL);
			assert_int_equal(waitpid(tracer, NULL, 0), tracer);
			await_clean(&v);
			check_moves(&v);
			killed_tracers++;
		}
		finish(&v);
	}
}

/* The same of those who started it: the command goes on without. */
static void starter_killed(void **state)
{
	for (unsigned long i = 0; i < scaled(4); i++) {
		struct victim v = {.how = i % 2 ? "churn" : "plain", .progress = share()};
		double limit = now() + 20;
		pid_t starter;
		int ends[2];

		assert_int_equal(pipe(ends), 0);
		starter = fork();
		if (!starter) {
			struct skep_error err;
			struct tracer tr;
			pid_t pid;

			open_tracer(&tr);
			open_trace(&tr);
			if (skep_trace_start(tr.t, arguments(v.how), &pid, &err) ||
			    write(ends[1], &pid, sizeof(pid)) != sizeof(pid))
				_exit(1);
			for (;;)
				skep_trace_serve(tr.t, 5, NULL);
		}
		close(9);
		close(ends[1]);
		assert_int_equal(read(ends[0], &v.pid, sizeof(v.pid)), sizeof(v.pid));
		close(ends[0]);
		random_nap(0.1);
		kill(starter, SIGKILL);
		waitpid(starter, NULL, 0);
		check_moves(&v);
		await_clean(&v);
		kill(v.pid, SIGTERM);
		while (!kill(v.pid, 0)) {
			if (now() > limit)
				fail_msg("nobody waited for the command");
			nap(0.002);
		}
		munmap((void *)v.progress, 4096);
		killed_tracers++;
	}
}

static void target_killed(void **state)
{
	static const char *const kinds[] = {"threads", "churn", "signals"};
	int files = open_files();

	for (unsigned long i = 0; i < scaled(15); i++) {
		struct victim v = start(kinds[i % 3]);
		struct skep_error err;
		struct tracer tr;
		pid_t killer = fork();

		if (!killer) {
			srand((unsigned)getpid());
			random_nap(0.05);
			kill(v.pid, SIGKILL);
			_exit(0);
		}
		open_tracer(&tr);
		for (int k = 0, e = 0; k < 100 && !e; k++) {
			open_trace(&tr);
			e = skep_trace_enter(tr.t, v.pid, &err);
			skep_trace_close(tr.t);
		}
		close_tracer(&tr);
		waitpid(killer, NULL, 0);
		/* As soon as it is dead its parent is told: nobody holds it. */
		for (double limit = now() + 10; waitpid(v.pid, NULL, WNOHANG) != v.pid; nap(0.001))
			if (now() > limit)
				fail_msg("%s: killed, but not gone", v.how);
		munmap((void *)v.progress, 4096);
		killed_targets++;
	}
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	assert_int_equal(open_files(), files);
}

/* A new program in the place of the entered one is not traced, and as it should be. */
static void execer(void **state)
{
	struct victim v = start("execer");
	struct skep_error err;
	struct tracer tr;

	open_tracer(&tr);
	for (unsigned long i = 0; i < scaled(30); i++) {
		open_trace(&tr);
		skep_trace_enter(tr.t, v.pid, &err);
		random_nap(0.02);
		skep_trace_close(tr.t);
		check_moves(&v);
		entered++;
	}
	close_tracer(&tr);
	await_clean(&v);
	finish(&v);
}

/* ---- Started ---- */

/* From the first instruction to the end, with and without programs at system calls. */
static void started(void **state)
{
	static const char *const kinds[] = {"sandbox", "churn",  "children", "signals",
					    "blocked", "closer", "execer",   "threads"};

	for (size_t i = 0; i < 2 * sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct victim v = {.how = kinds[i / 2], .progress = share()};
		double limit = now() + 30;
		struct skep_error err;
		struct tracer tr;
		int status = -1;

		open_tracer(&tr);
		open_trace(&tr);
		if (i % 2) {
			load_at(&tr, count_entry, NULL, false);
			load_at(&tr, count_return, NULL, true);
		}
		if (skep_trace_start(tr.t, arguments(v.how), &v.pid, &err))
			fail_msg("%s: %s", v.how, err.what);
		close(9);
		while ((*v.progress < 100 || counted(&tr, 1) < 100 || counted(&tr, 2) < 100) &&
		       now() < limit)
			if (skep_trace_serve(tr.t, 5, &status))
				fail_msg("%s: ended with %#x %s", v.how, status, notices);
		if (now() >= limit)
			fail_msg("%s: %llu events, %llu returns, progress %llu %s", v.how,
				 (unsigned long long)counted(&tr, 1),
				 (unsigned long long)counted(&tr, 2),
				 (unsigned long long)*v.progress, notices);
		kill(v.pid, SIGTERM);
		while (!skep_trace_serve(tr.t, 5, &status))
			if (now() > limit + 10)
				fail_msg("%s does not end", v.how);
		if (status || notices[0])
			fail_msg("%s, %zu: ended with %#x %s", v.how, i % 2, status, notices);
		skep_trace_close(tr.t);
		close_tracer(&tr);
		munmap((void *)v.progress, 4096);
		lived++;
	}
}

/* ---- Others ---- */

static int run(char *const *argv, uid_t uid, char *out, size_t size)
{
	int ends[2], status;
	size_t n = 0;
	ssize_t got;
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (!pid) {
		if (uid && (setgid(uid) || setuid(uid)))
			_exit(126);
		dup2(ends[1], 1);
		dup2(ends[1], 2);
		execvp(argv[0], argv);
		_exit(127);
	}
	close(ends[1]);
	while (n + 1 < size && (got = read(ends[0], out + n, size - n - 1)) > 0)
		n += (size_t)got;
	out[n] = 0;
	close(ends[0]);
	waitpid(pid, &status, 0);
	return status;
}

/* A debugger finds its place free, and the stack as it is. */
static void debugger(void **state)
{
	char number[16], out[16384];
	char *argv[] = {"gdb", "-q",       "-nx", "-batch", "-p", number, "-ex", "break hard_add",
			"-ex", "continue", "-ex", "bt",     NULL};
	struct victim v = start("plain");
	struct tracer tr;

	snprintf(number, sizeof(number), "%d", (int)v.pid);
	open_tracer(&tr);
	open_trace(&tr);
	enter(&tr, &v);
	nap(0.01);
	skep_trace_close(tr.t);
	close_tracer(&tr);
	if (run(argv, 0, out, sizeof(out)) == 127 << 8) {
		printf("skipped: gdb is not installed\n");
	} else if (!strstr(out, "main (argc") || !strstr(out, "work (")) {
		fail_msg("gdb says: %s", out);
	}
	finish(&v);
}

/* It all takes no privilege. The tree may lie where nobody may look: the victim is copied. */
static void nobody(void **state)
{
	char *argv[] = {"/proc/self/exe", NULL}, out[16384], dir[] = "/tmp/hard-XXXXXX";
	char copy[32], command[sizeof(victim_path) + 160];
	int status;

	if (geteuid())
		return;
	assert_non_null(mkdtemp(dir));
	snprintf(copy, sizeof(copy), "%s/hard", dir);
	snprintf(command, sizeof(command), "cp %s %s && chmod 755 %s %s", victim_path, copy, dir,
		 copy);
	assert_int_equal(system(command), 0);
	setenv("ONLY", "churn", 1);
	setenv("VICTIM", copy, 1);
	status = run(argv, 65534, out, sizeof(out));
	unsetenv("ONLY");
	unsetenv("VICTIM");
	unlink(copy);
	rmdir(dir);
	if (status)
		fail_msg("as nobody: %s", out);
	assert_non_null(strstr(out, "lived 1"));
}

static int setup(void **state)
{
	ssize_t n = readlink("/proc/self/exe", victim_path, sizeof(victim_path) - 32);

	if (getenv("VICTIM")) {
		strncpy(victim_path, getenv("VICTIM"), sizeof(victim_path) - 1);
		return access(victim_path, X_OK);
	}
	assert_true(n > 0);
	victim_path[n] = 0;
	strcpy(strrchr(victim_path, '/'), "/victims/hard");
	return access(victim_path, X_OK);
}

static int done(void **state)
{
	printf("ran: trace-hard-entered %d\n", entered);
	printf("ran: trace-hard-lived %d\n", lived);
	printf("ran: trace-hard-tracers-killed %d\n", killed_tracers);
	printf("ran: trace-hard-targets-killed %d\n", killed_targets);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain),          cmocka_unit_test(threads),
		cmocka_unit_test(churn),          cmocka_unit_test(children),
		cmocka_unit_test(signals),        cmocka_unit_test(blocked),
		cmocka_unit_test(closer),         cmocka_unit_test(sandbox),
		cmocka_unit_test(exceptions),     cmocka_unit_test(tracer_killed),
		cmocka_unit_test(starter_killed), cmocka_unit_test(target_killed),
		cmocka_unit_test(execer),         cmocka_unit_test(started),
		cmocka_unit_test(debugger),       cmocka_unit_test(nobody),
	};

	cmocka_set_test_filter(getenv("ONLY"));
	return cmocka_run_group_tests(tests, setup, done);
}
