/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libbpf, unmodified, led to an instance. Programs that link libbpf.a with
 * --wrap for the calls named in the Makefile choose per thread where its bpf(2) goes:
 *
 *	struct skep *was = skep_client_enter(skep);
 *	... libbpf calls ...
 *	skep_client_leave(was);
 *
 * Outside of such a scope, and inside skep_client_enter(NULL), everything reaches
 * the kernel. libbpf remembers in global data what the first runtime it met can do:
 * use one runtime per process.
 */
#ifndef SKEP_CLIENT_LIBBPF_H
#define SKEP_CLIENT_LIBBPF_H

#include "bpf/uapi.h"
#include "skep.h"

/* Leads this thread's libbpf to skep; returns where it went before. Nests. */
struct skep *skep_client_enter(struct skep *skep);
void skep_client_leave(struct skep *was);
struct skep *skep_client_current(void);

/* bpf(2) of this thread's scope: >= 0 or -errno. */
long skep_client_bpf(int cmd, union bpf_attr *attr, unsigned int size);

/* Sees every bpf(2) call that libbpf makes on this thread, and decides its result (>= 0 or
 * -errno); it makes the call itself with skep_client_bpf(). fn NULL ends it. */
typedef long (*skep_client_watch_fn)(void *arg, int cmd, union bpf_attr *attr, unsigned int size);
void skep_client_watch(skep_client_watch_fn fn, void *arg);

/* Keeps libbpf's warnings of this thread instead of printing them. The text is what
 * came since the last skep_client_forget(); "" if nothing did. */
void skep_client_collect(void);
const char *skep_client_warnings(void);
void skep_client_forget(void);

#endif
