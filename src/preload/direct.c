/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which map a descriptor names is remembered. A number can only come to name another file when it
 * was closed or replaced, and all functions of libc that do this drop it here. Other code could
 * do it by itself: if any that came with the program has an instruction that enters the kernel, or
 * any came later, each call looks at the descriptor's inode first (fstat).
 *
 * Descriptors below 3 are never remembered: libc itself replaces those (daemon(), login_tty()).
 *
 * An attached map stays in memory while a thread is in it. Its place in the table is never
 * given back, so a thread that comes late finds there that it is another's now.
 */
#include "preload/direct.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpf/uapi.h"
#include "client/ask.h"
#include "exec/exec.h"
#include "map/map.h"
#include "map/pages.h"
#include "next.h"
#include "os/os.h"

#define MAX_FD   4096u
#define MAX_MAPS 256u
#define BUFFER   512u /* bytes of a key or value that are copied through the stack */

/* A map in this process. gen counts the maps that have been in this place. */
struct place {
	_Atomic uint64_t users; /* gen << 32 | threads inside, plus one while it is attached */
	struct skep_map *map;
	uint64_t dev, ino;
	uint32_t value_size;
	struct place *next; /* free */
};

/* What a number is known as: 0 nothing yet, NOT_OURS, or gen << 32 | index of the place + 2. */
#define NOT_OURS 1u
static _Atomic uint64_t known[MAX_FD];
static struct place places[MAX_MAPS];
static struct place *free_place;
static unsigned nplaces;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of attaching and letting go */

static struct skep skep; /* as far as maps look at it */
static const uint32_t *changes; /* of the instance: rises when a map is frozen */
static _Atomic uint32_t changes_seen;
static uint32_t mine = 1;
static _Atomic uint32_t closings; /* rises before any descriptor ends */
static __thread bool attaching __attribute__((tls_model("initial-exec")));
static uintptr_t data_lo, data_hi; /* the program's own variables */

/* ---- Code that enters the kernel by itself ---- */

static _Atomic bool raw_code;
static const struct link_map *last_library; /* of those at the start; NULL: not looked yet */

static bool enters_kernel(const uint8_t *p, size_t len)
{
	static const uint8_t ways[][2] = {{0x0f, 0x05}, {0x0f, 0x34}, {0xcd, 0x80}};

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (memmem(p, len, ways[i], 2))
			return true;
	return false;
}

static int look_at(struct dl_phdr_info *info, size_t size, void *found)
{
	/* These close only what they opened, but for what is wrapped. */
	static const char *const trusted[] = {"libc.so.", "ld-linux", "linux-vdso",
					      "libskep-preload", "libpthread.so."};
	const char *name = strrchr(info->dlpi_name, '/');

	(void)size;
	name = name ? name + 1 : info->dlpi_name;
	for (size_t i = 0; i < sizeof(trusted) / sizeof(trusted[0]); i++)
		if (!strncmp(name, trusted[i], strlen(trusted[i])))
			return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_LOAD && ph->p_flags & PF_X && ph->p_flags & PF_R &&
		    enters_kernel((const uint8_t *)(info->dlpi_addr + ph->p_vaddr), ph->p_memsz)) {
			*(bool *)found = true;
			return 1;
		}
	}
	return 0;
}

/* Code that came with the program was looked through; whatever came later, by dlopen() or in
 * another way, was not. Libraries of the start are never unloaded, so the last one stays. */
static bool must_look(void)
{
	return atomic_load_explicit(&raw_code, memory_order_relaxed) || last_library->l_next;
}

void skep_direct_new_code(void)
{
	atomic_store_explicit(&raw_code, true, memory_order_relaxed);
}

static void look_through(void)
{
	bool found = false;

	last_library = _r_debug.r_map;
	while (last_library->l_next)
		last_library = last_library->l_next;
	dl_iterate_phdr(look_at, &found);
	if (found)
		skep_direct_new_code();
}

/* ---- Places ---- */

