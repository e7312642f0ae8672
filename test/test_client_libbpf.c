/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libbpf, unmodified, on an instance: what clients do with it that the command does not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/compile.h"
#include "client/libbpf.h"
#include "client/object.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd.h"

static const char source[] =
	"#include \"vmlinux.h\"\n"
	"#include <bpf/bpf_helpers.h>\n"
	"#include <bpf/bpf_core_read.h>\n"
	"struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, __u64);\n"
	"	__uint(max_entries, 16); __uint(pinning, LIBBPF_PIN_BY_NAME); } counts "
	"SEC(\".maps\");\n"
	"extern int LINUX_KERNEL_VERSION __kconfig;\n"
	"const volatile __u32 step = 1;\n"
	"__u64 sum, version, offset;\n"
	"SEC(\"xdp\") int add(struct xdp_md *ctx)\n"
	"{\n"
	"	__u32 key = ctx->data_end - ctx->data;\n"
	"	__u64 one = 1, *n = bpf_map_lookup_elem(&counts, &key);\n"
	"	if (n) __sync_fetch_and_add(n, 1);\n"
	"	else bpf_map_update_elem(&counts, &key, &one, BPF_ANY);\n"
	"	__sync_fetch_and_add(&sum, step);\n"
	"	version = LINUX_KERNEL_VERSION;\n"
	"	offset = bpf_core_field_offset(struct task_struct, pid);\n"
	"	return XDP_PASS;\n"
	"}\n"
	"char _license[] SEC(\"license\") = \"GPL\";\n";

static struct skep *skep;
static struct skep_compiled compiled;

static int setup(void **state)
{
	const struct skep_compile_opts opts = {.cc = NULL};
	struct skep_error err;

	if (skep_compile(cmd_text("client.bpf.c", source), &opts, &compiled, &err)) {
		printf("%s\n%s", err.what, compiled.diagnostics ? compiled.diagnostics : "");
		return -1;
	}
	return skep_open(&skep, NULL);
}

static int teardown(void **state)
{
	skep_compiled_free(&compiled);
	skep_close(skep);
	cmd_cleanup();
	return 0;
}

static struct bpf_object *open_object(void)
{
	struct skep_error err;
	struct bpf_object *obj;

	if (skep_client_open(&obj, compiled.image, compiled.size, "client", &err))
		fail_msg("%s", err.what);
	return obj;
}

/* Where a global variable lies in its section. */
static uint32_t variable(struct bpf_object *obj, const char *section, const char *name)
{
	const struct btf *btf = bpf_object__btf(obj);
	int id = btf__find_by_name_kind(btf, section, BTF_KIND_DATASEC);
	const struct btf_type *t;

	assert_true(id > 0);
	t = btf__type_by_id(btf, (uint32_t)id);
	for (uint32_t i = 0; i < btf_vlen(t); i++) {
		const struct btf_var_secinfo *v = btf_var_secinfos(t) + i;
		const struct btf_type *var = btf__type_by_id(btf, v->type);

		if (!strcmp(btf__name_by_offset(btf, var->name_off), name))
			return v->offset;
	}
	fail_msg("no variable %s", name);
	return 0;
}

static struct bpf_map *section_map(struct bpf_object *obj, const char *section)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj)
	{
		const char *dot = strchr(bpf_map__name(map), '.');

		if (dot && !strcmp(dot, section))
			return map;
	}
	fail_msg("no section %s", section);
	return NULL;
}

/* As a skeleton does after loading. */
static uint8_t *map_section(struct bpf_object *obj, const char *section, int prot)
{
	void *p = mmap64(NULL, 4096, prot, MAP_SHARED, bpf_map__fd(section_map(obj, section)), 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

/* As a skeleton does: constants set before loading, variables read through the mapping. */
static void test_global_data(void **state)
{
	struct skep *was = skep_client_enter(skep);
	struct bpf_object *obj = open_object();
	uint8_t packet[64] = {0}, *bss, *ro;
	size_t size;
	uint64_t sum, version, offset;
	uint32_t step = 5, key = sizeof(packet);
	uint64_t n;
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = packet, .data_size_in = sizeof(packet),
		    .repeat = 3);

	ro = (uint8_t *)(uintptr_t)bpf_map__initial_value(section_map(obj, ".rodata"), &size);
	memcpy(ro + variable(obj, ".rodata", "step"), &step, sizeof(step));
	assert_int_equal(bpf_object__load(obj), 0);
	bss = map_section(obj, ".bss", PROT_READ | PROT_WRITE);
	assert_int_equal(
		bpf_prog_test_run_opts(
			bpf_program__fd(bpf_object__find_program_by_name(obj, "add")), &run),
		0);
	assert_int_equal(run.retval, XDP_PASS);
	memcpy(&sum, bss + variable(obj, ".bss", "sum"), 8);
	memcpy(&version, bss + variable(obj, ".bss", "version"), 8);
	memcpy(&offset, bss + variable(obj, ".bss", "offset"), 8);
	assert_int_equal(sum, 3 * 5);
	/* What the instance presents: its version, its types. */
	assert_int_equal(version, 6 << 16 | 18 << 8);
	assert_true(offset > 0);
	assert_int_equal(bpf_map__lookup_elem(bpf_object__find_map_by_name(obj, "counts"), &key, 4,
					      &n, 8, 0),
			 0);
	assert_int_equal(n, 3);
	/* Constants are mapped, too, after they were frozen. */
	ro = map_section(obj, ".rodata", PROT_READ);
	memcpy(&step, ro + variable(obj, ".rodata", "step"), sizeof(step));
	assert_int_equal(step, 5);
	munmap(ro, 4096);
	munmap(bss, 4096);
	bpf_object__close(obj);
	skep_client_leave(was);
}

/* A map pinned by name is found again by the next object; nothing appears in the file system. */
static void test_pins(void **state)
{
	struct skep *was = skep_client_enter(skep);
	uint32_t key = 7;
	uint64_t value = 42, got = 0;
	struct bpf_object *obj;

	obj = open_object();
	assert_int_equal(bpf_object__load(obj), 0);
	assert_int_equal(bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "counts"), &key,
					     &value, BPF_ANY),
			 0);
	bpf_object__close(obj);
	obj = open_object();
	assert_int_equal(bpf_object__load(obj), 0);
	assert_int_equal(
		bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(obj, "counts"), &key, &got), 0);
	assert_int_equal(got, 42);
	assert_int_equal(access("/sys/fs/bpf/counts", F_OK), -1);
	assert_int_equal(bpf_map__unpin(bpf_object__find_map_by_name(obj, "counts"), NULL), 0);
	bpf_object__close(obj);
	assert_true(bpf_obj_get("/sys/fs/bpf/counts") < 0);
	assert_int_equal(errno, ENOENT);
	/* Any folder will do: there are none. */
	obj = open_object();
	assert_int_equal(bpf_object__load(obj), 0);
	assert_int_equal(bpf_program__pin(bpf_object__find_program_by_name(obj, "add"),
					  "/sys/fs/bpf/some/where/add"),
			 0);
	bpf_object__close(obj);
	assert_true(bpf_obj_get("/sys/fs/bpf/some/where/add") >= 0);
	skep_client_leave(was);
}

