/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links and hooks. A hook is a place that raises events (a port, a system call, a timer);
 * whoever has one registers it with the instance for an attach type. A link
 * joins a program to it for as long as somebody holds the link.
 */
#ifndef SKEP_LINK_H
#define SKEP_LINK_H

#include "bpf/instance.h"

struct skep_link {
	struct skep_object obj;
	uint32_t type; /* BPF_LINK_TYPE_* */
	uint32_t attach_type;
	uint32_t ifindex; /* target, where it is an interface */
	uint64_t cookie;
	const struct skep_hook *hook;
	void *arg; /* the hook's, as registered */
	struct skep_prog *prog; /* referenced; changed under lock by LINK_UPDATE */
	bool attached; /* under lock */
	pthread_mutex_t lock;
	void *priv; /* the hook's own, per link */
};

/* What a hook does. All are called with the link's lock held, from any thread, and answer
 * the errno that bpf(2) shall give. The program stays referenced while attached. */
struct skep_hook {
	const char *name;
	uint32_t link_type;
	/* Starts raising events for link->prog. attr is LINK_CREATE's (or RAW_TRACEPOINT_OPEN's). */
	int (*attach)(struct skep_link *link, const union bpf_attr *attr);
	/* Stops; no event of this link is under way when it returns. */
	void (*detach)(struct skep_link *link);
	/* Replaces the program (link->prog is still the old one); NULL: -EINVAL. */
	int (*update)(struct skep_link *link, struct skep_prog *next, uint32_t flags);
	/* LINK_DETACH is allowed. */
	bool can_detach;
	/* Fills the part of info that belongs to the link's type; NULL: nothing but ifindex. */
	int (*info)(struct skep_link *link, struct bpf_link_info *info);
};

/* Registers a hook for programs attached as attach_type (BPF_XDP, BPF_TCX_INGRESS, ...).
 * For types with interfaces, ifindex says which one (0: all). -EEXIST. */
int skep_hook_register(struct skep *skep, uint32_t attach_type, uint32_t ifindex,
		       const struct skep_hook *hook, void *arg);
/* Detaches all its links first. */
void skep_hook_unregister(struct skep *skep, uint32_t attach_type, uint32_t ifindex);

/* The link's program with a reference, or NULL. */
struct skep_prog *skep_link_prog(struct skep_link *link);
int skep_link_info(struct skep_link *link, struct bpf_link_info *info);

#endif
