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

/* Where a kind of field is looked for. */
#define IN_MAP   1 /* in map values */
#define IN_ALLOC 2 /* in every structure of a BTF, which programs may allocate */
#define IN_BOTH  (IN_MAP | IN_ALLOC)

static const struct {
	const char *name;
	uint32_t size, align;
	bool once;
	uint8_t in;
} specials[] = {
	[SKEP_FIELD_SPIN_LOCK] = {"bpf_spin_lock", 4, 4, true, IN_BOTH},
	[SKEP_FIELD_RES_SPIN_LOCK] = {"bpf_res_spin_lock", 4, 4, true, IN_BOTH},
	[SKEP_FIELD_TIMER] = {"bpf_timer", 16, 8, true, IN_MAP},
	[SKEP_FIELD_WQ] = {"bpf_wq", 16, 8, true, IN_MAP},
	[SKEP_FIELD_TASK_WORK] = {"bpf_task_work", 8, 8, true, IN_MAP},
	[SKEP_FIELD_LIST_HEAD] = {"bpf_list_head", 16, 8, false, IN_BOTH},
	[SKEP_FIELD_LIST_NODE] = {"bpf_list_node", 24, 8, false, IN_ALLOC},
	[SKEP_FIELD_RB_ROOT] = {"bpf_rb_root", 16, 8, false, IN_BOTH},
	[SKEP_FIELD_RB_NODE] = {"bpf_rb_node", 32, 8, false, IN_ALLOC},
	[SKEP_FIELD_REFCOUNT] = {"bpf_refcount", 4, 4, false, IN_BOTH},
};
#define NR_SPECIALS (sizeof(specials) / sizeof(*specials))

static const struct {
	const char *tag;
	uint8_t kind, in;
} pointers[] = {
	{"kptr_untrusted", SKEP_FIELD_KPTR_UNREF, IN_BOTH},
	{"kptr", SKEP_FIELD_KPTR_REF, IN_BOTH},
	{"percpu_kptr", SKEP_FIELD_KPTR_PERCPU, IN_BOTH},
	{"uptr", SKEP_FIELD_UPTR, IN_MAP}, /* user memory: tasks' own data only */
};
#define NR_POINTERS (sizeof(pointers) / sizeof(*pointers))

/* Types of the kernel that values may hold references of: those it can let go of. */
static const char *const held[] = {"task_struct",         "cgroup",
				   "bpf_cpumask",         "bpf_crypto_ctx",
				   "prog_test_ref_kfunc", "prog_test_member"};

struct search {
	const struct skep_btf *btf, *kernel; /* kernel may be NULL */
	struct skep_fields *out;
	uint32_t seen, found; /* bit per row of specials */
	uint8_t in; /* what is looked for */
};

/* Where a type is used: a member of a structure, or a variable (component -1). */
struct place {
	uint32_t owner;
	int32_t component;
};

static int add(struct search *s, const struct skep_field *f)
{
	if (s->out->n == MAX_FIELDS)
		return -E2BIG;
	s->out->f[s->out->n++] = *f;
	return 0;
}

static int search(struct search *s, struct place at, uint32_t id, uint32_t off, int depth);

/* A list or tree says by a tag what it contains, "contains:TYPE:MEMBER". Until all fields are
 * known, node_offset is that of the member's name among the strings. */
static int find_contents(const struct skep_btf *btf, struct place at, struct skep_field *f)
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
	if (!colon[1])
		return -EINVAL;
	f->btf_id = (uint32_t)id;
	f->node_offset = (uint32_t)(colon + 1 - btf->strings);
	return 0;
}

/* The member that a list or tree names is a node of its kind. */
static int check_root(const struct skep_btf *btf, struct skep_field *f)
{
	const char *node = f->kind == SKEP_FIELD_LIST_HEAD ? "bpf_list_node" : "bpf_rb_node";
	const char *name = btf->strings + f->node_offset;
	const struct btf_type *t = skep_btf_type(btf, f->btf_id);
	const struct btf_member *m = skep_btf_members(t);

	for (uint32_t i = 0; i < T_VLEN(t); i++) {
		if (strcmp(skep_btf_str(btf, m[i].name_off), name))
			continue;
		const struct btf_type *n = skep_btf_type(btf, m[i].type);
		if (T_KIND(n) != BTF_KIND_STRUCT || strcmp(skep_btf_str(btf, n->name_off), node) ||
		    skep_btf_member_bits(t, &m[i]) % 64)
			return -EINVAL;
		f->node_offset = skep_btf_member_bits(t, &m[i]) / 8;
		return 0;
	}
	return -ENOENT;
}

