/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of helpers: whether this program may, arguments, and what comes back.
 */
#include "verifier/call.h"

#include <string.h>

#include "btf/btf.h"
#include "helper/format.h"
#include "verifier/async.h"
#include "verifier/btfptr.h"
#include "verifier/dynptr.h"
#include "verifier/kptr.h"
#include "verifier/mem.h"

/* Functions that the kernel has, by id: a name that it prints. */
static int find_helper(struct venv *env, const struct bpf_insn *in, struct vcall *c)
{
	uint32_t id = (uint32_t)in->imm;

	c->id = id;
	c->name = skep_helper_name(id);
	if (!c->name)
		return skep_v_refuse(env, EINVAL, W_HELPER, -1, "invalid func unknown#%d\n",
				     in->imm);
	c->row = skep_helper_row(id, env->prog->type);
	if (!c->row || (!env->priv && c->row->flags & (SKEP_HELPER_PRIV | SKEP_HELPER_PERFMON)))
		return skep_v_refuse(env, EINVAL, W_HELPER, -1,
				     "program of this type cannot use helper bpf_%s#%u\n", c->name,
				     id);
	if (c->row->flags & SKEP_HELPER_GPL && !env->prog->gpl)
		return skep_v_refuse(
			env, EINVAL, W_GPL, -1,
			"cannot call GPL-restricted function from non-GPL compatible program\n");
	if (c->row->flags & SKEP_HELPER_SLEEPS && !env->prog->sleepable)
		return skep_v_refuse(env, EINVAL, W_HELPER, -1,
				     "helper call might sleep in a non-sleepable prog\n");
	if (c->row->flags & SKEP_HELPER_SLEEPS && env->cur->rcu)
		return skep_v_refuse(env, EINVAL, W_HELPER, -1,
				     "sleepable helper bpf_%s#%u in rcu_read_lock region\n",
				     c->name, id);
	return 0;
}

static bool changes_map(uint32_t id)
{
	return id == BPF_FUNC_map_delete_elem || id == BPF_FUNC_map_update_elem ||
	       id == BPF_FUNC_map_push_elem || id == BPF_FUNC_map_pop_elem;
}

static bool takes_map(uint32_t id)
{
	return id == BPF_FUNC_tail_call || id == BPF_FUNC_map_lookup_elem || changes_map(id) ||
	       id == BPF_FUNC_map_peek_elem || id == BPF_FUNC_for_each_map_elem ||
	       id == BPF_FUNC_redirect_map || id == BPF_FUNC_map_lookup_percpu_elem;
}

/* What the JIT may build on: the same map, the same key on every path. */
static void note_call(struct venv *env, const struct vcall *c)
{
	struct skep_aux *o = &env->out[env->insn];
	bool first = !env->aux[env->insn].ptr_type;

	env->aux[env->insn].ptr_type = 1;
	if (first) {
		o->map = c->map_index;
		o->key_const = c->const_key >= 0;
		o->key = (uint64_t)c->const_key;
		return;
	}
	if (o->map != c->map_index) {
		o->map = -1;
		o->map_poisoned = true;
	}
	if (c->const_key < 0 || o->key != (uint64_t)c->const_key)
		o->key_const = false;
}

static int record_map(struct venv *env, struct vcall *c)
{
	if (takes_map(c->id) && changes_map(c->id) && c->map && c->map->flags & BPF_F_RDONLY_PROG)
		return skep_v_refuse(env, EACCES, W_RDONLY, -1, "write into map forbidden\n");
	if (c->id == BPF_FUNC_tail_call) {
		const struct vreg *key = v_reg(env, 3);

		if (!c->map || c->map->type != BPF_MAP_TYPE_PROG_ARRAY)
			return skep_v_refuse(env, EINVAL, W_MAP, 2,
					     "expected prog array map for tail call");
		if (v_is_scalar(key) && v_is_const(key) &&
		    key->s.bits.value < c->map->max_entries) {
			c->const_key = (int64_t)key->s.bits.value;
			return skep_v_precise(env, 3);
		}
	}
	return 0;
}

