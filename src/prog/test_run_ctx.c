/* SPDX-License-Identifier: Apache-2.0 */
/* TEST_RUN of programs that get the caller's bytes as their context. */
#include <errno.h>
#include <stdlib.h>

#include "helper/packet.h"
#include "os/caller.h"
#include "os/os.h"
#include "prog/fields.h"
#include "prog/test_run.h"

/* Bytes of its context that the program may touch at fixed offsets. */
static uint32_t max_ctx_offset(const struct skep_prog *prog)
{
	static const uint8_t sizes[] = {
		[BPF_W >> 3] = 4, [BPF_H >> 3] = 2, [BPF_B >> 3] = 1, [BPF_DW >> 3] = 8};
	const struct skep_image *img = &prog->image;
	uint32_t max = 0;

	for (uint32_t i = 0; img->facts && i < img->len; i++) {
		const struct bpf_insn *insn = &img->insns[i];
		uint32_t end;

		if (img->facts[i].mem != SKEP_MEM_CTX)
			continue;
		end = (uint32_t)insn->off + sizes[BPF_SIZE(insn->code) >> 3];
		max = end > max ? end : max;
	}
	return max;
}

/* Iterators run when they are read: there is no context to run them with, and the kernel says that so. */
int skep_test_run_tracing(struct skep_prog *prog, const union bpf_attr *attr, union bpf_attr *uattr)
{
	return attr->test.flags || attr->test.cpu || attr->test.batch_size ? -EINVAL : -EFAULT;
}

/* Runs once on ctx and stores the result. cpu: a slot, or UINT32_MAX for any. */
static int run_once(struct skep_prog *prog, void *ctx, uint32_t size, uint32_t cpu,
		    union bpf_attr *uattr)
{
	struct skep_session s;
	uint32_t retval;
	int err;

	err = skep_session_open(&s, prog);
	if (err)
		return err;
	skep_session_show(&s, ctx, size, SKEP_REGION_READ | SKEP_REGION_WRITE);
	if (cpu == UINT32_MAX)
		skep_enter(s.env);
	else
		err = skep_enter_on(s.env, cpu);
	if (err) {
		skep_session_close(&s);
		return err;
	}
	retval = (uint32_t)skep_session_run(&s, ctx);
	skep_leave(s.env);
	skep_session_close(&s);
	return skep_caller_write(&uattr->test.retval, &retval, sizeof(retval));
}

static int copy_ctx(const struct skep_prog *prog, const union bpf_attr *attr, uint32_t max,
		    void **ctx)
{
	uint32_t size = attr->test.ctx_size_in;
	int err;

	if (size < max_ctx_offset(prog) || size > max)
		return -EINVAL;
	*ctx = NULL;
	if (!size)
		return 0;
	*ctx = malloc(size);
	if (!*ctx)
		return -ENOMEM;
	err = skep_test_copy_in(*ctx, attr->test.ctx_in, size);
	if (err)
		free(*ctx);
	return err;
}

int skep_test_run_raw_tp(struct skep_prog *prog, const union bpf_attr *attr, union bpf_attr *uattr)
{
	bool on_cpu = attr->test.flags & BPF_F_TEST_RUN_ON_CPU;
	uint32_t cpu = on_cpu ? attr->test.cpu : UINT32_MAX;
	void *ctx;
	int err;

	if (attr->test.data_in || attr->test.data_out || attr->test.ctx_out ||
	    attr->test.duration || attr->test.repeat || attr->test.batch_size)
		return -EINVAL;
	if (!on_cpu && attr->test.cpu)
		return -EINVAL;
	err = copy_ctx(prog, attr, SKEP_CTX_SIZE_RAW_TP, &ctx);
	if (err)
		return err;
	if (on_cpu && cpu >= prog->obj.skep->cpus)
		err = -ENXIO;
	else
		err = run_once(prog, ctx, attr->test.ctx_size_in, cpu, uattr);
	free(ctx);
	return err;
}

int skep_test_run_syscall(struct skep_prog *prog, const union bpf_attr *attr, union bpf_attr *uattr)
{
	uint32_t size = attr->test.ctx_size_in;
	void *ctx;
	int err;

	if (attr->test.data_in || attr->test.data_out || attr->test.ctx_out ||
	    attr->test.duration || attr->test.repeat || attr->test.flags || attr->test.batch_size)
		return -EINVAL;
	err = copy_ctx(prog, attr, SKEP_CTX_SIZE_SYSCALL, &ctx);
	if (err)
		return err;
	err = run_once(prog, ctx, size, UINT32_MAX, uattr);
	if (!err)
		err = skep_test_copy_out(attr->test.ctx_in, ctx, size);
	free(ctx);
	return err;
}
