/* SPDX-License-Identifier: Apache-2.0 */
/*
 * skep exec: a command whose bpf(2) calls, and those of its children, reach an instance.
 */
#include "cmd.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/notify.h"
#include "client/tracefs.h"
#include "net/hook.h"
#include "out.h"

static const char usage[] = "usage: skep exec [OPTIONS] [--] COMMAND [ARGUMENTS]\n";

static const char help[] =
	"\nRuns COMMAND so that its bpf(2) calls, and those of all processes that it starts,\n"
	"reach an instance of skep instead of the kernel: bpftool, libbpf programs, static\n"
	"binaries, programs of any language. The instance ends with the last of them.\n"
	"\n"
	"      --interpret       run programs in the interpreter\n"
	"      --unprivileged    give clients what an unprivileged user gets, whoever they are\n"
	"                        (default: by their own capabilities)\n"
	"      --no-preload      load no library into clients\n"
	"      --no-view         leave clients the machine's files: no pins below /sys/fs/bpf "
	"that\n"
	"                        can be seen, no tracefs\n"
	"      --port A[,B]      clients may attach XDP and tcx ingress programs to interface A:\n"
	"                        what comes in there goes through the program and out of B, and\n"
	"                        what comes in at B out of A; without B it is watched only\n"
	"      --stats           say at the end how many calls were answered\n"
	"  -h, --help\n"
	"\n"
	"Clients get a mount namespace (and, without root, a user namespace), in which\n"
	"/sys/fs/bpf, /sys/kernel/btf/vmlinux, /sys/kernel/tracing and what /proc/sys says of bpf\n"
	"are skep's. Dynamically linked ones get libskep-preload.so (LD_PRELOAD): epoll, poll and\n"
	"select on ring buffers and perf readers work. Other files and system calls (netlink,\n"
	"other perf events) are still the kernel's.\n"
	"\n"
	"Exit status: COMMAND's; 128 + the signal that killed it; 127 if it was not found, 126 if\n"
	"it can't be run; 1 if bpf(2) can't be led here, 2 wrong usage.\n";

enum { O_INTERPRET = 256, O_UNPRIVILEGED, O_NO_PRELOAD, O_NO_VIEW, O_PORT, O_STATS };

static const struct option options[] = {
	{"interpret", no_argument, NULL, O_INTERPRET},
	{"unprivileged", no_argument, NULL, O_UNPRIVILEGED},
	{"no-preload", no_argument, NULL, O_NO_PRELOAD},
	{"no-view", no_argument, NULL, O_NO_VIEW},
	{"port", required_argument, NULL, O_PORT},
	{"stats", no_argument, NULL, O_STATS},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 1;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Where the library lies, from the folder of this command: when built, and when installed. */
static const char *const places[] = {"libskep-preload.so", "../lib/skep/libskep-preload.so"};

/* Finds the library: false if it is nowhere. */
static bool find_preload(char *path, size_t size)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n <= 0)
		return false;
	self[n] = 0;
	slash = strrchr(self, '/');
	if (!slash)
		return false;
	*slash = 0;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (snprintf(path, size, "%s/%s", self, places[i]) < (int)size &&
		    !access(path, R_OK))
			return true;
	}
	return false;
}

/* For the command and its children. Without the library bpf(2) still works. */
static void set_preload(void)
{
	char path[2 * PATH_MAX], all[4 * PATH_MAX];
	const char *before = getenv("LD_PRELOAD");

	if (!find_preload(path, sizeof(path))) {
		fprintf(stderr, "skep: no libskep-preload.so beside the command or in ../lib/skep:"
				" going on without (see skep exec --help)\n");
		return;
	}
	/* Both separate names in LD_PRELOAD. */
	if (strpbrk(path, " :")) {
		fprintf(stderr, "skep: a path with spaces or colons can't be preloaded: %s\n",
			path);
		return;
	}
	if (!before || !before[0])
		before = NULL;
	if (snprintf(all, sizeof(all), "%s%s%s", path, before ? ":" : "", before ? before : "") >=
		    (int)sizeof(all) ||
	    setenv("LD_PRELOAD", all, 1))
		fprintf(stderr, "skep: LD_PRELOAD is too long: going on without the library\n");
}

