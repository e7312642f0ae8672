// SPDX-License-Identifier: Apache-2.0
/*
 * What who may: as root it makes objects and pins, then becomes users with and without capabilities, asks
 * for each thing that bpf(2) does, and prints the answers. Kernels are compared by what it prints.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DIR "/sys/fs/bpf/"

static long bpf(int cmd, union bpf_attr *a)
{
	long r = syscall(SYS_bpf, (long)cmd, a, sizeof(*a));

	return r < 0 ? -errno : r;
}

/* ---- Who ---- */

#define CAP(c) (1ull << CAP_##c)
static const struct who {
	const char *name;
	unsigned uid;
	uint64_t caps;
	unsigned group; /* one more, or 0 */
} whos[] = {
	{"root", 0, ~0ull, 0},
	{"root without capabilities", 0, 0, 0},
	{"bpf", 0, CAP(BPF), 0},
	{"bpf perfmon", 0, CAP(BPF) | CAP(PERFMON), 0},
	{"bpf net_admin", 0, CAP(BPF) | CAP(NET_ADMIN), 0},
	{"net_admin perfmon", 0, CAP(NET_ADMIN) | CAP(PERFMON), 0},
	{"sys_admin", 0, CAP(SYS_ADMIN), 0},
	{"bpf dac_override", 0, CAP(BPF) | CAP(DAC_OVERRIDE), 0},
	{"1000", 1000, 0, 0},
	{"1000 of 2000's", 1000, 0, 2000},
	{"1001", 1001, 0, 0},
	{"1001 bpf", 1001, CAP(BPF), 0},
	{"1001 sys_admin", 1001, CAP(SYS_ADMIN), 0},
	{"1001 dac_override", 1001, CAP(DAC_OVERRIDE), 0},
};

static void become(const struct who *w)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct now[2], data[2];
	gid_t group = w->group;

	if (w->caps == ~0ull)
		return;
	syscall(SYS_capget, &head, now);
	prctl(PR_SET_KEEPCAPS, 1);
	if (setgroups(w->group ? 1 : 0, &group) || setresgid(w->uid, w->uid, w->uid) ||
	    setresuid(w->uid, w->uid, w->uid))
		exit(3);
	for (int i = 0; i < 2; i++) {
		uint32_t caps = (uint32_t)(w->caps >> (32 * i)) & now[i].permitted;

		data[i] = (struct __user_cap_data_struct){caps, caps, 0};
	}
	if (syscall(SYS_capset, &head, data))
		exit(4);
}

/* ---- What there is ---- */

static int map, prog, ro_map;
static struct bpf_insn ret0[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K},
				 {.code = BPF_JMP | BPF_EXIT}};

static long make_map(unsigned type, unsigned key, unsigned value, unsigned entries, unsigned flags)
{
	union bpf_attr a = {.map_type = type,
			    .key_size = key,
			    .value_size = value,
			    .max_entries = entries,
			    .map_flags = flags};

	return bpf(BPF_MAP_CREATE, &a);
}

static long load(unsigned type, unsigned attach)
{
	union bpf_attr a = {.prog_type = type,
			    .expected_attach_type = attach,
			    .insns = (uintptr_t)ret0,
			    .insn_cnt = 2,
			    .license = (uintptr_t) "GPL"};

	return bpf(BPF_PROG_LOAD, &a);
}

static long pin(int fd, const char *path)
{
	union bpf_attr a = {.pathname = (uintptr_t)path, .bpf_fd = (uint32_t)fd};

	return bpf(BPF_OBJ_PIN, &a);
}

