/* SPDX-License-Identifier: Apache-2.0 */
#include "client/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int read_all(int fd, char **out, size_t *len)
{
	struct stat st;
	char *p;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return -errno;
	p = malloc((size_t)st.st_size + 1);
	if (!p)
		return -ENOMEM;
	n = pread(fd, p, (size_t)st.st_size, 0);
	if (n < 0) {
		free(p);
		return -errno;
	}
	p[n] = 0;
	*out = p;
	if (len)
		*len = (size_t)n;
	return 0;
}

int skep_tool_run(const struct skep_args *args, char **out, size_t *out_len, char **errs)
{
	posix_spawn_file_actions_t fa;
	int ofd = -1, efd = -1, r, status;
	pid_t pid;

	if (out)
		*out = NULL;
	if (errs)
		*errs = NULL;
	r = posix_spawn_file_actions_init(&fa);
	if (r)
		return -r;
	if (out) {
		ofd = memfd_create("skep-out", MFD_CLOEXEC);
		if (ofd < 0)
			r = errno;
		else
			r = posix_spawn_file_actions_adddup2(&fa, ofd, STDOUT_FILENO);
	}
	if (!r && errs) {
		efd = memfd_create("skep-err", MFD_CLOEXEC);
		if (efd < 0)
			r = errno;
		else
			r = posix_spawn_file_actions_adddup2(&fa, efd, STDERR_FILENO);
	}
	if (!r)
		r = posix_spawn_file_actions_addopen(&fa, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (!r)
		r = posix_spawnp(&pid, args->v[0], &fa, NULL, (char *const *)(uintptr_t)args->v,
				 environ);
	posix_spawn_file_actions_destroy(&fa);
	if (r) {
		r = -r;
		goto out;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR) {
			r = -errno;
			goto out;
		}
	r = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	if (out && read_all(ofd, out, out_len) < 0)
		r = -ENOMEM;
	if (errs && read_all(efd, errs, NULL) < 0)
		r = -ENOMEM;
out:
	if (ofd >= 0)
		close(ofd);
	if (efd >= 0)
		close(efd);
	return r;
}

int skep_tool_find(const char *name, char *path, size_t size)
{
	const char *dirs = getenv("PATH"), *end;

	if (strchr(name, '/')) {
		snprintf(path, size, "%s", name);
		return access(path, X_OK) ? -ENOENT : 0;
	}
	for (dirs = dirs ? dirs : "/usr/bin:/bin"; *dirs; dirs = *end ? end + 1 : end) {
		struct stat st;

		end = strchrnul(dirs, ':');
		if ((size_t)snprintf(path, size, "%.*s/%s", (int)(end - dirs), dirs, name) < size &&
		    !access(path, X_OK) && !stat(path, &st) && S_ISREG(st.st_mode))
			return 0;
	}
	return -ENOENT;
}

/* ---- Digest: two multiplicative hashes of 64 bits with different constants ---- */

static uint64_t mix(uint64_t h)
{
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93ull;
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93ull;
	return h ^ (h >> 32);
}

void skep_digest_init(struct skep_digest *d)
{
	d->a = 0x243f6a8885a308d3ull;
	d->b = 0x13198a2e03707344ull;
}

void skep_digest_add(struct skep_digest *d, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t w;

	for (size_t left = len; left; left -= left < 8 ? left : 8, p += 8) {
		w = 0;
		memcpy(&w, p, left < 8 ? left : 8);
		d->a = mix(d->a ^ w) + 0x9e3779b97f4a7c15ull;
		d->b = mix(d->b + w * 0xff51afd7ed558ccdull) ^ 0xa4093822299f31d0ull;
	}
	/* The length ends each part, so that no two sequences of parts look alike. */
	d->a = mix(d->a ^ len);
	d->b = mix(d->b + len + 1);
}

void skep_digest_text(const struct skep_digest *d, char text[33])
{
	snprintf(text, 33, "%016llx%016llx", (unsigned long long)d->a, (unsigned long long)d->b);
}
