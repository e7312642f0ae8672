/* SPDX-License-Identifier: Apache-2.0 */
/* Iterators over the instance's maps, programs and links. */
#include <string.h>

#include "bpf/iter.h"
#include "prog/type.h"

#define ARG(i)         .off = (i)*8, .size = 8, .ioff = (i)*8, .isize = 8, .flags = SKEP_CTX_R
#define STRUCT(i, of)  ARG(i), .kind = SKEP_CTX_BTF, .type = (of)
#define OR_NULL(i, of) ARG(i), .kind = SKEP_CTX_BTF_OR_NULL, .type = (of)
#define META                                                                                       \
	{                                                                                          \
		.name = "meta", STRUCT(0, "bpf_iter_meta")                                         \
	}
#define FIELDS(table) .fields = (table), .nfields = sizeof(table) / sizeof((table)[0])

/* Calls show for each object, which is held meanwhile. */
static int each(struct skep_iter *it, enum skep_kind kind,
		int (*show)(struct skep_iter *it, struct skep_object *obj))
{
	uint32_t id = 0;
	int err = 0;

	while (!err && (id = skep_object_next_id(it->skep, kind, id))) {
		struct skep_object *obj = skep_object_by_id(it->skep, kind, id);
		if (!obj)
			continue; /* it went in between */
		err = show(it, obj);
		skep_object_put(obj);
	}
	return err;
}

/* ---- Maps ---- */

static const struct skep_ctx_field map_fields[] = {META, {.name = "map", OR_NULL(1, "bpf_map")}};

static int show_map(struct skep_iter *it, struct skep_object *obj)
{
	it->ctx[1] = (uintptr_t)obj->view;
	return skep_iter_show(it);
}

static int each_map(struct skep_iter *it)
{
	return each(it, SKEP_KIND_MAP, show_map);
}

const struct skep_iter_target skep_iter_maps = {
	.name = "bpf_map", FIELDS(map_fields), .args = 2, .each = each_map};

/* ---- Programs ---- */

static const struct skep_ctx_field prog_fields[] = {META, {.name = "prog", OR_NULL(1, "bpf_prog")}};

struct prog_view {
	struct skep_view_prog prog;
	struct skep_view_prog_aux aux;
};

static void view_prog(struct prog_view *v, const struct skep_prog *p)
{
	memset(v, 0, sizeof(*v));
	v->prog = (struct skep_view_prog){
		.pages = (uint16_t)((p->image.len * sizeof(struct bpf_insn) + 4095) / 4096),
		.type = p->type,
		.expected_attach_type = p->attach_type,
		.len = p->image.len,
		.jited_len = (uint32_t)p->code.size,
		.aux = &v->aux,
	};
	memcpy(v->prog.tag, p->tag, sizeof(v->prog.tag));
	v->aux = (struct skep_view_prog_aux){
		.id = p->obj.id,
		.used_map_cnt = p->nmaps,
		.func_cnt = p->image.nsubprogs > 1 ? p->image.nsubprogs : 0,
		.stack_depth = p->stack_depth,
		.verified_insns = p->verified_insns,
		.load_time = p->load_ns,
	};
	memcpy(v->aux.name, p->name, sizeof(v->aux.name));
}

static int show_prog(struct skep_iter *it, struct skep_object *obj)
{
	struct prog_view v;

	view_prog(&v, (struct skep_prog *)obj);
	it->ctx[1] = (uintptr_t)&v.prog;
	return skep_iter_show(it);
}

static int each_prog(struct skep_iter *it)
{
	return each(it, SKEP_KIND_PROG, show_prog);
}

const struct skep_iter_target skep_iter_progs = {
	.name = "bpf_prog", FIELDS(prog_fields), .args = 2, .each = each_prog};

/* ---- Links ---- */

static const struct skep_ctx_field link_fields[] = {META, {.name = "link", OR_NULL(1, "bpf_link")}};

static int show_link(struct skep_iter *it, struct skep_object *obj)
{
	struct skep_link *link = (struct skep_link *)obj;
	struct skep_prog *prog = skep_link_prog(link);
	struct skep_view_link v = {.id = obj->id, .type = link->type};
	struct prog_view p;

	if (prog) {
		view_prog(&p, prog);
		v.prog = &p.prog;
	}
	it->ctx[1] = (uintptr_t)&v;
	int err = skep_iter_show(it);
	if (prog)
		skep_object_put(&prog->obj);
	return err;
}

static int each_link(struct skep_iter *it)
{
	return each(it, SKEP_KIND_LINK, show_link);
}

const struct skep_iter_target skep_iter_links = {
	.name = "bpf_link", FIELDS(link_fields), .args = 2, .each = each_link};
