/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of this process, read so that a bad address is an error and no signal.
 * User and kernel memory are one here, so the helpers for either do the same.
 */
#include <errno.h>
#include <string.h>

#include "helper/call.h"
#include "os/os.h"

static uint64_t read_mem(uint64_t dst, uint32_t size, uint64_t src)
{
	int err;

	if (!size)
		return 0;
	err = skep_probe_read(PTR(dst), PTR(src), size);
	if (!err)
		return 0;
	memset(PTR(dst), 0, size);
	return ERR(EFAULT);
}

static uint64_t read_str(uint64_t dst, uint32_t size, uint64_t src)
{
	long len;

	if (!size)
		return 0;
	len = skep_probe_read_str(PTR(dst), PTR(src), size);
	if (len >= 0)
		return (uint64_t)len;
	memset(PTR(dst), 0, size);
	return ERR(EFAULT);
}

HELPER(probe_read)
{
	return read_mem(r1, (uint32_t)r2, r3);
}

HELPER(probe_read_user)
{
	return read_mem(r1, (uint32_t)r2, r3);
}

HELPER(probe_read_kernel)
{
	return read_mem(r1, (uint32_t)r2, r3);
}

HELPER(copy_from_user)
{
	return read_mem(r1, (uint32_t)r2, r3);
}

HELPER(probe_read_str)
{
	return read_str(r1, (uint32_t)r2, r3);
}

HELPER(probe_read_user_str)
{
	return read_str(r1, (uint32_t)r2, r3);
}

HELPER(probe_read_kernel_str)
{
	return read_str(r1, (uint32_t)r2, r3);
}
