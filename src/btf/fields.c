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

enum {
	SPIN_LOCK,
	RES_SPIN_LOCK,
	TIMER,
	WQ,
	TASK_WORK,
	LIST_HEAD,
	LIST_NODE,
	RB_ROOT,
	RB_NODE,
	REFCOUNT,
};

static const struct {
	const char *name;
	uint32_t size, align;
	uint8_t kind;
	bool once;
	bool local; /* looked for in every structure of a BTF, not in map values only */
} specials[] = {
	[SPIN_LOCK] = {"bpf_spin_lock", 4, 4, SKEP_FIELD_SPIN_LOCK, true, true},
	[RES_SPIN_LOCK] = {"bpf_res_spin_lock", 4, 4, SKEP_FIELD_OTHER, true, true},
	[TIMER] = {"bpf_timer", 16, 8, SKEP_FIELD_TIMER, true, false},
	[WQ] = {"bpf_wq", 16, 8, SKEP_FIELD_OTHER, true, false},
	[TASK_WORK] = {"bpf_task_work", 8, 8, SKEP_FIELD_OTHER, true, false},
	[LIST_HEAD] = {"bpf_list_head", 16, 8, SKEP_FIELD_OTHER, false, true},
	[LIST_NODE] = {"bpf_list_node", 24, 8, SKEP_FIELD_OTHER, false, true},
	[RB_ROOT] = {"bpf_rb_root", 16, 8, SKEP_FIELD_OTHER, false, true},
	[RB_NODE] = {"bpf_rb_node", 32, 8, SKEP_FIELD_OTHER, false, true},
	[REFCOUNT] = {"bpf_refcount", 4, 4, SKEP_FIELD_OTHER, false, true},
};
#define NR_SPECIALS (sizeof(specials) / sizeof(*specials))

struct search {
	const struct skep_btf *btf;
	struct skep_fields *out;
	uint32_t seen, found; /* bit per row of specials */
	bool local; /* only what may be in any structure */
};

/* Where a type is used: a member of a structure, or a variable (component -1). */
struct place {
	uint32_t owner;
	int32_t component;
};

static int add(struct search *s, uint32_t kind, uint32_t off, uint32_t size, uint32_t btf_id)
{
	if (s->out->n == MAX_FIELDS)
		return -E2BIG;
	s->out->f[s->out->n++] = (struct skep_field){kind, off, size, btf_id};
	return 0;
}

static int search(struct search *s, struct place at, uint32_t id, uint32_t off, int depth);

/* A list or tree says by a tag what it contains, "contains:TYPE:MEMBER", and the member is a
 * node of its kind. */
static int check_root(const struct skep_btf *btf, struct place at, const char *node)
{
	const char *found = NULL;

	for (uint32_t id = 1; id < btf->ntypes; id++) {
		const struct btf_type *t = btf->types[id];
		const char *text = skep_btf_str(btf, t->name_off);
		if (T_KIND(t) != BTF_KIND_DECL_TAG || t->type != at.owner ||
		    ((const struct btf_decl_tag *)(t + 1))->component_idx != at.component ||
		    strncmp(text, "contains:", 9))
			continue;
		if (found)
			return -EINVAL;
		found = text + 9;
	}
	const char *colon = found ? strchr(found, ':') : NULL;
	char name[512];
	if (!colon || (size_t)(colon - found) >= sizeof(name))
		return -EINVAL;
	memcpy(name, found, (size_t)(colon - found));
	name[colon - found] = 0;
	int64_t id = skep_btf_find(btf, name, BTF_KIND_STRUCT);
	if (id < 0)
		return (int)id;
	const struct btf_type *t = skep_btf_type(btf, (uint32_t)id);
	const struct btf_member *m = skep_btf_members(t);
	for (uint32_t i = 0; i < T_VLEN(t); i++) {
		if (strcmp(skep_btf_str(btf, m[i].name_off), colon + 1))
			continue;
		const struct btf_type *n = skep_btf_type(btf, m[i].type);
		bool right = T_KIND(n) == BTF_KIND_STRUCT &&
			     !strcmp(skep_btf_str(btf, n->name_off), node) &&
			     !(skep_btf_member_bits(t, &m[i]) % 64);
		return right ? 0 : -EINVAL;
	}
	return -ENOENT;
}

