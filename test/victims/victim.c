/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program to be traced, in several ways of linking. What it prints depends on every function
 * doing its work; what a trace must see is written beside each.
 */
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __clang__ /* it makes no clones */
#define PROBED __attribute__((noinline, used))
#else
#define PROBED __attribute__((noinline, noclone, used))
#endif

static volatile int sink;
static jmp_buf back;

/* Argument and result. */
PROBED int victim_add(int a, int b)
{
	sink++;
	return a + b;
}

/* Recursive. */
PROBED long victim_fact(long n)
{
	long r = 1;

	if (n > 1) {
		r = victim_fact(n - 1);
		sink++; /* so that it is no loop */
	}
	return n * r;
}

/* Ends in a jump to another probed function. */
PROBED int victim_tail(int a)
{
	sink++;
	return victim_add(a, 1000);
}

/* Never returns. */
PROBED void victim_jump(int n)
{
	sink++;
	if (n > 0)
		victim_jump(n - 1);
	longjmp(back, 7);
}

PROBED const char *victim_text(const char *s)
{
	sink++;
	return s + 1;
}

/* Begins with a loop to its own first bytes. */
__asm__(".text\n.globl victim_loop\n.type victim_loop, @function\n.balign 16\nvictim_loop:\n"
	"	xor %eax, %eax\n1:	inc %eax\n	dec %edi\n	jg 1b\n	ret\n"
	".size victim_loop, . - victim_loop\n");
int victim_loop(int n);

/* Shorter than a jump. */
__asm__(".text\n.globl victim_short\n.type victim_short, @function\n.balign 16\nvictim_short:\n"
	"	mov %edi, %eax\n	ret\n.size victim_short, . - victim_short\n.balign 16\n");
int victim_short(int n);

/* Ends its thread: the C library unwinds the stack. */
PROBED int victim_leave(int n)
{
	int r;

	if (n == 0)
		pthread_exit((void *)5L);
	r = victim_leave(n - 1);
	sink++;
	return r + 1;
}

static void cleanup(void *arg)
{
	victim_add(*(int *)arg, 0);
}

static void *leaver(void *arg)
{
	int n = 77;

	pthread_cleanup_push(cleanup, &n);
	victim_leave((int)(long)arg);
	pthread_cleanup_pop(1);
	return NULL;
}

PROBED int victim_frames(void)
{
	void *at[32];
	int n = backtrace(at, 32);

	sink++;
	return n;
}

static int unwind(void)
{
	pthread_t t;
	void *r;

	for (int i = 0; i < 20; i++) {
		pthread_create(&t, NULL, leaver, (void *)5L);
		pthread_join(t, &r);
	}
	printf("left %ld frames %d\n", (long)r, victim_frames());
	return 4;
}

static void on_signal(int sig)
{
	(void)sig;
	victim_add(sig, 0);
}

static void *thread(void *arg)
{
	long sum = 0;

	for (int i = 0; i < 1000; i++)
		sum += victim_add(i, (int)(long)arg);
	return (void *)sum;
}

static void threads(int n)
{
	pthread_t t[64];
	long sum = 0;
	void *one;

	for (int i = 0; i < n; i++)
		pthread_create(&t[i], NULL, thread, (void *)(long)i);
	for (int i = 0; i < n; i++) {
		pthread_join(t[i], &one);
		sum += (long)one;
	}
	printf("threads %ld\n", sum);
}

/* ---- System calls ---- */

static char altstack[8192];
static int null;

static void quiet(int sig)
{
	(void)!write(null, "handler", 7);
	(void)sig;
}

static long inlined(long nr, long a)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "0"(nr), "D"(a) : "rcx", "r11", "memory");
	return ret;
}

static void *caller(void *arg)
{
	for (int i = 0; i < 10; i++)
		inlined(SYS_getppid, 0);
	return arg;
}

/* Twice the same call from one instruction with a thread of its own in between, on a stack of
 * its own, all signals blocked, from handlers, in children that share memory. */
static int calls(char **env)
{
	struct sigaction sa = {.sa_handler = quiet, .sa_flags = SA_ONSTACK};
	stack_t ss = {.ss_sp = altstack, .ss_size = sizeof(altstack)};
	char *args[] = {"true", NULL};
	sigset_t all, old;
	int status, sum = 0;
	pthread_t t;
	pid_t pid;

	null = open("/dev/null", O_RDWR);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	for (int i = 0; i < 100; i++) {
		sum += (int)write(null, "x", (size_t)(i % 3));
		inlined(SYS_getppid, 0);
		syscall(SYS_close, -1);
	}
	pid = fork();
	if (!pid)
		_exit((int)syscall(SYS_getppid) > 0 ? 7 : 8);
	waitpid(pid, &status, 0);
	sum += WEXITSTATUS(status);
	sigprocmask(SIG_SETMASK, &old, NULL);
	sigaltstack(&ss, NULL);
	sigfillset(&sa.sa_mask);
	sigaction(SIGUSR1, &sa, NULL);
	for (int i = 0; i < 10; i++)
		raise(SIGUSR1);
	for (int i = 0; i < 10; i++) {
		pid = vfork();
		if (!pid) {
			inlined(SYS_getppid, 0);
			_exit(3);
		}
		waitpid(pid, &status, 0);
		sum += WEXITSTATUS(status);
		if (posix_spawn(&pid, "/bin/true", NULL, NULL, args, env))
			return 9;
		waitpid(pid, &status, 0);
		sum += WEXITSTATUS(status);
		pthread_create(&t, NULL, caller, NULL);
		pthread_join(t, NULL);
	}
	printf("calls %d\n", sum);
	return 5;
}

int main(int argc, char **argv, char **env)
{
	long rounds = argc > 1 ? atol(argv[1]) : 1;
	int status = 0;
	pid_t pid;

	if (argc > 1 && !strcmp(argv[1], "unwind"))
		return unwind();
	if (argc > 1 && !strcmp(argv[1], "calls"))
		return calls(env);
	for (long i = 0; i < rounds; i++)
		victim_add(i, i);
	printf("fact %ld\n", victim_fact(10));
	printf("tail %d\n", victim_tail(5));
	if (!setjmp(back))
		victim_jump(3);
	printf("after %d\n", victim_add(1, 2));
	printf("text %s\n", victim_text("xyz"));
	printf("loop %d short %d\n", victim_loop(4), victim_short(9));
	signal(SIGUSR1, on_signal);
	raise(SIGUSR1);
	threads(8);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		printf("child %d\n", victim_add(20, 22));
		fflush(stdout);
		_exit(victim_short(5));
	}
	waitpid(pid, &status, 0);
	printf("status %d\n", WEXITSTATUS(status));
	if (argc > 2) {
		argv[2] = NULL;
		fflush(stdout);
		execv("/proc/self/exe", argv);
	}
	return 3;
}
