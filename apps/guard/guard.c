/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard: DDoS mitigation, in the wire between two interfaces or over a capture.
 * The program is guard.bpf.c, embedded; this side sets its limits and lists,
 * stands in the wire and reports.
 */
#include "bpf/uapi.h" /* before libbpf, which would take the installed one */

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/types.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "guard.h"
#include "client/libbpf.h"
#include "client/object.h"
#include "net/capture.h"
#include "net/port.h"
#include "net/wire.h"
#include "skep.h"

extern const char skep_bpf_object_guard[], skep_bpf_object_guard_end[];

static const char usage[] =
	"Usage: guard [options] --iface A --bridge B     stand in the wire between A and B\n"
	"       guard [options] --capture IN.pcap        judge the packets of a capture\n"
	"\n"
	"Packets that enter at A and are over a limit are dropped; the others leave at B,\n"
	"and what enters at B leaves at A. A source is an IPv4 or IPv6 address.\n"
	"\n"
	"  --pps N          packets per second and source (10000), 0: no limit\n"
	"  --burst N        packets that a source may send at once (20000)\n"
	"  --syn N          new TCP connections per second and source (50), 0: no limit\n"
	"  --syn-burst N    new connections that a source may open at once (100)\n"
	"  --flood N        SYNs per second from all sources together that switch the\n"
	"                   flood rule on: unknown sources must send their SYN twice (1000)\n"
	"  --allow CIDR     never limit these sources; may be given more than once\n"
	"  --deny CIDR      always drop these; may be given more than once. If a source is on\n"
	"                   both lists it is allowed\n"
	"  --write OUT.pcap with --capture: write what passed\n"
	"  --packet-clock   with --capture: time is the capture's, not that of the replay\n"
	"  --for SECONDS    with --iface: stop after this time (else at Ctrl-C)\n"
	"  --top N          sources to list at the end (10)\n"
	"  --json           the report as one JSON object\n"
	"  --help\n"
	"\n"
	"Exit status: 0 done, 1 something failed, 2 wrong usage.\n";

struct options {
	struct guard_limits limits;
	struct guard_prefix *lists[2]; /* allow, deny */
	size_t nlist[2];
	const char *iface, *bridge, *capture, *write;
	uint64_t seconds;
	unsigned top;
	bool json, packet_clock;
};

struct guard {
	struct skep *skep;
	struct bpf_object *obj;
	struct skep_runner *runner;
	int sources, counts;
};

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	stop = sig;
}

__attribute__((format(printf, 1, 2))) static int complain(const char *fmt, ...)
{
	va_list ap;

	fputs("guard: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return 1;
}

/* ---- Arguments ---- */

static int parse_number(const char *text, uint64_t max, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	return errno || end == text || *end || text[0] == '-' || *out > max ? -1 : 0;
}

/* "10.1.0.0/16", "2001:db8::/32", or an address alone. */
static int parse_prefix(const char *text, struct guard_prefix *out)
{
	char addr[INET6_ADDRSTRLEN + 1];
	const char *slash = strchr(text, '/');
	size_t n = slash ? (size_t)(slash - text) : strlen(text);
	uint64_t bits;

	if (n >= sizeof(addr))
		return -1;
	memcpy(addr, text, n);
	addr[n] = 0;
	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, addr, &out->addr.b[12]) == 1) {
		out->addr.b[10] = out->addr.b[11] = 0xff;
		bits = 32;
		if (slash && parse_number(slash + 1, 32, &bits))
			return -1;
		out->bits = 96 + (uint32_t)bits;
		return 0;
	}
	bits = 128;
	if (inet_pton(AF_INET6, addr, out->addr.b) != 1 ||
	    (slash && parse_number(slash + 1, 128, &bits)))
		return -1;
	out->bits = (uint32_t)bits;
	return 0;
}

static int add_prefix(struct options *o, int list, const char *text)
{
	struct guard_prefix *more =
		realloc(o->lists[list], (o->nlist[list] + 1) * sizeof(*o->lists[list]));

	if (!more)
		return -1;
	o->lists[list] = more;
	return parse_prefix(text, &more[o->nlist[list]++]);
}

