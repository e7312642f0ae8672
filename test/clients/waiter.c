/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client as anybody writes one, on the distribution's shared libbpf: programs send samples,
 * and it waits for them in each of the ways that there are. It knows nothing of skep.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EXPECT(cond)                                                                               \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			printf("line %d: %s does not hold (errno %d)\n", __LINE__, #cond, errno);  \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

#define INSN(op, d, s, o, i)                                                                       \
	((struct bpf_insn){.code = (op), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)})
#define MOV(d, s)       INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define MOV_IMM(d, i)   INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define MOV_IMM32(d, i) INSN(BPF_ALU | BPF_MOV | BPF_K, d, 0, 0, i)
#define ADD_IMM(d, i)   INSN(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define LD_MAP(d, fd)                                                                              \
	INSN(BPF_LD | BPF_IMM | BPF_DW, d, BPF_PSEUDO_MAP_FD, 0, fd), INSN(0, 0, 0, 0, 0)
#define CALL(f) INSN(BPF_JMP | BPF_CALL, 0, 0, 0, f)
#define END     INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
/* skb->len to the stack: the sample. */
#define SAMPLE                                                                                     \
	INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0), INSN(BPF_STX | BPF_MEM | BPF_DW, 10, 2, -8, 0)

static int ring, prog;

static int load(const struct bpf_insn *insns, size_t n)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts);

	return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "sender", "GPL", insns, n, &opts);
}

static int make_ring(void)
{
	ring = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "ring", 0, 0, 4096, NULL);
	if (ring < 0)
		return 1;
	const struct bpf_insn insns[] = {
		SAMPLE,
		LD_MAP(1, ring),
		MOV(2, 10),
		ADD_IMM(2, -8),
		MOV_IMM(3, 8),
		MOV_IMM(4, 0),
		CALL(BPF_FUNC_ringbuf_output),
		MOV_IMM(0, 0),
		END,
	};
	prog = load(insns, sizeof(insns) / sizeof(insns[0]));
	return prog < 0;
}

/* The sample is len. */
static int send_sample(uint32_t len)
{
	static uint8_t packet[2048];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = len);

	return bpf_prog_test_run_opts(prog, &opts);
}

static uint64_t count, sum;

