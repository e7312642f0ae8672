/* SPDX-License-Identifier: Apache-2.0 */
/*
 * skep serve, skep exec --name and --join: several clients on one instance, and who of them ends how. This
 * program is the client too (with --client), by raw system calls.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf/uapi.h"
#include "client/ask.h"
#include "cmd.h"
#include "scale.h"

static char self[4096];

/* ---- The client ---- */

static long raw_bpf(int cmd, union bpf_attr *a)
{
	long r = syscall(SYS_bpf, (long)cmd, a, (long)sizeof(*a));

	return r < 0 ? -errno : r;
}

#define EXPECT(cond)                                                                               \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			printf("line %d: %s does not hold (errno %d)\n", __LINE__, #cond, errno);  \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

static int make_map(void)
{
	union bpf_attr a = {
		.map_type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 8, .max_entries = 64};

	return (int)raw_bpf(BPF_MAP_CREATE, &a);
}

static long element(int cmd, int fd, uint32_t key, uint64_t *value)
{
	union bpf_attr a = {
		.map_fd = (uint32_t)fd, .key = (uintptr_t)&key, .value = (uintptr_t)value};

	return raw_bpf(cmd, &a);
}

static uint32_t map_id(uint32_t after)
{
	union bpf_attr a = {.start_id = after};

	return raw_bpf(BPF_MAP_GET_NEXT_ID, &a) ? 0 : a.next_id;
}

static int map_by_id(uint32_t id)
{
	union bpf_attr a = {.map_id = id};

	return (int)raw_bpf(BPF_MAP_GET_FD_BY_ID, &a);
}

/* Says that it is there, and its number, by a file that the test waits for. */
static void say(const char *name)
{
	const char *dir = getenv("SERVE_TEST_DIR");
	char made[4200], path[4200];
	FILE *f;

	snprintf(made, sizeof(made), "%s/.%s", dir, name);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(made, "we");
	if (!f)
		return;
	fprintf(f, "%d", (int)getpid());
	fclose(f);
	rename(made, path);
}

/* Makes a map, and counts in it as long as nothing is wrong. */
static int client_count(void)
{
	int fd = make_map();
	uint64_t v = 0, got;

	EXPECT(fd >= 0);
	say("counting");
	for (;;) {
		int other = make_map();

		EXPECT(other >= 0);
		v++;
		EXPECT(element(BPF_MAP_UPDATE_ELEM, fd, 1, &v) == 0);
		EXPECT(element(BPF_MAP_LOOKUP_ELEM, fd, 1, &got) == 0 && got == v);
		close(other);
	}
}

/* The same until nobody answers any more. */
static long until_error(void)
{
	uint64_t v = 0;

	for (;;) {
		int fd = make_map();
		long r = fd < 0 ? fd : element(BPF_MAP_UPDATE_ELEM, fd, 1, &v);

		if (r)
			return r;
		close(fd);
	}
}

static void *spin(void *result)
{
	*(long *)result = until_error();
	return NULL;
}

/* Threads and children that are in the middle of calls when the server ends: all of them are told, and
 * so is who asks later. The exit status says what. */
static int client_orphan(void)
{
	pthread_t t[3];
	long got[3];
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit((int)-until_error());
	for (int i = 0; i < 3; i++)
		EXPECT(!pthread_create(&t[i], NULL, spin, &got[i]));
	say("spinning");
	for (int i = 0; i < 3; i++) {
		EXPECT(!pthread_join(t[i], NULL));
		EXPECT(got[i] == -ENOTCONN);
	}
	EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status));
	EXPECT(WEXITSTATUS(status) == ENOTCONN);
	EXPECT(make_map() == -ENOTCONN);
	/* What was never the instance's works. */
	EXPECT(!access("/proc/self/stat", R_OK));
	return 0;
}

/* Finds what another client made, by its id, and changes it. */
static int client_other(void)
{
	int fd = map_by_id(map_id(0));
	uint64_t v = 77;

	EXPECT(fd >= 0);
	EXPECT(element(BPF_MAP_UPDATE_ELEM, fd, 2, &v) == 0);
	return 0;
}

