/* SPDX-License-Identifier: Apache-2.0 */
/* TEST_RUN: what its variants share. */
#include "prog/test_run.h"

#include <errno.h>
#include <string.h>

#include "os/caller.h"
#include "os/os.h"

#define CHUNK 256u

int skep_test_copy_in(void *dst, uint64_t src, uint32_t size)
{
	return size ? skep_caller_read(dst, (const void *)(uintptr_t)src, size) : 0;
}

int skep_test_copy_out(uint64_t dst, const void *src, uint32_t size)
{
	return size ? skep_caller_write((void *)(uintptr_t)dst, src, size) : 0;
}

/* Whether size bytes of the caller's are all 0: 0, -E2BIG or -EFAULT. */
static int check_zero(uint64_t src, uint32_t size)
{
	uint8_t buf[CHUNK];

	for (uint32_t n; size; size -= n, src += n) {
		n = size < CHUNK ? size : CHUNK;
		if (skep_test_copy_in(buf, src, n))
			return -EFAULT;
		for (uint32_t i = 0; i < n; i++) {
			if (buf[i])
				return -E2BIG;
		}
	}
	return 0;
}

int skep_test_ctx_in(const union bpf_attr *attr, void *ctx, uint32_t size, bool *used)
{
	uint32_t given = attr->test.ctx_size_in;
	int err;

	memset(ctx, 0, size);
	*used = attr->test.ctx_in || attr->test.ctx_out;
	if (!attr->test.ctx_in)
		return 0;
	if (given > SKEP_TEST_PAGE)
		return -E2BIG;
	if (given > size) {
		err = check_zero(attr->test.ctx_in + size, given - size);
		if (err)
			return err;
		given = size;
	}
	return skep_test_copy_in(ctx, attr->test.ctx_in, given);
}

/* Bytes to give back: size at data, and frags behind them that were in fragments. */
struct output {
	const uint8_t *data;
	uint32_t size, frags;
};

/* What bytes that don't fit answer, and what bytes that can't be written do. As in the kernel
 * the former wins, and what is cut off is the end of the first part, never a fragment. */
static int give(uint64_t dst, uint32_t room, const struct output *o, uint32_t *size_out,
		bool *written)
{
	uint32_t size = o->size + o->frags, n = room && size > room ? room : size;
	int err = n < size ? -ENOSPC : -EFAULT;

	*written = false;
	if (dst) {
		if (n < o->frags)
			return -ENOSPC;
		n -= o->frags;
		if (skep_test_copy_out(dst, o->data, n) ||
		    skep_test_copy_out(dst + n, o->data + o->size, o->frags))
			return err;
	}
	*written = !skep_caller_write(size_out, &size, sizeof(size));
	return *written && err == -EFAULT ? 0 : err;
}

int skep_test_finish(const union bpf_attr *attr, union bpf_attr *uattr, const void *data,
		     uint32_t size, uint32_t frags, uint32_t retval, uint32_t duration)
{
	struct output o = {.data = data, .size = size, .frags = frags};
	bool written;
	int err = give(attr->test.data_out, attr->test.data_size_out, &o,
		       &uattr->test.data_size_out, &written);

	if (!written)
		return err;
	if (skep_caller_write(&uattr->test.retval, &retval, sizeof(retval)) ||
	    skep_caller_write(&uattr->test.duration, &duration, sizeof(duration)))
		return err ? err : -EFAULT;
	return err;
}

int skep_test_ctx_out(const union bpf_attr *attr, union bpf_attr *uattr, const void *ctx,
		      uint32_t size, bool used)
{
	struct output o = {.data = ctx, .size = size};
	bool written;

	if (!used || !attr->test.ctx_out)
		return 0;
	return give(attr->test.ctx_out, attr->test.ctx_size_out, &o, &uattr->test.ctx_size_out,
		    &written);
}

uint32_t skep_test_repeat(struct skep_session *s, const union bpf_attr *attr, void *ctx,
			  const void *fresh, size_t size, uint32_t *duration)
{
	uint32_t n = attr->test.repeat ? attr->test.repeat : 1, retval = 0;
	uint64_t start, mean;

	skep_enter(s->env);
	start = skep_clock_mono();
	for (uint32_t i = 0; i < n; i++) {
		if (fresh)
			memcpy(ctx, fresh, size);
		retval = (uint32_t)skep_session_run(s, ctx);
	}
	mean = (skep_clock_mono() - start) / n;
	skep_leave(s->env);
	*duration = mean < UINT32_MAX ? (uint32_t)mean : UINT32_MAX;
	return retval;
}
