/* SPDX-License-Identifier: Apache-2.0 */
/*
 * skep exec: clients of the kernel on an instance. This program is one of them itself
 * (with --client), by raw system calls; the others are sh and bpftool.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf/uapi.h"
#include "client/ask.h"
#include "cmd_cases.h"

static char self[4096];

/* ---- The client ---- */

static long raw_bpf(int cmd, union bpf_attr *a, unsigned size)
{
	long r = syscall(SYS_bpf, (long)cmd, a, (long)size);

	return r < 0 ? -errno : r;
}

#define EXPECT(cond)                                                                               \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			printf("line %d: %s does not hold (errno %d)\n", __LINE__, #cond, errno);  \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

static int make_map(uint32_t type, uint32_t flags)
{
	union bpf_attr a = {.map_type = type,
			    .key_size = 4,
			    .value_size = 8,
			    .max_entries = 64,
			    .map_flags = flags};

	return (int)raw_bpf(BPF_MAP_CREATE, &a, sizeof(a));
}

static long element(int cmd, int fd, uint32_t key, uint64_t *value)
{
	union bpf_attr a = {
		.map_fd = (uint32_t)fd, .key = (uintptr_t)&key, .value = (uintptr_t)value};

	return raw_bpf(cmd, &a, sizeof(a));
}

static uint32_t map_id(uint32_t after)
{
	union bpf_attr a = {.start_id = after};

	return raw_bpf(BPF_MAP_GET_NEXT_ID, &a, sizeof(a)) ? 0 : a.next_id;
}

/* Maps: elements, a real descriptor, shared memory, children, and no leak. */
static int client_maps(void)
{
	uint64_t v = 7, got = 0, *shared;
	int fd = make_map(BPF_MAP_TYPE_HASH, 0), array, copy, status;
	pid_t child;

	EXPECT(fd >= 0);
	EXPECT(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	EXPECT(map_id(0) == 1 && map_id(1) == 0);
	EXPECT(element(BPF_MAP_UPDATE_ELEM, fd, 1, &v) == 0);
	EXPECT(element(BPF_MAP_LOOKUP_ELEM, fd, 1, &got) == 0 && got == 7);
	EXPECT(element(BPF_MAP_LOOKUP_ELEM, fd, 2, &got) == -ENOENT);
	/* A child has the descriptor, and the object stays while it has. */
	child = fork();
	if (child == 0) {
		v = 8;
		_exit(element(BPF_MAP_UPDATE_ELEM, fd, 1, &v) == 0 ? 0 : 1);
	}
	EXPECT(waitpid(child, &status, 0) == child && status == 0);
	EXPECT(element(BPF_MAP_LOOKUP_ELEM, fd, 1, &got) == 0 && got == 8);
	/* A copy holds the object; its number then names another map. */
	copy = dup(fd);
	array = make_map(BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE);
	EXPECT(array >= 0 && map_id(1) == 2);
	EXPECT(dup2(array, fd) == fd);
	v = 9;
	EXPECT(element(BPF_MAP_UPDATE_ELEM, fd, 3, &v) == 0);
	EXPECT(element(BPF_MAP_LOOKUP_ELEM, copy, 1, &got) == 0 && got == 8);
	/* What the array holds is seen through its memory. */
	shared = mmap(NULL, 64 * 8, PROT_READ | PROT_WRITE, MAP_SHARED, array, 0);
	EXPECT(shared != MAP_FAILED && shared[3] == 9);
	shared[4] = 11;
	EXPECT(element(BPF_MAP_LOOKUP_ELEM, array, 4, &got) == 0 && got == 11);
	munmap(shared, 64 * 8);
	close(copy);
	EXPECT(map_id(0) == 2);
	close(fd);
	close(array);
	EXPECT(map_id(0) == 0);
	return 0;
}

/* A program, loaded with a log and run. */
static int client_prog(void)
{
	struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = 42},
		{.code = BPF_JMP | BPF_EXIT},
	};
	char log[4096] = "", packet[64] = "";
	union bpf_attr a = {
		.prog_type = BPF_PROG_TYPE_SCHED_CLS,
		.insns = (uintptr_t)insns,
		.insn_cnt = 2,
		.license = (uintptr_t) "GPL",
		.log_buf = (uintptr_t)log,
		.log_size = sizeof(log),
		.log_level = 2,
	};
	int fd = (int)raw_bpf(BPF_PROG_LOAD, &a, sizeof(a));
	union bpf_attr t = {.test = {.data_in = (uintptr_t)packet, .data_size_in = sizeof(packet)}};

	EXPECT(fd >= 0);
	EXPECT(strstr(log, "0: (b7) r0 = 42"));
	t.test.prog_fd = (uint32_t)fd;
	EXPECT(raw_bpf(BPF_PROG_TEST_RUN, &t, sizeof(t)) == 0 && t.test.retval == 42);
	insns[0] = (struct bpf_insn){.code = BPF_LDX | BPF_MEM | BPF_DW, .src_reg = 2};
	EXPECT(raw_bpf(BPF_PROG_LOAD, &a, sizeof(a)) == -EACCES);
	EXPECT(strstr(log, "R2 !read_ok"));
	return 0;
}

