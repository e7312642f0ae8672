/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be said without walking: subprograms, pseudo loads, control flow,
 * and, after walking, the depth of the stack.
 */
#include "verifier/state.h"

#include <stdlib.h>
#include <string.h>

#include "btf/btf.h"
#include "exec/slot.h"
#include "helper/kfunc.h"
#include "isa/isa.h"

static bool is_ldimm64(const struct bpf_insn *in)
{
	return in->code == (BPF_LD | BPF_IMM | BPF_DW);
}

static bool is_pseudo_call(const struct bpf_insn *in)
{
	return in->code == (BPF_JMP | BPF_CALL) && in->src_reg == BPF_PSEUDO_CALL;
}

static bool is_kfunc_call(const struct bpf_insn *in)
{
	return in->code == (BPF_JMP | BPF_CALL) && in->src_reg == BPF_PSEUDO_KFUNC_CALL;
}

static bool is_func_load(const struct bpf_insn *in)
{
	return is_ldimm64(in) && in->src_reg == BPF_PSEUDO_FUNC;
}

static bool is_jump(const struct bpf_insn *in)
{
	unsigned cls = BPF_CLASS(in->code), op = BPF_OP(in->code);

	return (cls == BPF_JMP || cls == BPF_JMP32) && op != BPF_EXIT && op != BPF_CALL;
}

static bool is_goto(const struct bpf_insn *in)
{
	return is_jump(in) && BPF_OP(in->code) == BPF_JA;
}

static int64_t jump_target(const struct bpf_insn *in, uint32_t at)
{
	int64_t off = in->code == (BPF_JMP32 | BPF_JA) ? in->imm : in->off;

	return at + off + 1;
}

int skep_v_subprog_at(const struct venv *env, uint32_t insn)
{
	for (uint32_t i = 0; i < env->nsubs; i++)
		if (env->subs[i].start == insn)
			return (int)i;
	return -1;
}

static int add_subprog(struct venv *env, int64_t at)
{
	uint32_t i;

	if (at < 0 || at >= env->n)
		return skep_v_refuse(env, EINVAL, W_CFG, -1, "call to invalid destination\n");
	if (skep_v_subprog_at(env, (uint32_t)at) >= 0)
		return 0;
	if (env->nsubs >= 256)
		return skep_v_refuse(env, E2BIG, W_CFG, -1, "too many subprograms\n");
	if (env->nsubs == env->cap_subs) {
		uint32_t cap = env->cap_subs ? env->cap_subs * 2 : 8;
		struct vsubprog *s = realloc(env->subs, cap * sizeof(*s));

		if (!s)
			return -ENOMEM;
		env->subs = s;
		env->cap_subs = cap;
	}
	for (i = env->nsubs; i > 0 && env->subs[i - 1].start > at; i--)
		env->subs[i] = env->subs[i - 1];
	memset(&env->subs[i], 0, sizeof(env->subs[i]));
	env->subs[i].start = (uint32_t)at;
	env->nsubs++;
	return 0;
}

int skep_v_find_subprogs(struct venv *env)
{
	int err = add_subprog(env, 0);

	for (uint32_t i = 0; i < env->n && !err; i++) {
		const struct bpf_insn *in = &env->insns[i];

		if (!is_pseudo_call(in) && !is_func_load(in) && !is_kfunc_call(in))
			continue;
		env->why_insn = i;
		if (!env->priv)
			return skep_v_refuse(
				env, EPERM, W_CFG, -1,
				"loading/calling other bpf or kernel functions are allowed for "
				"CAP_BPF and CAP_SYS_ADMIN\n");
		err = is_kfunc_call(in) ? skep_v_resolve_kfunc(env, i)
					: add_subprog(env, (int64_t)i + in->imm + 1);
	}
	if (err)
		return err;
	for (uint32_t i = 0; i < env->nsubs; i++) {
		env->subs[i].end = i + 1 < env->nsubs ? env->subs[i + 1].start : env->n;
		if (skep_log_on(env->log, SKEP_LOG_LEVEL2))
			skep_v_log(env, "func#%u @%u\n", i, env->subs[i].start);
	}
	return 0;
}

