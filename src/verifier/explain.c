/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a program was refused, in the user's terms: where in the source, what is
 * wrong, what helps.
 */
#include "verifier/state.h"

#include <stdio.h>
#include <string.h>

#include "btf/btf.h"

/* By class of fault: the sentence (%s: the message), and a hint. */
static const struct {
	const char *what, *hint;
} texts[W_NWHY] = {
	[W_OTHER] = {NULL, NULL},
	[W_UNINIT] = {"a register or stack byte is read that was never given a value on this path",
		      "initialise the variable on every path before it is used"},
	[W_NULL] = {"the pointer may be NULL here and nothing checked it",
		    "test the result of the helper against NULL before using it"},
	[W_BOUNDS_MAP] = {"the access may lie outside of the map's value",
			  "check the index against the size of the value before the access"},
	[W_BOUNDS_STACK] =
		{"the access may lie outside of the stack frame's 512 bytes",
		 "check the index against the array's size, or put large data into a map"},
	[W_BOUNDS_PACKET] = {"the access may lie behind the end of the packet",
			     "compare pointer + size with data_end before the access"},
	[W_BOUNDS_MEM] = {"the access may lie outside of the memory that the pointer points to",
			  "check offset and size against the size of the memory"},
	[W_CTX] = {"the context may not be accessed like this",
		   "use the field by its name, whole, through the unmodified context pointer"},
	[W_RDONLY] = {"the program writes what it may only read", NULL},
	[W_ALIGN] = {"the access is not aligned to its size",
		     "copy the bytes one by one, or declare the structure packed"},
	[W_PTR_ARITH] = {"this arithmetic is not allowed on a pointer",
			 "add or subtract a bounded number to the pointer, in 64 bits"},
	[W_PTR_BITS] = {"bit operations, multiplication and shifts are not allowed on pointers",
			"compute with numbers first, then add the result to the pointer"},
	[W_UNBOUNDED] = {"the number used as offset or size has no known limit",
			 "limit it first: if (n < LIMIT), or n &= MASK; unsigned types help"},
	[W_LEAK] = {"an address would become visible where only numbers may be", NULL},
	[W_REF] = {"a record that was taken is not given back on this path",
		   "submit or discard the ring buffer record on every path"},
	[W_LOCK] = {"the rules of bpf_spin_lock are not kept",
		    "between lock and unlock call nothing, and unlock on every path"},
	[W_RETURN] = {"the function returns what it must not return",
		      "return one of the values that this program type allows"},
	[W_HELPER] = {"this helper can't be called here", NULL},
	[W_GPL] = {"the helper is reserved for programs with a GPL-compatible license",
		   "char _license[] SEC(\"license\") = \"GPL\";"},
	[W_ARG_TYPE] = {"the argument is not of the kind that the helper takes", NULL},
	[W_LOOP] = {"the loop never ends: it comes back to the same state",
		    "let a counter with a known limit end the loop"},
	[W_TOO_LARGE] =
		{"the proof needed more than a million steps",
		 "make loops shorter, or put the body into bpf_loop() or a global function"},
	[W_TOO_COMPLEX] = {"too many branches are open at the same time",
			   "move parts into functions that are verified on their own"},
	[W_STACK_DEPTH] = {"the functions on the way here need too much stack",
			   "put large variables into a per-CPU array"},
	[W_CFG] = {"the instructions can't be followed", NULL},
	[W_INSN] = {"this is no valid instruction", NULL},
	[W_CALL] = {"the function can't be called like this", NULL},
	[W_MAP] = {"the map can't be used like this", NULL},
	[W_TYPE] = {"the register does not hold a pointer that can be used here", NULL},
};

static const struct bpf_line_info *line_of(const struct skep_prog *p, uint32_t insn)
{
	const struct bpf_line_info *li = NULL;

	for (uint32_t i = 0; p->btf && i < p->nline_info && p->line_info[i].insn_off <= insn; i++)
		li = &p->line_info[i];
	return li;
}

static const char *func_of(const struct venv *env, uint32_t insn)
{
	for (uint32_t i = env->nsubs; i-- > 0;)
		if (env->subs[i].start <= insn)
			return env->prog->btf && env->subs[i].type_id
				       ? skep_btf_name(env->prog->btf, env->subs[i].type_id)
				       : NULL;
	return NULL;
}

