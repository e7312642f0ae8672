/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that the core asks of the operating system. One file per system
 * implements it (linux*.c). Errors are -errno.
 */
#ifndef SKEP_OS_H
#define SKEP_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Segments: shared, sparse memory behind a descriptor ---- */

struct skep_seg {
	int fd; /* memfd, close-on-exec, a high number; -1 once closed */
	void *base; /* shared mapping */
	size_t size; /* bytes, whole pages */
	uint64_t dev, ino; /* identity */
	struct skep_seg_guard *guard; /* of a writable mapping (linux_missing.c) */
};

/* Makes a memfd of size bytes (rounded up to pages, mode 0600), sealed against
 * shrinking and growing, and maps it. All zero; no memory is taken yet. */
int skep_seg_create(struct skep_seg *seg, const char *name, size_t size);
/* Maps the segment behind fd (dup'ed). Refuses what is not sealed: -EPERM. */
int skep_seg_open(struct skep_seg *seg, int fd, bool writable);
/* Maps it at that address instead: -EEXIST if something is there. */
int skep_seg_move(struct skep_seg *seg, uint64_t address);
void skep_seg_close(struct skep_seg *seg);
/* Backs [off, off+len) with memory now, so that no later touch dies of SIGBUS:
 * -ENOMEM where there is none. */
int skep_seg_reserve(struct skep_seg *seg, size_t off, size_t len);
/* Whether this process reached memory of the segment that was gone (a hole was punched) and could
 * not be had again. It went on with bytes that mean nothing, so what it read there is no answer. */
bool skep_seg_missing(const struct skep_seg *seg);
/* The same of the segment that p points into: where nobody is going to change a word. */
bool skep_seg_missing_at(const void *p);
/* Takes the segment's own memory again where such bytes stand in its place, as far as there is
 * any by now. Threads may be using the segment. */
void skep_seg_restore(struct skep_seg *seg);
/* Whether the system refuses memory at the first touch (strict accounting): what would be touched
 * without being reserved is then better reserved at once. */
bool skep_memory_strict(void);
/* Gives the memory of [off, off+len), whole pages, back: it reads as zero from now on, in
 * every process. */
void skep_seg_release(struct skep_seg *seg, size_t off, size_t len);
/* F_SEAL_WRITE: no one can write, punch holes, or map writable any more, and all of it has memory.
 * Our own writable mapping is replaced by a read-only one in place, so no thread of ours may be
 * writing. -EBUSY while others map it writable; ours is then writable again. */
int skep_seg_freeze(struct skep_seg *seg);
/* F_SEAL_FUTURE_WRITE: from now on nobody can map it writable, or write(2) to it; our own
 * mapping goes on being writable. -EBUSY if this process has another writable mapping. */
int skep_seg_freeze_users(struct skep_seg *seg);

/* ---- Devices ---- */

/* MTU of a network device, bytes: 0, -ENODEV. */
int skep_device_mtu(uint32_t ifindex, uint32_t *mtu);

/* ---- Descriptors ----
 *
 * Those that the core keeps for itself have high numbers, so that clients see the
 * numbers they expect; still a client may close or reuse any of them. So each is
 * held against its inode (skep_fd_is) before it is used for anything that counts.
 */

/* An empty memfd that stands for an object; sealed, close-on-exec, mode 0600. */
int skep_fd_make(const char *name);
/* A memfd that holds these bytes for good, open for reading. */
int skep_fd_text(const char *name, const void *data, size_t len);
/* Device and inode behind fd: 0, or -EBADF. */
int skep_fd_stat(int fd, uint64_t *dev, uint64_t *ino);
bool skep_fd_is(int fd, uint64_t dev, uint64_t ino);
/* A new open file description of the same inode. access: O_RDWR, O_RDONLY, O_WRONLY, and
 * flags that a description keeps (O_NONBLOCK, O_APPEND).
 * high: for the core's own use. -ENOSYS where neither /proc nor the privilege to open by
 * handle is there. */