/* A pointer with a tag before what it points to. */
static int search_ptr(struct search *s, const struct btf_type *ptr, uint32_t off)
{
	const struct btf_type *tag = skep_btf_type(s->btf, ptr->type);
	struct skep_field f = {.offset = off, .size = 8};

	if (!tag || T_KIND(tag) != BTF_KIND_TYPE_TAG || T_KFLAG(tag) || off % 8)
		return 0;
	const char *name = skep_btf_str(s->btf, tag->name_off);
	unsigned i = 0;
	while (i < NR_POINTERS && strcmp(name, pointers[i].tag))
		i++;
	const struct btf_type *behind = skep_btf_type(s->btf, tag->type);
	if (i == NR_POINTERS || T_KIND(behind) == BTF_KIND_TYPE_TAG)
		return -EINVAL;
	if (!(pointers[i].in & s->in))
		return 0;
	f.kind = pointers[i].kind;
	const struct btf_type *t = skep_btf_skip_mods(s->btf, tag->type, &f.btf_id);
	if (!t || T_KIND(t) != BTF_KIND_STRUCT)
		return -EINVAL;
	return add(s, &f);
}

/* Which type a pointer means, and whether the field may hold it. */
static int resolve_pointer(const struct search *s, struct skep_field *f)
{
	const char *name = skep_btf_name(s->btf, f->btf_id);
	int64_t id = s->kernel ? skep_btf_find(s->kernel, name, BTF_KIND_STRUCT) : -ENOENT;

	if (id < 0)
		return 0;
	f->btf_id = (uint32_t)id;
	f->kernel = true;
	for (unsigned i = 0; i < sizeof(held) / sizeof(*held); i++)
		if (!strcmp(name, held[i]))
			return 0;
	return f->kind == SKEP_FIELD_KPTR_REF ? -ENOENT : 0;
}

/* Once all fields are found: the kernel's order decides between errors. */
static int resolve(const struct search *s)
{
	struct skep_fields *out = s->out;
	int err = 0;

	for (uint32_t i = 0; i < out->n && !err; i++) {
		struct skep_field *f = &out->f[i];
		/* By offset: a section's variables and an array's elements come that way already. */
		if (i && f->offset < f[-1].offset + f[-1].size)
			err = -EEXIST;
		else if (f->kind >= SKEP_FIELD_KPTR_UNREF)
			err = resolve_pointer(s, f);
		else if (f->kind == SKEP_FIELD_LIST_HEAD || f->kind == SKEP_FIELD_RB_ROOT)
			err = check_root(s->btf, f);
	}
	return err;
}

