/* SPDX-License-Identifier: Apache-2.0 */
#include "client/object.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/elf.h"
#include "client/libbpf.h"

#define MAX_OBJECT (256u << 20)

/* Section names as libbpf before 1.0 (and tc) understood them, as prefixes. What libbpf 1.x knows
 * by itself it decides. */
static const struct {
	const char *prefix;
	enum bpf_prog_type type;
	enum bpf_attach_type attach;
} sections[] = {
	{"socket", BPF_PROG_TYPE_SOCKET_FILTER, 0},
	{"filter", BPF_PROG_TYPE_SOCKET_FILTER, 0},
	{"xdp", BPF_PROG_TYPE_XDP, BPF_XDP},
	{"xdp_devmap", BPF_PROG_TYPE_XDP, BPF_XDP_DEVMAP},
	{"xdp_cpumap", BPF_PROG_TYPE_XDP, BPF_XDP_CPUMAP},
	{"classifier", BPF_PROG_TYPE_SCHED_CLS, 0},
	{"tc", BPF_PROG_TYPE_SCHED_CLS, 0},
	{"ingress", BPF_PROG_TYPE_SCHED_CLS, 0},
	{"egress", BPF_PROG_TYPE_SCHED_CLS, 0},
	{"action", BPF_PROG_TYPE_SCHED_ACT, 0},
	{"kprobe", BPF_PROG_TYPE_KPROBE, 0},
	{"kretprobe", BPF_PROG_TYPE_KPROBE, 0},
	{"uprobe", BPF_PROG_TYPE_KPROBE, 0},
	{"uretprobe", BPF_PROG_TYPE_KPROBE, 0},
	{"tracepoint", BPF_PROG_TYPE_TRACEPOINT, 0},
	{"tp", BPF_PROG_TYPE_TRACEPOINT, 0},
	{"raw_tracepoint", BPF_PROG_TYPE_RAW_TRACEPOINT, 0},
	{"raw_tp", BPF_PROG_TYPE_RAW_TRACEPOINT, 0},
	{"perf_event", BPF_PROG_TYPE_PERF_EVENT, 0},
	{"lwt_in", BPF_PROG_TYPE_LWT_IN, 0},
	{"lwt_out", BPF_PROG_TYPE_LWT_OUT, 0},
	{"lwt_xmit", BPF_PROG_TYPE_LWT_XMIT, 0},
	{"lwt_seg6local", BPF_PROG_TYPE_LWT_SEG6LOCAL, 0},
	{"cgroup/skb", BPF_PROG_TYPE_CGROUP_SKB, 0},
	{"cgroup_skb/ingress", BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_INGRESS},
	{"cgroup_skb/egress", BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS},
	{"cgroup/sock", BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET_SOCK_CREATE},
	{"cgroup/dev", BPF_PROG_TYPE_CGROUP_DEVICE, BPF_CGROUP_DEVICE},
	{"sockops", BPF_PROG_TYPE_SOCK_OPS, BPF_CGROUP_SOCK_OPS},
	{"sk_skb", BPF_PROG_TYPE_SK_SKB, 0},
	{"sk_skb/stream_parser", BPF_PROG_TYPE_SK_SKB, BPF_SK_SKB_STREAM_PARSER},
	{"sk_skb/stream_verdict", BPF_PROG_TYPE_SK_SKB, BPF_SK_SKB_STREAM_VERDICT},
	{"sk_msg", BPF_PROG_TYPE_SK_MSG, BPF_SK_MSG_VERDICT},
	{"sk_reuseport", BPF_PROG_TYPE_SK_REUSEPORT, BPF_SK_REUSEPORT_SELECT},
	{"lirc_mode2", BPF_PROG_TYPE_LIRC_MODE2, BPF_LIRC_MODE2},
	{"flow_dissector", BPF_PROG_TYPE_FLOW_DISSECTOR, BPF_FLOW_DISSECTOR},
	{"syscall", BPF_PROG_TYPE_SYSCALL, 0},
};

