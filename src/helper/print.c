/* SPDX-License-Identifier: Apache-2.0 */
/* Text for people: bpf_trace_printk and what formats like it. */
#include <errno.h>
#include <stdio.h>

#include "bpf/instance.h"
#include "helper/call.h"
#include "helper/format.h"

#define MAX_TEXT 1024 /* a printed text is cut off here */

static uint64_t print(const struct skep_env *env, const char *fmt, size_t fmt_size,
		      const uint64_t *args, uint32_t nargs)
{
	char text[MAX_TEXT];
	struct skep *skep = env->skep;
	long n = skep_format(env->prog, text, sizeof(text), fmt, fmt_size, args, nargs);
	size_t len;

	if (n < 0)
		return (uint64_t)n;
	len = n < MAX_TEXT ? (size_t)n : MAX_TEXT - 1;
	pthread_mutex_lock(&skep->printk_lock);
	if (skep->opts.printk)
		skep->opts.printk(skep->opts.printk_arg, text, len);
	else
		fprintf(stderr, "%.*s%s", (int)len, text, len && text[len - 1] == '\n' ? "" : "\n");
	pthread_mutex_unlock(&skep->printk_lock);
	return (uint64_t)n;
}

HELPER(trace_printk)
{
	uint64_t args[] = {r3, r4, r5};

	return print(env, PTR(r1), (uint32_t)r2, args, 3);
}

static int check_args(uint64_t args, uint32_t len)
{
	if (len % 8 || len > SKEP_FORMAT_MAX_ARGS * 8 || (len && !args))
		return -EINVAL;
	return 0;
}

HELPER(trace_vprintk)
{
	uint32_t len = (uint32_t)r4;

	if (check_args(r3, len))
		return ERR(EINVAL);
	return print(env, PTR(r1), (uint32_t)r2, PTR(r3), len / 8);
}

HELPER(snprintf)
{
	uint32_t len = (uint32_t)r5;
	long n;

	if (check_args(r4, len))
		return ERR(EINVAL);
	n = skep_format(env->prog, PTR(r1), (uint32_t)r2, PTR(r3), SIZE_MAX, PTR(r4), len / 8);
	return n < 0 ? (uint64_t)n : (uint64_t)n + 1;
}