enum {
	OPT_NUMBER = 256,
	OPT_ALLOW,
	OPT_DENY,
	OPT_IFACE,
	OPT_BRIDGE,
	OPT_CAPTURE,
	OPT_WRITE,
	OPT_FOR,
	OPT_TOP,
	OPT_JSON,
	OPT_CLOCK,
	OPT_HELP
};

static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option names[] = {
		{"pps", 1, NULL, OPT_NUMBER},
		{"burst", 1, NULL, OPT_NUMBER},
		{"syn", 1, NULL, OPT_NUMBER},
		{"syn-burst", 1, NULL, OPT_NUMBER},
		{"flood", 1, NULL, OPT_NUMBER},
		{"allow", 1, NULL, OPT_ALLOW},
		{"deny", 1, NULL, OPT_DENY},
		{"iface", 1, NULL, OPT_IFACE},
		{"bridge", 1, NULL, OPT_BRIDGE},
		{"capture", 1, NULL, OPT_CAPTURE},
		{"write", 1, NULL, OPT_WRITE},
		{"for", 1, NULL, OPT_FOR},
		{"top", 1, NULL, OPT_TOP},
		{"json", 0, NULL, OPT_JSON},
		{"packet-clock", 0, NULL, OPT_CLOCK},
		{"help", 0, NULL, OPT_HELP},
		{NULL, 0, NULL, 0},
	};
	/* Numbers in the order of their names above. */
	__u64 *numbers[] = {&o->limits.pps, &o->limits.burst, &o->limits.syn_pps,
			    &o->limits.syn_burst, &o->limits.flood_pps};
	int c, at;
	uint64_t v;

	while ((c = getopt_long(argc, argv, "", names, &at)) != -1) {
		switch (c) {
		case OPT_NUMBER:
			if (parse_number(optarg, 1000000000, &v))
				return complain("--%s takes a number up to 1000000000",
						names[at].name),
				       -1;
			*numbers[at] = v;
			break;
		case OPT_ALLOW:
		case OPT_DENY:
			if (add_prefix(o, c - OPT_ALLOW, optarg))
				return complain("'%s' is no address or prefix", optarg), -1;
			break;
		case OPT_IFACE:
			o->iface = optarg;
			break;
		case OPT_BRIDGE:
			o->bridge = optarg;
			break;
		case OPT_CAPTURE:
			o->capture = optarg;
			break;
		case OPT_WRITE:
			o->write = optarg;
			break;
		case OPT_JSON:
			o->json = true;
			break;
		case OPT_CLOCK:
			o->packet_clock = true;
			break;
		case OPT_FOR:
			if (optarg[0] && optarg[strlen(optarg) - 1] == 's')
				optarg[strlen(optarg) - 1] = 0;
			if (parse_number(optarg, 1u << 30, &o->seconds))
				return complain("--for takes seconds"), -1;
			break;
		case OPT_TOP:
			if (parse_number(optarg, 65536, &v))
				return complain("--top takes a number up to 65536"), -1;
			o->top = (unsigned)v;
			break;
		case OPT_HELP:
			fputs(usage, stdout);
			exit(0);
		default:
			return -1;
		}
	}
	if (optind < argc)
		return complain("unexpected '%s'", argv[optind]), -1;
	if (!o->capture == !(o->iface && o->bridge) || !o->iface != !o->bridge)
		return complain("give either --capture, or --iface and --bridge"), -1;
	if (!o->capture && (o->write || o->packet_clock))
		return complain("--write and --packet-clock go with --capture"), -1;
	return 0;
}

/* ---- The program ---- */

