/* SPDX-License-Identifier: Apache-2.0 */
#include "memcg.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool put(const char *dir, const char *file, const char *text)
{
	char path[1300];
	int fd;
	bool ok;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return ok;
}

static bool get(const char *dir, const char *file, char *buf, size_t size)
{
	char path[1300];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	f = fopen(path, "re");
	if (!f)
		return false;
	n = fread(buf, 1, size - 1, f);
	buf[n] = 0;
	fclose(f);
	return true;
}

/* Where the hierarchy is mounted: version 1 by its controller, version 2 by its type. */
static bool mounted(bool v1, char *at, size_t size)
{
	char line[1024], point[512], type[64], opts[512];
	FILE *f = fopen("/proc/self/mounts", "re");
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*s %511s %63s %511s", point, type, opts) != 3)
			continue;
		if (v1) {
			char *name = NULL;

			for (char *o = strtok_r(opts, ",", &name); o;
			     o = strtok_r(NULL, ",", &name))
				found |= !strcmp(type, "cgroup") && !strcmp(o, "memory");
		} else {
			found = !strcmp(type, "cgroup2");
		}
	}
	if (f)
		fclose(f);
	if (found)
		snprintf(at, size, "%s", point);
	return found;
}

/* The cgroup that this process is in, as a folder. */
static bool own(bool v1, char *dir, size_t size)
{
	char buf[4096], at[512], *line, *save = NULL;

	if (!mounted(v1, at, sizeof(at)) || !get("/proc/self", "cgroup", buf, sizeof(buf)))
		return false;
	for (line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;

		if (!path)
			continue;
		*path++ = 0;
		if (v1 ? !!strstr(names, "memory") : !strcmp(names, ":")) {
			snprintf(dir, size, "%s%s", at, path);
			return !access(dir, W_OK);
		}
	}
	return false;
}

bool memcg_limit(const struct memcg *cg, size_t limit)
{
	char text[32];

	snprintf(text, sizeof(text), "%zu", limit);
	/* Without swap the limit is one of memory; with it, it must be of both. */
	if (!cg->v1)
		put(cg->dir, "memory.swap.max", "0");
	else
		put(cg->dir, "memory.memsw.limit_in_bytes", text);
	return put(cg->dir, cg->v1 ? "memory.limit_in_bytes" : "memory.max", text) &&
	       (!cg->v1 || put(cg->dir, "memory.memsw.limit_in_bytes", text) || errno == EACCES ||
		errno == ENOENT);
}

bool memcg_make(struct memcg *cg, size_t limit)
{
	char parent[1100], has[512] = "";

	cg->dir[0] = 0;
	cg->v1 = own(true, parent, sizeof(parent));
	if (!cg->v1) {
		if (!own(false, parent, sizeof(parent)) ||
		    !get(parent, "cgroup.controllers", has, sizeof(has)) ||
		    !strstr(has, "memory") || !put(parent, "cgroup.subtree_control", "+memory")) {
			printf("no memory cgroup can be made here\n");
			return false;
		}
	}
	snprintf(cg->dir, sizeof(cg->dir), "%s/skep-test-%d", parent, getpid());
	if (mkdir(cg->dir, 0755)) {
		printf("%s: %s\n", cg->dir, strerror(errno));
		cg->dir[0] = 0;
		return false;
	}
	if (memcg_limit(cg, limit))
		return true;
	printf("%s: no limit can be set: %s\n", cg->dir, strerror(errno));
	rmdir(cg->dir);
	cg->dir[0] = 0;
	return false;
}

bool memcg_join(const struct memcg *cg)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", getpid());
	return put(cg->dir, "cgroup.procs", text);
}

bool memcg_wait(const struct memcg *cg)
{
	return cg->v1 && put(cg->dir, "memory.oom_control", "1");
}

long memcg_kills(const struct memcg *cg)
{
	char buf[1024], *p;

	if (!get(cg->dir, cg->v1 ? "memory.oom_control" : "memory.events", buf, sizeof(buf)))
		return -1;
	p = strstr(buf, "oom_kill ");
	return p ? atol(p + strlen("oom_kill ")) : -1;
}

void memcg_drop(struct memcg *cg)
{
	/* What is left are pages of segments, which their files keep; the last of a killed
	 * process may still be on its way. */
	for (int i = 0; i < 200 && rmdir(cg->dir) && errno == EBUSY; i++)
		usleep(10000);
	cg->dir[0] = 0;
}