/* ---- References and locks ---- */

int skep_v_check_leaks(struct venv *env, bool check_lock, const char *what)
{
	bool leaked = false;

	if (check_lock && env->cur->nlocks)
		return skep_v_refuse(env, EINVAL, W_LOCK, -1,
				     "%s cannot be used inside bpf_spin_lock-ed region\n", what);
	if (env->cur->curframe && check_lock == false)
		return 0;
	for (uint32_t i = 0; env->cur->refs && i < env->cur->refs->n; i++) {
		const struct vref *r = &env->cur->refs->r[i];

		if (r->kind != V_REF_PTR)
			continue;
		env->leak_insn = r->insn;
		skep_v_refuse(env, EINVAL, W_LEAK, -1, "Unreleased reference id=%u alloc_insn=%u\n",
			      r->id, r->insn);
		leaked = true;
	}
	if (leaked)
		return skep_v_refuse(env, EINVAL, W_REF, -1, "%s would lead to reference leak\n",
				     what);
	if (check_lock && env->cur->rcu)
		return skep_v_refuse(env, EINVAL, W_LOCK, -1,
				     "%s cannot be used inside bpf_rcu_read_lock-ed region\n",
				     what);
	return 0;
}

static int release(struct venv *env, struct vcall *c)
{
	struct vstate *st = env->cur;

	if (!c->release)
		return 0;
	if (c->dynptr_release)
		return skep_v_dynptr_release(env, c->release);
	for (uint32_t i = 0; st->refs && i < st->refs->n; i++) {
		int err;

		if (st->refs->r[i].kind != V_REF_PTR || st->refs->r[i].id != c->ref)
			continue;
		err = skep_v_ref_del(env, st, i);
		if (!err && c->id == BPF_FUNC_kptr_xchg)
			return skep_v_kptr_release(env, c);
		if (!err)
			skep_v_drop_ref_regs(env, c->ref);
		return err ? err : env->err;
	}
	if (v_is_null(v_reg(env, (uint32_t)c->release)))
		return 0;
	return skep_v_refuse(env, EINVAL, W_ARG_TYPE, c->release,
			     "func bpf_%s#%u reference has not been acquired before\n", c->name,
			     c->id);
}

/* ---- Callbacks ---- */

static void enter_common(const struct vframe *caller, struct vframe *callee)
{
	(void)caller;
	callee->callback = true;
	callee->cb_min = 0;
	callee->cb_max = 1;
}

static int enter_loop(struct venv *env, const struct vframe *caller, struct vframe *callee)
{
	(void)env;
	skep_v_reg_unknown(&callee->reg[1]);
	callee->reg[2] = caller->reg[3];
	enter_common(caller, callee);
	return 0;
}

static int enter_for_each(struct venv *env, const struct vframe *caller, struct vframe *callee)
{
	const struct vreg *map = &caller->reg[1];
	const struct skep_map *m = skep_v_map(env, map);

	if (!m->ops->for_each)
		return skep_v_refuse(env, V_ENOTSUPP, W_MAP, 1,
				     "callback function not allowed for map\n");
	skep_v_reg_zero_ptr(&callee->reg[1], V_MAP_PTR);
	skep_v_reg_zero_ptr(&callee->reg[2], V_MAP_KEY);
	skep_v_reg_zero_ptr(&callee->reg[3], V_MAP_VALUE);
	for (unsigned r = 1; r <= 3; r++) {
		callee->reg[r].map = map->map;
		callee->reg[r].inner = map->inner;
		callee->reg[r].map_uid = map->map_uid;
		callee->reg[r].origin = env->insn;
	}
	callee->reg[4] = caller->reg[3];
	enter_common(caller, callee);
	return 0;
}

