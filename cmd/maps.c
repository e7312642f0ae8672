/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/uapi.h"

#include "maps.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "records.h"
#include "value.h"

#define SHOWN      20 /* entries of a map, unless it was asked for by name */
#define SHOW_ZEROS 4096 /* larger arrays show only what is not zero, in JSON too */
#define MAX_SLOTS  64
#define BAR        40

/* How a map's contents are obtained. */
enum how { HOW_KEYS, HOW_INDEX, HOW_PEEK, HOW_RECORDS, HOW_DATA, HOW_NONE };

struct view {
	struct bpf_map *map;
	const char *name;
	const struct btf *btf;
	enum bpf_map_type type;
	enum how how;
	uint32_t key_type, value_type; /* BTF, 0: not known */
	uint32_t key_size, value_size;
	uint32_t cpus; /* 0: not per CPU */
	uint32_t stride; /* of one CPU's value */
	/* Contents */
	uint8_t *keys, *values;
	uint64_t n;
	size_t entry_value; /* bytes per entry in values */
	int err;
};

struct entry {
	uint64_t i;
	int64_t weight;
};

static bool per_cpu(enum bpf_map_type t)
{
	return t == BPF_MAP_TYPE_PERCPU_HASH || t == BPF_MAP_TYPE_PERCPU_ARRAY ||
	       t == BPF_MAP_TYPE_LRU_PERCPU_HASH || t == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

static enum how how_of(struct bpf_map *map)
{
	static const struct {
		enum bpf_map_type type;
		enum how how;
	} table[] = {
		{BPF_MAP_TYPE_ARRAY, HOW_INDEX},       {BPF_MAP_TYPE_PERCPU_ARRAY, HOW_INDEX},
		{BPF_MAP_TYPE_QUEUE, HOW_PEEK},        {BPF_MAP_TYPE_STACK, HOW_PEEK},
		{BPF_MAP_TYPE_RINGBUF, HOW_RECORDS},   {BPF_MAP_TYPE_PERF_EVENT_ARRAY, HOW_RECORDS},
		{BPF_MAP_TYPE_BLOOM_FILTER, HOW_NONE}, {BPF_MAP_TYPE_STRUCT_OPS, HOW_NONE},
		{BPF_MAP_TYPE_USER_RINGBUF, HOW_NONE},
	};

	if (bpf_map__is_internal(map))
		return HOW_DATA;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].type == bpf_map__type(map))
			return table[i].how;
	return HOW_KEYS;
}

const char *map_name(const struct bpf_map *map)
{
	const char *name = bpf_map__name(map);
	const char *dot = bpf_map__is_internal(map) ? strchr(name, '.') : NULL;

	return dot ? dot : name;
}

static bool selected(struct bpf_map *map, const struct maps_opts *opts)
{
	const char *name = map_name(map);

	if (bpf_map__fd(map) < 0)
		return false;
	if (opts->names) {
		for (const char *const *n = opts->names; *n; n++)
			if (!strcmp(*n, name))
				return true;
		return false;
	}
	/* Constants are shown when asked for. */
	return !bpf_map__is_internal(map) ||
	       (strncmp(name, ".rodata", 7) != 0 && strcmp(name, ".kconfig") != 0);
}

bool maps_has(struct bpf_object *obj, const char *name)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj) if (!strcmp(map_name(map), name)) return true;
	return false;
}

/* ---- Reading ---- */

static bool grow(struct view *v, uint64_t *cap)
{
	uint64_t want = *cap ? *cap * 2 : 64;
	uint8_t *k = realloc(v->keys, want * (v->key_size ? v->key_size : 1)), *w;

	if (!k)
		return false;
	v->keys = k;
	w = realloc(v->values, want * v->entry_value);
	if (!w)
		return false;
	v->values = w;
	*cap = want;
	return true;
}

