/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helpers on packets against the kernel's: random sequences of calls with
 * random arguments, on packets of many kinds. Compared: each call's result, what the
 * context's fields say afterwards, the packet, the context given back.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "helper/helper.h"
#include "kernel.h"
#include "prog/type.h"
#include "twin.h"

/* ---- Packets ---- */

struct packet {
	const char *name;
	uint16_t tags[2]; /* VLAN protocols before the next, 0: none */
	uint16_t proto;
	uint8_t l4;
	uint32_t len;
};

static const struct packet packets[] = {
	{"IPv4 TCP", {0}, 0x0800, 6, 80},
	{"IPv4 UDP", {0}, 0x0800, 17, 300},
	{"IPv4, shortest", {0}, 0x0800, 17, 34},
	{"IPv6 TCP", {0}, 0x86dd, 6, 120},
	{"IPv6 UDP", {0}, 0x86dd, 17, 1400},
	{"ARP", {0}, 0x0806, 0, 60},
	{"no payload", {0}, 0x1234, 0, 14},
	{"802.3", {0}, 100, 0, 64},
	{"VLAN", {0x8100}, 0x0800, 6, 100},
	{"QinQ", {0x88a8, 0x8100}, 0x86dd, 17, 200},
	{"VLAN, cut off", {0x8100}, 0x0800, 6, 16},
	{"three VLANs", {0x8100, 0x8100}, 0x8100, 0, 64},
};
#define NPACKETS (sizeof(packets) / sizeof(packets[0]))

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void make(const struct packet *kind, uint8_t *p, uint64_t *seed)
{
	uint8_t *at = p + 12;

	for (uint32_t i = 0; i < 1500; i++)
		p[i] = (uint8_t)test_random(seed);
	memset(p, 0, 6); /* for the loopback device: else the type is another */
	p[0] = (uint8_t)(test_random(seed) % 3);
	for (int i = 0; i < 2 && kind->tags[i]; i++, at += 4)
		put16(at, kind->tags[i]);
	put16(at, kind->proto);
	at += 2;
	if (kind->proto == 0x0800) {
		at[0] = 0x45;
		at[9] = kind->l4;
	} else if (kind->proto == 0x86dd) {
		at[0] = 0x60;
		at[6] = kind->l4;
	}
}

/* ---- Calls ---- */

/*
 * One letter per argument: c the context, m 64 bytes of stack, w the same with numbers that make sense at
 * their beginning, k the same with a tunnel's key, s a constant size of these, K one of a key, o an offset, d a difference, f flags, F one of the flags of .flags, p a VLAN or network
 * protocol, v any number, n a small number.
 */
struct call {
	uint32_t id;
	const char *args;
	uint64_t types;
	uint64_t flags;
};

#define T(type) (1ull << BPF_PROG_TYPE_##type)
#define TC      (T(SCHED_CLS) | T(SCHED_ACT))
#define XMIT    (TC | T(LWT_XMIT))
#define LWT     (T(LWT_IN) | T(LWT_OUT) | T(LWT_XMIT))

