/* SPDX-License-Identifier: Apache-2.0 */
/* Events of probes as they come: lines for people, columns of tools, objects. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "out.h"
#include "probe.h"
#include "symbols.h"

#define HELD_MAX 128
#define HELD_NS  200000000ull /* a call that has not failed by then has not failed */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- Values ---- */

static void put_char(FILE *f, unsigned char c)
{
	static const char named[] = "\a\b\t\n\v\f\r\"\\", as[] = "abtnvfr\"\\";
	const char *at = c ? strchr(named, c) : NULL;

	if (at)
		fprintf(f, "\\%c", as[at - named]);
	else if (c < 32 || c == 127)
		fprintf(f, "\\%o", c);
	else
		fputc(c, f);
}

static void put_quoted(FILE *f, const char *text, size_t len, bool cut)
{
	fputc('"', f);
	for (size_t i = 0; i < len; i++)
		put_char(f, (unsigned char)text[i]);
	fputs(cut ? "\"..." : "\"", f);
}

/* Bytes of a text as it was read, without what ends it. */
static size_t text_len(const struct probe_event *e, unsigned slot, enum arg_kind kind)
{
	size_t len = e->len[slot] < PROBE_TEXT ? e->len[slot] : PROBE_TEXT;

	if (kind != ARG_DATA && kind != ARG_ARGV && len && !e->text[slot][len - 1])
		len--;
	return len;
}

static void put_argv(FILE *f, const struct probe_event *e, unsigned slot)
{
	const char *p = e->text[slot], *end = p + text_len(e, slot, ARG_ARGV);
	bool first = true;

	fputc('[', f);
	for (; p < end; p += strnlen(p, (size_t)(end - p)) + 1) {
		fputs(first ? "" : ", ", f);
		put_quoted(f, p, strnlen(p, (size_t)(end - p)), false);
		first = false;
	}
	fputc(']', f);
}

void probe_put_text(FILE *f, const struct probe_event *e, unsigned slot, enum arg_kind kind)
{
	size_t len = text_len(e, slot, kind);

	if (kind == ARG_ARGV)
		put_argv(f, e, slot);
	else
		put_quoted(f, e->text[slot], len,
			   kind == ARG_DATA ? len == PROBE_TEXT : len == PROBE_TEXT - 1);
}

static int text_slot(const struct probe_line *l, unsigned field)
{
	for (int i = 0; i < PROBE_TEXTS; i++)
		if (l->spec->set.text_kind[i] != TEXT_NONE && l->spec->set.text_field[i] == field &&
		    i < l->e->ntext)
			return i;
	return -1;
}

static enum arg_kind kind_of(const struct probe_line *l, unsigned i)
{
	if (i == FIELD_RET)
		return l->spec->ret;
	return i < (unsigned)l->spec->nargs ? l->spec->args[i].kind : ARG_HEX;
}

static uint64_t value_of(const struct probe_line *l, unsigned i)
{
	return i == FIELD_RET ? (uint64_t)l->e->ret : l->e->args[i];
}

void probe_put_arg(FILE *f, const struct probe_line *l, unsigned i)
{
	enum arg_kind kind = kind_of(l, i);
	int slot = sysargs_is_text(kind) ? text_slot(l, i) : -1;
	uint64_t v = value_of(l, i);
	char text[256];

	if (slot >= 0 && v && (l->e->len[slot] || kind == ARG_DATA || kind == ARG_ARGV)) {
		probe_put_text(f, l->e, (unsigned)slot, kind);
		return;
	}
	sysargs_write(text, sizeof(text), sysargs_is_text(kind) ? ARG_PTR : kind, v);
	fputs(text, f);
}

int probe_error(const struct probe_line *l)
{
	if (l->spec->kind != PROBE_SYSCALL || l->no_return)
		return 0;
	return l->e->ret < 0 && l->e->ret > -4096 ? (int)-l->e->ret : 0;
}

/* Those that give addresses. */
static bool gives_address(const struct probe_line *l)
{
	static const char *const names[] = {"mmap", "brk", "mremap", "shmat"};

	for (size_t i = 0; l->spec->kind == PROBE_SYSCALL && i < 4; i++)
		if (!strcmp(l->name, names[i]))
			return true;
	return false;
}

