/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The bench programs, in the order of the table. */
#define BENCH_PROGS(X)                                                                             \
	X(empty)                                                                                   \
	X(log2)                                                                                    \
	X(primes)                                                                                  \
	X(fibonacci)                                                                               \
	X(memcpy256)                                                                               \
	X(checksum)                                                                                \
	X(strcmp)                                                                                  \
	X(switch16)                                                                                \
	X(bits)                                                                                    \
	X(muldiv)                                                                                  \
	X(parse)                                                                                   \
	X(tcpopt)                                                                                  \
	X(jhash)                                                                                   \
	X(siphash)                                                                                 \
	X(chacha20)                                                                                \
	X(bsearch)                                                                                 \
	X(calls)                                                                                   \
	X(tailcall)