static int call_loop(struct venv *env, const struct bpf_insn *in, const struct vcall *c,
		     uint32_t *next)
{
	struct vinsn *a = &env->aux[env->insn];
	uint32_t *inl = &env->out[env->insn].loop_inline;
	struct vframe *f;
	int err = 0;

	/* Whether one callback is called without flags, whatever path comes here. */
	if (!a->loop_seen || *inl) {
		bool fits = v_is_null(v_reg(env, 4)) && (!a->loop_seen || *inl == c->subprog + 1);

		if (v_is_null(v_reg(env, 4)))
			err = skep_v_precise(env, 4);
		*inl = fits ? c->subprog + 1 : 0;
		a->loop_seen = true;
	}
	if (!err)
		err = skep_v_precise(env, 1);
	if (err)
		return err;
	if (v_frame(env->cur)->cb_depth < v_reg(env, 1)->s.umax)
		return skep_v_callback(env, in, c->subprog, next, enter_loop);
	f = skep_v_frame_mut(env, env->cur, env->cur->curframe);
	if (!f)
		return -ENOMEM;
	f->cb_depth = 0;
	if (skep_log_on(env->log, SKEP_LOG_LEVEL2))
		skep_v_log(env, "frame%u bpf_loop iteration limit reached\n", env->cur->curframe);
	return 0;
}

static int check_snprintf(struct venv *env)
{
	const struct vreg *fmt = v_reg(env, 3), *len = v_reg(env, 5);
	struct skep_map *map = env->maps[fmt->map];
	uint64_t avail, at = (uint64_t)((int64_t)fmt->s.bits.value + fmt->off);
	void *base;

	if (len->s.bits.value % 8)
		return -EINVAL;
	if (map->ops->direct(map, &base, &avail))
		return skep_v_refuse(env, EFAULT, W_MAP, 3,
				     "verifier bug: direct value access failed\n");
	if (skep_format_check((const char *)base + at, map->value_size - at,
			      (uint32_t)(len->s.bits.value / 8)))
		return skep_v_refuse(env, EINVAL, W_ARG_TYPE, 3, "Invalid format string\n");
	return 0;
}

static int special(struct venv *env, const struct bpf_insn *in, const struct vcall *c,
		   uint32_t *next)
{
	char name[64];

	switch (c->id) {
	case BPF_FUNC_tail_call:
		return skep_v_check_leaks(env, true, "tail_call");
	case BPF_FUNC_for_each_map_elem:
		return skep_v_callback(env, in, c->subprog, next, enter_for_each);
	case BPF_FUNC_timer_set_callback:
		return skep_v_async_callback(env, c->subprog, skep_v_enter_element);
	case BPF_FUNC_loop:
		return call_loop(env, in, c, next);
	case BPF_FUNC_snprintf:
		return check_snprintf(env);
	case BPF_FUNC_dynptr_from_mem:
		if (v_reg(env, 1)->type != V_MAP_VALUE)
			return skep_v_refuse(
				env, EACCES, W_ARG_TYPE, 1,
				"Unsupported reg type %s for bpf_dynptr_from_mem data\n",
				skep_v_type_name(v_reg(env, 1), name));
		return 0;
	case BPF_FUNC_get_local_storage:
		return v_is_null(v_reg(env, 2))
			       ? 0
			       : skep_v_refuse(env, EINVAL, W_ARG_TYPE, 2,
					       "get_local_storage() doesn't support non-zero "
					       "flags\n");
	default:
		return 0;
	}
}

/* ---- Results ---- */

static void clamp(struct vreg *r, int64_t min, int64_t max)
{
	r->s.smin = min;
	r->s.smax = max;
	r->s.s32_max = (int32_t)max;
	r->s.s32_min = (int32_t)min;
	skep_scalar_sync(&r->s);
}

static void refine(struct venv *env, const struct vcall *c, struct vreg *r0)
{
	switch (c->id) {
	case BPF_FUNC_get_stack:
	case BPF_FUNC_probe_read_str:
	case BPF_FUNC_probe_read_kernel_str:
	case BPF_FUNC_probe_read_user_str:
		r0->s.smax = (int64_t)c->max_size;
		r0->s.s32_max = (int32_t)c->max_size;
		r0->s.smin = -4095;
		r0->s.s32_min = -4095;
		skep_scalar_sync(&r0->s);
		break;
	case BPF_FUNC_get_smp_processor_id: {
		uint32_t max = env->prog->obj.skep ? env->prog->obj.skep->cpus - 1 : 0;

		r0->s.umin = 0;
		r0->s.umax = max;
		r0->s.u32_min = 0;
		r0->s.u32_max = max;
		clamp(r0, 0, max);
		break;
	}
	default:
		break;
	}
}

