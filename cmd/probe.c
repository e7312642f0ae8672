/* SPDX-License-Identifier: Apache-2.0 */
/* Probes: into the maps of the built-in object, and to their places. */
#include "bpf/uapi.h"

#include "probe.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "symbols.h"
#include "trace/agent/abi.h"
#include "trace/elf.h"
#include "trace/trace.h"

#define TARGET_SHIFT 16 /* of a cookie: the probe is below */

const char *probe_name(const struct probes *p, const struct probe_spec *s, uint32_t target)
{
	const char *name;

	if (s->kind == PROBE_SYSCALL) {
		name = sysargs_name(target);
		return name ? name : "?";
	}
	return target < p->ntargets ? p->targets[target].name : s->name;
}

static int program(struct probes *p, const char *name)
{
	return bpf_program__fd(bpf_object__find_program_by_name(p->obj, name));
}

static int attach_syscall(struct probes *p, struct skep_trace *t, uint32_t n,
			  struct skep_error *err)
{
	const struct probe_spec *s = &p->specs[n];
	const char *name = s->nr < 0 ? NULL : s->name;
	int e;

	e = skep_trace_syscall(t, program(p, "on_sys_enter"), name, AGENT_SYS_ENTER_TP, n, err);
	if (e >= 0 && (s->set.flags & PROBE_F_RETURN))
		e = skep_trace_syscall(t, program(p, "on_sys_exit"), name, AGENT_SYS_EXIT_TP, n,
				       err);
	return e;
}

/* Each function has a number of its own, so that it is known by name, wherever it is loaded. */
static int add_target(struct probes *p, const char *name, uint64_t *cookie)
{
	struct probe_target *grown = realloc(p->targets, (p->ntargets + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	p->targets = grown;
	snprintf(grown[p->ntargets].name, sizeof(grown->name), "%s", name);
	*cookie |= (uint64_t)p->ntargets++ << TARGET_SHIFT;
	return 0;
}

struct attaching {
	struct probes *p;
	struct skep_trace *t;
	uint32_t n;
	struct skep_error *err;
	int result;
};

static int attach_function(struct attaching *a, const char *name, const char *func, uint64_t offset)
{
	const struct probe_spec *s = &a->p->specs[a->n];
	struct skep_uprobe u = {.path = s->path, .func = func, .offset = offset, .cookie = a->n};
	int e = add_target(a->p, name, &u.cookie);

	if (e >= 0)
		e = skep_trace_uprobe(a->t, program(a->p, "on_entry"), &u, a->err);
	if (e >= 0 && (s->set.flags & PROBE_F_RETURN)) {
		u.ret = true;
		e = skep_trace_uprobe(a->t, program(a->p, "on_return"), &u, a->err);
	}
	return e < 0 ? e : 0;
}

static int attach_match(void *arg, const struct trace_func *f)
{
	struct attaching *a = arg;

	a->result = attach_function(a, f->name, NULL, f->offset);
	return a->result;
}

static int attach_uprobe(struct probes *p, struct skep_trace *t, uint32_t n, struct skep_error *err)
{
	const struct probe_spec *s = &p->specs[n];
	struct attaching a = {.p = p, .t = t, .n = n, .err = err};
	struct trace_elf *elf;
	char name[160];
	int e;

	if (!strpbrk(s->name, "*?[")) {
		if (s->name[0])
			snprintf(name, sizeof(name), s->offset ? "%s+%#llx" : "%s", s->name,
				 (unsigned long long)s->offset);
		else
			snprintf(name, sizeof(name), "%#llx", (unsigned long long)s->offset);
		return attach_function(&a, name, s->name[0] ? s->name : NULL, s->offset);
	}
	e = trace_elf_open(&elf, s->path);
	if (e)
		return skep_fail(err, e, NULL, "%s: %s", s->path, strerror(-e));
	e = trace_elf_match(elf, s->name, attach_match, &a);
	trace_elf_close(elf);
	if (a.result < 0)
		return a.result;
	return e > 0 ? 0
		     : skep_fail(err, -ENOENT, NULL, "%s has no function that matches '%s'",
				 s->path, s->name);
}

int probes_attach(struct probes *p, struct skep_trace *trace, struct bpf_object *obj,
		  struct skep_error *err)
{
	struct bpf_map *map = bpf_object__find_map_by_name(obj, "probes");
	int e = 0;

	p->obj = obj;
	for (uint32_t i = 0; i < p->nspecs && e >= 0; i++) {
		const struct probe_spec *s = &p->specs[i];

		e = bpf_map__update_elem(map, &i, sizeof(i), &s->set, sizeof(s->set), BPF_ANY);
		if (e) {
			skep_fail(err, e, NULL, "%s: %s", s->text, strerror(-e));
			break;
		}
		e = (s->kind == PROBE_SYSCALL ? attach_syscall : attach_uprobe)(p, trace, i, err);
	}
	return e < 0 ? e : 0;
}

uint64_t probes_lost(const struct probes *p)
{
	struct bpf_map *map = bpf_object__find_map_by_name(p->obj, ".bss");
	uint64_t lost = 0;
	uint32_t zero = 0;

	if (map && bpf_map__value_size(map) == sizeof(lost))
		bpf_map__lookup_elem(map, &zero, sizeof(zero), &lost, sizeof(lost), 0);
	return lost;
}

void probes_free(struct probes *p)
{
	symbols_close(p->symbols);
	free(p->specs);
	free(p->targets);
	free(p->held);
	free(p->parents);
	memset(p, 0, sizeof(*p));
}