static void read_keys(struct view *v, int fd)
{
	uint64_t cap = 0, limit = bpf_map__max_entries(v->map);
	uint8_t *key = malloc(v->key_size ? v->key_size : 1);
	bool first = true;

	/* Programs may go on changing a map: at most as many steps as it can hold keys. */
	for (uint64_t step = 0; key && step <= limit; step++) {
		if (v->n == cap && !grow(v, &cap)) {
			v->err = -ENOMEM;
			break;
		}
		if (bpf_map_get_next_key(fd, first ? NULL : key, key)) {
			if (errno != ENOENT)
				v->err = -errno;
			break;
		}
		first = false;
		memcpy(v->keys + v->n * v->key_size, key, v->key_size);
		if (!bpf_map_lookup_elem(fd, key, v->values + v->n * v->entry_value)) {
			v->n++;
		} else if (errno != ENOENT) {
			v->err = -errno;
			break;
		}
		/* ENOENT: an empty slot of an array of programs or maps, a key that just went. */
	}
	free(key);
}

static void read_index(struct view *v, int fd, uint64_t count)
{
	uint64_t cap = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (v->n == cap && !grow(v, &cap)) {
			v->err = -ENOMEM;
			return;
		}
		memcpy(v->keys + v->n * 4, &i, 4);
		if (bpf_map_lookup_elem(fd, &i, v->values + v->n * v->entry_value)) {
			v->err = -errno;
			return;
		}
		v->n++;
	}
}

static void read_peek(struct view *v, int fd)
{
	uint64_t cap = 0;

	if (!grow(v, &cap)) {
		v->err = -ENOMEM;
		return;
	}
	if (!bpf_map_lookup_elem(fd, NULL, v->values))
		v->n = 1;
	else if (errno != ENOENT)
		v->err = -errno;
}

static void open_view(struct view *v, struct bpf_map *map, struct bpf_object *obj)
{
	int fd = bpf_map__fd(map), cpus;

	memset(v, 0, sizeof(*v));
	v->map = map;
	v->name = map_name(map);
	v->btf = bpf_object__btf(obj);
	v->type = bpf_map__type(map);
	v->how = how_of(map);
	v->key_type = bpf_map__btf_key_type_id(map);
	v->value_type = bpf_map__btf_value_type_id(map);
	v->key_size = bpf_map__key_size(map);
	v->value_size = bpf_map__value_size(map);
	v->stride = v->value_size;
	v->entry_value = v->value_size;
	if (per_cpu(v->type)) {
		cpus = libbpf_num_possible_cpus();
		if (cpus < 0) {
			v->err = cpus;
			return;
		}
		v->cpus = (uint32_t)cpus;
		v->stride = (v->value_size + 7) & ~7u;
		v->entry_value = (size_t)v->stride * v->cpus;
	}
	if (v->how == HOW_KEYS)
		read_keys(v, fd);
	else if (v->how == HOW_INDEX)
		read_index(v, fd, bpf_map__max_entries(map));
	else if (v->how == HOW_DATA)
		read_index(v, fd, 1);
	else if (v->how == HOW_PEEK)
		read_peek(v, fd);
}

static void close_view(struct view *v)
{
	free(v->keys);
	free(v->values);
}

static const uint8_t *key_at(const struct view *v, uint64_t i)
{
	return v->keys + i * v->key_size;
}

static const uint8_t *value_at(const struct view *v, uint64_t i, uint32_t cpu)
{
	return v->values + i * v->entry_value + (size_t)cpu * v->stride;
}

static bool is_zero(const struct view *v, uint64_t i)
{
	const uint8_t *p = value_at(v, i, 0);

	for (size_t k = 0; k < v->entry_value; k++)
		if (p[k])
			return false;
	return true;
}

/* What an entry is sorted by: its number, over all CPUs. */
static bool weigh(const struct view *v, uint64_t i, int64_t *out)
{
	uint64_t sum = 0;
	int64_t n;

	for (uint32_t c = 0; c < (v->cpus ? v->cpus : 1); c++) {
		if (!value_number(v->btf, v->value_type, value_at(v, i, c), v->value_size, &n))
			return false;
		sum += (uint64_t)n;
	}
	*out = (int64_t)sum;
	return true;
}

