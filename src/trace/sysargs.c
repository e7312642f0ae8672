/* SPDX-License-Identifier: Apache-2.0 */
#include "trace/sysargs.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- System calls ---- */

static const struct {
	const char *name, *args;
} calls[] = {
#define SYSCALL(name, args) [SYS_##name] = {#name, args},
#include "trace/sysargs_table.h"
#undef SYSCALL
};
#define NCALLS (sizeof(calls) / sizeof(calls[0]))

const char *sysargs_name(uint32_t nr)
{
	return nr < NCALLS ? calls[nr].name : NULL;
}

int sysargs_of(uint32_t nr, struct arg_desc out[SYSARGS_MAX])
{
	return nr < NCALLS && calls[nr].name ? sysargs_parse(calls[nr].args, out) : -ENOENT;
}

/* ---- Kinds ---- */

static const char *const kinds[] = {
	[ARG_INT] = "int",       [ARG_LONG] = "long",     [ARG_UINT] = "uint",
	[ARG_ULONG] = "ulong",   [ARG_HEX] = "hex",       [ARG_PTR] = "ptr",
	[ARG_FD] = "fd",         [ARG_AT] = "at",         [ARG_SIGNAL] = "sig",
	[ARG_MODE] = "mode",     [ARG_OPEN] = "open",     [ARG_ACCESS] = "access",
	[ARG_MAP] = "map",       [ARG_PROT] = "prot",     [ARG_CLONE] = "clone",
	[ARG_FUTEX] = "futex",   [ARG_FAMILY] = "family", [ARG_SOCKTYPE] = "socktype",
	[ARG_WHENCE] = "whence", [ARG_PATH] = "path",     [ARG_STR] = "str",
	[ARG_DATA] = "data",     [ARG_ARGV] = "argv",
};

enum arg_kind sysargs_kind(const char *name, size_t len)
{
	for (size_t i = 0; i < ARG_NONE; i++)
		if (strlen(kinds[i]) == len && !strncmp(kinds[i], name, len))
			return (enum arg_kind)i;
	return ARG_NONE;
}

bool sysargs_is_text(enum arg_kind kind)
{
	return kind >= ARG_PATH && kind < ARG_NONE;
}

int sysargs_parse(const char *text, struct arg_desc out[SYSARGS_MAX])
{
	int n = 0;

	while (text += strspn(text, " ,"), *text) {
		size_t len = strcspn(text, " ,"), name = strcspn(text, " ,:");
		enum arg_kind kind = ARG_LONG;

		if (n == SYSARGS_MAX || name >= sizeof(out[n].name))
			return -EINVAL;
		if (name < len)
			kind = sysargs_kind(text + name + 1, len - name - 1);
		if (kind == ARG_NONE)
			return -EINVAL;
		snprintf(out[n].name, sizeof(out[n].name), "%.*s", (int)name, text);
		out[n++].kind = kind;
		text += len;
	}
	return n;
}

/* ---- Numbers with names ---- */

struct word {
	const char *name;
	uint64_t value;
};
#define W(name)                                                                                    \
	{                                                                                          \
#name, name                                                                        \
	}
#define END                                                                                        \
	{                                                                                          \
		NULL, 0                                                                            \
	}

static const struct word signals[] = {
	W(SIGHUP),  W(SIGINT),    W(SIGQUIT),   W(SIGILL),  W(SIGTRAP), W(SIGABRT), W(SIGBUS),
	W(SIGFPE),  W(SIGKILL),   W(SIGUSR1),   W(SIGSEGV), W(SIGUSR2), W(SIGPIPE), W(SIGALRM),
	W(SIGTERM), W(SIGCHLD),   W(SIGSTKFLT), W(SIGCONT), W(SIGSTOP), W(SIGTSTP), W(SIGTTIN),
	W(SIGTTOU), W(SIGURG),    W(SIGXCPU),   W(SIGXFSZ), W(SIGPROF), W(SIGIO),   W(SIGPWR),
	W(SIGSYS),  W(SIGVTALRM), W(SIGWINCH),  END};
static const struct word open_modes[] = {W(O_RDONLY), W(O_WRONLY), W(O_RDWR), END};
static const struct word open_flags[] = {W(O_CREAT),
					 W(O_EXCL),
					 W(O_NOCTTY),
					 W(O_TRUNC),
					 W(O_APPEND),
					 W(O_NONBLOCK),
					 W(O_CLOEXEC),
					 W(O_NOFOLLOW),
					 W(O_DIRECTORY),
					 {"O_TMPFILE", 020000000},
					 W(O_PATH),
					 {"O_SYNC", 04010000},
					 W(O_DSYNC),
					 W(O_DIRECT),
					 {"O_LARGEFILE", 0100000},
					 W(O_NOATIME),
					 W(O_ASYNC),
					 END};
