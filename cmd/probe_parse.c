/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The language of one-line probes:
 *
 *	syscall:NAME				[if CONDITIONS]
 *	uprobe:PATH:FUNC[(ARG:KIND, ...)]	[if CONDITIONS]
 *	uretprobe:PATH:FUNC[(ARG:KIND, ...)][:KIND]	[if CONDITIONS]
 *
 * A condition is FIELD OPERATOR VALUE; FIELD an argument's name, arg0 to arg5, ret, latency, pid, tid, uid,
 * comm; VALUE a number, a name that the argument's kind knows (O_CREAT, SIGTERM, -ENOENT), a time for latency, or
 * text in quotes, of which a * at the end leaves the rest open.
 */
#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "probe.h"
#include "trace/elf.h"
#include "trace/trace.h"

/* ---- Fields ---- */

static const struct {
	const char *name;
	enum probe_field field;
	enum arg_kind kind;
} fields[] = {
	{"ret", FIELD_RET, ARG_LONG},  {"retval", FIELD_RET, ARG_LONG},
	{"pid", FIELD_PID, ARG_UINT},  {"tid", FIELD_TID, ARG_UINT},
	{"uid", FIELD_UID, ARG_UINT},  {"latency", FIELD_LATENCY, ARG_ULONG},
	{"comm", FIELD_COMM, ARG_STR},
};

static int find_field(const struct probe_spec *s, const char *name, size_t len, enum arg_kind *kind)
{
	for (int i = 0; i < s->nargs; i++)
		if (strlen(s->args[i].name) == len && !strncmp(s->args[i].name, name, len)) {
			*kind = s->args[i].kind;
			return i;
		}
	if (len == 4 && !strncmp(name, "arg", 3) && name[3] >= '0' && name[3] < '6') {
		*kind = name[3] - '0' < s->nargs ? s->args[name[3] - '0'].kind : ARG_LONG;
		return name[3] - '0';
	}
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (strlen(fields[i].name) == len && !strncmp(fields[i].name, name, len)) {
			*kind = fields[i].field == FIELD_RET ? s->ret : fields[i].kind;
			return fields[i].field;
		}
	return -ENOENT;
}

static enum probe_width width_of(enum arg_kind kind)
{
	switch (kind) {
	case ARG_LONG:
		return WIDTH_S64;
	case ARG_ULONG:
	case ARG_HEX:
	case ARG_PTR:
	case ARG_MAP:
	case ARG_CLONE:
	case ARG_PROT:
		return WIDTH_U64;
	case ARG_UINT:
	case ARG_MODE:
		return WIDTH_U32;
	default:
		return WIDTH_S32;
	}
}

/* ---- Conditions ---- */

static const struct {
	const char *text;
	enum probe_op op;
} ops[] = {{"==", OP_EQ}, {"!=", OP_NE}, {"<=", OP_LE}, {">=", OP_GE},
	   {"<", OP_LT},  {">", OP_GT},  {"=", OP_EQ}};

static int text_value(struct probe_cond *c, const char *value, size_t len)
{
	if (len >= 2 && (value[0] == '"' || value[0] == '\'') && value[len - 1] == value[0]) {
		value++;
		len -= 2;
	}
	if (len && value[len - 1] == '*') {
		c->prefix = 1;
		len--;
	}
	if (len >= (c->field == FIELD_COMM ? 16 : PROBE_STRING))
		return -E2BIG;
	memcpy(c->text, value, len);
	return 0;
}

/* Which of the texts that are read an argument is: a field, or -ENOENT. */
static int text_field(const struct probe_spec *s, int field)
{
	for (int i = 0; i < PROBE_TEXTS; i++)
		if (s->set.text_kind[i] != TEXT_NONE && s->set.text_field[i] == field)
			return FIELD_TEXT0 + i;
	return -ENOENT;
}

