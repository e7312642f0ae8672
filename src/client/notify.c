/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server thread takes a notification, reads
 * the caller's attributes and memory, does the call on the instance, gives a new descriptor
 * to the caller with SECCOMP_IOCTL_NOTIF_ADDFD (the same open file description: its lock,
 * by which the instance knows that somebody holds the object, goes with it), and answers.
 *
 * A caller that dies in between leaves a notification that is no longer valid: its
 * answer is refused and forgotten. What the call made is then held by nobody and collected.
 */
#include "client/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpf/attach.h"
#include "bpf/uapi.h"
#include "client/ask.h"
#include "client/fdinfo.h"
#include "client/files.h"
#include "client/filter.h"
#include "client/ready.h"
#include "client/view.h"
#include "map/map.h"
#include "net/hook.h"
#include "os/caller.h"
#include "os/os.h"

#define THREADS SKEP_NOTIFY_THREADS
#define PASS    SKEP_FILES_PASS

struct skep_notify {
	struct skep *skep;
	int listener;
	int stop; /* an eventfd, readable when it is time to */
	struct skep_serving *serving;
	_Atomic unsigned threads; /* how many began, for their numbers */
	pthread_mutex_t turn; /* one thread at a time waits for a notification */
	dev_t bpffs; /* of the files that stand for pins, or 0 */
	struct skep_net_hook *const *ports;
	unsigned nports;
	_Atomic unsigned long count;
	_Atomic unsigned said; /* which refusals were explained, by enum skep_syscall, and: */
#define SAID_ATTACH (1u << 16) /* by enum skep_attach_target from here */
};

int skep_notify_open(struct skep_notify **out, struct skep *skep,
		     const struct skep_notify_opts *opts)
{
	struct skep_notify *n = calloc(1, sizeof(*n));
	struct stat st;

	if (!n)
		return -ENOMEM;
	n->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (n->stop < 0) {
		int err = -errno;

		free(n);
		return err;
	}
	n->skep = skep;
	n->listener = opts->listener;
	n->serving = opts->serving;
	pthread_mutex_init(&n->turn, NULL);
	if (opts->pins >= 0 && !fstat(opts->pins, &st))
		n->bpffs = st.st_dev;
	*out = n;
	return 0;
}

void skep_notify_ports(struct skep_notify *n, struct skep_net_hook *const *ports, unsigned count)
{
	n->ports = ports;
	n->nports = count;
}

void skep_notify_close(struct skep_notify *n)
{
	close(n->stop);
	pthread_mutex_destroy(&n->turn);
	free(n);
}

unsigned long skep_notify_count(const struct skep_notify *n)
{
	return atomic_load(&n->count);
}

/* ---- Serving ---- */

static bool still_waits(int listener, uint64_t id)
{
	return !ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id);
}

/* Read-only, which the description that wrote it is not. */
static long give_view(int view, int *fd)
{
	*fd = view < 0 ? view : skep_view_again(view);
	if (view >= 0)
		close(view);
	return *fd < 0 ? *fd : 0;
}

static long attach_xdp(struct skep_notify *n, const uint64_t *args)
{
	if (!(skep_caller_current()->caps & 1ull << SKEP_CAP_NET_ADMIN))
		return -EPERM;
	for (unsigned i = 0; i < n->nports; i++)
		if (skep_net_hook_ifindex(n->ports[i]) == (uint32_t)args[1])
			return skep_net_hook_xdp(n->ports[i], (int)args[2],
						 (uint32_t)(args[1] >> 32), (int)(args[2] >> 32));
	return -ENODEV;
}

static struct skep_map *map_behind(struct skep_notify *n, int fd, bool *both_ways)
{
	struct skep_object *obj;
	bool readable, writable;

	if (skep_object_get_mode(n->skep, fd, SKEP_KIND_MAP, &obj, &readable, &writable))
		return NULL;
	*both_ways = readable && writable;
	return (struct skep_map *)obj;
}

/* A client works by itself on maps that it may both read and write, whose elements refer to
 * nothing, and that nobody can freeze in earnest (that takes that no other maps it writable). */
