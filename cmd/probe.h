/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One-line probes, of `skep trace -e` and of the tools: parsed, put into the maps of the built-in object
 * (tools/probe.bpf.c), attached; their events, counts and histograms written.
 */
#ifndef SKEP_CMD_PROBE_H
#define SKEP_CMD_PROBE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "../tools/probe.h"
#include "client/error.h"
#include "trace/sysargs.h"

struct bpf_object;
struct bpf_map;
struct skep_trace;
struct json;
struct symbols;

enum probe_kind { PROBE_SYSCALL, PROBE_UPROBE, PROBE_URETPROBE };

struct probe_spec {
	enum probe_kind kind;
	char text[320]; /* as it was given, or as a pattern gave it: "syscall:openat" */
	char name[128]; /* of the call or function, maybe a pattern; "": an address */
	char path[256];
	uint64_t offset;
	int nr; /* system call; -1: all */
	struct arg_desc args[SYSARGS_MAX];
	int nargs;
	enum arg_kind ret;
	struct probe set; /* as the program reads it */
};

/* A function that a pattern found. */
struct probe_target {
	char name[128];
};

/* What a tool shows: columns instead of a line for people. */
struct probes;
struct probe_line {
	const struct probes *all;
	const struct probe_spec *spec;
	const struct probe_event *e;
	const char *name; /* of the call or function */
	bool no_return; /* it does not return, or not yet */
};
struct probe_column {
	const char *title; /* padded as the column is */
	void (*put)(FILE *f, const struct probe_line *l);
};

struct probe_parent {
	uint32_t child, parent;
};

struct probes {
	struct probe_spec *specs;
	uint32_t nspecs;
	struct probe_target *targets;
	uint32_t ntargets;
	/* How, set before probes_add(). */
	bool count, stack, by_pid, json, latency;
	const char *hist; /* "latency", "ret" or an argument; NULL: none */
	const struct probe_column *columns; /* of a tool, ended by a row without title; NULL */
	bool (*show)(const struct probe_line *l); /* a tool's own filter, or NULL */
	const char *title; /* of what is counted; NULL: "NAME" */
	uint32_t top; /* rows of counts; 0: all */
	const char *unit; /* of histograms of latency, "usecs", "msecs"; NULL: "nsecs" */
	uint32_t unit_ns;
	bool delay; /* show calls that don't return later, when others may have told more */
	struct probe_parent *parents; /* a tool's, freed with the rest */
	/* While it runs. */
	struct bpf_object *obj;
	struct symbols *symbols;
	bool headed; /* the titles are written */
	struct held {
		struct probe_event e;
		uint64_t since;
	} * held; /* calls that don't return unless they fail */
	uint32_t nheld;
	uint64_t events;
};

extern const char skep_bpf_object_probe[], skep_bpf_object_probe_end[];

/* "KIND:PLACE [if CONDITION [&& ...]]"; with wildcards in a system call's name: all that match. 0 or -errno. */
int probes_add(struct probes *p, const char *text, struct skep_error *err);
/* A condition on all probes: "pid == 17", "comm == \"sh\"". */
int probes_condition(struct probes *p, const char *text, struct skep_error *err);
/* Fills the loaded object's maps and attaches. */
int probes_attach(struct probes *p, struct skep_trace *trace, struct bpf_object *obj,
		  struct skep_error *err);
/* A record of the ring buffer. */
void probes_event(struct probes *p, const void *data, uint32_t len);
/* Now and then. */
void probes_tick(struct probes *p, bool last);
/* Counts and histograms, for people. */
void probes_text(struct probes *p, FILE *f);
/* As members of an object. */
void probes_json(struct probes *p, struct json *j);
/* Events that found no room. */
uint64_t probes_lost(const struct probes *p);
void probes_free(struct probes *p);

/* ---- Between the files ---- */
/* The name of what was called. */
const char *probe_name(const struct probes *p, const struct probe_spec *s, uint32_t target);
/* An argument as text, read from memory or by its kind. i: FIELD_RET, the result. */
void probe_put_arg(FILE *f, const struct probe_line *l, unsigned i);
void probe_put_text(FILE *f, const struct probe_event *e, unsigned slot, enum arg_kind kind);
/* Whether the result is an error of a system call: its number, 0 if not. */
int probe_error(const struct probe_line *l);

#endif
