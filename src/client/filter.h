/* SPDX-License-Identifier: Apache-2.0 */
/* The seccomp filter of the clients of skep exec. */
#ifndef SKEP_CLIENT_FILTER_H
#define SKEP_CLIENT_FILTER_H

/* The system calls that wait for an answer. */
enum skep_syscall {
	SKEP_CALL_NONE,
	SKEP_CALL_BPF,
	SKEP_CALL_PERF, /* perf_event_open */
	SKEP_CALL_STATFS,
	SKEP_CALL_FSTATFS,
	SKEP_CALL_SOCKOPT, /* setsockopt: a program is attached to a socket */
	SKEP_CALL_SET_BPF, /* ioctl: a program is attached to a perf event */
	SKEP_CALL_END,
};

/* From now on these calls of the calling thread, and of what it starts, wait for
 * who serves the listener: its descriptor (close-on-exec), or -errno. */
int skep_filter_install(void);

/* Which of them a notification is about. */
struct seccomp_data;
enum skep_syscall skep_filter_call(const struct seccomp_data *call);

#endif
