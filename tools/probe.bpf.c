/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The engine of one-line probes and tools: what is to be read, compared, counted and told of a call stands in a
 * map, by the number of the probe, which is the attachment's cookie (and above it, the target's).
 *
 * A call is entered and returns. What is known at the entry is kept until the return, if that is wanted: by thread
 * and, for functions, by the place of the return address, so that recursion is no matter.
 */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "probe.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PROBE_MAX);
	__type(key, __u32);
	__type(value, struct probe);
} probes SEC(".maps");

struct call_key {
	__u32 tid, probe;
	__u64 slot;
};

/* Calls under way: with what was read from memory, and without. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct call_key);
	__type(value, struct probe_event);
} calls SEC(".maps");

struct slim {
	__u64 ns, args[PROBE_ARGS];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct call_key);
	__type(value, struct slim);
} slim_calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct probe_event);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct probe_count_key);
	__type(value, struct probe_count);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct probe_count_key);
	__type(value, struct probe_hist);
} hists SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} events SEC(".maps");

__u64 lost; /* events that found no room */

static __always_inline __s64 as(__u64 v, __u8 width)
{
	return width == WIDTH_S32 ? (__s32)v : width == WIDTH_U32 ? (__u32)v : (__s64)v;
}

static __always_inline __u64 field(const struct probe_event *e, __u8 f)
{
	switch (f) {
	case 0:
		return e->args[0];
	case 1:
		return e->args[1];
	case 2:
		return e->args[2];
	case 3:
		return e->args[3];
	case 4:
		return e->args[4];
	case 5:
		return e->args[5];
	case FIELD_RET:
		return e->ret;
	case FIELD_PID:
		return e->pid;
	case FIELD_TID:
		return e->tid;
	case FIELD_UID:
		return e->uid;
	default:
		return e->took;
	}
}

static __noinline bool same_text(const struct probe_cond *c, const char *text)
{
	if (!c || !text)
		return false;
	/* Every text that is looked at has at least a command name's bytes. */
	for (int i = 0; i < 16; i++) {
		char want = c->text[i];

		if (!want && c->prefix)
			return true;
		if (want != text[i])
			return false;
		if (!want)
			return true;
	}
	return true;
}

static __noinline bool same_long_text(const struct probe_cond *c, const struct probe_event *e)
{
	if (!c || !e)
		return false;
	for (int i = 0; i < PROBE_STRING; i++) {
		char want = c->text[i];
		char have = c->field == FIELD_TEXT1 ? e->text[1][i] : e->text[0][i];

		if (!want && c->prefix)
			return true;
		if (want != have)
			return false;
		if (!want)
			return true;
	}
	return true;
}

static __noinline bool holds(const struct probe_cond *c, const struct probe_event *e)
{
	__s64 have, want;
	bool less;

	if (!c || !e)
		return false;
	if (c->field == FIELD_COMM)
		return same_text(c, e->comm) == (c->op == OP_EQ);
	if (c->field > FIELD_COMM)
		return same_long_text(c, e) == (c->op == OP_EQ);
	have = as(field(e, c->field), c->width);
	want = c->value;
	less = c->width == WIDTH_U64 ? (__u64)have < (__u64)want : have < want;
	switch (c->op) {
	case OP_EQ:
		return have == want;
	case OP_NE:
		return have != want;
	case OP_LT:
		return less;
	case OP_LE:
		return less || have == want;
	case OP_GT:
		return !less && have != want;
	default:
		return !less;
	}
}

/* Whether all conditions hold that can be judged by now. */
static __noinline bool wanted(const struct probe *p, const struct probe_event *e, bool returned)
{
	if (!p || !e)
		return false;
	for (__u32 i = 0; i < PROBE_CONDS; i++) {
		__u8 f;

		if (i >= p->nconds)
			break;
		f = p->conds[i].field;
		if (!returned && (f == FIELD_RET || f == FIELD_LATENCY))
			continue;
		if (!holds(&p->conds[i], e))
			return false;
	}
	return true;
}

static __noinline void read_argv(struct probe_event *e, __u64 from, __u32 slot)
{
	__u32 at = 0;

	if (!e || slot >= PROBE_TEXTS)
		return;
	for (int i = 0; i < 60; i++) {
		__u64 arg = 0;
		long n;

		if (bpf_probe_read_user(&arg, sizeof(arg), (void *)(from + i * 8)) || !arg)
			break;
		if (at > PROBE_TEXT - 128)
			break;
		n = bpf_probe_read_user_str(&e->text[slot][at], 128, (void *)arg);
		if (n <= 0)
			break;
		at += n;
	}
	e->len[slot] = at;
}

