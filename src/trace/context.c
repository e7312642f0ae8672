/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a program stays within the record of the event that it is to see. The verifier can't
 * know: it allows what any tracepoint may have. */
#include <errno.h>
#include <string.h>

#include "btf/btf.h"
#include "trace/session.h"
#include "trace/sysargs.h"

#define HEAD 16 /* of a system call's record: the common fields, the number */

static const struct bpf_line_info *line_of(const struct skep_prog *p, uint32_t insn)
{
	const struct bpf_line_info *li = NULL;

	for (uint32_t i = 0; p->btf && i < p->nline_info && p->line_info[i].insn_off <= insn; i++)
		li = &p->line_info[i];
	return li;
}

static uint32_t size_of(uint8_t code)
{
	static const uint8_t sizes[] = {
		[BPF_W >> 3] = 4, [BPF_H >> 3] = 2, [BPF_B >> 3] = 1, [BPF_DW >> 3] = 8};

	return sizes[BPF_SIZE(code) >> 3];
}

uint32_t trace_record_size(int nr, enum agent_kind kind)
{
	struct arg_desc args[SYSARGS_MAX];
	int n = nr < 0 ? SYSARGS_MAX : sysargs_of((uint32_t)nr, args);

	if (kind == AGENT_SYS_EXIT_TP)
		return HEAD + 8;
	return HEAD + 8 * (uint32_t)(n < 0 ? SYSARGS_MAX : n);
}

int trace_check_record(const struct skep_prog *prog, const char *name, uint32_t size,
		       struct skep_error *err)
{
	const struct skep_image *im = &prog->image;

	for (uint32_t i = 0; im->facts && i < im->len; i++) {
		const struct bpf_insn *in = &im->insns[i];
		const struct bpf_line_info *li;
		const char *text = "", *file = "";
		uint32_t line = 0;

		if (im->facts[i].mem != SKEP_MEM_CTX || in->off < 0 ||
		    (uint32_t)in->off + size_of(in->code) <= size)
			continue;
		li = line_of(prog, i);
		if (li) {
			text = skep_btf_str(prog->btf, li->line_off);
			file = skep_btf_str(prog->btf, li->file_name_off);
			line = BPF_LINE_INFO_LINE_NUM(li->line_col);
			text += strspn(text, " \t");
		}
		return skep_fail(
			err, -EACCES,
			"A tracepoint's context is its record, not struct pt_regs: for system "
			"calls { __u64 common; long nr; unsigned long args[6]; }, at the exit "
			"{ __u64 common; long nr; long ret; }.",
			"%s%s%.0u%sthe program reads byte %d of its context, but the record of "
			"%s has %u bytes%s%s",
			file, line ? ":" : "", line, line ? ": " : "", in->off, name, size,
			text[0] ? "\n      " : "", text);
	}
	return 0;
}