/* Jumps stay inside their subprogram, and control can't run off its end. */
int skep_v_check_subprogs(struct venv *env)
{
	for (uint32_t s = 0; s < env->nsubs; s++) {
		struct vsubprog *sub = &env->subs[s];

		for (uint32_t i = sub->start; i < sub->end; i++) {
			const struct bpf_insn *in = &env->insns[i];
			unsigned cls = BPF_CLASS(in->code);

			env->why_insn = i;
			env->aux[i].subprog = s;
			if (in->code == (BPF_JMP | BPF_CALL) && !in->src_reg &&
			    in->imm == BPF_FUNC_tail_call)
				sub->has_tail_call = true;
			if (cls == BPF_LD &&
			    (BPF_MODE(in->code) == BPF_ABS || BPF_MODE(in->code) == BPF_IND))
				sub->has_ld_abs = true;
			if (is_jump(in)) {
				int64_t t = jump_target(in, i);

				if (t < sub->start || t >= sub->end)
					return skep_v_refuse(
						env, EINVAL, W_CFG, -1,
						"jump out of range from insn %u to %d\n", i,
						(int)t);
			}
			if (i == sub->end - 1 && in->code != (BPF_JMP | BPF_EXIT) &&
			    in->code != (BPF_JMP32 | BPF_JA) && in->code != (BPF_JMP | BPF_JA))
				return skep_v_refuse(env, EINVAL, W_CFG, -1,
						     "last insn is not an exit or jmp\n");
		}
	}
	return 0;
}

/* ---- 64-bit immediate loads ---- */

static bool tracing(uint32_t type)
{
	return type == BPF_PROG_TYPE_KPROBE || type == BPF_PROG_TYPE_TRACEPOINT ||
	       type == BPF_PROG_TYPE_PERF_EVENT || type == BPF_PROG_TYPE_RAW_TRACEPOINT ||
	       type == BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE;
}

static bool has_field(const struct skep_map *map, enum skep_field_kind kind)
{
	for (uint32_t i = 0; i < map->fields.n; i++)
		if (map->fields.f[i].kind == kind)
			return true;
	return false;
}

/* Types of maps that sleepable programs may use. */
#define MAP_TYPE(type) (1ull << BPF_MAP_TYPE_##type)
static const uint64_t sleepable_maps =
	MAP_TYPE(HASH) | MAP_TYPE(ARRAY) | MAP_TYPE(PERCPU_HASH) | MAP_TYPE(PERCPU_ARRAY) |
	MAP_TYPE(LRU_HASH) | MAP_TYPE(LRU_PERCPU_HASH) | MAP_TYPE(ARRAY_OF_MAPS) |
	MAP_TYPE(HASH_OF_MAPS) | MAP_TYPE(QUEUE) | MAP_TYPE(STACK) | MAP_TYPE(RINGBUF) |
	MAP_TYPE(USER_RINGBUF) | MAP_TYPE(INODE_STORAGE) | MAP_TYPE(SK_STORAGE) |
	MAP_TYPE(TASK_STORAGE) | MAP_TYPE(CGRP_STORAGE) | MAP_TYPE(ARENA);

static int map_fits_prog(struct venv *env, const struct skep_map *map)
{
	static const uint8_t later[] = {SKEP_FIELD_TIMER, SKEP_FIELD_WQ};

	if (has_field(map, SKEP_FIELD_SPIN_LOCK)) {
		if (env->prog->type == BPF_PROG_TYPE_SOCKET_FILTER)
			return skep_v_refuse(env, EINVAL, W_LOCK, -1,
					     "socket filter progs cannot use bpf_spin_lock yet\n");
		if (tracing(env->prog->type))
			return skep_v_refuse(env, EINVAL, W_LOCK, -1,
					     "tracing progs cannot use bpf_spin_lock yet\n");
	}
	if (map->type == BPF_MAP_TYPE_CGROUP_STORAGE ||
	    map->type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE) {
		for (uint32_t i = 0; i < env->nmaps; i++)
			if (env->maps[i] != map && env->maps[i]->type == map->type)
				return skep_v_refuse(
					env, EBUSY, W_MAP, -1,
					"only one cgroup storage of each type is allowed\n");
	}
	for (unsigned i = 0; i < sizeof(later) / sizeof(later[0]); i++)
		if (skep_map_field(map, later[i]) && tracing(env->prog->type))
			return skep_v_refuse(env, EINVAL, W_MAP, -1,
					     "tracing progs cannot use %s yet\n",
					     skep_field_name(later[i]));
	if (env->prog->sleepable && !(sleepable_maps & 1ull << map->type))
		return skep_v_refuse(
			env, EINVAL, W_MAP, -1,
			"Sleepable programs can only use array, hash, ringbuf and local "
			"storage maps\n");
	return 0;
}

