/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps. One row of operations per map type (skep_map_types); a map is a data
 * segment, which is its handle, and a control segment, both position-independent
 * and shared. What this process must be able to trust (sizes, type, flags) stands
 * in struct skep_map, in private memory, and is never read from a segment.
 */
#ifndef SKEP_MAP_H
#define SKEP_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/instance.h"
#include "bpf/uapi.h"
#include "os/participant.h"

struct skep_map;
struct skep_btf;

/* Name of every data segment: clients read in /proc/self/fd what a descriptor is. */
#define SKEP_MAP_HANDLE "bpf-map"

/* Special fields of a map's value, or of a structure that programs allocate, from its BTF. */
enum skep_field_kind {
	SKEP_FIELD_SPIN_LOCK,
	SKEP_FIELD_RES_SPIN_LOCK,
	SKEP_FIELD_TIMER,
	SKEP_FIELD_WQ,
	SKEP_FIELD_TASK_WORK,
	SKEP_FIELD_LIST_HEAD,
	SKEP_FIELD_LIST_NODE,
	SKEP_FIELD_RB_ROOT,
	SKEP_FIELD_RB_NODE,
	SKEP_FIELD_REFCOUNT,
	SKEP_FIELD_KPTR_UNREF,
	SKEP_FIELD_KPTR_REF,
	SKEP_FIELD_KPTR_PERCPU,
	SKEP_FIELD_UPTR,
	SKEP_FIELD_KINDS
};
struct skep_field {
	uint32_t kind, offset, size;
	/* Pointers: what they point to. Lists and trees: what they contain. Others: their own type. */
	uint32_t btf_id;
	uint32_t kernel; /* pointers: the type is one of those that skep presents */
	uint32_t node_offset; /* lists and trees: of the node in what they contain */
};
struct skep_fields {
	uint32_t n;
	struct skep_field f[11];
};

/* "bpf_timer", "kptr" ... as in the kernel's messages. */
const char *skep_field_name(uint32_t kind);
/* The key of the element whose value this is; of an array *index, which it is put in. */
void *skep_map_key_of(const struct skep_map *map, void *value, uint32_t *index);
/* A value is gone, or replaced: what its special fields stand for goes. */
void skep_map_drop_fields(const struct skep_map *map, void *value);
/* The value's first field of that kind, or NULL. */
const struct skep_field *skep_map_field(const struct skep_map *map, uint32_t kind);

struct skep_map_ops {
	const char *name; /* as bpftool prints it: "hash", "percpu_array" ... */
	/* BPF_MAP_CREATE: checks attr (kernel's errno), then makes the segments. */
	int (*check)(const union bpf_attr *attr);
	int (*create)(struct skep_map *map, const union bpf_attr *attr);
	void (*destroy)(struct skep_map *map);

	/* For programs; run between skep_enter and skep_leave. lookup gives the address
	 * of the value (per-CPU: of env->cpu's), NULL if there is none. */
	void *(*lookup)(struct skep_map *map, const void *key, struct skep_env *env);
	void *(*lookup_percpu)(struct skep_map *map, const void *key, uint32_t cpu);
	long (*update)(struct skep_map *map, const void *key, const void *value, uint64_t flags,
		       struct skep_env *env);
	long (*delete)(struct skep_map *map, const void *key, struct skep_env *env);
	long (*push)(struct skep_map *map, const void *value, uint64_t flags);
	long (*pop)(struct skep_map *map, void *value);
	long (*peek)(struct skep_map *map, void *value);
	/* bpf_for_each_map_elem: calls fn(map, key, value, ctx) through env->call. */
	long (*for_each)(struct skep_map *map, uint64_t func, uint64_t ctx, struct skep_env *env);
	/* bpf_redirect_map: target for key; 0 and *ifindex, or -ENOENT. */
	int (*redirect)(struct skep_map *map, uint32_t key, uint32_t *ifindex);

