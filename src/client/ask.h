/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the preloaded library of a client asks the process that answers its bpf(2). The questions
 * are calls of bpf(2) with these numbers for commands and plain values for arguments: so they
 * need no descriptor or address that a client could close, lose in an exec or take for its own,
 * and where nobody answers, the kernel refuses them.
 */
#ifndef SKEP_CLIENT_ASK_H
#define SKEP_CLIENT_ASK_H

#include "map/map.h"

enum skep_ask {
	SKEP_ASK_BTF = 0x736b6501, /* (): a descriptor that reads as SKEP_VIEW_BTF */
	SKEP_ASK_SOURCE, /* (fd): enum skep_ask_source, or -EPERM */
	SKEP_ASK_PERF_MAP, /* (fd, bytes): before a perf reader is mapped; 0, also for others */
	SKEP_ASK_PERF_ENABLE, /* (fd, on): PERF_EVENT_IOC_ENABLE or _DISABLE */
	SKEP_ASK_KIND, /* (fd): enum skep_kind of a handle */
	SKEP_ASK_FDINFO, /* (fd): a descriptor that reads as /proc/self/fdinfo/fd */
	/* (ifindex | XDP_FLAGS_* << 32, fd | expected fd << 32): what RTM_SETLINK with IFLA_XDP does; -ENODEV:
	 * the interface is no port */
	SKEP_ASK_XDP,
	/* For working on a map without asking: */
	SKEP_ASK_PARTS, /* (): a descriptor of the participants file */
	SKEP_ASK_CHANGES, /* (): one of a page that begins with a count of changes, as freezing */
	SKEP_ASK_DIRECT, /* (fd, struct skep_ask_direct *): 0, or -errno: it is not to be done */
	SKEP_ASK_CONTROL, /* (fd, id): a descriptor of the map's control segment; -ENOENT: none */
	SKEP_ASK_END,
};

/* What a client must trust to work on a map by itself. */
struct skep_ask_direct {
	struct skep_map_desc desc;
	uint64_t dev, ino; /* of the handle */
};

/* What can be waited for, and other maps, which the kernel takes and reports as in error. */
enum skep_ask_source { SKEP_ASK_RING = 1, SKEP_ASK_PERF, SKEP_ASK_MAP };

#endif