/* The last one out lets it go; called with the lock, or by a thread that leaves. */
static void put(struct place *p)
{
	struct skep_map *map = p->map;
	bool locked;

	if ((uint32_t)atomic_fetch_sub(&p->users, 1) != 1)
		return;
	/* Nobody can come in any more: the generation is raised before the place is used again. */
	p->map = NULL;
	atomic_fetch_add(&p->users, 1ull << 32);
	skep_map_detach(map);
	/* A signal handler that interrupted who holds the lock must not wait for it: the place is
	 * lost then. */
	locked = !pthread_mutex_trylock(&lock);
	if (!locked)
		return;
	p->next = free_place;
	free_place = p;
	pthread_mutex_unlock(&lock);
}

static struct place *get(uint64_t what)
{
	struct place *p = &places[(uint32_t)what - 2];
	uint64_t users = atomic_load_explicit(&p->users, memory_order_relaxed);

	do {
		if (users >> 32 != what >> 32 || !(uint32_t)users)
			return NULL;
	} while (!atomic_compare_exchange_weak_explicit(
		&p->users, &users, users + 1, memory_order_acquire, memory_order_relaxed));
	return p;
}

static void forget(unsigned fd)
{
	uint64_t what = atomic_load_explicit(&known[fd], memory_order_relaxed);

	/* Who takes it out gives the table's reference back. */
	if (what && (what = atomic_exchange(&known[fd], 0)) > NOT_OURS)
		put(&places[(uint32_t)what - 2]);
}

void skep_direct_closing(unsigned first, unsigned last)
{
	if (attaching)
		return; /* descriptors of its own, which nobody knows */
	atomic_fetch_add(&closings, 1);
	for (unsigned fd = first; fd <= last && fd < MAX_FD; fd++)
		if (atomic_load_explicit(&known[fd], memory_order_relaxed))
			forget(fd);
}

/* ---- Attaching ---- */

/* What the instance shares with all: who takes part, and the count of changes. */
static int join(void)
{
	int err, fd;
	void *page;

	if (changes)
		return 0;
	if (!last_library)
		look_through();
	fd = (int)skep_ask(SKEP_ASK_PARTS, 0, 0);
	if (fd < 0)
		return fd;
	err = skep_parts_open(&skep.parts, fd);
	close(fd);
	if (err)
		return err;
	fd = (int)skep_ask(SKEP_ASK_CHANGES, 0, 0);
	if (fd < 0)
		return fd;
	page = mmap(NULL, SKEP_PAGE, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (page == MAP_FAILED)
		return -ENOMEM;
	changes = page;
	atomic_store(&changes_seen, __atomic_load_n(changes, __ATOMIC_ACQUIRE));
	skep.mine = &mine;
	skep.pid = getpid();
	return 0;
}

/* Description of its own: the handle's holds the lock by which the instance counts users, and a
 * mapping would keep that. */
static int open_data(struct skep_seg *seg, int fd)
{
	int own = skep_fd_reopen(fd, O_RDWR, true), err;

	if (own < 0)
		return own;
	err = skep_seg_open(seg, own, true);
	close(own);
	return err;
}

static int open_control(struct skep_seg *seg, int fd, uint32_t id)
{
	int own = (int)skep_ask(SKEP_ASK_CONTROL, (unsigned)fd, id), err;

	if (own == -ENOENT) /* the type has none */
		return 0;
	if (own < 0)
		return own;
	err = skep_seg_open(seg, own, true);
	close(own);
	return err;
}

static uint64_t attach(unsigned fd)
{
	struct skep_seg data = {.fd = -1}, ctl = {.fd = -1};
	struct skep_ask_direct ask;
	struct skep_map *map;
	struct place *p;
	uint64_t gen;

	/* Joined first: what is frozen from now on shows in the count of changes. */
	if (!skep_may_be_source((int)fd) || join() ||
	    skep_ask(SKEP_ASK_DIRECT, fd, (unsigned long)(uintptr_t)&ask) ||
	    open_data(&data, (int)fd))
		return NOT_OURS;
	if (data.dev != ask.dev || data.ino != ask.ino ||
	    open_control(&ctl, (int)fd, ask.desc.id) || !skep_fd_is((int)fd, ask.dev, ask.ino)) {
		skep_seg_close(&data);
		skep_seg_close(&ctl);
		return NOT_OURS;
	}
	skep.cpus = ask.desc.cpus;
	if (skep_map_attach(&skep, &ask.desc, &data, &ctl, &map))
		return NOT_OURS;
	p = free_place;
	if (p)
		free_place = p->next;
	else if (nplaces < MAX_MAPS)
		p = &places[nplaces++];
	if (!p) {
		skep_map_detach(map);
		return NOT_OURS;
	}
	p->dev = ask.dev;
	p->ino = ask.ino;
	p->map = map;
	p->value_size = skep_map_sys_value_size(map);
	gen = atomic_load(&p->users) >> 32;
	atomic_store(&p->users, gen << 32 | 1);
	return gen << 32 | ((uint32_t)(p - places) + 2);
}

static uint64_t look_up(unsigned fd)
{
	uint64_t what, none = 0;
	uint32_t before;

	if (pthread_mutex_trylock(&lock))
		return NOT_OURS; /* somebody attaches: by the instance, this time */
	before = atomic_load(&closings);
	attaching = true;
	what = attach(fd);
	attaching = false;
	pthread_mutex_unlock(&lock);
	if (!atomic_compare_exchange_strong(&known[fd], &none, what)) {
		if (what > NOT_OURS)
			put(&places[(uint32_t)what - 2]);
		return NOT_OURS;
	}
	/* It may have been closed in between, when there was nothing to forget yet. */
	if (atomic_load(&closings) != before) {
		forget(fd);
		return NOT_OURS;
	}
	return what;
}

/* The program's variables that stay writable. */
static int find_data(struct dl_phdr_info *info, size_t size, void *arg)
{
	uintptr_t lo = 0, hi = 0, relro = 0;

	(void)size;
	(void)arg;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t at = info->dlpi_addr + ph->p_vaddr;

		if (ph->p_type == PT_LOAD && ph->p_flags & PF_W && ph->p_memsz > hi - lo) {
			lo = at;
			hi = at + ph->p_memsz;
		} else if (ph->p_type == PT_GNU_RELRO) {
			relro = (at + ph->p_memsz + SKEP_PAGE - 1) & ~(uintptr_t)(SKEP_PAGE - 1);
		}
	}
	data_lo = relro > lo && relro < hi ? relro : lo;
	data_hi = hi;
	return 1; /* the program comes first */
}