/* ---- Ports ---- */

#define PORTS 8

struct ports {
	struct skep_net_hook *hooks[PORTS];
	unsigned n;
	char *names[PORTS]; /* A or A,B */
};

static bool open_ports(struct ports *p, struct skep *skep, unsigned n)
{
	for (p->n = 0; p->n < n; p->n++) {
		char why[256] = "", *b = strchr(p->names[p->n], ',');
		char *a = strndup(p->names[p->n], strcspn(p->names[p->n], ","));
		int err = a ? skep_net_hook_open(&p->hooks[p->n], skep, a, b ? b + 1 : NULL, why,
						 sizeof(why))
			    : -ENOMEM;

		free(a);
		if (err) {
			fprintf(stderr, "skep: %s\n%s", why,
				err == -EPERM ? "Run as root, or in a network namespace of your "
						"own.\n"
					      : "");
			return false;
		}
	}
	return true;
}

static void close_ports(struct ports *p)
{
	while (p->n)
		skep_net_hook_close(p->hooks[--p->n]);
}

int cmd_exec(int argc, char **argv)
{
	struct skep_opts opts = {.sz = sizeof(opts)};
	struct skep_start_opts how = {.view = true, .jit = true};
	struct skep_error why = {0};
	struct skep_tracefs *trace = NULL;
	struct skep_start started;
	struct skep_notify *n;
	struct skep *skep;
	struct ports ports = {.n = 0};
	unsigned nports = 0;
	bool stats = false, preload = true;
	int o, err;

	/* '+': options behind the command are the command's. */
	while ((o = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
		switch (o) {
		case O_INTERPRET:
			opts.flags |= SKEP_F_INTERPRET;
			how.jit = false;
			break;
		case O_UNPRIVILEGED:
			opts.flags |= SKEP_F_UNPRIVILEGED;
			break;
		case O_NO_PRELOAD:
			preload = false;
			break;
		case O_PORT:
			if (nports == PORTS)
				return misuse(usage, "too many ports");
			ports.names[nports++] = optarg;
			break;
		case O_NO_VIEW:
			how.view = false;
			break;
		case O_STATS:
			stats = true;
			break;
		case 'h':
			fputs(usage, stdout);
			fputs(help, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind == argc)
		return misuse(usage, "no command");
	if (preload)
		set_preload();
	if (skep_start(&started, &how, argv + optind, &why)) {
		fprintf(stderr, "skep: %s\n%s%s", why.what, why.next, why.next[0] ? "\n" : "");
		return 1;
	}
	if (started.view_err)
		fprintf(stderr,
			"skep: no view of /sys and /proc for the command alone: %s: it sees the "
			"machine's (--no-view: without this message)\n",
			strerror(-started.view_err));
	if (started.mounts.pins >= 0)
		opts.pin_dir = started.pin_dir;
	if (started.mounts.trace >= 0 && !skep_tracefs_open(&trace, started.mounts.trace)) {
		opts.printk = skep_tracefs_print;
		opts.printk_arg = trace;
	}
	err = skep_open(&skep, &opts);
	if (!err) {
		err = skep_notify_open(&n, skep, &started);
		if (err)
			skep_close(skep);
	}
	if (!err && !open_ports(&ports, skep, nports)) {
		close_ports(&ports);
		skep_notify_close(n);
		skep_start_end(&started);
		skep_close(skep);
		skep_tracefs_close(trace);
		return 1;
	}
	if (err) {
		fprintf(stderr, "skep: no instance: %s\n", strerror(-err));
		skep_start_end(&started);
		skep_tracefs_close(trace);
		return 1;
	}
	/* A terminal's signals are for the command; we end when it has ended. */
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	skep_notify_ports(n, ports.hooks, ports.n);
	skep_start_go(&started);
	skep_notify_serve(n);
	err = wait_for(started.pid);
	if (stats)
		fprintf(stderr, "skep: %lu calls of bpf(2) answered\n", skep_notify_count(n));
	close_ports(&ports);
	skep_notify_close(n);
	skep_close(skep);
	skep_start_end(&started);
	skep_tracefs_close(trace);
	return err;
}