static long tell_direct(struct skep_notify *n, int fd, uint64_t to)
{
	struct skep_ask_direct answer = {0};
	bool both;
	struct skep_map *map = map_behind(n, fd, &both);
	long ret = -EPERM;

	if (!map)
		return -EINVAL;
	if (both && map->ops->anywhere && !map->fields.n && !map->frozen &&
	    !(map->flags & BPF_F_RDONLY_PROG)) {
		skep_map_describe(map, &answer.desc);
		answer.dev = map->data.dev;
		answer.ino = map->data.ino;
		ret = skep_caller_write((void *)(uintptr_t)to, &answer, sizeof(answer));
	}
	skep_object_put(&map->obj);
	return ret;
}

/* Locks, and who lives that holds them, are shared by all who work on maps by themselves, whichever maps
 * these are: by this process's user alone. */
static bool is_ours(void)
{
	const struct skep_caller *caller = skep_caller_current();

	return caller->uid == geteuid() && caller->fsuid == geteuid();
}

static long give_control(struct skep_notify *n, int handle, uint32_t id, int *fd)
{
	bool both;
	struct skep_map *map = map_behind(n, handle, &both);
	long ret = 0;

	if (!map)
		return -EINVAL;
	if (!both || map->obj.id != id)
		ret = -EPERM;
	else if (!map->ctl.base)
		ret = -ENOENT;
	else
		*fd = skep_fd_reopen(map->ctl.fd, O_RDWR, false);
	skep_object_put(&map->obj);
	return ret ? ret : *fd < 0 ? *fd : 0;
}

/* What the preloaded library asks (ask.h). A descriptor is left in *fd. */
static long answer_ask(struct skep_notify *n, const uint64_t *args, int *fd)
{
	struct skep_ready ready;
	struct skep_object *map;
	long ret;

	switch ((uint32_t)args[0]) {
	case SKEP_ASK_BTF:
		return give_view(skep_view_open(n->skep), fd);
	case SKEP_ASK_FDINFO:
		return give_view(skep_fdinfo_open(n->skep, (int)args[1]), fd);
	case SKEP_ASK_XDP:
		return attach_xdp(n, args);
	case SKEP_ASK_KIND:
		return skep_fdinfo_kind(n->skep, (int)args[1]);
	case SKEP_ASK_SOURCE:
		ret = skep_ready_open(n->skep, (int)args[1], &ready);
		if (ret == -EPERM && !skep_object_get(n->skep, (int)args[1], SKEP_KIND_MAP, &map)) {
			skep_object_put(map);
			return SKEP_ASK_MAP;
		}
		if (ret)
			return ret;
		ret = ready.obj->kind == SKEP_KIND_PERF ? SKEP_ASK_PERF : SKEP_ASK_RING;
		skep_ready_close(&ready);
		return ret;
	case SKEP_ASK_PARTS:
		if (!is_ours())
			return -EPERM;
		*fd = skep_fd_reopen(skep_parts_fd(n->skep->parts), O_RDWR, false);
		return *fd < 0 ? *fd : 0;
	case SKEP_ASK_CHANGES:
		*fd = skep_changes_fd(n->skep);
		return *fd < 0 ? *fd : 0;
	case SKEP_ASK_DIRECT:
		if (!is_ours())
			return -EPERM;
		return tell_direct(n, (int)args[1], args[2]);
	case SKEP_ASK_CONTROL:
		if (!is_ours())
			return -EPERM;
		return give_control(n, (int)args[1], (uint32_t)args[2], fd);
	case SKEP_ASK_PERF_MAP:
		return skep_client_perf_mmap(n->skep, (int)args[1], args[2]);
	case SKEP_ASK_PERF_ENABLE:
		return skep_perf_enable(n->skep, (int)args[1], args[2]);
	}
	return -EINVAL;
}

/* perf_event_open: readers of what programs send are the instance's, other events the kernel's
 * (PASS). The caller's structure may be shorter or longer than ours. */
