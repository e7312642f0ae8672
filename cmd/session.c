/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "client/elf.h"
#include "client/libbpf.h"
#include "client/object.h"

/* Room for the longest log; pages are used as it grows. */
#define LOG_SIZE (64u << 20)

#define LOG_EXPLAIN 1 /* log levels of PROG_LOAD */
#define LOG_STATS   4

int session_runtime(struct session *s, const char *name)
{
	if (strcmp(name, "user") && strcmp(name, "kernel"))
		return -EINVAL;
	s->kernel = name[0] == 'k';
	return 0;
}

int session_default(struct session *s)
{
	const char *name = getenv("SKEP_RUNTIME");

	return name && name[0] ? session_runtime(s, name) : 0;
}

static char *copy(const char *text)
{
	return text ? strdup(text) : NULL;
}

static void forget_explanation(struct verdict *v)
{
	free(v->what);
	free(v->hint);
	free(v->file);
	free(v->func);
	free(v->text);
	v->what = v->hint = v->file = v->func = v->text = NULL;
	v->line = v->col = v->insn = 0;
}

static void explain(void *arg, const struct skep_explanation *why)
{
	struct session *s = arg;
	struct verdict *v = s->explaining;

	if (!v)
		return;
	forget_explanation(v);
	v->what = copy(why->what);
	v->hint = copy(why->hint);
	v->file = copy(why->file);
	v->func = copy(why->func);
	v->text = copy(why->text);
	v->line = why->line;
	v->col = why->col;
	v->insn = why->insn;
}

/* ---- Opening ---- */

static int open_runtime(struct session *s)
{
	struct skep_opts opts = {.sz = sizeof(opts),
				 .flags = s->flags,
				 .explain = explain,
				 .explain_arg = s,
				 .printk = s->printk,
				 .printk_arg = s->printk_arg};
	union bpf_attr attr;
	int err;

	if (s->kernel) {
		memset(&attr, 0, sizeof(attr));
		err = (int)skep_client_bpf(BPF_PROG_GET_NEXT_ID, &attr, sizeof(attr));
		if (err == -EPERM)
			return skep_fail(
				&s->err, err,
				"Run as root, or leave --runtime kernel out: skep's own runtime "
				"needs no privilege.",
				"the kernel refuses bpf(2) to this user");
		if (err == -ENOSYS)
			return skep_fail(&s->err, err, "Leave --runtime kernel out.",
					 "this kernel has no bpf(2)");
		return 0;
	}
	err = skep_open(&s->skep, &opts);
	if (err)
		return skep_fail(&s->err, err, NULL, "skep's runtime can't be started: %s",
				 strerror(-err));
	skep_client_enter(s->skep);
	return 0;
}

/* "dir/flow.bpf.c" -> "flow": libbpf prefixes the maps of global data with it. */
static void object_name(const char *path, char *name, size_t size)
{
	const char *base = strrchr(path, '/');

	snprintf(name, size, "%s", base ? base + 1 : path);
	name[strcspn(name, ".")] = 0;
	for (char *p = name; *p; p++)
		if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
		      (*p >= '0' && *p <= '9')))
			*p = '_';
	if (!name[0])
		snprintf(name, size, "prog");
}

static int by_position(const void *a, const void *b)
{
	const struct verdict *x = a, *y = b;

	return x->position < y->position ? -1 : x->position > y->position;
}

static int list_programs(struct session *s, const struct skep_compiled *c)
{
	struct bpf_program *prog;
	uint32_t n = 0, i = 0;

	bpf_object__for_each_program(prog, s->obj) n++;
	if (!n)
		return skep_fail(&s->err, -ENOENT, "Put the function into a section: SEC(\"xdp\").",
				 "%s: there is no program in it", s->path);
	s->verdicts = calloc(n, sizeof(*s->verdicts));
	if (!s->verdicts)
		return -ENOMEM;
	s->nverdicts = n;
	bpf_object__for_each_program(prog, s->obj)
	{
		struct verdict *v = &s->verdicts[i++];

		v->prog = prog;
		snprintf(v->name, sizeof(v->name), "%s", bpf_program__name(prog));
		v->position = skep_elf_position(c->image, c->size, v->name);
		v->section = bpf_program__section_name(prog);
		v->unknown_section = bpf_program__type(prog) == BPF_PROG_TYPE_UNSPEC;
		v->type = prog_type_name(bpf_program__type(prog));
		v->insns = (uint32_t)bpf_program__insn_cnt(prog);
	}
	qsort(s->verdicts, n, sizeof(*s->verdicts), by_position);
	return 0;
}