int skep_fd_reopen(int fd, int access, bool high);
/* Closes fd if it still is that inode. */
void skep_fd_close(int fd, uint64_t dev, uint64_t ino);
/* Access mode of the description: O_RDWR, O_RDONLY, O_WRONLY, or -errno. */
int skep_fd_access(int fd);
/* The same with the status flags it was opened with. */
int skep_fd_flags(int fd);
/* Locks one byte of the inode for the lifetime of the open file description (never
 * blocks): 0, -EAGAIN if another description holds it exclusively, -errno. */
int skep_fd_hold(int fd, uint64_t byte);
/* 1: a description other than fd's holds a byte in [byte, byte + len) (len 0: to the
 * end of all offsets); 0: none; -errno. *next may be NULL, else gets the byte found. */
int skep_fd_held(int fd, uint64_t byte, uint64_t len, uint64_t *next);

/* Notices that descriptions of watched inodes are closed. */
int skep_watch_open(void);
int skep_watch_add(int watch, int fd); /* a number for this inode, or -errno */
void skep_watch_remove(int watch, int wd);
/* 1: there is something to read, 0: nothing; -EBADF if the descriptor is no watch any more. */
int skep_watch_pending(int watch);
void skep_watch_close(int watch);
/* The numbers of inodes of which descriptions were closed since, at most n: how many,
 * 0 if none, -EOVERFLOW if some were missed, -errno. Never blocks. */
int skep_watch_read(int watch, int *wds, int n);

/* ---- Private memory that a forked child finds zeroed ---- */
void *skep_wipe_alloc(size_t size); /* NULL: no memory */
void skep_wipe_free(void *p, size_t size);

/* ---- Code memory, never writable once it is executable ---- */

struct skep_exec_mem {
	void *rx; /* runs here */
	size_t size;
};
/* Maps a copy of len bytes of code, which must not depend on where they lie. 0 or -errno. */
int skep_exec_make(struct skep_exec_mem *m, const void *code, size_t len);
void skep_exec_free(struct skep_exec_mem *m);

/* ---- Clocks, ns ---- */
uint64_t skep_clock_mono(void);
uint64_t skep_clock_boot(void);
uint64_t skep_clock_coarse(void);
uint64_t skep_clock_real(void);
uint64_t skep_clock_tai(void);
uint64_t skep_jiffies(void); /* CONFIG_HZ of the presented kernel: 250 */

/* ---- Waiting ---- */
/* Sleeps while *word == val, at most ns (0: for ever). Words may lie in shared memory. */
int skep_futex_wait(const uint32_t *word, uint32_t val, uint64_t ns);
int skep_futex_wake(const uint32_t *word, int n);
void skep_cpu_relax(void); /* within a spinning loop */
void skep_cpu_yield(void); /* lets another thread run */
void skep_sleep(uint64_t ns);
/* Blocks all signals of this thread but SIGBUS, which when blocked would kill (see skep_seg_missing());
 * restore with what it returns. */
uint64_t skep_signals_block(void);
void skep_signals_restore(uint64_t old);

/* ---- Threads and processes ---- */
uint32_t skep_tid(void); /* of the calling thread, below 2^22 */
bool skep_tid_gone(uint32_t tid); /* certainly no such thread in our pid namespace */
uint32_t skep_pidns(void); /* a tag of the pid namespace, 0: unknown */

/* ---- Own memory, safely ---- */
/* Makes what follows faster on this thread. Not to be called from signal handlers, which
 * may call everything else here. */
void skep_thread_prepare(void);
/* Whether [p, p + len) certainly is mapped and writable: what need not be asked about. */
bool skep_probe_certain(const void *p, size_t len);
/* Copies from any address of this process: -EFAULT instead of a signal. */
int skep_probe_read(void *dst, const void *src, size_t len);
/* The same up to and including a 0 byte; returns the length with it, or -errno. */
long skep_probe_read_str(char *dst, const void *src, size_t len);
int skep_probe_write(void *dst, const void *src, size_t len);

/* The serial number of a key that the calling thread can name (keyctl(2), special ones too,
 * which create makes): or -errno. One that it may not use is a key all the same. */
int32_t skep_key_find(int32_t serial, bool create);

uint32_t skep_possible_cpus(void);
uint64_t skep_random(void);

#endif