/* The address of a global variable's initial value in the object. */
static void *initial(struct bpf_object *obj, const char *map, const char *var, size_t size)
{
	struct bpf_map *m = bpf_object__find_map_by_name(obj, map);
	const struct btf *btf = bpf_object__btf(obj);
	int id = btf__find_by_name_kind(btf, map, BTF_KIND_DATASEC);
	size_t len = 0;
	char *data = m ? (char *)(uintptr_t)bpf_map__initial_value(m, &len) : NULL;

	if (id < 0 || !data)
		return NULL;
	const struct btf_type *sec = btf__type_by_id(btf, (__u32)id);
	const struct btf_var_secinfo *vars = btf_var_secinfos(sec);

	for (int i = 0; i < btf_vlen(sec); i++) {
		const struct btf_type *t = btf__type_by_id(btf, vars[i].type);

		if (!strcmp(btf__name_by_offset(btf, t->name_off), var) && vars[i].size == size &&
		    vars[i].offset + size <= len)
			return data + vars[i].offset;
	}
	return NULL;
}

static int fill_list(struct guard *g, const char *name, const struct guard_prefix *list, size_t n)
{
	int fd = bpf_object__find_map_fd_by_name(g->obj, name);
	__u64 one = 1;

	for (size_t i = 0; i < n; i++)
		if (bpf_map_update_elem(fd, &list[i], &one, BPF_ANY))
			return complain("%s list: %s", name, strerror(errno));
	return 0;
}

static int load(struct guard *g, const struct options *o)
{
	struct skep_opts opts = {.sz = sizeof(opts)};
	struct skep_error why = {0};
	struct guard_limits *limits;
	struct bpf_program *prog;
	int err = skep_open(&g->skep, &opts);

	if (err)
		return complain("no instance: %s", strerror(-err));
	skep_client_enter(g->skep);
	err = skep_client_open(&g->obj, skep_bpf_object_guard,
			       (uintptr_t)skep_bpf_object_guard_end -
				       (uintptr_t)skep_bpf_object_guard,
			       "guard", &why);
	if (err)
		return complain("%s", why.what);
	limits = initial(g->obj, ".rodata", "limits", sizeof(*limits));
	if (!limits)
		return complain("the embedded program has no limits");
	*limits = o->limits;
	err = bpf_object__load(g->obj);
	prog = bpf_object__find_program_by_name(g->obj, "guard");
	if (err || !prog)
		return complain("the program was not loaded: %s", strerror(-err));
	g->sources = bpf_object__find_map_fd_by_name(g->obj, "sources");
	g->counts = bpf_object__find_map_fd_by_name(g->obj, "counts");
	if (fill_list(g, "allow", o->lists[0], o->nlist[0]) ||
	    fill_list(g, "deny", o->lists[1], o->nlist[1]))
		return 1;
	err = skep_runner_open(&g->runner, g->skep, bpf_program__fd(prog));
	return err ? complain("can't run the program: %s", strerror(-err)) : 0;
}

static void unload(struct guard *g)
{
	skep_runner_close(g->runner);
	bpf_object__close(g->obj);
	skep_client_leave(NULL);
	skep_close(g->skep);
}

/* ---- Report ---- */

static const struct {
	const char *name, *text;
} reasons[GUARD_REASONS] = {
	[GUARD_PASSED] = {"passed", "passed"},
	[GUARD_ALLOWED] = {"allowed", "passed, on the allow list"},
	[GUARD_NOT_IP] = {"not_ip", "passed, not IP"},
	[GUARD_DENIED] = {"denied", "dropped, on the deny list"},
	[GUARD_RATE] = {"rate", "dropped, over the packet rate"},
	[GUARD_SYN_RATE] = {"syn_rate", "dropped, over the SYN rate"},
	[GUARD_SYN_FLOOD] = {"syn_flood", "dropped, SYN flood: unproven source"},
	[GUARD_MALFORMED] = {"malformed", "dropped, malformed"},
};

struct entry {
	struct guard_addr addr;
	struct guard_source src;
};

static int by_packets(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return x->src.packets < y->src.packets ? 1 : x->src.packets > y->src.packets ? -1 : 0;
}

static const char *address(const struct guard_addr *a, char *text)
{
	static const __u8 v4[12] = {[10] = 0xff, [11] = 0xff};
	bool is4 = !memcmp(a->b, v4, sizeof(v4));

	return inet_ntop(is4 ? AF_INET : AF_INET6, is4 ? &a->b[12] : a->b, text, INET6_ADDRSTRLEN);
}

