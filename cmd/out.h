/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output: JSON as a stream, numbers for people, the progress bar.
 */
#ifndef SKEP_CMD_OUT_H
#define SKEP_CMD_OUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* ---- JSON: calls nest as the text does; commas and indentation come by themselves ---- */
struct json {
	FILE *f;
	int depth;
	bool first[32]; /* nothing yet at that depth */
	bool keyed; /* a key was written, its value comes next */
	bool line; /* all on one line; set after json_begin() */
};

void json_begin(struct json *j, FILE *f);
void json_end(struct json *j); /* the final newline */
void json_key(struct json *j, const char *name);
void json_open(struct json *j, char kind); /* '{' or '[' */
void json_close(struct json *j, char kind); /* '}' or ']' */
void json_str(struct json *j, const char *s);
void json_strn(struct json *j, const char *s, size_t n);
void json_u64(struct json *j, uint64_t v);
void json_i64(struct json *j, int64_t v);
void json_num(struct json *j, double v);
void json_bool(struct json *j, bool v);
void json_null(struct json *j);
void json_raw(struct json *j, const char *text); /* a complete value */

/* ---- Numbers for people, in a static-free buffer ---- */
struct shown {
	char s[32];
};
struct shown show_count(uint64_t v); /* 1,234,567 */
struct shown show_rate(double v); /* 12.3 M */
struct shown show_time(uint64_t ns); /* 1.23 ms */
struct shown show_ns(double ns); /* 28.4 */

/* Whether f is a terminal that shows colours. */
bool color_on(FILE *f);

/* ---- Progress, on standard error, once something takes over two seconds ---- */
struct progress {
	bool on, shown;
	uint64_t from, last;
};
void progress_start(struct progress *p, bool wanted);
void progress_step(struct progress *p, uint64_t done, uint64_t total);
void progress_end(struct progress *p);

#endif
