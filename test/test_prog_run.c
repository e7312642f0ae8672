/* SPDX-License-Identifier: Apache-2.0 */
/* BPF_PROG_TEST_RUN against the running kernel's: sizes, contexts, flags, errors. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "bpf/instance.h"
#include "kern.h"
#include "prog/type.h"
#include "side.h"
#include "twin.h"
#include "vasm.h"

#define RETURN(v)                                                                                  \
	{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = (v)},                                         \
	{                                                                                          \
		.code = BPF_JMP | BPF_EXIT                                                         \
	}

static const struct bpf_insn returns_1[] = {RETURN(1)};
static const uint32_t skb_types[] = {BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_SCHED_CLS,
				     BPF_PROG_TYPE_SCHED_ACT,     BPF_PROG_TYPE_CGROUP_SKB,
				     BPF_PROG_TYPE_LWT_IN,        BPF_PROG_TYPE_LWT_OUT,
				     BPF_PROG_TYPE_LWT_XMIT};
#define NSKB (sizeof(skb_types) / sizeof(skb_types[0]))

static uint8_t packet[80000];
static uint32_t cases;

static void make_packet(uint16_t proto)
{
	for (size_t i = 0; i < sizeof(packet); i++)
		packet[i] = (uint8_t)(i * 7 + i / 256);
	packet[12] = (uint8_t)(proto >> 8);
	packet[13] = (uint8_t)proto;
}

static void run(struct twin *t, const struct twin_run *r, const char *what)
{
	twin_run(t, r, NULL, what);
	cases++;
}

static void done(const char *name)
{
	print_message("ran: %s %u\n", name, cases);
	cases = 0;
}

static const uint16_t protos[] = {0x0800, 0x86dd, 0x0806, 0x8100, 0x0005};

static void test_skb_sizes(void **state)
{
	struct skep *skep = twin_open(0);
	char what[128];
	struct twin t;

	for (size_t k = 0; k < NSKB; k++) {
		assert_int_equal(twin_load(&t, skep, skb_types[k], returns_1, 2), 0);
		for (size_t p = 0; p < sizeof(protos) / sizeof(protos[0]); p++) {
			make_packet(protos[p]);
			for (uint32_t size = 0; size < 4200; size += size < 80 ? 1 : 61) {
				struct twin_run r = {
					.data = packet, .size = size, .out_size = 8192};

				snprintf(what, sizeof(what), "%s, %u bytes, protocol %#x", t.name,
					 size, protos[p]);
				run(&t, &r, what);
				r.out_size = size / 2;
				run(&t, &r, what);
				r.no_data_out = true;
				run(&t, &r, what);
			}
		}
		twin_unload(&t);
	}
	skep_close(skep);
	done("test_run_skb_sizes");
}

static void test_skb_contexts(void **state)
{
	static const uint8_t values[] = {1, 2, 0x80, 0xff};
	struct skep *skep = twin_open(0);
	uint8_t ctx[512];
	char what[128];
	struct twin t;

	make_packet(0x0800);
	for (size_t k = 0; k < NSKB; k++) {
		assert_int_equal(twin_load(&t, skep, skb_types[k], returns_1, 2), 0);
		for (uint32_t i = 0; i < 260; i++) {
			for (size_t v = 0; v < sizeof(values); v++) {
				struct twin_run r = {.data = packet,
						     .size = 1000,
						     .ctx = ctx,
						     .ctx_size = 260,
						     .out_size = 2000,
						     .ctx_out_size = 400};

				/* Numbers of interfaces that exist here differ: not below. */
				if (i == offsetof(struct __sk_buff, ifindex) && values[v] != 1)
					continue;
				memset(ctx, 0, sizeof(ctx));
				ctx[i] = values[v];
				snprintf(what, sizeof(what), "%s, context byte %u is %#x", t.name,
					 i, values[v]);
				run(&t, &r, what);
				r.ctx_size = 192;
				r.ctx_out_size = i;
				run(&t, &r, what);
			}
		}
		for (uint32_t size = 1; size < 5000; size += size < 300 ? 1 : 97) {
			static uint8_t zeros[8192];
			struct twin_run r = {.data = packet,
					     .size = 64,
					     .ctx = zeros,
					     .ctx_size = size,
					     .out_size = 2000,
					     .ctx_out_size = 192};

			snprintf(what, sizeof(what), "context of %u bytes", size);
			run(&t, &r, what);
		}
		twin_unload(&t);
	}
	skep_close(skep);
	done("test_run_skb_contexts");
}

