/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The little of libc that the core uses, for the agent: nothing here touches the host's.
 * malloc refuses while this very thread is inside it (a signal handler's program came in between):
 * callers take that as no memory.
 */
#include <errno.h>
#include <net/if.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>
#include <ctype.h>
#include <fcntl.h>
#include <sched.h>

#include "os/os.h"
#include "trace/agent/agent.h"

/* ---- Strings ---- */

/* Not to be compiled into calls of themselves (-fno-builtin does it for clang). */
#ifdef __clang__
#define PLAIN __attribute__((used))
#else
#define PLAIN __attribute__((optimize("no-tree-loop-distribute-patterns"), used))
#endif

PLAIN void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
	char *d = dst;
	const char *s = src;

	if (n >= 256) {
		__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
		return dst;
	}
	for (; n >= 8; n -= 8, d += 8, s += 8) {
		uint64_t word;

		__builtin_memcpy(&word, s, 8);
		__builtin_memcpy(d, &word, 8);
	}
	if (n & 4) {
		uint32_t word;

		__builtin_memcpy(&word, s, 4);
		__builtin_memcpy(d, &word, 4);
		d += 4;
		s += 4;
	}
	for (n &= 3; n; n--)
		*d++ = *s++;
	return dst;
}

PLAIN void *memmove(void *dst, const void *src, size_t n)
{
	char *d = dst;
	const char *s = src;

	if (d <= s || d >= s + n) {
		while (n--)
			*d++ = *s++;
	} else {
		while (n--)
			d[n] = s[n];
	}
	return dst;
}

PLAIN void *memset(void *dst, int c, size_t n)
{
	char *d = dst;

	if (n >= 128) {
		__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
		return dst;
	}
	while (n--)
		*d++ = (char)c;
	return dst;
}

PLAIN int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

/* clang's name for a memcmp of which only equality matters. */
PLAIN int bcmp(const void *a, const void *b, size_t n)
{
	return memcmp(a, b, n);
}

PLAIN void *memchr(const void *p, int c, size_t n)
{
	const uint64_t low = 0x0101010101010101ull;
	const uint8_t *s = p;

	for (; n >= 8; n -= 8, s += 8) {
		uint64_t word;

		__builtin_memcpy(&word, s, 8);
		word ^= (uint8_t)c * low;
		if ((word - low) & ~word & (low << 7))
			break; /* a byte of it is 0 */
	}
	for (; n; n--, s++)
		if (*s == (uint8_t)c)
			return (void *)(uintptr_t)s;
	return NULL;
}

PLAIN size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

PLAIN size_t strnlen(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max && s[n])
		n++;
	return n;
}

PLAIN int strcmp(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	return (uint8_t)*a - (uint8_t)*b;
}

PLAIN char *strchr(const char *s, int c)
{
	for (; *s != (char)c; s++)
		if (!*s)
			return NULL;
	return (char *)(uintptr_t)s;
}

/* What <ctype.h> looks up, for ASCII. */
const unsigned short int **__ctype_b_loc(void);
const unsigned short int **__ctype_b_loc(void)
{
	static unsigned short int bits[384];
	static const unsigned short int *at;

	if (!at) {
		for (int c = 0; c < 128; c++) {
			bool digit = c >= '0' && c <= '9', print = c >= 32 && c < 127;
			bool alpha = (c | 32) >= 'a' && (c | 32) <= 'z';
			bool space = c == ' ' || (c >= 9 && c <= 13);

			bits[128 + c] = (unsigned short int)((digit ? _ISdigit : 0) |
							     (print ? _ISprint : 0) |
							     (space ? _ISspace : 0) |
							     (print && c != ' ' && !alpha && !digit
								      ? _ISpunct
								      : 0));
		}
		at = bits + 128;
	}
	return &at;
}

/* ---- Memory: powers of two from 32 bytes to a page, the rest from mmap ---- */

#define CLASSES 8
#define CHUNK   (64u << 10)

struct block {
	size_t size; /* that the caller may use */
	struct block *next; /* while free */
};
#define HEAD 16

static struct block *free_blocks[CLASSES];
static uint8_t *chunk, *chunk_end;
static _Atomic uint32_t heap_lock;

static bool lock_heap(void)
{
	struct agent_thread *t = NULL;
	uint32_t me = (uint32_t)SYS1(SYS_gettid, 0), none = 0;

	(void)t;
	while (!atomic_compare_exchange_strong(&heap_lock, &none, me)) {
		if (none == me)
			return false;
		/* Held by a thread that this process was forked from: whoever it was is not here. */
		if (SYS3(SYS_tgkill, SYS1(SYS_getpid, 0), none, 0) == -ESRCH) {
			if (atomic_compare_exchange_strong(&heap_lock, &none, me))
				return true;
		}
		none = 0;
		skep_cpu_yield();
	}
	return true;
}