static int search_struct(struct search *s, struct place at, uint32_t id, const struct btf_type *t,
			 uint32_t off, int depth)
{
	const char *name = skep_btf_str(s->btf, t->name_off);

	for (unsigned i = 0; i < NR_SPECIALS; i++) {
		if (strcmp(name, specials[i].name) || T_KIND(t) != BTF_KIND_STRUCT)
			continue;
		if (!(specials[i].in & s->in))
			return 0;
		if (specials[i].once && (s->seen & 1u << i))
			return -E2BIG;
		s->seen |= 1u << i;
		/* One of the wrong size or at the wrong place is none. */
		if (t->size != specials[i].size || off % specials[i].align)
			return 0;
		s->found |= 1u << i;
		struct skep_field f = {.kind = i, .offset = off, .size = t->size, .btf_id = id};
		bool root = i == SKEP_FIELD_LIST_HEAD || i == SKEP_FIELD_RB_ROOT;
		int err = root ? find_contents(s->btf, at, &f) : 0;
		return err ? err : add(s, &f);
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

static bool may_repeat(const struct skep_field *f)
{
	return f->kind >= SKEP_FIELD_KPTR_UNREF || f->kind == SKEP_FIELD_LIST_HEAD ||
	       f->kind == SKEP_FIELD_RB_ROOT;
}

/* What an array's first element has, the others have too; few kinds may. */
static int repeat(struct search *s, uint32_t had, uint32_t n, uint32_t each)
{
	uint32_t count = s->out->n - had;

	for (uint32_t k = had; k < had + count; k++)
		if (!may_repeat(&s->out->f[k]))
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

static int parse_fields(const struct skep_btf *btf, const struct skep_btf *kernel, uint32_t id,
			uint8_t in, struct skep_fields *out)
{
	struct search s = {.btf = btf, .kernel = kernel, .out = out, .in = in};
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
	if (!err)
		err = resolve(&s);
	/* Lists and trees need a lock; a node in both kinds needs a count of references. */
	if (!err && (has(&s, SKEP_FIELD_LIST_HEAD) || has(&s, SKEP_FIELD_RB_ROOT)) &&
	    !has(&s, SKEP_FIELD_SPIN_LOCK) && !has(&s, SKEP_FIELD_RES_SPIN_LOCK))
		err = -EINVAL;
	if (!err && has(&s, SKEP_FIELD_SPIN_LOCK) && has(&s, SKEP_FIELD_RES_SPIN_LOCK))
		err = -EINVAL;
	if (!err && has(&s, SKEP_FIELD_LIST_NODE) && has(&s, SKEP_FIELD_RB_NODE) &&
	    !has(&s, SKEP_FIELD_REFCOUNT))
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
		if ((specials[i].in & IN_ALLOC) && i != SKEP_FIELD_RES_SPIN_LOCK &&
		    !strcmp(name, specials[i].name))
			return true;
	return false;
}

/* The types that skep presents are made only where pointers may mean them. */
static int presented(const struct skep_btf *btf, struct skep *skep, const struct skep_btf **out)
{
	*out = NULL;
	for (uint32_t id = 1; skep && id < btf->ntypes; id++)
		if (T_KIND(btf->types[id]) == BTF_KIND_TYPE_TAG)
			return skep_btf_presented(skep, out);
	return 0;
}

int skep_btf_check_structs(const struct skep_btf *btf, struct skep *skep)
{
	const struct skep_btf *kernel;
	int fail = presented(btf, skep, &kernel);

	if (fail)
		return fail;
	struct skep_fields fields;

	for (uint32_t id = 1; id < btf->ntypes; id++) {
		const struct btf_type *t = btf->types[id];
		const struct btf_member *m = skep_btf_members(t);
		bool any = false;
		for (uint32_t i = 0; T_KIND(t) == BTF_KIND_STRUCT && i < T_VLEN(t) && !any; i++)
			any = brings_fields(btf, &m[i]);
		int err = any ? parse_fields(btf, kernel, id, IN_ALLOC, &fields) : 0;
		/* Named as one, and none by its size: the kernel's errno for that. */
		if (any && !err && !fields.n)
			err = -EFAULT;
		if (err)
			return err;
	}
	return 0;
}

int skep_btf_fields(const struct skep_btf *btf, struct skep *skep, uint32_t id,
		    struct skep_fields *out)
{
	const struct skep_btf *kernel;
	int err = presented(btf, skep, &kernel);

	if (err)
		return err;
	/* A value whose fields make no sense is a value without fields, as in the kernel;
	 * programs that need one are refused when they use it. */
	if (parse_fields(btf, kernel, id, IN_MAP, out))
		out->n = 0;
	return 0;
}

int skep_btf_check_fields(const struct skep_btf *btf, const struct skep_fields *fields)
{
	for (uint32_t i = 0; i < fields->n; i++) {
		const struct skep_field *f = &fields->f[i];
		if (f->kind != SKEP_FIELD_UPTR)
			continue;
		uint32_t size = f->kernel ? 0 : skep_btf_type(btf, f->btf_id)->size;
		if (!size)
			return -EINVAL;
		if (size > 4096)
			return -E2BIG;
	}
	return 0;
}

int skep_btf_struct_fields(const struct skep_btf *btf, struct skep *skep, uint32_t id,
			   struct skep_fields *out)
{
	const struct skep_btf *kernel;
	int err = presented(btf, skep, &kernel);

	if (!err)
		err = parse_fields(btf, kernel, id, IN_ALLOC, out);
	if (err)
		out->n = 0;
	return err;
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