static int add_condition(struct probe_spec *s, const char *text, size_t len, struct skep_error *err)
{
	struct probe_cond *c = &s->set.conds[s->set.nconds];
	size_t name = 0, at, op = 0;
	enum arg_kind kind = ARG_LONG;
	char value[128];
	int field, e;

	while (name < len && (isalnum((unsigned char)text[name]) || text[name] == '_'))
		name++;
	at = name + strspn(text + name, " ");
	while (op < sizeof(ops) / sizeof(ops[0]) &&
	       strncmp(text + at, ops[op].text, strlen(ops[op].text)) != 0)
		op++;
	if (!name || at >= len || op == sizeof(ops) / sizeof(ops[0]))
		return skep_fail(
			err, -EINVAL, NULL,
			"'%.*s' is no condition: FIELD == VALUE, with ==, !=, <, <=, >, >=",
			(int)len, text);
	if (s->set.nconds == PROBE_CONDS)
		return skep_fail(err, -E2BIG, NULL, "more than %d conditions", PROBE_CONDS);
	field = find_field(s, text, name, &kind);
	if (field < 0)
		return skep_fail(err, -ENOENT, NULL, "%s has no field '%.*s'", s->text, (int)name,
				 text);
	at += strlen(ops[op].text);
	at += strspn(text + at, " ");
	while (len > at && text[len - 1] == ' ')
		len--;
	snprintf(value, sizeof(value), "%.*s", (int)(len - at), text + at);
	*c = (struct probe_cond){.field = (uint8_t)field, .op = (uint8_t)ops[op].op};
	if (field == FIELD_COMM || sysargs_is_text(kind)) {
		int slot = field == FIELD_COMM ? FIELD_COMM : text_field(s, field);

		if (slot < 0 || (ops[op].op != OP_EQ && ops[op].op != OP_NE))
			return skep_fail(err, -EINVAL, NULL,
					 "'%.*s': text is compared by == and !=", (int)len, text);
		c->field = (uint8_t)slot;
		e = text_value(c, value, strlen(value));
	} else if (field == FIELD_LATENCY) {
		uint64_t ns = 0;

		e = parse_duration(value, &ns);
		c->value = (long long)ns;
		c->width = WIDTH_U64;
		s->set.flags |= PROBE_F_RETURN;
	} else {
		int64_t number = 0;

		e = sysargs_read(value, kind, &number);
		c->value = number;
		c->width = (uint8_t)width_of(kind);
		if (c->width == WIDTH_S32)
			c->value = (int32_t)number;
		if (field == FIELD_RET)
			s->set.flags |= PROBE_F_RETURN;
	}
	if (e)
		return skep_fail(err, -EINVAL, NULL, "'%s' is no value for '%.*s' of %s", value,
				 (int)name, text, s->text);
	s->set.nconds++;
	return 0;
}

static int add_conditions(struct probe_spec *s, const char *text, struct skep_error *err)
{
	int e = 0;

	while (!e && *text) {
		const char *end = strstr(text, "&&");
		size_t len;

		text += strspn(text, " ");
		len = end ? (size_t)(end - text) : strlen(text);
		e = add_condition(s, text, len, err);
		text = end ? end + 2 : text + len;
	}
	return e;
}

/* ---- What is read from memory ---- */

static void choose_texts(struct probe_spec *s, bool ret)
{
	static const uint8_t kinds[] = {[ARG_PATH - ARG_PATH] = TEXT_STRING,
					[ARG_STR - ARG_PATH] = TEXT_STRING,
					[ARG_DATA - ARG_PATH] = TEXT_DATA,
					[ARG_ARGV - ARG_PATH] = TEXT_ARGV};
	struct probe *set = &s->set;
	unsigned n = 0;

	for (int i = 0; i < s->nargs && n < PROBE_TEXTS; i++) {
		enum arg_kind kind = s->args[i].kind;

		if (!sysargs_is_text(kind))
			continue;
		set->text_kind[n] = kinds[kind - ARG_PATH];
		set->text_field[n] = (uint8_t)i;
		/* How much: the next argument says; without one, the result. */
		set->text_len[n] = (uint8_t)(i + 1 < s->nargs ? i + 1 : FIELD_RET);
		n++;
	}
	if (ret && sysargs_is_text(s->ret) && n < PROBE_TEXTS) {
		set->text_kind[n] = TEXT_STRING;
		set->text_field[n] = FIELD_RET;
	}
}

/* ---- Places ---- */

static struct probe_spec *add_spec(struct probes *p, const struct probe_spec *like,
				   struct skep_error *err)
{
	struct probe_spec *grown;

	if (p->nspecs == PROBE_MAX) {
		skep_fail(err, -E2BIG, NULL, "more than %d probes", PROBE_MAX);
		return NULL;
	}
	grown = realloc(p->specs, (p->nspecs + 1) * sizeof(*grown));
	if (!grown)
		return NULL;
	p->specs = grown;
	grown[p->nspecs] = *like;
	return &grown[p->nspecs++];
}