/* ---- A line ---- */

static void put_stack_text(struct probes *p, const struct probe_event *e)
{
	char text[400];

	for (uint32_t i = 0; i < e->len[PROBE_TEXTS] / 8 && i < PROBE_STACK; i++) {
		symbols_write(&p->symbols, (pid_t)e->pid, e->stack[i], text, sizeof(text));
		printf("        %s\n", text);
	}
}

/* The mode of a file that open does not make: nobody reads it. */
static bool unread(const struct probe_line *l, int i)
{
	return i && l->spec->args[i].kind == ARG_MODE && l->spec->args[i - 1].kind == ARG_OPEN &&
	       !(l->e->args[i - 1] & (O_CREAT | 020000000 /* __O_TMPFILE */));
}

/* As strace writes it, with who. */
static void put_line(struct probes *p, const struct probe_line *l)
{
	int err = probe_error(l);
	const char *name;

	printf("%-7u %-15.16s %s(", l->e->pid, l->e->comm, l->name);
	for (int i = 0; i < l->spec->nargs && !unread(l, i); i++) {
		fputs(i ? ", " : "", stdout);
		probe_put_arg(stdout, l, (unsigned)i);
	}
	fputc(')', stdout);
	if (err) {
		name = sysargs_errno(err);
		printf(" = -1 %s", name ? name : "?");
	} else if (l->e->returned && gives_address(l)) {
		printf(" = %#llx", (unsigned long long)l->e->ret);
	} else if (l->e->returned) {
		fputs(" = ", stdout);
		probe_put_arg(stdout, l, FIELD_RET);
	} else if (l->spec->kind == PROBE_SYSCALL && !l->no_return) {
		fputs(" = 0", stdout);
	}
	fputc('\n', stdout);
}

static void put_columns(struct probes *p, const struct probe_line *l)
{
	const struct probe_column *c;

	if (!p->headed)
		for (c = p->columns; c->title; c++)
			printf("%s%s", c->title, c[1].title ? " " : "\n");
	p->headed = true;
	for (c = p->columns; c->title; c++) {
		c->put(stdout, l);
		fputs(c[1].title ? " " : "\n", stdout);
	}
}

/* ---- An object ---- */

static void json_arg(struct json *j, const struct probe_line *l, unsigned i)
{
	enum arg_kind kind = kind_of(l, i);
	int slot = sysargs_is_text(kind) ? text_slot(l, i) : -1;
	uint64_t v = value_of(l, i);
	char text[256];

	if (slot >= 0 && v && kind == ARG_ARGV) {
		const char *p = l->e->text[slot], *end = p + text_len(l->e, (unsigned)slot, kind);

		json_open(j, '[');
		for (; p < end; p += strnlen(p, (size_t)(end - p)) + 1)
			json_strn(j, p, strnlen(p, (size_t)(end - p)));
		json_close(j, ']');
	} else if (slot >= 0 && v && (l->e->len[slot] || kind == ARG_DATA)) {
		json_strn(j, l->e->text[slot], text_len(l->e, (unsigned)slot, kind));
	} else if (sysargs_is_text(kind)) {
		if (v)
			json_u64(j, v);
		else
			json_null(j);
	} else {
		sysargs_write(text, sizeof(text), kind, v);
		if (kind == ARG_INT || kind == ARG_FD)
			json_i64(j, (int32_t)v);
		else if (kind == ARG_LONG)
			json_i64(j, (int64_t)v);
		else if (kind == ARG_UINT || kind == ARG_MODE)
			json_u64(j, (uint32_t)v);
		else if (kind == ARG_ULONG || kind == ARG_HEX || kind == ARG_PTR)
			json_u64(j, v);
		else
			json_str(j, text);
	}
}

static void key_u64(struct json *j, const char *key, uint64_t v)
{
	json_key(j, key);
	json_u64(j, v);
}

