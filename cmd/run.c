/* SPDX-License-Identifier: Apache-2.0 */
/*
 * skep run: packets through a program, from a capture or from interfaces.
 */
#include "cmd.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "live.h"
#include "maps.h"
#include "net/capture.h"
#include "net/verdict.h"
#include "out.h"
#include "outcome.h"
#include "replay.h"
#include "tracepipe.h"

static const char usage[] = "usage: skep run PROG.{bpf.c,o} --capture IN.pcap [OPTIONS]\n"
			    "       skep run PROG.{bpf.c,o} --iface A [--bridge B] [OPTIONS]\n";

static const char help[] =
	"\nSends packets through a program (XDP, tc, socket filter, cgroup_skb: by its section's\n"
	"name), then shows the verdicts, the speed and the maps.\n"
	"\n"
	"Packets of a file:\n"
	"  -c, --capture FILE    pcap or pcapng, Ethernet\n"
	"  -w, --write FILE      write what passed, as modified, with original time stamps\n"
	"  -n, --repeat N        send the capture N times\n"
	"\n"
	"Packets of interfaces (needs CAP_NET_RAW), until Ctrl-C:\n"
	"  -i, --iface A         alone: watch what comes in at A. Verdicts are counted and\n"
	"                        nothing is held back (--runtime kernel: the program is\n"
	"                        attached to A, and its verdicts count)\n"
	"  -b, --bridge B        stand in the wire between A and B: what passes on A goes out\n"
	"                        of B, what is dropped is gone; from B to A everything passes\n"
	"  -t, --for TIME        stop after 10s, 500ms, 2m\n"
	"\n"
	"  -p, --prog NAME       this program of the object (default: the first that takes\n"
	"                        packets)\n"
	"  -m, --map NAME        show only this map, and all of it; may be repeated\n"
	"      --json            one JSON object instead of text\n" SESSION_HELP "\n"
	"Exit status: 0 done, 1 refused or failed, 2 wrong usage.\n";

#define MAX_NAMED 32

struct run {
	struct session s;
	const char *capture, *write;
	const char *iface, *bridge;
	uint64_t repeat, duration_ns;
	bool repeat_given;
	const char *maps[MAX_NAMED + 1]; /* --map; NULL-terminated */
	uint32_t nmaps;
	bool json;
	struct progress progress;
	struct records *records;
	struct tracepipe *trace;
	struct live live;
	struct live_stats last; /* of the line before */
	const struct bpf_program *wrap;
	struct bpf_insn *wrapped;
	struct bpf_func_info *wrapped_funcs;
};

enum { O_JSON = 256 };

static const struct option options[] = {
	{"capture", required_argument, NULL, 'c'},
	{"write", required_argument, NULL, 'w'},
	{"repeat", required_argument, NULL, 'n'},
	{"iface", required_argument, NULL, 'i'},
	{"bridge", required_argument, NULL, 'b'},
	{"for", required_argument, NULL, 't'},
	{"map", required_argument, NULL, 'm'},
	{"json", no_argument, NULL, O_JSON},
	SESSION_OPTIONS,
};

/* Where packets come from, and that no option is for another source. */
static int parse_source(const struct run *r)
{
	if (!r->capture && !r->iface)
		return misuse(usage, "which packets? Pass --capture FILE or --iface NAME.");
	if (r->capture && r->iface)
		return misuse(usage, "--capture or --iface, not both");
	if (r->capture && (r->bridge || r->duration_ns))
		return misuse(usage, "%s goes with --iface", r->bridge ? "--bridge" : "--for");
	if (r->iface && (r->write || r->repeat_given))
		return misuse(usage, "%s goes with --capture", r->write ? "--write" : "--repeat");
	if (r->write && !strcmp(r->write, r->capture))
		return misuse(usage, "--write would overwrite the capture that is read");
	return -1;
}

