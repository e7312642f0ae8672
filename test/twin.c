/* SPDX-License-Identifier: Apache-2.0 */
#include "twin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "kern.h"
#include "prog/type.h"

#define MAX_OUT 200000

static char complaint[512];

/* The checked mode says here that a verified program did what it must not. */
static void hear(void *arg, const char *text, size_t len)
{
	snprintf(complaint, sizeof(complaint), "%.*s", (int)len, text);
}

struct skep *twin_open(uint32_t flags)
{
	const char *other = getenv("SKEP_TEST_FLAGS");
	struct skep_opts opts = {
		.sz = sizeof(opts), .flags = other ? (uint32_t)atoi(other) : flags, .printk = hear};
	struct skep *skep;

	if (!kern_available()) {
		print_message("skipped: no bpf(2) here\n");
		skip();
	}
	assert_int_equal(skep_open(&skep, &opts), 0);
	return skep;
}

int twin_load(struct twin *t, struct skep *skep, uint32_t type, const struct bpf_insn *insns,
	      uint32_t n)
{
	return twin_load_flags(t, skep, type, type == BPF_PROG_TYPE_SYSCALL ? BPF_F_SLEEPABLE : 0,
			       insns, n);
}

int twin_load_flags(struct twin *t, struct skep *skep, uint32_t type, uint32_t flags,
		    const struct bpf_insn *insns, uint32_t n)
{
	static char log[1 << 16];
	union bpf_attr attr =
			       {
				       .prog_type = type,
				       .insns = (uintptr_t)insns,
				       .insn_cnt = n,
				       .license = (uintptr_t) "GPL",
				       .prog_flags = flags,
			       },
		       with_log = attr;

	with_log.log_level = 1;
	with_log.log_buf = (uintptr_t)log;
	with_log.log_size = sizeof(log);
	log[0] = '\0';
	memset(t, 0, sizeof(*t));
	t->skep = skep;
	t->name = skep_prog_types[type].name;
	t->kernel_fd = (int)kern_bpf(BPF_PROG_LOAD, &attr);
	if (t->kernel_fd < 0) {
		kern_bpf(BPF_PROG_LOAD, &with_log);
		print_message("kernel refuses: %d\n%s\n", t->kernel_fd, log);
		return t->kernel_fd;
	}
	t->skep_fd = (int)skep_bpf(skep, BPF_PROG_LOAD, &attr, sizeof(attr));
	if (t->skep_fd < 0) {
		skep_bpf(skep, BPF_PROG_LOAD, &with_log, sizeof(with_log));
		fail_msg("skep refuses: %d\n%s\n", t->skep_fd, log);
	}
	return 0;
}

void twin_unload(struct twin *t)
{
	close(t->kernel_fd);
	close(t->skep_fd);
}

/* Bytes of an output buffer that a run could touch, and some. */
static size_t out_space(const struct twin_run *run)
{
	size_t n = (run->size > run->out_size ? run->size : run->out_size) + 2048;

	return n < MAX_OUT ? n : MAX_OUT;
}

static void fill(union bpf_attr *attr, const struct twin_run *run, uint8_t *out, uint8_t *ctx_out)
{
	memset(attr, 0, sizeof(*attr));
	memset(out, 0xa5, out_space(run));
	memset(ctx_out, 0xa5, 4096);
	attr->test.data_in = (uintptr_t)run->data;
	attr->test.data_size_in = run->size;
	if (!run->no_data_out && run->data) {
		attr->test.data_out = (uintptr_t)out;
		attr->test.data_size_out = run->out_size;
	}
	attr->test.ctx_in = (uintptr_t)run->ctx;
	attr->test.ctx_size_in = run->ctx_size;
	if (!run->no_ctx_out && run->ctx_out_size) {
		attr->test.ctx_out = (uintptr_t)ctx_out;
		attr->test.ctx_size_out = run->ctx_out_size;
	}
	attr->test.flags = run->flags;
	attr->test.cpu = run->cpu;
	attr->test.repeat = run->repeat;
	attr->test.batch_size = run->batch_size;
	attr->test.duration = run->duration;
}

static void compare_bytes(const char *what, const char *name, const uint8_t *kernel,
			  const uint8_t *ours, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (kernel[i] != ours[i])
			fail_msg("%s: %s differ at byte %zu: kernel 0x%02x, skep 0x%02x", what,
				 name, i, kernel[i], ours[i]);
	}
}

#define COMPARE(field)                                                                             \
	do {                                                                                       \
		if (theirs.test.field != ours.test.field)                                          \
			fail_msg("%s: " #field ": kernel %u, skep %u", what, theirs.test.field,    \
				 ours.test.field);                                                 \
	} while (0)

int twin_run(struct twin *t, const struct twin_run *run, uint32_t *retval, const char *what)
{
	static uint8_t out[2][MAX_OUT], ctx_out[2][4096];
	union bpf_attr theirs, ours;
	int err, our_err;

	fill(&theirs, run, out[0], ctx_out[0]);
	fill(&ours, run, out[1], ctx_out[1]);
	theirs.test.prog_fd = (uint32_t)t->kernel_fd;
	err = (int)kern_bpf(BPF_PROG_TEST_RUN, &theirs);
	ours.test.prog_fd = (uint32_t)t->skep_fd;
	our_err = (int)skep_bpf(t->skep, BPF_PROG_TEST_RUN, &ours, sizeof(ours));
	if (complaint[0])
		fail_msg("%s: %s", what, complaint);
	if (err != our_err)
		fail_msg("%s: kernel answers %d, skep %d", what, err, our_err);
	COMPARE(retval);
	COMPARE(data_size_out);
	COMPARE(ctx_size_out);
	compare_bytes(what, "packets", out[0], out[1], out_space(run));
	compare_bytes(what, "contexts", ctx_out[0], ctx_out[1], 4096);
	if (retval)
		*retval = theirs.test.retval;
	return err;
}
