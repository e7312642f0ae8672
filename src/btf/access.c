/* SPDX-License-Identifier: Apache-2.0 */
/* Reading checked BTF, and its life. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "btf/internal.h"

void skep_btf_free(struct skep_btf *btf)
{
	if (!btf)
		return;
	free(btf->types);
	free(btf->resolved_size);
	free(btf->mem);
	free(btf);
}

void skep_btf_ref(struct skep_btf *btf)
{
	if (btf->obj.skep)
		skep_object_ref(&btf->obj);
	else
		atomic_fetch_add(&btf->obj.refs, 1);
}

void skep_btf_put(struct skep_btf *btf)
{
	if (!btf)
		return;
	if (btf->obj.skep)
		skep_object_put(&btf->obj);
	else if (atomic_fetch_sub(&btf->obj.refs, 1) == 1)
		skep_btf_free(btf);
}

const struct btf_type *skep_btf_type(const struct skep_btf *btf, uint32_t id)
{
	return id < btf->ntypes ? btf->types[id] : NULL;
}

const char *skep_btf_str(const struct skep_btf *btf, uint32_t off)
{
	return off < btf->strings_len ? btf->strings + off : NULL;
}

const char *skep_btf_name(const struct skep_btf *btf, uint32_t id)
{
	const struct btf_type *t = skep_btf_type(btf, id);
	const char *name = t ? skep_btf_str(btf, t->name_off) : NULL;

	return name ? name : "";
}

const struct btf_type *skep_btf_skip_mods(const struct skep_btf *btf, uint32_t type, uint32_t *id)
{
	const struct btf_type *t = skep_btf_type(btf, type);

	/* Chains are free of loops: that was checked on loading. */
	while (t && skep_btf_is_mod(t)) {
		type = t->type;
		t = skep_btf_type(btf, type);
	}
	if (id)
		*id = type;
	return t;
}

int64_t skep_btf_size(const struct skep_btf *btf, uint32_t id)
{
	const struct btf_type *t = skep_btf_type(btf, id);

	while (t && (skep_btf_is_mod(t) || T_KIND(t) == BTF_KIND_VAR)) {
		id = t->type;
		t = skep_btf_type(btf, id);
	}
	switch (t ? T_KIND(t) : BTF_KIND_UNKN) {
	case BTF_KIND_INT:
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
	case BTF_KIND_ENUM:
	case BTF_KIND_ENUM64:
	case BTF_KIND_FLOAT:
	case BTF_KIND_DATASEC:
		return t->size;
	case BTF_KIND_PTR:
		return 8;
	case BTF_KIND_ARRAY:
		return btf->resolved_size[id];
	default:
		return -EINVAL;
	}
}

int64_t skep_btf_find(const struct skep_btf *btf, const char *name, uint32_t kind)
{
	for (uint32_t id = 1; id < btf->ntypes; id++) {
		const struct btf_type *t = btf->types[id];
		if (T_KIND(t) == kind && !strcmp(btf->strings + t->name_off, name))
			return id;
	}
	return -ENOENT;
}
