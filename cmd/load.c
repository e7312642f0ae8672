/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading programs: libbpf's PROG_LOAD calls are watched, so that each program's verdict, statistics
 * and explanation are known, whatever libbpf makes of them.
 */
#include "cmd.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "client/libbpf.h"
#include "client/object.h"
#include "load.h"

#define STACK_FRAMES 127 /* the kernel's default of perf_event_max_stack */

#define LOG_EXPLAIN 1 /* log levels of PROG_LOAD */
#define LOG_STATS   4

/* Room for the longest log; pages are used as it grows. */
#define LOG_SIZE (64u << 20)

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

void load_explain(void *arg, const struct skep_explanation *why)
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

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* The same load again and again, for the medians of its times. */
static void load_again(const struct session *s, struct verdict *v, const union bpf_attr *attr,
		       unsigned int size)
{
	uint64_t *ns = calloc(2 * s->repeat, sizeof(*ns)), *verify = ns ? ns + s->repeat : NULL;
	char *log = (char *)(uintptr_t)attr->log_buf;
	uint32_t n = 1;

	if (!ns)
		return;
	ns[0] = v->ns;
	verify[0] = v->verify_ns;
	for (; n < s->repeat; n++) {
		union bpf_attr own = *attr;
		uint64_t from = now_ns();
		long fd = skep_client_bpf(BPF_PROG_LOAD, &own, size);

		if (fd < 0)
			break;
		ns[n] = now_ns() - from;
		read_stats(v, log);
		verify[n] = v->verify_ns;
		close((int)fd);
	}
	qsort(ns, n, sizeof(*ns), by_value);
	qsort(verify, n, sizeof(*verify), by_value);
	v->ns = ns[n / 2];
	v->verify_ns = verify[n / 2];
	free(ns);
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
	forget_explanation(v);
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
	if (r >= 0 && s->repeat > 1)
		load_again(s, v, attr, size);
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

		v->substituted = sub >= 0;
		if (sub >= 0)
			return sub;
		if (!v->what && asprintf(&v->what, "programs of type %s can't be loaded here: %s",
					 v->type, strerror(-v->err)) < 0)
			v->what = NULL;
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

/* What programs set before they load their object: sizes that only count at run time. And nothing
 * is pinned. */
static void complete_maps(struct session *s)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, s->obj)
	{
		enum bpf_map_type type = bpf_map__type(map);

		bpf_map__set_pin_path(map, NULL);
		if (type == BPF_MAP_TYPE_STACK_TRACE && !bpf_map__value_size(map))
			bpf_map__set_value_size(map, STACK_FRAMES * sizeof(uint64_t));
		if (bpf_map__max_entries(map) || type == BPF_MAP_TYPE_SK_STORAGE ||
		    type == BPF_MAP_TYPE_TASK_STORAGE || type == BPF_MAP_TYPE_INODE_STORAGE ||
		    type == BPF_MAP_TYPE_CGRP_STORAGE || type == BPF_MAP_TYPE_CGROUP_STORAGE ||
		    type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE)
			continue;
		bpf_map__set_max_entries(map, type == BPF_MAP_TYPE_RINGBUF ||
							      type == BPF_MAP_TYPE_USER_RINGBUF
						      ? (uint32_t)sysconf(_SC_PAGESIZE)
						      : 1);
	}
}

static int load_once(struct session *s)
{
	int err;

	/* Each program's buffer starts one byte later: the address tells which it is. */
	for (uint32_t i = 0; i < s->nverdicts; i++) {
		bpf_program__set_log_level(s->verdicts[i].prog, LOG_STATS);
		bpf_program__set_log_buf(s->verdicts[i].prog, s->log_buf + i, LOG_SIZE / 2);
	}
	if (s->substitute)
		complete_maps(s);
	skep_client_forget();
	skep_client_watch(on_bpf, s);
	err = bpf_object__load(s->obj);
	skep_client_watch(NULL, NULL);
	return err;
}

/* The program that libbpf gave up on before PROG_LOAD (an attach target that is not there, a relocation
 * that fails): its first complaint names it. Its verdict, with what libbpf said, or NULL. */
static struct verdict *unprepared(struct session *s, int err)
{
	const char *p = strstr(skep_client_warnings(), "prog '"), *end;
	size_t n;

	/* Refused by PROG_LOAD, and so was what should stand in for it: its type is not there. */
	for (uint32_t i = 0; i < s->nverdicts; i++) {
		struct verdict *v = &s->verdicts[i];

		if (v->tried && !v->accepted && !v->hopeless && !v->substituted) {
			v->hopeless = true;
			return v;
		}
	}
	end = p ? strstr(p, "': ") : NULL;
	if (!end)
		return NULL;
	p += 6;
	n = (size_t)(end - p);
	for (uint32_t i = 0; i < s->nverdicts; i++) {
		struct verdict *v = &s->verdicts[i];

		if (strncmp(v->name, p, n) != 0 || v->name[n] || v->tried)
			continue;
		v->tried = v->hopeless = true;
		v->err = err;
		v->what = strndup(end + 3, strcspn(end + 3, "\n"));
		return v;
	}
	return NULL;
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
	for (uint32_t i = 0; i < s->nverdicts; i++)
		s->verdicts[i].wanted = bpf_program__autoload(s->verdicts[i].prog);
	for (;;) {
		err = load_once(s);
		if (!err || !s->substitute || !unprepared(s, err))
			return err;
		/* The others again, without it. */
		err = session_reopen(s);
		if (err)
			return err;
		for (uint32_t i = 0; i < s->nverdicts; i++)
			bpf_program__set_autoload(s->verdicts[i].prog,
						  s->verdicts[i].wanted &&
							  !s->verdicts[i].hopeless);
	}
}

void load_end(struct session *s)
{
	for (uint32_t i = 0; i < s->nverdicts; i++) {
		forget_explanation(&s->verdicts[i]);
		forget_loaded(&s->verdicts[i]);
		free(s->verdicts[i].log);
	}
	if (s->log_buf)
		munmap(s->log_buf, LOG_SIZE);
}

void session_warnings(char *text, size_t size, int err)
{
	skep_client_reason(text, size, err);
}
