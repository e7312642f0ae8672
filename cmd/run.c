/* SPDX-License-Identifier: Apache-2.0 */
/*
 * skep run: packets of a capture through a program.
 */
#include "cmd.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/capture.h"
#include "maps.h"
#include "net/verdict.h"
#include "out.h"
#include "replay.h"
#include "tracepipe.h"

static const char usage[] = "usage: skep run PROG.{bpf.c,o} --capture IN.pcap [OPTIONS]\n";

static const char help[] =
	"\nSends every packet of a capture through a program (XDP, tc, socket filter, cgroup_skb:\n"
	"by its section's name), then shows the verdicts, the speed and the maps.\n"
	"\n"
	"  -c, --capture FILE    packets: pcap or pcapng, Ethernet\n"
	"  -w, --write FILE      write what passed, as modified, with original time stamps\n"
	"  -p, --prog NAME       this program of the object (default: the first that takes "
	"packets)\n"
	"  -n, --repeat N        send the capture N times\n"
	"  -m, --map NAME        show only this map, and all of it; may be repeated\n"
	"      --json            one JSON object instead of text\n"
	"      --runtime NAME    user (skep's own, the default) or kernel (Linux's, as root)\n"
	"      --cc NAME         compiler for C source: clang-16, bpf-gcc, a path\n"
	"  -h, --help\n"
	"\n"
	"Exit status: 0 done, 1 refused or failed, 2 wrong usage.\n";

#define MAX_NAMED 32

struct run {
	struct session s;
	const char *capture, *write, *prog;
	uint64_t repeat;
	const char *maps[MAX_NAMED + 1]; /* --map; NULL-terminated */
	uint32_t nmaps;
	bool json;
	struct progress progress;
	struct records *records;
	struct tracepipe *trace;
};

enum { O_JSON = 256, O_RUNTIME, O_CC };