/* Equal ones by key, so that the same contents always look the same. */
static int heavier(const void *a, const void *b, void *arg)
{
	const struct entry *x = a, *y = b;
	const struct view *v = arg;

	if (x->weight != y->weight)
		return x->weight > y->weight ? -1 : 1;
	return memcmp(key_at(v, x->i), key_at(v, y->i), v->key_size);
}

/* The order to show entries in: arrays by index, the others by value, or else by key. */
static struct entry *ordered(const struct view *v)
{
	struct entry *e = calloc(v->n ? v->n : 1, sizeof(*e));
	bool weighed = true;

	for (uint64_t i = 0; e && i < v->n; i++) {
		e[i].i = i;
		weighed = weighed && weigh(v, i, &e[i].weight);
	}
	for (uint64_t i = 0; e && !weighed && i < v->n; i++)
		e[i].weight = 0;
	if (e && v->how == HOW_KEYS)
		qsort_r(e, v->n, sizeof(*e), heavier, (void *)(uintptr_t)v);
	return e;
}

/* ---- Histograms ---- */

static bool names_histogram(const char *name)
{
	static const char *const words[] = {"hist", "log2", "slots", "dist"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strstr(name, words[i]))
			return true;
	return false;
}

/* A map of counts by power of two: an integer key below 64, a number as value, and a name that says
 * so. Fills slots. */
static bool histogram(const struct view *v, uint64_t *slots)
{
	int64_t key, n;

	memset(slots, 0, MAX_SLOTS * sizeof(*slots));
	if ((v->how != HOW_KEYS && v->how != HOW_INDEX) || !names_histogram(v->name) || !v->n ||
	    !value_is_number(v->btf, v->value_type, v->value_size) ||
	    !value_is_number(v->btf, v->key_type, v->key_size))
		return false;
	for (uint64_t i = 0; i < v->n; i++) {
		if (!value_number(v->btf, v->key_type, key_at(v, i), v->key_size, &key) ||
		    key < 0 || key >= MAX_SLOTS || !weigh(v, i, &n))
			return false;
		slots[key] += (uint64_t)n;
	}
	return true;
}

/* The same inside of a value: a member "slots", an array of integers. */
static bool slots_member(const struct view *v, uint64_t entry, uint64_t *slots)
{
	const struct btf_type *t =
		v->btf ? btf__type_by_id(v->btf, value_skip(v->btf, v->value_type)) : NULL;

	memset(slots, 0, MAX_SLOTS * sizeof(*slots));
	if (!t || !btf_is_struct(t) || !v->value_type || v->how == HOW_DATA)
		return false;
	for (uint32_t i = 0; i < btf_vlen(t); i++) {
		const struct btf_member *m = btf_members(t) + i;
		const struct btf_type *a = btf__type_by_id(v->btf, value_skip(v->btf, m->type));
		uint32_t off = btf_member_bit_offset(t, i) / 8;
		int64_t each, n;

		if (strcmp(btf__name_by_offset(v->btf, m->name_off), "slots") != 0 ||
		    !btf_is_array(a))
			continue;
		each = btf__resolve_size(v->btf, btf_array(a)->type);
		if (each < 1 || each > 8 || btf_array(a)->nelems > MAX_SLOTS ||
		    off + (uint64_t)each * btf_array(a)->nelems > v->value_size)
			return false;
		for (uint32_t c = 0; c < (v->cpus ? v->cpus : 1); c++)
			for (uint32_t k = 0; k < btf_array(a)->nelems; k++)
				if (value_number(v->btf, btf_array(a)->type,
						 value_at(v, entry, c) + off + (uint64_t)each * k,
						 (size_t)each, &n))
					slots[k] += (uint64_t)n;
		return true;
	}
	return false;
}

