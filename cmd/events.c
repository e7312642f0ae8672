/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/uapi.h"

#include "events.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <string.h>

#include "maps.h"
#include "out.h"
#include "value.h"

static int named(const struct btf *btf, const char *name)
{
	int id = btf__find_by_name_kind(btf, name, BTF_KIND_STRUCT);

	if (id < 0)
		id = btf__find_by_name_kind(btf, name, BTF_KIND_UNION);
	return id < 0 ? btf__find_by_name_kind(btf, name, BTF_KIND_TYPEDEF) : id;
}

/* What a tag on the map's variable says. */
static int tagged(const struct btf *btf, const char *map)
{
	static const char mark[] = "event:";

	for (uint32_t id = 1; id < btf__type_cnt(btf); id++) {
		const struct btf_type *t = btf__type_by_id(btf, id), *var;
		const char *tag = btf__name_by_offset(btf, t->name_off);

		if (btf_kind(t) != BTF_KIND_DECL_TAG || btf_decl_tag(t)->component_idx != -1 ||
		    strncmp(tag, mark, sizeof(mark) - 1) != 0)
			continue;
		var = btf__type_by_id(btf, t->type);
		if (var && btf_is_var(var) && !strcmp(btf__name_by_offset(btf, var->name_off), map))
			return named(btf, tag + sizeof(mark) - 1);
	}
	return -1;
}

/* 0: not known. */
static uint32_t type_of(const struct btf *btf, const struct bpf_map *map, uint32_t len)
{
	const char *name = map_name(map);
	size_t n = strlen(name);
	char other[3][128];
	int64_t size;
	int id = tagged(btf, name);

	snprintf(other[0], sizeof(other[0]), "%s", name);
	snprintf(other[1], sizeof(other[1]), "%.*s", (int)(n && name[n - 1] == 's' ? n - 1 : n),
		 name);
	snprintf(other[2], sizeof(other[2]), "%s_event", name);
	for (int i = 0; i < 3 && id < 0; i++)
		id = named(btf, other[i]);
	size = id < 0 ? 0 : btf__resolve_size(btf, (uint32_t)id);
	return size > 0 && size <= len ? (uint32_t)id : 0;
}

void event_write(struct bpf_object *obj, const struct bpf_map *map, const void *data, uint32_t len,
		 bool json)
{
	const struct btf *btf = bpf_object__btf(obj);
	uint32_t type = btf ? type_of(btf, map, len) : 0;
	const uint8_t *p = data;
	struct json j;

	if (!json) {
		printf("%s: ", map_name(map));
		if (type)
			value_text(stdout, btf, type, data, len);
		for (uint32_t i = 0; !type && i < len; i++)
			printf(i ? " %02x" : "%02x", p[i]);
		putchar('\n');
		return;
	}
	json_begin(&j, stdout);
	j.line = true;
	json_open(&j, '{');
	json_key(&j, "map");
	json_str(&j, map_name(map));
	json_key(&j, type ? "event" : "bytes");
	if (type) {
		value_json(&j, btf, type, data, len);
	} else {
		json_open(&j, '[');
		for (uint32_t i = 0; i < len; i++)
			json_u64(&j, p[i]);
		json_close(&j, ']');
	}
	json_close(&j, '}');
	json_end(&j);
}
