/* SPDX-License-Identifier: Apache-2.0 */
/*
 * skep check: verify programs, and say why one is refused.
 */
#include "cmd.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "notes.h"
#include "out.h"

static const char usage[] = "usage: skep check PROG.{bpf.c,o} [OPTIONS]\n";

static const char help[] =
	"\nVerifies every program of an object. Nothing is run.\n"
	"\n"
	"  -p, --prog NAME       only this program\n"
	"  -v, --log             show the verifier's log of refused programs\n"
	"      --json            one JSON object instead of text\n"
	"      --repeat N        load each program N times, and show the median of its times\n"
	"      --btf FILE        against the types of another kernel: its "
	"/sys/kernel/btf/vmlinux\n" SESSION_HELP "\n"
	"Exit status: 0 all accepted, 1 one refused or a failure, 2 wrong usage.\n";

struct check {
	struct session s;
	bool json, log;
	struct notes notes;
};

enum { O_JSON = 256, O_BTF, O_REPEAT };

#define MAX_REPEAT 100000

static const struct option options[] = {
	{"log", no_argument, NULL, 'v'},
	{"json", no_argument, NULL, O_JSON},
	{"btf", required_argument, NULL, O_BTF},
	{"repeat", required_argument, NULL, O_REPEAT},
	SESSION_OPTIONS,
};

static int parse(struct check *c, int argc, char **argv)
{
	int status = session_environment(&c->s, usage), o;

	while (status < 0 &&
	       (o = getopt_long(argc, argv, SESSION_LETTERS "v", options, NULL)) != -1) {
		switch (o) {
		case 'v':
			c->log = true;
			break;
		case O_JSON:
			c->json = true;
			break;
		case O_REPEAT:
			if (parse_number(optarg, 1, MAX_REPEAT, &c->s.repeat))
				status = misuse(usage,
						"--repeat takes a number from 1 to %d, not \"%s\"",
						MAX_REPEAT, optarg);
			break;
		case O_BTF:
			c->s.btf = optarg;
			break;
		default:
			status = session_option(&c->s, o, usage, help);
		}
	}
	if (status < 0)
		status = session_file(&c->s, argc, argv, usage);
	if (status < 0 && c->s.kernel && c->s.btf)
		return misuse(usage,
			      "--btf is for skep's own runtime: the kernel has its own types");
	if (status >= 0)
		return status;
	return -1;
}

static bool wanted(const struct check *c, const struct verdict *v)
{
	return !c->s.prog || !strcmp(c->s.prog, v->name);
}

static void print_text(const struct check *c)
{
	bool color = color_on(stdout);

	for (uint32_t i = 0; i < c->s.nverdicts; i++) {
		const struct verdict *v = &c->s.verdicts[i];

		if (!wanted(c, v))
			continue;
		if (v->accepted) {
			printf("%s%s%s (%s): accepted: %u instructions, %llu processed, %u states "
			       "(peak %u), %u bytes of stack, %s\n",
			       color ? "\033[32m" : "", v->name, color ? "\033[0m" : "", v->type,
			       v->insns, (unsigned long long)v->processed, v->states,
			       v->peak_states, v->stack,
			       show_time(v->verify_ns ? v->verify_ns : v->ns).s);
			continue;
		}
		printf("%s%s%s (%s): refused\n", color ? "\033[31m" : "", v->name,
		       color ? "\033[0m" : "", v->unknown_section ? "no type" : v->type);
		print_refusal(stdout, &c->s, v, color);
		if (c->log && v->log)
			fputs(v->log, stdout);
	}
	notes_text(stdout, &c->notes);
}

static void key_str(struct json *j, const char *key, const char *value)
{
	if (!value)
		return;
	json_key(j, key);
	json_str(j, value);
}

static void key_u64(struct json *j, const char *key, uint64_t value)
{
	json_key(j, key);
	json_u64(j, value);
}

static void print_json(const struct check *c, bool all)
{
	struct json j;

	json_begin(&j, stdout);
	json_open(&j, '{');
	key_str(&j, "file", c->s.path);
	key_str(&j, "runtime", c->s.kernel ? "kernel" : "user");
	json_key(&j, "accepted");
	json_bool(&j, all);
	json_key(&j, "programs");
	json_open(&j, '[');
	for (uint32_t i = 0; i < c->s.nverdicts; i++) {
		const struct verdict *v = &c->s.verdicts[i];

		if (!wanted(c, v))
			continue;
		json_open(&j, '{');
		key_str(&j, "name", v->name);
		key_str(&j, "section", v->section);
		key_str(&j, "type", v->type);
		json_key(&j, "accepted");
		json_bool(&j, v->accepted);
		key_u64(&j, "instructions", v->insns);
		key_u64(&j, "processed", v->processed);
		key_u64(&j, "states", v->states);
		key_u64(&j, "peak_states", v->peak_states);
		key_u64(&j, "stack_depth", v->stack);
		key_u64(&j, "ns", v->verify_ns ? v->verify_ns : v->ns);
		if (!v->accepted) {
			key_str(&j, "error",
				v->unknown_section ? "the section names no program type"
						   : strerror(-v->err));
			key_str(&j, "what", v->what);
			key_str(&j, "hint", v->hint);
			key_str(&j, "function", v->func);
			key_str(&j, "file", v->file);
			if (v->line)
				key_u64(&j, "line", v->line);
			key_str(&j, "text", v->text);
			key_str(&j, "log", v->log);
		}
		json_close(&j, '}');
	}
	json_close(&j, ']');
	json_key(&j, "notes");
	notes_json(&j, &c->notes);
	json_close(&j, '}');
	json_end(&j);
}

static int check(struct check *c)
{
	bool all = true, any = false, untried = false;
	char why[1024];
	int err;

	for (uint32_t i = 0; i < c->s.nverdicts; i++)
		any |= wanted(c, &c->s.verdicts[i]);
	if (!any) {
		complain("%s: there is no program named \"%s\"", c->s.path, c->s.prog);
		fputs("      It holds:", stderr);
		for (uint32_t i = 0; i < c->s.nverdicts; i++)
			fprintf(stderr, " %s", c->s.verdicts[i].name);
		fputs("\n", stderr);
		return EXIT_REFUSED;
	}
	for (uint32_t i = 0; i < c->s.nverdicts; i++)
		bpf_program__set_autoload(session_program(&c->s, i),
					  wanted(c, &c->s.verdicts[i]) &&
						  !c->s.verdicts[i].unknown_section);
	c->s.substitute = true;
	c->s.keep = true;
	err = session_load(&c->s);
	for (uint32_t i = 0; i < c->s.nverdicts; i++) {
		const struct verdict *v = &c->s.verdicts[i];

		if (!wanted(c, v))
			continue;
		all &= v->accepted;
		untried |= !v->tried && !v->unknown_section;
	}
	/* Something else than a program failed: a map, say. */
	if (err && untried) {
		session_warnings(why, sizeof(why), err);
		complain("%s can't be loaded: %s", c->s.path, why);
		return EXIT_REFUSED;
	}
	notes_gather(&c->s, &c->notes);
	if (c->json)
		print_json(c, all);
	else
		print_text(c);
	return all ? EXIT_OK : EXIT_REFUSED;
}

int cmd_check(int argc, char **argv)
{
	struct check c = {.json = false};
	int status = parse(&c, argc, argv);

	if (status >= 0)
		return status;
	status = session_open(&c.s) ? EXIT_REFUSED : check(&c);
	session_close(&c.s);
	return status;
}
