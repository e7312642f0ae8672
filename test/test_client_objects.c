/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects that programs make (test/bpf/objects.bpf.c): the same verdict, the same last message and
 * the same result on skep, compiled and interpreted, and on the running kernel. libbpf serves one
 * runtime in one process, so each side is a child.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "client/libbpf.h"
#include "bpf/instance.h"
#include "exec/heap.h"
#include "kern.h"
#include "skep.h"

extern const char skep_bpf_object_objects[], skep_bpf_object_objects_end[];

#define MAX_PROGS 128
#define LOG_SIZE  (1 << 20)

struct result {
	char name[64];
	int err;
	uint32_t retval;
	char message[200];
};

struct side {
	int done; /* everything was run */
	unsigned n;
	uint64_t left; /* objects in the heap at the end */
	struct result of[MAX_PROGS];
};

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level, (void)format, (void)args;
	return 0;
}

/* The line before the statistics. */
static void last_message(const char *log, char *out, size_t size)
{
	const char *end = NULL, *from;

	for (const char *p = strstr(log, "processed "); p; p = strstr(p + 1, "processed "))
		end = p;
	*out = 0;
	if (!end)
		return;
	while (end > log && end[-1] == '\n')
		end--;
	from = end;
	while (from > log && from[-1] != '\n')
		from--;
	snprintf(out, size, "%.*s", (int)(end - from), from);
}

static struct bpf_object *open_object(void)
{
	return bpf_object__open_mem(skep_bpf_object_objects,
				    (size_t)(skep_bpf_object_objects_end - skep_bpf_object_objects),
				    NULL);
}

static void one(struct side *side, unsigned number, char *log)
{
	struct bpf_object *obj = open_object();
	struct result *r = &side->of[number];
	struct bpf_program *p, *mine = NULL;
	unsigned i = 0;

	*log = 0;
	bpf_object__for_each_program(p, obj)
	{
		bpf_program__set_autoload(p, i == number);
		if (i++ == number)
			mine = p;
	}
	snprintf(r->name, sizeof(r->name), "%s", bpf_program__name(mine));
	bpf_program__set_log_buf(mine, log, LOG_SIZE);
	bpf_program__set_log_level(mine, 1);
	r->err = bpf_object__load(obj);
	last_message(log, r->message, sizeof(r->message));
	for (int round = 0; !r->err && round < 3; round++) {
		LIBBPF_OPTS(bpf_test_run_opts, opts);

		r->err = bpf_prog_test_run_opts(bpf_program__fd(mine), &opts);
		r->retval = opts.retval;
	}
	bpf_object__close(obj);
}

static void child(struct side *side, struct skep *skep)
{
	struct skep *was = skep_client_enter(skep);
	struct bpf_object *obj = open_object();
	char *log = malloc(LOG_SIZE);
	struct bpf_program *p;
	unsigned n = 0;

	bpf_object__for_each_program(p, obj) n++;
	bpf_object__close(obj);
	for (unsigned i = 0; i < n && i < MAX_PROGS && log; i++)
		one(side, i, log);
	side->n = n;
	side->done = 1;
	free(log);
	skep_client_leave(was);
}

static struct side *run_side(bool kernel, uint32_t flags)
{
	struct side *side = mmap(NULL, sizeof(*side), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0;
	pid_t pid;

	assert_ptr_not_equal(side, MAP_FAILED);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		struct skep_opts opts = {.sz = sizeof(opts), .flags = flags};
		struct skep *skep = NULL;

		libbpf_set_print(getenv("SKEP_TEST_LOGS") ? NULL : quiet);
		if (!kernel && skep_open(&skep, &opts))
			_exit(1);
		child(side, skep);
		if (skep) {
			skep_collect(skep);
			side->left = skep_heap_used(skep);
			skep_close(skep);
		}
		_exit(0);
	}
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	if (status || !side->done)
		fail_msg("the child ended with 0x%x", (unsigned)status);
	return side;
}

static unsigned compare(const struct side *a, const char *what, const struct side *b)
{
	unsigned bad = 0;

	assert_int_equal(a->n, b->n);
	for (unsigned i = 0; i < a->n; i++) {
		const struct result *x = &a->of[i], *y = &b->of[i];

		if (!x->err == !y->err && x->retval == y->retval &&
		    (!x->err || !strcmp(x->message, y->message)))
			continue;
		bad++;
		print_message("%s:\n  skep %d, %d: %s\n  %s %d, %d: %s\n", x->name, x->err,
			      (int)x->retval, x->message, what, y->err, (int)y->retval, y->message);
	}
	return bad;
}

static void test_objects(void **state)
{
	struct side *ours = run_side(false, 0), *interpreted = run_side(false, SKEP_F_INTERPRET),
		    *checked = run_side(false, SKEP_F_CHECKED);
	unsigned bad =
		compare(ours, "interpreted", interpreted) + compare(ours, "checked", checked);

	(void)state;
	for (unsigned i = 0; i < ours->n; i++) {
		const struct result *r = &ours->of[i];
		bool refused = !strncmp(r->name, "no_", 3);

		if (!r->err == refused || (!r->err && (int)r->retval < 0))
			fail_msg("%s: %d, %d: %s", r->name, r->err, (int)r->retval, r->message);
	}
	/* Maps are gone, and what they owned. */
	assert_int_equal(ours->left, 0);
	assert_int_equal(interpreted->left, 0);
	if (kern_available())
		bad += compare(ours, "kernel", run_side(true, 0));
	print_message("ran: objects %u\n", ours->n);
	assert_int_equal(bad, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_objects),
	};

	return cmocka_run_group_tests_name("client_objects", tests, NULL, NULL);
}
