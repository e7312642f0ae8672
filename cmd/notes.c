/* SPDX-License-Identifier: Apache-2.0 */
#include "notes.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>
#include <string.h>

#include "client/elf.h"
#include "maps.h"
#include "trace/trace.h"
#include "value.h"

static void add(struct notes *n, const char *file, uint32_t line, const char *text,
		const char *what, const char *hint)
{
	struct note *note;

	if (n->n == NOTES_MAX)
		return;
	note = &n->note[n->n++];
	snprintf(note->text, sizeof(note->text), "%s", text ? text + strspn(text, " \t") : "");
	snprintf(note->what, sizeof(note->what), "%s%s%.0u%s%s", line ? file : "", line ? ":" : "",
		 line, line ? ": " : "", what);
	snprintf(note->hint, sizeof(note->hint), "%s", hint);
}

static void constructor(const struct session *s, struct notes *n)
{
	const char *name = skep_elf_constructor(s->image, s->image_size);
	char what[256];

	if (!name)
		return;
	snprintf(what, sizeof(what),
		 "%s() is a constructor, and nobody calls it: a BPF object is loaded, not "
		 "started, and its functions run only where they are attached",
		 name);
	add(n, s->path, skep_elf_line(s->image, s->image_size, name), "", what,
	    "fill maps from user space before the program runs (skep trace --set MAP[KEY]=VALUE, "
	    "bpf_map__update_elem() in a loader), or give .data its initial values");
}

static bool holds_address(const struct btf *btf, uint32_t type)
{
	const struct btf_type *t = btf__type_by_id(btf, value_skip(btf, type));

	if (!t)
		return false;
	if (btf_is_ptr(t)) /* kptrs bear a tag */
		return !btf_is_type_tag(btf__type_by_id(btf, t->type));
	if (btf_is_composite(t))
		for (uint32_t i = 0; i < btf_vlen(t); i++)
			if (holds_address(btf, btf_members(t)[i].type))
				return true;
	return btf_is_array(t) && holds_address(btf, btf_array(t)->type);
}

/* Where a program names a map first. */
static const struct bpf_line_info *use_of(const struct session *s, int fd)
{
	for (uint32_t i = 0; i < s->nverdicts; i++) {
		const struct verdict *v = &s->verdicts[i];

		for (uint32_t k = 0; k < v->nloaded; k++) {
			const struct bpf_line_info *li = NULL;

			if (v->loaded[k].code != (BPF_LD | BPF_IMM | BPF_DW) ||
			    v->loaded[k].src_reg != BPF_PSEUDO_MAP_FD || v->loaded[k].imm != fd)
				continue;
			for (uint32_t l = 0; l < v->nlines && v->lines[l].insn_off <= k; l++)
				li = &v->lines[l];
			return li;
		}
	}
	return NULL;
}

static void addresses(const struct session *s, struct notes *n)
{
	const struct btf *btf = bpf_object__btf(s->obj);
	const struct bpf_line_info *li;
	struct bpf_map *map;
	char what[256];

	bpf_object__for_each_map(map, s->obj)
	{
		if (!btf || !bpf_map__btf_value_type_id(map) || bpf_map__fd(map) < 0 ||
		    bpf_map__is_internal(map) || bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS ||
		    !holds_address(btf, bpf_map__btf_value_type_id(map)))
			continue;
		li = use_of(s, bpf_map__fd(map));
		if (!li)
			continue;
		snprintf(what, sizeof(what),
			 "the values of map \"%s\" hold addresses: what user space stores there "
			 "leads into its own memory, where the program can't follow",
			 map_name(map));
		add(n, btf__name_by_offset(btf, li->file_name_off),
		    BPF_LINE_INFO_LINE_NUM(li->line_col), btf__name_by_offset(btf, li->line_off),
		    what, "store the data itself: char name[32] as the value, not char *");
	}
}

static void contexts(const struct session *s, struct notes *n)
{
	for (uint32_t i = 0; i < s->nverdicts && s->skep; i++) {
		const struct verdict *v = &s->verdicts[i];
		struct skep_error err = {{0}, {0}};

		if (v->accepted &&
		    skep_trace_section_check(s->skep, bpf_program__fd(v->prog), v->section, &err))
			add(n, "", 0, "", err.what, err.next);
	}
}

void notes_gather(const struct session *s, struct notes *n)
{
	n->n = 0;
	contexts(s, n);
	addresses(s, n);
	constructor(s, n);
}

void notes_text(FILE *f, const struct notes *n)
{
	for (uint32_t i = 0; i < n->n; i++) {
		fprintf(f, "note: %s\n", n->note[i].what);
		if (n->note[i].text[0])
			fprintf(f, "    %s\n", n->note[i].text);
		fprintf(f, "  hint: %s\n", n->note[i].hint);
	}
}

void notes_json(struct json *j, const struct notes *n)
{
	json_open(j, '[');
	for (uint32_t i = 0; i < n->n; i++) {
		json_open(j, '{');
		json_key(j, "what");
		json_str(j, n->note[i].what);
		json_key(j, "text");
		json_str(j, n->note[i].text);
		json_key(j, "hint");
		json_str(j, n->note[i].hint);
		json_close(j, '}');
	}
	json_close(j, ']');
}