/* What a broken client passes. */
static int client_wild(void)
{
	union bpf_attr a;
	uint64_t v = 1;
	int fd = make_map(BPF_MAP_TYPE_HASH, 0), view;

	EXPECT(raw_bpf(BPF_MAP_CREATE, (union bpf_attr *)8, sizeof(a)) == -EFAULT);
	EXPECT(raw_bpf(BPF_MAP_CREATE, &a, 1u << 20) == -E2BIG);
	EXPECT(raw_bpf(999, &a, sizeof(a)) == -EINVAL);
	EXPECT(element(BPF_MAP_UPDATE_ELEM, 999, 1, &v) == -EBADF);
	EXPECT(element(BPF_MAP_UPDATE_ELEM, 1, 1, &v) == -EINVAL);
	EXPECT(element(BPF_MAP_UPDATE_ELEM, fd, 1, (uint64_t *)16) == -EFAULT);
	EXPECT(element(BPF_MAP_UPDATE_ELEM, fd, 1, &v) == 0);
	EXPECT(element(BPF_MAP_LOOKUP_ELEM, fd, 1, (uint64_t *)-8) == -EFAULT);
	/* The preloaded library's questions, from somebody else. */
	EXPECT(syscall(SYS_bpf, SKEP_ASK_SOURCE, 999L, 0L) == -1 && errno == EPERM);
	EXPECT(syscall(SYS_bpf, SKEP_ASK_SOURCE, -1L, -1L) == -1 && errno == EPERM);
	EXPECT(syscall(SYS_bpf, SKEP_ASK_SOURCE, (long)fd, 0L) == SKEP_ASK_MAP);
	EXPECT(syscall(SYS_bpf, SKEP_ASK_PERF_MAP, (long)fd, -1L) == 0);
	EXPECT(syscall(SYS_bpf, SKEP_ASK_PERF_ENABLE, (long)fd, 1L) == -1 && errno == EINVAL);
	EXPECT(syscall(SYS_bpf, SKEP_ASK_END, (long)fd, 1L) == -1);
	view = (int)syscall(SYS_bpf, SKEP_ASK_BTF, -1L, -1L);
	EXPECT(view >= 0 && write(view, "x", 1) == -1 && ftruncate(view, 0) == -1);
	EXPECT(mmap(NULL, 1, PROT_WRITE, MAP_SHARED, view, 0) == MAP_FAILED && !close(view));
	memset(&a, 0xff, sizeof(a));
	EXPECT(raw_bpf(BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a)) < 0);
	return 0;
}

/* Makes maps and changes them until it is killed. */
static void client_loop(void)
{
	for (uint64_t i = 0;; i++) {
		int fd = make_map(BPF_MAP_TYPE_HASH, 0);

		for (uint64_t k = 0; k < 16; k++)
			element(BPF_MAP_UPDATE_ELEM, fd, (uint32_t)k, &i);
		close(fd);
	}
}

/* Clients that are killed in the middle leave nothing behind and harm nobody. */
static int client_killed(void)
{
	int fd = make_map(BPF_MAP_TYPE_HASH, 0);
	uint64_t v = 5, got;

	EXPECT(element(BPF_MAP_UPDATE_ELEM, fd, 1, &v) == 0);
	for (int i = 0; i < 30; i++) {
		pid_t pids[3];

		for (int c = 0; c < 3; c++) {
			pids[c] = fork();
			if (pids[c] == 0) {
				close(fd);
				client_loop();
			}
		}
		usleep(2000 + (unsigned)(i * 137) % 3000);
		for (int c = 0; c < 3; c++) {
			kill(pids[c], SIGKILL);
			EXPECT(waitpid(pids[c], NULL, 0) == pids[c]);
		}
		EXPECT(element(BPF_MAP_LOOKUP_ELEM, fd, 1, &got) == 0 && got == 5);
	}
	/* The servers may still be about to find out that the last ones died. */
	for (int i = 0; i < 100 && map_id(1); i++)
		usleep(10000);
	EXPECT(map_id(0) == 1 && map_id(1) == 0);
	return 0;
}

