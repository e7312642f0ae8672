/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the subcommands share: options, the runtime, the program's object.
 */
#ifndef SKEP_CMD_H
#define SKEP_CMD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bpf/uapi.h"
#include "client/compile.h"
#include "client/error.h"
#include "skep.h"

struct bpf_object;
struct bpf_program;

enum { EXIT_OK, EXIT_REFUSED, EXIT_USAGE }; /* see skep(1), EXIT STATUS */

int cmd_run(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_exec(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_trace(int argc, char **argv);
int cmd_dump(int argc, char **argv);

/* ---- Messages: "skep: ...", then what to do next, on standard error ---- */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void complain_error(const struct skep_error *err);
/* Wrong use: the message, the usage line, EXIT_USAGE. */
int misuse(const char *usage, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- Options with values: numbers and durations ---- */
/* Whole decimal number in [min, max]: 0 or -EINVAL. */
int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *out);
/* "10s", "500ms", "2m", plain seconds: in ns. 0 or -EINVAL. */
int parse_duration(const char *text, uint64_t *ns);

/* ---- A session: one runtime, one object ---- */

/* What the runtime said of one program. */
struct verdict {
	struct bpf_program *prog;
	uint64_t position; /* in the object */
	char name[64];
	const char *section;
	const char *type; /* "xdp" ...; "" if not known */
	bool tried, accepted;
	bool unknown_section;
	bool wanted; /* to be loaded */
	bool hopeless; /* libbpf does not even try */
	bool substituted; /* an empty program stands in for it */
	int err; /* -errno of PROG_LOAD */
	uint32_t insns;
	uint64_t processed; /* the verifier's statistics */
	uint32_t states, peak_states;
	uint32_t stack; /* bytes, deepest chain */
	uint64_t ns; /* of PROG_LOAD */
	uint64_t verify_ns; /* the verifier's own figure, 0 if not told */
	char *log; /* of a refused program */
	/* Explanation. Strings may be NULL. */
	char *what, *hint, *file, *func, *text;
	uint32_t line, col, insn;
	/* With session.keep: as given to PROG_LOAD. */
	struct bpf_insn *loaded;
	struct bpf_line_info *lines;
	struct bpf_func_info *funcs;
	uint32_t nloaded, nlines, nfuncs;
};

struct session {
	/* Set by the caller. */
	const char *path, *cc;
	const void *builtin; /* an object of the command's own, instead of a file */
	size_t builtin_size;
	const char *prog; /* --prog: only this program */
	const char *const *cflags;
	bool kernel; /* --runtime kernel */
	uint64_t repeat; /* how often each program is loaded, for its times; 0: once */
	const char *btf; /* --btf: a file of the types to verify against */
	uint32_t flags; /* SKEP_F_* */
	void (*printk)(void *arg, const char *text, size_t len);
	void *printk_arg;

	struct skep *skep; /* NULL with the kernel runtime */
	struct bpf_object *obj;
	void *image;
	size_t image_size;
	struct verdict *verdicts; /* of the object's programs, as the source has them */
	uint32_t nverdicts;
	char *log_buf;
	struct verdict *explaining; /* whom the explanation is about */
	bool keep; /* keep the instructions as loaded */
	bool substitute; /* load an empty program for a refused one, so that the rest loads */
	/* Changes what a program's PROG_LOAD is given, or NULL: 0 or -errno. */
	int (*transform)(void *arg, const struct verdict *v, union bpf_attr *attr);
	void *transform_arg;
	struct skep_error err;
};

/* Parses the argument of --runtime: 0 or -EINVAL. */
int session_runtime(struct session *s, const char *name);
/* Sets the runtime that the environment's SKEP_RUNTIME asks for: 0 or -EINVAL. */
int session_default(struct session *s);

/* ---- Options that run, check and dump share ---- */

/* Rows for a table of long options; getopt's letters for those that have one. For
 * who includes <getopt.h>. */
enum { SESSION_O_RUNTIME = 1000, SESSION_O_CC };
#define SESSION_OPTIONS                                                                            \
	{"prog", required_argument, NULL, 'p'},                                                    \
		{"runtime", required_argument, NULL, SESSION_O_RUNTIME},                           \
		{"cc", required_argument, NULL, SESSION_O_CC}, {"help", no_argument, NULL, 'h'},   \
	{                                                                                          \
		NULL, 0, NULL, 0                                                                   \
	}
#define SESSION_LETTERS "p:h"
#define SESSION_HELP                                                                               \
	"      --runtime NAME    user (skep's own, the default) or kernel (Linux's, as root)\n"    \
	"      --cc NAME         compiler for C source: clang-16, bpf-gcc, a path\n"               \
	"  -h, --help\n"

/* Before the options: the environment's runtime. Like the other two: -1, go on; else the exit
 * status. */
int session_environment(struct session *s, const char *usage);
/* What the caller's own switch does not know. */
int session_option(struct session *s, int option, const char *usage, const char *help);
/* After them: the one file. */
int session_file(struct session *s, int argc, char **argv, const char *usage);

/* Compiles (showing diagnostics), opens the runtime, opens the object: 0 or -errno, with
 * s->err complained about. */
int session_open(struct session *s);
/* Loads the programs whose autoload is on. s->verdicts says how it went, program by
 * program; the result is libbpf's. */
int session_load(struct session *s);
void session_close(struct session *s);
/* libbpf's warnings about the last load as one line, or the text of err. */
void session_warnings(char *text, size_t size, int err);
struct bpf_program *session_program(const struct session *s, uint32_t i);

/* The program type's short name, as bpftool prints it. */
const char *prog_type_name(enum bpf_prog_type type);
/* Prints why a program was refused, for people. */
void print_refusal(FILE *f, const struct session *s, const struct verdict *v, bool color);

#endif
