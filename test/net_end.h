/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ends of a wire: processes with a network namespace each, that do what they are told and
 * answer with a number.
 */
#ifndef SKEP_TEST_NET_END_H
#define SKEP_TEST_NET_END_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "bpf/uapi.h"

enum what {
	DO_CONFIG, /* system() of text */
	DO_SERVE, /* bytes of TCP to and from who connects to port; 0 if all were right */
	DO_TALK, /* the other side: to port of text, which is an address */
	DO_PING, /* how many of count echo requests of size bytes come back whole */
	DO_UDP, /* count datagrams of size bytes by one send */
	DO_TAGGED, /* a frame with tag 7, or one to be cut into count of size bytes */
	DO_SNIFF, /* how many UDP frames with tag 5 come in at s0 within a second */
	DO_OFFLOADS, /* whether segmentation offload is on for the interface text */
	DO_TAG, /* tag 7 on what leaves by the interface text, off what comes in: by the kernel */
	DO_UNTAG,
	DO_QUIT
};

struct order {
	enum what what;
	char text[400];
	struct in_addr from, to;
	uint16_t port;
	uint32_t size;
	uint32_t count;
	uint64_t bytes; /* each way */
};

struct end {
	pid_t pid; /* names the namespace */
	int fd; /* orders and answers */
};

/* 0, or -1: no namespace. */
int start_end(struct end *e);
void tell(struct end *e, const struct order *o);
/* -99 if there is none in that time. */
int answer(struct end *e, unsigned seconds);
int do_now(struct end *e, const struct order *o);
int config(struct end *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What streams and datagrams consist of, from the place `at` on. */
void fill(uint8_t *buf, size_t len, uint64_t at, uint64_t seed);
/* As DO_OFFLOADS, in this namespace. */
int offloads(const char *ifname);
uint64_t now_ns(void);

#define TAG 7
#define INSN(c, d, s, o, i)                                                                        \
	((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)})
#define RETURN(v)                                                                                  \
	INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, v), INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

#endif
