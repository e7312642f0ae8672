/* SPDX-License-Identifier: Apache-2.0 */
/* func_info and line_info of PROG_LOAD, held against the program and its BTF. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "btf/internal.h"
#include "os/caller.h"
#include "os/os.h"

#define MAX_RECORD 252

/* ---- Functions of a program: where calls and callbacks go ---- */

struct starts {
	uint32_t *at; /* rising */
	uint32_t n;
};

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Targets outside the program are left out: the verifier will refuse them. */
static int find_starts(const struct bpf_insn *insns, uint32_t n, struct starts *out)
{
	uint32_t *at = malloc((n + 1) * sizeof(*at)), count = 1, unique = 0;

	if (!at)
		return -ENOMEM;
	at[0] = 0;
	for (uint32_t i = 0; i < n; i++) {
		const struct bpf_insn *in = &insns[i];
		bool wide = in->code == (BPF_LD | BPF_IMM | BPF_DW);
		bool call = in->code == (BPF_JMP | BPF_CALL) && in->src_reg == BPF_PSEUDO_CALL;
		bool func = wide && in->src_reg == BPF_PSEUDO_FUNC;
		int64_t to = (int64_t)i + in->imm + 1;
		if ((call || func) && to >= 0 && to < n)
			at[count++] = (uint32_t)to;
		i += wide;
	}
	qsort(at, count, sizeof(*at), by_value);
	for (uint32_t i = 0; i < count; i++)
		if (!i || at[i] != at[i - 1])
			at[unique++] = at[i];
	out->at = at;
	out->n = unique;
	return 0;
}

/* ---- Records of the user ---- */

/* Reads a record of size bytes, of which ours are known: the rest must be 0. */
static int read_record(uint64_t user, void *rec, uint32_t ours, uint32_t size, struct skep_log *log,
		       const char *what)
{
	uint8_t all[MAX_RECORD];

	if (skep_caller_read(all, (const void *)(uintptr_t)user, size))
		return -EFAULT;
	for (uint32_t i = ours; i < size; i++) {
		if (all[i]) {
			skep_log_printf(log, "nonzero tailing record in %s", what);
			return -E2BIG;
		}
	}
	memcpy(rec, all, ours);
	return 0;
}

static int check_func(const struct skep_btf *btf, const struct bpf_func_info *rec, uint32_t i,
		      struct skep_log *log)
{
	if (!i && rec->insn_off) {
		skep_log_printf(log, "nonzero insn_off %u for the first func info record",
				rec->insn_off);
		return -EINVAL;
	}
	if (i && rec->insn_off <= rec[-1].insn_off) {
		skep_log_printf(
			log, "same or smaller insn offset (%u) than previous func info record (%u)",
			rec->insn_off, rec[-1].insn_off);
		return -EINVAL;
	}
	const struct btf_type *t = skep_btf_type(btf, rec->type_id);
	if (!t || T_KIND(t) != BTF_KIND_FUNC) {
		skep_log_printf(log, "invalid type id %d in func info", rec->type_id);
		return -EINVAL;
	}
	return 0;
}

int skep_btf_check_func_info(const struct skep_btf *btf, const union bpf_attr *attr,
			     struct skep_log *log, struct bpf_func_info **out, uint32_t *n)
{
	uint32_t count = attr->func_info_cnt, size = attr->func_info_rec_size;
	int err = 0;

	*out = NULL;
	*n = 0;
	if (!count)
		return 0;
	if (size < sizeof(**out) || size > MAX_RECORD || size % 4) {
		skep_log_printf(log, "invalid func info rec size %u\n", size);
		return -EINVAL;
	}
	/* Offsets rise, so there can't be more of them than instructions. */
	uint32_t room = count < attr->insn_cnt ? count : attr->insn_cnt + 1;
	struct bpf_func_info *recs = calloc(room, sizeof(*recs));
	if (!recs)
		return -ENOMEM;
	for (uint32_t i = 0; i < count && !err; i++) {
		if (i == room) {
			err = -EINVAL;
			break;
		}
		err = read_record(attr->func_info + (uint64_t)i * size, &recs[i], sizeof(*recs),
				  size, log, "func info");
		if (!err)
			err = check_func(btf, &recs[i], i, log);
	}
	if (err) {
		free(recs);
		return err;
	}
	*out = recs;
	*n = count;
	return 0;
}

