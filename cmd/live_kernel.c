/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live interfaces with the kernel runtime: XDP, in generic mode, which works on every interface and
 * leaves its offloads alone. Attached through links: they go when the process goes, however
 * that happens.
 */
#include "live.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROWS    5 /* XDP_ABORTED .. XDP_REDIRECT */
#define TICK_NS 1000000000ull
#define POLL_NS 20000000ull

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

#define INSN(c, d, s, o, i)                                                                        \
	((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)})

static int devmap_to(unsigned int ifindex)
{
	uint32_t key = 0;
	int fd = bpf_map_create(BPF_MAP_TYPE_DEVMAP, "skep_wire", 4, 4, 1, NULL), err;

	if (fd < 0)
		return -errno;
	if (!bpf_map_update_elem(fd, &key, &ifindex, 0))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

int live_prepare_kernel(struct live *l, struct skep_error *err)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_PERCPU_ARRAY, "skep_verdicts", 4, 8, ROWS, NULL);

	if (fd < 0)
		return skep_fail(err, -errno, NULL, "a map can't be made: %s", strerror(errno));
	l->counts_fd = fd;
	if (!l->bridge)
		return 0;
	fd = devmap_to(l->b);
	if (fd >= 0) {
		l->out_fd = fd;
		fd = devmap_to(l->a);
	}
	if (fd < 0)
		return skep_fail(err, fd, NULL, "a devmap can't be made: %s", strerror(-fd));
	l->back_fd = fd;
	return 0;
}

/* r0 = user(ctx); counts[r0 or 0]++; if passing and bridged: r0 = redirect_map(out, 0, DROP). The
 * call's offset is known when the length is. */
static uint32_t prologue(const struct live *l, struct bpf_insn *p)
{
	uint32_t n = 0, call, skip, no_value;

	call = n++;
	p[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, 6, 0, 0, 0);
	p[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, 1, 0, 0, 0);
	p[n++] = INSN(BPF_JMP32 | BPF_JLT | BPF_K, 1, 0, 1, ROWS);
	p[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 1, 0, 0, 0);
	p[n++] = INSN(BPF_STX | BPF_MEM | BPF_W, 10, 1, -4, 0);
	p[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0);
	p[n++] = INSN(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -4);
	p[n++] = INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, l->counts_fd);
	p[n++] = INSN(0, 0, 0, 0, 0);
	p[n++] = INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem);
	no_value = n++;
	p[n++] = INSN(BPF_LDX | BPF_MEM | BPF_DW, 1, 0, 0, 0);
	p[n++] = INSN(BPF_ALU64 | BPF_ADD | BPF_K, 1, 0, 0, 1);
	p[n++] = INSN(BPF_STX | BPF_MEM | BPF_DW, 0, 1, 0, 0);
	p[no_value] = INSN(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, (int16_t)(n - no_value - 1), 0);
	if (l->bridge) {
		skip = n++;
		p[n++] = INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, l->out_fd);
		p[n++] = INSN(0, 0, 0, 0, 0);
		p[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 0);
		p[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, XDP_DROP);
		p[n++] = INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map);
		p[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
		p[skip] =
			INSN(BPF_JMP32 | BPF_JNE | BPF_K, 6, 0, (int16_t)(n - skip - 1), XDP_PASS);
	}
	p[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, 0, 6, 0, 0);
	p[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	p[call] = INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, (int32_t)(n - call - 1));
	return n;
}

int live_wrap(const struct live *l, union bpf_attr *attr, struct bpf_insn **insns,
	      struct bpf_func_info **funcs)
{
	struct bpf_insn *p = calloc(64 + attr->insn_cnt, sizeof(*p));
	struct bpf_func_info *f = NULL;
	uint32_t n;

