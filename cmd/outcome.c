/* SPDX-License-Identifier: Apache-2.0 */
#include "outcome.h"

#include "net/verdict.h"
#include "out.h"

static double per_second(const struct outcome *o)
{
	return o->seconds > 0 ? (double)o->packets / o->seconds : 0;
}

static void text_verdicts(const struct outcome *o)
{
	printf("  %-18s %15s\n", "verdict", "packets");
	for (uint32_t i = 0; i < o->nrows; i++)
		if (o->verdicts[i])
			printf("  %-18s %15s %6.1f %%\n", o->rows[i].name,
			       show_count(o->verdicts[i]).s,
			       (double)o->verdicts[i] * 100 / (double)o->packets);
	if (o->skipped)
		printf("  %-18s %15s   too short or too long for the kernel's test run\n",
		       "not run", show_count(o->skipped).s);
}

static void text_live(const struct outcome *o)
{
	const struct live_stats *l = o->live;

	printf("\n  %s packets/s", show_rate(per_second(o)).s);
	if (o->ns_per_packet > 0)
		printf(", %s ns/packet", show_ns(o->ns_per_packet).s);
	putchar('\n');
	printf("  passed %s, dropped %s, sent back %s, redirected %s", show_count(l->passed).s,
	       show_count(l->dropped).s, show_count(l->returned).s, show_count(l->redirected).s);
	if (o->bridge && !o->s->kernel)
		printf("; %s from %s", show_count(l->backwards).s, o->bridge);
	if (l->lost)
		printf("; %s lost in full queues", show_count(l->lost).s);
	putchar('\n');
}

void outcome_text(const struct outcome *o)
{
	printf("%s (%s) on %s packets of %s\n\n", o->prog->name, o->prog->type,
	       show_count(o->packets + o->skipped).s, o->source);
	text_verdicts(o);
	if (o->live)
		text_live(o);
	else
		printf("\n  %s packets/s, %s ns/packet%s; reading the file took %s\n",
		       show_rate(per_second(o)).s, show_ns(o->ns_per_packet).s,
		       o->in_program ? " in the program" : "", show_time(o->read_ns).s);
	if (o->write)
		printf("  %s packets written to %s\n", show_count(o->written).s, o->write);
	maps_text(stdout, o->s->obj, &o->maps);
}

static void key_u64(struct json *j, const char *key, uint64_t v)
{
	json_key(j, key);
	json_u64(j, v);
}

static void key_num(struct json *j, const char *key, double v)
{
	json_key(j, key);
	json_num(j, v);
}

static void key_str(struct json *j, const char *key, const char *v)
{
	json_key(j, key);
	json_str(j, v);
}

void outcome_json(const struct outcome *o)
{
	struct json j;

	json_begin(&j, stdout);
	json_open(&j, '{');
	key_str(&j, "program", o->prog->name);
	key_str(&j, "type", o->prog->type);
	key_str(&j, "runtime", o->s->kernel ? "kernel" : "user");
	key_u64(&j, "packets", o->packets);
	key_u64(&j, "bytes", o->bytes);
	key_u64(&j, "skipped", o->skipped);
	json_key(&j, "verdicts");
	json_open(&j, '{');
	for (uint32_t i = 0; i < o->nrows; i++)
		if (o->verdicts[i])
			key_u64(&j, o->rows[i].name, o->verdicts[i]);
	json_close(&j, '}');
	json_key(&j, "maps");
	maps_json(&j, o->s->obj, &o->maps);
	key_num(&j, "ns_per_packet", o->ns_per_packet);
	key_num(&j, "packets_per_second", per_second(o));
	key_num(&j, "seconds", o->seconds);
	if (o->live) {
		key_u64(&j, "passed", o->live->passed);
		key_u64(&j, "dropped", o->live->dropped);
		key_u64(&j, "sent_back", o->live->returned);
		key_u64(&j, "redirected", o->live->redirected);
		key_u64(&j, "backwards", o->live->backwards);
		key_u64(&j, "lost", o->live->lost);
	} else {
		key_num(&j, "read_seconds", (double)o->read_ns / 1e9);
	}
	json_close(&j, '}');
	json_end(&j);
}
