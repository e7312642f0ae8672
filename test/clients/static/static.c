// SPDX-License-Identifier: Apache-2.0
/* A static client that makes its own system calls: no library can be put before it. Says what it
 * found, which must be the same on the kernel and on an instance. */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static long bpf(int cmd, union bpf_attr *a)
{
	long r = syscall(SYS_bpf, (long)cmd, a, sizeof(*a));

	return r < 0 ? -errno : r;
}

static long element(int cmd, int fd, uint32_t key, uint64_t *value, uint64_t flags)
{
	union bpf_attr a = {.map_fd = (uint32_t)fd, .key = (uintptr_t)&key};

	a.value = (uintptr_t)value;
	a.flags = flags;
	return bpf(cmd, &a);
}

static int make(uint32_t type, uint32_t key, uint32_t value, uint32_t entries, uint32_t flags)
{
	union bpf_attr a = {.map_type = type};

	a.key_size = key;
	a.value_size = value;
	a.max_entries = entries;
	a.map_flags = flags;
	strcpy(a.map_name, "skt_static");
	return (int)bpf(BPF_MAP_CREATE, &a);
}

static void maps(void)
{
	int hash = make(BPF_MAP_TYPE_HASH, 4, 8, 3, 0), dup;
	int array = make(BPF_MAP_TYPE_ARRAY, 4, 8, 512, BPF_F_MMAPABLE);
	uint64_t v = 1, *shared;
	long r;

	for (uint32_t k = 0; k < 5; k++) {
		r = element(BPF_MAP_UPDATE_ELEM, hash, k, &v, BPF_NOEXIST);
		printf("update %u %ld\n", k, r);
	}
	printf("exists %ld\n", element(BPF_MAP_UPDATE_ELEM, hash, 1, &v, BPF_NOEXIST));
	printf("absent %ld\n", element(BPF_MAP_UPDATE_ELEM, hash, 9, &v, BPF_EXIST));
	printf("lookup %ld", element(BPF_MAP_LOOKUP_ELEM, hash, 2, &v, 0));
	printf(" %ld\n", element(BPF_MAP_LOOKUP_ELEM, hash, 77, &v, 0));
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, array, 0);
	printf("mmap %d\n", shared != MAP_FAILED);
	if (shared == MAP_FAILED)
		return;
	shared[5] = 55;
	v = 0;
	r = element(BPF_MAP_LOOKUP_ELEM, array, 5, &v, 0);
	printf("shared %ld %llu\n", r, (unsigned long long)v);
	dup = fcntl(hash, F_DUPFD, 100);
	close(hash);
	printf("closed %ld\n", element(BPF_MAP_LOOKUP_ELEM, hash, 2, &v, 0));
	printf("dup %d %ld\n", dup, element(BPF_MAP_LOOKUP_ELEM, dup, 2, &v, 0));
	printf("wrong %ld\n", element(BPF_MAP_LOOKUP_ELEM, 1, 2, &v, 0));
	munmap(shared, 4096);
	close(dup);
	close(array);
}

static void program(void)
{
	struct bpf_insn insns[] = {
		{.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 0, .src_reg = 1, .off = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	char log[4096] = "", packet[100] = "";
	union bpf_attr a = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER};
	union bpf_attr t = {0};
	long fd, r;

	a.insns = (uintptr_t)insns;
	a.insn_cnt = 2;
	a.license = (uintptr_t) "GPL";
	a.log_buf = (uintptr_t)log;
	a.log_size = sizeof(log);
	a.log_level = 1;
	fd = bpf(BPF_PROG_LOAD, &a);
	t.test.prog_fd = (uint32_t)fd;
	t.test.data_in = (uintptr_t)packet;
	t.test.data_size_in = sizeof(packet);
	r = bpf(BPF_PROG_TEST_RUN, &t);
	printf("program %d run %ld %u\n", fd >= 0, r, t.test.retval);
	insns[0].off = 1000;
	r = bpf(BPF_PROG_LOAD, &a);
	printf("refused %ld\n%.*s\n", r, (int)strcspn(strstr(log, "invalid") ?: "\n", "\n"),
	       strstr(log, "invalid") ?: "");
}

static uint32_t run_raw(const struct bpf_insn *insns, uint32_t n)
{
	union bpf_attr a = {.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT}, t = {0};

	a.insns = (uintptr_t)insns;
	a.insn_cnt = n;
	a.license = (uintptr_t) "GPL";
	t.test.prog_fd = (uint32_t)bpf(BPF_PROG_LOAD, &a);
	if ((int)t.test.prog_fd < 0 || bpf(BPF_PROG_TEST_RUN, &t))
		return ~0u;
	close((int)t.test.prog_fd);
	return t.test.retval;
}

/* Programs that this process runs run as this process. */
static void task(void)
{
	const struct bpf_insn call = {.code = BPF_JMP | BPF_CALL,
				      .imm = BPF_FUNC_get_current_pid_tgid};
	const struct bpf_insn uid = {.code = BPF_JMP | BPF_CALL,
				     .imm = BPF_FUNC_get_current_uid_gid};
	const struct bpf_insn shift = {.code = BPF_ALU64 | BPF_RSH | BPF_K, .imm = 32};
	const struct bpf_insn end = {.code = BPF_JMP | BPF_EXIT};
	/* Its name, at the top of the stack: the first four letters. */
	const struct bpf_insn comm[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 1, .src_reg = 10},
		{.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 1, .imm = -16},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2, .imm = 16},
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_get_current_comm},
		{.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 0, .src_reg = 10, .off = -16},
		end,
	};
	const struct bpf_insn tid[] = {call, end}, tgid[] = {call, shift, end};
	const struct bpf_insn user[] = {uid, end}, group[] = {uid, shift, end};

	printf("tid %d tgid %d", run_raw(tid, 2) == (uint32_t)syscall(SYS_gettid),
	       run_raw(tgid, 3) == (uint32_t)getpid());
	printf(" uid %d gid %d", run_raw(user, 2) == getuid(), run_raw(group, 3) == getgid());
	printf(" comm %x\n", run_raw(comm, 6));
}

/* A handle goes through a socket to a child, whose own it then is. */
static void passing(void)
{
	int fd = make(BPF_MAP_TYPE_HASH, 4, 8, 8, 0), sock[2], status;
	char room[CMSG_SPACE(sizeof(int))], byte = 0;
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *h;
	uint64_t v = 0;
	pid_t child;

	m.msg_control = room;
	m.msg_controllen = sizeof(room);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sock))
		return;
	fflush(stdout);
	child = fork();
	if (!child) {
		close(fd);
		if (recvmsg(sock[1], &m, 0) != 1)
			_exit(1);
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
		v = 17;
		_exit(element(BPF_MAP_UPDATE_ELEM, fd, 3, &v, 0) ? 2 : 0);
	}
	h = CMSG_FIRSTHDR(&m);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	if (sendmsg(sock[0], &m, 0) != 1)
		return;
	waitpid(child, &status, 0);
	status = (int)element(BPF_MAP_LOOKUP_ELEM, fd, 3, &v, 0);
	printf("passed %d %llu\n", status, (unsigned long long)v);
}

int main(void)
{
	maps();
	program();
	passing();
	task();
	return 0;
}