static int use_map(struct venv *env, struct skep_map *map, int32_t *index)
{
	int err;

	for (uint32_t i = 0; i < env->nmaps; i++)
		if (env->maps[i] == map) {
			skep_object_put(&map->obj);
			*index = (int32_t)i;
			return 0;
		}
	if (env->nmaps >= 64) {
		skep_object_put(&map->obj);
		return skep_v_refuse(
			env, E2BIG, W_MAP, -1,
			"The total number of maps per program has reached the limit of %u\n", 64);
	}
	if (env->nmaps == env->cap_maps) {
		uint32_t cap = env->cap_maps ? env->cap_maps * 2 : 8;
		struct skep_map **m = realloc(env->maps, cap * sizeof(struct skep_map *));

		if (!m) {
			skep_object_put(&map->obj);
			return -ENOMEM;
		}
		env->maps = m;
		env->cap_maps = cap;
	}
	/* From here on the environment owns the reference. */
	env->maps[env->nmaps] = map;
	*index = (int32_t)env->nmaps++;
	err = map_fits_prog(env, map);
	return err;
}

static int resolve_map(struct venv *env, uint32_t i)
{
	const struct bpf_insn *in = &env->insns[i];
	bool idx = in->src_reg == BPF_PSEUDO_MAP_IDX || in->src_reg == BPF_PSEUDO_MAP_IDX_VALUE;
	bool value = in->src_reg == BPF_PSEUDO_MAP_VALUE || in->src_reg == BPF_PSEUDO_MAP_IDX_VALUE;
	struct skep_map *map;
	uint64_t size = 0;
	void *base = NULL;
	uint32_t off;
	int err;

	if (!value && in[1].imm)
		return skep_v_refuse(env, EINVAL, W_INSN, -1, "unrecognized bpf_ld_imm64 insn\n");
	if (idx && !env->in->fd_array)
		return skep_v_refuse(env, EPROTO, W_MAP, -1,
				     "fd_idx without fd_array is invalid\n");
	err = env->in->get_map ? env->in->get_map(env->in->arg, (uint32_t)in->imm, idx, &map)
			       : -EBADF;
	if (err)
		return skep_v_refuse(
			env, -err, W_MAP, -1, "fd %d is not pointing to valid bpf_map\n",
			idx && env->in->fd_array ? (int)env->in->fd_array[in->imm] : in->imm);
	err = use_map(env, map, &env->out[i].map);
	if (err || !value)
		return err;
	off = (uint32_t)in[1].imm;
	if (off >= V_MAX_OFF)
		return skep_v_refuse(env, EINVAL, W_MAP, -1,
				     "direct value offset of %u is not allowed\n", off);
	if (!map->ops->direct)
		return skep_v_refuse(env, EINVAL, W_MAP, -1,
				     "no direct value access support for this map type\n");
	err = map->ops->direct(map, &base, &size);
	if (!err && (off >= map->value_size || off >= size))
		err = -EINVAL;
	if (err)
		return skep_v_refuse(env, -err, W_BOUNDS_MAP, -1,
				     "invalid access to map value pointer, value_size=%u off=%u\n",
				     map->value_size, off);
	env->out[i].map_off = off;
	return 0;
}

