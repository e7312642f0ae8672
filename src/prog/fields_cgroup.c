/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contexts of control group programs, found by asking Linux 6.18 (test_prog.c).
 * There is no hook to run such programs at, so inside they look as outside.
 */
#include "prog/fields.h"

#define R  SKEP_CTX_R
#define W  SKEP_CTX_W
#define RN (SKEP_CTX_R | SKEP_CTX_NARROW)

#define AT(type) (1ull << BPF_CGROUP_##type)

#define SAME(first, bytes)                                                                         \
	.off = (uint16_t)(first), .size = (uint16_t)(bytes), .ioff = (uint16_t)(first),            \
	.isize = (uint16_t)(bytes)
/* clang-format off */
#define ROW(type, field, fflags, ...)                                                              \
	{.name = #field, SAME(offsetof(type, field), sizeof(((type *)0)->field)),                  \
	 .flags = (fflags), __VA_ARGS__}
/* Of a scalar, its first bytes. */
#define FIRST(type, field, bytes, fflags, ...)                                                     \
	{.name = #field, SAME(offsetof(type, field), bytes), .flags = (fflags), __VA_ARGS__}
/* Parts may be loaded, but only from the start. */
#define STARTS(type, field, ...)                                                                   \
	FIRST(type, field, 4, R, __VA_ARGS__), FIRST(type, field, 2, R, __VA_ARGS__),              \
	FIRST(type, field, 1, R, __VA_ARGS__)

const struct skep_ctx_field skep_fields_cgroup_device[] = {
	ROW(struct bpf_cgroup_dev_ctx, access_type, RN),
	ROW(struct bpf_cgroup_dev_ctx, major, R),
	ROW(struct bpf_cgroup_dev_ctx, minor, R),
};

const struct skep_ctx_field skep_fields_cgroup_sysctl[] = {
	ROW(struct bpf_sysctl, write, RN),
	ROW(struct bpf_sysctl, file_pos, RN | W),
};

#define GET AT(GETSOCKOPT)
#define SET AT(SETSOCKOPT)

/* The size of a pointer is meant where a field is one: NOLINTBEGIN(bugprone-sizeof-expression) */
const struct skep_ctx_field skep_fields_cgroup_sockopt[] = {
	ROW(struct bpf_sockopt, sk, R, .kind = SKEP_CTX_FULL_SOCK),
	ROW(struct bpf_sockopt, optval, R, .kind = SKEP_CTX_PKT),
	ROW(struct bpf_sockopt, optval_end, R, .kind = SKEP_CTX_PKT_END),
	ROW(struct bpf_sockopt, level, R),
	ROW(struct bpf_sockopt, level, W, .attach = SET),
	ROW(struct bpf_sockopt, optname, R),
	ROW(struct bpf_sockopt, optname, W, .attach = SET),
	ROW(struct bpf_sockopt, optlen, R | W),
	ROW(struct bpf_sockopt, retval, R | W, .attach = GET),
};

#define LIFE (1 | AT(INET_SOCK_CREATE) | AT(INET_SOCK_RELEASE))
#define POST4 AT(INET4_POST_BIND)
#define POST6 AT(INET6_POST_BIND)

const struct skep_ctx_field skep_fields_cgroup_sock[] = {
	ROW(struct bpf_sock, bound_dev_if, R | W, .attach = LIFE),
	STARTS(struct bpf_sock, family),
	STARTS(struct bpf_sock, type),
	STARTS(struct bpf_sock, protocol),
	ROW(struct bpf_sock, mark, R | W, .attach = LIFE),
	ROW(struct bpf_sock, priority, R | W, .attach = LIFE),
	ROW(struct bpf_sock, src_ip4, RN, .attach = POST4),
	ROW(struct bpf_sock, src_ip6, RN, .unit = 4, .attach = POST6),
	STARTS(struct bpf_sock, src_port, .attach = POST4 | POST6),
	/* Two bytes and padding. */
	FIRST(struct bpf_sock, dst_port, 4, R),
	ROW(struct bpf_sock, dst_port, RN),
	ROW(struct bpf_sock, dst_ip4, RN),
	ROW(struct bpf_sock, dst_ip6, RN, .unit = 4),
	STARTS(struct bpf_sock, state),
	STARTS(struct bpf_sock, rx_queue_mapping),
};

#define V4                                                                                         \
	(AT(INET4_BIND) | AT(INET4_CONNECT) | AT(UDP4_SENDMSG) | AT(UDP4_RECVMSG) |                \
	 AT(INET4_GETPEERNAME) | AT(INET4_GETSOCKNAME))
#define V6                                                                                         \
	(AT(INET6_BIND) | AT(INET6_CONNECT) | AT(UDP6_SENDMSG) | AT(UDP6_RECVMSG) |                \
	 AT(INET6_GETPEERNAME) | AT(INET6_GETSOCKNAME))

/* Addresses of IPv6 also go by aligned halves. */
const struct skep_ctx_field skep_fields_cgroup_sock_addr[] = {
	ROW(struct bpf_sock_addr, user_family, R),
	ROW(struct bpf_sock_addr, user_ip4, RN | W, .attach = V4),
	ROW(struct bpf_sock_addr, user_ip6, RN | W, .unit = 4, .attach = V6),
	ROW(struct bpf_sock_addr, user_ip6, R | W, .unit = 8, .attach = V6),
	ROW(struct bpf_sock_addr, user_port, RN | W),
	ROW(struct bpf_sock_addr, family, R),
	ROW(struct bpf_sock_addr, type, R),
	ROW(struct bpf_sock_addr, protocol, R),
	ROW(struct bpf_sock_addr, msg_src_ip4, RN | W, .attach = AT(UDP4_SENDMSG)),
	ROW(struct bpf_sock_addr, msg_src_ip6, RN | W, .unit = 4, .attach = AT(UDP6_SENDMSG)),
	FIRST(struct bpf_sock_addr, msg_src_ip6[1], 8, R | W, .unit = 8, .attach = AT(UDP6_SENDMSG)),
	ROW(struct bpf_sock_addr, sk, R, .kind = SKEP_CTX_FULL_SOCK),
};
/* NOLINTEND(bugprone-sizeof-expression) */
/* clang-format on */
