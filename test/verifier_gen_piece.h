/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pieces of random programs, for verifier_gen*.c. R6 is the context, R7 points to memory, R8 and R9
 * are numbers that survive calls; the others come and go. A statement leaves R0 to R5 as numbers, so
 * that statements go together in any order.
 */
#ifndef SKEP_TEST_VERIFIER_GEN_PIECE_H
#define SKEP_TEST_VERIFIER_GEN_PIECE_H

#include <stddef.h>

#include "verifier_gen.h"

#define MOVK(d, v) emit(g, BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, v)
#define MOVX(d, s) emit(g, BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define ADDK(d, v) emit(g, BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, v)
#define ADDX(d, s) emit(g, BPF_ALU64 | BPF_ADD | BPF_X, d, s, 0, 0)
#define CALL(f)    emit(g, BPF_JMP | BPF_CALL, 0, 0, 0, f)

/* ---- Choices ---- */

uint32_t pick(struct gen *g, uint32_t n); /* below n */
int num(struct gen *g); /* a register that holds a number */
int32_t value(struct gen *g); /* a constant, of those at which things change more often */
/* An offset in the array's value at which size bytes may fit. */
int32_t fine_or_not(struct gen *g, int size);

/* ---- Instructions ---- */

void emit(struct gen *g, int code, int dst, int src, int off, int32_t imm);
void map_ptr(struct gen *g, int dst, int fd);
void map_value(struct gen *g, int dst, int fd, int32_t off);
/* A jump over what is emitted until patch(). */
uint32_t jump(struct gen *g, int code, int dst, int src, int32_t imm);
void patch(struct gen *g, uint32_t at);
/* One that compares register dst with anything. */
uint32_t any_jump(struct gen *g, int dst);

/* ---- Numbers ---- */

void unknown(struct gen *g, int dst); /* a number out of the array */
void arith(struct gen *g);
/* Tries to bring register r into [0, limit]. Returns a jump to patch, or -1. */
int bound(struct gen *g, int r, int32_t limit);
/* Takes register r's value another way round: what is known of it must go the same way. */
void detour(struct gen *g, int r);
/* R0 to R5 are numbers again. */
void refill(struct gen *g);
/* Something that does nothing, so that states are remembered and compared. */
void between(struct gen *g);
/* On one of two ways register r becomes v. */
void or_else(struct gen *g, int r, int32_t v);

/* ---- Memory ---- */

/* Loads or stores size bytes at base + off, for any kind of memory. */
void touch(struct gen *g, int base, int size, int off);
/* Touches the array at an index. */
void at_index(struct gen *g, int idx, int size, int off);

/* ---- Statements about memory: verifier_gen_mem.c ---- */

void index_map(struct gen *g);
/* What two ways leave differently, and what must not be forgotten where they meet. */
void meeting(struct gen *g);
/* Atomic operations, and what they give back. */
void atomic(struct gen *g);
/* The index is one number or another, depending on what happened; both may be fine. */
void joined(struct gen *g);
/* Two copies, one of them changed; what is learnt of one holds for the other only if not. */
void linked(struct gen *g);
/* A number and a sum of it. */
void sums(struct gen *g);
void lookup(struct gen *g);
/* Two lookups; only one is checked, or each by itself. */
void lookups(struct gen *g);
void packet(struct gen *g);
void stack(struct gen *g);

/* ---- Loops: verifier_gen_loop.c ---- */

/* As often as an open-coded iterator gives an element. */
void iterate(struct gen *g);
/* As often as may_goto lets it, but seldom that often. */
void budget(struct gen *g);

/* ---- verifier_gen.c ---- */

/* Calls the function with a number, and memory at fp-112. */
void sub_call(struct gen *g);

#endif