/* Holds a map until it finds the other client's value in it. */
static int client_hold(void)
{
	int fd = make_map();
	uint64_t got = 0;

	EXPECT(fd >= 0);
	say("holding");
	for (int i = 0; i < 1000 && element(BPF_MAP_LOOKUP_ELEM, fd, 2, &got); i++)
		usleep(10000);
	EXPECT(got == 77);
	return 0;
}

#define SHOWN "/sys/fs/bpf/shown"

/* Shows others a map, for reading, and waits until somebody has looked. */
static int client_owner(void)
{
	int fd = make_map();
	union bpf_attr a = {.pathname = (uintptr_t)SHOWN, .bpf_fd = (uint32_t)fd};
	uint64_t v = 5;

	EXPECT(fd >= 0 && element(BPF_MAP_UPDATE_ELEM, fd, 1, &v) == 0);
	EXPECT(raw_bpf(BPF_OBJ_PIN, &a) == 0);
	EXPECT(!chmod(SHOWN, 0644) && !chmod("/sys/fs/bpf", 0755));
	say("shown");
	for (int i = 0; i < 1000 && !access(SHOWN, F_OK); i++)
		usleep(10000);
	EXPECT(element(BPF_MAP_LOOKUP_ELEM, fd, 1, &v) == 0 && v == 5);
	return 0;
}

static long ask(int question, long a, const void *b)
{
	long r = syscall(SYS_bpf, (long)question, a, b);

	return r < 0 ? -errno : r;
}

/* Another user, who may read that map and no more, by whatever way. */
static int client_stranger(void)
{
	union bpf_attr get = {.pathname = (uintptr_t)SHOWN, .file_flags = BPF_F_RDONLY};
	union bpf_attr all = {.pathname = (uintptr_t)SHOWN};
	int fd = (int)raw_bpf(BPF_OBJ_GET, &get), own = make_map();
	struct skep_ask_direct direct;
	char path[64];
	struct stat st;
	uint64_t v = 6;

	EXPECT(geteuid() && fd >= 0 && own >= 0);
	EXPECT(element(BPF_MAP_LOOKUP_ELEM, fd, 1, &v) == 0 && v == 5);
	EXPECT(element(BPF_MAP_UPDATE_ELEM, fd, 1, &v) == -EPERM);
	EXPECT(raw_bpf(BPF_OBJ_GET, &all) == -EACCES);
	EXPECT(map_by_id(1) == -EPERM && !map_id(0));
	/* Its memory neither. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	EXPECT(open(path, O_RDWR) == -1 && errno == EACCES);
	EXPECT(fchmod(fd, 0666) == -1 && errno == EPERM);
	EXPECT(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EACCES);
	EXPECT(ask(SKEP_ASK_PARTS, 0, NULL) == -EPERM);
	for (int i = 0; i < 2; i++) {
		EXPECT(ask(SKEP_ASK_DIRECT, i ? own : fd, &direct) == -EPERM);
		for (long id = 1; id < 4; id++)
			EXPECT(ask(SKEP_ASK_CONTROL, i ? own : fd, (void *)id) == -EPERM);
	}
	EXPECT(ask(SKEP_ASK_XDP, 1, NULL) == -EPERM);
	/* What it makes is its own. */
	EXPECT(!fstat(own, &st) && st.st_uid == geteuid() && (st.st_mode & 0777) == 0600);
	EXPECT(element(BPF_MAP_UPDATE_ELEM, own, 1, &v) == 0);
	/* A file that only root may enter tells it nothing. */
	EXPECT(statfs("/sys/kernel/tracing/trace_pipe", &(struct statfs){0}) == -1 &&
	       errno == EACCES);
	EXPECT(unlink(SHOWN) == -1);
	say("looked");
	return 0;
}

/* Root in a user namespace of its own has all capabilities there, and none that counts. */
static int client_inner(void)
{
	union bpf_attr a = {.start_id = 0};
	int fd = make_map();

	EXPECT(!geteuid() && fd >= 0);
	EXPECT(raw_bpf(BPF_MAP_GET_NEXT_ID, &a) == -EPERM && map_by_id(1) == -EPERM);
	a = (union bpf_attr){.map_type = BPF_MAP_TYPE_LRU_HASH,
			     .key_size = 4,
			     .value_size = 4,
			     .max_entries = 1};
	EXPECT(raw_bpf(BPF_MAP_CREATE, &a) == -EPERM);
	return 0;
}

