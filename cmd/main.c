/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "tool.h"

static int cmd_help(int argc, char **argv);
static int cmd_version(int argc, char **argv);

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *what;
} commands[] = {
	{"run", cmd_run, "run a program on packets and show its verdicts and maps"},
	{"check", cmd_check, "verify programs, and explain why one is refused"},
	{"trace", cmd_trace, "run programs at functions of a command or process"},
	{"exec", cmd_exec, "run a client of bpf(2) on an instance of its own"},
	{"serve", cmd_serve, "run an instance that clients join by its name"},
	{"dump", cmd_dump, "show a program's bytecode, machine code, maps or types"},
	{"version", cmd_version, "print the version"},
	{"help", cmd_help, "print this, or the help of a command"},
};

#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

void complain(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("skep: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void complain_error(const struct skep_error *err)
{
	complain("%s", err->what);
	if (err->next[0])
		fprintf(stderr, "      %s\n", err->next);
}

int misuse(const char *usage, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("skep: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n%s", usage);
	return EXIT_USAGE;
}

int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return *end || errno || *out < min || *out > max ? -EINVAL : 0;
}

int parse_duration(const char *text, uint64_t *ns)
{
	static const struct {
		const char *unit;
		double ns;
	} units[] = {{"", 1e9}, {"s", 1e9}, {"ms", 1e6}, {"us", 1e3}, {"m", 60e9}, {"h", 3600e9}};
	char *end;
	double v;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	v = strtod(text, &end);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].unit) != 0)
			continue;
		v *= units[i].ns;
		if (!(v > 0 && v < 1e18))
			return -EINVAL;
		*ns = (uint64_t)v;
		return 0;
	}
	return -EINVAL;
}

static void usage(FILE *f)
{
	fputs("usage: skep COMMAND [OPTIONS]\n\n", f);
	for (size_t i = 0; i < NCOMMANDS; i++)
		fprintf(f, "  %-8s %s\n", commands[i].name, commands[i].what);
	fputs("\nTools, on -- COMMAND or -p PID:\n\n", f);
	tools_list(f);
	fputs("\n`skep COMMAND --help` shows a command's options; skep(1) is the manual.\n", f);
}

static int cmd_version(int argc, char **argv)
{
	if (argc > 1)
		return misuse("usage: skep version\n", "version takes no arguments");
	printf("skep %s\n", SKEP_VERSION);
	return EXIT_OK;
}

static int cmd_help(int argc, char **argv)
{
	int status;

	if (argc < 2) {
		usage(stdout);
		return EXIT_OK;
	}
	for (size_t i = 0; i < NCOMMANDS; i++) {
		char *help[] = {argv[1], "--help", NULL};

		if (strcmp(commands[i].name, argv[1]) != 0)
			continue;
		if (commands[i].run == cmd_help || commands[i].run == cmd_version) {
			printf("usage: skep %s\n", argv[1]);
			return EXIT_OK;
		}
		return commands[i].run(2, help);
	}
	status = tool_run(argv[1], 2, (char *[]){argv[1], "--help", NULL});
	if (status >= 0)
		return status;
	complain("there is no command \"%s\"", argv[1]);
	usage(stderr);
	return EXIT_USAGE;
}

static int written(int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	complain("standard output can't be written");
	return EXIT_REFUSED;
}

int main(int argc, char **argv)
{
	const char *base = strrchr(argv[0], '/');
	int status;

	/* By the name of a tool. */
	status = tool_run(base ? base + 1 : argv[0], argc, argv);
	if (status >= 0)
		return written(status);
	if (argc < 2) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		usage(stdout);
		return EXIT_OK;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V"))
		return cmd_version(1, argv);
	for (size_t i = 0; i < NCOMMANDS; i++) {
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		return written(commands[i].run(argc - 1, argv + 1));
	}
	status = tool_run(argv[1], argc - 1, argv + 1);
	if (status >= 0)
		return written(status);
	complain("there is no command \"%s\"", argv[1]);
	usage(stderr);
	return EXIT_USAGE;
}
