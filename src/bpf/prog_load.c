/* SPDX-License-Identifier: Apache-2.0 */
/* PROG_LOAD: checks in the kernel's order, then verifies, compiles and enters the program. */
#include <stdlib.h>
#include <string.h>

#include "bpf/call.h"
#include "bpf/log.h"
#include "bpf/prog.h"
#include "bpf/sha256.h"
#include "btf/btf.h"
#include "prog/target.h"
#include "prog/type.h"
#include "verifier/verifier.h"
#include "os/caller.h"

#define MAX_INSNS       1000000u
#define LICENSE_MAX     128
#define BTF_MAX_TYPE_ID 0x000fffffu

#define PROG_FLAGS                                                                                 \
	(BPF_F_STRICT_ALIGNMENT | BPF_F_ANY_ALIGNMENT | BPF_F_TEST_STATE_FREQ | BPF_F_SLEEPABLE |  \
	 BPF_F_TEST_RND_HI32 | BPF_F_XDP_HAS_FRAGS | BPF_F_XDP_DEV_BOUND_ONLY |                    \
	 BPF_F_TEST_REG_INVARIANTS | BPF_F_TOKEN_FD)

struct load {
	struct skep_call *c;
	struct skep_prog *prog;
	struct bpf_insn *insns;
	struct skep_log log;
	struct skep_map **bound; /* of fd_array with a count: held by the program */
	uint32_t nbound;
};

/* ---- Life ---- */

static void prog_free(struct skep_prog *prog)
{
	if (prog->code.entry)
		skep_jit_free(&prog->code);
	skep_unbind(prog);
	skep_image_free(&prog->image);
	for (uint32_t i = 0; i < prog->nmaps; i++)
		skep_object_put(&prog->maps[i]->obj);
	free(prog->maps);
	skep_btf_put(prog->btf);
	free(prog->func_info);
	free(prog->line_info);
	free(prog->orig_insns);
	free(prog->stats);
	free(prog);
}

static void prog_destroy(struct skep_object *obj)
{
	prog_free((struct skep_prog *)obj);
}

int skep_prog_add_map(struct skep_prog *prog, struct skep_map *map)
{
	for (uint32_t i = 0; i < prog->nmaps; i++)
		if (prog->maps[i] == map)
			return 0;
	struct skep_map **maps = realloc(prog->maps, (prog->nmaps + 1) * sizeof(void *));
	if (!maps)
		return -ENOMEM;
	prog->maps = maps;
	maps[prog->nmaps++] = map;
	skep_object_ref(&map->obj);
	return 0;
}

/* ---- Attributes ---- */

static bool gpl_compatible(const char *license)
{
	static const char *const names[] = {
		"GPL",          "GPL v2",       "GPL and additional rights",
		"Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(license, names[i]))
			return true;
	return false;
}

#define BIT(type) (1ull << BPF_PROG_TYPE_##type)

/* Types that only these may load; the rest is for CAP_BPF. */
static const struct {
	enum skep_cap cap;
	uint64_t types;
} needs[] = {
	{SKEP_CAP_NET_ADMIN, BIT(SCHED_CLS) | BIT(SCHED_ACT) | BIT(XDP) | BIT(LWT_IN) |
				     BIT(LWT_OUT) | BIT(LWT_XMIT) | BIT(LWT_SEG6LOCAL) |
				     BIT(SK_SKB) | BIT(SK_MSG) | BIT(FLOW_DISSECTOR) |
				     BIT(CGROUP_DEVICE) | BIT(CGROUP_SOCK) | BIT(CGROUP_SOCK_ADDR) |
				     BIT(CGROUP_SOCKOPT) | BIT(CGROUP_SYSCTL) | BIT(SOCK_OPS) |
				     BIT(EXT) | BIT(NETFILTER)},
	{SKEP_CAP_PERFMON, BIT(KPROBE) | BIT(TRACEPOINT) | BIT(PERF_EVENT) | BIT(RAW_TRACEPOINT) |
				   BIT(RAW_TRACEPOINT_WRITABLE) | BIT(TRACING) | BIT(LSM) |
				   BIT(STRUCT_OPS) | BIT(EXT)},
};

static bool may_load(const struct skep_call *c, uint32_t type)
{
	if (type != BPF_PROG_TYPE_SOCKET_FILTER && type != BPF_PROG_TYPE_CGROUP_SKB &&
	    !skep_capable(c->skep, SKEP_CAP_BPF))
		return false;
	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]) && type < 64; i++)
		if (needs[i].types >> type & 1 && !skep_capable(c->skep, needs[i].cap))
			return false;
	return true;
}

