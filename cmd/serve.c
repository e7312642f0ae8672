/* SPDX-License-Identifier: Apache-2.0 */
/*
 * skep serve: an instance without a client, which clients join by its name.
 */
#include "client/serve.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "client/join.h"
#include "client/name.h"
#include "cmd.h"
#include "host.h"
#include "out.h"

static const char usage[] = "usage: skep serve [OPTIONS] NAME\n"
			    "       skep serve --list [--json]\n";

static const char help[] =
	"\nRuns an instance that clients join by its name, until it is told to end by SIGINT or\n"
	"SIGTERM:\n"
	"\n"
	"    skep serve lab &\n"
	"    skep exec --join lab -- bpftool map create /sys/fs/bpf/m type hash key 4 value 4 \\\n"
	"        entries 16 name m\n"
	"    skep exec --join lab -- bpftool map dump pinned /sys/fs/bpf/m\n"
	"\n"
	"Its first line on standard output says that clients can come. All clients see the same\n"
	"objects and pins.\n"
	"\n" HOST_HELP "      --no-view         no directory of pins that clients see, no tracefs\n"
	"      --list            show the instances of this user that can be joined\n"
	"      --json            show them as JSON\n"
	"  -h, --help\n"
	"\n"
	"Exit status: 0; 1 if there is no instance, as when the name is in use; 2 wrong usage.\n";

enum { O_NO_VIEW = 256, O_LIST, O_JSON };

static const struct option options[] = {
	HOST_OPTIONS,
	{"no-view", no_argument, NULL, O_NO_VIEW},
	{"list", no_argument, NULL, O_LIST},
	{"json", no_argument, NULL, O_JSON},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

/* ---- The list ---- */

struct list {
	struct json *json;
	unsigned n;
};

static void show(void *arg, const char *name, int sock)
{
	struct list *l = arg;
	struct skep_serve_reply r = {0};
	int err = skep_join_overview(sock, &r);

	if (err) {
		complain("the instance \"%s\" does not answer: %s", name, strerror(-err));
		return;
	}
	l->n++;
	if (!l->json) {
		if (l->n == 1)
			printf("%-20s %8s %8s %8s %8s %8s\n", "name", "pid", "clients", "programs",
			       "maps", "links");
		printf("%-20s %8d %8u %8u %8u %8u\n", name, r.pid, r.clients, r.progs, r.maps,
		       r.links);
		return;
	}
	json_open(l->json, '{');
	json_key(l->json, "name");
	json_str(l->json, name);
	json_key(l->json, "pid");
	json_u64(l->json, (uint64_t)r.pid);
	json_key(l->json, "clients");
	json_u64(l->json, r.clients);
	json_key(l->json, "programs");
	json_u64(l->json, r.progs);
	json_key(l->json, "maps");
	json_u64(l->json, r.maps);
	json_key(l->json, "links");
	json_u64(l->json, r.links);
	json_close(l->json, '}');
}

static int show_all(bool as_json)
{
	struct json json;
	struct list l = {as_json ? &json : NULL, 0};
	struct skep_error why = {0};
	int n;

	if (as_json) {
		json_begin(&json, stdout);
		json_open(&json, '[');
	}
	n = skep_name_each(show, &l, &why);
	if (as_json) {
		json_close(&json, ']');
		json_end(&json);
	}
	if (n < 0) {
		complain_error(&why);
		return EXIT_REFUSED;
	}
	return EXIT_OK;
}

/* ---- Serving ---- */

/* Each object takes descriptors, and all clients' objects are here. */
static void raise_limit(void)
{
	struct rlimit lim;

	if (!getrlimit(RLIMIT_NOFILE, &lim)) {
		lim.rlim_cur = lim.rlim_max;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
}

static int serve(struct host *h, const struct skep_name *name, const struct skep_start *view,
		 int until)
{
	struct skep_serve_opts opts = {
		.listen = name->sock,
		.mounts = &view->mounts,
		.jit = !(h->opts.flags & SKEP_F_INTERPRET),
		.ports = h->hooks,
		.nports = h->nhooks,
	};
	struct skep_serve *s;
	int err = skep_serve_open(&s, h->skep, &opts);

	if (err) {
		complain("no instance: %s", strerror(-err));
		return EXIT_REFUSED;
	}
	printf("serving \"%s\", process %d\n", name->name, (int)getpid());
	fflush(stdout);
	skep_serve_run(s, until);
	return skep_serve_close(s) ? EXIT_OK : -1;
}

static int run(struct host *h, const char *name, bool want_view)
{
	struct skep_start view = SKEP_START_NONE;
	struct skep_name taken;
	struct skep_error why = {0};
	sigset_t ends;
	int until,
		err = want_view ? skep_start_view(&view, !(h->opts.flags & SKEP_F_INTERPRET)) : 0,
		status = EXIT_REFUSED;

	if (!err)
		err = view.view_err;
	if (err)
		host_no_view(err);
	/* Before there are threads, which have the same mask. */
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	until = signalfd(-1, &ends, SFD_CLOEXEC);
	raise_limit();
	if (skep_name_take(&taken, name, &why)) {
		complain_error(&why);
	} else if (!host_open(h, &view)) {
		status = serve(h, &taken, &view, until);
		skep_name_end(&taken);
		if (status < 0) {
			complain("a client's call does not end: leaving it");
			_exit(EXIT_OK);
		}
		host_close(h);
	}
	skep_name_end(&taken);
	skep_start_end(&view);
	close(until);
	return status;
}

int cmd_serve(int argc, char **argv)
{
	struct host host = {.nports = 0};
	bool view = true, list = false, json = false;
	int o, err;

	while ((o = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (o) {
		case O_NO_VIEW:
			view = false;
			break;
		case O_LIST:
			list = true;
			break;
		case O_JSON:
			json = true;
			break;
		case 'h':
			fputs(usage, stdout);
			fputs(help, stdout);
			return EXIT_OK;
		default:
			err = host_option(&host, o, optarg);
			if (!err)
				break;
			if (err == -E2BIG)
				return misuse(usage, "too many ports");
			fputs(usage, stderr);
			return EXIT_USAGE;
		}
	}
	if (list && (optind < argc || !view || host.opts.flags || host.nports))
		return misuse(usage, "--list takes no name and no options but --json");
	if (list)
		return show_all(json);
	if (json)
		return misuse(usage, "--json is for --list");
	if (optind + 1 != argc)
		return misuse(usage, optind == argc ? "no name" : "one name only");
	return run(&host, argv[optind], view);
}