/* Reads the texts of one side of the call. */
static __always_inline void read_texts(const struct probe *p, struct probe_event *e, bool returned)
{
	for (__u32 i = 0; i < PROBE_TEXTS; i++) {
		__u8 f = p->text_field[i], kind = p->text_kind[i];
		__u64 from, len;
		long n;

		if (kind == TEXT_NONE)
			return;
		/* What a call fills in is there when it returns: where its length is known by then. */
		if (returned != (f == FIELD_RET || (kind == TEXT_DATA && p->text_len[i] == FIELD_RET)))
			continue;
		e->ntext = i + 1;
		e->len[i] = 0;
		from = field(e, f);
		if (!from)
			continue;
		if (kind == TEXT_ARGV) {
			read_argv(e, from, i);
			continue;
		}
		if (kind == TEXT_DATA) {
			len = field(e, p->text_len[i]);
			if ((__s64)len <= 0)
				continue;
			if (len > PROBE_TEXT)
				len = PROBE_TEXT;
			n = bpf_probe_read_user(e->text[i], len, (void *)from) ? 0 : len;
		} else {
			n = bpf_probe_read_user_str(e->text[i], PROBE_TEXT, (void *)from);
		}
		e->len[i] = n > 0 ? n : 0;
	}
}

static __noinline void count(const struct probe *p, const struct probe_event *e)
{
	struct probe_count fresh = {}, *c;
	struct probe_count_key key;

	if (!p || !e)
		return;
	key = (struct probe_count_key){.probe = e->probe, .target = e->target};
	if (p->flags & PROBE_F_BY_PID)
		key.pid = e->pid;
	c = bpf_map_lookup_elem(&counts, &key);
	if (!c) {
		bpf_map_update_elem(&counts, &key, &fresh, BPF_NOEXIST);
		c = bpf_map_lookup_elem(&counts, &key);
		if (!c) {
			__sync_fetch_and_add(&lost, 1);
			return;
		}
	}
	__sync_fetch_and_add(&c->count, 1);
	__sync_fetch_and_add(&c->ns, e->took);
}

static __noinline void hist(const struct probe *p, const struct probe_event *e)
{
	static const struct probe_hist fresh;
	struct probe_count_key key;
	struct probe_hist *h;
	__u32 slot = 0;
	__s64 v;

	if (!p || !e)
		return;
	key = (struct probe_count_key){.probe = e->probe, .target = e->target};
	if (p->flags & PROBE_F_BY_PID)
		key.pid = e->pid;
	h = bpf_map_lookup_elem(&hists, &key);
	if (!h) {
		bpf_map_update_elem(&hists, &key, &fresh, BPF_NOEXIST);
		h = bpf_map_lookup_elem(&hists, &key);
		if (!h) {
			__sync_fetch_and_add(&lost, 1);
			return;
		}
	}
	v = as(field(e, p->hist_field), p->hist_width);
	if (p->hist_unit && v > 0)
		v = (__u64)v / p->hist_unit;
	/* The number of significant bits; what is negative counts as 0. */
	for (int i = 0; i < PROBE_SLOTS - 1; i++) {
		if (v <= 0)
			break;
		v >>= 1;
		slot++;
	}
	__sync_fetch_and_add(&h->slots[slot & (PROBE_SLOTS - 1)], 1);
}

static __always_inline void tell(void *ctx, const struct probe *p, struct probe_event *e)
{
	__u32 flags = p->flags, size = __builtin_offsetof(struct probe_event, len);
	long n;

	if (flags & PROBE_F_COUNT)
		count(p, e);
	if (flags & PROBE_F_HIST)
		hist(p, e);
	if (!(flags & PROBE_F_EVENT))
		return;
	e->len[PROBE_TEXTS] = 0;
	if (flags & PROBE_F_STACK) {
		n = bpf_get_stack(ctx, e->stack, sizeof(e->stack), BPF_F_USER_STACK);
		e->len[PROBE_TEXTS] = n > 0 ? n : 0;
		size = __builtin_offsetof(struct probe_event, text);
	}
	if (e->ntext == 1)
		size = __builtin_offsetof(struct probe_event, text[1]);
	else if (e->ntext)
		size = sizeof(*e);
	if (bpf_ringbuf_output(&events, e, size, 0))
		__sync_fetch_and_add(&lost, 1);
}

/* Who calls. */
static __always_inline void begin(const struct probe *p, struct probe_event *e, __u64 cookie,
				  __u64 pid_tgid)
{
	e->ns = bpf_ktime_get_ns();
	e->took = 0;
	e->ret = 0;
	e->probe = cookie & 0xffff;
	e->target = cookie >> 16;
	e->pid = pid_tgid >> 32;
	e->tid = pid_tgid;
	e->returned = 0;
	e->ntext = 0;
	/* In traced processes these cost system calls. */
	if ((p->flags & PROBE_F_EVENT) || p->nconds) {
		e->uid = bpf_get_current_uid_gid();
		bpf_get_current_comm(e->comm, sizeof(e->comm));
	}
}

static __always_inline int entered(void *ctx, struct probe *p, struct probe_event *e, __u64 slot)
{
	struct call_key key = {.tid = e->tid, .probe = e->probe, .slot = slot};

	read_texts(p, e, false);
	if (!wanted(p, e, false))
		return 0;
	if (!(p->flags & PROBE_F_RETURN) || (p->flags & PROBE_F_BOTH))
		tell(ctx, p, e);
	if (p->flags & PROBE_F_RETURN)
		bpf_map_update_elem(&calls, &key, e, BPF_ANY);
	return 0;
}