/* All variables that skep presents are per CPU; there are no modules. */
static int resolve_var(struct venv *env, uint32_t i)
{
	const struct bpf_insn *in = &env->insns[i];
	const struct skep_btf *btf;
	const struct btf_type *t;
	const char *name;
	int err, var;

	if (in[1].imm)
		return skep_v_refuse(env, EINVAL, W_INSN, -1,
				     "invalid module BTF object FD specified.\n");
	if (!env->prog->obj.skep)
		return -EINVAL;
	err = skep_btf_presented(env->prog->obj.skep, &btf);
	if (err)
		return err;
	t = skep_btf_type(btf, (uint32_t)in->imm);
	if (!t)
		return skep_v_refuse(env, ENOENT, W_INSN, -1,
				     "ldimm64 insn specifies invalid btf_id %d.\n", in->imm);
	if (BTF_INFO_KIND(t->info) != BTF_KIND_VAR)
		return skep_v_refuse(env, EINVAL, W_INSN, -1,
				     "pseudo btf_id %d in ldimm64 isn't KIND_VAR or KIND_FUNC\n",
				     in->imm);
	name = skep_btf_name(btf, (uint32_t)in->imm);
	var = skep_slots_find_var(name);
	if (var < 0)
		return skep_v_refuse(env, ENOENT, W_INSN, -1,
				     "ldimm64 failed to find the address for kernel symbol '%s'.\n",
				     name);
	env->out[i].var = (uint32_t)var;
	env->out[i].btf_id = t->type;
	return 0;
}

int skep_v_resolve_loads(struct venv *env)
{
	int err;

	for (uint32_t i = 0; i < env->n; i++) {
		const struct bpf_insn *in = &env->insns[i];

		env->why_insn = i;
		env->out[i].map = -1;
		if (BPF_CLASS(in->code) == BPF_LDX &&
		    ((BPF_MODE(in->code) != BPF_MEM && BPF_MODE(in->code) != BPF_MEMSX) || in->imm))
			return skep_v_refuse(env, EINVAL, W_INSN, -1,
					     "BPF_LDX uses reserved fields\n");
		if (!is_ldimm64(in)) {
			if (skep_isa[in->code].op == SKEP_OP_INVALID)
				return skep_v_refuse(env, EINVAL, W_INSN, -1,
						     "unknown opcode %02x\n", in->code);
			continue;
		}
		if (i == env->n - 1 || in[1].code || in[1].dst_reg || in[1].src_reg || in[1].off)
			return skep_v_refuse(env, EINVAL, W_INSN, -1,
					     "invalid bpf_ld_imm64 insn\n");
		env->aux[i + 1].flags |= V_SECOND;
		env->out[i + 1].map = -1;
		switch (in->src_reg) {
		case 0:
		case BPF_PSEUDO_FUNC:
			break;
		case BPF_PSEUDO_MAP_FD:
		case BPF_PSEUDO_MAP_IDX:
		case BPF_PSEUDO_MAP_VALUE:
		case BPF_PSEUDO_MAP_IDX_VALUE:
			err = resolve_map(env, i);
			if (err)
				return err;
			break;
		case BPF_PSEUDO_BTF_ID:
			err = resolve_var(env, i);
			if (err)
				return err;
			break;
		default:
			return skep_v_refuse(env, EINVAL, W_INSN, -1,
					     "unrecognized bpf_ld_imm64 insn\n");
		}
		i++;
	}
	return 0;
}

/* ---- Control flow ---- */

unsigned skep_v_succ(const struct venv *env, uint32_t i, uint32_t succ[2])
{
	const struct bpf_insn *in = &env->insns[i];
	unsigned n = 0;

	if (in->code == (BPF_JMP | BPF_EXIT))
		return 0;
	if (is_goto(in)) {
		succ[n++] = (uint32_t)jump_target(in, i);
		return n;
	}
	if (is_jump(in)) {
		succ[n++] = i + 1;
		if ((uint32_t)jump_target(in, i) != i + 1)
			succ[n++] = (uint32_t)jump_target(in, i);
		return n;
	}
	if (i + (is_ldimm64(in) ? 2 : 1) < env->n)
		succ[n++] = i + (is_ldimm64(in) ? 2 : 1);
	return n;
}