/* Programs and types that attach_prog_fd, attach_btf_id name: iterators take a function of the kernel's,
 * others nothing. */
static int check_attach_target(struct skep_call *c)
{
	const union bpf_attr *a = &c->attr;

	if (a->attach_prog_fd) {
		struct skep_object *obj;
		if (!skep_object_get(c->skep, (int)a->attach_prog_fd, SKEP_KIND_PROG, &obj)) {
			skep_object_put(obj);
			return -EINVAL;
		}
		if (!skep_object_get(c->skep, (int)a->attach_prog_fd, SKEP_KIND_BTF, &obj)) {
			skep_object_put(obj);
			return -SKEP_ENOTSUPP; /* not the kernel's BTF */
		}
		return -EINVAL;
	}
	if (skep_target_needed(a->prog_type))
		return a->attach_btf_id <= BTF_MAX_TYPE_ID ? 0 : -EINVAL;
	return a->attach_btf_id ? -EINVAL : 0;
}

static int check_attr(struct skep_call *c)
{
	const union bpf_attr *a = &c->attr;
	uint32_t most = skep_capable(c->skep, SKEP_CAP_BPF) ? MAX_INSNS : BPF_MAXINSNS;

	if (a->prog_flags & ~PROG_FLAGS)
		return -EINVAL;
	if (a->prog_flags & BPF_F_TOKEN_FD)
		return skep_wrong_fd((uint32_t)a->prog_token_fd); /* there are no tokens */
	if (!a->insn_cnt || a->insn_cnt > most)
		return -E2BIG;
	if (!may_load(c, a->prog_type))
		return -EPERM;
	int err = check_attach_target(c);
	if (err)
		return err;
	if (a->prog_type < skep_nprog_types && skep_prog_types[a->prog_type].check_attach)
		return skep_prog_types[a->prog_type].check_attach(a->expected_attach_type);
	return 0;
}