int skep_btf_match_func_info(const struct bpf_func_info *recs, uint32_t n,
			     const struct bpf_insn *insns, uint32_t ninsns, struct skep_log *log)
{
	struct starts s;
	int err;

	if (!n)
		return 0;
	err = find_starts(insns, ninsns, &s);
	if (err)
		return err;
	if (n != s.n) {
		skep_log_printf(log,
				"number of funcs in func_info doesn't match number of subprogs\n");
		err = -EINVAL;
	}
	for (uint32_t i = 0; i < n && !err; i++) {
		if (recs[i].insn_off != s.at[i]) {
			skep_log_printf(log,
					"func_info BTF section doesn't match subprog layout in BPF "
					"program\n");
			err = -EINVAL;
		}
	}
	free(s.at);
	return err;
}

/* ---- Lines ---- */

static int check_line(const struct skep_btf *btf, const struct bpf_insn *insns, uint32_t ninsns,
		      const struct bpf_line_info *rec, uint32_t i, struct skep_log *log)
{
	uint32_t prev = i ? rec[-1].insn_off : 0;

	if ((i && rec->insn_off <= prev) || rec->insn_off >= ninsns) {
		skep_log_printf(log,
				"Invalid line_info[%u].insn_off:%u (prev_offset:%u prog->len:%u)\n",
				i, rec->insn_off, prev, ninsns);
		return -EINVAL;
	}
	if (!insns[rec->insn_off].code) {
		skep_log_printf(log, "Invalid insn code at line_info[%u].insn_off\n", i);
		return -EINVAL;
	}
	if (!skep_btf_str(btf, rec->line_off) || !skep_btf_str(btf, rec->file_name_off)) {
		skep_log_printf(log, "Invalid line_info[%u].line_off or .file_name_off\n", i);
		return -EINVAL;
	}
	return 0;
}

int skep_btf_check_line_info(const struct skep_btf *btf, const union bpf_attr *attr,
			     const struct bpf_insn *insns, uint32_t ninsns, struct skep_log *log,
			     struct bpf_line_info **out, uint32_t *n)
{
	uint32_t count = attr->line_info_cnt, size = attr->line_info_rec_size, s = 0;
	struct bpf_line_info *recs;
	struct starts starts;
	int err = 0;

	*out = NULL;
	*n = 0;
	if (!count)
		return 0;
	if (count > INT_MAX / sizeof(*recs) || size < sizeof(*recs) || size > MAX_RECORD ||
	    size % 4)
		return -EINVAL;
	uint32_t room = count < ninsns ? count : ninsns + 1;
	recs = calloc(room, sizeof(*recs));
	if (!recs)
		return -ENOMEM;
	err = find_starts(insns, ninsns, &starts);
	if (err) {
		free(recs);
		return err;
	}
	for (uint32_t i = 0; i < count && i < room && !err; i++) {
		struct bpf_line_info *rec = &recs[i];
		err = read_record(attr->line_info + (uint64_t)i * size, rec, sizeof(*rec), size,
				  log, "line_info");
		if (!err)
			err = check_line(btf, insns, ninsns, rec, i, log);
		if (err || s == starts.n)
			continue;
		if (rec->insn_off == starts.at[s]) {
			s++;
		} else if (starts.at[s] < rec->insn_off) {
			skep_log_printf(log, "missing bpf_line_info for func#%u\n", s);
			err = -EINVAL;
		}
	}
	if (!err && s != starts.n) {
		skep_log_printf(log, "missing bpf_line_info for %u funcs starting from func#%u\n",
				starts.n - s, s);
		err = -EINVAL;
	}
	free(starts.at);
	if (err) {
		free(recs);
		return err;
	}
	*out = recs;
	*n = count;
	return 0;
}
