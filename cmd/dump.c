/* SPDX-License-Identifier: Apache-2.0 */
/*
 * skep dump: what a program consists of.
 */
#include "cmd.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "helper/helper.h"
#include "isa/isa.h"
#include "machine.h"
#include "maps.h"

static const char usage[] = "usage: skep dump PROG.{bpf.c,o} [--bytecode|--jit|--maps|--btf]\n";

static const char help[] =
	"\nShows the programs of an object, or what belongs to them.\n"
	"\n"
	"      --bytecode        BPF instructions with source lines (the default)\n"
	"      --jit             the machine code that the runtime made of them\n"
	"      --maps            definitions of the maps\n"
	"      --btf             types, as C\n"
	"  -p, --prog NAME       only this program\n" SESSION_HELP "\n"
	"Exit status: 0 done, 1 refused or failed, 2 wrong usage.\n";

enum { O_BYTECODE = 256, O_JIT, O_MAPS, O_BTF };

struct dump {
	struct session s;
	bool bytecode, jit, maps, btf;
};

static const struct option options[] = {
	{"bytecode", no_argument, NULL, O_BYTECODE},
	{"jit", no_argument, NULL, O_JIT},
	{"maps", no_argument, NULL, O_MAPS},
	{"btf", no_argument, NULL, O_BTF},
	SESSION_OPTIONS,
};

static int parse(struct dump *d, int argc, char **argv)
{
	int status = session_environment(&d->s, usage), o;

	while (status < 0 &&
	       (o = getopt_long(argc, argv, SESSION_LETTERS "", options, NULL)) != -1) {
		switch (o) {
		case O_BYTECODE:
			d->bytecode = true;
			break;
		case O_JIT:
			d->jit = true;
			break;
		case O_MAPS:
			d->maps = true;
			break;
		case O_BTF:
			d->btf = true;
			break;
		default:
			status = session_option(&d->s, o, usage, help);
		}
	}
	if (status < 0)
		status = session_file(&d->s, argc, argv, usage);
	if (status >= 0)
		return status;
	if (!d->jit && !d->maps && !d->btf)
		d->bytecode = true;
	return -1;
}

/* ---- Bytecode ---- */

static bool name_call(void *arg, const struct bpf_insn *in, char *buf, size_t len)
{
	const char *name;

	if (in->src_reg)
		return false;
	name = skep_helper_name((uint32_t)in->imm);
	if (!name)
		return false;
	snprintf(buf, len, "bpf_%s#%d", name, in->imm);
	return true;
}

static bool name_imm(void *arg, const struct bpf_insn *in, uint64_t full, char *buf, size_t len)
{
	struct dump *d = arg;
	struct bpf_map *map;

	if (in->src_reg != BPF_PSEUDO_MAP_FD && in->src_reg != BPF_PSEUDO_MAP_VALUE)
		return false;
	bpf_object__for_each_map(map, d->s.obj)
	{
		if (bpf_map__fd(map) != in->imm)
			continue;
		if (in->src_reg == BPF_PSEUDO_MAP_VALUE)
			snprintf(buf, len, "map[%s][0]+%u", map_name(map), (uint32_t)in[1].imm);
		else
			snprintf(buf, len, "map[%s]", map_name(map));
		return true;
	}
	return false;
}

static const char *text_of(const struct dump *d, uint32_t off)
{
	const struct btf *btf = bpf_object__btf(d->s.obj);
	const char *s = btf ? btf__name_by_offset(btf, off) : NULL;

	return s ? s + strspn(s, " \t") : "";
}

static const char *func_name(const struct dump *d, uint32_t id)
{
	const struct btf *btf = bpf_object__btf(d->s.obj);
	const struct btf_type *t = btf ? btf__type_by_id(btf, id) : NULL;

	return t ? btf__name_by_offset(btf, t->name_off) : "?";
}

static void dump_bytecode(struct dump *d, const struct verdict *v)
{
	const struct skep_disasm_names names = {name_call, name_imm, d};
	char text[256];
	uint32_t line = 0, func = 0;

	printf("%s (%s), %u instructions:\n", v->name, v->type, v->nloaded);
	for (uint32_t i = 0; i < v->nloaded;) {
		int slots;

		if (func < v->nfuncs && v->funcs[func].insn_off == i)
			printf("%s:\n", func_name(d, v->funcs[func++].type_id));
		for (; line < v->nlines && v->lines[line].insn_off <= i; line++)
			if (!line || v->lines[line].line_off != v->lines[line - 1].line_off)
				printf("; %s\n", text_of(d, v->lines[line].line_off));
		slots = skep_disasm(&v->loaded[i], &names, text, sizeof(text));
		printf("%4u: %s\n", i, text);
		i += slots > 0 ? (uint32_t)slots : 1;
	}
}

/* ---- Machine code ---- */