static long open_perf(struct skep_notify *n, const uint64_t *args, int *fd)
{
	const char *from = (const char *)(uintptr_t)args[0];
	struct perf_event_attr attr = {0};
	uint32_t size;

	if (skep_caller_read(&size, from + offsetof(struct perf_event_attr, size), sizeof(size)))
		return PASS;
	if (!size)
		size = PERF_ATTR_SIZE_VER0;
	if (size < PERF_ATTR_SIZE_VER0 ||
	    skep_caller_read(&attr, from, size < sizeof(attr) ? size : sizeof(attr)))
		return PASS;
	if (attr.type != PERF_TYPE_SOFTWARE || attr.config != PERF_COUNT_SW_BPF_OUTPUT)
		return PASS;
	*fd = skep_client_perf_open(n->skep, &attr, (int)args[1], (int)args[2], (int)args[3],
				    (unsigned long)args[4]);
	return *fd < 0 ? *fd : 0;
}

/* To what is the machine's no program of an instance can be attached: the kernel refuses its descriptor
 * (EINVAL), and here is said why. */
static long attach_elsewhere(struct skep_notify *n, enum skep_syscall which, const __u64 *args)
{
	static const char *const what[] = {
		[SKEP_CALL_SOCKOPT] = "sockets are the machine's (SO_ATTACH_BPF)",
		[SKEP_CALL_SET_BPF] = "this perf event is the machine's (PERF_EVENT_IOC_SET_BPF)",
	};
	struct skep_object *prog;
	int fd = (int)args[2];

	if (which == SKEP_CALL_SOCKOPT &&
	    skep_caller_read(&fd, (const void *)(uintptr_t)args[3], sizeof(fd)))
		return PASS;
	if (skep_object_get(n->skep, fd, SKEP_KIND_PROG, &prog))
		return PASS;
	skep_object_put(prog);
	if (!(atomic_fetch_or(&n->said, 1u << which) & 1u << which))
		fprintf(stderr, "skep: %s: programs of an instance can't be attached\n",
			what[which]);
	return PASS;
}

/* An errno alone doesn't tell a client that its target is right, but not an instance's. */
static void explain(struct skep_notify *n, int cmd, const char *attr, long err)
{
	uint32_t type;
	const char *why;

	_Static_assert(offsetof(union bpf_attr, attach_type) ==
			       offsetof(union bpf_attr, link_create.attach_type),
		       "one place for both commands");
	if ((cmd != BPF_PROG_ATTACH && cmd != BPF_LINK_CREATE) ||
	    skep_caller_read(&type, attr + offsetof(union bpf_attr, attach_type), sizeof(type)))
		return;
	why = skep_attach_reason(type, (int)err);
	if (why && !(atomic_fetch_or(&n->said, SAID_ATTACH << skep_attach_target(type)) &
		     SAID_ATTACH << skep_attach_target(type)))
		fprintf(stderr, "skep: %s: the program can't be attached\n", why);
}

static long call_bpf(struct skep_notify *n, const struct skep_caller *caller, const uint64_t *args,
		     int *fd)
{
	long ret = skep_bpf(n->skep, (int)args[0], (union bpf_attr *)(uintptr_t)args[1],
			    (unsigned)args[2]);

	atomic_fetch_add(&n->count, 1);
	if (ret >= 0 && caller->gave) {
		*fd = (int)ret;
		return 0;
	}
	if (ret < 0)
		explain(n, (int)args[0], (const char *)(uintptr_t)args[1], ret);
	return ret;
}

/* Does the call. A result that is a descriptor is left in *fd for the answer. */
static long call(struct skep_notify *n, const struct seccomp_notif *req, int *fd)
{
	const __u64 *from = req->data.args;
	const uint64_t args[] = {from[0], from[1], from[2], from[3], from[4]};
	enum skep_syscall which = skep_filter_call(&req->data);
	struct skep_caller caller = {.pidfd = -1}, *was;
	long ret;

	*fd = -1;
	if (!skep_caller_find(&caller, (pid_t)req->pid))
		return -ESRCH;
	caller.pidfd = (int)syscall(SYS_pidfd_open, (long)caller.tgid, 0L);
	/* Only if it still waits are these the numbers of who called. */
	if (caller.pidfd < 0 || !still_waits(n->listener, req->id)) {
		if (caller.pidfd >= 0)
			close(caller.pidfd);
		return -ESRCH;
	}
	was = skep_caller_enter(&caller);
	if (which == SKEP_CALL_PERF)
		ret = open_perf(n, args, fd);
	else if (which == SKEP_CALL_STATFS || which == SKEP_CALL_FSTATFS)
		ret = skep_files_statfs(n->bpffs, args, which == SKEP_CALL_FSTATFS);
	else if (which == SKEP_CALL_SOCKOPT || which == SKEP_CALL_SET_BPF)
		ret = attach_elsewhere(n, which, from);
	else if (which != SKEP_CALL_BPF)
		ret = PASS;
	else if ((uint32_t)args[0] >= SKEP_ASK_BTF && (uint32_t)args[0] < SKEP_ASK_END)
		ret = answer_ask(n, args, fd);
	else
		ret = call_bpf(n, &caller, args, fd);
	skep_caller_done(&caller);
	skep_caller_enter(was);
	close(caller.pidfd);
	return ret;
}

