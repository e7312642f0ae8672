// SPDX-License-Identifier: Apache-2.0
/* What /proc says of handles, but for numbers of objects and sizes of memory: the same on the kernel and on an
 * instance. */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* By each way that clients have. */
static void read_info(const char *path, int fd)
{
	static const char *const varying[] = {
		"ino:", "mnt_id:", "map_id:", "prog_id:", "btf_id:", "memlock:", "run_time_ns:"};
	char line[256], same[4096] = "", text[4096] = "", number[16];
	FILE *f = fopen(path, "r");
	int dir, in;

	while (f && fgets(line, sizeof(line), f)) {
		int vary = 0;

		strcat(same, line);
		for (size_t i = 0; i < sizeof(varying) / sizeof(varying[0]); i++)
			vary |= !strncmp(line, varying[i], strlen(varying[i]));
		if (vary)
			line[strcspn(line, "\t")] = 0, strcat(line, " N\n");
		fputs(line, stdout);
	}
	if (f)
		fclose(f);
	dir = open("/proc/self/fdinfo", O_RDONLY | O_DIRECTORY);
	snprintf(number, sizeof(number), "%d", fd);
	in = openat(dir, number, O_RDONLY);
	printf("again %zd %d\n", read(in, text, sizeof(text) - 1) - (ssize_t)strlen(same),
	       strcmp(text, same));
	close(in);
	close(dir);
}

static void show(const char *name, int fd)
{
	char path[64], link[64] = "", small[8] = "";
	ssize_t n;

	printf("== %s %d\n", name, fd < 0 ? -errno : fd);
	if (fd < 0)
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link) - 1);
	printf("%zd %s", n, link);
	n = readlink(path, small, 6);
	printf(" %zd %.6s\n", n, small);
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", getpid(), fd);
	read_info(path, fd);
}

static int map(enum bpf_map_type type, const char *name, unsigned key, unsigned value,
	       unsigned entries, unsigned flags, uint64_t extra)
{
	LIBBPF_OPTS(bpf_map_create_opts, o, .map_flags = flags, .map_extra = extra);

	return bpf_map_create(type, name, key, value, entries, &o);
}

int main(void)
{
	const struct bpf_insn exit0[] = {{.code = BPF_ALU64 | BPF_MOV},
					 {.code = BPF_JMP | BPF_EXIT}};
	struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
				       .config = PERF_COUNT_SW_BPF_OUTPUT,
				       .size = sizeof(attr),
				       .sample_type = PERF_SAMPLE_RAW};
	const struct {
		uint16_t magic;
		uint8_t version, flags;
		uint32_t header, type_off, type_len, str_off, str_len, type[4];
		char str[5];
	} btf = {0xeb9f, 1, 0, 24, 0, 16, 16, 5, {1, 1 << 24, 4, 32}, "\0int"};
	LIBBPF_OPTS(bpf_test_run_opts, run);
	char packet[64] = "";
	uint32_t key = 1;
	int fd, prog;

	show("hash", map(BPF_MAP_TYPE_HASH, "h", 4, 8, 16, 0, 0));
	show("no_prealloc", map(BPF_MAP_TYPE_HASH, "h", 4, 8, 16, BPF_F_NO_PREALLOC, 0));
	show("ring", map(BPF_MAP_TYPE_RINGBUF, "r", 0, 0, 4096, 0, 0));
	show("bloom", map(BPF_MAP_TYPE_BLOOM_FILTER, "b", 0, 4, 16, 0, 3));
	show("rdonly", map(BPF_MAP_TYPE_ARRAY, "ro", 4, 8, 16, BPF_F_RDONLY, 0));
	show("wronly", map(BPF_MAP_TYPE_ARRAY, "wo", 4, 8, 16, BPF_F_WRONLY, 0));
	fd = map(BPF_MAP_TYPE_ARRAY, "f", 4, 8, 16, BPF_F_MMAPABLE, 0);
	bpf_map_freeze(fd);
	show("frozen", fd);
	prog = bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, "p", "GPL", exit0, 2, NULL);
	show("prog", prog);
	show("stats", bpf_enable_stats(BPF_STATS_RUN_TIME));
	run.data_in = packet;
	run.data_size_in = sizeof(packet);
	run.repeat = 3;
	bpf_prog_test_run_opts(prog, &run);
	show("prog that ran", prog);
	fd = map(BPF_MAP_TYPE_PROG_ARRAY, "pa", 4, 4, 4, 0, 0);
	bpf_map_update_elem(fd, &key, &prog, 0);
	show("prog_array", fd);
	show("btf", bpf_btf_load(&btf, 24 + 16 + 5, NULL));
	show("perf", (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, 0));
	show("dup", dup(prog));
	show("none", -1);
	return 0;
}