/* -1: go on; otherwise the exit status. */
static int parse(struct run *r, int argc, char **argv)
{
	int status = session_environment(&r->s, usage), c;

	r->repeat = 1;
	while (status < 0 && (c = getopt_long(argc, argv, SESSION_LETTERS "c:w:n:m:i:b:t:", options,
					      NULL)) != -1) {
		switch (c) {
		case 'c':
			r->capture = optarg;
			break;
		case 'w':
			r->write = optarg;
			break;
		case 'n':
			if (parse_number(optarg, 1, 1000000000, &r->repeat))
				return misuse(usage, "--repeat wants a number from 1, not \"%s\"",
					      optarg);
			r->repeat_given = true;
			break;
		case 'i':
			r->iface = optarg;
			break;
		case 'b':
			r->bridge = optarg;
			break;
		case 't':
			if (parse_duration(optarg, &r->duration_ns))
				return misuse(usage, "--for wants a time such as 10s, not \"%s\"",
					      optarg);
			break;
		case 'm':
			if (r->nmaps == MAX_NAMED)
				return misuse(usage, "--map: at most %d maps", MAX_NAMED);
			r->maps[r->nmaps++] = optarg;
			break;
		case O_JSON:
			r->json = true;
			break;
		default:
			status = session_option(&r->s, c, usage, help);
		}
	}
	if (status < 0)
		status = session_file(&r->s, argc, argv, usage);
	if (status >= 0)
		return status;
	return parse_source(r);
}

/* ---- Choosing the program ---- */

static bool has_prog_array(struct bpf_object *obj)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj) if (bpf_map__type(map) ==
					       BPF_MAP_TYPE_PROG_ARRAY) return true;
	return false;
}

/* Index of the program to run, or -ENOENT with the complaint made. */
static int choose(struct run *r)
{
	int found = -1;

	for (uint32_t i = 0; i < r->s.nverdicts; i++) {
		const struct verdict *v = &r->s.verdicts[i];
		enum bpf_prog_type type = bpf_program__type(session_program(&r->s, i));

		if (r->s.prog && strcmp(v->name, r->s.prog) != 0)
			continue;
		if (takes_packets(type)) {
			found = (int)i;
			break;
		}
		if (r->s.prog) {
			complain("%s: program %s takes no packets (section \"%s\")", r->s.path,
				 v->name, v->section);
			fputs("      Sections for packets: \"xdp\", \"tc\", \"socket\", "
			      "\"cgroup_skb/ingress\".\n",
			      stderr);
			return -ENOENT;
		}
	}
	if (found >= 0)
		return found;
	if (r->s.prog)
		complain("%s: there is no program named \"%s\"", r->s.path, r->s.prog);
	else
		complain("%s: none of its programs takes packets", r->s.path);
	fputs("      It holds:", stderr);
	for (uint32_t i = 0; i < r->s.nverdicts; i++)
		fprintf(stderr, " %s (section \"%s\")", r->s.verdicts[i].name,
			r->s.verdicts[i].section);
	fputs("\n", stderr);
	return -ENOENT;
}

/* Others of its type are loaded only if it could call them. */
static int load(struct run *r, int chosen)
{
	struct bpf_program *prog = session_program(&r->s, (uint32_t)chosen), *p;
	bool others = has_prog_array(r->s.obj);
	bool told = false;
	char why[1024];
	int err;

	bpf_object__for_each_program(p, r->s.obj) bpf_program__set_autoload(
		p, p == prog || (others && bpf_program__type(p) == bpf_program__type(prog)));
	err = session_load(&r->s);
	if (!err)
		return 0;
	for (uint32_t i = 0; i < r->s.nverdicts; i++) {
		const struct verdict *v = &r->s.verdicts[i];

		if (!v->tried || v->accepted)
			continue;
		complain("program %s is refused:", v->name);
		print_refusal(stderr, &r->s, v, color_on(stderr));
		fprintf(stderr, "      `skep check %s%s` shows more.\n", r->s.path,
			r->s.kernel ? " --runtime kernel" : "");
		told = true;
	}
	if (!told) {
		session_warnings(why, sizeof(why), err);
		complain("%s can't be loaded: %s", r->s.path, why);
	}
	return err;
}

