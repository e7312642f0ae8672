// SPDX-License-Identifier: Apache-2.0
/* Runs the iterators of iters.bpf.o (first argument) and prints what they write, in sorted lines, and what goes
 * wrong as it should. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct bpf_object *obj;

static int map_fd(const char *name)
{
	return bpf_map__fd(bpf_object__find_map_by_name(obj, name));
}

static int prog_fd(const char *name)
{
	return bpf_program__fd(bpf_object__find_program_by_name(obj, name));
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Reads to the end, some bytes at a time. */
static void print(int iter, size_t step)
{
	static char text[1 << 20], *lines[8192];
	size_t len = 0, n = 0;
	ssize_t r;

	while ((r = read(iter, text + len, step)) > 0)
		len += (size_t)r;
	printf("read: %s, %zu bytes\n", r ? strerror(errno) : "end", len);
	text[len] = 0;
	for (char *l = strtok(text, "\n"); l; l = strtok(NULL, "\n"))
		lines[n++] = l;
	qsort(lines, n, sizeof(*lines), compare);
	for (size_t i = 0; i < n; i++)
		puts(lines[i]);
	close(iter);
}

static int attach(const char *name, int map, __u32 flags)
{
	union bpf_iter_link_info info = {.map.map_fd = (__u32)map};
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = flags);
	int link;

	if (map >= 0) {
		opts.iter_info = &info;
		opts.iter_info_len = sizeof(info);
	}
	link = bpf_link_create(prog_fd(name), 0, BPF_TRACE_ITER, &opts);
	printf("%s: %s\n", name, link < 0 ? strerror(errno) : "attached");
	return link;
}

static void run(const char *name, int map, size_t step)
{
	int link = attach(name, map, 0), iter;

	if (link < 0)
		return;
	iter = bpf_iter_create(link);
	if (iter < 0)
		printf("iter: %s\n", strerror(errno));
	else
		print(iter, step);
	close(link);
}

static void about(const char *name, int map)
{
	char target[32] = "";
	struct bpf_link_info info = {.iter.target_name = (uintptr_t)target};
	int link = attach(name, map, 0);

	for (__u32 room = 0; room < sizeof(target); room += 5) {
		__u32 len = sizeof(info);
		memset(target, 'x', sizeof(target) - 1);
		memset(&info, 0, sizeof(info));
		info.iter.target_name = (uintptr_t)target;
		info.iter.target_name_len = room;
		int err = bpf_obj_get_info_by_fd(link, &info, &len);
		printf("%u: %s, type %u, %u '%.*s', map %d\n", room, err ? strerror(errno) : "fine",
		       info.type, info.iter.target_name_len, room ? (int)strnlen(target, room) : 0,
		       target, info.iter.map.map_id > 0);
	}
	printf("detach: %s\n", bpf_link_detach(link) ? strerror(errno) : "done");
	printf("update: %s\n",
	       bpf_link_update(link, prog_fd(name), NULL) ? strerror(errno) : "done");
	printf("to another: %s\n",
	       bpf_link_update(link, prog_fd("skt_progs"), NULL) ? strerror(errno) : "done");
	close(link);
}

static void refused(void)
{
	union bpf_iter_link_info info = {0};
	union bpf_attr other = {0};
	LIBBPF_OPTS(bpf_link_create_opts, opts, .iter_info = &info);
	int fd = prog_fd("skt_elems");

	attach("skt_maps", -1, 1);
	attach("skt_elems", -1, 0);
	attach("skt_elems", 999, 0);
	attach("skt_elems", prog_fd("skt_maps"), 0);
	attach("skt_elems", map_fd("skt_queue"), 0);
	attach("skt_far", map_fd("skt_hash"), 0);
	printf("a target: %s\n",
	       bpf_link_create(fd, 1, BPF_TRACE_ITER, NULL) < 0 ? strerror(errno) : "?");
	other.link_create.prog_fd = (__u32)fd;
	other.link_create.attach_type = BPF_TRACE_FENTRY;
	printf("another type: %s\n", syscall(SYS_bpf, BPF_LINK_CREATE, &other, sizeof(other)) < 0
					     ? strerror(errno)
					     : "?");
	printf("no length: %s\n",
	       bpf_link_create(fd, 0, BPF_TRACE_ITER, &opts) < 0 ? strerror(errno) : "?");
	opts.iter_info = (void *)8;
	opts.iter_info_len = 4;
	printf("nowhere: %s\n",
	       bpf_link_create(fd, 0, BPF_TRACE_ITER, &opts) < 0 ? strerror(errno) : "?");
}