#ifdef __x86_64__
static long call_32(long nr, long a, long b, long c)
{
	long r;

	__asm__ volatile("int $0x80"
			 : "=a"(r)
			 : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(-1L), "D"(0L)
			 : "memory", "r8", "r9", "r10", "r11");
	return (int)r;
}

/* System calls of 32-bit programs: 20 is getpid, 357 bpf, 336 perf_event_open. */
static int client_bits32(void)
{
	union bpf_attr *a = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	EXPECT(a != MAP_FAILED);
	EXPECT(call_32(20, 0, 0, 0) == getpid());
	a->map_type = BPF_MAP_TYPE_ARRAY;
	a->key_size = a->value_size = 4;
	a->max_entries = 1;
	EXPECT(call_32(357, BPF_MAP_CREATE, (long)a, sizeof(*a)) >= 0);
	EXPECT(map_id(0) == 1);
	EXPECT(call_32(357, 999, (long)a, sizeof(*a)) == -EINVAL);
	EXPECT(call_32(336, 0, 0, -1) == -EFAULT);
	return 0;
}
#endif

static const struct {
	const char *name;
	int (*run)(void);
} clients[] = {
#ifdef __x86_64__
	{"bits32", client_bits32},
#endif
	{"maps", client_maps},     {"prog", client_prog},
	{"wild", client_wild},     {"killed", client_killed},
};

/* ---- The tests ---- */

static void run_client(const char *name)
{
	const struct cmd_result *r = skep_cmd("exec -- %s --client %s", self, name);

	if (r->status)
		print_error("client %s: exit %d\n%s%s", name, r->status, r->out, r->err);
	assert_int_equal(r->status, 0);
	print_message("ran: exec_clients 1\n");
}

static void test_maps(void **state)
{
	run_client("maps");
}

static void test_prog(void **state)
{
	run_client("prog");
}

static void test_wild(void **state)
{
	run_client("wild");
}

static void test_killed(void **state)
{
	run_client("killed");
}

static void test_bits32(void **state)
{
#ifdef __x86_64__
	pid_t child = fork();
	int status;

	/* Kernels may have no such system calls. */
	if (child == 0)
		_exit(call_32(20, 0, 0, 0) != getpid());
	if (waitpid(child, &status, 0) == child && status == 0) {
		run_client("bits32");
		return;
	}
	print_message("skipped: no 32-bit system calls here\n");
#endif
	skip();
}

static void test_status(void **state)
{
	const char *script = cmd_text("status.sh", "kill -9 $$\n");

	assert_int_equal(skep_cmd("exec -- true")->status, 0);
	assert_int_equal(skep_cmd("exec false")->status, 1);
	assert_int_equal(skep_cmd("exec -- sh %s", script)->status, 128 + SIGKILL);
	assert_int_equal(skep_cmd("exec -- skep-no-such-command")->status, 127);
	assert_int_equal(skep_cmd("exec -- /etc/passwd")->status, 126);
	assert_int_equal(skep_cmd("exec")->status, 2);
	assert_int_equal(skep_cmd("exec --no-such-option true")->status, 2);
	assert_non_null(strstr(skep_cmd("exec --stats -- %s --client prog", self)->err,
			       "3 calls of bpf(2) answered"));
}