static const struct option options[] = {
	{"capture", required_argument, NULL, 'c'},
	{"write", required_argument, NULL, 'w'},
	{"prog", required_argument, NULL, 'p'},
	{"repeat", required_argument, NULL, 'n'},
	{"map", required_argument, NULL, 'm'},
	{"json", no_argument, NULL, O_JSON},
	{"runtime", required_argument, NULL, O_RUNTIME},
	{"cc", required_argument, NULL, O_CC},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

/* -1: go on; otherwise the exit status. */
static int parse(struct run *r, int argc, char **argv)
{
	int c;

	r->repeat = 1;
	if (session_default(&r->s))
		return misuse(usage, "SKEP_RUNTIME is user or kernel, not \"%s\"",
			      getenv("SKEP_RUNTIME"));
	while ((c = getopt_long(argc, argv, "c:w:p:n:m:h", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			r->capture = optarg;
			break;
		case 'w':
			r->write = optarg;
			break;
		case 'p':
			r->prog = optarg;
			break;
		case 'n':
			if (parse_number(optarg, 1, 1000000000, &r->repeat))
				return misuse(usage, "--repeat wants a number from 1, not \"%s\"",
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
		case O_RUNTIME:
			if (session_runtime(&r->s, optarg))
				return misuse(usage, "--runtime is user or kernel, not \"%s\"",
					      optarg);
			break;
		case O_CC:
			r->s.cc = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			fputs(help, stdout);
			return EXIT_OK;
		default:
			fputs(usage, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind == argc)
		return misuse(usage, "which program? Pass C source or an object file.");
	if (optind + 1 < argc)
		return misuse(usage, "one program at a time: \"%s\" is too much", argv[optind + 1]);
	r->s.path = argv[optind];
	if (!r->capture)
		return misuse(usage, "which packets? Pass --capture FILE.");
	return -1;
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

		if (r->prog && strcmp(v->name, r->prog))
			continue;
		if (takes_packets(type)) {
			found = (int)i;
			break;
		}
		if (r->prog) {
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
	if (r->prog)
		complain("%s: there is no program named \"%s\"", r->s.path, r->prog);
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
	if (!told)
		complain("%s can't be loaded: %s", r->s.path, session_warnings(err));
	return err;
}

/* ---- Results ---- */

static double ns_per_packet(const struct replay *rp)
{
	uint64_t ns = rp->prog_ns ? rp->prog_ns : rp->wall_ns;

	return rp->packets ? (double)ns / (double)rp->packets : 0;
}

static double per_second(const struct replay *rp)
{
	return rp->wall_ns ? (double)rp->packets * 1e9 / (double)rp->wall_ns : 0;
}

static void print_text(const struct run *r, const struct replay *rp, const struct verdict *v)
{
	struct maps_opts maps = {.names = r->nmaps ? r->maps : NULL,
				 .records = r->records,
				 .color = color_on(stdout)};

	printf("%s (%s) on %s packets of %s\n\n", v->name, v->type,
	       show_count(rp->packets + rp->skipped).s, r->capture);
	printf("  %-18s %15s %8s\n", "verdict", "packets", "");
	for (uint32_t i = 0; i < rp->nrows; i++)
		if (rp->verdicts[i])
			printf("  %-18s %15s %6.1f %%\n", rp->rows[i].name,
			       show_count(rp->verdicts[i]).s,
			       (double)rp->verdicts[i] * 100 / (double)rp->packets);
	if (rp->skipped)
		printf("  %-18s %15s   too short or too long for the kernel's test run\n",
		       "not run", show_count(rp->skipped).s);
	printf("\n  %s packets/s, %s ns/packet%s; reading the file took %s\n",
	       show_rate(per_second(rp)).s, show_ns(ns_per_packet(rp)).s,
	       rp->prog_ns ? " in the program" : "", show_time(rp->capture->read_ns).s);
	if (r->write)
		printf("  %s packets written to %s\n", show_count(rp->passed).s, r->write);
	maps_text(stdout, r->s.obj, &maps);
}

static void print_json(const struct run *r, const struct replay *rp, const struct verdict *v)
{
	struct maps_opts maps = {.names = r->nmaps ? r->maps : NULL, .records = r->records};
	struct json j;

	json_begin(&j, stdout);
	json_open(&j, '{');
	json_key(&j, "program");
	json_str(&j, v->name);
	json_key(&j, "type");
	json_str(&j, v->type);
	json_key(&j, "runtime");
	json_str(&j, r->s.kernel ? "kernel" : "user");
	json_key(&j, "packets");
	json_u64(&j, rp->packets);
	json_key(&j, "bytes");
	json_u64(&j, rp->bytes);
	json_key(&j, "skipped");
	json_u64(&j, rp->skipped);
	json_key(&j, "verdicts");
	json_open(&j, '{');
	for (uint32_t i = 0; i < rp->nrows; i++) {
		if (!rp->verdicts[i])
			continue;
		json_key(&j, rp->rows[i].name);
		json_u64(&j, rp->verdicts[i]);
	}
	json_close(&j, '}');
	json_key(&j, "maps");
	maps_json(&j, r->s.obj, &maps);
	json_key(&j, "ns_per_packet");
	json_num(&j, ns_per_packet(rp));
	json_key(&j, "packets_per_second");
	json_num(&j, per_second(rp));
	json_key(&j, "seconds");
	json_num(&j, (double)rp->wall_ns / 1e9);
	json_key(&j, "read_seconds");
	json_num(&j, (double)rp->capture->read_ns / 1e9);
	json_close(&j, '}');
	json_end(&j);
}

/* Asked for before anything runs, so that a wrong name costs no run. */
static int check_maps(const struct run *r)
{
	struct bpf_map *map;

	for (uint32_t i = 0; i < r->nmaps; i++) {
		if (maps_has(r->s.obj, r->maps[i]))
			continue;
		complain("%s: there is no map named \"%s\"", r->s.path, r->maps[i]);
		fputs("      It holds:", stderr);
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
	int e, status = EXIT_OK;

	if (r->write && skep_capture_create(&rp.writer, r->write, &err)) {
		complain_error(&err);
		return EXIT_REFUSED;
	}
	e = records_open(&r->records, r->s.obj);
	if (e) {
		complain("the ring buffers can't be mapped: %s", strerror(-e));
		skep_capture_close(rp.writer);
		records_close(r->records);
		return EXIT_REFUSED;
	}
	if (r->s.kernel && tracepipe_wanted(r->s.obj)) {
		e = tracepipe_open(&r->trace, on_printk, r);
		if (e)
			complain("bpf_printk is not shown: the kernel's trace can't be read: %s",
				 strerror(-e));
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
	(r->json ? print_json : print_text)(r, &rp, &r->s.verdicts[chosen]);
	return status;
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
	if (r.write && !strcmp(r.write, r.capture))
		return misuse(usage, "--write would overwrite the capture that is read");
	status = EXIT_REFUSED;
	r.s.printk = on_printk;
	r.s.printk_arg = &r;
	if (skep_capture_read(&cap, r.capture, &err)) {
		complain_error(&err);
		return EXIT_REFUSED;
	}
	if (cap.damaged)
		complain_error(&err);
	if (!session_open(&r.s)) {
		chosen = choose(&r);
		if (chosen >= 0 && !check_maps(&r) && !load(&r, chosen))
			status = replay(&r, chosen, &cap);
		if (cap.damaged && status == EXIT_OK)
			status = EXIT_REFUSED;
	}
	session_close(&r.s);
	skep_capture_free(&cap);
	return status;
}
