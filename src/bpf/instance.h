/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The instance and its objects. An object is an inode: its handles are
 * descriptors of one memfd, found again by device and inode number.
 *
 * Two kinds of reference hold an object: those of this process (refs: other
 * objects, pins, runs) and those of users anywhere (open file descriptions, seen
 * through their OFD locks; see handle.c). It is collected when both are gone.
 */
#ifndef SKEP_INSTANCE_H
#define SKEP_INSTANCE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bpf/uapi.h"
#include "exec/exec.h"
#include "os/os.h"
#include "skep.h"

enum skep_kind { SKEP_KIND_NONE, SKEP_KIND_MAP, SKEP_KIND_PROG, SKEP_KIND_LINK, SKEP_KIND_BTF,
		 SKEP_KIND_PERF /* reader of a perf event array (map/perf.c) */, SKEP_KIND_MAX };

/* First member of every object. */
struct skep_object {
	struct skep *skep;
	enum skep_kind kind;
	uint32_t id;		/* from 1, rising, per kind; 0 once retired */
	uint64_t dev, ino;	/* of its handle */
	int fd;			/* the instance's own descriptor; carries no lock */
	_Atomic uint32_t refs;	/* of this process, see above */
	bool user;		/* some handle may still be held by a user */
	uid_t uid;
	uint64_t created_ns;	/* CLOCK_BOOTTIME */
	void (*destroy)(struct skep_object *obj);	/* last reference gone; may be deferred */
	struct skep_object *next_ino;
};

/* One kind's table of ids. */
struct skep_table {
	struct skep_object **slot;	/* by id - 1 */
	uint32_t cap, last;
};

struct skep_pins;
struct skep_slots;	/* CPU slots, in a shared segment (exec/slot.c) */
struct skep_parts;	/* participants (os/participant.h) */
struct skep_btf;
struct skep_handles;	/* inotify, lock bytes (bpf/handle.c) */

struct skep {
	struct skep_opts opts;
	uint32_t cpus;
	pid_t pid;			/* the process that made it; a fork is not it */
	pthread_rwlock_t lock;		/* tables below */
	struct skep_table tables[SKEP_KIND_MAX];
	struct skep_object **by_ino;	/* hash table */
	uint32_t by_ino_size, nobjects;
	struct skep_handles *handles;
	struct skep_pins *pins;
	struct skep_slots *slots;
	struct skep_parts *parts;
	struct skep_btf *vmlinux;	/* the types that skep presents (btf/vmlinux.c) */
	struct skep_env *_Atomic envs;	/* for epochs */
	_Atomic uint64_t epoch;
	struct skep_deferred *deferred;
	pthread_mutex_t defer_lock;
	_Atomic uint32_t stats_enabled;	/* holders of BPF_ENABLE_STATS */
	pthread_mutex_t printk_lock;
};

/* Makes the handle's inode for obj (obj->fd), assigns the next id, enters it. For maps
 * the data segment's memfd is the handle (pass its fd); others pass -1. */
int skep_object_add(struct skep *skep, struct skep_object *obj, enum skep_kind kind, int fd);
/* Hands out a new descriptor (its own open file description, with a lock).
 * flags: 0, O_RDONLY or O_WRONLY semantics as BPF_F_RDONLY/WRONLY ask. */
int skep_object_fd(struct skep_object *obj, int flags);
/* The object behind fd, with a reference taken: -EBADF not ours or closed,
 * -EINVAL another kind. *writable / *readable may be NULL. */
int skep_object_get(struct skep *skep, int fd, enum skep_kind kind, struct skep_object **out);
int skep_object_get_mode(struct skep *skep, int fd, enum skep_kind kind, struct skep_object **out,
			 bool *readable, bool *writable);
struct skep_object *skep_object_by_id(struct skep *skep, enum skep_kind kind, uint32_t id);
uint32_t skep_object_next_id(struct skep *skep, enum skep_kind kind, uint32_t after);
void skep_object_ref(struct skep_object *obj);
void skep_object_put(struct skep_object *obj);
/* Looks for objects that no user holds any more and collects them. Cheap when
 * nothing was closed since the last time. */
void skep_collect(struct skep *skep);

/* ---- Programs ---- */

struct skep_prog_type;
struct skep_map;

struct skep_prog_stats {	/* per CPU slot, cache-line sized */
	_Atomic uint64_t cnt, nsecs, misses;
	uint64_t pad[5];
};

struct skep_prog {
	struct skep_object obj;
	uint32_t type, attach_type, flags;
	const struct skep_prog_type *ops;
	char name[BPF_OBJ_NAME_LEN];
	uint8_t tag[BPF_TAG_SIZE];
	bool gpl, dst_needed, xdp_frags, sleepable;
	struct skep_image image;
	struct skep_bound bound;
	struct skep_code code;		/* code.entry NULL: not compiled */
	skep_run_fn *run;		/* what to call */
	struct skep_map **maps;		/* used_maps, referenced */
	uint32_t nmaps;
	struct skep_btf *btf;		/* referenced, or NULL */
	struct bpf_func_info *func_info;
	uint32_t nfunc_info;
	struct bpf_line_info *line_info;	/* insn_off in xlated numbers */
	uint32_t nline_info;
	uint32_t attach_btf_id;
	struct bpf_insn *orig_insns;	/* as loaded, for the explanation and checks */
	uint32_t norig;
	uint32_t verified_insns;	/* processed by the verifier */
	uint32_t stack_depth;
	uint32_t max_pkt_offset;
	struct skep_prog_stats *stats;	/* [cpus] */
	uint64_t load_ns;		/* CLOCK_BOOTTIME */
};

#endif