static const struct call calls[] = {
	{BPF_FUNC_xdp_adjust_head, "cd", T(XDP), 0},
	{BPF_FUNC_xdp_adjust_tail, "cd", T(XDP), 0},
	{BPF_FUNC_xdp_adjust_meta, "cd", T(XDP), 0},
	{BPF_FUNC_xdp_load_bytes, "coms", T(XDP), 0},
	{BPF_FUNC_xdp_store_bytes, "coms", T(XDP), 0},
	{BPF_FUNC_xdp_get_buff_len, "c", T(XDP), 0},
	{BPF_FUNC_redirect, "vf", XMIT | T(XDP), 0},
	{BPF_FUNC_redirect_peer, "vf", TC, 0},
	{BPF_FUNC_csum_diff, "msmsv", XMIT | LWT | T(XDP), 0},
	{BPF_FUNC_skb_load_bytes, "coms", XMIT | LWT | T(SOCKET_FILTER) | T(CGROUP_SKB), 0},
	{BPF_FUNC_skb_load_bytes_relative, "comsn", TC | T(SOCKET_FILTER) | T(CGROUP_SKB), 0},
	{BPF_FUNC_skb_store_bytes, "comsF", XMIT, 3},
	{BPF_FUNC_l3_csum_replace, "covvn", XMIT, 0},
	{BPF_FUNC_l3_csum_replace, "covvf", XMIT, 0},
	{BPF_FUNC_l4_csum_replace, "covvF", XMIT, 0xf0 | 2},
	{BPF_FUNC_l4_csum_replace, "covvF", XMIT, 0xf0 | 4},
	{BPF_FUNC_l4_csum_replace, "covvF", XMIT, 0xf0},
	{BPF_FUNC_csum_update, "cv", XMIT, 0},
	{BPF_FUNC_csum_level, "cn", XMIT, 0},
	{BPF_FUNC_skb_change_head, "cof", XMIT, 0},
	{BPF_FUNC_skb_change_tail, "cof", XMIT, 0},
	{BPF_FUNC_skb_change_proto, "cpf", TC, 0},
	{BPF_FUNC_skb_change_type, "cn", TC, 0},
	{BPF_FUNC_skb_adjust_room, "cdnF", TC, 0x3f},
	{BPF_FUNC_skb_adjust_room, "cdnF", TC, 0x180},
	{BPF_FUNC_skb_adjust_room, "cdnf", TC, 0},
	{BPF_FUNC_skb_pull_data, "co", XMIT | LWT, 0},
	{BPF_FUNC_skb_vlan_push, "cpv", TC, 0},
	{BPF_FUNC_skb_vlan_pop, "c", TC, 0},
	{BPF_FUNC_skb_set_tstamp, "cvn", TC, 0},
	{BPF_FUNC_skb_set_tstamp, "cfn", TC, 0},
	{BPF_FUNC_skb_ecn_set_ce, "c", TC | T(CGROUP_SKB), 0},
	{BPF_FUNC_set_hash, "cv", TC, 0},
	{BPF_FUNC_set_hash_invalid, "c", XMIT, 0},
	{BPF_FUNC_get_cgroup_classid, "c", XMIT | LWT, 0},
	{BPF_FUNC_get_route_realm, "c", XMIT | LWT, 0},
	{BPF_FUNC_skb_set_tunnel_key, "ckKF", XMIT, 0x1f},
	{BPF_FUNC_skb_set_tunnel_key, "ckKF", XMIT, 1},
	{BPF_FUNC_skb_get_tunnel_key, "cmKF", XMIT, 0x11},
	{BPF_FUNC_skb_set_tunnel_opt, "cms", XMIT, 0},
	{BPF_FUNC_skb_get_tunnel_opt, "cms", XMIT, 0},
	{BPF_FUNC_skb_get_xfrm_state, "cnmsf", TC, 0},
	{BPF_FUNC_check_mtu, "cnwdf", TC | T(XDP), 0},
	{BPF_FUNC_skb_cgroup_id, "c", TC | T(CGROUP_SKB), 0},
	{BPF_FUNC_skb_ancestor_cgroup_id, "cn", TC | T(CGROUP_SKB), 0},
	{BPF_FUNC_skb_cgroup_classid, "c", TC, 0},
	{BPF_FUNC_get_current_cgroup_id, "", ~0ull, 0},
	{BPF_FUNC_get_current_ancestor_cgroup_id, "n", ~0ull, 0},
};
#define NCALLS (sizeof(calls) / sizeof(calls[0]))

static int64_t offset(uint64_t *seed, uint32_t len)
{
	static const int64_t odd[] = {0,     1,      2,     10,        12,        14,        18,
				      24,    34,     50,    0xfffe,    0xffff,    0x10000,   -1,
				      -4096, 0x7fff, 65550, INT32_MAX, INT32_MIN, UINT32_MAX};

	switch (test_random(seed) % 4) {
	case 0:
		return odd[test_random(seed) % (sizeof(odd) / sizeof(odd[0]))];
	case 1:
		return (int64_t)len + (int64_t)(test_random(seed) % 5) - 2;
	case 2:
		return (int64_t)(test_random(seed) % (len / 2 + 1)) * 2;
	default:
		return (int64_t)(test_random(seed) % (len + 8));
	}
}

static int64_t difference(uint64_t *seed, uint32_t len)
{
	static const int64_t odd[] = {0,    4,    -4,    8,         -8,        14,        -14, 20,
				      -20,  40,   -40,   215,       216,       -216,      217, -217,
				      4095, 4096, -4096, INT32_MAX, INT32_MIN, -INT32_MAX};

	if (test_random(seed) % 3 == 0)
		return odd[test_random(seed) % (sizeof(odd) / sizeof(odd[0]))];
	if (test_random(seed) % 4 == 0)
		return -(int64_t)(test_random(seed) % (len + 16));
	return (int64_t)(test_random(seed) % 128) - 64;
}

