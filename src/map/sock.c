/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps of sockets: sockmap and sockhash (streams that programs parse, judge and redirect),
 * reuseport arrays (which socket of a group gets a packet) and AF_XDP sockets.
 */
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "map/access.h"
#include "map/types.h"
#include "os/owner.h"

#define FLAGS   (BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY)
#define KEY_MAX 512u /* a program's stack */

/* Values of 8 bytes hold cookies for who reads them, values of 4 only go in. */
static int sockmap_check(const union bpf_attr *attr)
{
	bool hash = attr->map_type == BPF_MAP_TYPE_SOCKHASH;

	if (!attr->max_entries || (hash ? !attr->key_size : attr->key_size != 4) ||
	    (attr->value_size != 4 && attr->value_size != 8) || attr->map_flags & ~FLAGS)
		return -EINVAL;
	return hash && attr->key_size > KEY_MAX ? -E2BIG : 0;
}

static int reuseport_check(const union bpf_attr *attr)
{
	if ((attr->value_size != 4 && attr->value_size != 8) || !attr->max_entries ||
	    attr->key_size != 4 || !skep_map_access_ok(attr->map_flags))
		return -EINVAL;
	return 0;
}

static int xskmap_check(const union bpf_attr *attr)
{
	if (!attr->max_entries || attr->key_size != 4 || attr->value_size != 4 ||
	    attr->map_flags & ~FLAGS)
		return -EINVAL;
	return 0;
}

/* ---- Elements: of this process, which is the instance's ---- */

struct elem {
	struct skep_sock sock;
	struct elem *next; /* sockhash: chain */
	uint8_t key[]; /* sockhash */
};

struct socks {
	pthread_mutex_t lock;
	uint32_t count, mask;
	struct skep_sock *array; /* by index */
	struct elem **chains; /* sockhash */
};

static bool is_hash(const struct skep_map *map)
{
	return map->type == BPF_MAP_TYPE_SOCKHASH;
}

static int sock_create(struct skep_map *map, const union bpf_attr *attr)
{
	struct socks *s = calloc(1, sizeof(*s));
	uint64_t n = skep_pow2_up(map->max_entries);

	if (!s)
		return -ENOMEM;
	map->priv = s;
	pthread_mutex_init(&s->lock, NULL);
	/* What programs find are sockets, no numbers to be changed. */
	if (is_hash(map)) {
		s->mask = (uint32_t)(n > 1u << 20 ? 1u << 20 : n) - 1;
		s->chains = calloc((size_t)s->mask + 1, sizeof(*s->chains));
	} else {
		s->array = calloc(map->max_entries, sizeof(*s->array));
	}
	return s->chains || s->array ? 0 : -ENOMEM;
}