/* The tag: instructions, with what differs between loads of one program left out. */
static int digest(struct skep_prog *prog, const struct bpf_insn *insns, uint32_t n)
{
	struct bpf_insn *copy = malloc(n * sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	memcpy(copy, insns, n * sizeof(*copy));
	for (uint32_t i = 0; i + 1 < n; i++) {
		if (copy[i].code != (BPF_LD | BPF_IMM | BPF_DW))
			continue;
		if (copy[i].src_reg == BPF_PSEUDO_MAP_FD ||
		    copy[i].src_reg == BPF_PSEUDO_MAP_VALUE) {
			copy[i].imm = 0;
			copy[i + 1].imm = 0;
		}
		i++;
	}
	skep_sha256(copy, n * sizeof(*copy), prog->digest);
	memcpy(prog->tag, prog->digest, BPF_TAG_SIZE);
	free(copy);
	return 0;
}

static int read_program(struct load *l)
{
	const union bpf_attr *a = &l->c->attr;
	struct skep_prog *prog = l->prog;
	char license[LICENSE_MAX];
	size_t size = a->insn_cnt * sizeof(struct bpf_insn);

	l->insns = malloc(size);
	prog->orig_insns = malloc(size);
	if (!l->insns || !prog->orig_insns)
		return -ENOMEM;
	if (skep_user_read(l->insns, a->insns, size))
		return -EFAULT;
	memcpy(prog->orig_insns, l->insns, size);
	prog->norig = a->insn_cnt;
	if (skep_caller_read_str(license, skep_user_ptr(a->license), sizeof(license)) < 0)
		return -EFAULT;
	license[LICENSE_MAX - 1] = 0;
	prog->gpl = gpl_compatible(license);
	if (a->signature)
		return -EOPNOTSUPP; /* as a kernel without signature checks */
	if (a->prog_ifindex)
		return -EINVAL; /* no device here takes programs */
	if (a->prog_type >= skep_nprog_types || !skep_prog_types[a->prog_type].name)
		return -EINVAL;
	prog->ops = &skep_prog_types[a->prog_type];
	prog->load_ns = skep_clock_boot();
	int err = skep_copy_name(prog->name, a->prog_name);
	return err ? err : digest(prog, l->insns, a->insn_cnt);
}

/* ---- What the program refers to ---- */

static int usable_map(struct load *l, struct skep_map *map)
{
	if (!map->exclusive || !memcmp(map->excl_hash, l->prog->digest, sizeof(map->excl_hash)))
		return 0;
	skep_log_printf(&l->log, "program's hash doesn't match map's excl_prog_hash\n");
	return -EACCES;
}

static int get_map(void *arg, uint32_t fd, bool is_idx, struct skep_map **out)
{
	struct load *l = arg;
	struct skep_map *map;

	if (is_idx &&
	    skep_user_read(&fd, l->c->attr.fd_array + (uint64_t)fd * sizeof(fd), sizeof(fd)))
		return -EFAULT;
	int err = skep_get_map(l->c->skep, fd, &map, NULL, NULL);
	if (err)
		return err;
	err = usable_map(l, map);
	if (err)
		skep_object_put(&map->obj);
	else
		*out = map;
	return err;
}

/* With a count, fd_array names maps and BTF that the program holds in any case. */
static int bind_fd_array(struct load *l)
{
	const union bpf_attr *a = &l->c->attr;

	if (a->fd_array_cnt >= UINT32_MAX / sizeof(int)) {
		skep_log_printf(&l->log, "fd_array_cnt is too big (%u)\n", a->fd_array_cnt);
		return -EINVAL;
	}
	for (uint32_t i = 0; i < a->fd_array_cnt; i++) {
		struct skep_object *obj;
		int fd;
		if (skep_user_read(&fd, a->fd_array + i * sizeof(fd), sizeof(fd)))
			return -EFAULT;
		if (!skep_object_get(l->c->skep, fd, SKEP_KIND_BTF, &obj)) {
			skep_object_put(obj);
			continue;
		}
		int err = skep_object_get(l->c->skep, fd, SKEP_KIND_MAP, &obj);
		if (err) {
			skep_log_printf(&l->log, "fd %d is not pointing to valid bpf_map or btf\n",
					fd);
			return err;
		}
		struct skep_map **more = realloc(l->bound, (l->nbound + 1) * sizeof(void *));
		if (more) {
			l->bound = more;
			more[l->nbound++] = (struct skep_map *)obj;
			err = usable_map(l, (struct skep_map *)obj);
		} else {
			skep_object_put(obj);
			err = -ENOMEM;
		}
		if (err)
			return err;
	}
	return 0;
}

static int read_func_info(struct load *l)
{
	const union bpf_attr *a = &l->c->attr;
	struct skep_prog *prog = l->prog;
	int err;

	if (!a->func_info_cnt && !a->line_info_cnt)
		return 0;
	err = skep_get_btf(l->c->skep, a->prog_btf_fd, &prog->btf);
	if (err)
		return err;
	if (prog->btf->kernel)
		return -EACCES;
	err = skep_btf_check_func_info(prog->btf, a, &l->log, &prog->func_info, &prog->nfunc_info);
	if (err == -E2BIG && skep_call_put(l->c, func_info_rec_size, sizeof(*prog->func_info)))
		err = -EFAULT;
	return err;
}

static int read_line_info(struct load *l)
{
	const union bpf_attr *a = &l->c->attr;
	struct skep_prog *prog = l->prog;
	int err;

	if (!prog->btf)
		return 0;
	err = skep_btf_match_func_info(prog->func_info, prog->nfunc_info, l->insns, a->insn_cnt,
				       &l->log);
	if (err)
		return err;
	err = skep_btf_check_line_info(prog->btf, a, l->insns, a->insn_cnt, &l->log,
				       &prog->line_info, &prog->nline_info);
	if (err == -E2BIG && skep_call_put(l->c, line_info_rec_size, sizeof(*prog->line_info)))
		err = -EFAULT;
	if (!err && a->core_relo_cnt) {
		/* Loaders relocate by themselves; that the kernel can is for signed ones. */
		skep_log_printf(&l->log, "CO-RE relocations are not done on loading here\n");
		err = -EOPNOTSUPP;
	}
	return err;
}

static bool may_sleep(const struct skep_prog *prog)
{
	switch (prog->type) {
	case BPF_PROG_TYPE_TRACING:
		return prog->attach_type != BPF_TRACE_RAW_TP;
	case BPF_PROG_TYPE_SYSCALL:
	case BPF_PROG_TYPE_KPROBE:
		return true;
	default:
		return false;
	}
}

static int check_sleepable(struct load *l)
{
	const char *text = NULL;

	if (l->prog->type == BPF_PROG_TYPE_SYSCALL && !l->prog->sleepable)
		text = "Syscall programs can only be sleepable\n";
	else if (l->prog->sleepable && !may_sleep(l->prog))
		text = "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can "
		       "be sleepable\n";
	if (!text)
		return 0;
	skep_log_printf(&l->log, "%s", text);
	return -EINVAL;
}

static int phase(void *arg, enum skep_load_phase at)
{
	int err;

	switch (at) {
	case SKEP_LOAD_BEGIN:
		err = bind_fd_array(arg);
		return err ? err : read_func_info(arg);
	case SKEP_LOAD_SUBPROGS:
		return read_line_info(arg);
	case SKEP_LOAD_CFG:
		err = check_sleepable(arg);
		return err ? err
			   : skep_target_find(((struct load *)arg)->prog,
					      &((struct load *)arg)->log);
	}
	return 0;
}

/* ---- Verify, compile ---- */

static int verify(struct load *l)
{
	const union bpf_attr *a = &l->c->attr;
	struct skep_verify_stats stats = {0};
	struct skep_verify_in in = {
		.insns = l->insns,
		.ninsns = a->insn_cnt,
		.fd_array = skep_user_ptr(a->fd_array),
		.get_map = get_map,
		.phase = phase,
		.arg = l,
		/* The verifier tells no more: who has one of them gets what nobody has. */
		.privileged = skep_capable(l->c->skep, SKEP_CAP_BPF) &&
			      skep_capable(l->c->skep, SKEP_CAP_PERFMON),
		.strict_alignment =
			(a->prog_flags & (BPF_F_STRICT_ALIGNMENT | BPF_F_ANY_ALIGNMENT)) ==
			BPF_F_STRICT_ALIGNMENT,
		.test_state_freq = a->prog_flags & BPF_F_TEST_STATE_FREQ,
		.log = &l->log,
	};
	uint32_t true_size = 0;
	int err = skep_log_init(&l->log, a->log_level, skep_user_ptr(a->log_buf), a->log_size);

	if (err)
		return err;
	err = skep_verify(l->prog, &in, &stats);
	for (uint32_t i = 0; i < l->nbound && !err; i++)
		err = skep_prog_add_map(l->prog, l->bound[i]);
	l->prog->verified_insns = (uint32_t)stats.insns_processed;
	l->prog->stack_depth = stats.stack_depth;
	int log_err = skep_log_finish(&l->log, &true_size);
	if (l->c->size >= offsetof(union bpf_attr, log_true_size) + sizeof(true_size) &&
	    skep_call_put(l->c, log_true_size, true_size))
		log_err = -EFAULT;
	return log_err ? log_err : err;
}

static int compile(struct skep_prog *prog)
{
	int err = skep_bind(prog);

	if (err)
		return err;
	prog->run = skep_interp_run;
	if (prog->obj.skep->opts.flags & (SKEP_F_INTERPRET | SKEP_F_CHECKED))
		return 0;
	err = skep_jit(prog, &prog->code);
	if (err == -ENOTSUP)
		return 0; /* no back end for this machine */
	if (!err)
		prog->run = prog->code.entry;
	return err;
}

/* Who sends or jumps through a map and what runs there are of one kind. */
static int check_owners(struct skep_prog *prog)
{
	for (uint32_t i = 0; i < prog->nmaps; i++)
		if (skep_map_holds_progs(prog->maps[i]) &&
		    !skep_map_prog_compatible(prog->maps[i], prog))
			return -EINVAL;
	return 0;
}

static struct skep_prog *prog_alloc(struct skep_call *c)
{
	struct skep_prog *prog = calloc(1, sizeof(*prog));
	size_t stats = c->skep->cpus * sizeof(*prog->stats);

	if (!prog)
		return NULL;
	prog->stats = aligned_alloc(64, (stats + 63) & ~63ull);
	if (!prog->stats) {
		free(prog);
		return NULL;
	}
	memset(prog->stats, 0, stats);
	prog->obj.skep = c->skep;
	prog->obj.fd = -1;
	prog->obj.destroy = prog_destroy;
	prog->type = c->attr.prog_type;
	prog->attach_type = c->attr.expected_attach_type;
	prog->attach_btf_id = c->attr.attach_btf_id;
	prog->flags = c->attr.prog_flags;
	prog->sleepable = c->attr.prog_flags & BPF_F_SLEEPABLE;
	prog->xdp_frags = c->attr.prog_flags & BPF_F_XDP_HAS_FRAGS;
	return prog;
}

long skep_cmd_prog_load(struct skep_call *c)
{
	struct load l = {.c = c};
	int err = check_attr(c);

	if (err)
		return err;
	l.prog = prog_alloc(c);
	if (!l.prog)
		return -ENOMEM;
	err = read_program(&l);
	if (!err)
		err = verify(&l);
	if (!err)
		err = compile(l.prog);
	if (!err)
		err = check_owners(l.prog);
	if (!err)
		err = skep_object_add(c->skep, &l.prog->obj, SKEP_KIND_PROG, -1);
	for (uint32_t i = 0; i < l.nbound; i++)
		skep_object_put(&l.bound[i]->obj);
	free(l.bound);
	free(l.insns);
	if (err) {
		prog_free(l.prog);
		return err;
	}
	return skep_give_fd(&l.prog->obj, 0);
}