static int64_t number(char kind, const struct call *call, uint32_t len, uint64_t *seed)
{
	static const uint16_t protos[] = {0x0800, 0x86dd, 0x8100, 0x88a8, 0x0806, 0};
	static const uint32_t sizes[] = {1, 2, 3, 4, 8, 16, 20, 32, 64};
	uint64_t r = test_random(seed);

	static const uint32_t key_sizes[] = {44, 28, 24, 22, 8, 64};

	switch (kind) {
	case 's':
		return sizes[r % 9];
	case 'K':
		return key_sizes[r % 6];
	case 'o':
		return offset(seed, len);
	case 'd':
		return difference(seed, len);
	case 'f':
		return r % 4 ? 0 : (int64_t)((r >> 8) % 16);
	case 'F':
		if (r % 8 == 0)
			return (int64_t)(r >> 8 & call->flags) | 1ll << (r >> 4) % 12;
		return (int64_t)((r >> 8 & call->flags) | (r % 3 ? call->flags & 6 : 0));
	case 'p':
		return __builtin_bswap16(protos[r % 6]);
	case 'n':
		return (int64_t)(r % 6);
	default:
		return (int64_t)(r & 1 ? test_random(seed) & UINT32_MAX : r >> 48);
	}
}

/* ---- Programs ---- */

struct code {
	struct bpf_insn insns[512];
	uint32_t n;
	int64_t step; /* results still to mix before the program ends with one alone */
};

static void add(struct code *c, uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
	if (!c->step)
		return;
	assert_true(c->n < 512);
	c->insns[c->n++] = (struct bpf_insn){
		.code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm};
}

/*
 * R7 = R7 * 31 + reg. To find out which result differs, SKEP_TEST_SEED=... SKEP_TEST_STEP=n
 * runs the program until the nth and returns that.
 */
static void mix(struct code *c, uint8_t reg)
{
	if (c->step == 1) {
		add(c, BPF_ALU64 | BPF_MOV | BPF_X, 7, reg, 0, 0);
		c->step = 0;
	} else if (c->step > 0) {
		c->step--;
	}
	add(c, BPF_ALU64 | BPF_MUL | BPF_K, 7, 0, 0, 31);
	add(c, BPF_ALU64 | BPF_ADD | BPF_X, 7, reg, 0, 0);
}

static void begin(struct code *c)
{
	const char *step = getenv("SKEP_TEST_STEP");

	c->n = 0;
	c->step = step ? atoll(step) : -1;
	add(c, BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0);
	add(c, BPF_ALU64 | BPF_MOV | BPF_K, 7, 0, 0, 0);
	for (int16_t at = -64; at < 0; at += 8)
		add(c, BPF_ST | BPF_MEM | BPF_DW, 10, 0, at, 0x1234567 * at);
}

static void add_call(struct code *c, const struct call *call, uint32_t len, uint64_t *seed,
		     char *text, size_t room)
{
	int at = snprintf(text, room, " %s(", skep_helper_name(call->id));

	for (uint8_t i = 0; call->args[i]; i++) {
		int64_t v;

		if (call->args[i] == 'c') {
			add(c, BPF_ALU64 | BPF_MOV | BPF_X, i + 1, 6, 0, 0);
			at += snprintf(text + at, room - (size_t)at, "ctx");
			continue;
		}
		if (call->args[i] == 'w' && test_random(seed) % 4) {
			/* An address family, no ports, a device; or a length. */
			add(c, BPF_ST | BPF_MEM | BPF_DW, 10, 0, -64,
			    (int32_t)(test_random(seed) % 2 ? test_random(seed) % 70000
							    : test_random(seed) % 12));
			add(c, BPF_ST | BPF_MEM | BPF_DW, 10, 0, -56,
			    (int32_t)(test_random(seed) % 3));
		}
		if (call->args[i] == 'k' && test_random(seed) % 4) {
			/* No extension, no label. */
			add(c, BPF_ST | BPF_MEM | BPF_H, 10, 0, -64 + 22, 0);
			add(c, BPF_ST | BPF_MEM | BPF_W, 10, 0, -64 + 24, 0);
		}
		if (strchr("mwk", call->args[i])) {
			add(c, BPF_ALU64 | BPF_MOV | BPF_X, i + 1, 10, 0, 0);
			add(c, BPF_ALU64 | BPF_ADD | BPF_K, i + 1, 0, 0, -64);
			at += snprintf(text + at, room - (size_t)at, ", mem");
			continue;
		}
		v = number(call->args[i], call, len, seed);
		at += snprintf(text + at, room - (size_t)at, ", %lld", (long long)v);
		add(c, BPF_LD | BPF_IMM | BPF_DW, i + 1, 0, 0, (int32_t)v);
		add(c, 0, 0, 0, 0, (int32_t)(v >> 32));
	}
	snprintf(text + at, room - (size_t)at, ")");
	add(c, BPF_JMP | BPF_CALL, 0, 0, 0, (int32_t)call->id);
	mix(c, 0);
	for (int16_t off = -64; off < 0; off += 8) {
		add(c, BPF_LDX | BPF_MEM | BPF_DW, 0, 10, off, 0);
		mix(c, 0);
	}
}