/* Asked for before anything runs, so that a wrong name costs no run. */
static int check_maps(const struct run *r)
{
	struct bpf_map *map;

	for (uint32_t i = 0; i < r->nmaps; i++) {
		if (maps_has(r->s.obj, r->maps[i]))
			continue;
		complain("%s: there is no map named \"%s\"", r->s.path, r->maps[i]);
		fputs(bpf_object__next_map(r->s.obj, NULL) ? "      It holds:"
							   : "      It holds none.",
		      stderr);
		bpf_object__for_each_map(map, r->s.obj) fprintf(stderr, " %s", map_name(map));
		fputs("\n", stderr);
		return -ENOENT;
	}
	return 0;
}

static void on_tick(void *arg, uint64_t done, uint64_t total)
{
	struct run *r = arg;

	records_take(r->records);
	tracepipe_take(r->trace);
	progress_step(&r->progress, done, total);
}

/* bpf_printk goes where it does not mix with JSON. */
static void on_printk(void *arg, const char *text, size_t len)
{
	struct run *r = arg;
	FILE *f = r->json ? stderr : stdout;

	fwrite(text, 1, len, f);
	if (!len || text[len - 1] != '\n')
		fputc('\n', f);
}

/* ---- Running ---- */

static int start_readers(struct run *r)
{
	int e = records_open(&r->records, r->s.obj);

	if (e) {
		complain("the ring buffers can't be mapped: %s", strerror(-e));
		return e;
	}
	if (r->s.kernel && tracepipe_wanted(r->s.obj)) {
		e = tracepipe_open(&r->trace, false, on_printk, r);
		if (e)
			complain("bpf_printk is not shown: the kernel's trace can't be read: %s",
				 strerror(-e));
	}
	return 0;
}

static struct outcome outcome_of(const struct run *r, int chosen)
{
	struct outcome o = {.s = &r->s,
			    .prog = &r->s.verdicts[chosen],
			    .source = r->capture ? r->capture : r->iface,
			    .write = r->write,
			    .bridge = r->bridge,
			    .maps = {.names = r->nmaps ? r->maps : NULL,
				     .records = r->records,
				     .color = !r->json && color_on(stdout)}};

	o.rows = skep_verdicts(bpf_program__type(o.prog->prog), &o.nrows);
	return o;
}

static int replay(struct run *r, int chosen, const struct skep_capture *cap)
{
	struct bpf_program *prog = session_program(&r->s, (uint32_t)chosen);
	struct replay rp = {.skep = r->s.skep,
			    .prog_fd = bpf_program__fd(prog),
			    .type = bpf_program__type(prog),
			    .capture = cap,
			    .repeat = r->repeat,
			    .tick = on_tick,
			    .tick_arg = r};
	struct skep_error err = {{0}, {0}};
	struct outcome o;
	int e, status = EXIT_OK;

	if (r->write && skep_capture_create(&rp.writer, r->write, &err)) {
		complain_error(&err);
		return EXIT_REFUSED;
	}
	progress_start(&r->progress, !r->json);
	e = replay_run(&rp);
	progress_end(&r->progress);
	if (skep_capture_close(rp.writer)) {
		complain("%s can't be written", r->write);
		status = EXIT_REFUSED;
	}
	if (e) {
		complain("the run stopped after %llu packets: %s", (unsigned long long)rp.packets,
			 strerror(-e));
		return EXIT_REFUSED;
	}
	o = outcome_of(r, chosen);
	o.verdicts = rp.verdicts;
	o.packets = rp.packets;
	o.bytes = rp.bytes;
	o.skipped = rp.skipped;
	o.in_program = rp.prog_ns != 0;
	if (rp.packets)
		o.ns_per_packet =
			(double)(rp.prog_ns ? rp.prog_ns : rp.wall_ns) / (double)rp.packets;
	o.seconds = (double)rp.wall_ns / 1e9;
	o.read_ns = cap->read_ns;
	o.written = rp.passed;
	(r->json ? outcome_json : outcome_text)(&o);
	return status;
}

/* The line of each second: rates since the one before. */
static void on_second(void *arg, const struct live_stats *s)
{
	struct run *r = arg;
	double sec = (double)(s->ns - r->last.ns) / 1e9;

	if (!r->json)
		fprintf(stderr, "%5.0f s  %8s packets/s in, %8s passed, %8s dropped\n",
			(double)s->ns / 1e9,
			show_rate((double)(s->frames - r->last.frames) / sec).s,
			show_rate((double)(s->passed - r->last.passed + s->returned -
					   r->last.returned + s->redirected - r->last.redirected) /
				  sec)
				.s,
			show_rate((double)(s->dropped - r->last.dropped) / sec).s);
	r->last = *s;
}