/* What these give must be given back. */
static bool acquires(const struct vcall *c)
{
	uint32_t id = c->id;

	if (id == BPF_FUNC_map_lookup_elem && c->map && skep_v_is_sockmap(c->map))
		return true;
	return id == BPF_FUNC_ringbuf_reserve || id == BPF_FUNC_kptr_xchg ||
	       id == BPF_FUNC_sk_lookup_tcp || id == BPF_FUNC_sk_lookup_udp ||
	       id == BPF_FUNC_skc_lookup_tcp;
}

static bool casts(uint32_t id)
{
	return id == BPF_FUNC_sk_fullsock || id == BPF_FUNC_tcp_sock ||
	       id == BPF_FUNC_skc_to_tcp_sock || id == BPF_FUNC_skc_to_tcp6_sock ||
	       id == BPF_FUNC_skc_to_tcp_timewait_sock || id == BPF_FUNC_skc_to_tcp_request_sock ||
	       id == BPF_FUNC_skc_to_udp6_sock || id == BPF_FUNC_skc_to_mptcp_sock;
}

static int result(struct venv *env, const struct vcall *c)
{
	struct vreg *r0 = skep_v_reg(env, 0);
	int err;

	if (!r0)
		return -ENOMEM;
	switch (c->row->ret) {
	case SKEP_RET_VOID:
		skep_v_reg_invalid(r0);
		break;
	case SKEP_RET_INTEGER:
		skep_v_reg_unknown(r0);
		r0->precise = !env->priv;
		refine(env, c, r0);
		break;
	case SKEP_RET_MAP_VALUE:
	case SKEP_RET_MAP_VALUE_OR_NULL:
		if (!c->map)
			return skep_v_refuse(env, EINVAL, W_MAP, -1,
					     "kernel subsystem misconfigured verifier\n");
		skep_v_reg_zero_ptr(r0, V_MAP_VALUE);
		r0->map = c->map_index;
		r0->inner = c->map_inner;
		if (c->map_inner)
			r0->map = 0;
		r0->map_uid = c->map_uid;
		r0->flags = c->row->ret == SKEP_RET_MAP_VALUE_OR_NULL ? V_MAYBE_NULL : 0;
		if (c->id == BPF_FUNC_map_lookup_elem && c->const_key >= 0 &&
		    c->const_key < c->map->max_entries)
			r0->flags = 0;
		if (!r0->flags && skep_map_field(c->map, SKEP_FIELD_SPIN_LOCK))
			r0->id = ++env->next_id;
		break;
	case SKEP_RET_ALLOC_MEM_OR_NULL:
		skep_v_reg_zero_ptr(r0, V_MEM);
		r0->flags = V_MAYBE_NULL | V_RINGBUF;
		r0->mem_size = (uint32_t)c->mem_size;
		break;
	case SKEP_RET_DYNPTR_MEM_OR_NULL:
		skep_v_reg_zero_ptr(r0, V_MEM);
		r0->flags = V_MAYBE_NULL;
		r0->mem_size = (uint32_t)c->mem_size;
		r0->dynptr = c->dynptr;
		r0->ref = c->ref;
		break;
	case SKEP_RET_SOCKET_OR_NULL:
	case SKEP_RET_SOCK_COMMON_OR_NULL:
	case SKEP_RET_TCP_SOCK_OR_NULL:
		skep_v_reg_zero_ptr(r0, c->row->ret == SKEP_RET_SOCKET_OR_NULL     ? V_SOCK
					: c->row->ret == SKEP_RET_TCP_SOCK_OR_NULL ? V_TCP_SOCK
										   : V_SOCK_COMMON);
		r0->flags = V_MAYBE_NULL;
		break;
	case SKEP_RET_BTF_ID:
	case SKEP_RET_BTF_ID_OR_NULL: {
		const struct skep_btf *btf = skep_v_vmlinux(env);
		int64_t id;

		if (c->id == BPF_FUNC_kptr_xchg) {
			skep_v_kptr_result(env, c, r0);
			break;
		}
		id = btf ? skep_btf_find(btf, c->row->ret_type, BTF_KIND_STRUCT) : -ENOENT;

		if (id < 0)
			return skep_v_refuse(env, EINVAL, W_HELPER, -1,
					     "invalid return type %u of func bpf_%s#%u\n",
					     c->row->ret, c->name, c->id);
		skep_v_reg_btf(env, r0, btf, (uint32_t)id, 0);
		r0->flags = c->row->ret == SKEP_RET_BTF_ID_OR_NULL ? V_MAYBE_NULL : V_TRUSTED;
		break;
	}
	case SKEP_RET_MEM_OR_BTF_ID:
	case SKEP_RET_MEM_OR_BTF_ID_OR_NULL: {
		int64_t size;

		if (c->percpu_btf) {
			skep_v_reg_btf(env, r0, c->percpu_btf, c->btf_id,
				       c->percpu_rcu ? V_ALLOC | V_RCU : 0);
			if (c->row->ret == SKEP_RET_MEM_OR_BTF_ID_OR_NULL)
				r0->flags |= V_MAYBE_NULL;
			break;
		}
		size = skep_btf_size(env->prog->obj.skep->vmlinux, c->btf_id);

		if (size < 0)
			return (int)size;
		skep_v_reg_zero_ptr(r0, V_MEM);
		r0->flags = V_RDONLY;
		if (c->row->ret == SKEP_RET_MEM_OR_BTF_ID_OR_NULL)
			r0->flags |= V_MAYBE_NULL;
		r0->mem_size = (uint32_t)size;
		break;
	}
	default:
		return skep_v_refuse(env, EINVAL, W_HELPER, -1,
				     "unknown return type %u of func bpf_%s#%u\n", c->row->ret,
				     c->name, c->id);
	}
	r0->origin = env->insn;
	if (r0->flags & V_MAYBE_NULL)
		r0->id = ++env->next_id;
	/* The same socket seen as another type goes when it goes. */
	if (casts(c->id))
		r0->ref = c->ref;
	if (acquires(c)) {
		uint32_t id = ++env->next_id;

		err = skep_v_ref_add(env, env->cur, id, V_REF_PTR, NULL);
		if (err)
			return err;
		r0->id = id;
		r0->ref = id;
	}
	return 0;
}