	/* For bpf(2). Values of per-CPU maps hold round_up(value_size, 8) bytes per CPU.
	 * env is the calling thread's (open, not necessarily entered). */
	int (*sys_lookup)(struct skep_map *map, const void *key, void *value, uint64_t flags,
			  struct skep_env *env);
	int (*sys_update)(struct skep_map *map, const void *key, const void *value, uint64_t flags,
			  struct skep_env *env);
	int (*sys_delete)(struct skep_map *map, const void *key, struct skep_env *env);
	int (*sys_lookup_delete)(struct skep_map *map, const void *key, void *value, uint64_t flags,
				 struct skep_env *env);
	int (*next_key)(struct skep_map *map, const void *key, void *next); /* key NULL: first */
	/* Lookup (and delete) batches; NULL: made from the single operations. See .batch. */
	int (*lookup_batch)(struct skep_map *map, const union bpf_attr *attr, union bpf_attr *uattr,
			    bool and_delete, struct skep_env *env);

	/* Whether [off, off+size) of the data segment lies in one element (its key or its
	 * value); NULL: anywhere in the segment. */
	bool (*contains)(const struct skep_map *map, uint64_t off, size_t size);
	/* The map that holds the elements, if it is another. */
	const struct skep_map *(*backing)(const struct skep_map *map);
	/* Address of value 0 for direct access (PSEUDO_MAP_VALUE), bytes available. */
	int (*direct)(struct skep_map *map, void **base, uint64_t *size);
	/* Size and protection of what mmap of the handle may show, see decision 3. */
	uint64_t (*mmap_size)(struct skep_map *map);
	uint64_t (*mem_usage)(struct skep_map *map);
	bool percpu; /* values per CPU slot */
	uint8_t batch; /* batch commands that the type has: SKEP_BATCH_* */
	bool anywhere; /* bpf(2)'s operations need the segments alone, wherever they run */
	bool is_inner_ok; /* may be an inner map */
	bool unprivileged; /* may be made without capabilities */
	uint8_t btf; /* what BTF it takes: SKEP_BTF_* */
	uint32_t flags_ok; /* accepted map_flags */
	/* The last user's handle is gone (programs may still hold the map): a prog array
	 * drops its programs, so that a program and its own array don't hold each other. */
	void (*no_users)(struct skep_map *map);
};

/* Key and value types of MAP_CREATE: */
enum {
	SKEP_BTF_ANY, /* any, and there must be a key's */
	SKEP_BTF_NONE, /* none: -ENOTSUPP */
	SKEP_BTF_FREE, /* any, also without a key's */
	SKEP_BTF_INDEX, /* the key is an int of 32 bits */
	SKEP_BTF_ARRAY, /* the same; or no key, and the value is a section of variables */
	SKEP_BTF_STRUCT, /* the key is a structure */
	SKEP_BTF_NO_KEY,
	SKEP_BTF_CGROUP, /* the key names a cgroup */
};

#define SKEP_BATCH_LOOKUP        0x1u
#define SKEP_BATCH_UPDATE        0x2u
#define SKEP_BATCH_DELETE        0x4u
#define SKEP_BATCH_LOOKUP_DELETE 0x8u
#define SKEP_BATCH_ALL           0xfu

/* Row per BPF_MAP_TYPE_*; NULL where skep has no such type. */
extern const struct skep_map_ops *const skep_map_types[];
extern const uint32_t skep_nmap_types;

/* What programs that meet in a map have in common; type 0: there was none yet. */
struct skep_map_owner {
	uint32_t type, attach_type;
	bool jited, xdp_frags, jumps;
	uint32_t storage[2]; /* ids of the cgroup storages that it uses, or 0 */
};

struct skep_map {
	struct skep_object obj;
	const struct skep_map_ops *ops;
	uint32_t type, key_size, value_size, max_entries, flags;
	uint32_t elem_size; /* round_up(value_size, 8) */
	uint64_t extra;
	char name[BPF_OBJ_NAME_LEN];
	uint32_t ifindex, btf_key_id, btf_value_id;
	struct skep_btf *btf; /* referenced, or NULL */
	struct skep_fields fields;
	_Atomic bool frozen;
	_Atomic uint64_t writes; /* syscall writers under way, for freeze */
	struct skep_seg data, ctl;
	struct skep_map *inner; /* map-in-map: the template (sizes only), owned */
	pthread_mutex_t owner_lock;
	struct skep_map_owner owner; /* the kind of its programs, once there was one */
	uint32_t cpus; /* = skep->cpus, for per-CPU layouts */
	uint32_t index_mask; /* arrays: as the kernel rounds, for the JIT */
	bool exclusive; /* only for the program with this digest */
	uint8_t excl_hash[32];
	void *priv; /* the type's own private state */
	uint64_t seed[2]; /* of hashes; drawn at creation, the same wherever it is attached */
	bool attached; /* made elsewhere: the segments' contents stay as they are */
	void *given; /* while it is being attached: the segments (attach.c) */
};

