/* SPDX-License-Identifier: Apache-2.0 */
/*
 * skep: eBPF in user space. The embedding API.
 *
 * Everything hangs off an instance, a user-space "kernel": it owns tables of
 * programs, maps, links and BTF. Objects are made, found and changed through
 * one function, skep_bpf(), which is bpf(2): the kernel's commands, the
 * kernel's union bpf_attr (see bpf/uapi.h, Linux 6.18), the kernel's results.
 * What is left is running programs, which follows below.
 *
 * Errors: functions that return int or long answer -errno (never set errno).
 * Threads: every function may be called from any thread at any time unless it
 * says otherwise; a runner belongs to one thread at a time.
 */
#ifndef SKEP_H
#define SKEP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SKEP_API __attribute__((visibility("default")))
#else
#define SKEP_API
#endif

#define SKEP_VERSION_MAJOR 0
#define SKEP_VERSION_MINOR 1
#define SKEP_VERSION_PATCH 0

struct skep;
union bpf_attr;

/* Why a program was refused, in the user's terms. Valid during the call only. */
struct skep_explanation {
	size_t sz; /* sizeof of this structure, as the library knows it */
	const char *prog; /* the program's name, "" if it has none */
	const char *what; /* one or two sentences: what is wrong */
	const char *hint; /* what to do about it, or NULL */
	const char *func; /* function, from BTF, or NULL */
	const char *file; /* source file, from BTF line info, or NULL */
	const char *text; /* the source line's text, or NULL */
	uint32_t line, col; /* 1-based; 0 if not known */
	uint32_t insn; /* the refused instruction's number */
	int err; /* the errno that PROG_LOAD answers, positive */
};

struct skep_opts {
	size_t sz; /* sizeof(struct skep_opts), for later versions */
	uint32_t cpus; /* CPU slots; 0: the possible CPUs of this machine */
	uint32_t flags; /* SKEP_F_* */
	const char *pin_dir; /* where BPF_OBJ_PIN keeps names; NULL: in memory only */
	/* Called by PROG_LOAD, on its thread, when a program is refused. */
	void (*explain)(void *arg, const struct skep_explanation *why);
	void *explain_arg;
	/* Gets each line of bpf_trace_printk; NULL: standard error. The text is
	 * not terminated and ends without a newline of our own. */
	void (*printk)(void *arg, const char *text, size_t len);
	void *printk_arg;
	/* Raw BTF of some kernel, to be presented as vmlinux instead of skep's own types: programs
	 * are verified against it, and none can be run (EOPNOTSUPP), for what lies in
	 * memory here is skep's. Read by skep_open only; NULL: skep's. */
	const void *kernel_btf;
	size_t kernel_btf_size; /* bytes */
};

#define SKEP_F_INTERPRET    (1u << 0) /* never compile */
#define SKEP_F_CHECKED      (1u << 1) /* interpret, every access tested */
#define SKEP_F_UNPRIVILEGED (1u << 2) /* callers have no capabilities */

/* Makes an instance and stores it in *out. opts may be NULL. */
SKEP_API int skep_open(struct skep **out, const struct skep_opts *opts);

/* Ends an instance: handles that are still open answer ENOTCONN from now on,
 * memory that others have mapped stays theirs. NULL is allowed. An instance belongs
 * to the process that opened it: in a forked child this only ends the child's use
 * of it. While runners are open, calls with the instance still answer (ENOTCONN). */
SKEP_API void skep_close(struct skep *skep);

/* bpf(2): a result >= 0 (often a descriptor, which the caller owns and closes
 * with close(2)), or -errno. size is the caller's sizeof(union bpf_attr). */
SKEP_API long skep_bpf(struct skep *skep, int cmd, union bpf_attr *attr, unsigned int size);

/* ---- Running programs ---- */

struct skep_runner; /* a program, held, with what one thread needs to run it */

/* Holds the program behind a descriptor for running. Takes no ownership of
 * prog_fd: it may be closed afterwards. */
SKEP_API int skep_runner_open(struct skep_runner **out, struct skep *skep, int prog_fd);
SKEP_API void skep_runner_close(struct skep_runner *runner);

/* One packet in caller's memory. XDP: the program may move start and end inside
 * [buf, buf + cap); others see a frame of len bytes, which helpers may resize
 * inside the same bounds. All sizes are in bytes. */
struct skep_packet {
	uint8_t *buf; /* start of the memory, headroom included */
	uint32_t cap; /* size of that memory */
	uint32_t off; /* in and out: where the frame starts in buf */
	uint32_t len; /* in and out: the frame's length */
	uint32_t ifindex; /* in: ingress interface, as the program sees it */
	uint32_t queue; /* in: receive queue */
	uint32_t out_ifindex; /* out: target of a redirect, else 0 */
	uint32_t verdict; /* out: what the program returned */
	uint64_t tstamp; /* in and out: skb->tstamp in ns */
	uint16_t vlan_proto; /* in and out: accelerated VLAN tag (network order), 0: none */
	uint16_t vlan_tci;
	uint32_t mark; /* in and out: skb->mark */
	uint32_t hash; /* in and out: skb->hash */
	uint32_t flags; /* SKEP_PACKET_* */
};

/* tstamp is the time that the program's clocks (bpf_ktime_get_*) show while it sees this
 * packet: replaying a capture then judges rates as they were. */
#define SKEP_PACKET_CLOCK (1u << 0)

/* Runs the program (XDP, SCHED_CLS, SCHED_ACT, SOCKET_FILTER, CGROUP_SKB) over
 * n packets in order, on one CPU slot. Returns n, or -errno if the program's
 * type takes no packets. */
SKEP_API long skep_run_packets(struct skep_runner *runner, struct skep_packet *packets, uint32_t n);

/* Where copies go that a program sends with bpf_clone_redirect(): to copy->out_ifindex. The copy
 * is the callee's to change, headroom included, until it returns 0 or -errno. Without this (send
 * NULL) a runner knows no interfaces and the program is told -EINVAL. */
SKEP_API void skep_runner_on_clone(struct skep_runner *runner,
				   int (*send)(void *arg, struct skep_packet *copy), void *arg);

#ifdef __cplusplus
}
#endif
#endif