	if (!p)
		return -ENOMEM;
	n = prologue(l, p);
	memcpy(p + n, (const void *)(uintptr_t)attr->insns, attr->insn_cnt * sizeof(*p));
	/* Each function needs a type: ours gets that of the user's main function, which it is. */
	if (attr->func_info_cnt && attr->func_info_rec_size == sizeof(*f)) {
		f = calloc(attr->func_info_cnt + 1, sizeof(*f));
		if (!f) {
			free(p);
			return -ENOMEM;
		}
		memcpy(f + 1, (const void *)(uintptr_t)attr->func_info,
		       attr->func_info_cnt * sizeof(*f));
		f[0].type_id = f[1].type_id;
		for (uint32_t i = 1; i <= attr->func_info_cnt; i++)
			f[i].insn_off += n;
		attr->func_info_cnt++;
	} else {
		attr->func_info_cnt = 0;
	}
	attr->func_info = (uintptr_t)f;
	/* Line information would have to begin with our first instruction. */
	attr->line_info = 0;
	attr->line_info_cnt = 0;
	attr->insns = (uintptr_t)p;
	attr->insn_cnt += n;
	*insns = p;
	*funcs = f;
	return 0;
}

static int load_back(const struct live *l)
{
	const struct bpf_insn insns[] = {
		INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, l->back_fd),
		INSN(0, 0, 0, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, XDP_DROP),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "skep_back", "GPL", insns,
			       sizeof(insns) / sizeof(insns[0]), NULL);

	return fd < 0 ? -errno : fd;
}

static int attach(int prog, unsigned int ifindex, const char *name, struct skep_error *err)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_SKB_MODE);
	int fd = bpf_link_create(prog, (int)ifindex, BPF_XDP, &opts);

	if (fd >= 0)
		return fd;
	fd = -errno;
	return skep_fail(err, fd,
			 fd == -EBUSY ? "Detach it first (ip link set dev ... xdp off)." : NULL,
			 "the program can't be attached to %s: %s", name,
			 fd == -EBUSY ? "another one is there" : strerror(-fd));
}

static void count(const struct live *l, struct live_stats *s, uint64_t start)
{
	int cpus = libbpf_num_possible_cpus();
	uint64_t *v = cpus > 0 ? calloc((size_t)cpus, sizeof(*v)) : NULL;

	s->ns = now_ns() - start;
	s->frames = 0;
	for (uint32_t row = 0; v && row < ROWS; row++) {
		s->verdicts[row] = 0;
		if (bpf_map_lookup_elem(l->counts_fd, &row, v))
			continue;
		for (int c = 0; c < cpus; c++)
			s->verdicts[row] += v[c];
		s->frames += s->verdicts[row];
	}
	s->dropped = s->verdicts[XDP_ABORTED] + s->verdicts[XDP_DROP];
	s->passed = s->verdicts[XDP_PASS];
	s->returned = s->verdicts[XDP_TX];
	s->redirected = s->verdicts[XDP_REDIRECT];
	free(v);
}

int live_run_kernel(struct live *l, const volatile int *stop, struct live_stats *out,
		    struct skep_error *err)
{
	int back = -1, a = -1, b = -1, r = 0;
	uint64_t start, tick;

	if (l->bridge) {
		back = load_back(l);
		if (back < 0)
			return skep_fail(err, back, NULL,
					 "the program for the way back can't be loaded: %s",
					 strerror(-back));
		b = attach(back, l->b, l->bridge, err);
		r = b < 0 ? b : 0;
	}
	if (!r) {
		a = attach(l->prog_fd, l->a, l->iface, err);
		r = a < 0 ? a : 0;
	}
	start = now_ns();
	tick = start + TICK_NS;
	while (!r && !*stop) {
		struct timespec pause = {.tv_nsec = POLL_NS};
		uint64_t now;

		nanosleep(&pause, NULL);
		l->idle(l->arg);
		now = now_ns();
		if (now >= tick) {
			count(l, out, start);
			l->tick(l->arg, out);
			tick += TICK_NS;
		}
		if (l->duration_ns && now - start >= l->duration_ns)
			break;
	}
	count(l, out, start);
	if (a >= 0)
		close(a);
	if (b >= 0)
		close(b);
	if (back >= 0)
		close(back);
	return r;
}