static void sock_destroy(struct skep_map *map)
{
	struct socks *s = map->priv;
	struct elem *e;

	if (!s)
		return;
	for (uint32_t i = 0; s->chains && i <= s->mask; i++)
		while ((e = s->chains[i])) {
			s->chains[i] = e->next;
			free(e);
		}
	free(s->chains);
	free(s->array);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* Where the element of that key hangs, or would. */
static struct elem **chain_of(const struct skep_map *map, const void *key)
{
	struct socks *s = map->priv;
	const uint8_t *k = key;
	uint32_t h = 2166136261u;
	struct elem **at;

	for (uint32_t i = 0; i < map->key_size; i++)
		h = (h ^ k[i]) * 16777619u;
	at = &s->chains[(h ^ h >> 16) & s->mask];
	while (*at && memcmp((*at)->key, key, map->key_size) != 0)
		at = &(*at)->next;
	return at;
}

static void drop(struct skep_map *map, struct elem **at)
{
	struct socks *s = map->priv;
	struct elem *e = *at;

	*at = e->next;
	s->count--;
	free(e);
}

/* The socket of that key; one that was closed is there no more. */
static struct skep_sock *find(struct skep_map *map, const void *key)
{
	struct socks *s = map->priv;
	struct skep_sock *sock;
	struct elem **at = NULL;
	uint32_t i;

	if (is_hash(map)) {
		at = chain_of(map, key);
		sock = *at ? &(*at)->sock : NULL;
	} else {
		memcpy(&i, key, sizeof(i));
		sock = i < map->max_entries && s->array[i].cookie ? &s->array[i] : NULL;
	}
	if (!sock || !skep_sock_gone(sock))
		return sock;
	if (at)
		drop(map, at);
	else
		sock->cookie = 0;
	return NULL;
}

static int put(struct skep_map *map, const void *key, const struct skep_sock *sock)
{
	struct socks *s = map->priv;
	struct elem *e, **at;
	uint32_t i;

	if (!is_hash(map)) {
		memcpy(&i, key, sizeof(i));
		s->array[i] = *sock;
		return 0;
	}
	at = chain_of(map, key);
	if (*at) {
		(*at)->sock = *sock;
		return 0;
	}
	if (s->count >= map->max_entries)
		return -E2BIG;
	e = malloc(sizeof(*e) + map->key_size);
	if (!e)
		return -ENOMEM;
	e->sock = *sock;
	e->next = NULL;
	memcpy(e->key, key, map->key_size);
	*at = e;
	s->count++;
	return 0;
}

/* ---- What may go in ---- */

static bool is_reuseport(const struct skep_map *map)
{
	return map->type == BPF_MAP_TYPE_REUSEPORT_SOCKARRAY;
}

static bool holds(struct skep_map *m, uint64_t cookie)
{
	struct socks *s = m->priv;
	bool found = false;

	pthread_mutex_lock(&s->lock);
	for (uint32_t i = 0; s->array && i < m->max_entries && !found; i++)
		found = s->array[i].cookie == cookie;
	for (uint32_t i = 0; s->chains && i <= s->mask && !found; i++)
		for (const struct elem *e = s->chains[i]; e; e = e->next)
			found |= e->sock.cookie == cookie;
	pthread_mutex_unlock(&s->lock);
	return found;
}

/* A socket is in one reuseport array, or in maps of the other kind, as many as there are. */
static bool is_taken(struct skep_map *map, uint64_t cookie)
{
	struct skep *skep = map->obj.skep;
	bool found = false;

	for (uint32_t id = 0; !found && (id = skep_object_next_id(skep, SKEP_KIND_MAP, id));) {
		struct skep_map *m = (struct skep_map *)skep_object_by_id(skep, SKEP_KIND_MAP, id);

		if (!m)
			continue;
		if (is_reuseport(m) || (is_reuseport(map) && (m->type == BPF_MAP_TYPE_SOCKMAP ||
							      m->type == BPF_MAP_TYPE_SOCKHASH)))
			found = holds(m, cookie);
		skep_object_put(&m->obj);
	}
	return found;
}

static int reuseport_takes(const struct skep_sock *sock)
{
	bool tcp = sock->protocol == IPPROTO_TCP;

	if ((!tcp && sock->protocol != IPPROTO_UDP) ||
	    (sock->family != AF_INET && sock->family != AF_INET6) ||
	    (sock->type != SOCK_STREAM && sock->type != SOCK_DGRAM))
		return -SKEP_ENOTSUPP;
	/* In a group: bound, and listening if it can. */
	if (!sock->reuseport || !sock->bound || (tcp && sock->state != TCP_LISTEN))
		return -EINVAL;
	return 0;
}

static int sockmap_takes(const struct skep_sock *sock)
{
	bool inet = sock->family == AF_INET || sock->family == AF_INET6;

	if (inet && sock->protocol == IPPROTO_TCP && sock->type == SOCK_STREAM)
		return sock->state == TCP_ESTABLISHED || sock->state == TCP_LISTEN ? 0
										   : -EOPNOTSUPP;
	if (inet && sock->protocol == IPPROTO_UDP && sock->type == SOCK_DGRAM)
		return sock->bound ? 0 : -EOPNOTSUPP;
	if (sock->family == AF_UNIX && sock->type == SOCK_STREAM)
		return sock->state == TCP_ESTABLISHED ? 0 : -EOPNOTSUPP;
	return sock->family == AF_UNIX && sock->type == SOCK_DGRAM ? 0 : -EOPNOTSUPP;
}

static int value_fd(const struct skep_map *map, const void *value, int *fd)
{
	uint64_t wide;

	if (map->value_size == 8) {
		memcpy(&wide, value, sizeof(wide));
		if (wide > INT_MAX)
			return -EINVAL;
		*fd = (int)wide;
	} else {
		memcpy(fd, value, sizeof(*fd));
	}
	return 0;
}

static bool index_ok(const struct skep_map *map, const void *key)
{
	uint32_t i;

	if (is_hash(map))
		return true;
	memcpy(&i, key, sizeof(i));
	return i < map->max_entries;
}

static int sock_sys_update(struct skep_map *map, const void *key, const void *value, uint64_t flags,
			   struct skep_env *env)
{
	struct socks *s = map->priv;
	struct skep_sock sock, *old;
	bool taken;
	int fd, err;

	if (is_reuseport(map)) {
		if (flags > BPF_EXIST)
			return -EINVAL;
		if (!index_ok(map, key))
			return -E2BIG;
	}
	err = value_fd(map, value, &fd);
	if (!err)
		err = skep_sock_get(fd, &sock);
	if (!err && !is_reuseport(map)) {
		err = sockmap_takes(&sock);
		if (!err && flags > BPF_EXIST)
			err = -EINVAL;
		if (!err && !index_ok(map, key))
			err = -E2BIG;
	}
	if (err)
		return err;
	/* One map's lock at a time. */
	taken = is_taken(map, sock.cookie);
	pthread_mutex_lock(&s->lock);
	old = find(map, key);
	if (old && flags == BPF_NOEXIST)
		err = -EEXIST;
	else if (!old && flags == BPF_EXIST)
		err = -ENOENT;
	else if (is_reuseport(map))
		err = reuseport_takes(&sock);
	if (!err && taken)
		err = -EBUSY;
	if (!err)
		err = put(map, key, &sock);
	pthread_mutex_unlock(&s->lock);
	return err;
}

static int sock_sys_lookup(struct skep_map *map, const void *key, void *value, uint64_t flags,
			   struct skep_env *env)
{
	struct socks *s = map->priv;
	struct skep_sock *sock;
	int err = 0;

	if (map->value_size != sizeof(uint64_t))
		return -ENOSPC;
	pthread_mutex_lock(&s->lock);
	sock = find(map, key);
	if (sock)
		memcpy(value, &sock->cookie, sizeof(sock->cookie));
	else
		err = -ENOENT;
	pthread_mutex_unlock(&s->lock);
	return err;
}

static int sock_sys_delete(struct skep_map *map, const void *key, struct skep_env *env)
{
	struct socks *s = map->priv;
	struct skep_sock *sock;
	int err = 0;

	if (!index_ok(map, key))
		return is_reuseport(map) ? -E2BIG : -EINVAL;
	pthread_mutex_lock(&s->lock);
	sock = find(map, key);
	if (!sock)
		err = is_hash(map) || is_reuseport(map) ? -ENOENT : -EINVAL;
	else if (is_hash(map))
		drop(map, chain_of(map, key));
	else
		sock->cookie = 0;
	pthread_mutex_unlock(&s->lock);
	return err;
}

static long sock_delete(struct skep_map *map, const void *key, struct skep_env *env)
{
	return sock_sys_delete(map, key, env);
}

static int sock_next_key(struct skep_map *map, const void *key, void *next)
{
	struct socks *s = map->priv;
	struct elem *e = NULL;
	uint32_t i = 0;

	if (!is_hash(map))
		return skep_array_next_key(map, key, next);
	pthread_mutex_lock(&s->lock);
	struct elem *at = key ? *chain_of(map, key) : NULL;
	if (at) {
		/* Its chain, and what is behind it there. */
		for (; i <= s->mask && !e; i++)
			for (e = s->chains[i]; e && e != at; e = e->next)
				;
		e = at->next;
	}
	while (!e && i <= s->mask)
		e = s->chains[i++];
	if (e)
		memcpy(next, e->key, map->key_size);
	pthread_mutex_unlock(&s->lock);
	return e ? 0 : -ENOENT;
}

static uint64_t mem_usage(struct skep_map *map)
{
	uint64_t each = is_hash(map) ? sizeof(void *) : sizeof(struct skep_sock);

	return sizeof(*map) + sizeof(struct socks) + map->max_entries * each;
}

#define SOCKS(text, checks, btf_rule, flags)                                                       \
	{                                                                                          \
		.name = text, .check = checks, .create = sock_create, .destroy = sock_destroy,     \
		.lookup = skep_no_lookup, .update = skep_no_update, .delete = sock_delete,         \
		.sys_lookup = sock_sys_lookup, .sys_update = sock_sys_update,                      \
		.sys_delete = sock_sys_delete, .next_key = sock_next_key, .mem_usage = mem_usage,  \
		.is_inner_ok = true, .btf = btf_rule, .flags_ok = flags                            \
	}

const struct skep_map_ops skep_map_sockmap = SOCKS("sockmap", sockmap_check, SKEP_BTF_NONE, FLAGS);
const struct skep_map_ops skep_map_sockhash =
	SOCKS("sockhash", sockmap_check, SKEP_BTF_NONE, FLAGS);
const struct skep_map_ops skep_map_reuseport_sockarray =
	SOCKS("reuseport_sockarray", reuseport_check, SKEP_BTF_ANY,
	      BPF_F_NUMA_NODE | SKEP_MAP_ACCESS_FLAGS);

/* ---- AF_XDP sockets: an instance has no queues of its own that they could be bound to ---- */

static int xskmap_sys_update(struct skep_map *map, const void *key, const void *value,
			     uint64_t flags, struct skep_env *env)
{
	struct skep_sock sock;
	int fd, err;

	if (flags > BPF_EXIST)
		return -EINVAL;
	if (!index_ok(map, key))
		return -E2BIG;
	memcpy(&fd, value, sizeof(fd));
	err = skep_sock_get(fd, &sock);
	return err ? err : -EOPNOTSUPP;
}

static int xskmap_sys_lookup(struct skep_map *map, const void *key, void *value, uint64_t flags,
			     struct skep_env *env)
{
	return -EOPNOTSUPP;
}

static int xskmap_sys_delete(struct skep_map *map, const void *key, struct skep_env *env)
{
	return index_ok(map, key) ? 0 : -EINVAL;
}

const struct skep_map_ops skep_map_xskmap = {
	.name = "xskmap",
	.check = xskmap_check,
	.create = sock_create,
	.destroy = sock_destroy,
	.lookup = skep_no_lookup,
	.update = skep_no_update,
	.delete = sock_delete,
	.sys_lookup = xskmap_sys_lookup,
	.sys_update = xskmap_sys_update,
	.sys_delete = xskmap_sys_delete,
	.next_key = skep_array_next_key,
	.mem_usage = mem_usage,
	.is_inner_ok = true,
	.btf = SKEP_BTF_NONE,
	.flags_ok = FLAGS,
};
