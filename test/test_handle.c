/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handles: an object lives as long as anybody anywhere holds one, and no longer.
 * The objects here are empty; what counts is when they are destroyed.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "bpf/instance.h"
#include "scale.h"

static _Atomic int alive; /* objects not destroyed yet */

struct thing {
	struct skep_object obj;
	struct skep_seg seg;
};

static void thing_destroy(struct skep_object *obj)
{
	struct thing *t = (struct thing *)obj;

	if (t->seg.base)
		skep_seg_close(&t->seg);
	free(t);
	alive--;
}

/* A new object with one reference of ours; seg: with a data segment as its handle. */
static struct skep_object *thing_new(struct skep *skep, bool seg)
{
	struct thing *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	if (seg)
		assert_int_equal(skep_seg_create(&t->seg, "thing", 4096), 0);
	t->obj.destroy = thing_destroy;
	assert_int_equal(skep_object_add(skep, &t->obj, seg ? SKEP_KIND_MAP : SKEP_KIND_PROG,
					 seg ? t->seg.fd : -1),
			 0);
	alive++;
	return &t->obj;
}

/* A new object that only its handle holds, which is returned. */
static int thing_fd(struct skep *skep, bool seg)
{
	struct skep_object *obj = thing_new(skep, seg);
	int fd = skep_object_fd(obj, 0);

	assert_true(fd >= 0);
	skep_object_put(obj);
	return fd;
}

static int get(struct skep *skep, int fd)
{
	struct skep_object *obj;
	int err = skep_object_get(skep, fd, SKEP_KIND_NONE, &obj);

	if (!err)
		skep_object_put(obj);
	return err;
}

static int open_instance(void **state)
{
	alive = 0;
	return skep_open((struct skep **)state, NULL);
}

static int close_instance(void **state)
{
	skep_close(*state);
	return alive; /* nothing may be left */
}

static void reap(pid_t pid)
{
	int st;

	assert_int_equal(waitpid(pid, &st, 0), pid);
	assert_int_equal(st, 0);
}

/* Asks until the objects are down to n, as a client's next commands would. */
static bool down_to(struct skep *skep, int n)
{
	for (int i = 0; i < 2000 && alive > n; i++) {
		skep_collect(skep);
		if (alive > n)
			usleep(1000);
	}
	return alive == n;
}

static void test_copies(void **state)
{
	struct skep *skep = *state;
	int fd = thing_fd(skep, false), a, b, c;

	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	a = dup(fd);
	b = fcntl(fd, F_DUPFD_CLOEXEC, 100);
	c = dup2(fd, 200);
	close(fd);
	close(a);
	close(b);
	skep_collect(skep);
	assert_int_equal(alive, 1);
	assert_int_equal(get(skep, c), 0);
	close(c);
	skep_collect(skep);
	assert_int_equal(alive, 0);
	assert_int_equal(get(skep, c), -EBADF);
	assert_int_equal(get(skep, STDERR_FILENO), -EINVAL);
}

static void kinds_and_modes(struct skep *skep, bool read_only_mem)
{
	struct skep_object *obj = thing_new(skep, true), *got;
	int rw, ro, wo;
	bool r, w;
	void *p;

	obj->read_only_mem = read_only_mem;
	rw = skep_object_fd(obj, 0);
	ro = skep_object_fd(obj, BPF_F_RDONLY);
	wo = skep_object_fd(obj, BPF_F_WRONLY);
	assert_true(rw >= 0 && ro >= 0 && wo >= 0);
	p = mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, rw, 0);
	assert_int_equal(p == MAP_FAILED, read_only_mem);
	if (!read_only_mem)
		munmap(p, 4096);
	assert_int_equal(skep_object_fd(obj, BPF_F_RDONLY | BPF_F_WRONLY), -EINVAL);
	assert_int_equal(skep_object_get(skep, rw, SKEP_KIND_PROG, &got), -EINVAL);
	assert_int_equal(skep_object_get_mode(skep, rw, SKEP_KIND_MAP, &got, &r, &w), 0);
	assert_ptr_equal(got, obj);
	assert_true(r && w);
	skep_object_put(got);
	assert_int_equal(skep_object_get_mode(skep, ro, SKEP_KIND_MAP, &got, &r, &w), 0);
	assert_true(r && !w);
	skep_object_put(got);
	assert_int_equal(skep_object_get_mode(skep, wo, SKEP_KIND_MAP, &got, &r, &w), 0);
	assert_true(!r && w);
	skep_object_put(got);
	skep_object_put(obj);
	/* The kernel holds the mode against mappings. */
	assert_ptr_equal(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, ro, 0), MAP_FAILED);
	/* Each of the three holds the object. */
	close(rw);
	close(ro);
	skep_collect(skep);
	assert_int_equal(alive, 1);
	close(wo);
	skep_collect(skep);
	assert_int_equal(alive, 0);
}