static void test_skb_flags(void **state)
{
	struct skep *skep = twin_open(0);
	struct twin t;

	make_packet(0x86dd);
	for (size_t k = 0; k < NSKB; k++) {
		assert_int_equal(twin_load(&t, skep, skb_types[k], returns_1, 2), 0);
		for (uint32_t flags = 0; flags < 16; flags++) {
			for (uint32_t cpu = 0; cpu < 2; cpu++) {
				for (uint32_t batch = 0; batch < 2; batch++) {
					struct twin_run r = {.data = packet,
							     .size = 100,
							     .out_size = 200,
							     .flags = flags,
							     .cpu = cpu,
							     .batch_size = batch,
							     .repeat = cpu + 2};

					run(&t, &r, "flags of skb");
				}
			}
		}
		twin_unload(&t);
	}
	skep_close(skep);
	done("test_run_skb_flags");
}

/* Returns what the program can see of its frame: the first part's bytes, and all. */
#define SEES_FRAME                                                                                 \
	{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 6, .src_reg = 1},                         \
		{.code = BPF_LDX | BPF_MEM | BPF_W,                                                \
		 .dst_reg = 7,                                                                     \
		 .src_reg = 1,                                                                     \
		 .off = offsetof(struct xdp_md, data_end)},                                        \
		{.code = BPF_LDX | BPF_MEM | BPF_W,                                                \
		 .dst_reg = 8,                                                                     \
		 .src_reg = 1,                                                                     \
		 .off = offsetof(struct xdp_md, data)},                                            \
		{.code = BPF_ALU64 | BPF_SUB | BPF_X, .dst_reg = 7, .src_reg = 8},                 \
		{.code = BPF_ALU64 | BPF_LSH | BPF_K, .dst_reg = 7, .imm = 17},                    \
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_xdp_get_buff_len},                    \
		{.code = BPF_ALU64 | BPF_OR | BPF_X, .dst_reg = 0, .src_reg = 7},                  \
	{                                                                                          \
		.code = BPF_JMP | BPF_EXIT                                                         \
	}

static const struct bpf_insn sees_frame[] = {SEES_FRAME};
#define NSEES (sizeof(sees_frame) / sizeof(sees_frame[0]))

/* All sizes with all places where the first part ends, metadata and buffers that are too small. */
static void test_xdp_layouts(void **state)
{
	static const uint32_t sizes[] = {0,     13,    14,    15,    64,    1500,  3519, 3520, 3521,
					 3584,  3600,  3735,  3736,  3737,  4096,  7616, 7617, 9000,
					 40000, 65536, 73151, 73152, 73153, 73300, 73400};
	static const uint32_t ends[] = {0,    1,    13,   14,   15,   27,   28,   30,   100,  3408,
					3409, 3520, 3521, 3523, 3524, 3525, 3735, 3736, 3737, 9000};
	static const uint32_t metas[] = {0, 4, 16, 212, 216, 217, 220};
	struct skep *skep = twin_open(0), *checked = twin_open(SKEP_F_CHECKED);
	char what[128];
	struct twin t;

	make_packet(0x0800);
	for (uint32_t k = 0; k < 2; k++) {
		assert_int_equal(twin_load_flags(&t, k ? checked : skep, BPF_PROG_TYPE_XDP,
						 k ? BPF_F_XDP_HAS_FRAGS : 0, sees_frame, NSEES),
				 0);
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			for (size_t e = 0; e < sizeof(ends) / sizeof(ends[0]); e++) {
				for (size_t m = 0; m < sizeof(metas) / sizeof(metas[0]); m++) {
					struct xdp_md md = {.data = metas[m], .data_end = ends[e]};
					struct twin_run r = {.data = packet,
							     .size = sizes[i],
							     .out_size = sizeof(packet),
							     .ctx = &md,
							     .ctx_size = sizeof(md),
							     .ctx_out_size = 64};

					snprintf(what, sizeof(what),
						 "%u bytes, %u metadata, first part ends at %u",
						 sizes[i], md.data, md.data_end);
					run(&t, &r, what);
					r.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
					r.no_data_out = r.no_ctx_out = (i + e + m) % 2;
					run(&t, &r, what);
					r.flags = 0;
					r.no_data_out = r.no_ctx_out = false;
					r.out_size = (sizes[i] * (uint32_t)(e + m)) / 20 + 1;
					run(&t, &r, what);
				}
			}
		}
		for (uint32_t size = 3300; size < 4400; size += k ? 7 : 1) {
			struct twin_run r = {.data = packet, .size = size, .out_size = 3800};

			snprintf(what, sizeof(what), "%u bytes", size);
			run(&t, &r, what);
			r.no_data_out = true;
			run(&t, &r, what);
		}
		twin_unload(&t);
	}
	skep_close(checked);
	skep_close(skep);
	done("test_run_xdp_layouts");
}

