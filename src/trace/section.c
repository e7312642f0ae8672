/* SPDX-License-Identifier: Apache-2.0 */
/* Section names, as libbpf has them, to attachments. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trace/session.h"

/* "PATH:FUNC", "PATH:FUNC+OFF", "PATH:0xADDR"; what is in `spec` is cut in pieces. */
static int split(char *spec, struct skep_uprobe *u, struct skep_error *err)
{
	char *colon = strrchr(spec, ':'), *plus, *end;

	/* C++ names have colons, paths rarely: the first one that is single. */
	for (char *p = spec; *p; p++)
		if (*p == ':' && p[1] != ':' && (p == spec || p[-1] != ':')) {
			colon = p;
			break;
		}
	if (!colon || colon == spec || !colon[1])
		return skep_fail(err, -EINVAL, "SEC(\"uprobe//bin/bash:readline\")",
				 "'%s' is not PATH:FUNCTION", spec);
	*colon = 0;
	u->path = spec;
	u->func = colon + 1;
	if (isdigit((unsigned char)u->func[0])) {
		u->offset = strtoull(u->func, &end, 0);
		if (*end)
			return skep_fail(err, -EINVAL, NULL, "'%s' is no address", u->func);
		u->func = NULL;
		return 0;
	}
	plus = strrchr(u->func, '+');
	if (plus && isdigit((unsigned char)plus[1])) {
		u->offset = strtoull(plus + 1, &end, 0);
		if (*end)
			return skep_fail(err, -EINVAL, NULL, "'%s' is no offset", plus + 1);
		*plus = 0;
	}
	return 0;
}

static int attach_uprobe(struct skep_trace *t, int prog_fd, const char *rest, int flags,
			 struct skep_error *err)
{
	struct skep_uprobe u = {.ret = flags & 1, .pattern = flags & 2};
	char *spec = strdup(rest);
	int e = spec ? split(spec, &u, err) : -ENOMEM;

	if (!e && u.ret && u.offset && u.func)
		e = skep_fail(err, -EINVAL, NULL, "a return has no offset: '%s'", rest);
	if (!e)
		e = skep_trace_uprobe(t, prog_fd, &u, err);
	free(spec);
	return e;
}

/* flags: the kind of link. What follows the prefix is the call's name, or nothing. */
static int attach_syscall(struct skep_trace *t, int prog_fd, const char *rest, int flags,
			  struct skep_error *err)
{
	const char *name = rest[0] ? rest : NULL;
	int nr = name ? skep_trace_syscall_nr(name) : -1, e = 0;

	if (!name || nr >= 0)
		e = syscalls_check_record(t->skep, prog_fd, nr, (uint32_t)flags, err);
	return e ? e : skep_trace_syscall(t, prog_fd, name, (uint32_t)flags, 0, err);
}

static const struct {
	const char *prefix;
	int (*attach)(struct skep_trace *t, int prog_fd, const char *rest, int flags,
		      struct skep_error *err);
	int flags;
} sections[] = {
	{"uprobe/", attach_uprobe, 0},
	{"uprobe.s/", attach_uprobe, 0},
	{"uretprobe/", attach_uprobe, 1},
	{"uretprobe.s/", attach_uprobe, 1},
	{"uprobe.multi/", attach_uprobe, 2},
	{"uprobe.multi.s/", attach_uprobe, 2},
	{"tracepoint/syscalls/sys_enter_", attach_syscall, AGENT_SYS_ENTER_TP},
	{"tracepoint/syscalls/sys_exit_", attach_syscall, AGENT_SYS_EXIT_TP},
	{"tracepoint/raw_syscalls/sys_enter", attach_syscall, AGENT_SYS_ENTER_TP},
	{"tracepoint/raw_syscalls/sys_exit", attach_syscall, AGENT_SYS_EXIT_TP},
	{"tp/syscalls/sys_enter_", attach_syscall, AGENT_SYS_ENTER_TP},
	{"tp/syscalls/sys_exit_", attach_syscall, AGENT_SYS_EXIT_TP},
	{"tp/raw_syscalls/sys_enter", attach_syscall, AGENT_SYS_ENTER_TP},
	{"tp/raw_syscalls/sys_exit", attach_syscall, AGENT_SYS_EXIT_TP},
	{"raw_tp/sys_enter", attach_syscall, AGENT_RAW_ENTER},
	{"raw_tp/sys_exit", attach_syscall, AGENT_RAW_EXIT},
	{"raw_tracepoint/sys_enter", attach_syscall, AGENT_RAW_ENTER},
	{"raw_tracepoint/sys_exit", attach_syscall, AGENT_RAW_EXIT},
	{"ksyscall/", attach_syscall, AGENT_KSYSCALL},
	{"kretsyscall/", attach_syscall, AGENT_KRETSYSCALL},
	{"kprobe/__x64_sys_", attach_syscall, AGENT_KSYSCALL},
	{"kretprobe/__x64_sys_", attach_syscall, AGENT_KRETSYSCALL},
	{"uretprobe.multi/", attach_uprobe, 3},
	{"uretprobe.multi.s/", attach_uprobe, 3},
};

int skep_trace_section(struct skep_trace *t, int prog_fd, const char *section,
		       struct skep_error *err)
{
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		size_t n = strlen(sections[i].prefix);

		if (!strncmp(section, sections[i].prefix, n))
			return sections[i].attach(t, prog_fd, section + n, sections[i].flags, err);
	}
	return skep_fail(err, -EOPNOTSUPP, NULL,
			 "section \"%s\" names nothing that can be traced here", section);
}

int skep_trace_section_check(struct skep *skep, int prog_fd, const char *section,
			     struct skep_error *err)
{
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		size_t n = strlen(sections[i].prefix);
		int nr;

		if (strncmp(section, sections[i].prefix, n) != 0 ||
		    sections[i].attach != attach_syscall)
			continue;
		nr = section[n] ? skep_trace_syscall_nr(section + n) : -1;
		return section[n] && nr < 0
			       ? 0
			       : syscalls_check_record(skep, prog_fd, nr,
						       (uint32_t)sections[i].flags, err);
	}
	return 0;
}