static struct entry *read_sources(const struct guard *g, size_t *n)
{
	struct entry *all = NULL;
	struct guard_addr key, *prev = NULL;
	size_t cap = 0;

	*n = 0;
	while (!bpf_map_get_next_key(g->sources, prev, &key)) {
		if (*n == cap) {
			struct entry *more =
				realloc(all, (cap = cap ? cap * 2 : 256) * sizeof(*all));

			if (!more)
				break;
			all = more;
		}
		all[*n].addr = key;
		if (!bpf_map_lookup_elem(g->sources, &key, &all[*n].src))
			++*n;
		prev = &key;
	}
	if (all)
		qsort(all, *n, sizeof(*all), by_packets);
	return all;
}

static void read_counts(const struct guard *g, struct guard_count *out)
{
	int cpus = libbpf_num_possible_cpus();
	struct guard_count *v = cpus > 0 ? calloc((size_t)cpus, sizeof(*v)) : NULL;

	memset(out, 0, GUARD_REASONS * sizeof(*out));
	for (__u32 r = 0; v && r < GUARD_REASONS; r++) {
		if (bpf_map_lookup_elem(g->counts, &r, v))
			continue;
		for (int c = 0; c < cpus; c++) {
			out[r].packets += v[c].packets;
			out[r].bytes += v[c].bytes;
		}
	}
	free(v);
}

static void report_text(const struct guard_count *c, const struct entry *e, size_t n, unsigned top,
			double seconds, double ns)
{
	char text[INET6_ADDRSTRLEN];
	uint64_t total = 0;

	printf("  %12s %14s\n", "packets", "bytes");
	for (int r = 0; r < GUARD_REASONS; r++) {
		total += c[r].packets;
		if (c[r].packets)
			printf("  %12llu %14llu  %s\n", c[r].packets, c[r].bytes, reasons[r].text);
	}
	printf("  %12" PRIu64 " packets in %.2f s: %.0f packets/s, %.0f ns each in the program\n",
	       total, seconds, seconds > 0 ? (double)total / seconds : 0, ns);
	printf("\n  %zu sources; the busiest:\n  %-40s %10s %12s %10s\n", n, "source", "packets",
	       "bytes", "dropped");
	for (size_t i = 0; i < n && i < top; i++)
		printf("  %-40s %10llu %12llu %10llu\n", address(&e[i].addr, text),
		       e[i].src.packets, e[i].src.bytes, e[i].src.dropped);
}

static void report_json(const struct guard_count *c, const struct entry *e, size_t n, unsigned top,
			double seconds, double ns)
{
	char text[INET6_ADDRSTRLEN];

	printf("{\"seconds\": %.3f, \"ns_per_packet\": %.1f, \"reasons\": {", seconds, ns);
	for (int r = 0; r < GUARD_REASONS; r++)
		printf("%s\"%s\": {\"packets\": %llu, \"bytes\": %llu}", r ? ", " : "",
		       reasons[r].name, c[r].packets, c[r].bytes);
	printf("}, \"sources\": %zu, \"top\": [", n);
	for (size_t i = 0; i < n && i < top; i++)
		printf("%s{\"source\": \"%s\", \"packets\": %llu, \"bytes\": %llu, \"dropped\": "
		       "%llu}",
		       i ? ", " : "", address(&e[i].addr, text), e[i].src.packets, e[i].src.bytes,
		       e[i].src.dropped);
	printf("]}\n");
}

static void report(const struct guard *g, const struct options *o, uint64_t packets,
		   uint64_t run_ns, uint64_t ns)
{
	struct guard_count counts[GUARD_REASONS];
	size_t n;
	struct entry *e = read_sources(g, &n);

	read_counts(g, counts);
	(o->json ? report_json : report_text)(counts, e, n, o->top, (double)ns / 1e9,
					      packets ? (double)run_ns / (double)packets : 0);
	free(e);
}

/* ---- In the wire ---- */

