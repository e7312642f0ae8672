/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The BTF that skep presents as the kernel's. Its source is C, carried as text: the
 * interface of bpf(2) and the kernel types of vmlinux_*.h.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/uapi.h" /* so that a change of it rebuilds this file */
#include "btf/btf.h"
#include "btf/build.h"
#include "exec/slot.h"
#include "helper/kfunc.h"

/* The assembler takes the files in: their paths are those of the source tree. */
#define TEXT(symbol, file)                                                                         \
	__asm__(".pushsection .rodata\n" #symbol ":\n.incbin \"" file "\"\n" #symbol               \
		"_end:\n.byte 0\n.popsection\n");                                                  \
	extern const char symbol[] __attribute__((visibility("hidden")));                          \
	extern const char symbol##_end[] __attribute__((visibility("hidden")))

#ifndef SKEP_SRC
#define SKEP_SRC "src"
#endif
TEXT(skep_text_types, SKEP_SRC "/btf/vmlinux_types.h");
TEXT(skep_text_uapi, SKEP_SRC "/bpf/uapi.h");
TEXT(skep_text_bpf, SKEP_SRC "/btf/vmlinux_bpf.h");
TEXT(skep_text_iter, SKEP_SRC "/btf/vmlinux_iter.h");

/* The variables that every CPU slot has, all of them int. */
static int add_percpu(struct skep_btf_build *b)
{
	static const char section[] = ".data..percpu";
	struct skep_btf_part *parts = calloc(SKEP_NVARS, sizeof(*parts));
	uint32_t type = skep_btf_build_find(b, BTF_KIND_INT, skep_btf_build_str(b, "int", 3), 0, 0);

	if (!parts)
		return -ENOMEM;
	for (uint32_t i = 0; i < SKEP_NVARS; i++) {
		const char *name = skep_slots_vars[i];

		parts[i].off = i * sizeof(int);
		parts[i].bits = sizeof(int);
		parts[i].type = skep_btf_build_add(
			b,
			&(struct skep_btf_node){.kind = BTF_KIND_VAR,
						.name = skep_btf_build_str(b, name, strlen(name)),
						.type = type,
						.index = BTF_VAR_GLOBAL_ALLOCATED});
	}
	skep_btf_build_add(
		b, &(struct skep_btf_node){.kind = BTF_KIND_DATASEC,
					   .name = skep_btf_build_str(b, section, strlen(section)),
					   .size = SKEP_NVARS * sizeof(int),
					   .parts = parts,
					   .nparts = SKEP_NVARS});
	return 0;
}

static void add_tag(struct skep_btf_build *b, uint32_t func, const char *tag)
{
	skep_btf_build_add(b,
			   &(struct skep_btf_node){.kind = BTF_KIND_DECL_TAG,
						   .name = skep_btf_build_str(b, tag, strlen(tag)),
						   .type = func,
						   .index = UINT32_MAX});
}

/* Functions of the kernel that programs may call. */
static int add_kfuncs(struct skep_btf_build *b)
{
	for (uint32_t i = 0; i < skep_nkfuncs; i++) {
		const struct skep_kfunc *k = &skep_kfuncs[i];
		uint32_t func;
		int err;

		if (!k->name)
			continue;
		err = skep_btf_build_c(b, k->proto, strlen(k->proto), NULL);
		if (err)
			return err;
		func = skep_btf_build_find(b, BTF_KIND_FUNC,
					   skep_btf_build_str(b, k->name, strlen(k->name)), 0, 0);
		if (!func)
			return -EINVAL;
		add_tag(b, func, "bpf_kfunc");
		if (k->flags & SKEP_KF_FASTCALL)
			add_tag(b, func, "bpf_fastcall");
	}
	return 0;
}

static int build(void **data, uint32_t *size)
{
	/* Later texts use what earlier ones define. */
	const struct {
		const char *text, *end;
	} texts[] = {{skep_text_types, skep_text_types_end},
		     {skep_text_uapi, skep_text_uapi_end},
		     {skep_text_bpf, skep_text_bpf_end},
		     {skep_text_iter, skep_text_iter_end}};
	struct skep_btf_build b;
	int err = skep_btf_build_init(&b);

	if (err)
		return err;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]) && !err; i++)
		err = skep_btf_build_c(&b, texts[i].text, (size_t)(texts[i].end - texts[i].text),
				       NULL);
	if (!err)
		err = add_percpu(&b);
	if (!err)
		err = add_kfuncs(&b);
	if (!err)
		err = skep_btf_build_write(&b, data, size);
	skep_btf_build_free(&b);
	return err;
}

int skep_btf_parse_kernel(const void *data, uint32_t size, struct skep_btf **out)
{
	int err = skep_btf_parse(data, size, NULL, out);

	if (!err) {
		(*out)->kernel = true;
		strcpy((*out)->name, "vmlinux");
	}
	return err;
}

int skep_btf_vmlinux(struct skep_btf **out)
{
	uint32_t size;
	void *data;
	int err = build(&data, &size);

	if (err)
		return err;
	err = skep_btf_parse_kernel(data, size, out);
	free(data);
	return err;
}

int skep_btf_presented(struct skep *skep, const struct skep_btf **out)
{
	struct skep_btf *btf = atomic_load(&skep->vmlinux), *none = NULL;
	int err;

	if (!btf) {
		err = skep_btf_vmlinux(&btf);
		if (err)
			return err;
		if (!atomic_compare_exchange_strong(&skep->vmlinux, &none, btf)) {
			skep_btf_put(btf);
			btf = none;
		}
	}
	*out = btf;
	return 0;
}