static void print_histogram(FILE *f, const uint64_t *slots)
{
	int first = MAX_SLOTS, last = -1;
	uint64_t most = 0;

	for (int i = 0; i < MAX_SLOTS; i++) {
		if (!slots[i])
			continue;
		first = i < first ? i : first;
		last = i;
		most = slots[i] > most ? slots[i] : most;
	}
	if (last < 0) {
		fputs("    empty\n", f);
		return;
	}
	for (int i = first; i <= last; i++) {
		uint64_t low = i ? 1ull << i : 0, high = (1ull << i) * 2 - 1;
		int bar = (int)((double)slots[i] * BAR / (double)most + 0.5);

		fprintf(f, "    %12llu .. %-12llu %12llu |%.*s%*s|\n", (unsigned long long)low,
			(unsigned long long)high, (unsigned long long)slots[i], bar,
			"****************************************", BAR - bar, "");
	}
}

/* ---- Text ---- */

static void print_key(FILE *f, const struct view *v, uint64_t i)
{
	const uint8_t *key = key_at(v, i);
	char text[INET6_ADDRSTRLEN];
	uint32_t len;

	if (v->type == BPF_MAP_TYPE_LPM_TRIE && (v->key_size == 8 || v->key_size == 20)) {
		memcpy(&len, key, 4);
		if (len <= (v->key_size - 4) * 8) {
			inet_ntop(v->key_size == 8 ? AF_INET : AF_INET6, key + 4, text,
				  sizeof(text));
			fprintf(f, "%s/%u", text, len);
			return;
		}
	}
	value_text(f, v->btf, v->key_type, key, v->key_size);
}

static void print_value(FILE *f, const struct view *v, uint64_t i)
{
	int64_t sum;

	if (!v->cpus) {
		value_text(f, v->btf, v->value_type, value_at(v, i, 0), v->value_size);
		return;
	}
	/* Numbers: the sum, and its parts. */
	if (value_is_number(v->btf, v->value_type, v->value_size) && weigh(v, i, &sum))
		fprintf(f, "%lld = ", (long long)sum);
	for (uint32_t c = 0; c < v->cpus; c++) {
		if (c)
			fputs(" + ", f);
		value_text(f, v->btf, v->value_type, value_at(v, i, c), v->value_size);
	}
}

/* Text printed into memory, to be lined up. */
static char *printed(void (*print)(FILE *, const struct view *, uint64_t), const struct view *v,
		     uint64_t i)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	print(f, v, i);
	fclose(f);
	return text;
}

static void print_entries(FILE *f, const struct view *v, bool all)
{
	struct entry *e = ordered(v);
	uint64_t zeros = 0, shown = 0, left = 0;
	size_t width = 0;
	char *keys[SHOWN] = {NULL};
	int nkeys = 0;

	if (!e)
		return;
	for (uint64_t k = 0; k < v->n && nkeys < SHOWN; k++) {
		if (v->how == HOW_INDEX && !all && is_zero(v, e[k].i))
			continue;
		keys[nkeys] = printed(print_key, v, e[k].i);
		if (keys[nkeys] && strlen(keys[nkeys]) > width)
			width = strlen(keys[nkeys]);
		nkeys++;
	}
	for (uint64_t k = 0; k < v->n; k++) {
		char *key;

		if (v->how == HOW_INDEX && !all && is_zero(v, e[k].i)) {
			zeros++;
			continue;
		}
		if (shown >= SHOWN && !all) {
			left++;
			continue;
		}
		key = shown < SHOWN ? keys[shown] : printed(print_key, v, e[k].i);
		fprintf(f, "    %-*s  ", (int)width, key ? key : "?");
		print_value(f, v, e[k].i);
		fputc('\n', f);
		free(key);
		shown++;
	}
	if (left)
		fprintf(f, "    and %llu more (--map %s shows all)\n", (unsigned long long)left,
			v->name);
	if (zeros)
		fprintf(f, "    %llu %s zero\n", (unsigned long long)zeros,
			zeros == 1 ? "entry is" : "entries are");
	free(e);
}

/* Variables of a section of global data. */
static const struct btf_type *datasec(const struct view *v)
{
	const struct btf_type *t =
		v->btf && v->value_type ? btf__type_by_id(v->btf, v->value_type) : NULL;

	return t && btf_is_datasec(t) ? t : NULL;
}

