// SPDX-License-Identifier: Apache-2.0
/* Attaching programs to what is the machine's: sockets, perf events. With `works` it must succeed (the
 * kernel), with `refused` fail with EINVAL; what is wrong in itself gets the same errno from both. */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int failed;

static void expect(const char *what, long got, int code)
{
	int err = got < 0 ? errno : 0;

	if (err == code)
		return;
	printf("%s: errno %d, not %d\n", what, err, code);
	failed = 1;
}

static int load(enum bpf_prog_type type)
{
	const struct bpf_insn exit0[] = {{.code = BPF_ALU64 | BPF_MOV},
					 {.code = BPF_JMP | BPF_EXIT}};

	return bpf_prog_load(type, "p", "GPL", exit0, 2, NULL);
}

static int attach(int sock, int option, int fd)
{
	return setsockopt(sock, SOL_SOCKET, option, &fd, sizeof(fd));
}

int main(int argc, char **argv)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
				       .config = PERF_COUNT_SW_CPU_CLOCK,
				       .size = sizeof(attr),
				       .sample_period = 1000000000,
				       .disabled = 1};
	int works = argc == 2 && !strcmp(argv[1], "works");
	int filter = load(BPF_PROG_TYPE_SOCKET_FILTER), xdp = load(BPF_PROG_TYPE_XDP);
	int perf = load(BPF_PROG_TYPE_PERF_EVENT);
	int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "m", 4, 4, 4, NULL), pair[2], event;
	char byte;

	if (filter < 0 || xdp < 0 || perf < 0 || map < 0 ||
	    socketpair(AF_UNIX, SOCK_DGRAM, 0, pair))
		return 2;
	expect("filter", attach(pair[0], SO_ATTACH_BPF, filter), works ? 0 : EINVAL);
	/* This program lets nothing through. If it could not be attached, everything comes. */
	if (send(pair[1], "x", 1, 0) != 1 && works)
		printf("refused to send: %d\n", errno);
	expect("received", recv(pair[0], &byte, 1, MSG_DONTWAIT), works ? EAGAIN : 0);
	expect("xdp", attach(pair[0], SO_ATTACH_BPF, xdp), EINVAL);
	expect("map", attach(pair[0], SO_ATTACH_BPF, map), EINVAL);
	expect("closed", attach(pair[0], SO_ATTACH_BPF, 999), EBADF);
	expect("no socket", attach(map, SO_ATTACH_BPF, filter), ENOTSOCK);
	expect("short", setsockopt(pair[0], SOL_SOCKET, SO_ATTACH_BPF, &filter, 2), EINVAL);
	expect("wild", setsockopt(pair[0], SOL_SOCKET, SO_ATTACH_BPF, (void *)8, 4), EFAULT);
	expect("reuseport", attach(pair[0], SO_ATTACH_REUSEPORT_EBPF, filter), EINVAL);
	expect("detach", setsockopt(pair[0], SOL_SOCKET, SO_DETACH_FILTER, &filter, sizeof(filter)),
	       works ? 0 : ENOENT);
	event = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (event < 0)
		return 3;
	expect("set xdp", ioctl(event, PERF_EVENT_IOC_SET_BPF, xdp), EINVAL);
	expect("set map", ioctl(event, PERF_EVENT_IOC_SET_BPF, map), EINVAL);
	expect("set closed", ioctl(event, PERF_EVENT_IOC_SET_BPF, 999), EBADF);
	expect("set", ioctl(event, PERF_EVENT_IOC_SET_BPF, perf), works ? 0 : EINVAL);
	expect("set on a map", ioctl(map, PERF_EVENT_IOC_SET_BPF, perf), ENOTTY);
	expect("link", bpf_link_create(perf, event, BPF_PERF_EVENT, NULL), works ? EEXIST : EBADF);
	expect("link to a map", bpf_link_create(perf, map, BPF_PERF_EVENT, NULL), EBADF);
	return failed;
}
