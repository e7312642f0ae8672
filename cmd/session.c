/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/elf.h"
#include "client/libbpf.h"
#include "client/object.h"
#include "load.h"

int session_runtime(struct session *s, const char *name)
{
	if (strcmp(name, "user") != 0 && strcmp(name, "kernel") != 0)
		return -EINVAL;
	s->kernel = name[0] == 'k';
	return 0;
}

int session_default(struct session *s)
{
	const char *name = getenv("SKEP_RUNTIME");

	return name && name[0] ? session_runtime(s, name) : 0;
}

/* ---- Options ---- */

int session_environment(struct session *s, const char *usage)
{
	if (session_default(s))
		return misuse(usage, "SKEP_RUNTIME is user or kernel, not \"%s\"",
			      getenv("SKEP_RUNTIME"));
	return -1;
}

int session_option(struct session *s, int option, const char *usage, const char *help)
{
	switch (option) {
	case 'p':
		s->prog = optarg;
		return -1;
	case SESSION_O_RUNTIME:
		if (session_runtime(s, optarg))
			return misuse(usage, "--runtime is user or kernel, not \"%s\"", optarg);
		return -1;
	case SESSION_O_CC:
		s->cc = optarg;
		return -1;
	case 'h':
		fputs(usage, stdout);
		fputs(help, stdout);
		return EXIT_OK;
	default:
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
}

int session_file(struct session *s, int argc, char **argv, const char *usage)
{
	if (optind == argc)
		return misuse(usage, "which program? Pass C source or an object file.");
	if (optind + 1 < argc)
		return misuse(usage, "one file at a time: \"%s\" is too much", argv[optind + 1]);
	s->path = argv[optind];
	return -1;
}

/* ---- Opening ---- */

static int open_runtime(struct session *s)
{
	struct skep_opts opts = {.sz = sizeof(opts),
				 .flags = s->flags,
				 .explain = load_explain,
				 .explain_arg = s,
				 .printk = s->printk,
				 .printk_arg = s->printk_arg};
	union bpf_attr attr;
	void *types = NULL;
	int err;

	if (s->kernel) {
		memset(&attr, 0, sizeof(attr));
		err = (int)skep_client_bpf(BPF_PROG_GET_NEXT_ID, &attr, sizeof(attr));
		if (err == -EPERM)
			return skep_fail(
				&s->err, err,
				"Run as root, or leave --runtime kernel out: skep's own runtime "
				"needs no privilege.",
				"the kernel refuses bpf(2) to this user");
		if (err == -ENOSYS)
			return skep_fail(&s->err, err, "Leave --runtime kernel out.",
					 "this kernel has no bpf(2)");
		return 0;
	}
	if (s->btf) {
		err = skep_client_read(s->btf, &types, &opts.kernel_btf_size, &s->err);
		if (err)
			return err;
		opts.kernel_btf = types;
	}
	err = skep_open(&s->skep, &opts);
	free(types);
	if (err && s->btf)
		return skep_fail(&s->err, err,
				 "Pass raw BTF, as /sys/kernel/btf/vmlinux is, or what bpftool "
				 "btf dump file VMLINUX format raw reads.",
				 "%s can't be taken as a kernel's types: %s", s->btf,
				 strerror(-err));
	if (err)
		return skep_fail(&s->err, err, NULL, "skep's runtime can't be started: %s",
				 strerror(-err));
	skep_client_enter(s->skep);
	return 0;
}

/* "dir/flow.bpf.c" -> "flow": libbpf prefixes the maps of global data with it. */
static void object_name(const char *path, char *name, size_t size)
{
	const char *base = strrchr(path, '/');

	snprintf(name, size, "%s", base ? base + 1 : path);
	name[strcspn(name, ".")] = 0;
	for (char *p = name; *p; p++)
		if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
		      (*p >= '0' && *p <= '9')))
			*p = '_';
	if (!name[0])
		snprintf(name, size, "prog");
}

static int by_position(const void *a, const void *b)
{
	const struct verdict *x = a, *y = b;

	return x->position < y->position ? -1 : x->position > y->position;
}