static int set_up(struct probes *p, struct probe_spec *s, const char *conditions,
		  struct skep_error *err)
{
	enum arg_kind kind;
	int e, f;

	choose_texts(s, s->kind != PROBE_UPROBE);
	if (p->count)
		s->set.flags |= PROBE_F_COUNT;
	else if (!p->hist)
		s->set.flags |= PROBE_F_EVENT;
	if (p->stack)
		s->set.flags |= PROBE_F_STACK | PROBE_F_EVENT;
	if (p->by_pid)
		s->set.flags |= PROBE_F_BY_PID;
	if (s->kind == PROBE_URETPROBE || p->latency ||
	    (s->kind == PROBE_SYSCALL && (s->set.flags & PROBE_F_EVENT)))
		s->set.flags |= PROBE_F_RETURN;
	/* Arguments of what is only counted need not be read. */
	if (!(s->set.flags & PROBE_F_EVENT) && !conditions[0])
		memset(s->set.text_kind, 0, sizeof(s->set.text_kind));
	if (p->hist) {
		f = find_field(s, p->hist, strlen(p->hist), &kind);
		if (f < 0 || f == FIELD_COMM || sysargs_is_text(kind))
			return skep_fail(err, -EINVAL, NULL,
					 "--hist %s: %s has no such number; there is latency, ret, "
					 "and the arguments",
					 p->hist, s->text);
		s->set.flags |= PROBE_F_HIST;
		s->set.hist_field = (uint8_t)f;
		s->set.hist_unit = f == FIELD_LATENCY ? p->unit_ns : 0;
		s->set.hist_width = (uint8_t)(f == FIELD_LATENCY ? WIDTH_U64 : width_of(kind));
		if (f == FIELD_LATENCY || f == FIELD_RET)
			s->set.flags |= PROBE_F_RETURN;
	}
	e = add_conditions(s, conditions, err);
	/* Some calls don't come back, or not to the program that made them. */
	if (!e && s->kind == PROBE_SYSCALL &&
	    (!strcmp(s->name, "exit") || !strcmp(s->name, "exit_group") ||
	     !strcmp(s->name, "rt_sigreturn")))
		s->set.flags &= ~(unsigned)PROBE_F_RETURN;
	if (s->kind == PROBE_SYSCALL && !strncmp(s->name, "execve", 6))
		s->set.flags |= PROBE_F_BOTH;
	return e;
}

static int add_syscalls(struct probes *p, const struct probe_spec *like, const char *conditions,
			struct skep_error *err)
{
	bool wild = strpbrk(like->name, "*?[") != NULL, any = false;
	struct probe_spec *s;
	bool taken = false;
	int e = 0;

	/* Nothing is asked of their arguments: one probe for all. */
	if (!strcmp(like->name, "*") && !conditions[0] && (p->count || p->hist) && !p->stack) {
		s = add_spec(p, like, err);
		return s ? set_up(p, s, conditions, err) : -ENOMEM;
	}
	for (uint32_t nr = 0; nr < 1024 && !e; nr++) {
		const char *name = sysargs_name(nr);

		if (!name || (wild ? fnmatch(like->name, name, 0) : strcmp(like->name, name)) != 0)
			continue;
		any = true;
		s = add_spec(p, like, err);
		if (!s)
			return -ENOMEM;
		s->nr = (int)nr;
		s->nargs = sysargs_of(nr, s->args);
		snprintf(s->name, sizeof(s->name), "%s", name);
		snprintf(s->text, sizeof(s->text), "syscall:%s", name);
		e = set_up(p, s, conditions, err);
		/* Of many, those that have what is asked for. */
		if (e == -ENOENT && wild) {
			p->nspecs--;
			e = 0;
		} else {
			taken = true;
		}
	}
	if (!e && !any)
		return skep_fail(err, -ENOENT, NULL, "there is no system call '%s'", like->name);
	return e || taken ? e : -ENOENT;
}