static void on_idle(void *arg)
{
	struct run *r = arg;

	records_take(r->records);
	tracepipe_take(r->trace);
}

static int transform(void *arg, const struct verdict *v, union bpf_attr *attr)
{
	struct run *r = arg;

	if (v->prog != r->wrap)
		return 0;
	free(r->wrapped);
	free(r->wrapped_funcs);
	return live_wrap(&r->live, attr, &r->wrapped, &r->wrapped_funcs);
}

static int live(struct run *r, int chosen)
{
	struct skep_error err = {{0}, {0}};
	struct live_stats stats;
	struct outcome o;
	int e;

	r->live.prog_fd = bpf_program__fd(session_program(&r->s, (uint32_t)chosen));
	if (!r->json) {
		if (r->bridge)
			fprintf(stderr, "In the wire between %s and %s", r->iface, r->bridge);
		else if (r->s.kernel)
			fprintf(stderr, "Attached to %s: what the program drops is gone", r->iface);
		else
			fprintf(stderr, "Watching %s: nothing is held back", r->iface);
		fprintf(stderr, "; Ctrl-C ends it.\n");
	}
	e = live_run(&r->live, &stats, &err);
	on_idle(r);
	if (e)
		complain_error(&err);
	o = outcome_of(r, chosen);
	o.live = &stats;
	o.verdicts = stats.verdicts;
	o.packets = stats.frames;
	o.bytes = stats.bytes;
	o.seconds = (double)stats.ns / 1e9;
	if (stats.frames)
		o.ns_per_packet = (double)stats.run_ns / (double)stats.frames;
	if (!e || stats.frames)
		(r->json ? outcome_json : outcome_text)(&o);
	return e ? EXIT_REFUSED : EXIT_OK;
}

/* Interfaces are checked, and the kernel's maps made, before the program is loaded. */
static int prepare_live(struct run *r, int chosen)
{
	struct bpf_program *prog = session_program(&r->s, (uint32_t)chosen);
	struct skep_error err = {{0}, {0}};
	int e;

	r->live = (struct live){.skep = r->s.skep,
				.type = bpf_program__type(prog),
				.iface = r->iface,
				.bridge = r->bridge,
				.duration_ns = r->duration_ns,
				.tick = on_second,
				.idle = on_idle,
				.arg = r};
	e = live_check(&r->live, &err);
	if (!e && r->s.kernel) {
		e = live_prepare_kernel(&r->live, &err);
		r->wrap = prog;
		r->s.transform = transform;
		r->s.transform_arg = r;
	}
	if (e)
		complain_error(&err);
	return e;
}

int cmd_run(int argc, char **argv)
{
	struct run r = {.repeat = 1};
	struct skep_error err = {{0}, {0}};
	struct skep_capture cap = {0};
	int status, chosen;

	status = parse(&r, argc, argv);
	if (status >= 0)
		return status;
	r.s.printk = on_printk;
	r.s.printk_arg = &r;
	if (r.capture && skep_capture_read(&cap, r.capture, &err)) {
		complain_error(&err);
		return EXIT_REFUSED;
	}
	if (cap.damaged)
		complain_error(&err);
	status = EXIT_REFUSED;
	if (!session_open(&r.s)) {
		chosen = choose(&r);
		if (chosen >= 0 && !check_maps(&r) && !(r.iface && prepare_live(&r, chosen)) &&
		    !load(&r, chosen) && !start_readers(&r))
			status = r.iface ? live(&r, chosen) : replay(&r, chosen, &cap);
		if (cap.damaged && status == EXIT_OK)
			status = EXIT_REFUSED;
	}
	records_close(r.records);
	tracepipe_close(r.trace);
	live_close(&r.live);
	free(r.wrapped);
	free(r.wrapped_funcs);
	session_close(&r.s);
	skep_capture_free(&cap);
	return status;
}
