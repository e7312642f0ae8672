/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call of bpf(2), as the files of the commands see it: a private, zero-extended copy
 * of the attributes, and the caller's own, for answers. Memory that a caller names is
 * only reached through skep_user_* (which answer -EFAULT).
 */
#ifndef SKEP_CALL_H
#define SKEP_CALL_H

#include <errno.h>
#include <stddef.h>

#include "bpf/instance.h"
#include "map/map.h"
#include "os/caller.h"
#include "os/os.h"

#define SKEP_ENOTSUPP 524 /* the kernel's internal number, which leaks out */

struct skep_call {
	struct skep *skep;
	union bpf_attr attr; /* a copy, zero-extended */
	union bpf_attr *user; /* the caller's */
	uint32_t size; /* of the caller's, at most sizeof(attr) */
	struct skep_env *env; /* this thread's, open; NULL until skep_call_env() */
};

typedef long skep_cmd_fn(struct skep_call *c);
/* Bytes of the attributes that a command knows, 0: no such command. */
uint32_t skep_cmd_bytes(int cmd);

skep_cmd_fn skep_cmd_map_create, skep_cmd_map_lookup, skep_cmd_map_update, skep_cmd_map_delete,
	skep_cmd_map_next_key, skep_cmd_map_lookup_delete, skep_cmd_map_freeze;
skep_cmd_fn skep_cmd_lookup_batch, skep_cmd_lookup_delete_batch, skep_cmd_update_batch,
	skep_cmd_delete_batch;
skep_cmd_fn skep_cmd_prog_load, skep_cmd_test_run, skep_cmd_bind_map, skep_cmd_stream_read;
skep_cmd_fn skep_cmd_btf_load;
skep_cmd_fn skep_cmd_prog_next_id, skep_cmd_map_next_id, skep_cmd_btf_next_id,
	skep_cmd_link_next_id, skep_cmd_prog_by_id, skep_cmd_map_by_id, skep_cmd_btf_by_id,
	skep_cmd_link_by_id, skep_cmd_info;
skep_cmd_fn skep_cmd_pin, skep_cmd_get;
skep_cmd_fn skep_cmd_prog_attach, skep_cmd_prog_detach, skep_cmd_prog_query,
	skep_cmd_raw_tracepoint, skep_cmd_link_create, skep_cmd_link_update, skep_cmd_link_detach,
	skep_cmd_iter_create, skep_cmd_task_fd_query;
skep_cmd_fn skep_cmd_enable_stats, skep_cmd_token_create;

/* The calling thread's environment for map operations, taken from the instance's pool
 * and given back when the call ends. NULL: no memory. */
struct skep_env *skep_call_env(struct skep_call *c);
void skep_call_done(struct skep_call *c);

/* Whether the caller has a capability. CAP_SYS_ADMIN gives all of those that count here. */
static inline bool skep_capable(const struct skep *skep, enum skep_cap cap)
{
	const struct skep_caller *caller = skep_caller_current();

	if (skep->opts.flags & SKEP_F_UNPRIVILEGED)
		return false;
	return !caller || caller->caps & (1ull << cap | 1ull << SKEP_CAP_SYS_ADMIN);
}

/* ---- The caller's memory ---- */

static inline void *skep_user_ptr(uint64_t p)
{
	return (void *)(uintptr_t)p;
}
static inline int skep_user_read(void *dst, uint64_t src, size_t len)
{
	return !len || !skep_caller_read(dst, skep_user_ptr(src), len) ? 0 : -EFAULT;
}
static inline int skep_user_write(uint64_t dst, const void *src, size_t len)
{
	return !len || !skep_caller_write(skep_user_ptr(dst), src, len) ? 0 : -EFAULT;
}
/* Answers in the caller's attributes, which may lie anywhere. */
#define skep_call_put(c, field, value)                                                             \
	skep_user_write((uintptr_t)(c)->user + offsetof(union bpf_attr, field),                    \
			&(__typeof__((c)->user->field)){(value)}, sizeof((c)->user->field))
/* A caller may pass more than is known, if it is 0: -E2BIG otherwise, -EFAULT. */
int skep_user_tail_zero(uint64_t user, uint32_t known, uint32_t actual);
/* Copies a name: letters, digits, '_' and '.', terminated within its 16 bytes. */
int skep_copy_name(char *dst, const char *src);

/* ---- Objects behind descriptors ---- */

/* As skep_object_get(); writable is false for a frozen map. */
int skep_get_map(struct skep *skep, uint32_t fd, struct skep_map **out, bool *readable,
		 bool *writable);
int skep_get_prog(struct skep *skep, uint32_t fd, struct skep_prog **out);
int skep_get_btf(struct skep *skep, uint32_t fd, struct skep_btf **out);
/* -EBADF or, if fd is open at all, -EINVAL. */
int skep_wrong_fd(uint32_t fd);
/* A new descriptor for obj; drops the caller's reference, also on failure. */
long skep_give_fd(struct skep_object *obj, int flags);

#endif
