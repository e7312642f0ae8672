/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who owns a piece of local storage, and what element of a socket map a descriptor names: a
 * task, a cgroup, an inode, a socket. Each has a name that is never given twice.
 */
#ifndef SKEP_OWNER_H
#define SKEP_OWNER_H

#include <stdbool.h>
#include <stdint.h>

struct skep_owner {
	uint64_t id; /* task: thread id; cgroup, inode: inode number; socket: its cookie */
	uint64_t more; /* task: start time, in ticks; cgroup, inode: device; socket: 0 */
};

/* The one behind a descriptor of the calling client (bpf(2)): 0 or -errno. */
/* A pidfd: -EBADF if it is none, -ENOENT if the task has gone. */
int skep_owner_pidfd(int fd, struct skep_owner *out);
int skep_owner_cgroup(int fd, struct skep_owner *out); /* -EBADF */
int skep_owner_cgroup2(int fd); /* of the unified hierarchy: 0, -EBADF */
int skep_owner_netns(int fd); /* a network namespace: 0, -EBADF, -EINVAL */
int skep_owner_inode(int fd, struct skep_owner *out); /* -EBADF */
int skep_owner_socket(int fd, struct skep_owner *out); /* -EBADF, -ENOTSOCK */

/* A socket of the calling client, as maps of sockets know it. The map doesn't hold it: closing it
 * is its owner's business, and takes it out of the maps. */
struct skep_sock {
	uint64_t cookie; /* 0: none */
	uint64_t inode;
	int family, type, protocol, state; /* of TCP: TCP_ESTABLISHED ... */
	bool bound, reuseport;
	bool listed; /* the system lists it, so that its end can be seen */
};
int skep_sock_get(int fd, struct skep_sock *out); /* -EBADF, -ENOTSOCK */
/* Whether it was certainly closed. */
bool skep_sock_gone(const struct skep_sock *s);

/* Whether the calling task is in that cgroup, or in one below it: 1 or 0. */
int skep_owner_in_cgroup(const struct skep_owner *cgroup);

/* Whether there is an interface of that number in this process's network namespace. */
bool skep_owner_ifindex_there(uint32_t ifindex);

/* The cgroup (of version 2) of the calling task, or its ancestor at that level, 0 being the root: its id, 0 if
 * there is none. level < 0: the task's own. */
uint64_t skep_owner_cgroup_id(int level);

/* A task by its number: -ESRCH. */
int skep_owner_task(uint32_t tid, struct skep_owner *out);
/* Whether the task is certainly gone. */
bool skep_owner_task_gone(const struct skep_owner *task);

#endif
