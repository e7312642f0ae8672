/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that makes tracing hard, in the way that its first argument names. It goes on until SIGTERM
 * (or its time is over), then ends with 0 if everything that it did came out right. Its
 * progress is a counter in memory that it shares with whoever started it (descriptor 9).
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef __clang__ /* it makes no clones */
#define PROBED __attribute__((noinline, used))
#else
#define PROBED __attribute__((noinline, noclone, used))
#endif

static _Atomic uint64_t *progress;
static volatile sig_atomic_t stop;
static volatile int sink;
static _Atomic int wrong;
static char **environment;

PROBED long hard_add(long a, long b)
{
	sink++;
	return a + b;
}

PROBED const char *hard_text(const char *s)
{
	sink++;
	return s + 1;
}

/* A bit of everything that may be probed. */
static void work(long i)
{
	static const char text[] = "a text in the program's file";
	char own[32];

	snprintf(own, sizeof(own), "%ld", i);
	if (hard_add(i, 7) != i + 7 || *hard_text(text) != ' ' || hard_text(own) != own + 1 ||
	    syscall(SYS_getppid) < 0)
		wrong = 1;
	++*progress;
}

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

static void nap(long ns)
{
	struct timespec ts = {0, ns};

	nanosleep(&ts, NULL);
}

static void plain(void)
{
	for (long i = 0; !stop; i++) {
		work(i);
		nap(1000);
	}
}

static void *worker(void *arg)
{
	for (long i = (long)arg; !stop; i++) {
		work(i);
		nap(1000000);
	}
	return NULL;
}

static void threads(int n)
{
	pthread_attr_t attr;
	pthread_t t[256];

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	for (long i = 0; i < n; i++)
		if (pthread_create(&t[i], &attr, worker, (void *)i))
			wrong = 1;
	for (int i = 0; i < n; i++)
		pthread_join(t[i], NULL);
}

static void *once(void *arg)
{
	work((long)arg);
	return arg;
}

/* About a thousand threads a second. */
static void churn(void)
{
	pthread_t t;
	void *r;

	for (long i = 0; !stop; i++) {
		if (pthread_create(&t, NULL, once, (void *)i) || pthread_join(t, &r) ||
		    (long)r != i)
			wrong = 1;
		nap(500000);
	}
}

static void children(void)
{
	char *args[] = {"true", NULL};
	int status;
	pid_t pid;

	for (long i = 0; !stop; i++) {
		work(i);
		if (i % 3 == 0) {
			if (posix_spawn(&pid, "/bin/true", NULL, NULL, args, environment))
				wrong = 1;
		} else if (i % 3 == 1) {
			pid = vfork();
			if (!pid)
				_exit(0);
		} else {
			pid = fork();
			if (!pid) {
				work(i);
				_exit(wrong);
			}
		}
		if (waitpid(pid, &status, 0) != pid || status)
			wrong = 1;
	}
}

static void on_timer(int sig)
{
	static long n;

	(void)sig;
	work(n++);
}

/* Handlers with everything blocked, on a stack as small as it may be, into whatever runs. */
static void signals(void)
{
	struct itimerspec its = {{0, 300000}, {0, 300000}};
	struct sigaction sa = {.sa_handler = on_timer, .sa_flags = SA_ONSTACK | SA_RESTART};
	size_t size = (size_t)sysconf(_SC_MINSIGSTKSZ) + 4096;
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	stack_t ss = {.ss_size = size};
	uint8_t *map = mmap(NULL, 16384 + size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	timer_t timer;

	size = (size + 4095) & ~4095ul;
	ss.ss_size = size;
	ss.ss_sp = map + 8192;
	mprotect(ss.ss_sp, size, PROT_READ | PROT_WRITE);
	sigaltstack(&ss, NULL);
	sigfillset(&sa.sa_mask);
	sigaction(SIGUSR1, &sa, NULL);
	timer_create(CLOCK_MONOTONIC, &ev, &timer);
	timer_settime(timer, 0, &its, NULL);
	for (long i = 0; !stop; i++) {
		if (hard_add(i, 1) != i + 1)
			wrong = 1;
		if (i % 1000 == 0)
			syscall(SYS_getppid);
	}
	timer_delete(timer);
}

/* All signals blocked; SIGTERM is looked for. */
static void blocked(void)
{
	struct timespec none = {0, 0};
	sigset_t all, term;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	for (long i = 0; sigtimedwait(&term, NULL, &none) < 0; i++)
		work(i);
}

/* Closes every descriptor again and again. */
static void closer(void)
{
	for (long i = 0; !stop; i++) {
		work(i);
		syscall(SYS_close_range, 3, ~0u, 0);
		nap(10000);
	}
}

/* Only these calls; others kill. */
static void sandbox(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_nanosleep, 6, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_nanosleep, 5, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_restart_syscall, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {sizeof(code) / sizeof(code[0]), code};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0))
		wrong = 1;
	for (long i = 0; !stop; i++) {
		work(i);
		nap(20000);
	}
	_exit(wrong);
}

/* Becomes itself anew all the time. */
static void execer(char **argv)
{
	for (long i = 0; i < 200 && !stop; i++) {
		work(i);
		nap(50000);
	}
	if (!stop && !wrong) {
		execv("/proc/self/exe", argv);
		wrong = 1;
	}
}

int main(int argc, char **argv, char **env)
{
	const char *how = argc > 1 ? argv[1] : "plain";

	environment = env;
	progress = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 9, 0);
	if (progress == MAP_FAILED)
		return 2;
	signal(SIGTERM, on_term);
	if (argc > 2)
		alarm((unsigned)atoi(argv[2]));
	if (!strcmp(how, "plain"))
		plain();
	else if (!strcmp(how, "threads"))
		threads(100);
	else if (!strcmp(how, "churn"))
		churn();
	else if (!strcmp(how, "children"))
		children();
	else if (!strcmp(how, "signals"))
		signals();
	else if (!strcmp(how, "blocked"))
		blocked();
	else if (!strcmp(how, "closer"))
		closer();
	else if (!strcmp(how, "sandbox"))
		sandbox();
	else if (!strcmp(how, "execer"))
		execer(argv);
	else
		return 2;
	return wrong;
}
