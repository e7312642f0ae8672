/* SPDX-License-Identifier: Apache-2.0 */
/* Which places in which files programs are attached to. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "trace/session.h"

/* ---- Files ---- */

/* The first of a list of directories with such a file in it. */
static bool in_dirs(const char *dirs, const char *name, int access_mode, char *path, size_t size)
{
	while (dirs && *dirs) {
		size_t n = strcspn(dirs, ":");
		struct stat st;

		snprintf(path, size, "%.*s/%s", (int)n, dirs, name);
		if (!stat(path, &st) && S_ISREG(st.st_mode) && !access(path, access_mode))
			return true;
		dirs += n + (dirs[n] == ':');
	}
	return false;
}

int skep_trace_find_file(const char *name, char *path, size_t size)
{
	static const char libs[] = "/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu:/lib64:"
				   "/usr/lib64:/usr/local/lib:/usr/lib:/lib";
	char so[256];

	if (strchr(name, '/')) {
		snprintf(path, size, "%s", name);
		return access(path, R_OK) ? -ENOENT : 0;
	}
	if (strstr(name, ".so"))
		return in_dirs(getenv("LD_LIBRARY_PATH"), name, R_OK, path, size) ||
				       in_dirs(libs, name, R_OK, path, size)
			       ? 0
			       : -ENOENT;
	if (in_dirs(getenv("PATH"), name, X_OK, path, size) ||
	    in_dirs("/usr/sbin:/sbin:/usr/bin:/bin", name, X_OK, path, size))
		return 0;
	/* "c" is libc, as bcc has it. */
	for (int i = 0; i < 2; i++) {
		snprintf(so, sizeof(so), i ? "lib%s.so" : "lib%s.so.6", name);
		if (in_dirs(libs, so, R_OK, path, size))
			return 0;
	}
	return -ENOENT;
}

static int open_file(struct skep_trace *t, const char *name, struct trace_elf **out,
		     struct skep_error *err)
{
	struct trace_elf **grown, *elf;
	uint64_t dev, ino, d, i;
	char path[4096];
	struct stat st;
	int e;

	if (skep_trace_find_file(name, path, sizeof(path)) || stat(path, &st))
		return skep_fail(err, -ENOENT, "Give its path.", "there is no file '%s'", name);
	dev = st.st_dev;
	ino = st.st_ino;
	for (size_t k = 0; k < t->nelfs; k++) {
		trace_elf_id(t->elfs[k], &d, &i);
		if (d == dev && i == ino) {
			*out = t->elfs[k];
			return 0;
		}
	}
	e = trace_elf_open(&elf, path);
	if (e)
		return skep_fail(err, e, NULL, "%s: %s", path,
				 e == -ENOEXEC ? "no ELF file for x86-64" : strerror(-e));
	grown = realloc(t->elfs, (t->nelfs + 1) * sizeof(*grown));
	if (!grown) {
		trace_elf_close(elf);
		return -ENOMEM;
	}
	t->elfs = grown;
	grown[t->nelfs++] = *out = elf;
	return 0;
}

/* ---- Points ---- */

static struct point *point_at(struct skep_trace *t, struct trace_elf *elf, uint64_t offset,
			      const struct trace_func *func)
{
	struct point *grown;

	for (size_t i = 0; i < t->npoints; i++)
		if (t->points[i].elf == elf && t->points[i].offset == offset)
			return &t->points[i];
	grown = realloc(t->points, (t->npoints + 1) * sizeof(*grown));
	if (!grown)
		return NULL;
	t->points = grown;
	grown[t->npoints] = (struct point){.elf = elf, .offset = offset, .func = *func};
	return &grown[t->npoints++];
}

struct adding {
	struct skep_trace *t;
	struct trace_elf *elf;
	const struct skep_uprobe *u;
	int link;
	unsigned n;
	struct skep_error *err;
};

