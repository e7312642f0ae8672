// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The name of a system call, looked up in a map that user space fills: a program at a tracepoint, whose context
 * is the event's record. Prints "execve" for each program that is executed.
 *
 *	skep trace examples/syscall_name.bpf.c --set 'names[59]=execve' -- sh -c 'ls; date'
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* /sys/kernel/tracing/events/syscalls/sys_enter_execve/format */
struct sys_enter_execve {
	__u64 common;
	long nr;
	const char *filename;
	const char *const *argv;
	const char *const *envp;
};

struct name {
	char text[32];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 512);
	__type(key, __u32);
	__type(value, struct name);
} names SEC(".maps");

SEC("tracepoint/syscalls/sys_enter_execve")
int syscall_name(struct sys_enter_execve *ctx)
{
	__u32 nr = ctx->nr;
	struct name *name = bpf_map_lookup_elem(&names, &nr);

	if (name)
		bpf_printk("%s", name->text);
	return 0;
}

char _license[] SEC("license") = "GPL";