static const struct word access_flags[] = {W(R_OK), W(W_OK), W(X_OK), END};
static const struct word access_none[] = {W(F_OK), END};
static const struct word prot_none[] = {W(PROT_NONE), END};
static const struct word prot_flags[] = {W(PROT_READ), W(PROT_WRITE), W(PROT_EXEC), END};
static const struct word map_flags[] = {{"MAP_SHARED_VALIDATE", 3},
					W(MAP_SHARED),
					W(MAP_PRIVATE),
					W(MAP_FIXED),
					W(MAP_ANONYMOUS),
					W(MAP_GROWSDOWN),
					W(MAP_DENYWRITE),
					W(MAP_EXECUTABLE),
					W(MAP_LOCKED),
					W(MAP_NORESERVE),
					W(MAP_POPULATE),
					W(MAP_NONBLOCK),
					W(MAP_STACK),
					W(MAP_HUGETLB),
					W(MAP_FIXED_NOREPLACE),
					END};
static const struct word clone_flags[] = {W(CLONE_VM),
					  W(CLONE_FS),
					  W(CLONE_FILES),
					  W(CLONE_SIGHAND),
					  W(CLONE_PTRACE),
					  W(CLONE_VFORK),
					  W(CLONE_PARENT),
					  W(CLONE_THREAD),
					  W(CLONE_NEWNS),
					  W(CLONE_SYSVSEM),
					  W(CLONE_SETTLS),
					  W(CLONE_PARENT_SETTID),
					  W(CLONE_CHILD_CLEARTID),
					  W(CLONE_DETACHED),
					  W(CLONE_UNTRACED),
					  W(CLONE_CHILD_SETTID),
					  W(CLONE_NEWCGROUP),
					  W(CLONE_NEWUTS),
					  W(CLONE_NEWIPC),
					  W(CLONE_NEWUSER),
					  W(CLONE_NEWPID),
					  W(CLONE_NEWNET),
					  W(CLONE_IO),
					  END};
static const struct word futex_ops[] = {W(FUTEX_WAIT),
					W(FUTEX_WAKE),
					W(FUTEX_REQUEUE),
					W(FUTEX_CMP_REQUEUE),
					W(FUTEX_WAKE_OP),
					W(FUTEX_LOCK_PI),
					W(FUTEX_UNLOCK_PI),
					W(FUTEX_TRYLOCK_PI),
					W(FUTEX_WAIT_BITSET),
					W(FUTEX_WAKE_BITSET),
					W(FUTEX_WAIT_REQUEUE_PI),
					W(FUTEX_CMP_REQUEUE_PI),
					{"FUTEX_LOCK_PI2", 13},
					END};
static const struct word futex_flags[] = {W(FUTEX_PRIVATE_FLAG), W(FUTEX_CLOCK_REALTIME), END};
static const struct word families[] = {W(AF_UNSPEC),   W(AF_UNIX),   W(AF_INET), W(AF_INET6),
				       W(AF_NETLINK),  W(AF_PACKET), W(AF_ALG),  W(AF_VSOCK),
				       {"AF_XDP", 44}, END};
static const struct word socktypes[] = {
	W(SOCK_STREAM),    W(SOCK_DGRAM), W(SOCK_RAW),    W(SOCK_RDM),
	W(SOCK_SEQPACKET), W(SOCK_DCCP),  W(SOCK_PACKET), END};
static const struct word sockflags[] = {W(SOCK_CLOEXEC), W(SOCK_NONBLOCK), END};
static const struct word whences[] = {W(SEEK_SET),  W(SEEK_CUR),  W(SEEK_END),
				      W(SEEK_DATA), W(SEEK_HOLE), END};
static const struct word ats[] = {{"AT_FDCWD", (uint32_t)AT_FDCWD}, END};

/* How a kind is named: the bits under mask by one table, the others flag by flag. */
static const struct naming {
	const struct word *one;
	uint64_t mask;
	const struct word *flags;
	const char *rest; /* format of what has no name */
} namings[ARG_NONE] = {
	[ARG_SIGNAL] = {signals, UINT32_MAX, NULL, "%" PRIu64},
	[ARG_OPEN] = {open_modes, O_ACCMODE, open_flags, "0%" PRIo64},
	[ARG_ACCESS] = {access_none, 0, access_flags, "%#" PRIx64},
	[ARG_PROT] = {prot_none, 0, prot_flags, "%#" PRIx64},
	[ARG_MAP] = {NULL, 0, map_flags, "%#" PRIx64},
	[ARG_CLONE] = {NULL, 0, clone_flags, "%#" PRIx64},
	[ARG_FUTEX] = {futex_ops, 127, futex_flags, "%#" PRIx64},
	[ARG_FAMILY] = {families, UINT32_MAX, NULL, "%" PRIu64},
	[ARG_SOCKTYPE] = {socktypes, 15, sockflags, "%#" PRIx64},
	[ARG_WHENCE] = {whences, UINT32_MAX, NULL, "%" PRIu64},
	[ARG_AT] = {ats, UINT32_MAX, NULL, "%" PRIu64},
};