/* A pointer with a tag before what it points to. */
static int search_ptr(struct search *s, const struct btf_type *ptr, uint32_t off)
{
	static const char *const tags[] = {"kptr_untrusted", "kptr", "percpu_kptr", "uptr"};
	const struct btf_type *tag = skep_btf_type(s->btf, ptr->type);
	uint32_t to;

	if (!tag || T_KIND(tag) != BTF_KIND_TYPE_TAG || T_KFLAG(tag) || off % 8)
		return 0;
	const char *name = skep_btf_str(s->btf, tag->name_off);
	unsigned i = 0;
	while (i < 4 && strcmp(name, tags[i]))
		i++;
	const struct btf_type *behind = skep_btf_type(s->btf, tag->type);
	if (i == 4 || T_KIND(behind) == BTF_KIND_TYPE_TAG)
		return -EINVAL;
	/* Pointers into user memory are for maps of tasks' own data only. */
	if (!strcmp(name, "uptr") && s->local)
		return 0;
	const struct btf_type *t = skep_btf_skip_mods(s->btf, tag->type, &to);
	if (!t || T_KIND(t) != BTF_KIND_STRUCT)
		return -EINVAL;
	return add(s, SKEP_FIELD_KPTR, off, 8, to);
}

static int search_struct(struct search *s, struct place at, uint32_t id, const struct btf_type *t,
			 uint32_t off, int depth)
{
	const char *name = skep_btf_str(s->btf, t->name_off);

	for (unsigned i = 0; i < NR_SPECIALS; i++) {
		if (strcmp(name, specials[i].name) || T_KIND(t) != BTF_KIND_STRUCT)
			continue;
		if (s->local && !specials[i].local)
			return 0;
		if (specials[i].once && (s->seen & 1u << i))
			return -E2BIG;
		s->seen |= 1u << i;
		/* One of the wrong size or at the wrong place is none. */
		if (t->size != specials[i].size || off % specials[i].align)
			return 0;
		s->found |= 1u << i;
		int err = i == LIST_HEAD ? check_root(s->btf, at, "bpf_list_node")
			  : i == RB_ROOT ? check_root(s->btf, at, "bpf_rb_node")
					 : 0;
		if (err)
			return err;
		return add(s, specials[i].kind, off, t->size, id);
	}
	if (T_KIND(t) != BTF_KIND_STRUCT || depth >= MAX_DEPTH)
		return 0;
	const struct btf_member *m = skep_btf_members(t);
	/* What may be there once may be there once in each structure. */
	uint32_t outer = s->seen;
	s->seen = 0;
	for (uint32_t i = 0; i < T_VLEN(t); i++) {
		uint32_t bits = skep_btf_member_bits(t, &m[i]);
		if (bits % 8 || skep_btf_member_bitfield(t, &m[i]))
			continue;
		int err = search(s, (struct place){id, (int32_t)i}, m[i].type, off + bits / 8,
				 depth + 1);
		if (err)
			return err;
	}
	s->seen = outer;
	return 0;
}

static bool may_repeat(const struct search *s, const struct skep_field *f)
{
	const char *name = skep_btf_name(s->btf, f->btf_id);

	return f->kind == SKEP_FIELD_KPTR || !strcmp(name, "bpf_list_head") ||
	       !strcmp(name, "bpf_rb_root");
}

/* What an array's first element has, the others have too; few kinds may. */
static int repeat(struct search *s, uint32_t had, uint32_t n, uint32_t each)
{
	uint32_t count = s->out->n - had;

	for (uint32_t k = had; k < had + count; k++)
		if (!may_repeat(s, &s->out->f[k]))
			return -EINVAL;
	for (uint32_t i = 1; count && i < n; i++) {
		for (uint32_t k = had; k < had + count; k++) {
			struct skep_field f = s->out->f[k];
			if (s->out->n == MAX_FIELDS)
				return -E2BIG;
			f.offset += i * each;
			s->out->f[s->out->n++] = f;
		}
	}
	return 0;
}