static void test_kinds_and_modes(void **state)
{
	kinds_and_modes(*state, true);
	kinds_and_modes(*state, false);
}

static void test_mapping_holds(void **state)
{
	struct skep *skep = *state;
	int fd = thing_fd(skep, true);
	int *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	close(fd);
	skep_collect(skep);
	assert_int_equal(alive, 1);
	*p = 1;
	munmap(p, 4096);
	assert_true(down_to(skep, 0));
}

static void test_ids(void **state)
{
	struct skep *skep = *state;
	enum { N = 3000 };
	static int fds[N];
	struct skep_object *obj;
	struct rlimit lim;
	uint32_t id, n;

	getrlimit(RLIMIT_NOFILE, &lim);
	if (lim.rlim_cur < 3 * N) {
		lim.rlim_cur = lim.rlim_max < 3 * N ? lim.rlim_max : 3 * N;
		if (lim.rlim_cur < 3 * N || setrlimit(RLIMIT_NOFILE, &lim)) {
			print_message("too few descriptors allowed\n");
			skip();
		}
	}
	assert_int_equal(skep_object_next_id(skep, SKEP_KIND_PROG, 0), 0);
	for (n = 0; n < N; n++)
		fds[n] = thing_fd(skep, false);
	for (n = 0, id = 0; (id = skep_object_next_id(skep, SKEP_KIND_PROG, id)); n++) {
		assert_int_equal(id, n + 1);
		obj = skep_object_by_id(skep, SKEP_KIND_PROG, id);
		assert_int_equal(obj->id, id);
		skep_object_put(obj);
	}
	assert_int_equal(n, N);
	/* Every third stays. */
	for (n = 0; n < N; n++)
		if (n % 3)
			close(fds[n]);
	assert_true(down_to(skep, N / 3));
	assert_null(skep_object_by_id(skep, SKEP_KIND_PROG, 2));
	assert_null(skep_object_by_id(skep, SKEP_KIND_PROG, 0));
	assert_null(skep_object_by_id(skep, SKEP_KIND_PROG, UINT32_MAX));
	assert_null(skep_object_by_id(skep, SKEP_KIND_MAP, 1));
	for (n = 0, id = 0; (id = skep_object_next_id(skep, SKEP_KIND_PROG, id)); n++)
		assert_int_equal(id, n * 3 + 1);
	assert_int_equal(skep_object_next_id(skep, SKEP_KIND_PROG, UINT32_MAX), 0);
	/* Ids are not used again. */
	fds[1] = thing_fd(skep, false);
	assert_int_equal(skep_object_get(skep, fds[1], SKEP_KIND_PROG, &obj), 0);
	assert_int_equal(obj->id, N + 1);
	skep_object_put(obj);
	close(fds[1]);
	for (n = 0; n < N; n += 3)
		close(fds[n]);
	assert_true(down_to(skep, 0));
}

static int no_users;

static void count_no_users(struct skep_object *obj)
{
	no_users++;
}

/* Users are all handles together and each pin; what programs hold is something else. */
static void test_users(void **state)
{
	struct skep *skep = *state;
	struct skep_object *obj = thing_new(skep, false);
	int a, b;

	obj->no_users = count_no_users;
	no_users = 0;
	a = skep_object_fd(obj, 0);
	b = skep_object_fd(obj, 0);
	skep_object_user_ref(obj); /* a pin */
	close(a);
	close(b);
	skep_collect(skep);
	assert_int_equal(no_users, 0);
	skep_object_user_put(obj);
	assert_int_equal(no_users, 1);
	a = skep_object_fd(obj, 0);
	skep_collect(skep);
	assert_int_equal(no_users, 1);
	close(a);
	skep_collect(skep);
	assert_int_equal(no_users, 2);
	assert_int_equal(alive, 1);
	skep_object_put(obj);
	assert_int_equal(alive, 0);
}