static int open_object(struct session *s)
{
	struct skep_compile_opts opts = {.cc = s->cc,
					 .flags = s->cflags,
					 .kernel_types = s->kernel,
					 .color = isatty(STDERR_FILENO)};
	struct skep_compiled c = {0};
	char name[64];
	int err;

	if (skep_compile_is_source(s->path)) {
		err = skep_compile(s->path, &opts, &c, &s->err);
		if (c.diagnostics)
			fputs(c.diagnostics, stderr);
	} else {
		err = skep_client_read(s->path, &c.image, &c.size, &s->err);
	}
	if (!err) {
		object_name(s->path, name, sizeof(name));
		err = skep_client_open(&s->obj, c.image, c.size, name, &s->err);
		if (err) {
			struct skep_error e = s->err;

			skep_fail(&s->err, err, e.next, "%s: %s", s->path, e.what);
		} else {
			err = list_programs(s, &c);
		}
	}
	skep_compiled_free(&c);
	return err;
}

int session_open(struct session *s)
{
	int err = open_runtime(s);

	if (!err)
		err = open_object(s);
	if (err) {
		if (!s->err.what[0])
			skep_fail(&s->err, err, NULL, "%s: %s", s->path, strerror(-err));
		complain_error(&s->err);
	}
	return err;
}

struct bpf_program *session_program(const struct session *s, uint32_t i)
{
	return s->verdicts[i].prog;
}

/* ---- Loading ---- */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

/* "verification time 12 usec", "stack depth 8+16", "processed 4 insns (limit 1000000)
 * max_states_per_insn 0 total_states 1 peak_states 1 mark_read 0" */
static void read_stats(struct verdict *v, const char *log)
{
	unsigned long long n, us;
	unsigned limit, per_insn, total, peak;
	const char *p;

	p = strstr(log, "verification time ");
	if (p && sscanf(p, "verification time %llu usec", &us) == 1)
		v->verify_ns = us * 1000;
	p = strstr(log, "stack depth ");
	if (p) {
		v->stack = 0;
		for (p += 12; *p >= '0' && *p <= '9'; p += *p == '+') {
			char *end;
			uint32_t d = (uint32_t)strtoul(p, &end, 10);

			v->stack = d > v->stack ? d : v->stack;
			p = end;
		}
	}
	for (const char *q = log; (q = strstr(q, "processed ")); q++)
		p = q;
	if (p && sscanf(p,
			"processed %llu insns (limit %u) max_states_per_insn %u total_states %u "
			"peak_states %u",
			&n, &limit, &per_insn, &total, &peak) == 5) {
		v->processed = n;
		v->states = total;
		v->peak_states = peak;
	}
}

/* A line of the verifier's trace: "12: (61) r1 = ..." or "from 3 to 5: ..." */
static bool is_trace(const char *line)
{
	return (*line >= '0' && *line <= '9') || !strncmp(line, "from ", 5) ||
	       !strncmp(line, "func#", 5) || !strncmp(line, "mark_precise", 12);
}

static bool is_stats(const char *line)
{
	return !strncmp(line, "processed ", 10) || !strncmp(line, "verification time", 17) ||
	       !strncmp(line, "stack depth", 11);
}

/* Without skep's own explanation: the last source line that the log names, and the messages
 * behind the last instruction. */
static void explain_from_log(struct verdict *v)
{
	char msg[1024] = "", file[256];
	const char *src = NULL, *line, *next;
	size_t len, n = 0;

	for (line = v->log; line && *line; line = next) {
		len = strcspn(line, "\n");
		next = line[len] ? line + len + 1 : NULL;
		if (len > 2 && !strncmp(line, "; ", 2)) {
			src = line;
			n = 0;
		} else if (is_trace(line)) {
			n = 0;
		} else if (len && !is_stats(line) && n < sizeof(msg)) {
			n += (size_t)snprintf(msg + n, sizeof(msg) - n, "%s%.*s", n ? "; " : "",
					      (int)len, line);
		}
	}
	if (n)
		v->what = copy(msg);
	if (!src)
		return;
	n = strcspn(src, "\n");
	v->text = strndup(src + 2, n - 2);
	if (v->text) {
		char *at = strstr(v->text, " @ ");

		if (at && sscanf(at + 3, "%255[^:]:%u", file, &v->line) == 2) {
			v->file = copy(file);
			*at = 0;
		}
	}
}

/* An empty program in the refused one's place, so that libbpf goes on with the others. */
static long load_empty(const union bpf_attr *refused)
{
	static const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = refused->prog_type;
	attr.expected_attach_type = refused->expected_attach_type;
	attr.attach_btf_id = refused->attach_btf_id;
	attr.attach_prog_fd = refused->attach_prog_fd;
	attr.prog_flags = refused->prog_flags;
	attr.insns = (uintptr_t)insns;
	attr.insn_cnt = 2;
	attr.license = refused->license;
	return skep_client_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
}