static bool in_instance(void)
{
	struct utsname u;

	assert_int_equal(uname(&u), 0);
	return strstr(u.release, "skep") != NULL;
}

static void *other_thread(void *arg)
{
	return (void *)(uintptr_t)in_instance();
}

/* A scope is the thread's, nests, and ends. */
static void test_scopes(void **state)
{
	struct skep *second, *was, *was2;
	union bpf_attr attr;
	pthread_t t;
	void *result;
	int fd;

	assert_int_equal(skep_open(&second, NULL), 0);
	assert_false(in_instance());
	was = skep_client_enter(skep);
	assert_null(was);
	assert_true(in_instance());
	assert_int_equal(pthread_create(&t, NULL, other_thread, NULL), 0);
	assert_int_equal(pthread_join(t, &result), 0);
	assert_null(result);
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "here", 4, 4, 1, NULL);
	assert_true(fd >= 0);
	was2 = skep_client_enter(second);
	assert_ptr_equal(was2, skep);
	/* The other instance's handle means nothing here. */
	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)fd;
	assert_int_equal(skep_client_bpf(BPF_MAP_FREEZE, &attr, sizeof(attr)), -EINVAL);
	assert_ptr_equal(skep_client_enter(NULL), second);
	assert_false(in_instance());
	skep_client_leave(was2);
	assert_int_equal(skep_client_bpf(BPF_MAP_FREEZE, &attr, sizeof(attr)), 0);
	assert_ptr_equal(skep_client_current(), skep);
	close(fd);
	skep_client_leave(was);
	assert_false(in_instance());
	skep_close(second);
}

static long refuse_maps(void *arg, int cmd, union bpf_attr *attr, unsigned int size)
{
	(*(int *)arg)++;
	return cmd == BPF_MAP_CREATE ? -EMFILE : skep_client_bpf(cmd, attr, size);
}

/* Whoever watches decides, and libbpf's warnings are kept. */
static void test_watch(void **state)
{
	struct skep *was = skep_client_enter(skep);
	struct bpf_object *obj = open_object();
	int calls = 0;

	skep_client_watch(refuse_maps, &calls);
	assert_int_equal(bpf_object__load(obj), -EMFILE);
	skep_client_watch(NULL, NULL);
	assert_true(calls > 0);
	assert_non_null(strstr(skep_client_warnings(), "failed to create"));
	skep_client_forget();
	assert_string_equal(skep_client_warnings(), "");
	bpf_object__close(obj);
	skep_client_leave(was);
}

/* Handles of objects that libbpf closes are gone: an instance that is used again and again does
 * not grow. */
static void test_nothing_stays(void **state)
{
	struct skep *was = skep_client_enter(skep);
	uint32_t id = 0, progs = 0;

	for (int i = 0; i < 20; i++) {
		struct bpf_object *obj = open_object();

		assert_int_equal(bpf_object__load(obj), 0);
		assert_int_equal(bpf_map__unpin(bpf_object__find_map_by_name(obj, "counts"), NULL),
				 0);
		bpf_object__close(obj);
	}
	while (!bpf_prog_get_next_id(id, &id))
		progs++;
	/* The one that an earlier test has pinned. */
	assert_true(progs <= 1);
	skep_client_leave(was);
}

/* libbpf counts the CPUs of the instance. It does so once in a process: elsewhere. */
static void test_cpus(void **state)
{
	struct skep_opts opts = {.sz = sizeof(opts), .cpus = 7};
	pid_t pid = fork();
	int status;

	if (!pid) {
		struct skep *seven;

		_exit(!skep_open(&seven, &opts) && !skep_client_enter(seven)
			      ? libbpf_num_possible_cpus()
			      : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_global_data),   cmocka_unit_test(test_pins),
		cmocka_unit_test(test_scopes),        cmocka_unit_test(test_watch),
		cmocka_unit_test(test_nothing_stays), cmocka_unit_test(test_cpus),
	};

	return cmocka_run_group_tests_name("client_libbpf", tests, setup, teardown);
}