static void test_xdp(void **state)
{
	static const uint32_t sizes[] = {0,    1,    13,   14,    15,    64,    1500,  3519, 3520,
					 3521, 4096, 9000, 65536, 73151, 73152, 73153, 79999};
	struct skep *skep = twin_open(0);
	char what[128];
	struct twin t;

	make_packet(0x0800);
	assert_int_equal(twin_load(&t, skep, BPF_PROG_TYPE_XDP, returns_1, 2), 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct twin_run r = {.data = packet, .size = sizes[i], .out_size = sizeof(packet)};

		snprintf(what, sizeof(what), "xdp, %u bytes", sizes[i]);
		run(&t, &r, what);
		for (uint32_t k = 1; k <= 9; k++) {
			r.out_size = (uint32_t)((uint64_t)sizes[i] * k / 9);
			run(&t, &r, what);
		}
		r.no_data_out = true;
		run(&t, &r, what);
	}
	for (uint32_t meta = 0; meta < 300; meta++) {
		struct xdp_md md = {.data = meta, .data_end = 400};
		struct twin_run r = {.data = packet,
				     .size = 400,
				     .out_size = 1000,
				     .ctx = &md,
				     .ctx_size = sizeof(md),
				     .ctx_out_size = 64};

		snprintf(what, sizeof(what), "xdp, %u bytes of metadata", meta);
		run(&t, &r, what);
	}
	for (uint32_t i = 0; i < 40; i++) {
		uint8_t ctx[40] = {0};
		struct twin_run r = {.data = packet,
				     .size = 64,
				     .out_size = 1000,
				     .ctx = ctx,
				     .ctx_size = sizeof(ctx),
				     .ctx_out_size = 64};

		ctx[offsetof(struct xdp_md, data_end)] = 64;
		for (uint32_t v = 1; v < 256; v += 37) {
			/* Interfaces that exist are those of the machine. */
			if (i == offsetof(struct xdp_md, ingress_ifindex) && v > 1)
				continue;
			ctx[i] = (uint8_t)v;
			snprintf(what, sizeof(what), "xdp, context byte %u is %u", i, v);
			run(&t, &r, what);
			r.ctx_size = 24;
			run(&t, &r, what);
			r.ctx_size = 12;
			r.ctx_out_size = i;
			run(&t, &r, what);
			r.ctx_size = sizeof(ctx);
			r.ctx_out_size = 64;
		}
	}
	for (uint32_t flags = 0; flags < 16; flags++) {
		for (uint32_t batch = 0; batch < 400; batch += 100) {
			struct twin_run r = {.data = packet,
					     .size = 100,
					     .out_size = 200,
					     .flags = flags,
					     .batch_size = batch};

			/* Live frames too: this program drops them, in the kernel as well. */
			snprintf(what, sizeof(what), "xdp, flags %u, batch %u", flags, batch);
			run(&t, &r, what);
			r.repeat = 70;
			r.no_data_out = true;
			run(&t, &r, what);
			for (r.size = 0; r.size < 4000; r.size += r.size < 3400 ? 200 : 1) {
				if (flags == BPF_F_TEST_XDP_LIVE_FRAMES && batch <= 100)
					run(&t, &r, what);
			}
		}
	}
	twin_unload(&t);
	skep_close(skep);
	done("test_run_xdp");
}