/* A child has the same descriptors, so all that is known stays true. */
static void after_fork(void)
{
	pthread_mutex_init(&lock, NULL);
}

__attribute__((constructor)) static void prepare(void)
{
	pthread_atfork(NULL, NULL, after_fork);
	dl_iterate_phdr(find_data, NULL);
}

/* ---- Operations ---- */

/* Whether fd still is what it was; if not, it is forgotten. */
static bool still(unsigned fd, const struct place *p)
{
	if (skep_fd_is((int)fd, p->dev, p->ino))
		return true;
	forget(fd);
	return false;
}

struct call {
	const union bpf_attr *attr;
	struct skep_map *map;
	void *key, *value;
};

static int do_lookup(const struct call *c, struct skep_env *env)
{
	return c->map->ops->sys_lookup(c->map, c->key, c->value, c->attr->flags, env);
}

static int do_update(const struct call *c, struct skep_env *env)
{
	return c->map->ops->sys_update(c->map, c->key, c->value, c->attr->flags, env);
}

static int do_delete(const struct call *c, struct skep_env *env)
{
	return c->map->ops->sys_delete(c->map, c->key, env);
}

static int do_lookup_delete(const struct call *c, struct skep_env *env)
{
	return c->map->ops->sys_lookup_delete(c->map, c->key, c->value, c->attr->flags, env);
}

static int do_next_key(const struct call *c, struct skep_env *env)
{
	(void)env;
	return c->map->ops->next_key(c->map, c->key, c->value);
}