/* A child has a copy of every descriptor; its end is as good as close. */
static void test_fork(void **state)
{
	struct skep *skep = *state;
	struct skep_object *held = thing_new(skep, false), *got;
	int fd = thing_fd(skep, true), go[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(go), 0);
	pid = fork();
	if (!pid) {
		close(go[1]);
		/* What was known at the fork is found; the tables stay as they are. */
		int ok = !get(skep, fd);

		ok &= skep_object_fd(held, 0) == -ENOTCONN;
		ok &= skep_check_owner(skep) == -ENOTCONN;
		got = calloc(1, sizeof(struct thing));
		ok &= skep_object_add(skep, got, SKEP_KIND_PROG, -1) == -ENOTCONN;
		got = skep_object_by_id(skep, SKEP_KIND_PROG, held->id);
		ok &= got == held;
		skep_object_put(got);
		skep_collect(skep);
		ok &= !get(skep, fd);
		if (read(go[0], &c, 1))
			ok = 0;
		/* Its closing is its own affair. */
		skep_close(skep);
		ok &= get(skep, fd) == -ENOTCONN;
		_exit(ok ? 0 : 1);
	}
	close(go[0]);
	close(fd);
	skep_object_put(held);
	assert_int_equal(alive, 1);
	for (int i = 0; i < 20; i++) {
		skep_collect(skep);
		assert_int_equal(alive, 1);
		usleep(1000);
	}
	close(go[1]);
	reap(pid);
	skep_collect(skep);
	assert_int_equal(alive, 0);
}

/* Handles end with exec, unless the client takes FD_CLOEXEC off. */
static void test_exec(void **state)
{
	struct skep *skep = *state;
	int closes = thing_fd(skep, false), stays = thing_fd(skep, false);
	int ready[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		dup2(ready[1], STDOUT_FILENO);
		fcntl(stays, F_SETFD, 0);
		execlp("sh", "sh", "-c", "echo x; exec sleep 100", (char *)NULL);
		_exit(127);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	close(closes);
	close(stays);
	assert_true(down_to(skep, 1));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	skep_collect(skep);
	assert_int_equal(alive, 0);
}

static void send_fd(int sock, int fd)
{
	char c = 'x', room[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {&c, 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = room,
			     .msg_controllen = sizeof(room)};
	struct cmsghdr *cm = CMSG_FIRSTHDR(&msg);

	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &fd, sizeof(fd));
	assert_int_equal(sendmsg(sock, &msg, 0), 1);
}

static int recv_fd(int sock)
{
	char c, room[CMSG_SPACE(sizeof(int))];
	struct iovec iov = {&c, 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = room,
			     .msg_controllen = sizeof(room)};
	int fd = -1;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&msg))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

