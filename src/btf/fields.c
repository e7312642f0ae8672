/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Special fields of map values: structures that are known by their names (locks,
 * timers, ...) and pointers that are known by their tags. And the types of maps' keys
 * and values.
 */
#include <errno.h>
#include <string.h>

#include "btf/internal.h"
#include "map/map.h"

#define MAX_FIELDS 11
#define MAX_DEPTH  4 /* of structures within structures that are searched */

static const struct {
	const char *name;
	uint32_t size, align;
	uint8_t kind;
	bool once;
} specials[] = {
	{"bpf_spin_lock", 4, 4, SKEP_FIELD_SPIN_LOCK, true},
	{"bpf_res_spin_lock", 4, 4, SKEP_FIELD_OTHER, true},
	{"bpf_timer", 16, 8, SKEP_FIELD_TIMER, true},
	{"bpf_wq", 16, 8, SKEP_FIELD_OTHER, true},
	{"bpf_task_work", 8, 8, SKEP_FIELD_OTHER, true},
	{"bpf_list_head", 16, 8, SKEP_FIELD_OTHER, false},
	{"bpf_list_node", 24, 8, SKEP_FIELD_OTHER, false},
	{"bpf_rb_root", 16, 8, SKEP_FIELD_OTHER, false},
	{"bpf_rb_node", 32, 8, SKEP_FIELD_OTHER, false},
	{"bpf_refcount", 4, 4, SKEP_FIELD_OTHER, true},
};
#define NR_SPECIALS (sizeof(specials) / sizeof(*specials))

struct search {
	const struct skep_btf *btf;
	struct skep_fields *out;
	uint32_t seen; /* bit per row of specials */
};

static int add(struct search *s, uint32_t kind, uint32_t off, uint32_t size, uint32_t btf_id)
{
	if (s->out->n == MAX_FIELDS)
		return -E2BIG;
	s->out->f[s->out->n++] = (struct skep_field){kind, off, size, btf_id};
	return 0;
}

static int search(struct search *s, uint32_t id, uint32_t off, uint32_t size, int depth);

/* A pointer with a tag before what it points to. */
static int search_ptr(struct search *s, const struct btf_type *ptr, uint32_t off)
{
	static const char *const tags[] = {"kptr_untrusted", "kptr", "percpu_kptr", "uptr"};
	const struct btf_type *tag = skep_btf_type(s->btf, ptr->type);
	uint32_t to;

	if (!tag || T_KIND(tag) != BTF_KIND_TYPE_TAG || T_KFLAG(tag))
		return 0;
	const char *name = skep_btf_str(s->btf, tag->name_off);
	for (unsigned i = 0; i < 4; i++) {
		if (strcmp(name, tags[i]))
			continue;
		const struct btf_type *t = skep_btf_skip_mods(s->btf, tag->type, &to);
		if (!t || T_KIND(t) != BTF_KIND_STRUCT || off % 8)
			return -EINVAL;
		return add(s, SKEP_FIELD_KPTR, off, 8, to);
	}
	return 0;
}

static int search_struct(struct search *s, uint32_t id, const struct btf_type *t, uint32_t off,
			 int depth)
{
	const char *name = skep_btf_str(s->btf, t->name_off);

	for (unsigned i = 0; i < NR_SPECIALS; i++) {
		if (strcmp(name, specials[i].name) || T_KIND(t) != BTF_KIND_STRUCT)
			continue;
		if (t->size != specials[i].size || off % specials[i].align)
			return -EINVAL;
		if (specials[i].once && (s->seen & 1u << i))
			return -E2BIG;
		s->seen |= 1u << i;
		return add(s, specials[i].kind, off, t->size, id);
	}
	if (T_KIND(t) != BTF_KIND_STRUCT || depth >= MAX_DEPTH)
		return 0;
	const struct btf_member *m = skep_btf_members(t);
	for (uint32_t i = 0; i < T_VLEN(t); i++) {
		uint32_t bits = skep_btf_member_bits(t, &m[i]);
		if (bits % 8 || skep_btf_member_bitfield(t, &m[i]))
			continue;
		int err = search(s, m[i].type, off + bits / 8, 0, depth + 1);
		if (err)
			return err;
	}
	return 0;
}