static bool next_variable(const struct view *v, const struct btf_type *sec, uint32_t *i,
			  const char **name, uint32_t *type, const struct btf_var_secinfo **at)
{
	for (; *i < btf_vlen(sec); (*i)++) {
		const struct btf_type *var;

		*at = btf_var_secinfos(sec) + *i;
		var = btf__type_by_id(v->btf, (*at)->type);
		if (!btf_is_var(var) || (uint64_t)(*at)->offset + (*at)->size > v->value_size)
			continue;
		*name = btf__name_by_offset(v->btf, var->name_off);
		*type = var->type;
		(*i)++;
		return true;
	}
	return false;
}

static void print_data(FILE *f, const struct view *v)
{
	const struct btf_type *sec = datasec(v);
	const struct btf_var_secinfo *at;
	const char *name;
	uint32_t type, i = 0;

	if (!sec) {
		fputs("    ", f);
		value_text(f, NULL, 0, value_at(v, 0, 0), v->value_size);
		fputc('\n', f);
		return;
	}
	while (next_variable(v, sec, &i, &name, &type, &at)) {
		fprintf(f, "    %s = ", name);
		value_text(f, v->btf, type, value_at(v, 0, 0) + at->offset, at->size);
		fputc('\n', f);
	}
}

/* The type of a ring buffer's records, which no map attribute tells: a struct whose name
 * is the map's, or the map's without its plural s, of just that size. */
static uint32_t record_type(const struct view *v, uint32_t len)
{
	char name[128];
	size_t n;

	if (!v->btf)
		return 0;
	snprintf(name, sizeof(name), "%s", v->name);
	n = strlen(name);
	for (int i = 0; i < 2; i++) {
		int id = btf__find_by_name_kind(v->btf, name, BTF_KIND_STRUCT);
		int64_t size = id > 0 ? btf__resolve_size(v->btf, (uint32_t)id) : -1;
		/* Perf buffers pad records to 8 bytes, less the 4 of the length. */
		uint32_t pad = v->type == BPF_MAP_TYPE_PERF_EVENT_ARRAY ? 7 : 0;

		if (size >= 0 && size <= len && size + pad >= len)
			return (uint32_t)id;
		if (!n || name[n - 1] != 's')
			break;
		name[n - 1] = 0;
	}
	return 0;
}

static void print_records(FILE *f, const struct view *v, const struct records *records, bool all)
{
	size_t kept, show;
	uint64_t total, lost;
	const struct record *r = records_of(records, v->map, &kept, &total, &lost);

	show = all || kept < SHOWN ? kept : SHOWN;
	for (size_t i = 0; i < show; i++) {
		fputs("    ", f);
		value_text(f, v->btf, record_type(v, r[i].len), r[i].data, r[i].len);
		fputc('\n', f);
	}
	if (total > show)
		fprintf(f, "    and %llu more\n", (unsigned long long)(total - show));
	if (lost)
		fprintf(f, "    %llu were lost: the buffer was full\n", (unsigned long long)lost);
}

static void print_map(FILE *f, const struct view *v, const struct maps_opts *opts)
{
	uint64_t slots[MAX_SLOTS], total = v->n;
	const char *bold = opts->color ? "\033[1m" : "", *off = opts->color ? "\033[0m" : "";
	uint64_t lost;
	size_t kept;

	if (v->how == HOW_RECORDS)
		records_of(opts->records, v->map, &kept, &total, &lost);
	fprintf(f, "\n  %s%s%s (%s", bold, v->name, off, libbpf_bpf_map_type_str(v->type));
	if (v->how == HOW_RECORDS)
		fprintf(f, ", %s records)\n", show_count(total).s);
	else if (v->how == HOW_KEYS)
		fprintf(f, ", %s of %u)\n", show_count(v->n).s, bpf_map__max_entries(v->map));
	else if (v->how == HOW_PEEK)
		fprintf(f, ", %s)\n", v->n ? "next:" : "empty");
	else
		fputs(")\n", f);
	if (v->how == HOW_NONE)
		fputs("    can't be listed\n", f);
	else if (v->err)
		fprintf(f, "    can't be read: %s\n", strerror(-v->err));
	else if (v->how == HOW_RECORDS)
		print_records(f, v, opts->records, opts->names);
	else if (v->how == HOW_DATA)
		print_data(f, v);
	else if (histogram(v, slots))
		print_histogram(f, slots);
	else if (v->n && slots_member(v, 0, slots))
		for (uint64_t i = 0; i < v->n && (i < SHOWN || opts->names); i++) {
			fputs("    ", f);
			print_key(f, v, i);
			fputc('\n', f);
			slots_member(v, i, slots);
			print_histogram(f, slots);
		}
	else if (v->how == HOW_PEEK && v->n) {
		fputs("    ", f);
		print_value(f, v, 0);
		fputc('\n', f);
	} else
		print_entries(f, v, opts->names);
}