/* Fields, whole and in parts, that the helpers may change. */
static void add_fields(struct code *c, uint32_t type)
{
	static const uint16_t skb_fields[] = {
		offsetof(struct __sk_buff, len),
		offsetof(struct __sk_buff, pkt_type),
		offsetof(struct __sk_buff, queue_mapping),
		offsetof(struct __sk_buff, protocol),
		offsetof(struct __sk_buff, vlan_present),
		offsetof(struct __sk_buff, vlan_tci),
		offsetof(struct __sk_buff, vlan_proto),
		offsetof(struct __sk_buff, priority),
		offsetof(struct __sk_buff, ifindex),
		offsetof(struct __sk_buff, tc_index),
		offsetof(struct __sk_buff, hash),
		offsetof(struct __sk_buff, napi_id),
		offsetof(struct __sk_buff, gso_segs),
		offsetof(struct __sk_buff, gso_size),
		offsetof(struct __sk_buff, mark),
		offsetof(struct __sk_buff, ingress_ifindex),
	};
	static const uint16_t xdp_fields[] = {offsetof(struct xdp_md, ingress_ifindex),
					      offsetof(struct xdp_md, rx_queue_index)};

	if (type == BPF_PROG_TYPE_XDP) {
		for (int i = 0; i < 2; i++) {
			add(c, BPF_LDX | BPF_MEM | BPF_W, 0, 6, (int16_t)xdp_fields[i], 0);
			mix(c, 0);
		}
		return;
	}
	for (size_t i = 0; i < sizeof(skb_fields) / sizeof(skb_fields[0]); i++) {
		int16_t off = (int16_t)skb_fields[i];

		add(c, BPF_LDX | BPF_MEM | BPF_W, 0, 6, off, 0);
		mix(c, 0);
		add(c, BPF_LDX | BPF_MEM | BPF_H, 0, 6, off + (i & 1 ? 2 : 0), 0);
		mix(c, 0);
		add(c, BPF_LDX | BPF_MEM | BPF_B, 0, 6, (int16_t)(off + (int)(i & 3)), 0);
		mix(c, 0);
	}
	if (type == BPF_PROG_TYPE_SCHED_CLS || type == BPF_PROG_TYPE_SCHED_ACT) {
		add(c, BPF_LDX | BPF_MEM | BPF_B, 0, 6, offsetof(struct __sk_buff, tstamp_type), 0);
		mix(c, 0);
	}
}