static bool calls_back(const struct bpf_insn *in)
{
	return in->code == (BPF_JMP | BPF_CALL) && !in->src_reg &&
	       (in->imm == BPF_FUNC_for_each_map_elem || in->imm == BPF_FUNC_loop ||
		in->imm == BPF_FUNC_find_vma || in->imm == BPF_FUNC_user_ringbuf_drain);
}

static bool calls_later(const struct bpf_insn *in)
{
	return in->code == (BPF_JMP | BPF_CALL) && !in->src_reg &&
	       in->imm == BPF_FUNC_timer_set_callback;
}

struct edge {
	uint32_t to;
	bool branch;
};

/* Edges of i in the order in which they are followed, callees included. */
static unsigned edges(const struct venv *env, uint32_t i, struct edge e[3])
{
	const struct bpf_insn *in = &env->insns[i];
	unsigned n = 0;

	if (in->code == (BPF_JMP | BPF_EXIT))
		return 0;
	if (is_goto(in)) {
		e[n++] = (struct edge){(uint32_t)jump_target(in, i), false};
		return n;
	}
	e[n++] = (struct edge){i + (is_ldimm64(in) ? 2 : 1), false};
	if (is_jump(in))
		e[n++] = (struct edge){(uint32_t)jump_target(in, i), true};
	else if (is_pseudo_call(in) || is_func_load(in))
		e[n++] = (struct edge){(uint32_t)((int64_t)i + in->imm + 1), true};
	return n;
}

/* Where states are compared, and where walking arrives by other ways than from
 * the instruction before. */
static void mark_points(struct venv *env, uint32_t i)
{
	const struct bpf_insn *in = &env->insns[i];
	struct edge e[3];
	unsigned n = edges(env, i, e);

	for (unsigned k = 0; k < n; k++)
		if (e[k].branch)
			env->aux[e[k].to].flags |= V_PRUNE | V_JUMP;
	if (is_goto(in)) {
		env->aux[e[0].to].flags |= V_PRUNE | V_JUMP;
	} else if (is_jump(in)) {
		env->aux[i].flags |= V_PRUNE;
		if (BPF_OP(in->code) == BPF_JCOND)
			env->aux[i].flags |= V_FORCE;
	} else if (in->code == (BPF_JMP | BPF_CALL) || is_func_load(in)) {
		env->aux[e[0].to].flags |= V_PRUNE | V_JUMP;
		if (is_pseudo_call(in) || is_func_load(in))
			env->aux[i].flags |= V_PRUNE;
		if (calls_later(in))
			env->aux[i].flags |= V_PRUNE;
		if (in->src_reg == BPF_PSEUDO_KFUNC_CALL &&
		    skep_kfuncs[env->out[i].kfunc].flags & SKEP_KF_ITER_NEXT)
			env->aux[i].flags |= V_PRUNE | V_FORCE | V_ITER_NEXT;
		if (calls_back(in))
			env->aux[i].flags |= V_PRUNE | V_JUMP | V_FORCE | V_CALLBACKS;
	}
}