/* The commands: bytes of attr that they read, and which of them; what follows must be zero. */
static const struct command {
	int (*run)(const struct call *c, struct skep_env *env);
	size_t op; /* of struct skep_map_ops, what the type must have */
	uint8_t size;
	bool in, out; /* of the value, or of the next key */
	bool next, flags;
} commands[] = {
#define OP(name) offsetof(struct skep_map_ops, name)
	[BPF_MAP_LOOKUP_ELEM] = {do_lookup, OP(sys_lookup), 32, .out = true, .flags = true},
	[BPF_MAP_UPDATE_ELEM] = {do_update, OP(sys_update), 32, .in = true, .flags = true},
	[BPF_MAP_DELETE_ELEM] = {do_delete, OP(sys_delete), 16, .in = false},
	[BPF_MAP_GET_NEXT_KEY] = {do_next_key, OP(next_key), 24, .out = true, .next = true},
	[BPF_MAP_LOOKUP_AND_DELETE_ELEM] = {do_lookup_delete, OP(sys_lookup_delete), 32,
					    .out = true, .flags = true},
#undef OP
};

static bool all_zero(const uint8_t *p, const uint8_t *end)
{
	while (p < end)
		if (*p++)
			return false;
	return true;
}

static bool in_reach(uint64_t p, size_t len)
{
	if (p >= data_lo && p < data_hi && len <= data_hi - p)
		return true;
	return skep_probe_certain((const void *)(uintptr_t)p, len);
}

/* Where bytes of the caller's can be used as they are; else a copy of them in buf. NULL: they
 * are too many, or not there: then the instance tells what is wrong. */
static void *here(uint64_t p, size_t len, void *buf, bool fill)
{
	if (in_reach(p, len))
		return (void *)(uintptr_t)p;
	if (len > BUFFER || (fill && skep_probe_read(buf, (const void *)(uintptr_t)p, len)))
		return NULL;
	return buf;
}

static bool run(const struct command *cmd, const union bpf_attr *attr, struct place *p, long *ret)
{
	static __thread struct skep_env env __attribute__((tls_model("initial-exec")));
	uint64_t key[BUFFER / 8], value[BUFFER / 8];
	struct skep_map *map = p->map;
	size_t size = cmd->next ? map->key_size : p->value_size;
	struct call c = {attr, map, NULL, NULL};

	if (!*(void *const *)((const char *)map->ops + cmd->op) ||
	    (cmd->flags && attr->flags & BPF_F_LOCK))
		return false;
	if (!map->key_size ? attr->key != 0 : !(cmd->next && !attr->key)) {
		c.key = here(attr->key, map->key_size, key, true);
		if (!c.key)
			return false;
	}
	if (cmd->in || cmd->out) {
		c.value = here(attr->value, size, value, cmd->in);
		if (!c.value)
			return false;
	}
	env.skep = &skep;
	skep_map_restore(map);
	*ret = skep_map_answer(map, cmd->run(&c, &env));
	if (!*ret && cmd->out && c.value == value &&
	    skep_probe_write((void *)(uintptr_t)attr->value, value, size))
		*ret = -EFAULT;
	return true;
}

bool skep_direct(int cmd, union bpf_attr *attr, unsigned size, long *ret)
{
	const struct command *row =
		(unsigned)cmd < sizeof(commands) / sizeof(commands[0]) ? &commands[cmd] : NULL;
	struct place *p;
	uint64_t what;
	unsigned fd;
	bool done;

	if (!row || !row->run)
		return false;
	skep_thread_prepare();
	if (size < row->size || size > sizeof(*attr) || !in_reach((uintptr_t)attr, size) ||
	    !all_zero((const uint8_t *)attr + row->size, (const uint8_t *)attr + size))
		return false;
	/* Lookups know no flag but this one, which is the instance's to do. */
	if (row->out && row->flags && attr->flags)
		return false;
	fd = attr->map_fd;
	if (fd < 3 || fd >= MAX_FD)
		return false;
	if (changes && __atomic_load_n(changes, __ATOMIC_ACQUIRE) !=
			       atomic_load_explicit(&changes_seen, memory_order_relaxed)) {
		atomic_store(&changes_seen, __atomic_load_n(changes, __ATOMIC_ACQUIRE));
		skep_direct_closing(0, MAX_FD - 1);
	}
	what = atomic_load_explicit(&known[fd], memory_order_acquire);
	if (!what)
		what = look_up(fd);
	if (what <= NOT_OURS || !(p = get(what)))
		return false;
	done = (!must_look() || still(fd, p)) && run(row, attr, p, ret);
	put(p);
	return done;
}