static const struct {
	const char *path;
	unsigned mode, uid, gid;
} pins[] = {
	{DIR "root600", 0600, 0, 0},        {DIR "root644", 0644, 0, 0},
	{DIR "root666", 0666, 0, 0},        {DIR "root622", 0622, 0, 0},
	{DIR "own600", 0600, 1000, 1000},   {DIR "own400", 0400, 1000, 1000},
	{DIR "own200", 0200, 1000, 1000},   {DIR "group660", 0660, 0, 2000},
	{DIR "group640", 0640, 0, 2000},    {DIR "group606", 0606, 0, 2000},
	{DIR "closed/root666", 0666, 0, 0}, {DIR "search/root666", 0666, 0, 0},
	{DIR "read/root666", 0666, 0, 0},
};
static const struct {
	const char *path;
	unsigned mode, uid;
} dirs[] = {
	{DIR "closed", 0700, 0}, {DIR "search", 0711, 0},  {DIR "read", 0744, 0},
	{DIR "open", 0777, 0},   {DIR "sticky", 01777, 0}, {DIR "own", 0700, 1000},
};
#define N(a) (sizeof(a) / sizeof((a)[0]))

static int prepare(void)
{
	map = (int)make_map(BPF_MAP_TYPE_ARRAY, 4, 8, 4, 0);
	ro_map = (int)make_map(BPF_MAP_TYPE_ARRAY, 4, 8, 4, BPF_F_RDONLY);
	prog = (int)load(BPF_PROG_TYPE_SOCKET_FILTER, 0);
	if (map < 0 || prog < 0 || ro_map < 0 || chmod(DIR, 0755))
		return -1;
	for (size_t i = 0; i < N(dirs); i++)
		if (mkdir(dirs[i].path, 0700))
			return -1;
	for (size_t i = 0; i < N(pins); i++)
		if (pin(map, pins[i].path) || chown(pins[i].path, pins[i].uid, pins[i].gid) ||
		    chmod(pins[i].path, pins[i].mode))
			return -1;
	for (size_t i = 0; i < N(dirs); i++)
		if (chown(dirs[i].path, dirs[i].uid, dirs[i].uid) ||
		    chmod(dirs[i].path, dirs[i].mode))
			return -1;
	return 0;
}

/* ---- What is asked ---- */

static void say(const struct who *w, const char *what, const char *more, long r)
{
	printf("%s: %s%s: %s\n", w->name, what, more, r < 0 ? strerrorname_np((int)-r) : "yes");
	if (r > 2)
		close((int)r);
}

/* Only whether it is for others: types may be missing. */
static void say_perm(const struct who *w, const char *what, unsigned n, long r)
{
	printf("%s: %s %u: %s\n", w->name, what, n, r == -EPERM ? "EPERM" : "not EPERM");
	if (r > 2)
		close((int)r);
}

static void ask_makes(const struct who *w)
{
	static const struct {
		unsigned type, key, value, entries, flags;
	} types[] = {
		{BPF_MAP_TYPE_HASH, 4, 4, 1, 0},
		{BPF_MAP_TYPE_ARRAY, 4, 4, 1, 0},
		{BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 1, 0},
		{BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 1, 0},
		{BPF_MAP_TYPE_PERCPU_HASH, 4, 4, 1, 0},
		{BPF_MAP_TYPE_PERCPU_ARRAY, 4, 4, 1, 0},
		{BPF_MAP_TYPE_STACK_TRACE, 4, 8, 1, 0},
		{BPF_MAP_TYPE_CGROUP_ARRAY, 4, 4, 1, 0},
		{BPF_MAP_TYPE_LRU_HASH, 4, 4, 1, 0},
		{BPF_MAP_TYPE_LRU_PERCPU_HASH, 4, 4, 1, 0},
		{BPF_MAP_TYPE_LPM_TRIE, 8, 4, 1, BPF_F_NO_PREALLOC},
		{BPF_MAP_TYPE_DEVMAP, 4, 4, 1, 0},
		{BPF_MAP_TYPE_SOCKMAP, 4, 4, 1, 0},
		{BPF_MAP_TYPE_CPUMAP, 4, 4, 1, 0},
		{BPF_MAP_TYPE_SOCKHASH, 4, 4, 1, 0},
		{BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, 4, 4, 1, 0},
		{BPF_MAP_TYPE_QUEUE, 0, 4, 1, 0},
		{BPF_MAP_TYPE_STACK, 0, 4, 1, 0},
		{BPF_MAP_TYPE_DEVMAP_HASH, 4, 4, 1, 0},
		{BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0},
		{BPF_MAP_TYPE_BLOOM_FILTER, 0, 4, 1, 0},
		{BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 4096, 0},
	};
	/* Without it /proc/sys/kernel/unprivileged_bpf_disabled says what these may. */
	uint64_t any = CAP(BPF) | CAP(SYS_ADMIN);

	if (!(w->caps & any))
		return;
	for (size_t i = 0; i < N(types); i++)
		say_perm(w, "map", types[i].type,
			 make_map(types[i].type, types[i].key, types[i].value, types[i].entries,
				  types[i].flags));
	for (unsigned i = 1; i <= 32; i++)
		say_perm(w, "prog", i, load(i, 0));
}