static int on_sample(void *ctx, void *data, size_t size)
{
	count++;
	sum += size == 8 ? *(uint64_t *)data : 1000000;
	return 0;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Sends one sample a moment later, from another thread. */
static void *sender(void *arg)
{
	usleep(100000);
	return (void *)(intptr_t)send_sample((uint32_t)(uintptr_t)arg);
}

static pthread_t send_later(uint32_t len)
{
	pthread_t t;

	return pthread_create(&t, NULL, sender, (void *)(uintptr_t)len) ? 0 : t;
}

/* More than the buffer holds at once, so that samples run over its end. */
static int client_ring(void)
{
	struct ring_buffer *rb;
	uint64_t want = 0, sent = 0;
	double from;
	pthread_t t;

	EXPECT(!make_ring());
	rb = ring_buffer__new(ring, on_sample, NULL, NULL);
	EXPECT(rb);
	for (int round = 0; round < 20; round++) {
		for (uint32_t i = 0; i < 50; i++, sent++) {
			EXPECT(!send_sample(64 + i));
			want += 64 + i;
		}
		EXPECT(ring_buffer__poll(rb, 1000) == 50);
	}
	EXPECT(count == sent && sum == want);
	/* Nothing: the time passes. */
	from = now();
	EXPECT(ring_buffer__poll(rb, 150) == 0);
	EXPECT(now() - from > 0.14 && now() - from < 2);
	EXPECT(ring_buffer__poll(rb, 0) == 0);
	/* Something while we wait: less time passes. */
	from = now();
	t = send_later(99);
	EXPECT(ring_buffer__poll(rb, 5000) == 1);
	EXPECT(now() - from < 2);
	pthread_join(t, NULL);
	ring_buffer__free(rb);
	printf("%lu samples\n", (unsigned long)count);
	return 0;
}

/* Takes what there is without a wait. */
static int consume(void)
{
	struct ring_buffer *rb = ring_buffer__new(ring, on_sample, NULL, NULL);
	int n;

	if (!rb)
		return -1;
	n = ring_buffer__consume(rb);
	ring_buffer__free(rb);
	return n;
}

static int select_ring(int pipe_fd, struct timeval *limit, fd_set *in)
{
	FD_ZERO(in);
	FD_SET(ring, in);
	FD_SET(pipe_fd, in);
	return select((ring > pipe_fd ? ring : pipe_fd) + 1, in, NULL, NULL, limit);
}

static int client_poll(void)
{
	struct timeval limit = {0, 150000}, limits = {5, 0};
	struct pollfd p[2];
	fd_set in;
	int pipes[2];
	double from;
	pthread_t t;

	EXPECT(!make_ring() && !pipe(pipes));
	p[0] = (struct pollfd){.fd = ring, .events = POLLIN};
	p[1] = (struct pollfd){.fd = pipes[0], .events = POLLIN};
	from = now();
	EXPECT(poll(p, 2, 150) == 0);
	EXPECT(now() - from > 0.14 && now() - from < 2);
	EXPECT(poll(p, 2, 0) == 0);
	EXPECT(write(pipes[1], "x", 1) == 1);
	EXPECT(poll(p, 2, 1000) == 1 && !p[0].revents && p[1].revents == POLLIN);
	EXPECT(read(pipes[0], &in, 1) == 1);
	t = send_later(80);
	EXPECT(poll(p, 2, 5000) == 1 && p[0].revents == POLLIN && !p[1].revents);
	pthread_join(t, NULL);
	EXPECT(poll(p, 2, -1) == 1);
	EXPECT(consume() == 1 && poll(p, 2, 0) == 0);

	from = now();
	EXPECT(select_ring(pipes[0], &limit, &in) == 0 && !FD_ISSET(ring, &in));
	EXPECT(now() - from > 0.14 && now() - from < 2);
	EXPECT(limit.tv_sec == 0 && limit.tv_usec == 0);
	t = send_later(81);
	EXPECT(select_ring(pipes[0], &limits, &in) == 1);
	EXPECT(FD_ISSET(ring, &in) && !FD_ISSET(pipes[0], &in));
	EXPECT(limits.tv_sec == 4);
	pthread_join(t, NULL);
	return 0;
}

/* An epoll set of ours, with its rules; and numbers that come to mean other files. */
static int client_epoll(void)
{
	struct epoll_event ev = {.events = EPOLLIN, .data = {.u64 = 0x1234567812345678}}, got[4];
	struct pollfd p = {.events = POLLIN | POLLOUT};
	int set, hash, old, pipes[2];
	pid_t child;
	int status;

	EXPECT(!make_ring());
	set = epoll_create1(EPOLL_CLOEXEC);
	hash = bpf_map_create(BPF_MAP_TYPE_HASH, "hash", 4, 4, 4, NULL);
	EXPECT(set >= 0 && hash >= 0);
	p.fd = hash;
	/* Other maps are taken, and in error. */
	EXPECT(!epoll_ctl(set, EPOLL_CTL_ADD, hash, &ev));
	EXPECT(epoll_wait(set, got, 4, 5000) == 1 && got[0].events == EPOLLERR);
	EXPECT(got[0].data.u64 == ev.data.u64);
	EXPECT(poll(&p, 1, 5000) == 1 && p.revents == POLLERR);
	EXPECT(!epoll_ctl(set, EPOLL_CTL_DEL, hash, NULL));
	EXPECT(epoll_ctl(set, EPOLL_CTL_MOD, ring, &ev) == -1 && errno == ENOENT);
	EXPECT(!epoll_ctl(set, EPOLL_CTL_ADD, ring, &ev));
	EXPECT(epoll_ctl(set, EPOLL_CTL_ADD, ring, &ev) == -1 && errno == EEXIST);
	EXPECT(epoll_wait(set, got, 4, 50) == 0);
	EXPECT(!send_sample(70));
	EXPECT(epoll_wait(set, got, 4, 1000) == 1);
	EXPECT(got[0].data.u64 == ev.data.u64 && got[0].events == EPOLLIN);
	ev.data.u64 = 7;
	EXPECT(!epoll_ctl(set, EPOLL_CTL_MOD, ring, &ev));
	EXPECT(epoll_wait(set, got, 4, 1000) == 1 && got[0].data.u64 == 7);
	/* A child has it all. */
	child = fork();
	if (child == 0)
		_exit(epoll_wait(set, got, 4, 1000) == 1 && got[0].data.u64 == 7 &&
				      consume() == 1 && epoll_wait(set, got, 4, 0) == 0 &&
				      !close(ring)
			      ? 0
			      : 1);
	EXPECT(waitpid(child, &status, 0) == child && status == 0);
	EXPECT(epoll_wait(set, got, 4, 0) == 0);
	EXPECT(!send_sample(71));
	EXPECT(epoll_wait(set, got, 4, 1000) == 1 && consume() == 1);
	EXPECT(!epoll_ctl(set, EPOLL_CTL_DEL, ring, NULL));
	EXPECT(epoll_ctl(set, EPOLL_CTL_DEL, ring, NULL) == -1 && errno == ENOENT);
	/* The number is a pipe's, then another ring buffer's. */
	EXPECT(!epoll_ctl(set, EPOLL_CTL_ADD, ring, &ev));
	EXPECT(!pipe(pipes));
	old = ring;
	EXPECT(dup2(pipes[0], old) == old);
	EXPECT(!epoll_ctl(set, EPOLL_CTL_ADD, old, &ev));
	EXPECT(epoll_wait(set, got, 4, 50) == 0);
	EXPECT(write(pipes[1], "x", 1) == 1 && epoll_wait(set, got, 4, 1000) == 1);
	EXPECT(!epoll_ctl(set, EPOLL_CTL_DEL, old, NULL) && !close(old));
	EXPECT(!make_ring());
	EXPECT(dup2(ring, old) == old);
	EXPECT(!epoll_ctl(set, EPOLL_CTL_ADD, old, &ev));
	EXPECT(epoll_wait(set, got, 4, 50) == 0);
	EXPECT(!send_sample(72) && epoll_wait(set, got, 4, 1000) == 1);
	close_range(3, ~0u, 0);
	EXPECT(epoll_wait(set, got, 4, 0) == -1 && errno == EBADF);
	return 0;
}

/* Once per arming, read-only handles, and an epoll set that is polled itself. */
static int client_sets(void)
{
	LIBBPF_OPTS(bpf_get_fd_by_id_opts, ro, .open_flags = BPF_F_RDONLY);
	struct epoll_event ev = {.events = EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLONESHOT}, got[4];
	struct bpf_map_info info = {0};
	struct pollfd p = {.events = POLLIN};
	uint32_t len = sizeof(info);
	int set, fd;
	pthread_t t;

	EXPECT(!make_ring());
	set = epoll_create1(EPOLL_CLOEXEC);
	EXPECT(!epoll_ctl(set, EPOLL_CTL_ADD, ring, &ev));
	EXPECT(epoll_wait(set, got, 4, 20) == 0);
	EXPECT(!send_sample(70));
	EXPECT(epoll_wait(set, got, 4, 1000) == 1 && got[0].events == (EPOLLIN | EPOLLRDNORM));
	EXPECT(epoll_wait(set, got, 4, 20) == 0);
	EXPECT(!epoll_ctl(set, EPOLL_CTL_MOD, ring, &ev));
	EXPECT(epoll_wait(set, got, 4, 1000) == 1);
	EXPECT(consume() == 1 && !epoll_ctl(set, EPOLL_CTL_MOD, ring, &ev));
	EXPECT(epoll_wait(set, got, 4, 20) == 0);
	p.fd = set;
	EXPECT(poll(&p, 1, 20) == 0);
	t = send_later(90);
	EXPECT(poll(&p, 1, 5000) == 1 && epoll_wait(set, got, 4, 0) == 1);
	pthread_join(t, NULL);
	EXPECT(consume() == 1 && !close(set));

	EXPECT(!bpf_obj_get_info_by_fd(ring, &info, &len));
	fd = bpf_map_get_fd_by_id_opts(info.id, &ro);
	EXPECT(fd >= 0);
	p.fd = fd;
	EXPECT(poll(&p, 1, 50) == 0);
	t = send_later(91);
	EXPECT(poll(&p, 1, 5000) == 1 && p.revents == POLLIN);
	pthread_join(t, NULL);
	return 0;
}

static volatile int closed;

static void on_alarm(int sig)
{
	int fd = dup(0);

	closed += close(fd) == 0;
}

/* Children of each kind, and close() from a signal handler, while there is a wait. */
static int client_children(char **argv)
{
	struct epoll_event ev = {.events = EPOLLIN}, got[4];
	struct itimerval often = {{0, 300}, {0, 300}}, never = {0};
	char number[16], *again[] = {argv[0], "inherited", number, NULL};
	int set, status;
	pid_t child;

	EXPECT(!make_ring());
	set = epoll_create1(EPOLL_CLOEXEC);
	EXPECT(!epoll_ctl(set, EPOLL_CTL_ADD, ring, &ev));
	/* Closes what it does not need, in its parent's memory. */
	child = vfork();
	if (child == 0) {
		for (int fd = 3; fd < 1024; fd++)
			close(fd);
		execlp("true", "true", NULL);
		_exit(1);
	}
	EXPECT(waitpid(child, &status, 0) == child && status == 0);
	EXPECT(!send_sample(70) && epoll_wait(set, got, 4, 1000) == 1 && consume() == 1);
	/* Another program gets the handle. */
	EXPECT(!fcntl(ring, F_SETFD, 0));
	snprintf(number, sizeof(number), "%d", ring);
	child = fork();
	if (child == 0) {
		execv(argv[0], again);
		_exit(1);
	}
	usleep(100000);
	EXPECT(!send_sample(71));
	EXPECT(waitpid(child, &status, 0) == child && status == 0);
	EXPECT(epoll_wait(set, got, 4, 0) == 1);
	EXPECT(consume() == 1);
	signal(SIGALRM, on_alarm);
	EXPECT(!setitimer(ITIMER_REAL, &often, NULL));
	for (int i = 0; i < 200; i++) {
		int other = dup(ring), r;

		EXPECT(other >= 0 && !epoll_ctl(set, EPOLL_CTL_ADD, other, &ev));
		child = fork();
		if (child == 0)
			_exit(close(other) != 0);
		while (waitpid(child, &status, 0) < 0)
			;
		EXPECT(status == 0);
		r = send_sample(72);
		EXPECT(r == 0 || errno == EINTR);
		EXPECT(!epoll_ctl(set, EPOLL_CTL_DEL, other, NULL) && !close(other));
		if (!r)
			EXPECT(consume() == 1);
	}
	EXPECT(!setitimer(ITIMER_REAL, &never, NULL));
	EXPECT(closed > 0);
	EXPECT(epoll_wait(set, got, 4, 0) == 0);
	EXPECT(!send_sample(73) && epoll_wait(set, got, 4, 1000) == 1);
	return 0;
}

static int client_inherited(char **argv)
{
	struct pollfd p = {.fd = atoi(argv[2]), .events = POLLIN};

	EXPECT(poll(&p, 1, 10000) == 1 && p.revents == POLLIN);
	return 0;
}

/* An event of the kernel's own. */
static int client_event(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_TASK_CLOCK,
		.size = sizeof(attr),
		.disabled = 1,
	};
	int fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
	uint64_t value = 0;

	EXPECT(fd >= 0);
	EXPECT(!ioctl(fd, PERF_EVENT_IOC_ENABLE, 0));
	for (volatile int i = 0; i < 1000000; i++)
		;
	EXPECT(!ioctl(fd, PERF_EVENT_IOC_DISABLE, 0));
	EXPECT(read(fd, &value, sizeof(value)) == sizeof(value) && value > 0);
	EXPECT(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED);
	EXPECT(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0) == -1 && errno == EFAULT);
	return 0;
}