/* Where the value in the register comes from, as text; empty if that says nothing. */
static void tell_origin(const struct venv *env, char *buf, size_t len)
{
	const struct bpf_line_info *li;
	const struct bpf_insn *in;
	const struct vreg *r;
	const char *by = NULL;

	buf[0] = 0;
	if (env->why == W_REF) {
		li = line_of(env->prog, env->leak_insn);
		if (li)
			snprintf(buf, len, ": it was taken at line %u",
				 BPF_LINE_INFO_LINE_NUM(li->line_col));
		else
			snprintf(buf, len, ": it was taken by instruction %u", env->leak_insn);
		return;
	}
	if (env->why_reg < 0 || env->why_reg >= V_REGS || !env->cur)
		return;
	r = v_reg(env, (uint32_t)env->why_reg);
	if (r->type == V_NOT_INIT || r->origin >= env->n || r->origin == env->why_insn)
		return;
	in = &env->insns[r->origin];
	if (in->code == (BPF_JMP | BPF_CALL) && !in->src_reg)
		by = skep_helper_name((uint32_t)in->imm);
	else if (env->why != W_UNBOUNDED && env->why != W_NULL)
		return;
	li = line_of(env->prog, r->origin);
	if (by && li)
		snprintf(buf, len, "; bpf_%s returned it at line %u", by,
			 BPF_LINE_INFO_LINE_NUM(li->line_col));
	else if (by)
		snprintf(buf, len, "; bpf_%s returned it at instruction %u", by, r->origin);
	else if (li)
		snprintf(buf, len, "; it was made at line %u",
			 BPF_LINE_INFO_LINE_NUM(li->line_col));
	else
		snprintf(buf, len, "; it was made at instruction %u", r->origin);
}

/* What helps where the class of the fault alone does not tell. */
static const char *hint_of(const struct venv *env)
{
	const struct vreg *r = NULL;

	if (env->why_reg >= 0 && env->why_reg < V_REGS && env->cur)
		r = v_reg(env, (uint32_t)env->why_reg);
	if (r && env->why == W_ARG_TYPE && r->type == V_CTX)
		return "the context is no memory that helpers take: copy the field that is meant "
		       "into a variable, and pass its address: __u32 key = ctx->id; ... &key";
	if (r && env->why == W_TYPE && r->type == V_SCALAR)
		return "a number is no address here. Memory of the traced process is read by "
		       "bpf_probe_read_user(); what user space puts into a map must be the data "
		       "itself (char name[32]), since its own addresses mean nothing here";
	return texts[env->why].hint;
}

void skep_v_explain(struct venv *env, int err)
{
	const struct skep_prog *p = env->prog;
	const struct bpf_line_info *li = line_of(p, env->why_insn);
	struct skep *skep = p->obj.skep;
	char what[640], origin[128];
	size_t n = strcspn(env->msg, "\n");
	struct skep_explanation e = {
		.sz = sizeof(e),
		.prog = p->name,
		.what = what,
		.hint = hint_of(env),
		.func = func_of(env, env->why_insn),
		.insn = env->why_insn,
		.err = err < 0 ? -err : err,
	};

	if (!skep || !skep->opts.explain)
		return;
	tell_origin(env, origin, sizeof(origin));
	if (!env->msg[0])
		snprintf(what, sizeof(what), "%s",
			 err == -ENOMEM ? "out of memory" : strerror(e.err));
	else if (texts[env->why].what && env->why_reg >= 0)
		snprintf(what, sizeof(what), "R%d: %s%s (%.*s)", env->why_reg, texts[env->why].what,
			 origin, (int)n, env->msg);
	else if (texts[env->why].what)
		snprintf(what, sizeof(what), "%s%s (%.*s)", texts[env->why].what, origin, (int)n,
			 env->msg);
	else
		snprintf(what, sizeof(what), "%.*s", (int)n, env->msg);
	if (li) {
		e.file = skep_btf_str(p->btf, li->file_name_off);
		e.text = skep_btf_str(p->btf, li->line_off);
		while (e.text && (*e.text == ' ' || *e.text == '\t'))
			e.text++;
		e.line = BPF_LINE_INFO_LINE_NUM(li->line_col);
		e.col = BPF_LINE_INFO_LINE_COL(li->line_col);
	}
	skep->opts.explain(skep->opts.explain_arg, &e);
}