static void *copy_array(uint64_t at, uint32_t n, uint32_t rec, uint32_t size)
{
	uint8_t *out = n && rec >= size ? calloc(n, size) : NULL;

	/* Records may be longer than we know them. */
	for (uint32_t i = 0; out && i < n; i++)
		memcpy(out + (size_t)i * size, (const uint8_t *)(uintptr_t)at + (size_t)i * rec,
		       size);
	return out;
}

static void forget_loaded(struct verdict *v)
{
	free(v->loaded);
	free(v->lines);
	free(v->funcs);
	v->loaded = NULL;
	v->lines = NULL;
	v->funcs = NULL;
}

static void keep_loaded(struct verdict *v, const union bpf_attr *attr)
{
	forget_loaded(v);
	v->loaded = copy_array(attr->insns, attr->insn_cnt, sizeof(*v->loaded), sizeof(*v->loaded));
	v->lines = copy_array(attr->line_info, attr->line_info_cnt, attr->line_info_rec_size,
			      sizeof(*v->lines));
	v->funcs = copy_array(attr->func_info, attr->func_info_cnt, attr->func_info_rec_size,
			      sizeof(*v->funcs));
	v->nloaded = v->loaded ? attr->insn_cnt : 0;
	v->nlines = v->lines ? attr->line_info_cnt : 0;
	v->nfuncs = v->funcs ? attr->func_info_cnt : 0;
}

/* PROG_LOAD of one program: its verdict, statistics and explanation. attr is ours to change. */
static long load_program(struct session *s, struct verdict *v, union bpf_attr *attr,
			 unsigned int size)
{
	char *log = (char *)(uintptr_t)attr->log_buf;
	uint64_t from;
	long r;

	if (s->keep)
		keep_loaded(v, attr);
	if (s->transform) {
		r = s->transform(s->transform_arg, v, attr);
		if (r)
			return r;
	}
	s->explaining = v;
	from = now_ns();
	r = skep_client_bpf(BPF_PROG_LOAD, attr, size);
	v->ns = now_ns() - from;
	s->explaining = NULL;
	if (r == -EAGAIN)
		return r;
	v->tried = true;
	v->accepted = r >= 0;
	v->err = r < 0 ? (int)r : 0;
	read_stats(v, log);
	if (r >= 0)
		return r;

	/* Once more, for the whole log. */
	attr->log_level = LOG_EXPLAIN | LOG_STATS;
	log[0] = 0;
	s->explaining = v;
	r = skep_client_bpf(BPF_PROG_LOAD, attr, size);
	s->explaining = NULL;
	if (r >= 0) {
		v->accepted = true;
		v->err = 0;
		return r;
	}
	free(v->log);
	v->log = copy(log);
	read_stats(v, log);
	if (!v->what && v->log)
		explain_from_log(v);
	if (s->substitute) {
		long sub = load_empty(attr);

		if (sub >= 0)
			return sub;
	}
	return v->err;
}

static long on_bpf(void *arg, int cmd, union bpf_attr *attr, unsigned int size)
{
	struct session *s = arg;
	union bpf_attr own;

	/* A program's load carries its log buffer; the others are libbpf's probes. */
	if (cmd != BPF_PROG_LOAD || attr->log_buf < (uintptr_t)s->log_buf ||
	    attr->log_buf >= (uintptr_t)s->log_buf + s->nverdicts)
		return skep_client_bpf(cmd, attr, size);
	/* libbpf tries again with what is in its attr. */
	memset(&own, 0, sizeof(own));
	memcpy(&own, attr, size < sizeof(own) ? size : sizeof(own));
	return load_program(s, &s->verdicts[attr->log_buf - (uintptr_t)s->log_buf], &own, size);
}