/* Threads of this process: one by its number, all by the process's, or by a descriptor of it. */
static void *thread(void *arg)
{
	pthread_setname_np(pthread_self(), arg);
	pause();
	return NULL;
}

static void tasks_of(const char *what, __u32 tid, __u32 pid, __u32 pidfd)
{
	union bpf_iter_link_info info = {.task = {.tid = tid, .pid = pid, .pid_fd = pidfd}};
	LIBBPF_OPTS(bpf_link_create_opts, opts, .iter_info = &info, .iter_info_len = sizeof(info));
	int link = bpf_link_create(prog_fd("skt_tasks"), 0, BPF_TRACE_ITER, &opts);
	struct bpf_link_info li = {0};
	__u32 len = sizeof(li);

	printf("%s: %s\n", what, link < 0 ? strerror(errno) : "attached");
	if (link < 0)
		return;
	bpf_obj_get_info_by_fd(link, &li, &len);
	printf("tid %d pid %d\n", li.iter.task.tid == tid, !!li.iter.task.pid);
	print(bpf_iter_create(link), 4096);
	close(link);
}

static void tasks(void)
{
	pthread_t t;
	__u32 self = (__u32)getpid();

	if (pthread_create(&t, NULL, thread, "skt thread-1") ||
	    pthread_create(&t, NULL, thread, "skt (2)"))
		exit(1);
	usleep(100000);
	run("skt_tasks", -1, 4096);
	tasks_of("first", self, 0, 0);
	tasks_of("threads", 0, self, 0);
	tasks_of("pidfd", 0, 0, (__u32)syscall(SYS_pidfd_open, self, 0));
	tasks_of("two ways", self, self, 0);
	tasks_of("no pidfd", 0, 0, 999);
	tasks_of("not a pidfd", 0, 0, (__u32)prog_fd("skt_maps"));
	tasks_of("nobody", 0x3fffff, 0, 0);
}

int main(int argc, char **argv)
{
	int hash, array, percpu, cpus = libbpf_num_possible_cpus();
	__u64 values[1024] = {0}, v;
	struct bpf_map *data;
	size_t size;

	libbpf_set_print(NULL);
	obj = argc > 1 ? bpf_object__open(argv[1]) : NULL;
	if (obj && (data = bpf_object__find_map_by_name(obj, ".data.self")))
		*(int *)bpf_map__initial_value(data, &size) = getpid();
	if (!obj || bpf_object__load(obj)) {
		printf("load: %s\n", strerror(errno));
		return 1;
	}
	hash = map_fd("skt_hash");
	array = map_fd("skt_array");
	percpu = map_fd("skt_percpu");
	for (__u32 i = 0; i < 20; i++) {
		v = 1000 + i;
		bpf_map_update_elem(hash, &i, &v, 0);
	}
	for (__u32 i = 0; i < 3; i++) {
		for (int c = 0; c < cpus; c++)
			memcpy(&values[c],
			       (char[]){'v', 'a', 'l', 'u', 'e', (char)('0' + i), (char)('a' + c),
					'\n'},
			       8);
		bpf_map_update_elem(percpu, &i, values, 0);
	}
	run("skt_maps", -1, 4096);
	run("skt_progs", -1, 50);
	run("skt_links", -1, 65536);
	run("skt_elems", hash, 100);
	run("skt_elems", hash, 4096);
	run("skt_elems", array, 4096);
	run("skt_cpus", percpu, 4096);
	tasks();
	about("skt_maps", -1);
	about("skt_elems", hash);
	refused();
	return 0;
}