/* The helper wrote raw_size bytes of the stack. */
static int write_raw(struct venv *env, const struct vcall *c)
{
	for (uint32_t i = 0; i < c->raw_size; i++) {
		int err = skep_v_stack_write(env, c->raw_reg, (int)i, 1, -1, env->insn);

		if (err)
			return err;
	}
	if (c->raw_size) {
		/* Whole slots are known to be overwritten. */
		const struct vreg *r = v_reg(env, (uint32_t)c->raw_reg);
		int64_t lo = r->off + (int64_t)r->s.bits.value, hi = lo + c->raw_size;
		uint64_t mask = 0;

		for (int64_t s = 0; s < V_SLOTS; s++)
			if (-8 * (s + 1) >= lo && -8 * s <= hi)
				mask |= 1ull << s;
		return skep_v_live_write(env, r->frameno, mask);
	}
	return 0;
}

/* A tail call or a packet load that fails ends the function, not the program: one
 * path goes on behind it, this one returns. */
static int return_early(struct venv *env, bool zero, uint32_t *next)
{
	struct vreg *r0;

	if (!skep_v_push(env, env->insn + 1, env->insn))
		return env->err ? env->err : -ENOMEM;
	if (!zero)
		skep_v_invalidate_pkts(env);
	r0 = skep_v_reg(env, 0);
	if (!r0 || env->err)
		return -ENOMEM;
	if (zero)
		skep_v_reg_const(r0, 0);
	else
		skep_v_reg_unknown(r0);
	return skep_v_leave_frame(env, next);
}