int session_load(struct session *s)
{
	int err;

	s->log_buf = mmap(NULL, LOG_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (s->log_buf == MAP_FAILED) {
		s->log_buf = NULL;
		return -ENOMEM;
	}
	/* Each program's buffer starts one byte later: the address tells which it is. */
	for (uint32_t i = 0; i < s->nverdicts; i++) {
		bpf_program__set_log_level(s->verdicts[i].prog, LOG_STATS);
		bpf_program__set_log_buf(s->verdicts[i].prog, s->log_buf + i, LOG_SIZE / 2);
	}
	skep_client_forget();
	skep_client_watch(on_bpf, s);
	err = bpf_object__load(s->obj);
	skep_client_watch(NULL, NULL);
	return err;
}

const char *session_warnings(int err)
{
	const char *w = skep_client_warnings();

	return *w ? w : strerror(-err);
}

void session_close(struct session *s)
{
	bpf_object__close(s->obj);
	for (uint32_t i = 0; i < s->nverdicts; i++) {
		forget_explanation(&s->verdicts[i]);
		forget_loaded(&s->verdicts[i]);
		free(s->verdicts[i].log);
	}
	free(s->verdicts);
	if (s->log_buf)
		munmap(s->log_buf, LOG_SIZE);
	if (!s->kernel)
		skep_client_leave(NULL);
	skep_close(s->skep);
}

/* ---- Words ---- */

const char *prog_type_name(enum bpf_prog_type type)
{
	static const char *const names[] = {
		[BPF_PROG_TYPE_SOCKET_FILTER] = "socket_filter",
		[BPF_PROG_TYPE_KPROBE] = "kprobe",
		[BPF_PROG_TYPE_SCHED_CLS] = "sched_cls",
		[BPF_PROG_TYPE_SCHED_ACT] = "sched_act",
		[BPF_PROG_TYPE_TRACEPOINT] = "tracepoint",
		[BPF_PROG_TYPE_XDP] = "xdp",
		[BPF_PROG_TYPE_PERF_EVENT] = "perf_event",
		[BPF_PROG_TYPE_CGROUP_SKB] = "cgroup_skb",
		[BPF_PROG_TYPE_CGROUP_SOCK] = "cgroup_sock",
		[BPF_PROG_TYPE_LWT_IN] = "lwt_in",
		[BPF_PROG_TYPE_LWT_OUT] = "lwt_out",
		[BPF_PROG_TYPE_LWT_XMIT] = "lwt_xmit",
		[BPF_PROG_TYPE_SOCK_OPS] = "sock_ops",
		[BPF_PROG_TYPE_SK_SKB] = "sk_skb",
		[BPF_PROG_TYPE_CGROUP_DEVICE] = "cgroup_device",
		[BPF_PROG_TYPE_SK_MSG] = "sk_msg",
		[BPF_PROG_TYPE_RAW_TRACEPOINT] = "raw_tracepoint",
		[BPF_PROG_TYPE_CGROUP_SOCK_ADDR] = "cgroup_sock_addr",
		[BPF_PROG_TYPE_LWT_SEG6LOCAL] = "lwt_seg6local",
		[BPF_PROG_TYPE_LIRC_MODE2] = "lirc_mode2",
		[BPF_PROG_TYPE_SK_REUSEPORT] = "sk_reuseport",
		[BPF_PROG_TYPE_FLOW_DISSECTOR] = "flow_dissector",
		[BPF_PROG_TYPE_CGROUP_SYSCTL] = "cgroup_sysctl",
		[BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE] = "raw_tracepoint_writable",
		[BPF_PROG_TYPE_CGROUP_SOCKOPT] = "cgroup_sockopt",
		[BPF_PROG_TYPE_TRACING] = "tracing",
		[BPF_PROG_TYPE_STRUCT_OPS] = "struct_ops",
		[BPF_PROG_TYPE_EXT] = "ext",
		[BPF_PROG_TYPE_LSM] = "lsm",
		[BPF_PROG_TYPE_SK_LOOKUP] = "sk_lookup",
		[BPF_PROG_TYPE_SYSCALL] = "syscall",
		[BPF_PROG_TYPE_NETFILTER] = "netfilter",
	};

	if ((unsigned)type >= sizeof(names) / sizeof(names[0]) || !names[type])
		return "";
	return names[type];
}

void print_refusal(FILE *f, const struct session *s, const struct verdict *v, bool color)
{
	const char *bold = color ? "\033[1m" : "", *red = color ? "\033[31m" : "";
	const char *off = color ? "\033[0m" : "";

	if (v->unknown_section) {
		fprintf(f, "  %sits section \"%s\" names no program type%s\n", red, v->section,
			off);
		fprintf(f, "  hint: put it into a section such as \"xdp\", \"tc\" or \"socket\"\n");
		return;
	}
	if (v->file && v->line)
		fprintf(f, "  %s%s:%u%s: ", bold, v->file, v->line, off);
	else
		fputs("  ", f);
	fprintf(f, "%s%s%s\n", red, v->what ? v->what : strerror(-v->err), off);
	if (v->text && v->text[0])
		fprintf(f, "    %s\n", v->text);
	if (v->func && v->func[0])
		fprintf(f, "  in function %s, instruction %u\n", v->func, v->insn);
	if (v->hint)
		fprintf(f, "  hint: %s\n", v->hint);
}