static void put_json(struct probes *p, const struct probe_line *l)
{
	const struct probe_event *e = l->e;
	int err = probe_error(l);
	char text[400];
	struct json j;

	json_begin(&j, stdout);
	j.line = true;
	json_open(&j, '{');
	key_u64(&j, "time", e->ns);
	key_u64(&j, "pid", e->pid);
	key_u64(&j, "tid", e->tid);
	key_u64(&j, "uid", e->uid);
	json_key(&j, "comm");
	json_strn(&j, e->comm, strnlen(e->comm, sizeof(e->comm)));
	json_key(&j, "probe");
	json_str(&j, l->spec->text);
	json_key(&j, "name");
	json_str(&j, l->name);
	json_key(&j, "args");
	json_open(&j, '{');
	for (int i = 0; i < l->spec->nargs; i++) {
		json_key(&j, l->spec->args[i].name);
		json_arg(&j, l, (unsigned)i);
	}
	json_close(&j, '}');
	if (e->returned || (l->spec->kind == PROBE_SYSCALL && !l->no_return)) {
		json_key(&j, "ret");
		json_arg(&j, l, FIELD_RET);
	}
	if (e->returned)
		key_u64(&j, "ns", e->took);
	if (err && sysargs_errno(err)) {
		json_key(&j, "error");
		json_str(&j, sysargs_errno(err));
	}
	if (l->spec->set.flags & PROBE_F_STACK) {
		json_key(&j, "stack");
		json_open(&j, '[');
		for (uint32_t i = 0; i < e->len[PROBE_TEXTS] / 8 && i < PROBE_STACK; i++) {
			symbols_write(&p->symbols, (pid_t)e->pid, e->stack[i], text, sizeof(text));
			json_str(&j, text);
		}
		json_close(&j, ']');
	}
	json_close(&j, '}');
	json_end(&j);
}

/* ---- Events ---- */

static void show(struct probes *p, const struct probe_event *e)
{
	const struct probe_spec *s = &p->specs[e->probe];
	struct probe_line l = {.all = p, .spec = s, .e = e};

	l.name = probe_name(p, s, e->target);
	l.no_return = !e->returned && !(s->set.flags & PROBE_F_BOTH);
	p->events++;
	if (p->show && !p->show(&l))
		return;
	if (p->json)
		put_json(p, &l);
	else if (p->columns)
		put_columns(p, &l);
	else
		put_line(p, &l);
	if (!p->json && (s->set.flags & PROBE_F_STACK))
		put_stack_text(p, e);
}

static void release(struct probes *p, uint32_t i)
{
	show(p, &p->held[i].e);
	p->nheld--;
	memmove(&p->held[i], &p->held[i + 1], (p->nheld - i) * sizeof(*p->held));
}

/* execve returns only if it fails: the call is held until its thread is seen again, or for a while. */
static bool hold(struct probes *p, const struct probe_event *e)
{
	for (uint32_t i = 0; i < p->nheld; i++) {
		if (p->held[i].e.tid != e->tid)
			continue;
		if (e->returned && e->probe == p->held[i].e.probe) {
			p->nheld--;
			memmove(&p->held[i], &p->held[i + 1], (p->nheld - i) * sizeof(*p->held));
			return false;
		}
		release(p, i);
		break;
	}
	if (e->returned || (!(p->specs[e->probe].set.flags & PROBE_F_BOTH) && !p->delay))
		return false;
	if (!p->held)
		p->held = calloc(HELD_MAX, sizeof(*p->held));
	if (!p->held)
		return false;
	if (p->nheld == HELD_MAX)
		release(p, 0);
	p->held[p->nheld++] = (struct held){*e, now_ns()};
	return true;
}

void probes_event(struct probes *p, const void *data, uint32_t len)
{
	static const struct probe_event none;
	struct probe_event e = none;

	memcpy(&e, data, len < sizeof(e) ? len : sizeof(e));
	if (e.probe < p->nspecs && e.ntext <= PROBE_TEXTS && !hold(p, &e))
		show(p, &e);
}

void probes_tick(struct probes *p, bool last)
{
	uint64_t now = now_ns();

	while (p->nheld && (last || now - p->held[0].since > HELD_NS))
		release(p, 0);
}