/* Frames in fragments: the helpers that go beyond the linear part, at each border. */
static void test_xdp_frags(void **state)
{
	static const uint32_t sizes[] = {64, 3520, 3521, 4000, 7616, 7617, 9000, 20000, 73152};
	static const int32_t lens[] = {0,  1,    -1,    15,    -15,   200,    -200,   3520,
				       96, -580, -3000, -4096, -5480, -19985, -69000, 100000};
	/* What: "%d" is where or how much. */
	static const char *const programs[] = {
		"r2 = %d; r6 = r1; call 65; r7 = r0; r1 = r6; call 188; r7 <<= 20; r0 ^= r7; exit",
		"r2 = %d; r6 = r1; call 44; r7 = r0; r1 = r6; call 188; r7 <<= 20; r0 ^= r7; exit",
		"r2 = %d; r3 = r10; r3 += -8; *(u64 *)(r10 -8) = 0; r4 = 8; call 189; r1 = *(u64 "
		"*)(r10 -8); r0 ^= r1; exit",
		"r2 = %d; r3 = r10; r3 += -8; r4 = -72057594037927936 ll; *(u64 *)(r10 -8) = r4; "
		"r4 = 7; call 190; exit",
		"r6 = r1; r2 = %d; call 65; r1 = r6; r2 = 100; call 65; r1 = r6; call 188; exit",
	};
	struct skep *skep = twin_open(0);
	struct bpf_insn insns[64];
	char text[256], what[320];
	struct twin t;

	make_packet(0x0800);
	for (size_t p = 0; p < sizeof(programs) / sizeof(programs[0]); p++)
		for (size_t l = 0; l < sizeof(lens) / sizeof(lens[0]); l++) {
			int n;

			snprintf(text, sizeof(text), programs[p], lens[l]);
			n = vasm(text, NULL, 0, insns, 64);
			assert_true(n > 0);
			assert_int_equal(twin_load(&t, skep, BPF_PROG_TYPE_XDP, insns, (uint32_t)n),
					 0);
			for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
				struct xdp_md md = {.data = 8, .data_end = sizes[i] / 2 & ~3u};
				struct twin_run r = {.data = packet,
						     .size = sizes[i],
						     .out_size = sizeof(packet),
						     .ctx_out_size = sizeof(md)};

				snprintf(what, sizeof(what), "%u bytes: %s", sizes[i], text);
				run(&t, &r, what);
				r.ctx = &md;
				r.ctx_size = sizeof(md);
				run(&t, &r, what);
				/* As near before the end as a border of fragments. */
				md.data_end = sizes[i] - 4;
				run(&t, &r, what);
			}
			twin_unload(&t);
		}
	/* Where the linear part may end. */
	assert_int_equal(twin_load(&t, skep, BPF_PROG_TYPE_XDP, returns_1, 2), 0);
	for (uint32_t end = 0; end < 500; end++) {
		struct xdp_md md = {.data_end = end};
		struct twin_run r = {.data = packet,
				     .size = 400,
				     .out_size = 1000,
				     .ctx = &md,
				     .ctx_size = sizeof(md),
				     .ctx_out_size = 64};

		snprintf(what, sizeof(what), "xdp, data_end %u", end);
		run(&t, &r, what);
		md.data = 4;
		r.out_size = 300;
		run(&t, &r, what);
	}
	twin_unload(&t);
	skep_close(skep);
	done("test_run_xdp_frags");
}

