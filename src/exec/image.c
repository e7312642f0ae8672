// SPDX-License-Identifier: Apache-2.0
/* Images: freeing them, and making them without a verifier. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "exec/exec.h"
#include "isa/isa.h"

void skep_image_free(struct skep_image *image)
{
	free(image->insns);
	free(image->facts);
	free(image->orig);
	free(image->relocs);
	free(image->subprogs);
	*image = (struct skep_image){0};
}

/* Subprogram number of the function that starts at `start`, or -1. */
static int subprog_at(const struct skep_image *image, uint32_t start)
{
	for (uint32_t i = 0; i < image->nsubprogs; i++)
		if (image->subprogs[i].start == start)
			return i;
	return -1;
}

static int add_subprog(struct skep_image *image, uint32_t start, bool is_cb)
{
	int at = subprog_at(image, start);
	struct skep_subprog *grown;

	if (start >= image->len)
		return -EINVAL;
	if (at < 0) {
		grown = realloc(image->subprogs, (image->nsubprogs + 1) * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		image->subprogs = grown;
		at = image->nsubprogs++;
		grown[at] = (struct skep_subprog){.start = start};
	}
	image->subprogs[at].is_cb |= is_cb;
	return 0;
}

static int add_func_reloc(struct skep_image *image, uint32_t insn, uint32_t start)
{
	struct skep_reloc *grown =
		realloc(image->relocs, (image->nrelocs + 1) * sizeof(*image->relocs));

	if (!grown)
		return -ENOMEM;
	image->relocs = grown;
	grown[image->nrelocs++] = (struct skep_reloc){
		.insn = insn, .kind = SKEP_RELOC_FUNC, .target = start /* number: see below */};
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct skep_subprog *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* Bytes of stack: exact while R10 is only an address with an offset, else all. */
static uint32_t stack_of(const struct skep_image *image, const struct skep_subprog *sub)
{
	struct skep_insn d;
	int deepest = 0;

	for (uint32_t i = sub->start; i < sub->start + sub->len; i += d.slots) {
		if (skep_decode(&image->insns[i], image->len - i, &d) < 0)
			return SKEP_STACK_SIZE;
		bool load =
			d.op == SKEP_OP_LOAD || (d.op == SKEP_OP_ATOMIC && d.imm == BPF_LOAD_ACQ);
		bool store = d.op == SKEP_OP_STORE || d.op == SKEP_OP_ATOMIC;
		bool src = d.src_is_reg && d.src == BPF_REG_10 && d.op != SKEP_OP_CALL_PSEUDO;

		if (!load && src)
			return SKEP_STACK_SIZE;
		if ((load && src) || (store && !load && d.dst == BPF_REG_10))
			deepest = d.off < deepest ? d.off : deepest;
	}
	return (-deepest + 7) & ~7;
}

static int find_subprogs(struct skep_image *image)
{
	struct skep_insn d;
	int n, err = add_subprog(image, 0, false);

	for (uint32_t i = 0; i < image->len && !err; i += n) {
		n = skep_decode(&image->insns[i], image->len - i, &d);
		if (n < 0)
			return n;
		if (d.op == SKEP_OP_CALL_PSEUDO) {
			err = add_subprog(image, i + 1 + d.imm, false);
		} else if (d.op == SKEP_OP_LDIMM64 && d.src == BPF_PSEUDO_FUNC) {
			err = add_subprog(image, i + 1 + d.imm, true);
			if (!err)
				err = add_func_reloc(image, i, i + 1 + d.imm);
		}
	}
	return err;
}

int skep_image_raw(struct skep_image *image, const struct bpf_insn *insns, uint32_t len)
{
	int err = -ENOMEM;

	*image = (struct skep_image){.len = len};
	image->insns = malloc(len * sizeof(*insns));
	image->facts = calloc(len, sizeof(*image->facts));
	if (!image->insns || !image->facts)
		goto fail;
	memcpy(image->insns, insns, len * sizeof(*insns));
	for (uint32_t i = 0; i < len; i++)
		image->facts[i].map = -1;
	err = find_subprogs(image);
	if (err)
		goto fail;
	qsort(image->subprogs, image->nsubprogs, sizeof(*image->subprogs), by_start);
	for (uint32_t i = 0; i < image->nsubprogs; i++) {
		struct skep_subprog *sub = &image->subprogs[i];

		sub->len = (i + 1 < image->nsubprogs ? sub[1].start : len) - sub->start;
		sub->stack = stack_of(image, sub);
		for (uint32_t k = sub->start; k < sub->start + sub->len; k++)
			sub->has_tail_call |= insns[k].code == (BPF_JMP | BPF_CALL) &&
					      !insns[k].src_reg &&
					      insns[k].imm == BPF_FUNC_tail_call;
	}
	for (uint32_t i = 0; i < image->nrelocs; i++)
		image->relocs[i].target = subprog_at(image, image->relocs[i].target);
	return 0;
fail:
	skep_image_free(image);
	return err;
}