/* On its way through a socket, and with a stranger: held all the time. */
static void test_scm_rights(void **state)
{
	struct skep *skep = *state;
	int s[2], fd, back;
	pid_t pid;
	char c;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	pid = fork(); /* knows nothing of the object that comes */
	if (!pid) {
		close(s[0]);
		fd = recv_fd(s[1]);
		if (fd < 0)
			_exit(1);
		if (write(s[1], "k", 1) != 1)
			_exit(2);
		pause();
		_exit(0);
	}
	fd = thing_fd(skep, true);
	send_fd(s[0], fd);
	close(fd);
	skep_collect(skep);
	assert_int_equal(alive, 1);
	assert_int_equal(read(s[0], &c, 1), 1);
	skep_collect(skep);
	assert_int_equal(alive, 1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	skep_collect(skep);
	assert_int_equal(alive, 0);

	/* And back to us from the socket. */
	close(s[0]);
	close(s[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	fd = thing_fd(skep, true);
	send_fd(s[0], fd);
	close(fd);
	skep_collect(skep);
	back = recv_fd(s[1]);
	assert_int_equal(get(skep, back), 0);
	close(back);
	close(s[0]);
	close(s[1]);
	skep_collect(skep);
	assert_int_equal(alive, 0);
}

/* A number says nothing: what it stands for now counts. */
static void test_numbers_reused(void **state)
{
	struct skep *skep = *state;
	struct skep_object *a, *b;
	int fa = thing_fd(skep, false), fb = thing_fd(skep, true), file;

	assert_int_equal(skep_object_get(skep, fa, SKEP_KIND_PROG, &a), 0);
	skep_object_put(a);
	assert_int_equal(dup2(fb, fa), fa);
	assert_int_equal(skep_object_get(skep, fa, SKEP_KIND_PROG, &a), -EINVAL);
	assert_int_equal(skep_object_get(skep, fa, SKEP_KIND_MAP, &b), 0);
	skep_object_put(b);
	skep_collect(skep);
	assert_int_equal(alive, 1);
	file = open("/dev/null", O_RDONLY);
	assert_int_equal(dup2(file, fa), fa);
	assert_int_equal(get(skep, fa), -EINVAL);
	assert_int_equal(get(skep, fb), 0);
	close(fa);
	assert_int_equal(get(skep, fa), -EBADF);
	close(file);
	close(fb);
	skep_collect(skep);
	assert_int_equal(alive, 0);
}

/* The instance's own descriptors are taken away or replaced by the client. */
static void test_own_numbers_reused(void **state)
{
	struct skep *skep = *state;
	struct skep_object *obj = thing_new(skep, false);
	int fd = skep_object_fd(obj, 0), own = obj->fd, file = memfd_create("client", 0), again;

	assert_int_equal(dup2(file, own), own);
	assert_int_equal(skep_object_fd(obj, 0), -EBADF);
	assert_int_equal(get(skep, fd), 0); /* from now on its user's handle helps */
	assert_true(obj->fd != own);
	again = skep_object_fd(obj, 0);
	assert_true(again >= 0);
	skep_object_put(obj);
	close(fd);
	close(again);
	assert_true(down_to(skep, 0));
	assert_true(fcntl(own, F_GETFD) >= 0);
	close(own);
	close(file);
}

static void test_close_range(void **state)
{
	pid_t pid = fork();

	if (!pid) {
		struct skep_object *obj = NULL, *got;
		struct skep *skep;
		int s[2], fd, a, ok;

		if (skep_open(&skep, NULL))
			_exit(1);
		obj = calloc(1, sizeof(struct thing));
		obj->destroy = thing_destroy;
		if (skep_object_add(skep, obj, SKEP_KIND_PROG, -1))
			_exit(2);
		alive = 1;
		fd = skep_object_fd(obj, 0);
		skep_object_put(obj);
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, s))
			_exit(3);
		send_fd(s[0], fd);
		dup2(s[1], 3);
		if (s[0] != 3 && s[1] != 3)
			fcntl(3, F_SETFD, 0);
		if (syscall(SYS_close_range, 4u, ~0u, 0u))
			_exit(4);
		/* All descriptors are gone; nobody can be asked, so nothing is collected. */
		skep_collect(skep);
		ok = alive == 1 && get(skep, fd) < 0;
		ok &= skep_object_next_id(skep, SKEP_KIND_PROG, 0) == 1;
		got = skep_object_by_id(skep, SKEP_KIND_PROG, 1);
		ok &= skep_object_fd(got, 0) == -EBADF;
		skep_object_put(got);
		if (!ok)
			_exit(5);
		/* The handle comes back, and with it everything works again. */
		a = recv_fd(3);
		if (get(skep, a))
			_exit(6);
		close(a);
		close(3);
		if (!down_to(skep, 0))
			_exit(7);
		skep_close(skep);
		_exit(0);
	}
	reap(pid);
}

/* The watch is lost: it is made again, and nothing was missed. */
static void test_watch_lost(void **state)
{
	struct skep *skep = *state;
	int a = thing_fd(skep, false), b = thing_fd(skep, false), fd;
	char path[64], link[64];
	ssize_t n;

	for (fd = 0; fd < 20000; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, link, sizeof(link));
		if (n > 0 && n < 64 && !strncmp(link, "anon_inode:inotify", 18))
			break;
	}
	assert_true(fd < 20000);
	close(a);
	close(fd);
	skep_collect(skep);
	assert_int_equal(alive, 1);
	close(b);
	skep_collect(skep);
	assert_int_equal(alive, 0);
}

