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

enum skep_kind {
	SKEP_KIND_NONE,
	SKEP_KIND_MAP,
	SKEP_KIND_PROG,
	SKEP_KIND_LINK,
	SKEP_KIND_BTF,
	SKEP_KIND_PERF /* reader of a perf event array (map/perf.c) */,
	SKEP_KIND_STATS /* a holder of BPF_ENABLE_STATS */,
	SKEP_KIND_MAX
};

#define SKEP_OBJECT_VIEW 80

/* First member of every object. */
struct skep_object {
	/* What programs read at the object's address, laid out as the types that skep presents
	 * (helper/kern_ctx.h): struct bpf_map ... */
	uint64_t view[SKEP_OBJECT_VIEW / 8];
	struct skep *skep;
	enum skep_kind kind;
	uint32_t id; /* from 1, rising, per kind; 0 once retired */
	uint64_t dev, ino; /* of its handle */
	int fd; /* the instance's own descriptor; carries no lock */
	_Atomic uint32_t refs; /* of this process, see above; each of users counts as one */
	_Atomic uint32_t users; /* pins, and all handles together */
	uid_t uid;
	uint64_t created_ns; /* CLOCK_BOOTTIME */
	/* Last reference gone, and no running program can see it any more: frees it. */
	void (*destroy)(struct skep_object *obj);
	/* The last user is gone; other objects may still hold it. NULL: nothing to do. */
	void (*no_users)(struct skep_object *obj);
	/* The rest is handle.c's, under its mutex. */
	bool user; /* some handle may still be held by a user */
	bool keep; /* handles can't be told apart: held until skep_close() */
	bool own_fd; /* fd is the object layer's to close */
	_Atomic bool modes; /* handles with restricted access were given out */
	/* Set before the first handle: nobody may map the inode writable through one. What a
	 * handle may do is then told by status flags, see handle.c. */
	bool read_only_mem;
	_Atomic bool lost; /* somebody closed fd */
	int wd; /* number of its watch, -1: none */
	bool pending; /* in the list of those to ask about */
	uint64_t closed_ns, asked_ns;
	struct skep_object *next_wd, *next_pending;
};

/* One kind's ids, rising: written under skep->lock so that at every instant a reader
 * without the lock (a forked child) finds the entries consistent. */
struct skep_ids;
struct skep_table {
	struct skep_ids *_Atomic ids;
	uint32_t last;
};

struct skep_inodes;
struct skep_sys; /* what bpf(2) keeps between calls (bpf/sys.h) */
struct skep_timers; /* exec/timer.c */
struct skep_slots; /* CPU slots, in a shared segment (exec/slot.c) */
struct skep_parts; /* participants (os/participant.h) */
struct skep_btf;
struct skep_heap; /* exec/heap.c */
struct skep_verify_watch;
struct skep_handles; /* inotify, lock bytes (bpf/handle.c) */

struct skep {
	struct skep_opts opts;
	uint32_t cpus;
	pid_t pid; /* the process that made it; a fork is not it */
	uint32_t *mine; /* 1; 0 in a forked child, see skep_forked() */
	_Atomic bool closed; /* skep_close() was called */
	_Atomic uint32_t holds; /* one while open, one per object and environment */
	pthread_rwlock_t lock; /* tables below */
	struct skep_table tables[SKEP_KIND_MAX];
	struct skep_inodes *_Atomic inodes;
	struct skep_handles *handles;
	struct skep_sys *_Atomic sys;
	struct skep_timers *_Atomic timers; /* once a program makes one */
	struct skep_heap *_Atomic heap; /* once a program needs it */
	struct skep_slots *slots;
	struct skep_parts *parts;
	struct skep_btf *_Atomic vmlinux; /* the types that skep presents, once needed */
	bool foreign; /* they are another kernel's: nothing can be run */
	struct skep_env *_Atomic envs; /* for epochs: open and closed ones, only ever pushed */
	_Atomic uint64_t epoch; /* rises with every skep_defer() */
	struct skep_deferred *_Atomic deferred;
	_Atomic uint64_t deferred_max; /* largest epoch in that list */
	const struct skep_verify_watch *watch; /* tests look at the verifier; else NULL */
	struct skep_seg changes; /* a page that clients map: a count of what they must notice */
	_Atomic uint32_t stats_enabled; /* holders of BPF_ENABLE_STATS */
	pthread_mutex_t printk_lock;
};

/* In a process forked from the instance's: objects known at the fork can be looked up
 * and used; what would change the tables answers -ENOTCONN. */
static inline bool skep_forked(const struct skep *skep)
{
	return !__atomic_load_n(skep->mine, __ATOMIC_RELAXED);
}
/* 0, or -ENOTCONN if the instance has ended or is another process's. */
int skep_check_owner(const struct skep *skep);
/* A new descriptor, for reading, of the page whose first word is raised by
 * skep_changed(): clients that work on maps by themselves forget what they know then. */