static void ask_ids(const struct who *w)
{
	static const struct {
		const char *name;
		int next, by_id;
	} kinds[] = {
		{"prog", BPF_PROG_GET_NEXT_ID, BPF_PROG_GET_FD_BY_ID},
		{"map", BPF_MAP_GET_NEXT_ID, BPF_MAP_GET_FD_BY_ID},
		{"btf", BPF_BTF_GET_NEXT_ID, BPF_BTF_GET_FD_BY_ID},
		{"link", BPF_LINK_GET_NEXT_ID, BPF_LINK_GET_FD_BY_ID},
	};
	static const uint32_t flags[] = {0, BPF_F_RDONLY, BPF_F_WRONLY, 1};

	for (size_t i = 0; i < N(kinds); i++) {
		union bpf_attr a = {.start_id = 0};

		say_perm(w, kinds[i].name, 0, bpf(kinds[i].next, &a));
		/* None has that one. */
		a = (union bpf_attr){.prog_id = 0x7ffffff0};
		say(w, kinds[i].name, " by id", bpf(kinds[i].by_id, &a));
	}
	for (size_t i = 0; i < N(flags); i++) {
		struct bpf_map_info info = {0};
		union bpf_attr a = {.info = {.bpf_fd = (uint32_t)map,
					     .info_len = sizeof(info),
					     .info = (uintptr_t)&info}};

		say(w, "info", " of the map", bpf(BPF_OBJ_GET_INFO_BY_FD, &a));
		a = (union bpf_attr){.map_id = info.id, .open_flags = flags[i]};
		printf("%u ", flags[i]);
		say(w, "map", " by its id", bpf(BPF_MAP_GET_FD_BY_ID, &a));
	}
}