static int list_programs(struct session *s)
{
	struct bpf_program *prog;
	uint32_t n = 0, i = 0;

	bpf_object__for_each_program(prog, s->obj) n++;
	if (!n)
		return skep_fail(&s->err, -ENOENT, "Put the function into a section: SEC(\"xdp\").",
				 "%s: there is no program in it", s->path);
	s->verdicts = calloc(n, sizeof(*s->verdicts));
	if (!s->verdicts)
		return -ENOMEM;
	s->nverdicts = n;
	bpf_object__for_each_program(prog, s->obj)
	{
		struct verdict *v = &s->verdicts[i++];

		v->prog = prog;
		snprintf(v->name, sizeof(v->name), "%s", bpf_program__name(prog));
		v->position = skep_elf_position(s->image, s->image_size, v->name);
		v->section = bpf_program__section_name(prog);
		v->unknown_section = bpf_program__type(prog) == BPF_PROG_TYPE_UNSPEC;
		v->type = prog_type_name(bpf_program__type(prog));
		v->insns = (uint32_t)bpf_program__insn_cnt(prog);
	}
	qsort(s->verdicts, n, sizeof(*s->verdicts), by_position);
	return 0;
}

static int open_image(struct session *s)
{
	struct skep_error e = {{0}, {0}};
	char name[64];
	int err;

	object_name(s->path, name, sizeof(name));
	err = skep_client_open(&s->obj, s->image, s->image_size, name, &e);
	return err ? skep_fail(&s->err, err, e.next, "%s: %s", s->path, e.what) : 0;
}

static int open_object(struct session *s)
{
	struct skep_compile_opts opts = {.cc = s->cc,
					 .flags = s->cflags,
					 .types = s->kernel ? "/sys/kernel/btf/vmlinux" : s->btf,
					 .color = isatty(STDERR_FILENO)};
	struct skep_compiled c = {0};
	int err;

	if (s->builtin) {
		c.image = malloc(s->builtin_size);
		if (!c.image)
			return -ENOMEM;
		memcpy(c.image, s->builtin, s->builtin_size);
		c.size = s->builtin_size;
		err = 0;
	} else if (skep_compile_is_source(s->path)) {
		err = skep_compile(s->path, &opts, &c, &s->err);
		if (c.diagnostics)
			fputs(c.diagnostics, stderr);
	} else {
		err = skep_client_read(s->path, &c.image, &c.size, &s->err);
	}
	if (!err) {
		s->image = c.image;
		s->image_size = c.size;
		c.image = NULL;
		err = open_image(s);
	}
	if (!err)
		err = list_programs(s);
	skep_compiled_free(&c);
	return err;
}

int session_reopen(struct session *s)
{
	struct bpf_program *prog;
	int err;

	bpf_object__close(s->obj);
	s->obj = NULL;
	err = open_image(s);
	if (err)
		return err;
	for (uint32_t i = 0; i < s->nverdicts; i++)
		s->verdicts[i].prog = NULL;
	bpf_object__for_each_program(prog, s->obj)
	{
		for (uint32_t i = 0; i < s->nverdicts; i++) {
			struct verdict *v = &s->verdicts[i];

			if (v->prog || strcmp(v->name, bpf_program__name(prog)) != 0)
				continue;
			v->prog = prog;
			v->section = bpf_program__section_name(prog);
			break;
		}
	}
	return 0;
}

int session_open(struct session *s)
{
	int err = open_runtime(s);

	if (!err)
		err = open_object(s);
	if (err) {
		if (!s->err.what[0])
			skep_fail(&s->err, err, NULL, "%s: %s", s->path, strerror(-err));
		complain_error(&s->err);
	}
	return err;
}

struct bpf_program *session_program(const struct session *s, uint32_t i)
{
	return s->verdicts[i].prog;
}

void session_close(struct session *s)
{
	bpf_object__close(s->obj);
	load_end(s);
	free(s->verdicts);
	free(s->image);
	if (!s->kernel)
		skep_client_leave(NULL);
	skep_close(s->skep);
}