/* Nothing is read from memory and nobody is asked for: the least there is to do. */
static __always_inline bool is_slim(const struct probe *p)
{
	return p->text_kind[0] == TEXT_NONE && (p->flags & PROBE_F_RETURN) &&
	       !(p->flags & PROBE_F_BOTH);
}

static __always_inline void keep_slim(struct call_key *key, const __u64 *args)
{
	struct slim s = {.ns = bpf_ktime_get_ns(),
			 .args = {args[0], args[1], args[2], args[3], args[4], args[5]}};

	bpf_map_update_elem(&slim_calls, key, &s, BPF_ANY);
}

static __always_inline int returned(void *ctx, struct probe *p, __u64 cookie, __u64 pid_tgid,
				    __u64 slot, __s64 ret)
{
	struct call_key key = {.tid = pid_tgid, .probe = cookie & 0xffff, .slot = slot};
	struct probe_event *e;
	__u64 now;

	/* What is not found was entered before it was traced, or is not wanted. */
	if (is_slim(p)) {
		struct slim *s = bpf_map_lookup_elem(&slim_calls, &key);
		__u32 zero = 0;

		e = bpf_map_lookup_elem(&scratch, &zero);
		if (!s || !e)
			return 0;
		begin(p, e, cookie, pid_tgid);
		e->took = e->ns - s->ns;
		__builtin_memcpy(e->args, s->args, sizeof(e->args));
		bpf_map_delete_elem(&slim_calls, &key);
	} else {
		e = bpf_map_lookup_elem(&calls, &key);
		if (!e)
			return 0;
		now = bpf_ktime_get_ns();
		e->took = now - e->ns;
		e->ns = now;
	}
	e->ret = ret;
	e->returned = 1;
	read_texts(p, e, true);
	if (wanted(p, e, true))
		tell(ctx, p, e);
	if (!is_slim(p))
		bpf_map_delete_elem(&calls, &key);
	return 0;
}

/* ---- System calls ---- */

struct sys_enter {
	__u64 common;
	long nr;
	unsigned long args[6];
};

struct sys_exit {
	__u64 common;
	long nr;
	long ret;
};

SEC("tracepoint/raw_syscalls/sys_enter")
int on_sys_enter(struct sys_enter *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx) | (__u64)ctx->nr << 16;
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	__u32 number = cookie & 0xffff, zero = 0;
	struct probe *p = bpf_map_lookup_elem(&probes, &number);
	struct probe_event *e = bpf_map_lookup_elem(&scratch, &zero);
	__u64 args[6] = {ctx->args[0], ctx->args[1], ctx->args[2],
			 ctx->args[3], ctx->args[4], ctx->args[5]};

	if (!p || !e)
		return 0;
	if (is_slim(p)) {
		struct call_key key = {.tid = pid_tgid, .probe = number};

		keep_slim(&key, args);
		return 0;
	}
	begin(p, e, cookie, pid_tgid);
	__builtin_memcpy(e->args, args, sizeof(args));
	return entered(ctx, p, e, 0);
}

SEC("tracepoint/raw_syscalls/sys_exit")
int on_sys_exit(struct sys_exit *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx) | (__u64)ctx->nr << 16;
	__u32 number = cookie & 0xffff;
	struct probe *p = bpf_map_lookup_elem(&probes, &number);

	return p ? returned(ctx, p, cookie, bpf_get_current_pid_tgid(), 0, ctx->ret) : 0;
}

/* ---- Functions ---- */

SEC("uprobe")
int on_entry(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx), pid_tgid = bpf_get_current_pid_tgid();
	__u32 number = cookie & 0xffff, zero = 0;
	struct probe *p = bpf_map_lookup_elem(&probes, &number);
	struct probe_event *e = bpf_map_lookup_elem(&scratch, &zero);
	__u64 args[6] = {PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx), PT_REGS_PARM3(ctx),
			 PT_REGS_PARM4(ctx), PT_REGS_PARM5(ctx), ctx->r9};

	if (!p || !e)
		return 0;
	if (is_slim(p)) {
		struct call_key key = {
			.tid = pid_tgid, .probe = number, .slot = PT_REGS_SP(ctx)};

		keep_slim(&key, args);
		return 0;
	}
	begin(p, e, cookie, pid_tgid);
	__builtin_memcpy(e->args, args, sizeof(args));
	return entered(ctx, p, e, PT_REGS_SP(ctx));
}

SEC("uretprobe")
int on_return(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__u32 number = cookie & 0xffff;
	struct probe *p = bpf_map_lookup_elem(&probes, &number);

	/* The return address is taken from the stack by now. */
	return p ? returned(ctx, p, cookie, bpf_get_current_pid_tgid(), PT_REGS_SP(ctx) - 8,
			    PT_REGS_RC(ctx))
		 : 0;
}

char _license[] SEC("license") = "GPL";