/* Clients lock what they like; only their own handles may suffer. */
static void test_client_locks(void **state)
{
	struct skep *skep = *state;
	struct skep_object *obj = thing_new(skep, true);
	struct flock all = {.l_type = F_WRLCK};
	int a = skep_object_fd(obj, 0), b, c;

	assert_int_equal(flock(a, LOCK_EX), 0);
	assert_int_equal(lockf(a, F_TLOCK, 10), 0);
	b = skep_object_fd(obj, 0);
	assert_true(b >= 0);
	close(b);
	skep_collect(skep);
	assert_int_equal(alive, 1);
	skep_object_put(obj);
	skep_collect(skep);
	assert_int_equal(alive, 1);
	close(a);
	skep_collect(skep);
	assert_int_equal(alive, 0);

	/* One takes every byte: handles still come, at once; the object then lives until
	 * the instance ends, since nobody can tell any more. */
	obj = thing_new(skep, true);
	a = skep_object_fd(obj, 0);
	assert_int_equal(fcntl(a, F_OFD_SETLK, &all), 0);
	c = skep_object_fd(obj, 0);
	assert_true(c >= 0);
	skep_object_put(obj);
	close(a);
	close(c);
	skep_collect(skep);
	assert_int_equal(alive, 1);
}

/* A client drops its own lock: its id goes, its calls fail, its memory stays. */
static void test_lock_dropped(void **state)
{
	struct skep *skep = *state;
	struct flock all = {.l_type = F_UNLCK};
	int fd = thing_fd(skep, true);
	int *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	*p = 7;
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &all), 0);
	close(dup(fd)); /* no word of this: the description stays */
	skep_collect(skep);
	assert_int_equal(alive, 1);
	close(open("/proc/self/fd/0", O_RDONLY));
	{ /* word comes with any description's end */
		char path[64];

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		close(open(path, O_RDONLY));
	}
	skep_collect(skep);
	assert_int_equal(alive, 0);
	assert_int_equal(skep_object_next_id(skep, SKEP_KIND_MAP, 0), 0);
	assert_int_equal(get(skep, fd), -EINVAL);
	assert_int_equal(*p, 7);
	*p = 8;
	munmap(p, 4096);
	close(fd);
}

static void test_no_descriptors_left(void **state)
{
	pid_t pid = fork();

	if (!pid) {
		struct rlimit lim = {64, 64};
		struct skep *skep;
		int made = 0, fd = 0, err = 0;

		setrlimit(RLIMIT_NOFILE, &lim);
		if (skep_open(&skep, NULL))
			_exit(1);
		alive = 0;
		while (fd >= 0 && !err && made < 100) {
			struct skep_object *obj = calloc(1, sizeof(struct thing));

			obj->destroy = thing_destroy;
			err = skep_object_add(skep, obj, SKEP_KIND_PROG, -1);
			if (err) {
				free(obj);
				break;
			}
			alive++;
			made++;
			fd = skep_object_fd(obj, 0);
			skep_object_put(obj);
		}
		if ((err ? err : fd) != -EMFILE || made < 10)
			_exit(2);
		/* The one that got no handle is gone again; the others are whole. */
		if (fd < 0 && alive != made - 1)
			_exit(3);
		for (fd = 3; fd < 32; fd++)
			close(fd);
		skep_collect(skep);
		skep_close(skep);
		_exit(alive ? 4 : 0);
	}
	reap(pid);
}