static void on_perf(void *ctx, int cpu, void *data, __u32 size)
{
	count++;
	sum += *(uint64_t *)data;
}

static int client_perf(void)
{
	struct perf_buffer *pb;
	int map = bpf_map_create(BPF_MAP_TYPE_PERF_EVENT_ARRAY, "perf", 4, 4,
				 (uint32_t)libbpf_num_possible_cpus(), NULL);
	const struct bpf_insn insns[] = {
		SAMPLE,
		LD_MAP(2, map),
		MOV_IMM32(3, -1),
		MOV(4, 10),
		ADD_IMM(4, -8),
		MOV_IMM(5, 8),
		CALL(BPF_FUNC_perf_event_output),
		MOV_IMM(0, 0),
		END,
	};
	uint64_t want = 0;
	double from;

	EXPECT(map >= 0);
	prog = load(insns, sizeof(insns) / sizeof(insns[0]));
	EXPECT(prog >= 0);
	pb = perf_buffer__new(map, 8, on_perf, NULL, NULL, NULL);
	EXPECT(pb);
	from = now();
	EXPECT(perf_buffer__poll(pb, 150) == 0);
	EXPECT(now() - from > 0.14 && now() - from < 2);
	for (uint32_t i = 0; i < 100; i++) {
		EXPECT(!send_sample(64 + i));
		want += 64 + i;
	}
	while (count < 100)
		EXPECT(perf_buffer__poll(pb, 1000) > 0);
	EXPECT(sum == want);
	EXPECT(perf_buffer__poll(pb, 0) == 0);
	perf_buffer__free(pb);
	return 0;
}

static const struct {
	const char *name;
	int (*run)(void);
} clients[] = {
	{"ring", client_ring}, {"poll", client_poll}, {"epoll", client_epoll},
	{"perf", client_perf}, {"sets", client_sets}, {"event", client_event},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < sizeof(clients) / sizeof(clients[0]); i++)
		if (!strcmp(argv[1], clients[i].name))
			return clients[i].run();
	if (argc == 2 && !strcmp(argv[1], "children"))
		return client_children(argv);
	if (argc == 3 && !strcmp(argv[1], "inherited"))
		return client_inherited(argv);
	return 2;
}