int skep_changes_fd(struct skep *skep);
void skep_changed(struct skep *skep);
/* Keeps struct skep itself in memory beyond skep_close(). */
void skep_hold(struct skep *skep);
void skep_release(struct skep *skep);

/* Makes the handle's inode for obj (obj->fd), assigns the next id, enters it. For maps
 * the data segment's memfd is the handle: pass its fd, which stays the caller's to close;
 * others pass -1. obj has one reference then, the caller's, and destroy must be set. */
int skep_object_add(struct skep *skep, struct skep_object *obj, enum skep_kind kind, int fd);
/* Hands out a new descriptor (its own open file description, with a lock).
 * flags: 0, BPF_F_RDONLY or BPF_F_WRONLY; or SKEP_FD_AGAIN, for a link that was there already: the
 * kernel gives that another name in /proc, and O_APPEND tells. From now on users hold the object too. */
#define SKEP_FD_AGAIN (1 << 30)
int skep_object_fd(struct skep_object *obj, int flags);
/* The object behind fd, with a reference taken: -EBADF closed, -EINVAL not ours or
 * another kind (SKEP_KIND_NONE takes any), -ENOTCONN the instance has ended.
 * *writable / *readable may be NULL. */
int skep_object_get(struct skep *skep, int fd, enum skep_kind kind, struct skep_object **out);
int skep_object_get_mode(struct skep *skep, int fd, enum skep_kind kind, struct skep_object **out,
			 bool *readable, bool *writable);
/* With a reference taken; NULL: no such id. */
struct skep_object *skep_object_by_id(struct skep *skep, enum skep_kind kind, uint32_t id);
/* The smallest id above after, 0 if there is none. */
uint32_t skep_object_next_id(struct skep *skep, enum skep_kind kind, uint32_t after);
void skep_object_ref(struct skep_object *obj);
void skep_object_put(struct skep_object *obj);
/* The same for who holds it on a user's behalf: a pin. */
void skep_object_user_ref(struct skep_object *obj);
void skep_object_user_put(struct skep_object *obj);
/* Looks for objects that no user holds any more and collects them: to be called by
 * commands that make objects or ask for ids. One system call when nothing was closed
 * since the last time. */
void skep_collect(struct skep *skep);

/* Between instance.c, object.c and handle.c. */
int skep_handles_open(struct skep *skep);
void skep_handles_close(struct skep *skep);
/* Users no longer hold anything: at the end of the instance. */
void skep_handles_drop(struct skep *skep);
void skep_handle_forget(struct skep_object *obj);
/* What a handle may do: 0 or -errno. */
int skep_handle_mode(const struct skep_object *obj, int fd, bool *readable, bool *writable);
void skep_handle_adopt(struct skep_object *obj, int fd);
/* Calls fn for every object, references held meanwhile by the tables' lock. */
void skep_objects_walk(struct skep *skep, void (*fn)(struct skep_object *obj, void *arg),
		       void *arg);
void skep_objects_free(struct skep *skep);

/* ---- Programs ---- */

struct skep_prog_type;
struct skep_iter_target;
struct skep_map;

struct skep_prog_stats { /* per CPU slot, cache-line sized */
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
	bool heap; /* it uses objects of the instance's heap: runs in this process only */
	struct skep_image image;
	struct skep_bound bound;
	struct skep_code code; /* code.entry NULL: not compiled */
	skep_run_fn *run; /* what to call */
	struct skep_map **maps; /* used_maps, referenced */
	uint32_t nmaps;
	struct skep_btf *btf; /* referenced, or NULL */
	struct bpf_func_info *func_info;
	uint32_t nfunc_info;
	struct bpf_line_info *line_info; /* insn_off in xlated numbers */
	uint32_t nline_info;
	uint32_t attach_btf_id;
	const struct skep_iter_target *iter; /* of iterators, else NULL */
	/* Iterators of elements: bytes of keys and values that the program touches. */
	uint32_t max_rdonly, max_rdwr;
	struct { /* what that names (prog/target.h) */
		const struct skep_btf *btf;
		const char *name;
		const struct btf_type *proto; /* its function's */
		uint32_t skip; /* parameters that programs don't see */
	} target;
	uint8_t digest[32]; /* SHA-256 of the instructions, maps left out */
	struct bpf_insn *orig_insns; /* as loaded, for the explanation and checks */
	uint32_t norig;
	uint32_t verified_insns; /* processed by the verifier */
	uint32_t stack_depth;
	uint32_t max_pkt_offset;
	struct skep_prog_stats *stats; /* [cpus] */
	uint64_t load_ns; /* CLOCK_BOOTTIME */
};

#endif