/* "FUNC", "FUNC(name:kind, ...)", "FUNC(...):kind", "0xADDR": the parentheses may also belong to a C++ name. */
static int parse_function(struct probe_spec *s, char *text, struct skep_error *err)
{
	char *open = strchr(text, '('), *close = open ? strrchr(open, ')') : NULL, *end;
	char *kind = close ? NULL : strrchr(text, ':');

	s->ret = ARG_LONG;
	if (kind && kind > text && kind[-1] != ':' &&
	    sysargs_kind(kind + 1, strlen(kind + 1)) < ARG_DATA) {
		s->ret = sysargs_kind(kind + 1, strlen(kind + 1));
		*kind = 0;
	}
	if (close && close[1] == ':') {
		s->ret = sysargs_kind(close + 2, strlen(close + 2));
		if (s->ret == ARG_NONE || s->ret == ARG_DATA || s->ret == ARG_ARGV)
			return skep_fail(err, -EINVAL, NULL, "'%s' is no kind of a result",
					 close + 2);
		close[1] = 0;
	}
	if (close && !close[1] &&
	    (close == open + 1 || (strchr(open, ':') && !strstr(open, "::")))) {
		*close = 0;
		s->nargs = sysargs_parse(open + 1, s->args);
		if (s->nargs < 0)
			return skep_fail(
				err, -EINVAL,
				"Kinds are int, long, uint, ulong, hex, ptr, str, fd, sig, "
				"mode, open; data is as long as the next argument says.",
				"the arguments of '%s' can't be read", s->text);
		*open = 0;
	}
	if (isdigit((unsigned char)text[0])) {
		s->offset = strtoull(text, &end, 0);
		if (*end)
			return skep_fail(err, -EINVAL, NULL, "'%s' is no address", text);
		return 0;
	}
	end = strrchr(text, '+');
	if (end && isdigit((unsigned char)end[1]) && s->kind == PROBE_UPROBE) {
		s->offset = strtoull(end + 1, NULL, 0);
		*end = 0;
	}
	snprintf(s->name, sizeof(s->name), "%s", text);
	return 0;
}

static int add_function(struct probes *p, struct probe_spec *like, char *place,
			const char *conditions, struct skep_error *err)
{
	char *colon = strchr(place, ':');
	struct probe_spec *s;
	int e;

	if (!colon || colon == place || !colon[1])
		return skep_fail(err, -EINVAL, "uprobe:/bin/bash:readline, uprobe:c:malloc",
				 "'%s' is not PATH:FUNCTION", place);
	*colon = 0;
	e = skep_trace_find_file(place, like->path, sizeof(like->path));
	if (e)
		return skep_fail(err, e, "Give its path.", "there is no file '%s'", place);
	e = parse_function(like, colon + 1, err);
	if (e)
		return e;
	s = add_spec(p, like, err);
	return s ? set_up(p, s, conditions, err) : -ENOMEM;
}

int probes_add(struct probes *p, const char *text, struct skep_error *err)
{
	static const struct {
		const char *prefix;
		enum probe_kind kind;
	} kinds[] = {{"syscall:", PROBE_SYSCALL},
		     {"uprobe:", PROBE_UPROBE},
		     {"uretprobe:", PROBE_URETPROBE}};
	struct probe_spec like = {.nr = -1, .ret = ARG_LONG};
	const char *cond = strstr(text, " if ");
	size_t len = cond ? (size_t)(cond - text) : strlen(text);
	char place[512];

	while (len && text[len - 1] == ' ')
		len--;
	if (len >= sizeof(like.text))
		return skep_fail(err, -E2BIG, NULL, "the probe is too long: %s", text);
	snprintf(like.text, sizeof(like.text), "%.*s", (int)len, text);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t n = strlen(kinds[i].prefix);

		if (strncmp(like.text, kinds[i].prefix, n) != 0)
			continue;
		like.kind = kinds[i].kind;
		snprintf(place, sizeof(place), "%s", like.text + n);
		cond = cond ? cond + 4 : "";
		if (like.kind != PROBE_SYSCALL)
			return add_function(p, &like, place, cond, err);
		if (strlen(place) >= sizeof(like.name))
			return skep_fail(err, -ENOENT, NULL, "there is no system call '%s'", place);
		memcpy(like.name, place, strlen(place) + 1);
		return add_syscalls(p, &like, cond, err);
	}
	return skep_fail(
		err, -EINVAL,
		"syscall:openat, uprobe:/bin/bash:readline, uretprobe:c:malloc(size:ulong):hex",
		"'%s' is no probe", text);
}

int probes_condition(struct probes *p, const char *text, struct skep_error *err)
{
	int e = 0;

	for (uint32_t i = 0; i < p->nspecs && !e; i++)
		e = add_conditions(&p->specs[i], text, err);
	return e;
}