void maps_text(FILE *f, struct bpf_object *obj, const struct maps_opts *opts)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj)
	{
		struct view v;

		if (!selected(map, opts))
			continue;
		open_view(&v, map, obj);
		print_map(f, &v, opts);
		close_view(&v);
	}
}

/* ---- JSON ---- */

static void json_value(struct json *j, const struct view *v, uint64_t i)
{
	json_key(j, "value");
	if (!v->cpus) {
		value_json(j, v->btf, v->value_type, value_at(v, i, 0), v->value_size);
		return;
	}
	json_open(j, '[');
	for (uint32_t c = 0; c < v->cpus; c++)
		value_json(j, v->btf, v->value_type, value_at(v, i, c), v->value_size);
	json_close(j, ']');
}

static void json_data(struct json *j, const struct view *v)
{
	const struct btf_type *sec = datasec(v);
	const struct btf_var_secinfo *at;
	const char *name;
	uint32_t type, i = 0;

	json_open(j, '{');
	json_key(j, "key");
	json_u64(j, 0);
	json_key(j, "value");
	if (sec) {
		json_open(j, '{');
		while (next_variable(v, sec, &i, &name, &type, &at)) {
			json_key(j, name);
			value_json(j, v->btf, type, value_at(v, 0, 0) + at->offset, at->size);
		}
		json_close(j, '}');
	} else {
		value_json(j, NULL, 0, value_at(v, 0, 0), v->value_size);
	}
	json_close(j, '}');
}

static void json_records(struct json *j, const struct view *v, const struct records *records)
{
	size_t kept;
	uint64_t total, lost;
	const struct record *r = records_of(records, v->map, &kept, &total, &lost);

	for (size_t i = 0; i < kept; i++) {
		json_open(j, '{');
		json_key(j, "key");
		json_u64(j, i);
		json_key(j, "value");
		value_json(j, v->btf, record_type(v, r[i].len), r[i].data, r[i].len);
		json_close(j, '}');
	}
}

static void json_map(struct json *j, const struct view *v, const struct maps_opts *opts)
{
	struct entry *e = NULL;

	json_key(j, v->name);
	json_open(j, '[');
	if (v->how == HOW_RECORDS)
		json_records(j, v, opts->records);
	else if (v->how == HOW_DATA && v->n)
		json_data(j, v);
	else
		e = ordered(v);
	for (uint64_t k = 0; e && k < v->n; k++) {
		if (v->how == HOW_INDEX && v->n > SHOW_ZEROS && is_zero(v, e[k].i))
			continue;
		json_open(j, '{');
		json_key(j, "key");
		if (v->how == HOW_PEEK)
			json_null(j);
		else
			value_json(j, v->btf, v->key_type, key_at(v, e[k].i), v->key_size);
		json_value(j, v, e[k].i);
		json_close(j, '}');
	}
	json_close(j, ']');
	free(e);
}

void maps_json(struct json *j, struct bpf_object *obj, const struct maps_opts *opts)
{
	struct bpf_map *map;

	json_open(j, '{');
	bpf_object__for_each_map(map, obj)
	{
		struct view v;

		if (!selected(map, opts))
			continue;
		open_view(&v, map, obj);
		json_map(j, &v, opts);
		close_view(&v);
	}
	json_close(j, '}');
}
