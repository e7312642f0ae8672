/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that the core asks of the operating system. One file per system
 * implements it (linux.c). Errors are -errno.
 */
#ifndef SKEP_OS_H
#define SKEP_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Segments: shared, sparse memory behind a descriptor ---- */

struct skep_seg {
	int fd;			/* memfd, close-on-exec; -1 once closed */
	void *base;		/* shared mapping */
	size_t size;		/* bytes, whole pages */
	uint64_t dev, ino;	/* identity */
};

/* Makes a memfd of size bytes (rounded up to pages), sealed against shrinking
 * and growing, and maps it. mode is the inode's (0600). */
int skep_seg_create(struct skep_seg *seg, const char *name, size_t size);
/* Maps the segment behind fd (dup'ed). Refuses what is not sealed: -EPERM. */
int skep_seg_open(struct skep_seg *seg, int fd, bool writable);
void skep_seg_close(struct skep_seg *seg);
/* Backs [off, off+len) with memory now, so that no later touch dies of SIGBUS:
 * -ENOMEM or -ENOSPC where there is none. */
int skep_seg_reserve(struct skep_seg *seg, size_t off, size_t len);
/* F_SEAL_WRITE: no one can write or map writable any more. Our own writable
 * mapping is replaced by a read-only one. -EBUSY while others map it writable. */
int skep_seg_freeze(struct skep_seg *seg);

/* ---- Code memory, never writable and executable at once ---- */

struct skep_exec_mem {
	void *rw;		/* write here before publishing */
	void *rx;		/* runs here */
	size_t size;
	int fd;
};
int skep_exec_alloc(struct skep_exec_mem *m, size_t size);
/* Drops the writable view; afterwards only rx is left. */
int skep_exec_seal(struct skep_exec_mem *m);
void skep_exec_free(struct skep_exec_mem *m);

/* ---- Clocks, ns ---- */
uint64_t skep_clock_mono(void);
uint64_t skep_clock_boot(void);
uint64_t skep_clock_coarse(void);
uint64_t skep_clock_tai(void);
uint64_t skep_jiffies(void);	/* CONFIG_HZ of the presented kernel: 250 */

/* ---- Waiting ---- */
/* Sleeps while *word == val, at most ns (0: for ever). Words may lie in shared memory. */
int skep_futex_wait(const uint32_t *word, uint32_t val, uint64_t ns);
int skep_futex_wake(const uint32_t *word, int n);
void skep_cpu_relax(void);

/* ---- Own memory, safely ---- */
/* Copies from any address of this process: -EFAULT instead of a signal. */
int skep_probe_read(void *dst, const void *src, size_t len);
/* The same up to and including a 0 byte; returns the length with it, or -errno. */
long skep_probe_read_str(char *dst, const void *src, size_t len);
int skep_probe_write(void *dst, const void *src, size_t len);

uint32_t skep_possible_cpus(void);
uint64_t skep_random(void);

#endif