static void unlock_heap(void)
{
	atomic_store(&heap_lock, 0);
}

static void *pages(size_t size)
{
	return agent_map(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static int class_of(size_t size)
{
	int c = 0;

	while (c < CLASSES && (32ul << c) < size)
		c++;
	return c;
}

void *malloc(size_t size)
{
	struct block *b = NULL;
	int c;

	if (size > PTRDIFF_MAX - 8192)
		return NULL;
	size += HEAD;
	c = class_of(size);
	if (c == CLASSES) {
		size = (size + 4095) & ~4095ul;
		b = pages(size);
		if (!b)
			return NULL;
		b->size = size - HEAD;
		return (uint8_t *)b + HEAD;
	}
	size = 32ul << c;
	if (!lock_heap())
		return NULL;
	b = free_blocks[c];
	if (b) {
		free_blocks[c] = b->next;
	} else {
		if ((size_t)(chunk_end - chunk) < size) {
			chunk = pages(CHUNK);
			chunk_end = chunk ? chunk + CHUNK : NULL;
		}
		if (chunk) {
			b = (struct block *)chunk;
			chunk += size;
		}
	}
	unlock_heap();
	if (!b)
		return NULL;
	b->size = size - HEAD;
	return (uint8_t *)b + HEAD;
}

void free(void *p)
{
	struct block *b;
	int c;

	if (!p)
		return;
	b = (struct block *)((uint8_t *)p - HEAD);
	c = class_of(b->size + HEAD);
	if (c == CLASSES) {
		agent_unmap(b, b->size + HEAD);
		return;
	}
	if (!lock_heap())
		return; /* lost, rather than broken */
	b->next = free_blocks[c];
	free_blocks[c] = b;
	unlock_heap();
}

void *calloc(size_t n, size_t size)
{
	size_t bytes;
	void *p;

	if (__builtin_mul_overflow(n, size, &bytes))
		return NULL;
	p = malloc(bytes);
	if (p)
		memset(p, 0, bytes);
	return p;
}

void *realloc(void *p, size_t size)
{
	struct block *b = p ? (struct block *)((uint8_t *)p - HEAD) : NULL;
	void *q;

	if (b && size <= b->size)
		return p;
	q = malloc(size);
	if (q && b) {
		memcpy(q, p, b->size);
		free(p);
	}
	return q;
}

/* Blocks are 16 bytes aligned; for more, memory is taken that is never given back. */
int posix_memalign(void **out, size_t align, size_t size)
{
	uint8_t *p = malloc(size + align);

	if (!p)
		return ENOMEM;
	*out = (void *)(((uintptr_t)p + align - 1) & ~(align - 1));
	/* cppcheck-suppress memleak */
	return 0;
}

/* ---- Text: the conversions that skep's own formats use ---- */

struct text {
	char *to;
	size_t size, n;
};

static void put(struct text *t, char c)
{
	if (t->n + 1 < t->size)
		t->to[t->n] = c;
	t->n++;
}

static void put_number(struct text *t, uint64_t v, bool negative, unsigned base, char letter,
		       int width, bool zero, bool left, bool sharp)
{
	char digits[24];
	int n = 0, len;

	do {
		unsigned d = (unsigned)(v % base);

		digits[n++] = (char)(d < 10 ? '0' + d : letter + d - 10);
		v /= base;
	} while (v);
	len = n + negative + (sharp ? 2 : 0);
	for (; !left && !zero && len < width; width--)
		put(t, ' ');
	if (negative)
		put(t, '-');
	if (sharp) {
		put(t, '0');
		put(t, 'x');
	}
	for (; !left && zero && len < width; width--)
		put(t, '0');
	while (n)
		put(t, digits[--n]);
	for (; left && len < width; width--)
		put(t, ' ');
}

int vsnprintf(char *to, size_t size, const char *fmt, va_list ap)
{
	struct text t = {to, size, 0};

	for (; *fmt; fmt++) {
		bool zero = false, left = false, sharp = false;
		int width = 0, precision = -1, longs = 0;

		if (*fmt != '%') {
			put(&t, *fmt);
			continue;
		}
		for (fmt++; *fmt == '0' || *fmt == '-' || *fmt == '#'; fmt++) {
			zero |= *fmt == '0';
			left |= *fmt == '-';
			sharp |= *fmt == '#';
		}
		if (*fmt == '*') {
			width = va_arg(ap, int);
			fmt++;
		}
		for (; *fmt >= '0' && *fmt <= '9'; fmt++)
			width = width * 10 + *fmt - '0';
		if (*fmt == '.') {
			precision = 0;
			fmt++;
			if (*fmt == '*') {
				precision = va_arg(ap, int);
				fmt++;
			}
			for (; *fmt >= '0' && *fmt <= '9'; fmt++)
				precision = precision * 10 + *fmt - '0';
		}
		for (; *fmt == 'l' || *fmt == 'z' || *fmt == 'h'; fmt++)
			longs += *fmt != 'h';
		switch (*fmt) {
		case 'd':
		case 'i': {
			long v = longs ? va_arg(ap, long) : va_arg(ap, int);

			put_number(&t, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, v < 0, 10, 'a', width,
				   zero, left, false);
			break;
		}
		case 'u':
		case 'x':
		case 'X':
		case 'o': {
			uint64_t v = longs ? va_arg(ap, unsigned long) : va_arg(ap, unsigned int);

			put_number(&t, v, false,
				   *fmt == 'u'   ? 10
				   : *fmt == 'o' ? 8
						 : 16,
				   *fmt == 'X' ? 'A' : 'a', width, zero, left, sharp);
			break;
		}
		case 'p':
			put_number(&t, (uintptr_t)va_arg(ap, void *), false, 16, 'a', width, zero,
				   left, true);
			break;
		case 'c':
			put(&t, (char)va_arg(ap, int));
			break;
		case 's': {
			const char *s = va_arg(ap, const char *);
			size_t n = strnlen(s, precision < 0 ? SIZE_MAX : (size_t)precision);

			for (size_t k = n; !left && k < (size_t)width; k++)
				put(&t, ' ');
			for (size_t k = 0; k < n; k++)
				put(&t, s[k]);
			for (size_t k = n; left && k < (size_t)width; k++)
				put(&t, ' ');
			break;
		}
		default:
			put(&t, *fmt);
		}
	}
	if (size)
		to[t.n < size ? t.n : size - 1] = 0;
	return (int)t.n;
}

int snprintf(char *to, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(to, size, fmt, ap);
	va_end(ap);
	return n;
}

/* ---- Locks: of helpers that are never held for long ---- */

int pthread_mutex_lock(pthread_mutex_t *m)
{
	_Atomic int *word = (_Atomic int *)m;
	int none = 0;

	while (!atomic_compare_exchange_strong(word, &none, 1)) {
		none = 0;
		skep_cpu_yield();
	}
	return 0;
}

int pthread_mutex_unlock(pthread_mutex_t *m)
{
	atomic_store((_Atomic int *)m, 0);
	return 0;
}

int pthread_mutex_init(pthread_mutex_t *m, const pthread_mutexattr_t *a)
{
	memset(m, 0, sizeof(*m));
	return 0;
}

int pthread_mutex_destroy(pthread_mutex_t *m)
{
	return 0;
}

/* ---- System ---- */

int close(int fd)
{
	return SYS1(SYS_close, fd) ? -1 : 0;
}

int fcntl(int fd, int cmd, ...)
{
	va_list ap;
	long arg, r;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	r = SYS3(SYS_fcntl, fd, cmd, arg);
	return r < 0 ? -1 : (int)r;
}

void *mmap(void *at, size_t size, int prot, int flags, int fd, off_t off)
{
	void *p = agent_map(size, prot, flags, fd);

	return p ? p : MAP_FAILED;
}

int munmap(void *at, size_t size)
{
	agent_unmap(at, size);
	return 0;
}

int madvise(void *at, size_t size, int advice)
{
	return SYS3(SYS_madvise, at, size, advice) ? -1 : 0;
}

int sched_yield(void)
{
	return SYS1(SYS_sched_yield, 0) ? -1 : 0;
}

long sysconf(int name)
{
	return name == _SC_PAGESIZE ? 4096 : -1;
}

char *if_indextoname(unsigned int index, char name[IF_NAMESIZE])
{
	return NULL;
}

void qsort(void *base, size_t n, size_t size, int (*cmp)(const void *, const void *))
{
	uint8_t *b = base;

	for (size_t i = 1; i < n; i++)
		for (size_t k = i; k && cmp(b + (k - 1) * size, b + k * size) > 0; k--)
			for (size_t j = 0; j < size; j++) {
				uint8_t c = b[k * size + j];

				b[k * size + j] = b[(k - 1) * size + j];
				b[(k - 1) * size + j] = c;
			}
}

/* bpf_trace_printk has a callback; nothing is ever written to a stream. */
FILE *stderr;
int fprintf(FILE *f, const char *fmt, ...)
{
	return 0;
}