/* Types that get bytes as they are. */
static void test_ctx(void **state)
{
	static const uint32_t types[] = {BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_PROG_TYPE_SYSCALL};
	struct skep *skep = twin_open(0);
	static uint8_t ctx[70000];
	char what[128];
	struct twin t;

	for (size_t k = 0; k < 2; k++) {
		assert_int_equal(twin_load(&t, skep, types[k], returns_1, 2), 0);
		for (uint32_t size = 0; size < sizeof(ctx); size += size < 200 ? 1 : 4999) {
			struct twin_run r = {.ctx = size ? ctx : NULL, .ctx_size = size};

			snprintf(what, sizeof(what), "%s, context of %u bytes", t.name, size);
			run(&t, &r, what);
		}
		for (uint32_t bits = 0; bits < 256; bits++) {
			struct twin_run r = {.ctx = ctx,
					     .ctx_size = 96,
					     .data = bits & 1 ? packet : NULL,
					     .ctx_out_size = bits & 2 ? 16 : 0,
					     .flags = bits >> 2 & 3,
					     .cpu = bits & 16 ? 1 : 0,
					     .repeat = bits & 32 ? 2 : 0,
					     .batch_size = bits & 64 ? 1 : 0,
					     .duration = bits & 128 ? 1 : 0,
					     .no_data_out = true};

			snprintf(what, sizeof(what), "%s, arguments %#x", t.name, bits);
			run(&t, &r, what);
		}
		struct twin_run r = {.ctx = ctx, .ctx_size = 8, .flags = 1, .cpu = 100000};
		run(&t, &r, "a CPU that is not there");
		twin_unload(&t);
	}
	skep_close(skep);
	done("test_run_ctx");
}

/* The program sees the CPU that was asked for, also when who held its slot died there. */
static void test_on_cpu(void **state)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_get_smp_processor_id},
		{.code = BPF_JMP | BPF_EXIT},
	};
	struct skep *skep = twin_open(0);
	union bpf_attr attr;
	struct twin t;

	assert_int_equal(twin_load(&t, skep, BPF_PROG_TYPE_RAW_TRACEPOINT, insns, 2), 0);
	for (uint32_t cpu = 0; cpu < skep->cpus; cpu++, cases++) {
		struct twin_run r = {.flags = BPF_F_TEST_RUN_ON_CPU, .cpu = cpu};
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (!pid) {
			struct skep_env *env;

			/* Dies inside. */
			if (!skep_env_open(&env, skep))
				skep_enter_on(env, cpu);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		run(&t, &r, "on a CPU");
		attr = (union bpf_attr){.test.prog_fd = (uint32_t)t.skep_fd,
					.test.flags = BPF_F_TEST_RUN_ON_CPU,
					.test.cpu = cpu};
		assert_int_equal(skep_bpf(skep, BPF_PROG_TEST_RUN, &attr, sizeof(attr)), 0);
		assert_int_equal(attr.test.retval, cpu);
	}
	twin_unload(&t);
	skep_close(skep);
	done("test_run_on_cpu");
}

