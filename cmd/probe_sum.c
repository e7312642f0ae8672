/* SPDX-License-Identifier: Apache-2.0 */
/* Counts and histograms of probes, when the trace ends. */
#include "bpf/uapi.h"

#include <bpf/libbpf.h>
#include <stdlib.h>
#include <string.h>

#include "out.h"
#include "probe.h"

#define STARS 40

struct row {
	struct probe_count_key key;
	struct probe_count count;
	struct probe_hist hist;
};

static struct row *read_rows(const struct probes *p, const char *name, bool hist, size_t *n)
{
	struct bpf_map *map = bpf_object__find_map_by_name(p->obj, name);
	struct probe_count_key key, next, *from = NULL;
	struct row *rows = NULL, *grown;

	*n = 0;
	while (map && !bpf_map__get_next_key(map, from, &next, sizeof(next))) {
		key = next;
		from = &key;
		grown = realloc(rows, (*n + 1) * sizeof(*rows));
		if (!grown)
			break;
		rows = grown;
		rows[*n] = (struct row){.key = key};
		if (key.probe < p->nspecs &&
		    !bpf_map__lookup_elem(map, &key, sizeof(key),
					  hist ? (void *)&rows[*n].hist : (void *)&rows[*n].count,
					  hist ? sizeof(rows->hist) : sizeof(rows->count), 0))
			++*n;
	}
	return rows;
}

/* The largest first, then by name of the probe's target. */
static int by_count(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->count.count != y->count.count)
		return x->count.count < y->count.count ? 1 : -1;
	return memcmp(&x->key, &y->key, sizeof(x->key));
}

static int by_key(const void *a, const void *b)
{
	return memcmp(&((const struct row *)a)->key, &((const struct row *)b)->key,
		      sizeof(struct probe_count_key));
}

static const char *name_of(const struct probes *p, const struct row *r)
{
	return probe_name(p, &p->specs[r->key.probe], r->key.target);
}

static bool timed(const struct probes *p, const struct row *r)
{
	return p->specs[r->key.probe].set.flags & PROBE_F_RETURN && p->latency;
}

/* ---- For people ---- */

static void counts_text(struct probes *p, FILE *f)
{
	size_t n;
	struct row *rows = read_rows(p, "counts", false, &n);
	bool lat = p->latency;

	qsort(rows, n, sizeof(*rows), by_count);
	if (p->by_pid)
		fprintf(f, "%-7s ", "PID");
	fprintf(f, lat ? "%-32s %10s %16s\n" : "%-32s %10s\n", p->title ? p->title : "NAME",
		"COUNT", "TIME");
	for (size_t i = 0; i < n && (!p->top || i < p->top); i++) {
		if (p->by_pid)
			fprintf(f, "%-7u ", rows[i].key.pid);
		fprintf(f, "%-32s %10llu", name_of(p, &rows[i]), rows[i].count.count);
		if (lat)
			fprintf(f, " %16s", show_time(rows[i].count.ns).s);
		fputc('\n', f);
	}
	free(rows);
}

/* Values of slot i are from 2^(i-1) to 2^i - 1. */
static void hist_text(const struct probes *p, FILE *f, const struct row *r)
{
	uint64_t slots[PROBE_SLOTS] = {0}, max = 0;
	int last = -1, first = PROBE_SLOTS;

	for (int i = 0; i < PROBE_SLOTS; i++) {
		slots[i] = r->hist.slots[i];
		if (!slots[i])
			continue;
		last = i;
		first = i < first ? i : first;
		max = slots[i] > max ? slots[i] : max;
	}
	fprintf(f, "%24s : count    distribution\n",
		strcmp(p->hist, "latency") != 0 ? p->hist
		: p->unit                       ? p->unit
						: "nsecs");
	for (int i = first; i <= last; i++) {
		uint64_t lo = i ? 1ull << (i - 1) : 0, hi = i ? (1ull << (i - 1)) * 2 - 1 : 0;
		int stars = (int)(slots[i] * STARS / max);
		char bar[STARS + 1];

		memset(bar, '*', (size_t)stars);
		bar[stars] = 0;
		fprintf(f, "%10llu -> %-10llu : %-8llu |%-*s|\n", (unsigned long long)lo,
			(unsigned long long)hi, (unsigned long long)slots[i], STARS, bar);
	}
}

static void hists_text(struct probes *p, FILE *f)
{
	size_t n;
	struct row *rows = read_rows(p, "hists", true, &n);

	qsort(rows, n, sizeof(*rows), by_key);
	for (size_t i = 0; i < n; i++) {
		if (p->by_pid)
			fprintf(f, "%s%s, process %u\n", i ? "\n" : "", name_of(p, &rows[i]),
				rows[i].key.pid);
		else
			fprintf(f, "%s%s\n", i ? "\n" : "", name_of(p, &rows[i]));
		hist_text(p, f, &rows[i]);
	}
	free(rows);
}

void probes_text(struct probes *p, FILE *f)
{
	if (p->count)
		counts_text(p, f);
	if (p->hist)
		hists_text(p, f);
}

/* ---- For programs ---- */

static void head_json(struct json *j, const struct probes *p, const struct row *r)
{
	json_open(j, '{');
	json_key(j, "probe");
	json_str(j, p->specs[r->key.probe].text);
	json_key(j, "name");
	json_str(j, name_of(p, r));
	if (p->by_pid) {
		json_key(j, "pid");
		json_u64(j, r->key.pid);
	}
}

void probes_json(struct probes *p, struct json *j)
{
	struct row *rows;
	size_t n;

	if (p->count) {
		json_key(j, "counts");
		json_open(j, '[');
		rows = read_rows(p, "counts", false, &n);
		qsort(rows, n, sizeof(*rows), by_count);
		for (size_t i = 0; i < n; i++) {
			head_json(j, p, &rows[i]);
			json_key(j, "count");
			json_u64(j, rows[i].count.count);
			if (timed(p, &rows[i])) {
				json_key(j, "ns");
				json_u64(j, rows[i].count.ns);
			}
			json_close(j, '}');
		}
		json_close(j, ']');
		free(rows);
	}
	if (!p->hist)
		return;
	json_key(j, "histograms");
	json_open(j, '[');
	rows = read_rows(p, "hists", true, &n);
	qsort(rows, n, sizeof(*rows), by_key);
	for (size_t i = 0; i < n; i++) {
		head_json(j, p, &rows[i]);
		json_key(j, "of");
		json_str(j, p->hist);
		json_key(j, "slots");
		json_open(j, '[');
		for (unsigned k = 0; k < PROBE_SLOTS; k++) {
			if (!rows[i].hist.slots[k])
				continue;
			json_open(j, '{');
			json_key(j, "from");
			json_u64(j, k ? 1ull << (k - 1) : 0);
			json_key(j, "count");
			json_u64(j, rows[i].hist.slots[k]);
			json_close(j, '}');
		}
		json_close(j, ']');
		json_close(j, '}');
	}
	json_close(j, ']');
	free(rows);
}