static int add_point(struct adding *a, uint64_t offset, const struct trace_func *func)
{
	struct point *p = point_at(a->t, a->elf, offset, func);

	if (!p)
		return -ENOMEM;
	if (a->u->semaphore) {
		p->semaphore = a->u->semaphore;
		a->t->semaphores = true;
	}
	if (p->nentry + p->nreturn == AGENT_SITE_LINKS)
		return skep_fail(a->err, -E2BIG, NULL, "more than %d programs at one place",
				 AGENT_SITE_LINKS);
	if (a->u->ret) {
		p->links[p->nentry + p->nreturn++] = (uint32_t)a->link;
	} else {
		memmove(&p->links[p->nentry + 1], &p->links[p->nentry],
			p->nreturn * sizeof(p->links[0]));
		p->links[p->nentry++] = (uint32_t)a->link;
	}
	a->n++;
	return 0;
}

static int add_match(void *arg, const struct trace_func *f)
{
	struct adding *a = arg;

	return add_point(a, f->offset, f);
}

/* Where unwinders begin, and where a caught exception ends. Returns that are awaited take the place of
 * return addresses, which those read. */
static const struct {
	const char *name;
	uint32_t flag;
} unwinders[] = {
	{"_Unwind_RaiseException", AGENT_SITE_UNWIND},
	{"_Unwind_Resume", AGENT_SITE_UNWIND},
	{"_Unwind_Resume_or_Rethrow", AGENT_SITE_UNWIND},
	{"_Unwind_ForcedUnwind", AGENT_SITE_UNWIND},
	{"_Unwind_Backtrace", AGENT_SITE_UNWIND},
	{"__cxa_begin_catch", AGENT_SITE_CAUGHT},
};

static int add_unwinders(struct skep_trace *t)
{
	static const char *const libs[] = {"libgcc_s.so.1", "libstdc++.so.6"};
	struct trace_elf *elf;
	struct trace_func f;

	for (size_t i = 0; !t->unwinders && i < sizeof(libs) / sizeof(libs[0]); i++)
		(void)open_file(t, libs[i], &elf, NULL); /* not there: nobody uses it */
	t->unwinders = true;
	for (size_t i = 0; i < t->nelfs; i++)
		for (size_t k = 0; k < sizeof(unwinders) / sizeof(unwinders[0]); k++) {
			struct point *p;

			if (trace_elf_find(t->elfs[i], unwinders[k].name, &f))
				continue;
			p = point_at(t, t->elfs[i], f.offset, &f);
			if (!p)
				return -ENOMEM;
			p->flags |= unwinders[k].flag;
		}
	return 0;
}

int skep_trace_uprobe(struct skep_trace *t, int prog_fd, const struct skep_uprobe *u,
		      struct skep_error *err)
{
	struct adding a = {.t = t, .u = u, .err = err};
	struct trace_func f;
	int e = open_file(t, u->path, &a.elf, err);

	if (e)
		return e;
	if (u->ret && trace_elf_is_go(a.elf))
		return skep_fail(err, -EOPNOTSUPP,
				 "Attach to the entry, or to the addresses of its return "
				 "instructions.",
				 "%s is a Go program: its runtime moves stacks, and a replaced "
				 "return address would crash it",
				 u->path);
	if (u->func && !u->pattern) {
		e = trace_elf_find(a.elf, u->func, &f);
		if (e == -EEXIST)
			return skep_fail(err, e, "Give its address: path:0x1234.",
					 "%s has several functions '%s'", u->path, u->func);
	} else if (!u->func) {
		e = trace_elf_around(a.elf, u->offset, &f);
	}
	if (e)
		return u->func ? skep_fail(err, e, NULL, "%s has no function '%s'", u->path,
					   u->func)
			       : skep_fail(err, e, NULL, "%s has no code at offset 0x%llx", u->path,
					   (unsigned long long)u->offset);
	a.link =
		trace_add_link(t, prog_fd, u->ret ? AGENT_RETURN : AGENT_ENTRY, u->cookie, -1, err);
	if (a.link < 0)
		return a.link;
	if (u->pattern)
		e = trace_elf_match(a.elf, u->func, add_match, &a);
	else if (u->func)
		e = add_point(&a, f.offset + u->offset, &f);
	else
		e = add_point(&a, u->offset, &f);
	if (e >= 0 && u->ret)
		e = add_unwinders(t);
	if (e < 0)
		return e;
	return a.n ? (int)a.n
		   : skep_fail(err, -ENOENT, NULL, "%s has no function that matches '%s'", u->path,
			       u->func);
}