int skep_v_check_cfg(struct venv *env)
{
	enum { NEW, OPEN, DONE };
	uint8_t *color = calloc(env->n, 1);
	uint8_t *at = calloc(env->n, 1);
	uint32_t *stack = calloc(env->n + 1, sizeof(*stack));
	uint32_t depth = 0;
	int err = 0;

	if (!color || !at || !stack) {
		err = -ENOMEM;
		goto out;
	}
	stack[depth++] = 0;
	color[0] = OPEN;
	while (depth && !err) {
		uint32_t i = stack[depth - 1];
		struct edge e[3] = {0};
		unsigned n = edges(env, i, e);

		if (at[i] == 0)
			mark_points(env, i);
		if (at[i] == n) {
			color[i] = DONE;
			depth--;
			continue;
		}
		e[0] = e[at[i]++];
		env->why_insn = i;
		if (e[0].to >= env->n) {
			err = skep_v_refuse(env, EINVAL, W_CFG, -1,
					    "jump out of range from insn %u to %u\n", i, e[0].to);
		} else if (color[e[0].to] == NEW) {
			color[e[0].to] = OPEN;
			stack[depth++] = e[0].to;
		} else if (color[e[0].to] == OPEN && !env->priv) {
			skep_v_print_line(env, i);
			skep_v_print_line(env, e[0].to);
			err = skep_v_refuse(env, EINVAL, W_LOOP, -1,
					    "back-edge from insn %u to %u\n", i, e[0].to);
		}
	}
	for (uint32_t i = 0; i < env->n && !err; i++) {
		env->why_insn = i;
		if (color[i] == DONE) {
			if (!is_ldimm64(&env->insns[i]))
				continue;
			if (color[i + 1] != NEW)
				err = skep_v_refuse(env, EINVAL, W_CFG, -1,
						    "jump into the middle of ldimm64 insn %u\n", i);
			i++;
			continue;
		}
		err = skep_v_refuse(env, EINVAL, W_CFG, -1, "unreachable insn %u\n", i);
	}
out:
	free(color);
	free(at);
	free(stack);
	return err;
}

/* ---- Stack depth ---- */

static uint32_t rounded(uint32_t stack)
{
	return (stack + 15) & ~15u;
}

struct chain {
	uint32_t sub, insn, depth;
	bool tail;
};

static int depth_from(struct venv *env, uint32_t root)
{
	struct chain c[V_FRAMES];
	uint32_t n = 1;

	c[0] = (struct chain){root, env->subs[root].start, 0, env->subs[root].has_tail_call};
	c[0].depth = rounded(env->subs[root].stack);
	if (c[0].depth > SKEP_STACK_SIZE)
		return skep_v_refuse(env, EACCES, W_STACK_DEPTH, -1,
				     "combined stack size of %u calls is %u. Too large\n", 1,
				     c[0].depth);
	if (c[0].depth > env->depth)
		env->depth = c[0].depth;
	while (n) {
		struct chain *top = &c[n - 1];
		const struct bpf_insn *in;
		uint32_t next, depth;

		if (top->insn >= env->subs[top->sub].end) {
			n--;
			continue;
		}
		in = &env->insns[top->insn++];
		if (is_ldimm64(in))
			top->insn++;
		if (!is_pseudo_call(in) && !is_func_load(in))
			continue;
		env->why_insn = (uint32_t)(in - env->insns);
		next = (uint32_t)skep_v_subprog_at(env, (uint32_t)(in - env->insns + in->imm + 1));
		/* It begins with an empty stack. */
		if (env->subs[next].is_async && is_func_load(in))
			continue;
		if (n == V_FRAMES)
			return skep_v_refuse(env, E2BIG, W_STACK_DEPTH, -1,
					     "the call stack of %u frames is too deep !\n", n);
		/* A program that a tail call enters has the whole stack to itself. */
		if (env->subs[next].has_tail_call && top->depth >= 256)
			return skep_v_refuse(
				env, EACCES, W_STACK_DEPTH, -1,
				"tail_calls are not allowed when call stack of previous "
				"frames is %u bytes. Too large\n",
				top->depth);
		depth = top->depth + rounded(env->subs[next].stack);
		if (depth > SKEP_STACK_SIZE)
			return skep_v_refuse(env, EACCES, W_STACK_DEPTH, -1,
					     "combined stack size of %u calls is %u. Too large\n",
					     n + 1, depth);
		if (depth > env->depth)
			env->depth = depth;
		if (env->subs[next].has_tail_call)
			for (uint32_t i = 0; i < n; i++)
				env->subs[c[i].sub].tail_call_reachable = true;
		c[n++] = (struct chain){next, env->subs[next].start, depth, false};
	}
	return 0;
}

int skep_v_check_stack_depth(struct venv *env)
{
	for (uint32_t i = 0; i < env->nsubs; i++)
		env->subs[i].tail_call_reachable = env->subs[i].has_tail_call;
	for (uint32_t i = 0; i < env->nsubs; i++) {
		int err = !i || env->subs[i].is_async ? depth_from(env, i) : 0;

		if (err)
			return err;
	}
	return 0;
}