static int dump_jit(const struct verdict *v, int fd)
{
	struct bpf_prog_info info;
	uint32_t len = sizeof(info), size;
	uint8_t *code;
	int err;

	memset(&info, 0, sizeof(info));
	err = bpf_obj_get_info_by_fd(fd, &info, &len);
	if (!err && !info.jited_prog_len) {
		complain("%s was not compiled to machine code", v->name);
		return -ENOENT;
	}
	size = info.jited_prog_len;
	code = err ? NULL : calloc(1, size);
	if (code) {
		memset(&info, 0, sizeof(info));
		info.jited_prog_insns = (uintptr_t)code;
		info.jited_prog_len = size;
		len = sizeof(info);
		err = bpf_obj_get_info_by_fd(fd, &info, &len);
	}
	if (!code || err) {
		err = err ? -errno : -ENOMEM;
		complain("the machine code of %s can't be read: %s", v->name, strerror(-err));
		free(code);
		return err;
	}
	printf("%s (%s), %u bytes of machine code:\n", v->name, v->type, size);
	machine_print(stdout, code, size);
	free(code);
	return 0;
}

/* ---- Maps ---- */

static void print_type(const struct btf *btf, const char *what, uint32_t id, uint32_t size)
{
	const struct btf_type *t = btf && id ? btf__type_by_id(btf, id) : NULL;
	const char *name = t ? btf__name_by_offset(btf, t->name_off) : "";
	const char *kind = t && btf_is_struct(t) ? "struct " : "";

	if (*name)
		printf(", %s %s%s (%u bytes)", what, kind, name, size);
	else if (size)
		printf(", %s %u bytes", what, size);
}

static void dump_maps(const struct dump *d)
{
	const struct btf *btf = bpf_object__btf(d->s.obj);
	struct bpf_map *map;

	bpf_object__for_each_map(map, d->s.obj)
	{
		const char *type = libbpf_bpf_map_type_str(bpf_map__type(map));

		printf("%s: %s", map_name(map), type ? type : "unknown type");
		print_type(btf, "key", bpf_map__btf_key_type_id(map), bpf_map__key_size(map));
		print_type(btf, "value", bpf_map__btf_value_type_id(map), bpf_map__value_size(map));
		printf(", %u entries", bpf_map__max_entries(map));
		if (bpf_map__map_flags(map))
			printf(", flags 0x%x", bpf_map__map_flags(map));
		putchar('\n');
	}
}

/* ---- Types ---- */

__attribute__((format(printf, 2, 0))) static void to_stdout(void *arg, const char *fmt, va_list ap)
{
	vprintf(fmt, ap);
}

static int dump_btf(const struct dump *d)
{
	const struct btf *btf = bpf_object__btf(d->s.obj);
	struct btf_dump *out;
	int err = 0;

	if (!btf) {
		complain("%s holds no BTF", d->s.path);
		fputs("      Compile it with -g.\n", stderr);
		return -ENOENT;
	}
	out = btf_dump__new(btf, to_stdout, NULL, NULL);
	if (!out)
		return -errno;
	for (uint32_t id = 1; !err && id < btf__type_cnt(btf); id++)
		err = btf_dump__dump_type(out, id);
	btf_dump__free(out);
	if (err)
		complain("the types can't be printed: %s", strerror(-err));
	return err;
}

static bool wanted(const struct dump *d, const struct verdict *v)
{
	return !d->s.prog || !strcmp(d->s.prog, v->name);
}

static int dump_programs(struct dump *d)
{
	bool found = false, told = false;
	char why[1024];
	int err, result = 0;

	for (uint32_t i = 0; i < d->s.nverdicts; i++) {
		bool want = wanted(d, &d->s.verdicts[i]);

		found |= want;
		bpf_program__set_autoload(session_program(&d->s, i),
					  want && !d->s.verdicts[i].unknown_section);
	}
	if (!found) {
		complain("%s: there is no program named \"%s\"", d->s.path, d->s.prog);
		return -ENOENT;
	}
	d->s.substitute = d->s.keep = true;
	err = session_load(&d->s);
	for (uint32_t i = 0; i < d->s.nverdicts; i++) {
		const struct verdict *v = &d->s.verdicts[i];

		if (!wanted(d, v))
			continue;
		if (d->bytecode && v->nloaded) {
			dump_bytecode(d, v);
			told = true;
		}
		if (d->jit && v->accepted) {
			if (dump_jit(v, bpf_program__fd(session_program(&d->s, i))))
				result = -ENOENT;
			told = true;
		} else if (d->jit && v->tried) {
			complain("program %s is refused, so there is no machine code:", v->name);
			print_refusal(stderr, &d->s, v, false);
			result = v->err;
			told = true;
		}
	}
	if (!told) {
		session_warnings(why, sizeof(why), err ? err : -EINVAL);
		complain("%s can't be loaded: %s", d->s.path, why);
		return -EINVAL;
	}
	return result;
}

int cmd_dump(int argc, char **argv)
{
	struct dump d = {.s = {.prog = NULL}};
	int status = parse(&d, argc, argv), err;

	if (status >= 0)
		return status;
	err = session_open(&d.s);
	if (!err && d.maps)
		dump_maps(&d);
	if (!err && d.btf)
		err = dump_btf(&d);
	if (!err && (d.bytecode || d.jit))
		err = dump_programs(&d);
	session_close(&d.s);
	return err ? EXIT_REFUSED : EXIT_OK;
}