static int search(struct search *s, struct place at, uint32_t id, uint32_t off, int depth)
{
	/* As the kernel: a typedef or const hides what lies behind it. */
	const struct btf_type *t = skep_btf_type(s->btf, id);
	uint32_t n = 1;

	while (t && T_KIND(t) == BTF_KIND_ARRAY) {
		const struct btf_array *a = skep_btf_array(t);
		if (!a->nelems || a->nelems > UINT32_MAX / n)
			return 0;
		n *= a->nelems;
		id = a->type;
		t = skep_btf_type(s->btf, id);
	}
	if (!t || (!skep_btf_is_struct(t) && T_KIND(t) != BTF_KIND_PTR))
		return 0;
	int64_t each = skep_btf_size(s->btf, id);
	uint32_t had = s->out->n;
	int err = T_KIND(t) == BTF_KIND_PTR ? search_ptr(s, t, off)
					    : search_struct(s, at, id, t, off, depth);
	return err || n == 1 ? err : repeat(s, had, n, (uint32_t)each);
}

static bool has(const struct search *s, unsigned row)
{
	return s->found & 1u << row;
}

static int parse_fields(const struct skep_btf *btf, uint32_t id, bool local,
			struct skep_fields *out)
{
	struct search s = {.btf = btf, .out = out, .local = local};
	const struct btf_type *t = skep_btf_skip_mods(btf, id, &id);
	int err = 0;

	out->n = 0;
	if (!t)
		return 0;
	if (T_KIND(t) == BTF_KIND_DATASEC) {
		const struct btf_var_secinfo *v = skep_btf_vars(t);
		for (uint32_t i = 0; i < T_VLEN(t) && !err; i++)
			err = search(&s, (struct place){v[i].type, -1},
				     skep_btf_type(btf, v[i].type)->type, v[i].offset, 0);
	} else if (T_KIND(t) == BTF_KIND_STRUCT) {
		const struct btf_member *m = skep_btf_members(t);
		for (uint32_t i = 0; i < T_VLEN(t) && !err; i++) {
			uint32_t bits = skep_btf_member_bits(t, &m[i]);
			if (!(bits % 8) && !skep_btf_member_bitfield(t, &m[i]))
				err = search(&s, (struct place){id, (int32_t)i}, m[i].type,
					     bits / 8, 0);
		}
	}
	/* By offset: a section's variables and an array's elements come that way already. */
	for (uint32_t i = 1; i < out->n && !err; i++)
		if (out->f[i].offset < out->f[i - 1].offset + out->f[i - 1].size)
			err = -EEXIST;
	/* Lists and trees need a lock; a node in both kinds needs a count of references. */
	if (!err && (has(&s, LIST_HEAD) || has(&s, RB_ROOT)) && !has(&s, SPIN_LOCK) &&
	    !has(&s, RES_SPIN_LOCK))
		err = -EINVAL;
	if (!err && has(&s, SPIN_LOCK) && has(&s, RES_SPIN_LOCK))
		err = -EINVAL;
	if (!err && has(&s, LIST_NODE) && has(&s, RB_NODE) && !has(&s, REFCOUNT))
		err = -EINVAL;
	return err;
}

/* Whether a member makes its structure one with fields that programs may use. */
static bool brings_fields(const struct skep_btf *btf, const struct btf_member *m)
{
	const struct btf_type *t = skep_btf_type(btf, m->type);

	if (T_KIND(t) == BTF_KIND_PTR) {
		const struct btf_type *tag = skep_btf_type(btf, t->type);
		return T_KIND(tag) == BTF_KIND_TYPE_TAG && !T_KFLAG(tag) &&
		       strstr(skep_btf_str(btf, tag->name_off), "kptr") &&
		       T_KIND(skep_btf_type(btf, tag->type)) == BTF_KIND_STRUCT;
	}
	if (T_KIND(t) != BTF_KIND_STRUCT)
		return false;
	const char *name = skep_btf_str(btf, t->name_off);
	for (unsigned i = 0; i < NR_SPECIALS; i++)
		if (specials[i].local && i != RES_SPIN_LOCK && !strcmp(name, specials[i].name))
			return true;
	return false;
}

