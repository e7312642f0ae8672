// SPDX-License-Identifier: Apache-2.0
/* The compiler's driver: the passes in their order. */
#include <errno.h>
#include <stdlib.h>

#include "exec/jit/jit.h"
#include "os/os.h"

static void optimise(struct jit *jit, struct jit_func *f)
{
	jit_promote(jit, f, jit_arch_spare(f));
	/* Twice: what the first round removes and narrows shows the second one more. */
	for (int round = 0; round < 2; round++) {
		jit_liveness(jit, f);
		jit_bits(jit, f);
		jit_simplify(jit, f);
	}
	jit_liveness(jit, f);
	jit_fuse(jit, f);
	jit_liveness(jit, f);
}

static int compile(struct jit *jit, struct skep_code *code)
{
	int err = jit_lower(jit);

	if (err)
		return err;
	for (uint32_t k = 0; k < jit->nfuncs; k++)
		optimise(jit, &jit->funcs[k]);
	err = jit_arch_emit(jit, code);
	/* Where nobody may run code that was not a file, programs are interpreted. */
	return err == -EPERM || err == -EACCES ? -ENOTSUP : err;
}

int skep_jit_with(struct skep_prog *prog, uint32_t flags, struct skep_code *out)
{
	const struct skep_image *image = &prog->image;
	struct jit jit = {.flags = flags,
			  .prog = prog,
			  .image = image,
			  .len = image->len,
			  .nfuncs = image->nsubprogs};
	int err = -ENOMEM;

	*out = (struct skep_code){0};
	jit.ir = calloc(jit.len, sizeof(*jit.ir));
	jit.funcs = calloc(jit.nfuncs, sizeof(*jit.funcs));
	jit.offsets = calloc(jit.len + 1, sizeof(*jit.offsets));
	jit.entries = calloc(jit.nfuncs, sizeof(*jit.entries));
	jit.depth = calloc(jit.len, sizeof(*jit.depth));
	jit.live_in = calloc(jit.len, sizeof(*jit.live_in));
	jit.bits_in = calloc(jit.len, sizeof(*jit.bits_in));
	if (jit.ir && jit.funcs && jit.offsets && jit.entries && jit.depth && jit.live_in &&
	    jit.bits_in)
		err = compile(&jit, out);
	if (!err) {
		out->offsets = jit.offsets;
		jit.offsets = NULL;
	}
	free(jit.ir);
	free(jit.funcs);
	free(jit.offsets);
	free(jit.entries);
	free(jit.depth);
	free(jit.live_in);
	free(jit.bits_in);
	return err;
}

int skep_jit(struct skep_prog *prog, struct skep_code *out)
{
	return skep_jit_with(prog, 0, out);
}

void skep_jit_free(struct skep_code *code)
{
	if (code->priv)
		skep_exec_free(code->priv);
	free(code->priv);
	free(code->offsets);
	*code = (struct skep_code){0};
}

#ifndef __x86_64__
unsigned jit_arch_spare(const struct jit_func *f)
{
	return 0;
}

int jit_arch_emit(struct jit *jit, struct skep_code *code)
{
	return -ENOTSUP;
}
#endif