/* Pointers to nowhere, one or more of them, and sizes without pointers. */
static void test_bad_pointers(void **state)
{
	static const uint32_t types[] = {BPF_PROG_TYPE_XDP, BPF_PROG_TYPE_SCHED_CLS,
					 BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_SYSCALL,
					 BPF_PROG_TYPE_RAW_TRACEPOINT};
	struct skep *skep = twin_open(0);
	static uint8_t zeros[192], out[2][4096];
	struct twin t;

	make_packet(0x0806);
	for (size_t k = 0; k < sizeof(types) / sizeof(types[0]); k++) {
		bool packets = types[k] != BPF_PROG_TYPE_SYSCALL &&
			       types[k] != BPF_PROG_TYPE_RAW_TRACEPOINT;

		assert_int_equal(twin_load(&t, skep, types[k], returns_1, 2), 0);
		memset(zeros, 0, sizeof(zeros));
		for (uint32_t bits = 0; bits < 4096; bits++) {
			/* Two bits each: 0 nothing, 1 a pointer to nowhere, 2 good, 3 no size */
			uint32_t in = bits & 3, dout = bits >> 2 & 3, cin = bits >> 4 & 3,
				 cout = bits >> 6 & 3, size = bits >> 8;
			union bpf_attr attr[2];
			long err[2];

			if (!packets && (in || dout || cout))
				continue;
			cases++;
			/* What asks for fragments is another matter. */
			if (types[k] == BPF_PROG_TYPE_XDP)
				((struct xdp_md *)zeros)->data_end = in == 3 ? 0 : size * 5;
			for (int i = 0; i < 2; i++) {
				uint64_t good[] = {0, 16, (uintptr_t)packet, (uintptr_t)packet};

				memset(&attr[i], 0, sizeof(attr[i]));
				attr[i].test.prog_fd = (uint32_t)(i ? t.skep_fd : t.kernel_fd);
				attr[i].test.data_in = good[in];
				attr[i].test.data_size_in = in == 3 ? 0 : size * 5;
				good[2] = good[3] = (uintptr_t)out[0];
				attr[i].test.data_out = good[dout];
				attr[i].test.data_size_out = dout == 3 ? 0 : 50;
				good[2] = good[3] = (uintptr_t)zeros;
				attr[i].test.ctx_in = good[cin];
				attr[i].test.ctx_size_in = cin == 3 ? 0 : size * 3;
				good[2] = good[3] = (uintptr_t)out[1];
				attr[i].test.ctx_out = good[cout];
				attr[i].test.ctx_size_out = cout == 3 ? 0 : size * 2;
				err[i] = i ? skep_bpf(skep, BPF_PROG_TEST_RUN, &attr[i],
						      sizeof(attr[i]))
					   : kern_bpf(BPF_PROG_TEST_RUN, &attr[i]);
			}
			if (err[0] != err[1] || attr[0].test.retval != attr[1].test.retval ||
			    attr[0].test.data_size_out != attr[1].test.data_size_out ||
			    attr[0].test.ctx_size_out != attr[1].test.ctx_size_out)
				fail_msg("%s, pointers %#x: kernel %ld, skep %ld; results %u, %u",
					 t.name, bits, err[0], err[1], attr[0].test.retval,
					 attr[1].test.retval);
		}
		twin_unload(&t);
	}
	skep_close(skep);
	done("test_run_bad_pointers");
}

static void test_not_supported(void **state)
{
	static const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = 1},
		{.code = BPF_JMP | BPF_EXIT},
	};

	for (uint32_t type = 0; type < skep_nprog_types; type++) {
		const struct skep_prog_type *ops = &skep_prog_types[type];
		/* Linux runs these; here they are only verified. */
		bool ours_only = type == BPF_PROG_TYPE_SK_LOOKUP ||
				 type == BPF_PROG_TYPE_NETFILTER ||
				 type == BPF_PROG_TYPE_FLOW_DISSECTOR;
		static struct side kernel;
		union bpf_attr attr;
		bool none;
		int fd;

		if (!ops->name)
			continue;
		if (side_load(&kernel, type, insns, 2, "GPL", &fd) == -EPERM)
			skip();
		memset(&attr, 0, sizeof(attr));
		attr.test.prog_fd = (uint32_t)fd;
		none = side_bpf(&kernel, BPF_PROG_TEST_RUN, &attr) == -524;
		if (type == BPF_PROG_TYPE_TRACING) {
			/* Iterators are not run by it; the errors are alike. */
			for (uint32_t bad = 0; bad < 4; bad++) {
				attr.test.flags = bad == 1;
				attr.test.cpu = bad == 2;
				attr.test.batch_size = bad == 3;
				assert_int_equal(side_bpf(&kernel, BPF_PROG_TEST_RUN, &attr),
						 ops->test_run(NULL, &attr, &attr));
			}
		}
		close(fd);
		if (!ops->test_run != (none || ours_only))
			fail_msg("%s: kernel %s", ops->name, none ? "runs none" : "runs it");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_skb_sizes),   cmocka_unit_test(test_skb_contexts),
		cmocka_unit_test(test_skb_flags),   cmocka_unit_test(test_xdp),
		cmocka_unit_test(test_xdp_layouts), cmocka_unit_test(test_xdp_frags),
		cmocka_unit_test(test_ctx),         cmocka_unit_test(test_not_supported),
		cmocka_unit_test(test_on_cpu),      cmocka_unit_test(test_bad_pointers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
