/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/uapi.h"

#include "set.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "maps.h"
#include "value.h"

/* Text to a value of a type: integers (any base that strtoll knows), enumerators by name, char arrays as they
 * are. */
static int put(const struct btf *btf, uint32_t type, const char *text, uint8_t *data, size_t size)
{
	const struct btf_type *t;
	long long v;
	char *end;

	type = value_skip(btf, type);
	t = type ? btf__type_by_id(btf, type) : NULL;
	memset(data, 0, size);
	if (t && btf_is_array(t)) {
		const struct btf_type *of =
			btf__type_by_id(btf, value_skip(btf, btf_array(t)->type));

		if (!of || !btf_is_int(of) || of->size != 1 || strlen(text) > size)
			return -EINVAL;
		for (size_t i = 0; text[i]; i++)
			data[i] = (uint8_t)text[i];
		return 0;
	}
	/* A structure with one member is that member. */
	if (t && btf_is_composite(t))
		return btf_vlen(t) == 1 ? put(btf, btf_members(t)->type, text, data, size)
					: -EOPNOTSUPP;
	for (uint32_t i = 0; t && btf_is_enum(t) && i < btf_vlen(t); i++)
		if (!strcmp(btf__name_by_offset(btf, btf_enum(t)[i].name_off), text)) {
			memcpy(data, &btf_enum(t)[i].val, size < 4 ? size : 4);
			return 0;
		}
	if (size > 8)
		return -EOPNOTSUPP;
	errno = 0;
	v = text[0] == '-' ? strtoll(text, &end, 0) : (long long)strtoull(text, &end, 0);
	if (errno || end == text || *end)
		return -EINVAL;
	if (size < 8 && (v >> (size * 8 - (v < 0))) != (v < 0 ? -1 : 0))
		return -ERANGE;
	memcpy(data, &v, size);
	return 0;
}

static int set(struct bpf_object *obj, struct bpf_map *map, const char *key, const char *value,
	       const char *text, struct skep_error *err)
{
	const struct btf *btf = bpf_object__btf(obj);
	size_t ks = bpf_map__key_size(map), vs = bpf_map__value_size(map);
	uint8_t *data = calloc(1, ks + vs);
	int e;

	if (!data)
		return -ENOMEM;
	e = put(btf, bpf_map__btf_key_type_id(map), key, data, ks);
	if (!e)
		e = put(btf, bpf_map__btf_value_type_id(map), value, data + ks, vs);
	if (e == -EOPNOTSUPP)
		skep_fail(err, e, NULL,
			  "--set %s: keys and values of map \"%s\" are not all numbers or text",
			  text, map_name(map));
	else if (e)
		skep_fail(err, e, NULL, "--set %s: the key or the value does not fit: %s", text,
			  e == -ERANGE ? "the number is too large" : "no such value of its type");
	if (!e)
		e = bpf_map__update_elem(map, data, ks, data + ks, vs, BPF_ANY);
	if (e && !err->what[0])
		skep_fail(err, e, NULL, "--set %s: %s", text, strerror(-e));
	free(data);
	return e;
}

int set_element(struct bpf_object *obj, const char *text, struct skep_error *err)
{
	const char *open = strchr(text, '['), *close = open ? strchr(open, ']') : NULL;
	char name[64], key[128];
	struct bpf_map *map;

	if (!close || close[1] != '=' || open == text || (size_t)(open - text) >= sizeof(name) ||
	    (size_t)(close - open) > sizeof(key))
		return skep_fail(err, -EINVAL, NULL, "--set wants MAP[KEY]=VALUE, not \"%s\"",
				 text);
	snprintf(name, sizeof(name), "%.*s", (int)(open - text), text);
	snprintf(key, sizeof(key), "%.*s", (int)(close - open - 1), open + 1);
	bpf_object__for_each_map(map, obj)
	{
		if (!strcmp(map_name(map), name))
			return set(obj, map, key, close + 2, text, err);
	}
	return skep_fail(err, -ENOENT, NULL, "--set %s: there is no map \"%s\"", text, name);
}
