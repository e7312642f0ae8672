/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "out.h"

#define DEEPEST ((int)(sizeof(((struct json *)0)->first) / sizeof(bool)) - 1)

static void indent(struct json *j, bool value)
{
	if (j->line) {
		if (value && !j->first[j->depth < DEEPEST ? j->depth : DEEPEST])
			fputc(' ', j->f);
		return;
	}
	fputc('\n', j->f);
	for (int i = 0; i < j->depth; i++)
		fputs("  ", j->f);
}

/* Before a value: the comma, unless it follows its key. */
static void before(struct json *j)
{
	int d = j->depth < DEEPEST ? j->depth : DEEPEST;

	if (j->keyed) {
		j->keyed = false;
		return;
	}
	if (!j->depth)
		return;
	if (!j->first[d])
		fputc(',', j->f);
	indent(j, true);
	j->first[d] = false;
}

void json_begin(struct json *j, FILE *f)
{
	memset(j, 0, sizeof(*j));
	j->f = f;
	j->first[0] = true;
}

void json_end(struct json *j)
{
	fputc('\n', j->f);
}

static void quoted(FILE *f, const char *s, size_t n)
{
	fputc('"', f);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '"' || c == '\\')
			fprintf(f, "\\%c", c);
		else if (c == '\n')
			fputs("\\n", f);
		else if (c == '\t')
			fputs("\\t", f);
		else if (c < 0x20 || c >= 0x7f)
			fprintf(f, "\\u%04x", c);
		else
			fputc(c, f);
	}
	fputc('"', f);
}

void json_key(struct json *j, const char *name)
{
	before(j);
	quoted(j->f, name, strlen(name));
	fputs(": ", j->f);
	j->keyed = true;
}

void json_open(struct json *j, char kind)
{
	before(j);
	fputc(kind, j->f);
	j->depth++;
	j->first[j->depth < DEEPEST ? j->depth : DEEPEST] = true;
}

void json_close(struct json *j, char kind)
{
	bool empty = j->first[j->depth < DEEPEST ? j->depth : DEEPEST];

	j->depth--;
	/* Closing a deeper level than is remembered has certainly written something. */
	j->first[j->depth < DEEPEST ? j->depth : DEEPEST] = false;
	if (!empty)
		indent(j, false);
	fputc(kind, j->f);
}

void json_strn(struct json *j, const char *s, size_t n)
{
	before(j);
	quoted(j->f, s, n);
}

void json_str(struct json *j, const char *s)
{
	json_strn(j, s, strlen(s));
}

void json_u64(struct json *j, uint64_t v)
{
	before(j);
	fprintf(j->f, "%" PRIu64, v);
}

void json_i64(struct json *j, int64_t v)
{
	before(j);
	fprintf(j->f, "%" PRId64, v);
}

void json_num(struct json *j, double v)
{
	before(j);
	if (isfinite(v))
		fprintf(j->f, "%.6g", v);
	else
		fputs("null", j->f);
}

void json_bool(struct json *j, bool v)
{
	before(j);
	fputs(v ? "true" : "false", j->f);
}

void json_null(struct json *j)
{
	before(j);
	fputs("null", j->f);
}

void json_raw(struct json *j, const char *text)
{
	before(j);
	fputs(text, j->f);
}