static const struct {
	const char *name;
	int (*run)(void);
} clients[] = {
	{"inner", client_inner}, {"owner", client_owner},   {"stranger", client_stranger},
	{"count", client_count}, {"orphan", client_orphan}, {"other", client_other},
	{"hold", client_hold},
};

/* ---- The test's side ---- */

/* The client's number. */
static pid_t wait_for_client(const char *name)
{
	char path[4200];
	FILE *f = NULL;
	int pid;

	snprintf(path, sizeof(path), "%s/%s", cmd_dir(), name);
	for (int i = 0; i < 4000 && !f; i++) {
		f = fopen(path, "re");
		if (!f)
			usleep(5000);
	}
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", &pid), 1);
	fclose(f);
	unlink(path);
	return pid;
}

static int wait_for(pid_t pid)
{
	int status;

	/* A hang is a failure, not a test that never ends. */
	for (int i = 0; i < 6000; i++) {
		pid_t got = waitpid(pid, &status, WNOHANG);

		if (got == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		usleep(5000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	fail_msg("process %d does not end", (int)pid);
	return -1;
}

static double listed(const char *name, const char *what)
{
	const struct cmd_result *r = skep_cmd("serve --list --json");
	const struct json_value *v;
	char path[64];

	assert_int_equal(r->status, 0);
	v = json_parse(r->out);
	for (size_t i = 0; i < json_count(v, ""); i++) {
		snprintf(path, sizeof(path), "%zu.name", i);
		if (strcmp(json_string(v, path), name) != 0)
			continue;
		snprintf(path, sizeof(path), "%zu.%s", i, what);
		return json_number(v, path);
	}
	return -1;
}

static pid_t serve(const char *name)
{
	pid_t pid = skep_start("serve %s", name);

	for (int i = 0; i < 1000 && listed(name, "pid") != pid; i++)
		usleep(5000);
	assert_true(listed(name, "pid") == pid);
	return pid;
}

static void end(pid_t server)
{
	kill(server, SIGTERM);
	assert_int_equal(wait_for(server), 0);
}

static void expect(const struct cmd_result *r, int status)
{
	if (r->status != status)
		print_error("exit %d\n%s%s", r->status, r->out, r->err);
	assert_int_equal(r->status, status);
}

/* Objects, descriptors and threads of a server settle when its clients have gone. */
static unsigned entries(pid_t pid, const char *what)
{
	char path[64];
	unsigned n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "ls /proc/%d/%s | wc -l", (int)pid, what);
	f = popen(path, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%u", &n), 1);
	pclose(f);
	return n;
}

static void test_join(void **state)
{
	pid_t server = serve("one"), other;
	const struct cmd_result *r;

	assert_true(listed("one", "clients") == 0);
	other = skep_start("exec --join one -- %s --client hold", self);
	wait_for_client("holding");
	assert_true(listed("one", "clients") == 1);
	assert_true(listed("one", "maps") == 1);
	expect(skep_cmd("exec --join one -- %s --client other", self), 0);
	assert_int_equal(wait_for(other), 0);
	for (int i = 0; i < 400 && listed("one", "maps") + listed("one", "clients") > 0; i++)
		usleep(10000);
	assert_true(listed("one", "maps") == 0);
	assert_true(listed("one", "clients") == 0);
	/* Statuses are the command's. */
	expect(skep_cmd("exec --join one -- false"), 1);
	expect(skep_cmd("exec --join one -- skep-no-such-command"), 127);
	/* Wrong names. */
	r = skep_cmd("serve one");
	expect(r, 1);
	assert_non_null(strstr(r->err, "there is an instance called \"one\" already"));
	r = skep_cmd("exec --join two -- true");
	expect(r, 1);
	assert_non_null(strstr(r->err, "no instance is called \"two\""));
	assert_non_null(strstr(r->err, "There are: one."));
	expect(skep_cmd("exec --join ../one -- true"), 1);
	expect(skep_cmd("serve .hidden"), 1);
	expect(skep_cmd("exec --join one --name two -- true"), 2);
	expect(skep_cmd("exec --join one --interpret -- true"), 2);
	expect(skep_cmd("serve"), 2);
	expect(skep_cmd("serve --json one"), 2);
	expect(skep_cmd("serve --list one"), 2);
	end(server);
	r = skep_cmd("exec --join one -- true");
	expect(r, 1);
	assert_non_null(strstr(r->err, "There is none"));
	print_message("ran: serve 1\n");
}

/* A name whose process was killed is free; a name that is given back leaves no file. */
static void test_stale(void **state)
{
	pid_t server = serve("stale");
	char path[4200];
	struct stat st;

	kill(server, SIGKILL);
	assert_int_equal(wait_for(server), 128 + SIGKILL);
	snprintf(path, sizeof(path), "%s/skep/stale", cmd_dir());
	assert_int_equal(stat(path, &st), 0);
	assert_true(listed("stale", "pid") == -1);
	server = serve("stale");
	expect(skep_cmd("exec --join stale -- true"), 0);
	end(server);
	assert_int_equal(stat(path, &st), -1);
	print_message("ran: serve 1\n");
}

/* Directories that others may write, or that are others', hold no names. */
static void test_directory(void **state)
{
	char path[4200];
	const struct cmd_result *r;

	snprintf(path, sizeof(path), "%s/skep", cmd_dir());
	mkdir(path, 0700);
	assert_int_equal(chmod(path, 0777), 0);
	r = skep_cmd("serve open");
	expect(r, 1);
	assert_non_null(strstr(r->err, "is open to others"));
	if (!geteuid()) {
		assert_int_equal(chmod(path, 0700) | chown(path, 12345, 12345), 0);
		r = skep_cmd("exec --join open -- true");
		expect(r, 1);
		assert_non_null(strstr(r->err, "is user 12345's, and its instances are not for "
					       "others"));
		assert_int_equal(chown(path, 0, 0), 0);
	}
	assert_int_equal(chmod(path, 0700), 0);
	print_message("ran: serve 1\n");
}

/* An instance of exec is joined as well, and stays for who joined it. */
static void test_named(void **state)
{
	pid_t first = skep_start("exec --name named -- %s --client hold", self), second, client;

	wait_for_client("holding");
	assert_true(listed("named", "clients") == 1);
	second = skep_start("exec --join named -- %s --client count", self);
	client = wait_for_client("counting");
	assert_true(listed("named", "clients") == 2);
	expect(skep_cmd("exec --name named -- true"), 1);
	expect(skep_cmd("exec --join named -- %s --client other", self), 0);
	usleep(100000);
	/* Its command has ended, but not who joined. */
	assert_int_equal(waitpid(first, NULL, WNOHANG), 0);
	assert_true(listed("named", "clients") >= 1);
	kill(client, SIGKILL);
	assert_int_equal(wait_for(second), 128 + SIGKILL);
	assert_int_equal(wait_for(first), 0);
	assert_true(listed("named", "clients") == -1);
	print_message("ran: serve 1\n");
}

/* Clients that are killed in the middle of calls: another one, which counts on, sees nothing of it, and
 * nothing of theirs is left. */
static void test_client_killed(void **state)
{
	pid_t server = serve("kills"), steady, counts;
	unsigned fds, tasks, n = (unsigned)scaled(20);

	steady = skep_start("exec --join kills -- %s --client count", self);
	counts = wait_for_client("counting");
	fds = entries(server, "fd");
	tasks = entries(server, "task");
	for (unsigned i = 0; i < n; i++) {
		pid_t joined = skep_start("exec --join kills -- %s --client count", self);
		pid_t client = wait_for_client("counting");

		usleep(i * 137 % 3000);
		kill(client, SIGKILL);
		assert_int_equal(wait_for(joined), 128 + SIGKILL);
		assert_int_equal(waitpid(steady, NULL, WNOHANG), 0);
	}
	for (int i = 0; i < 400 && listed("kills", "clients") > 1; i++)
		usleep(10000);
	assert_true(listed("kills", "clients") == 1);
	assert_int_equal(kill(counts, SIGKILL), 0);
	assert_int_equal(wait_for(steady), 128 + SIGKILL);
	for (int i = 0; i < 400 && listed("kills", "maps") > 0; i++)
		usleep(10000);
	assert_true(listed("kills", "maps") == 0);
	/* Less than with the one that counted. */
	assert_true(entries(server, "fd") <= fds);
	assert_true(entries(server, "task") < tasks);
	end(server);
	print_message("ran: serve_client_killed %u\n", n);
}

/* The server is killed, or told to end, while clients are in the middle of calls: each call ends, with
 * ENOTCONN from then on. */
static void test_server_ends(void **state)
{
	unsigned n = (unsigned)scaled(20);

	for (unsigned i = 0; i < n; i++) {
		pid_t server = serve("ends");
		pid_t joined = skep_start("exec --join ends -- %s --client orphan", self);
		bool kind = i % 4 == 3;

		wait_for_client("spinning");
		usleep(i * 733 % 20000);
		kill(server, kind ? SIGTERM : SIGKILL);
		assert_int_equal(wait_for(joined), 0);
		assert_int_equal(wait_for(server), kind ? 0 : 128 + SIGKILL);
	}
	print_message("ran: serve_server_ends %u\n", n);
}

/* Who joined is killed: its command is the server's client still. */
static void test_joiner_killed(void **state)
{
	pid_t server = serve("joiner"), client;
	pid_t joined = skep_start("exec --join joiner -- %s --client hold", self);

	client = wait_for_client("holding");
	kill(joined, SIGKILL);
	assert_int_equal(wait_for(joined), 128 + SIGKILL);
	assert_true(listed("joiner", "clients") == 1);
	assert_int_equal(kill(client, 0), 0);
	expect(skep_cmd("exec --join joiner -- %s --client other", self), 0);
	/* The filter goes before its processes' descriptors do. */
	for (int i = 0; i < 400 && listed("joiner", "clients") + listed("joiner", "maps") > 0; i++)
		usleep(10000);
	assert_true(listed("joiner", "clients") == 0);
	assert_true(listed("joiner", "maps") == 0);
	end(server);
	print_message("ran: serve 1\n");
}

/* Two users on one instance. */
static void test_owners(void **state)
{
	pid_t server, owner;

	if (geteuid() || system("command -v setpriv >/dev/null")) {
		print_message("skipped: root and setpriv are needed\n");
		skip();
	}
	server = serve("owners");
	owner = skep_start("exec --join owners -- %s --client owner", self);
	wait_for_client("shown");
	/* With the preloaded library, and without it. */
	chmod(cmd_dir(), 0777);
	for (int i = 0; i < 2; i++) {
		expect(skep_cmd(i ? "exec --no-preload --join owners -- setpriv --reuid=1000 "
				    "--regid=1000 --clear-groups %s --client stranger"
				  : "exec --join owners -- setpriv --reuid=1000 --regid=1000 "
				    "--clear-groups %s --client stranger",
				self),
		       0);
		wait_for_client("looked");
	}
	if (!system("unshare -r true 2>/dev/null"))
		expect(skep_cmd("exec --join owners -- unshare -r %s --client inner", self), 0);
	expect(skep_cmd("exec --join owners -- rm /sys/fs/bpf/shown"), 0);
	assert_int_equal(wait_for(owner), 0);
	end(server);
	print_message("ran: serve 1\n");
}

static int setup(void **state)
{
	setenv("XDG_RUNTIME_DIR", cmd_dir(), 1);
	setenv("SERVE_TEST_DIR", cmd_dir(), 1);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_join),          cmocka_unit_test(test_stale),
		cmocka_unit_test(test_directory),     cmocka_unit_test(test_named),
		cmocka_unit_test(test_joiner_killed), cmocka_unit_test(test_owners),
		cmocka_unit_test(test_client_killed), cmocka_unit_test(test_server_ends),
	};

	for (size_t i = 0; argc == 3 && i < sizeof(clients) / sizeof(clients[0]); i++)
		if (!strcmp(argv[1], "--client") && !strcmp(argv[2], clients[i].name))
			return clients[i].run();
	if (!realpath("/proc/self/exe", self))
		return 1;
	return cmocka_run_group_tests(tests, setup, cmd_teardown);
}