int skep_btf_check_structs(const struct skep_btf *btf)
{
	struct skep_fields fields;

	for (uint32_t id = 1; id < btf->ntypes; id++) {
		const struct btf_type *t = btf->types[id];
		const struct btf_member *m = skep_btf_members(t);
		bool any = false;
		for (uint32_t i = 0; T_KIND(t) == BTF_KIND_STRUCT && i < T_VLEN(t) && !any; i++)
			any = brings_fields(btf, &m[i]);
		int err = any ? parse_fields(btf, id, true, &fields) : 0;
		/* Named as one, and none by its size: the kernel's errno for that. */
		if (any && !err && !fields.n)
			err = -EFAULT;
		if (err)
			return err;
	}
	return 0;
}

int skep_btf_fields(const struct skep_btf *btf, uint32_t id, struct skep_fields *out)
{
	/* A value whose fields make no sense is a value without fields, as in the kernel;
	 * programs that need one are refused when they use it. */
	if (parse_fields(btf, id, false, out))
		out->n = 0;
	return 0;
}

/* ---- Maps' types ---- */

int skep_btf_check_map(const struct skep_btf *btf, uint32_t map_type, uint32_t key_id,
		       uint32_t value_id, uint32_t key_size, uint32_t value_size)
{
	/* Some types say themselves what their key is, if BTF does not. */
	if (key_id ? skep_btf_size(btf, key_id) != key_size
		   : skep_map_types[map_type]->btf == SKEP_BTF_ANY)
		return -EINVAL;
	return skep_btf_size(btf, value_id) != value_size ? -EINVAL : 0;
}

static bool is_int(const struct btf_type *t, uint32_t size)
{
	return t && T_KIND(t) == BTF_KIND_INT && t->size == size &&
	       BTF_INT_BITS(skep_btf_int_data(t)) == 8 * size &&
	       !BTF_INT_OFFSET(skep_btf_int_data(t));
}

/* A cgroup's id, or struct bpf_cgroup_storage_key: the id and an attach type. */
static bool cgroup_key(const struct skep_btf *btf, const struct btf_type *t, uint32_t size)
{
	const struct btf_member *m;

	if (size == 8)
		return is_int(t, 8);
	if (T_KIND(t) != BTF_KIND_STRUCT || T_VLEN(t) != 2)
		return false;
	m = skep_btf_members(t);
	return skep_btf_member_bits(t, &m[0]) == 0 && skep_btf_member_bits(t, &m[1]) == 64 &&
	       is_int(skep_btf_skip_mods(btf, m[0].type, NULL), 8) &&
	       is_int(skep_btf_skip_mods(btf, m[1].type, NULL), 4);
}

int skep_btf_check_map_type(const struct skep_btf *btf, const struct skep_map *map)
{
	const struct btf_type *key = skep_btf_skip_mods(btf, map->btf_key_id, NULL);
	const struct btf_type *value = skep_btf_skip_mods(btf, map->btf_value_id, NULL);
	bool no_key = !map->btf_key_id;

	switch (map->ops->btf) {
	case SKEP_BTF_NONE:
		return -SKEP_ENOTSUPP;
	case SKEP_BTF_ARRAY:
		/* Global data has a section for its value and no key. */
		if (no_key)
			return map->max_entries == 1 && T_KIND(value) == BTF_KIND_DATASEC ? 0
											  : -EINVAL;
		return is_int(key, 4) ? 0 : -EINVAL;
	case SKEP_BTF_INDEX:
		return !no_key && is_int(key, 4) ? 0 : -EINVAL;
	case SKEP_BTF_STRUCT:
		return !no_key && T_KIND(key) == BTF_KIND_STRUCT ? 0 : -EINVAL;
	case SKEP_BTF_NO_KEY:
		return no_key ? 0 : -EINVAL;
	case SKEP_BTF_CGROUP:
		return !no_key && cgroup_key(btf, key, map->key_size) ? 0 : -EINVAL;
	default:
		return 0;
	}
}