int skep_v_helper(struct venv *env, const struct bpf_insn *in, uint32_t *next)
{
	struct vcall c = {.map_index = -1, .const_key = -1};
	struct vframe *f;
	int err = find_helper(env, in, &c);

	if (!err && (c.id == BPF_FUNC_get_current_task_btf || c.id == BPF_FUNC_get_current_task) &&
	    skep_v_need_heap(env))
		err = -ENOMEM;

	for (unsigned i = 0; i < 5 && !err; i++)
		err = skep_v_arg(env, &c, i);
	if (!err)
		err = record_map(env, &c);
	if (!err)
		err = write_raw(env, &c);
	if (!err)
		err = release(env, &c);
	if (!err)
		err = special(env, in, &c, next);
	if (err)
		return err;
	note_call(env, &c);
	f = skep_v_frame_mut(env, env->cur, env->cur->curframe);
	if (!f)
		return -ENOMEM;
	for (unsigned r = 0; r <= 5; r++) {
		skep_v_reg_invalid(&f->reg[r]);
		env->scratched |= (uint16_t)(1u << r);
	}
	err = result(env, &c);
	if (!err)
		err = skep_v_map_for_helper(env, &c);
	if (!err && c.id == BPF_FUNC_get_func_ip && env->prog->type == BPF_PROG_TYPE_TRACING)
		err = skep_v_refuse(env, V_ENOTSUPP, W_HELPER, -1,
				    "func bpf_%s#%u supported only for fentry/fexit/fmod_ret "
				    "programs\n",
				    c.name, c.id);
	else if (!err && c.id == BPF_FUNC_get_func_ip && env->prog->type != BPF_PROG_TYPE_KPROBE)
		err = skep_v_refuse(env, V_ENOTSUPP, W_HELPER, -1,
				    "func bpf_%s#%u not supported for program type %u\n", c.name,
				    c.id, env->prog->type);
	if (err)
		return err;
	if (c.id == BPF_FUNC_tail_call)
		return env->cur->curframe ? return_early(env, false, next) : 0;
	if (c.row->flags & SKEP_HELPER_CHANGES_PKT || c.moves_pkt) {
		skep_v_invalidate_pkts(env);
		return env->err;
	}
	return 0;
}

int skep_v_ld_abs(struct venv *env, const struct bpf_insn *in, uint32_t *next)
{
	struct vframe *f;
	int err;

	if (!env->prog->ops->ld_abs)
		return skep_v_refuse(
			env, EINVAL, W_INSN, -1,
			"BPF_LD_[ABS|IND] instructions not allowed for this program type\n");
	if (in->dst_reg || in->off || BPF_SIZE(in->code) == BPF_DW ||
	    (BPF_MODE(in->code) == BPF_ABS && in->src_reg))
		return skep_v_refuse(env, EINVAL, W_INSN, -1,
				     "BPF_LD_[ABS|IND] uses reserved fields\n");
	err = skep_v_read_reg(env, 6, true);
	if (!err)
		err = skep_v_check_leaks(env, true, "BPF_LD_[ABS|IND]");
	if (err)
		return err;
	if (v_reg(env, 6)->type != V_CTX)
		return skep_v_refuse(env, EINVAL, W_TYPE, 6,
				     "at the time of BPF_LD_ABS|IND R6 != pointer to skb\n");
	if (BPF_MODE(in->code) == BPF_IND)
		err = skep_v_read_reg(env, in->src_reg, true);
	if (!err)
		err = skep_v_ptr_reg_off(env, v_reg(env, 6), 6, false);
	if (err)
		return err;
	f = skep_v_frame_mut(env, env->cur, env->cur->curframe);
	if (!f)
		return -ENOMEM;
	for (unsigned r = 0; r <= 5; r++)
		skep_v_reg_invalid(&f->reg[r]);
	skep_v_reg_unknown(&f->reg[0]);
	f->reg[0].precise = !env->priv;
	f->reg[0].def32 = env->insn + 1;
	env->scratched |= 1;
	if (env->cur->curframe)
		return return_early(env, true, next);
	return 0;
}
