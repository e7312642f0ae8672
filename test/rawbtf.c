/* SPDX-License-Identifier: Apache-2.0 */
#include "rawbtf.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/btf.h>

#include "bpf/instance.h"
#include "btf/btf.h"

/* Words behind a type, and for each of its vlen. */
static const uint8_t words[][2] = {
	[BTF_KIND_INT] = {1},       [BTF_KIND_ARRAY] = {3},      [BTF_KIND_STRUCT] = {0, 3},
	[BTF_KIND_UNION] = {0, 3},  [BTF_KIND_ENUM] = {0, 2},    [BTF_KIND_FUNC_PROTO] = {0, 2},
	[BTF_KIND_VAR] = {1},       [BTF_KIND_DATASEC] = {0, 3}, [BTF_KIND_DECL_TAG] = {1},
	[BTF_KIND_ENUM64] = {0, 3},
};

static char *read_all(int fd, size_t size)
{
	char *p = malloc(size);
	size_t at = 0;

	while (p && at < size) {
		ssize_t n = read(fd, p + at, size - at);

		if (n <= 0) {
			free(p);
			return NULL;
		}
		at += (size_t)n;
	}
	return p;
}

char *rawbtf_open(struct skep *skep)
{
	const struct skep_btf *btf;
	struct stat st;
	char *p = NULL;
	int fd;

	if (skep) {
		if (skep_btf_presented(skep, &btf))
			return NULL;
		p = malloc(btf->data_size);
		return p ? memcpy(p, btf->data, btf->data_size) : NULL;
	}
	fd = open("/sys/kernel/btf/vmlinux", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	if (!fstat(fd, &st))
		p = read_all(fd, (size_t)st.st_size);
	close(fd);
	return p;
}

static const char *strings(const char *raw)
{
	const struct btf_header *h = (const struct btf_header *)raw;

	return raw + h->hdr_len + h->str_off;
}

static const uint32_t *find(const char *raw, uint32_t kind, const char *name, uint32_t *id)
{
	const struct btf_header *h = (const struct btf_header *)raw;
	const uint32_t *p, *end;

	if (!raw)
		return NULL;
	p = (const uint32_t *)(raw + h->hdr_len + h->type_off);
	end = p + h->type_len / 4;
	for (*id = 1; p < end; ++*id) {
		uint32_t k = BTF_INFO_KIND(p[1]);

		if (k == kind && !strcmp(strings(raw) + p[0], name))
			return p;
		p += 3 + words[k][0] + words[k][1] * (k == BTF_KIND_FUNC ? 0 : p[1] & 0xffff);
	}
	return NULL;
}

uint32_t rawbtf_find(const char *raw, uint32_t kind, const char *name)
{
	uint32_t id;

	return find(raw, kind, name, &id) ? id : 0;
}

static const uint32_t *by_id(const char *raw, uint32_t id)
{
	const struct btf_header *h = (const struct btf_header *)raw;
	const uint32_t *p = (const uint32_t *)(raw + h->hdr_len + h->type_off);

	while (--id) {
		uint32_t k = BTF_INFO_KIND(p[1]);

		p += 3 + words[k][0] + words[k][1] * (k == BTF_KIND_FUNC ? 0 : p[1] & 0xffff);
	}
	return p;
}

static int member_of(const char *raw, const uint32_t *t, const char *member)
{
	const uint32_t *m = t + 3;

	for (uint32_t i = 0; i < (t[1] & 0xffff); i++, m += 3) {
		int at = (int)((t[1] >> 31 ? m[2] & 0xffffff : m[2]) / 8), in;
		const uint32_t *mt;
		uint32_t kind;

		if (!strcmp(strings(raw) + m[0], member))
			return at;
		mt = m[0] || !m[1] ? NULL : by_id(raw, m[1]);
		kind = mt ? BTF_INFO_KIND(mt[1]) : 0;
		in = kind == BTF_KIND_STRUCT || kind == BTF_KIND_UNION ? member_of(raw, mt, member)
								       : -1;
		if (in >= 0)
			return at + in;
	}
	return -1;
}

int rawbtf_member(const char *raw, const char *type, const char *member)
{
	uint32_t id;
	const uint32_t *t = find(raw, BTF_KIND_STRUCT, type, &id);

	return t ? member_of(raw, t, member) : -1;
}