/* What every type and attr's own asks of attr: 0 or the kernel's errno. */
int skep_map_check(const union bpf_attr *attr);
/* Makes a map from attr (checked as bpf(2) does, descriptors resolved by the
 * caller: btf and inner may be NULL) and enters it in the instance. */
int skep_map_create(struct skep *skep, const union bpf_attr *attr, struct skep_btf *btf,
		    struct skep_map *inner, struct skep_map **out);

/*
 * A map that another process made, from its segments (writable where they may be written;
 * *data and *ctl are the map's from now on, also if this fails). It is in no table, nobody
 * else refers to it, and skep_map_detach() frees it. Types whose elements are references of one process
 * begin empty. -ENOTSUP: types that can't be attached; -EINVAL: the segments don't fit.
 */
struct skep_map_desc {
	uint32_t type, key_size, value_size, max_entries, flags, id, cpus, ifindex;
	uint64_t extra, seed[2];
	struct skep_fields fields;
	char name[BPF_OBJ_NAME_LEN];
	bool frozen;
};
void skep_map_describe(const struct skep_map *map, struct skep_map_desc *out);
int skep_map_attach(struct skep *skep, const struct skep_map_desc *desc, struct skep_seg *data,
		    struct skep_seg *ctl, struct skep_map **out);
void skep_map_detach(struct skep_map *map);
/* Writes down what programs read of the map itself, once it is complete. */
void skep_map_show(struct skep_map *map);
/* For the types' create: a new segment, or the next one of those that are attached. */
int skep_map_seg(struct skep_map *map, struct skep_seg *seg, const char *name, size_t size);

/* Around an operation for a system call: memory that was gone is taken again, and if memory of the
 * map was not there meanwhile, the answer is -ENOMEM. */
void skep_map_restore(struct skep_map *map);
int skep_map_answer(const struct skep_map *map, int answer);

/* Whether programs that use the map must go with those that it holds (owner.c). */
bool skep_map_holds_progs(const struct skep_map *map);
/* Whether prog may be among the programs of this map. The first one decides. */
bool skep_map_prog_compatible(struct skep_map *map, const struct skep_prog *prog);

/* Bytes that bpf(2) moves for one value: for per-CPU maps those of all CPUs. */
uint32_t skep_map_sys_value_size(const struct skep_map *map);

/* Values handed to map operations of map-in-map, prog array, devmap ... by bpf(2)
 * are descriptors; these types resolve them in map->obj.skep. */

/* What the kernel's array_map_gen_lookup knows: lets the JIT inline lookups. */
struct skep_map_inline {
	uint8_t *base; /* value 0 */
	uint32_t elem_size, max_entries;
	uint64_t cpu_stride; /* per-CPU arrays: bytes between CPUs, else 0 */
};
bool skep_map_inline(const struct skep_map *map, struct skep_map_inline *out);

/* Jump target of a tail call: program in slot index, or NULL. Valid until skep_leave. */
const struct skep_prog *skep_prog_array_get(struct skep_map *map, uint32_t index);
/* The same for the JIT: slot[i] is the program if it is not NULL and has the id ids[i]. */
struct skep_prog_array_inline {
	struct skep_prog *const _Atomic *slot;
	const _Atomic uint32_t *ids;
	uint32_t max_entries;
};
bool skep_prog_array_inline(const struct skep_map *map, struct skep_prog_array_inline *out);

/* True if [addr, addr+size) lies in one value of the map that programs may touch. */
bool skep_map_contains(const struct skep_map *map, uint64_t addr, size_t size);

/*
 * Ring buffers, for helpers and consumers. Records as in the kernel. The
 * environment remembers what was reserved (sizes are read from private memory
 * only), so a record is committed on the environment that reserved it.
 */
void *skep_ringbuf_reserve(struct skep_map *map, uint64_t size, struct skep_env *env);
void skep_ringbuf_commit(void *sample, uint64_t flags, bool discard, struct skep_env *env);
long skep_ringbuf_output(struct skep_map *map, const void *data, uint64_t size, uint64_t flags);
uint64_t skep_ringbuf_query(struct skep_map *map, uint64_t flags);

/* Consumer side; one consumer at a time. Whether there is anything between consumer
 * and producer position: what poll(2) of the kernel's handle calls readable. */