/* bpf(2) makes all its descriptors so, perf_event_open only on demand. */
static uint32_t new_fd_flags(const struct seccomp_notif *req)
{
	if (skep_filter_call(&req->data) == SKEP_CALL_PERF &&
	    !(req->data.args[4] & PERF_FLAG_FD_CLOEXEC))
		return 0;
	return O_CLOEXEC;
}

static void answer(struct skep_notify *n, const struct seccomp_notif *req, long ret, int fd)
{
	struct seccomp_notif_resp resp = {.id = req->id};
	struct seccomp_notif_addfd add = {
		.id = req->id,
		.srcfd = (uint32_t)fd,
		.newfd_flags = new_fd_flags(req),
	};

	if (fd >= 0) {
		int number = ioctl(n->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
		int err = number < 0 ? errno : 0;

		/* Before the caller goes on: when it closes its own, the object shall be free. */
		close(fd);
		if (err == ENOENT)
			return;
		ret = err ? -err : number;
	}
	if (ret == PASS) {
		resp.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		ret = 0;
	}
	resp.val = ret < 0 ? 0 : ret;
	resp.error = ret < 0 ? (int)ret : 0;
	/* ENOENT: the caller is gone. */
	ioctl(n->listener, SECCOMP_IOCTL_NOTIF_SEND, &resp);
}

/* The next notification; false when there will be none. */
static bool next(struct skep_notify *n, struct seccomp_notif *req)
{
	for (;;) {
		struct pollfd p[] = {{.fd = n->listener, .events = POLLIN},
				     {.fd = n->stop, .events = POLLIN}};

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return false;
		if (p[1].revents)
			return false;
		if (p[0].revents & POLLIN) {
			memset(req, 0, sizeof(*req));
			if (!ioctl(n->listener, SECCOMP_IOCTL_NOTIF_RECV, req))
				return true;
			/* ENOENT: its caller died. */
			if (errno != ENOENT && errno != EINTR)
				return false;
		} else if (p[0].revents & (POLLHUP | POLLERR | POLLNVAL)) {
			return false;
		}
	}
}

static void *serve(void *arg)
{
	struct skep_notify *n = arg;
	_Atomic uint64_t *mine =
		n->serving ? &n->serving->ids[atomic_fetch_add(&n->threads, 1) % THREADS] : NULL;
	struct seccomp_notif req;

	for (;;) {
		bool more;
		int fd;
		long ret;

		/* To wait together would leave all but one in a read that never ends. */
		pthread_mutex_lock(&n->turn);
		more = next(n, &req);
		if (more && mine) {
			atomic_store(&n->serving->last, req.id);
			atomic_store(mine, req.id);
		}
		pthread_mutex_unlock(&n->turn);
		if (!more)
			return NULL;
		ret = call(n, &req, &fd);
		answer(n, &req, ret, fd);
		if (mine)
			atomic_store(mine, 0);
	}
}

int skep_notify_serve(struct skep_notify *n)
{
	pthread_t helpers[THREADS - 1];
	int started = 0;

	while (started < THREADS - 1 && !pthread_create(&helpers[started], NULL, serve, n))
		started++;
	serve(n);
	for (int i = 0; i < started; i++)
		pthread_join(helpers[i], NULL);
	return 0;
}

void skep_notify_stop(struct skep_notify *n)
{
	uint64_t one = 1;

	/* Full: it is readable, which is all that matters. */
	(void)!write(n->stop, &one, sizeof(one));
}