static void finish(struct code *c, uint32_t type)
{
	add_fields(c, type);
	c->step = -1;
	add(c, BPF_ALU64 | BPF_MOV | BPF_X, 0, 7, 0, 0);
	if (type == BPF_PROG_TYPE_CGROUP_SKB)
		add(c, BPF_ALU64 | BPF_AND | BPF_K, 0, 0, 0, 1);
	add(c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* Whether the kernel may have to move the packet elsewhere to make room before it. */
static bool grows_head(uint32_t id)
{
	return id == BPF_FUNC_skb_change_head || id == BPF_FUNC_skb_adjust_room ||
	       id == BPF_FUNC_skb_change_proto || id == BPF_FUNC_skb_vlan_push;
}

/*
 * When Linux moves a packet it also moves the transport header that was never set, which
 * then looks like one somewhere, and limits skb_change_tail. So that one comes before.
 */
static const struct call *pick(uint32_t type, bool *grown, uint64_t *seed)
{
	const struct call *call;

	do {
		call = &calls[test_random(seed) % NCALLS];
	} while (!(call->types & 1ull << type) || (*grown && call->id == BPF_FUNC_skb_change_tail));
	*grown |= grows_head(call->id);
	return call;
}

/* How an XDP frame is laid out: bytes before the fragments, and in all. */
struct layout {
	uint32_t first, size;
};

#define MAX_FRAME (9000u + 4 * 4096) /* what fragments() makes at most */

/* One to four fragments, the last often full or nearly. */
static struct layout fragments(uint64_t *seed)
{
	static const uint32_t firsts[] = {14, 15, 34, 100, 1500, 3519, 3520, 0, 6, 9000};
	struct layout l = {.first = firsts[test_random(seed) % 10]};
	uint32_t all = (uint32_t)(test_random(seed) % 4 + 1) * 4096;

	switch (test_random(seed) % 3) {
	case 0:
		all -= (uint32_t)(test_random(seed) % 4);
		break;
	case 1:
		all -= (uint32_t)(test_random(seed) % 4095);
		break;
	default:
		all = (uint32_t)(test_random(seed) % 64) + 1;
	}
	l.size = (l.first < 14 ? 14 : l.first) + all;
	return l;
}

static void one_program(struct skep *skep, uint32_t type, bool frags, uint64_t seed, uint32_t *runs)
{
	uint64_t first = seed;
	const struct packet *kind = &packets[test_random(&seed) % NPACKETS];
	uint32_t n = (uint32_t)(test_random(&seed) % 4) + 1, at = 0;
	struct layout l = {.first = kind->len, .size = kind->len};
	char text[1024] = "";
	bool grown = false;
	static uint8_t data[MAX_FRAME + 64];
	struct code c;
	struct twin t;

	if (frags)
		l = fragments(&seed);
	begin(&c);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t len = frags && test_random(&seed) % 2 ? l.first : l.size;

		add_call(&c, pick(type, &grown, &seed), len, &seed, text + at, sizeof(text) - at);
		at = (uint32_t)strlen(text);
	}
	finish(&c, type);
	assert_int_equal(
		twin_load_flags(&t, skep, type, frags ? BPF_F_XDP_HAS_FRAGS : 0, c.insns, c.n), 0);
	for (uint32_t i = 0; i < 3; i++) {
		bool xdp = type == BPF_PROG_TYPE_XDP;
		uint32_t meta = (uint32_t)(test_random(&seed) % 8) * 4;
		struct xdp_md md = {.data = meta, .data_end = l.first + meta};
		struct __sk_buff skb = {
			.mark = 5, .priority = 7, .cb = {1, 2, 3, 4, 5}, .tstamp = 77};
		struct twin_run r = {.data = data,
				     .size = l.size + (xdp ? meta : 0),
				     .out_size = 80000,
				     .ctx = xdp ? (void *)&md : (void *)&skb,
				     .ctx_size = xdp ? sizeof(md) : sizeof(skb),
				     .ctx_out_size = 192,
				     .flags =
					     !xdp && i == 2 ? BPF_F_TEST_SKB_CHECKSUM_COMPLETE : 0};
		char what[1400];

		make(kind, data + (xdp ? meta : 0), &seed);
		for (uint32_t b = 1500; frags && b < l.size + meta; b++)
			data[b] = (uint8_t)(b * 7 + b / 256);
		snprintf(what, sizeof(what), "seed %#llx, %s, %s, %u of %u bytes first, run %u:%s",
			 (unsigned long long)first, t.name, kind->name, l.first, l.size, i, text);
		twin_run(&t, &r, NULL, what);
		++*runs;
	}
	twin_unload(&t);
}

static void random_calls(uint32_t type, bool frags, uint32_t n)
{
	const char *seed = getenv("SKEP_TEST_SEED");
	struct skep *skep = twin_open(0), *checked = twin_open(SKEP_F_CHECKED);
	uint32_t runs = 0;

	for (uint32_t i = 0; i < test_scale(n); i++)
		one_program(i % 4 ? skep : checked, type, frags,
			    seed ? strtoull(seed, NULL, 0) : i * 0x1000ull + type, &runs);
	skep_close(skep);
	skep_close(checked);
	print_message("ran: helper_packet_%s%s %u\n", skep_prog_types[type].name,
		      frags ? "_frags" : "", runs);
}

static void test_xdp(void **state)
{
	random_calls(BPF_PROG_TYPE_XDP, false, 800);
}

static void test_xdp_fragments(void **state)
{
	random_calls(BPF_PROG_TYPE_XDP, true, 1200);
}

static void test_cls(void **state)
{
	random_calls(BPF_PROG_TYPE_SCHED_CLS, false, 2000);
}

static void test_lwt_xmit(void **state)
{
	random_calls(BPF_PROG_TYPE_LWT_XMIT, false, 600);
}

static void test_lwt_in(void **state)
{
	random_calls(BPF_PROG_TYPE_LWT_IN, false, 200);
}

static void test_socket_filter(void **state)
{
	random_calls(BPF_PROG_TYPE_SOCKET_FILTER, false, 200);
}

static void test_cgroup_skb(void **state)
{
	random_calls(BPF_PROG_TYPE_CGROUP_SKB, false, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_xdp),           cmocka_unit_test(test_xdp_fragments),
		cmocka_unit_test(test_cls),           cmocka_unit_test(test_lwt_xmit),
		cmocka_unit_test(test_lwt_in),        cmocka_unit_test(test_cgroup_skb),
		cmocka_unit_test(test_socket_filter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