bool skep_ringbuf_readable(const struct skep_map *map);
/* Sleeps until a producer wakes consumers or data is readable: 1 readable, 0 timeout
 * (ns; 0: only look), -errno. Frees records of processes that died. */
int skep_ringbuf_wait(struct skep_map *map, uint64_t ns);
/* Gives committed records to fn until none is left or fn answers < 0, which is then
 * the result; otherwise the number of records. */
long skep_ringbuf_consume(struct skep_map *map,
			  int (*fn)(void *arg, const void *data, uint32_t size), void *arg);

/*
 * perf_event_array. A reader is what perf_event_open(PERF_TYPE_SOFTWARE,
 * PERF_COUNT_SW_BPF_OUTPUT) gives in the kernel: an object with a handle (kind
 * SKEP_KIND_PERF) that shows struct perf_event_mmap_page, then the data pages,
 * when mapped from offset 0. Handles become elements of the map through
 * BPF_MAP_UPDATE_ELEM.
 */
struct skep_perf_opts {
	int cpu; /* CPU slot whose programs may write; -1: all */
	uint64_t sample_type; /* PERF_SAMPLE_RAW and any of TIME, CPU, PERIOD */
	uint32_t wakeup_events; /* wake the reader after so many records; 0 as 1 */
	bool disabled;
};
/* A new reader and its descriptor (>= 0), or -errno. */
int skep_perf_open(struct skep *skep, const struct skep_perf_opts *opts);
/* Says how much is mapped (header page + 2^n data pages), as mmap of the kernel's
 * descriptor does: 0, -EINVAL. Before it nothing is recorded (-ENOSPC). */
int skep_perf_map(struct skep *skep, int fd, size_t bytes);
int skep_perf_enable(struct skep *skep, int fd, bool on); /* PERF_EVENT_IOC_ENABLE, DISABLE */
/* The reader at an element that is mapped and enabled: false if there is none. What it says is valid
 * while the element stays. */
bool skep_perf_describe(const struct skep_map *map, uint32_t index, struct skep_perf_opts *opts,
			const struct skep_seg **seg, uint64_t *size);
/* Puts such a reader, made in another process, into an attached map; *seg is the map's. */
int skep_perf_attach(struct skep_map *map, uint32_t index, const struct skep_perf_opts *opts,
		     struct skep_seg *seg, uint64_t size);
/* As skep_ringbuf_wait, on the reader behind fd. */
int skep_perf_wait(struct skep *skep, int fd, uint64_t ns);

/* Bytes to the reader in slot flags & BPF_F_INDEX_MASK (BPF_F_CURRENT_CPU: env->cpu):
 * 0, -E2BIG, -ENOENT, -EOPNOTSUPP (the reader is another CPU's), -ENOSPC (full). The
 * extra bytes follow the first (packets behind metadata). */
long skep_perf_output(struct skep_map *map, uint64_t flags, const void *data, uint64_t size,
		      const void *extra, uint64_t extra_size, struct skep_env *env);

/*
 * Readiness of ring buffers and perf readers, for who stands in for their handles in
 * poll, select and epoll. Add 1 to *armed while sleeping on *seq (a shared futex), which
 * producers change and wake.
 */
struct skep_ready {
	struct skep_object *obj; /* referenced */
	const uint32_t *seq;
	_Atomic uint32_t *armed;
};
/* -EPERM (epoll_ctl's for what can't be polled) for other handles. */
int skep_ready_open(struct skep *skep, int fd, struct skep_ready *out);
void skep_ready_close(struct skep_ready *r);
bool skep_ready_now(const struct skep_ready *r); /* there is something to read */

/* devmap: the program to run on what is redirected to key's device, or NULL. Valid
 * until skep_leave. */
const struct skep_prog *skep_devmap_prog(struct skep_map *map, uint32_t key);

/* Stack traces: stores ips (innermost first) from ips[flags & BPF_F_SKIP_FIELD_MASK] on,
 * returns the id or -errno. */
long skep_stackmap_put(struct skep_map *map, const uint64_t *ips, uint32_t n, uint64_t flags);

/* bpf_spin_lock in a value; the lock's 4 bytes as in the kernel. */
void skep_spin_lock(void *lock, struct skep_env *env);
void skep_spin_unlock(void *lock, struct skep_env *env);

#endif