/* ---- Words ---- */

const char *prog_type_name(enum bpf_prog_type type)
{
	static const char *const names[] = {
		[BPF_PROG_TYPE_SOCKET_FILTER] = "socket_filter",
		[BPF_PROG_TYPE_KPROBE] = "kprobe",
		[BPF_PROG_TYPE_SCHED_CLS] = "sched_cls",
		[BPF_PROG_TYPE_SCHED_ACT] = "sched_act",
		[BPF_PROG_TYPE_TRACEPOINT] = "tracepoint",
		[BPF_PROG_TYPE_XDP] = "xdp",
		[BPF_PROG_TYPE_PERF_EVENT] = "perf_event",
		[BPF_PROG_TYPE_CGROUP_SKB] = "cgroup_skb",
		[BPF_PROG_TYPE_CGROUP_SOCK] = "cgroup_sock",
		[BPF_PROG_TYPE_LWT_IN] = "lwt_in",
		[BPF_PROG_TYPE_LWT_OUT] = "lwt_out",
		[BPF_PROG_TYPE_LWT_XMIT] = "lwt_xmit",
		[BPF_PROG_TYPE_SOCK_OPS] = "sock_ops",
		[BPF_PROG_TYPE_SK_SKB] = "sk_skb",
		[BPF_PROG_TYPE_CGROUP_DEVICE] = "cgroup_device",
		[BPF_PROG_TYPE_SK_MSG] = "sk_msg",
		[BPF_PROG_TYPE_RAW_TRACEPOINT] = "raw_tracepoint",
		[BPF_PROG_TYPE_CGROUP_SOCK_ADDR] = "cgroup_sock_addr",
		[BPF_PROG_TYPE_LWT_SEG6LOCAL] = "lwt_seg6local",
		[BPF_PROG_TYPE_LIRC_MODE2] = "lirc_mode2",
		[BPF_PROG_TYPE_SK_REUSEPORT] = "sk_reuseport",
		[BPF_PROG_TYPE_FLOW_DISSECTOR] = "flow_dissector",
		[BPF_PROG_TYPE_CGROUP_SYSCTL] = "cgroup_sysctl",
		[BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE] = "raw_tracepoint_writable",
		[BPF_PROG_TYPE_CGROUP_SOCKOPT] = "cgroup_sockopt",
		[BPF_PROG_TYPE_TRACING] = "tracing",
		[BPF_PROG_TYPE_STRUCT_OPS] = "struct_ops",
		[BPF_PROG_TYPE_EXT] = "ext",
		[BPF_PROG_TYPE_LSM] = "lsm",
		[BPF_PROG_TYPE_SK_LOOKUP] = "sk_lookup",
		[BPF_PROG_TYPE_SYSCALL] = "syscall",
		[BPF_PROG_TYPE_NETFILTER] = "netfilter",
	};

	if ((unsigned)type >= sizeof(names) / sizeof(names[0]) || !names[type])
		return "";
	return names[type];
}

void print_refusal(FILE *f, const struct session *s, const struct verdict *v, bool color)
{
	const char *bold = color ? "\033[1m" : "", *red = color ? "\033[31m" : "";
	const char *off = color ? "\033[0m" : "";

	if (v->unknown_section) {
		fprintf(f, "  %sits section \"%s\" names no program type%s\n", red, v->section,
			off);
		fprintf(f, "  hint: put it into a section such as \"xdp\", \"tc\" or \"socket\"\n");
		return;
	}
	if (v->file && v->line)
		fprintf(f, "  %s%s:%u%s: ", bold, v->file, v->line, off);
	else
		fputs("  ", f);
	fprintf(f, "%s%s%s\n", red, v->what ? v->what : strerror(-v->err), off);
	if (v->text && v->text[0])
		fprintf(f, "    %s\n", v->text);
	if (v->func && v->func[0])
		fprintf(f, "  in function %s, instruction %u\n", v->func, v->insn);
	if (v->hint)
		fprintf(f, "  hint: %s\n", v->hint);
}