static void ask_rest(const struct who *w)
{
	char junk[64] = "";
	struct bpf_prog_info info = {0};
	union bpf_attr a = {.btf = (uintptr_t)junk, .btf_size = sizeof(junk)};
	uint32_t key = 1;
	uint64_t value = w->uid;

	say(w, "btf", "", bpf(BPF_BTF_LOAD, &a));
	a = (union bpf_attr){.enable_stats = {.type = BPF_STATS_RUN_TIME}};
	say(w, "stats", "", bpf(BPF_ENABLE_STATS, &a));
	a = (union bpf_attr){.task_fd_query = {.pid = (uint32_t)getpid(), .fd = 9999}};
	say(w, "task_fd_query", "", bpf(BPF_TASK_FD_QUERY, &a));
	a = (union bpf_attr){.query = {.target_fd = 9999, .attach_type = BPF_CGROUP_INET_INGRESS}};
	say(w, "query", "", bpf(BPF_PROG_QUERY, &a));
	a = (union bpf_attr){
		.map_fd = (uint32_t)map, .key = (uintptr_t)&key, .value = (uintptr_t)&value};
	say(w, "update", "", bpf(BPF_MAP_UPDATE_ELEM, &a));
	say(w, "lookup", "", bpf(BPF_MAP_LOOKUP_ELEM, &a));
	a.map_fd = (uint32_t)ro_map;
	say(w, "update", " of a read-only handle", bpf(BPF_MAP_UPDATE_ELEM, &a));
	a = (union bpf_attr){.info = {.bpf_fd = (uint32_t)prog,
				      .info_len = sizeof(info),
				      .info = (uintptr_t)&info}};
	say(w, "info", " of the program", bpf(BPF_OBJ_GET_INFO_BY_FD, &a));
	printf("%s: instructions %s, made by %u\n", w->name,
	       info.xlated_prog_len ? "shown" : "hidden", info.created_by_uid);
	a = (union bpf_attr){
		.prog_bind_map = {.prog_fd = (uint32_t)prog, .map_fd = (uint32_t)ro_map}};
	say(w, "bind", "", bpf(BPF_PROG_BIND_MAP, &a));
	a = (union bpf_attr){.test = {.prog_fd = (uint32_t)prog,
				      .data_size_in = sizeof(junk),
				      .data_in = (uintptr_t)junk}};
	say(w, "run", "", bpf(BPF_PROG_TEST_RUN, &a));
	if (w->caps & (CAP(BPF) | CAP(SYS_ADMIN))) {
		int own = (int)load(BPF_PROG_TYPE_SOCKET_FILTER, 0);

		memset(&info, 0, sizeof(info));
		a = (union bpf_attr){.info = {.bpf_fd = (uint32_t)own,
					      .info_len = sizeof(info),
					      .info = (uintptr_t)&info}};
		say(w, "info", " of its own", bpf(BPF_OBJ_GET_INFO_BY_FD, &a));
		printf("%s: its own is made by %u\n", w->name, info.created_by_uid);
		close(own);
	}
}

static void ask_pins(const struct who *w)
{
	static const uint32_t flags[] = {0, BPF_F_RDONLY, BPF_F_WRONLY};
	static const char *const names[] = {"open/one",   "closed/one", "search/one", "read/one",
					    "sticky/one", "own/one",    "one",        "open/a.b",
					    "closed/a.b", "search/a.b", "read/a.b",   "root600"};

	for (size_t i = 0; i < N(pins); i++)
		for (size_t k = 0; k < N(flags); k++) {
			union bpf_attr a = {.pathname = (uintptr_t)pins[i].path,
					    .file_flags = flags[k]};
			long fd = bpf(BPF_OBJ_GET, &a);
			uint32_t key = 0;
			uint64_t v = 1;
			union bpf_attr e = {.map_fd = (uint32_t)fd,
					    .key = (uintptr_t)&key,
					    .value = (uintptr_t)&v};

			if (fd >= 0) {
				say(w, "lookup", " by pin", bpf(BPF_MAP_LOOKUP_ELEM, &e));
				say(w, "update", " by pin", bpf(BPF_MAP_UPDATE_ELEM, &e));
			}
			printf("%u ", flags[k]);
			say(w, "get ", pins[i].path, fd);
		}
	for (size_t i = 0; i < N(names); i++) {
		char path[64];
		struct stat st;
		long r;

		snprintf(path, sizeof(path), DIR "%s", names[i]);
		r = pin(map, path);
		say(w, "pin ", path, r);
		if (!r && !stat(path, &st))
			printf("%s: mode %o of %u %u\n", w->name, st.st_mode, st.st_uid, st.st_gid);
		if (!r)
			unlink(path);
	}
}

int main(void)
{
	if (prepare()) {
		fprintf(stderr, "can't prepare: %s\n", strerror(errno));
		return 2;
	}
	for (size_t i = 0; i < N(whos); i++) {
		int status;
		pid_t pid;

		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			become(&whos[i]);
			ask_makes(&whos[i]);
			ask_ids(&whos[i]);
			ask_rest(&whos[i]);
			ask_pins(&whos[i]);
			fflush(stdout);
			_exit(0);
		}
		if (waitpid(pid, &status, 0) != pid || status)
			return 5;
	}
	return 0;
}