int skep_client_section(const char *section, enum bpf_prog_type *type, enum bpf_attach_type *attach)
{
	size_t best = 0;

	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		size_t n = strlen(sections[i].prefix);

		if (n <= best || strncmp(section, sections[i].prefix, n) != 0)
			continue;
		best = n;
		*type = sections[i].type;
		*attach = sections[i].attach;
	}
	return best ? 0 : -ENOENT;
}

static void set_types(struct bpf_object *obj)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, obj)
	{
		enum bpf_prog_type type;
		enum bpf_attach_type attach;

		if (bpf_program__type(prog) != BPF_PROG_TYPE_UNSPEC)
			continue;
		if (!skep_client_section(bpf_program__section_name(prog), &type, &attach)) {
			bpf_program__set_type(prog, type);
			bpf_program__set_expected_attach_type(prog, attach);
		} else {
			bpf_program__set_autoload(prog, false);
		}
	}
}

void skep_client_reason(char *buf, size_t size, int err)
{
	const char *w = skep_client_warnings();
	size_t n = 0;

	while (*w && n + 1 < size) {
		if (!strncmp(w, "libbpf: ", 8)) {
			w += 8;
			continue;
		}
		buf[n++] = *w == '\n' ? (w[1] ? ';' : ' ') : *w;
		if (*w == '\n' && w[1] && n + 1 < size)
			buf[n++] = ' ';
		w++;
	}
	while (n && buf[n - 1] == ' ')
		n--;
	buf[n] = 0;
	if (!n)
		strncat(buf, strerror(-err), size - 1);
}

int skep_client_open(struct bpf_object **out, const void *image, size_t size, const char *name,
		     struct skep_error *err)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = name);
	void *own = NULL;
	char why[1024];
	int r;

	r = skep_elf_check(image, size, err);
	if (r)
		return r;
	if (skep_elf_has_legacy_maps(image, size)) {
		r = skep_elf_translate_maps(image, size, &own, &size, err);
		if (r)
			return r;
	} else {
		own = malloc(size);
		if (!own)
			return skep_fail(err, -ENOMEM, NULL, "out of memory");
		memcpy(own, image, size);
	}
	skep_elf_fix_gnu(own);
	skep_client_collect();
	*out = bpf_object__open_mem(own, size, &opts);
	r = *out ? 0 : -errno;
	if (*out) {
		set_types(*out);
	} else {
		skep_client_reason(why, sizeof(why), r);
		skep_fail(err, r, NULL, "the object can't be opened: %s", why);
	}
	/* libbpf has copied what it needs. */
	free(own);
	return r;
}

int skep_client_read(const char *path, void **data, size_t *size, struct skep_error *err)
{
	struct stat st;
	uint8_t *p = NULL;
	size_t have = 0;
	int fd, r = 0;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		r = -errno;
		skep_fail(err, r, r == -ENOENT ? "Check the name." : NULL, "%s: %s", path,
			  strerror(-r));
		goto out;
	}
	if (S_ISDIR(st.st_mode)) {
		r = skep_fail(err, -EISDIR, "Pass a file in it.", "%s: is a directory", path);
		goto out;
	}
	if (st.st_size > MAX_OBJECT) {
		r = skep_fail(err, -EFBIG, NULL, "%s: larger than %u MiB", path, MAX_OBJECT >> 20);
		goto out;
	}
	/* Pipes have no size: read until the end, whatever stat said. */
	for (size_t cap = (size_t)st.st_size + 4096;; cap *= 2) {
		uint8_t *q = realloc(p, cap);
		ssize_t n = 0;

		if (!q || cap > 2ull * MAX_OBJECT) {
			r = skep_fail(err, -ENOMEM, NULL, "%s: too large", path);
			free(q ? q : p);
			p = NULL;
			goto out;
		}
		p = q;
		while (have < cap) {
			n = read(fd, p + have, cap - have);
			if (n <= 0)
				break;
			have += (size_t)n;
		}
		if (n < 0) {
			r = -errno;
			skep_fail(err, r, NULL, "%s: %s", path, strerror(-r));
			goto out;
		}
		if (have < cap)
			break;
	}
out:
	if (fd >= 0)
		close(fd);
	if (r) {
		free(p);
		return r;
	}
	*data = p;
	*size = have;
	return 0;
}