static void tick(void *arg, const struct skep_wire_stats *s)
{
	const struct options *o = arg;

	if (!o->json)
		fprintf(stderr,
			"%4.0f s  in %" PRIu64 "  passed %" PRIu64 "  dropped %" PRIu64
			"  back %" PRIu64 "\n",
			(double)s->ns / 1e9, s->a.rx_frames, s->passed, s->dropped, s->backwards);
}

static int run_wire(struct guard *g, const struct options *o)
{
	struct skep_wire w = {
		.runner = g->runner,
		.prog_type = BPF_PROG_TYPE_XDP,
		.duration_ns = o->seconds * 1000000000ull,
		.stop = &stop,
		.tick = tick,
		.tick_arg = (void *)(uintptr_t)o,
	};
	struct skep_wire_stats stats = {0};
	char why[256] = "";
	int err;

	if (skep_port_check_free(o->iface, why, sizeof(why)) ||
	    skep_port_check_free(o->bridge, why, sizeof(why)))
		return complain("%s", why);
	if (skep_port_open(&w.a, o->iface, why, sizeof(why)))
		return complain("%s", why);
	if (skep_port_open(&w.b, o->bridge, why, sizeof(why))) {
		skep_port_close(w.a);
		return complain("%s", why);
	}
	err = skep_wire_run(&w, &stats);
	skep_port_close(w.a);
	skep_port_close(w.b);
	if (err)
		complain("the wire broke: %s", strerror(-err));
	report(g, o, stats.a.rx_frames, stats.run_ns, stats.ns);
	return err != 0;
}

/* ---- Over a capture ---- */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void judge_capture(struct guard *g, const struct options *o, struct skep_capture_slots *s,
			  struct skep_capture_writer *out)
{
	const struct skep_capture *c = s->capture;
	uint64_t at = 0, run_ns = 0, start;
	uint32_t n;

	while (!stop &&
	       (n = skep_capture_slots_fill(s, at, o->packet_clock ? SKEP_PACKET_CLOCK : 0)) > 0) {
		start = now_ns();
		skep_run_packets(g->runner, s->packets, n);
		run_ns += now_ns() - start;
		for (uint32_t i = 0; out && i < n; i++) {
			const struct skep_packet *p = &s->packets[i];

			if (p->verdict == XDP_PASS)
				skep_capture_write(out, p->buf + p->off, p->len,
						   c->packets[at + i].wire_len,
						   c->packets[at + i].ns);
		}
		at += n;
	}
	report(g, o, at, run_ns, run_ns);
}

static int run_capture(struct guard *g, const struct options *o)
{
	struct skep_capture c = {0};
	struct skep_capture_writer *out = NULL;
	struct skep_error why = {0};
	struct skep_capture_slots slots = {0};
	int err = 0;

	if (skep_capture_read(&c, o->capture, &why) ||
	    (o->write && skep_capture_create(&out, o->write, &why))) {
		err = complain("%s %s", why.what, why.next);
		goto out;
	}
	if (c.damaged)
		err = complain("%s", why.what);
	if (skep_capture_slots_open(&slots, &c))
		err = complain("no memory");
	else
		judge_capture(g, o, &slots, out);
	if (skep_capture_close(out))
		err = complain("%s: not all could be written", o->write);
out:
	skep_capture_slots_close(&slots);
	skep_capture_free(&c);
	return err;
}

int main(int argc, char **argv)
{
	struct options o = {
		.limits = {.pps = 10000,
			   .burst = 20000,
			   .syn_pps = 50,
			   .syn_burst = 100,
			   .flood_pps = 1000,
			   .retry_ns = 500000000},
		.top = 10,
	};
	struct sigaction sa = {.sa_handler = on_signal};
	struct guard g = {0};
	int err = 2;

	if (parse_options(argc, argv, &o)) {
		fputs("Try 'guard --help'.\n", stderr);
		goto out;
	}
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	err = load(&g, &o);
	if (!err)
		err = o.capture ? run_capture(&g, &o) : run_wire(&g, &o);
	unload(&g);
out:
	free(o.lists[0]);
	free(o.lists[1]);
	return err;
}