/* Without /proc handles can't be told apart: they work, and last as the instance. */
static void test_no_proc(void **state)
{
	pid_t pid = fork();

	if (!pid) {
		char dir[] = "/tmp/skep-test-XXXXXX";
		struct skep_object *obj;
		struct skep *skep;
		int fd, privileged = !geteuid();

		if (!mkdtemp(dir) || (!privileged && unshare(CLONE_NEWUSER)) || chroot(dir) ||
		    chdir("/")) {
			rmdir(dir);
			_exit(77);
		}
		if (access("/proc/self/fd", F_OK) == 0 || skep_open(&skep, NULL))
			_exit(1);
		alive = 0;
		obj = calloc(1, sizeof(struct thing));
		obj->destroy = thing_destroy;
		if (skep_object_add(skep, obj, SKEP_KIND_PROG, -1))
			_exit(2);
		alive = 1;
		fd = skep_object_fd(obj, 0);
		skep_object_put(obj);
		if (fd < 0 || get(skep, fd))
			_exit(3);
		close(fd);
		skep_collect(skep);
		if (!privileged && alive != 1)
			_exit(4);
		skep_close(skep);
		_exit(alive ? 5 : 0);
	}
	int st;

	assert_int_equal(waitpid(pid, &st, 0), pid);
	if (WIFEXITED(st) && WEXITSTATUS(st) == 77) {
		print_message("chroot is not allowed here\n");
		skip();
	}
	assert_int_equal(st, 0);
}

static void test_after_close(void **state)
{
	struct skep_object *obj, *got;
	struct skep_env *env;
	struct skep *skep;
	int fd;

	assert_int_equal(skep_open(&skep, NULL), 0);
	assert_int_equal(skep_env_open(&env, skep), 0); /* keeps the instance's memory */
	obj = thing_new(skep, true);
	fd = skep_object_fd(obj, 0);
	int *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	skep_close(skep);
	assert_int_equal(skep_object_get(skep, fd, SKEP_KIND_MAP, &got), -ENOTCONN);
	assert_int_equal(skep_object_fd(obj, 0), -ENOTCONN);
	assert_int_equal(skep_check_owner(skep), -ENOTCONN);
	assert_int_equal(skep_env_open(&env, skep), -ENOTCONN);
	skep_collect(skep);
	assert_int_equal(alive, 1);
	skep_object_put(obj);
	assert_int_equal(alive, 0);
	*p = 1; /* theirs */
	skep_env_close(env);
	munmap(p, 4096);
	close(fd);
	skep_close(NULL);
}

static void test_opts(void **state)
{
	struct {
		struct skep_opts opts;
		char later[8];
	} o = {.opts = {.sz = sizeof(o), .cpus = 7}};
	struct skep *skep;

	assert_int_equal(skep_open(&skep, &o.opts), 0);
	assert_int_equal(skep->cpus, 7);
	skep_close(skep);
	o.later[3] = 1;
	assert_int_equal(skep_open(&skep, &o.opts), -E2BIG);
	o.opts.sz = 0;
	assert_int_equal(skep_open(&skep, &o.opts), -EINVAL);
	o.opts.sz = offsetof(struct skep_opts, pin_dir);
	o.opts.pin_dir = (const char *)1; /* not there for a caller of that size */
	assert_int_equal(skep_open(&skep, &o.opts), 0);
	skep_close(skep);
	o.opts = (struct skep_opts){.sz = sizeof(o.opts), .flags = 1u << 31};
	assert_int_equal(skep_open(&skep, &o.opts), -EINVAL);
	o.opts = (struct skep_opts){.sz = sizeof(o.opts), .cpus = 1u << 30};
	assert_int_equal(skep_open(&skep, &o.opts), -EINVAL);
	assert_int_equal(skep_open(&skep, NULL), 0);
	assert_int_equal(skep->cpus, skep_possible_cpus());
	skep_close(skep);
}

/* ---- Killing ---- */

static uint64_t rnd_state = 88172645463325252u;

static uint32_t rnd(uint32_t n)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return (uint32_t)(rnd_state >> 32) % n;
}

/* What a client does with handles, until it is killed. */
static void client(struct skep *skep, const int *fds, int n)
{
	int s[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, s))
		_exit(1);
	for (uint32_t i = 0;; i++) {
		int fd = fds[i % (uint32_t)n], d = dup(fd);
		void *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, d, 0);
		pid_t pid;

		get(skep, d);
		send_fd(s[0], d);
		close(d);
		if (i % 3 == 0) {
			pid = fork();
			if (!pid)
				_exit(0);
			waitpid(pid, NULL, 0);
		}
		d = recv_fd(s[1]);
		if (i % 5 == 0 && p != MAP_FAILED)
			munmap(p, 4096);
		if (i % 7)
			close(d);
		if (i > 400)
			syscall(SYS_exit_group, 0);
	}
}