/* size: as a section says it, 0: not said. */
static int search(struct search *s, uint32_t id, uint32_t off, uint32_t size, int depth)
{
	const struct btf_type *t = skep_btf_skip_mods(s->btf, id, &id);
	uint32_t n = 1;

	while (t && T_KIND(t) == BTF_KIND_ARRAY) {
		const struct btf_array *a = skep_btf_array(t);
		if (!a->nelems || a->nelems > UINT32_MAX / n)
			return 0;
		n *= a->nelems;
		t = skep_btf_skip_mods(s->btf, a->type, &id);
	}
	if (!t || (!skep_btf_is_struct(t) && T_KIND(t) != BTF_KIND_PTR))
		return 0;
	int64_t each = skep_btf_size(s->btf, id);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t had = s->out->n;
		uint32_t at = off + i * (uint32_t)each;
		int err = T_KIND(t) == BTF_KIND_PTR ? search_ptr(s, t, at)
						    : search_struct(s, id, t, at, depth);
		if (err)
			return err;
		if (s->out->n == had)
			break; /* none in one element: none in the others */
	}
	return 0;
}

static int parse_fields(const struct skep_btf *btf, uint32_t id, struct skep_fields *out)
{
	struct search s = {btf, out, 0};
	const struct btf_type *t = skep_btf_skip_mods(btf, id, &id);
	int err = 0;

	out->n = 0;
	if (!t)
		return 0;
	if (T_KIND(t) == BTF_KIND_DATASEC) {
		const struct btf_var_secinfo *v = skep_btf_vars(t);
		for (uint32_t i = 0; i < T_VLEN(t) && !err; i++)
			err = search(&s, skep_btf_type(btf, v[i].type)->type, v[i].offset,
				     v[i].size, 0);
	} else if (T_KIND(t) == BTF_KIND_STRUCT) {
		const struct btf_member *m = skep_btf_members(t);
		for (uint32_t i = 0; i < T_VLEN(t) && !err; i++) {
			uint32_t bits = skep_btf_member_bits(t, &m[i]);
			if (!(bits % 8) && !skep_btf_member_bitfield(t, &m[i]))
				err = search(&s, m[i].type, bits / 8, 0, 0);
		}
	}
	/* By offset: a section's variables and an array's elements come that way already. */
	for (uint32_t i = 1; i < out->n && !err; i++)
		if (out->f[i].offset < out->f[i - 1].offset + out->f[i - 1].size)
			err = -EEXIST;
	return err;
}

int skep_btf_fields(const struct skep_btf *btf, uint32_t id, struct skep_fields *out)
{
	/* A value whose fields make no sense is a value without fields, as in the kernel;
	 * programs that need one are refused when they use it. */
	if (parse_fields(btf, id, out))
		out->n = 0;
	return 0;
}

/* ---- Maps' types ---- */

int skep_btf_check_map(const struct skep_btf *btf, uint32_t key_id, uint32_t value_id,
		       uint32_t key_size, uint32_t value_size)
{
	if (key_id && skep_btf_size(btf, key_id) != key_size)
		return -EINVAL;
	return skep_btf_size(btf, value_id) != value_size ? -EINVAL : 0;
}

static bool is_i32(const struct btf_type *t)
{
	return t && T_KIND(t) == BTF_KIND_INT && t->size == 4 &&
	       BTF_INT_BITS(skep_btf_int_data(t)) == 32 && !BTF_INT_OFFSET(skep_btf_int_data(t));
}

int skep_btf_check_map_type(const struct skep_btf *btf, const struct skep_map *map)
{
	const struct btf_type *key = skep_btf_skip_mods(btf, map->btf_key_id, NULL);
	const struct btf_type *value = skep_btf_skip_mods(btf, map->btf_value_id, NULL);
	bool no_key = !map->btf_key_id;

	switch (map->type) {
	case BPF_MAP_TYPE_ARRAY:
	case BPF_MAP_TYPE_PERCPU_ARRAY:
		/* Global data has a section for its value and no key. */
		if (no_key)
			return map->type == BPF_MAP_TYPE_ARRAY && map->max_entries == 1 &&
					       T_KIND(value) == BTF_KIND_DATASEC
				       ? 0
				       : -EINVAL;
		return is_i32(key) ? 0 : -EINVAL;
	case BPF_MAP_TYPE_LPM_TRIE:
		return !no_key && T_KIND(key) == BTF_KIND_STRUCT ? 0 : -EINVAL;
	case BPF_MAP_TYPE_BLOOM_FILTER:
		return no_key ? 0 : -EINVAL;
	case BPF_MAP_TYPE_PROG_ARRAY:
	case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
	case BPF_MAP_TYPE_ARRAY_OF_MAPS:
	case BPF_MAP_TYPE_HASH_OF_MAPS:
	case BPF_MAP_TYPE_STACK_TRACE:
	case BPF_MAP_TYPE_DEVMAP:
	case BPF_MAP_TYPE_DEVMAP_HASH:
	case BPF_MAP_TYPE_CPUMAP:
	case BPF_MAP_TYPE_XSKMAP:
		return -SKEP_ENOTSUPP;
	default:
		return no_key ? -EINVAL : 0;
	}
}