/* What a shell with bpftool does on the kernel it does on an instance. */
static void test_bpftool(void **state)
{
	static const char script[] =
		"set -e\n"
		"bpftool prog load $1 /sys/fs/bpf/pass type xdp\n"
		"bpftool prog show name xdp_pass\n"
		"bpftool prog dump xlated name xdp_pass\n"
		"bpftool prog dump jited name xdp_pass >/dev/null || true\n"
		"bpftool map create /sys/fs/bpf/m type hash key 4 value 8 entries 16 name mine\n"
		"bpftool map update name mine key 1 0 0 0 value 2 0 0 0 0 0 0 0\n"
		"bpftool map update pinned /sys/fs/bpf/m key 3 0 0 0 value 4 0 0 0 0 0 0 0\n"
		"bpftool map dump name mine\n"
		"bpftool map delete name mine key 1 0 0 0\n"
		"bpftool map lookup name mine key 3 0 0 0\n"
		"dd if=/dev/zero of=$2 bs=64 count=1 2>/dev/null\n"
		"bpftool prog run pinned /sys/fs/bpf/pass data_in $2\n"
		"bpftool btf show >/dev/null\n"
		"! bpftool map lookup name mine key 1 0 0 0\n";
	const char *sh = cmd_text("bpftool.sh", script), *in = cmd_path("zeros");
	const struct cmd_result *r;
	char object[4096], source[4200];

	if (geteuid() || system("command -v bpftool >/dev/null") != 0) {
		print_message("skipped: bpftool and root are needed\n");
		skip();
	}
	snprintf(object, sizeof(object), "%s", cmd_path("pass.o"));
	snprintf(source, sizeof(source), "%s/examples/xdp_pass.bpf.c", cmd_root());
	r = skep_cmd("exec -- clang -O2 -g -target bpf -I/usr/include/x86_64-linux-gnu -c %s -o %s",
		     source, object);
	assert_int_equal(r->status, 0);
	/* bpftool mounts a bpffs if it finds none: not where others could see it. */
	r = skep_cmd("exec -- unshare -m sh %s %s %s", sh, object, in);
	if (r->status || !strstr(r->out, "Found 2 elements"))
		print_error("exit %d\n%s%s", r->status, r->out, r->err);
	assert_int_equal(r->status, 0);
	assert_non_null(strstr(r->out, "name xdp_pass"));
	assert_non_null(strstr(r->out, "(b7) r0 = 2"));
	assert_non_null(strstr(r->out, "Found 2 elements"));
	assert_non_null(strstr(r->out, "value: 04 00 00 00 00 00 00 00"));
	assert_non_null(strstr(r->out, "Return value: 2"));
	print_message("ran: exec_bpftool 1\n");
}

/* A chroot, in which "/" is no mount, gets its view all the same, and leaves no way out. */
static void test_chroot(void **state)
{
	static const char script[] =
		"set -e\n"
		"skep=$(readlink -f $2) inner='pwd; ls /sys/kernel/tracing; mountpoint /\n"
		"	unshare -m true && ! ls -d /../outside'\n"
		"mount -t tmpfs none $1\n"
		"mkdir -p $1/outside $1/r/tmp $1/r$(dirname $skep)\n"
		"for d in /bin /sbin /lib* /usr /etc /dev /proc /sys $(dirname $skep); do\n"
		"	if [ -L $d ]; then cp -P $d $1/r; continue; fi\n"
		"	mkdir -p $1/r$d && mount --rbind $d $1/r$d\n"
		"done\n"
		"! mountpoint -q $1/r\n"
		"exec chroot $1/r sh -c \"cd /usr && exec $skep exec -- sh -c '$inner'\"\n";
	const char *sh = cmd_text("chroot.sh", script), *dir = cmd_path("chroot");
	char cmd[8192], *out;
	int status;
	size_t len;

	if (geteuid()) {
		print_message("skipped: chroot takes root\n");
		skip();
	}
	assert_int_equal(mkdir(dir, 0755), 0);
	snprintf(cmd, sizeof(cmd), "unshare -m sh %s %s %.*s/../skep >%s/out 2>&1", sh, dir,
		 (int)(strrchr(self, '/') - self), self, cmd_dir());
	status = system(cmd);
	out = slurp(cmd_path("out"), &len);
	if (status)
		print_error("status %d: %s", status, out);
	assert_int_equal(status, 0);
	says(out, "/usr\ntrace_pipe\n/ is a mountpoint\n");
	free(out);
	print_message("ran: exec_chroot 1\n");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_maps),    cmocka_unit_test(test_prog),
		cmocka_unit_test(test_wild),    cmocka_unit_test(test_killed),
		cmocka_unit_test(test_bits32),  cmocka_unit_test(test_status),
		cmocka_unit_test(test_bpftool), cmocka_unit_test(test_chroot),
	};

	for (size_t i = 0; argc == 3 && i < sizeof(clients) / sizeof(clients[0]); i++)
		if (!strcmp(argv[1], "--client") && !strcmp(argv[2], clients[i].name))
			return clients[i].run();
	if (!realpath("/proc/self/exe", self))
		return 1;
	return cmocka_run_group_tests(tests, NULL, cmd_teardown);
}