/* Holders are killed at any moment: each time, all objects are gone afterwards. */
static void test_kill(void **state)
{
	struct skep *skep = *state;
	unsigned long rounds = scaled(300), i;
	int fds[4], n;

	for (i = 0; i < rounds; i++) {
		pid_t pid;

		n = (int)rnd(4) + 1;
		for (int k = 0; k < n; k++)
			fds[k] = thing_fd(skep, k & 1);
		pid = fork();
		if (!pid)
			client(skep, fds, n);
		for (int k = 0; k < n; k++)
			close(fds[k]);
		nanosleep(&(struct timespec){0, rnd(3000000)}, NULL);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		/* A grandchild may live a moment longer. */
		if (!down_to(skep, 0))
			fail_msg("round %lu: %d objects left", i, alive);
	}
	assert_int_equal(skep_object_next_id(skep, SKEP_KIND_PROG, 0), 0);
	assert_int_equal(skep_object_next_id(skep, SKEP_KIND_MAP, 0), 0);
	print_message("ran: kill-handle %lu\n", rounds);
}

/* ---- Many threads, and forks in the middle ---- */

static _Atomic bool stop;

static void *churn(void *arg)
{
	struct skep *skep = arg;

	while (!stop) {
		struct skep_object *obj;
		int fd = thing_fd(skep, false);
		uint32_t id;

		assert_int_equal(skep_object_get(skep, fd, SKEP_KIND_PROG, &obj), 0);
		id = obj->id;
		skep_object_put(obj);
		obj = skep_object_by_id(skep, SKEP_KIND_PROG, id);
		assert_non_null(obj);
		skep_object_put(obj);
		close(fd);
		skep_collect(skep);
	}
	return NULL;
}

static void *churn_ids(void *arg)
{
	struct skep *skep = arg;

	while (!stop) {
		uint32_t id = 0;

		while ((id = skep_object_next_id(skep, SKEP_KIND_PROG, id))) {
			struct skep_object *obj = skep_object_by_id(skep, SKEP_KIND_PROG, id);
			int fd = obj ? skep_object_fd(obj, 0) : -1;

			skep_object_put(obj);
			if (fd >= 0)
				close(fd);
		}
		skep_collect(skep);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct skep *skep = *state;
	int fd = thing_fd(skep, false);
	unsigned forks = 0;
	uint64_t end;
	pthread_t t[4];

	stop = false;
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, i ? churn : churn_ids, skep);
	end = skep_clock_mono() + scaled(1500) * 1000000;
	while (skep_clock_mono() < end) {
		pid_t pid = fork();

		if (!pid) {
			/* Whatever the other threads were doing: this must not hang. */
			alarm(20);
			for (int i = 0; i < 20; i++) {
				uint32_t id = 0;

				if (get(skep, fd))
					_exit(1);
				while ((id = skep_object_next_id(skep, SKEP_KIND_PROG, id)))
					skep_object_put(
						skep_object_by_id(skep, SKEP_KIND_PROG, id));
			}
			_exit(0);
		}
		reap(pid);
		forks++;
	}
	stop = true;
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	close(fd);
	assert_true(down_to(skep, 0));
	print_message("%u forks\n", forks);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, open_instance, close_instance)
	const struct CMUnitTest tests[] = {
		T(test_copies),
		T(test_kinds_and_modes),
		T(test_mapping_holds),
		T(test_ids),
		T(test_users),
		T(test_fork),
		T(test_exec),
		T(test_scm_rights),
		T(test_numbers_reused),
		T(test_own_numbers_reused),
		T(test_close_range),
		T(test_watch_lost),
		T(test_client_locks),
		T(test_lock_dropped),
		T(test_no_descriptors_left),
		T(test_no_proc),
		cmocka_unit_test(test_after_close),
		cmocka_unit_test(test_opts),
		T(test_kill),
		T(test_threads),
	};

	return cmocka_run_group_tests_name("handle", tests, NULL, NULL);
}
