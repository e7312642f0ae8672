/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BTF: checked on loading as the kernel checks it, then read through accessors
 * that can't leave it. Immutable after loading; any thread.
 */
#ifndef SKEP_BTF_H
#define SKEP_BTF_H

#include <linux/btf.h>
#include <stdbool.h>
#include <stdint.h>

#include "bpf/instance.h"
#include "bpf/log.h"

struct skep_fields;

struct skep_btf {
	struct skep_object obj;
	const struct btf_type **types; /* by id; [0] is void. With a base: from base_types */
	uint32_t ntypes; /* ids below this are valid, void included */
	const char *strings;
	uint32_t strings_len;
	void *data; /* the whole */
	void *mem; /* the allocation that data lies in, owned */
	uint32_t data_size;
	const struct skep_btf *base; /* vmlinux for module BTF, else NULL */
	uint32_t *resolved_size; /* by id, 0: no size */
	char name[64];
	bool kernel; /* made by skep itself */
};

/* Checks and indexes size bytes (copied). Writes the kernel's messages to log (may
 * be NULL). Does not enter it in an instance; *out starts with one reference. */
int skep_btf_parse(const void *data, uint32_t size, struct skep_log *log, struct skep_btf **out);
/* The same, and skep is whose types pointers in structures may mean. */
int skep_btf_parse_for(struct skep *skep, const void *data, uint32_t size, struct skep_log *log,
		       struct skep_btf **out);
void skep_btf_free(struct skep_btf *btf);
/* References: of the object when it is in an instance, plain otherwise. */
void skep_btf_ref(struct skep_btf *btf);
void skep_btf_put(struct skep_btf *btf);

const struct btf_type *skep_btf_type(const struct skep_btf *btf, uint32_t id);
const char *skep_btf_str(const struct skep_btf *btf, uint32_t off); /* NULL if out of range */
const char *skep_btf_name(const struct skep_btf *btf, uint32_t id); /* "" if it has none */
/* Follows modifiers and typedefs; id of the result in *id if not NULL. */
const struct btf_type *skep_btf_skip_mods(const struct skep_btf *btf, uint32_t type, uint32_t *id);
/* Size in bytes of a type (modifiers, arrays resolved): -EINVAL if it has none. */
int64_t skep_btf_size(const struct skep_btf *btf, uint32_t id);
/* The type of that name and kind, or -ENOENT. */
int64_t skep_btf_find(const struct skep_btf *btf, const char *name, uint32_t kind);
/* Special fields (spin lock, timer, ...) of a map's value type: 0 or -errno. Pointers to types
 * that skep presents mean those; with NULL all are the BTF's own. */
int skep_btf_fields(const struct skep_btf *btf, struct skep *skep, uint32_t id,
		    struct skep_fields *out);
/* The same of a structure that programs may allocate. */
int skep_btf_struct_fields(const struct skep_btf *btf, struct skep *skep, uint32_t id,
			   struct skep_fields *out);
/* User memory that a map's value points to: a page at most, of the program's own types. */
int skep_btf_check_fields(const struct skep_btf *btf, const struct skep_fields *fields);
/* Checks a map's key and value types against its sizes, as BPF_MAP_CREATE does. */
int skep_btf_check_map(const struct skep_btf *btf, uint32_t map_type, uint32_t key_id,
		       uint32_t value_id, uint32_t key_size, uint32_t value_size);
/* What the map's type says of its key and value types besides: 0 or the kernel's errno. */
struct skep_map;
int skep_btf_check_map_type(const struct skep_btf *btf, const struct skep_map *map);

/* A kernel's BTF: as skep_btf_parse() without a base. */
int skep_btf_parse_kernel(const void *data, uint32_t size, struct skep_btf **out);
/* The types that skep presents as /sys/kernel/btf/vmlinux: raw bytes. */
int skep_btf_vmlinux(struct skep_btf **out);
/* The same, made once for an instance, which keeps it. */
int skep_btf_presented(struct skep *skep, const struct skep_btf **out);

/* func_info and line_info of PROG_LOAD: checks as the kernel does, with its log
 * messages; *out arrays are owned by the caller. The caller answers the record size that is
 * expected where these say -E2BIG. match_func_info holds the functions against the calls. */
int skep_btf_check_func_info(const struct skep_btf *btf, const union bpf_attr *attr,
			     struct skep_log *log, struct bpf_func_info **out, uint32_t *n);
int skep_btf_match_func_info(const struct bpf_func_info *recs, uint32_t n,
			     const struct bpf_insn *insns, uint32_t ninsns, struct skep_log *log);
int skep_btf_check_line_info(const struct skep_btf *btf, const union bpf_attr *attr,
			     const struct bpf_insn *insns, uint32_t ninsns, struct skep_log *log,
			     struct bpf_line_info **out, uint32_t *n);

/* ---- Printing values ---- */
struct skep_btf_sink {
	void (*write)(void *arg, const char *text, size_t len);
	void *arg;
};
#define SKEP_BTF_JSON    1u /* JSON instead of C-like text */
#define SKEP_BTF_COMPACT 2u /* on one line */
/* Prints the bytes of data as a value of type id. */
int skep_btf_print(const struct skep_btf *btf, uint32_t id, const void *data, size_t size,
		   uint32_t flags, const struct skep_btf_sink *sink);

#endif