static const char *word_of(const struct word *w, uint64_t value)
{
	for (; w && w->name; w++)
		if (w->value == value)
			return w->name;
	return NULL;
}

struct out {
	char *p;
	size_t size, n;
};

__attribute__((format(printf, 2, 3))) static void put(struct out *o, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(o->n < o->size ? o->p + o->n : NULL, o->n < o->size ? o->size - o->n : 0, fmt,
		      ap);
	va_end(ap);
	o->n += n < 0 ? 0 : (size_t)n;
}

static void put_named(struct out *o, const struct naming *g, uint64_t v)
{
	const char *one = g->one && (g->mask || !v) ? word_of(g->one, v & g->mask) : NULL;
	uint64_t rest = v;
	size_t from = o->n;

	if (one) {
		put(o, "%s", one);
		rest &= ~g->mask;
	}
	for (const struct word *w = g->flags; w && w->name; w++)
		if (w->value && (rest & w->value) == w->value) {
			put(o, "%s%s", o->n > from ? "|" : "", w->name);
			rest &= ~w->value;
		}
	if (rest || o->n == from) {
		char text[32];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(text, sizeof(text), g->rest, rest);
#pragma GCC diagnostic pop
		put(o, "%s%s", o->n > from ? "|" : "", text);
	}
}

int sysargs_write(char *buf, size_t size, enum arg_kind kind, uint64_t v)
{
	struct out o = {.p = buf, .size = size};
	const struct naming *g = kind < ARG_NONE ? &namings[kind] : NULL;

	if (g && g->rest) {
		/* Arguments that are int in the kernel: what stands above is not looked at. */
		if (kind != ARG_MAP && kind != ARG_CLONE && kind != ARG_PROT)
			v = (uint32_t)v;
		put_named(&o, g, v);
		return (int)o.n;
	}
	switch (kind) {
	case ARG_INT:
	case ARG_FD:
		put(&o, "%d", (int)v);
		break;
	case ARG_LONG:
		put(&o, "%" PRId64, (int64_t)v);
		break;
	case ARG_UINT:
		put(&o, "%u", (unsigned)v);
		break;
	case ARG_ULONG:
		put(&o, "%" PRIu64, v);
		break;
	case ARG_MODE:
		put(&o, "%#o", (unsigned)v & 0177777);
		break;
	case ARG_PTR:
		if (!v) {
			put(&o, "NULL");
			break;
		}
		/* fall through */
	default:
		put(&o, "%#" PRIx64, v);
	}
	return (int)o.n;
}

const char *sysargs_errno(int e)
{
	return strerrorname_np(e);
}

static int read_word(const char *name, size_t len, enum arg_kind kind, int64_t *out)
{
	const struct naming *g = kind < ARG_NONE ? &namings[kind] : NULL;
	const struct word *const tables[] = {g ? g->one : NULL, g ? g->flags : NULL};

	for (int i = 0; i < 2; i++)
		for (const struct word *w = tables[i]; w && w->name; w++)
			if (strlen(w->name) == len && !strncmp(w->name, name, len)) {
				*out = (int64_t)w->value;
				return 0;
			}
	for (int e = 1; e < 134; e++) {
		const char *is = strerrorname_np(e);

		if (is && strlen(is) == len && !strncmp(is, name, len)) {
			*out = e;
			return 0;
		}
	}
	return -EINVAL;
}

int sysargs_read(const char *text, enum arg_kind kind, int64_t *out)
{
	bool minus = *text == '-';
	int64_t sum = 0, v;
	char *end;

	text += minus;
	if (isdigit((unsigned char)*text)) {
		errno = 0;
		sum = (int64_t)strtoull(text, &end, 0);
		if (*end || errno)
			return -EINVAL;
	} else {
		for (;; text++) {
			size_t len = strcspn(text, "|");

			if (read_word(text, len, kind, &v))
				return -EINVAL;
			sum |= v;
			text += len;
			if (!*text)
				break;
		}
	}
	*out = minus ? -sum : sum;
	return 0;
}
