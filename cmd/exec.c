/* SPDX-License-Identifier: Apache-2.0 */
/*
 * skep exec: a command whose bpf(2) calls, and those of its children, reach an instance.
 */
#include "cmd.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/join.h"
#include "client/name.h"
#include "client/notify.h"
#include "client/serve.h"
#include "host.h"

static const char usage[] = "usage: skep exec [OPTIONS] [--] COMMAND [ARGUMENTS]\n";

static const char help[] =
	"\nRuns COMMAND so that its bpf(2) calls, and those of all processes that it starts,\n"
	"reach an instance of skep instead of the kernel: bpftool, libbpf programs, static\n"
	"binaries, programs of any language. The instance ends with the last of them.\n"
	"\n"
	"      --name NAME       let others join the instance by that name\n"
	"      --join NAME       on the instance of that name (skep serve, skep exec --name)\n"
	"                        instead of a new one\n" HOST_HELP
	"      --no-preload      load no library into clients\n"
	"      --no-view         leave clients the machine's files: no pins below /sys/fs/bpf "
	"that\n"
	"                        can be seen, no tracefs\n"
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

enum { O_NO_PRELOAD = 256, O_NO_VIEW, O_STATS, O_NAME, O_JOIN };

static const struct option options[] = {
	HOST_OPTIONS,
	{"name", required_argument, NULL, O_NAME},
	{"join", required_argument, NULL, O_JOIN},
	{"no-preload", no_argument, NULL, O_NO_PRELOAD},
	{"no-view", no_argument, NULL, O_NO_VIEW},
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

/* A terminal's signals are for the command; we end when it has ended. */
static void leave_signals(void)
{
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
}

/* ---- On an instance of its own ---- */

struct run {
	struct host host;
	struct skep_start_opts how;
	const char *name, *join;
	char *const *argv;
	bool stats, preload;
};

static bool started(struct run *r, struct skep_start *s)
{
	struct skep_error why = {0};

	if (skep_start(s, &r->how, r->argv, &why)) {
		complain_error(&why);
		return false;
	}
	if (s->view_err)
		host_no_view(s->view_err);
	return true;
}

/* Others who come by the name, served on a thread. */
struct others {
	struct skep_name name;
	struct skep_serve *serve;
	pthread_t thread;
};

static void *serve_others(void *arg)
{
	struct others *o = arg;

	skep_serve_run(o->serve, -1);
	return NULL;
}

static int let_others(struct others *o, const struct run *r, const struct skep_start *s)
{
	struct skep_serve_opts opts = {.listen = o->name.sock,
				       .mounts = &s->mounts,
				       .jit = r->how.jit,
				       .own = 1,
				       .ports = r->host.hooks,
				       .nports = r->host.nhooks};
	int err = skep_serve_open(&o->serve, r->host.skep, &opts);

	if (!err)
		err = -pthread_create(&o->thread, NULL, serve_others, o);
	if (err)
		complain("others can't join: %s", strerror(-err));
	return err;
}

/* They keep the instance until they have ended. */
static void wait_for_others(struct others *o)
{
	unsigned n = skep_serve_clients(o->serve);

	if (n)
		complain("the command has ended; the instance stays for %u that joined it", n);
	skep_serve_stop(o->serve, false);
	pthread_join(o->thread, NULL);
	skep_serve_close(o->serve);
}

static int serve_command(struct run *r, struct skep_start *s, struct others *o)
{
	struct skep_notify_opts opts = {.listener = s->listener, .pins = s->mounts.pins};
	struct skep_notify *n;
	int err = skep_notify_open(&n, r->host.skep, &opts), status;

	if (err) {
		complain("no instance: %s", strerror(-err));
		return 1;
	}
	skep_notify_ports(n, r->host.hooks, r->host.nhooks);
	if (r->name && let_others(o, r, s)) {
		skep_notify_close(n);
		return 1;
	}
	leave_signals();
	skep_start_go(s);
	skep_notify_serve(n);
	status = wait_for(s->pid);
	if (r->name)
		wait_for_others(o);
	if (r->stats)
		fprintf(stderr, "skep: %lu calls of bpf(2) answered\n", skep_notify_count(n));
	skep_notify_close(n);
	return status;
}

static int exec_alone(struct run *r)
{
	struct others others = {.name = SKEP_NAME_NONE};
	struct skep_error why = {0};
	struct skep_start s;
	int status = 1;

	if (!started(r, &s))
		return 1;
	/* After the command's process is there, which therefore doesn't hold the name. */
	if (r->name && skep_name_take(&others.name, r->name, &why)) {
		complain_error(&why);
	} else if (!host_open(&r->host, &s)) {
		status = serve_command(r, &s, &others);
		host_close(&r->host);
	}
	skep_name_end(&others.name);
	skep_start_end(&s);
	return status;
}

/* ---- On another's ---- */

static int exec_joined(struct run *r)
{
	struct skep_error why = {0};
	struct skep_start s;
	struct skep_join j;
	int status = 1;

	if (skep_join_open(&j, r->join, &why)) {
		complain_error(&why);
		return 1;
	}
	r->how.jit = j.jit;
	r->how.shared = &j.mounts;
	r->how.number = true;
	if (j.mounts.pins < 0 && j.mounts.trace < 0)
		r->how.view = false;
	if (started(r, &s)) {
		if (skep_join_give(&j, s.listener, &why)) {
			complain_error(&why);
		} else {
			leave_signals();
			skep_start_go(&s);
			skep_join_wait(&j, s.listener, s.first, r->join);
			status = wait_for(s.pid);
		}
		skep_start_end(&s);
	}
	r->how.shared = NULL;
	skep_join_close(&j);
	return status;
}

int cmd_exec(int argc, char **argv)
{
	struct run r = {.how = {.view = true}, .preload = true};
	int o, err;

	/* '+': options behind the command are the command's. */
	while ((o = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
		switch (o) {
		case O_NAME:
			r.name = optarg;
			break;
		case O_JOIN:
			r.join = optarg;
			break;
		case O_NO_PRELOAD:
			r.preload = false;
			break;
		case O_NO_VIEW:
			r.how.view = false;
			break;
		case O_STATS:
			r.stats = true;
			break;
		case 'h':
			fputs(usage, stdout);
			fputs(help, stdout);
			return 0;
		default:
			err = host_option(&r.host, o, optarg);
			if (!err)
				break;
			if (err == -E2BIG)
				return misuse(usage, "too many ports");
			fputs(usage, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind == argc)
		return misuse(usage, "no command");
	if (r.join && (r.name || r.stats || r.host.opts.flags || r.host.nports))
		return misuse(usage, "with --join the instance is another's: --name, --interpret, "
				     "--unprivileged, --port and --stats are for who makes it");
	r.argv = argv + optind;
	r.how.jit = !(r.host.opts.flags & SKEP_F_INTERPRET);
	if (r.preload)
		set_preload();
	return r.join ? exec_joined(&r) : exec_alone(&r);
}
