/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flood: SYNs from many forged addresses, for guard's demonstration. It sends
 * only on a veth in a network namespace that has no default route, to one
 * address, at most a million packets.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST 1000000ul

struct frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct tcphdr tcp;
} __attribute__((packed));

static uint32_t sum16(const void *data, size_t len, uint32_t sum)
{
	const uint8_t *p = data;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static void checksums(struct frame *f)
{
	uint32_t pseudo = IPPROTO_TCP + sizeof(f->tcp);

	f->ip.check = 0;
	f->ip.check = fold(sum16(&f->ip, sizeof(f->ip), 0));
	f->tcp.check = 0;
	f->tcp.check = fold(sum16(&f->tcp, sizeof(f->tcp), sum16(&f->ip.saddr, 8, pseudo)));
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* A veth in a network namespace without a way out: nothing sent here leaves the machine. */
static int is_confined(const char *ifname)
{
	struct ethtool_drvinfo drv = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq r = {.ifr_data = (void *)&drv};
	char line[256], dest[16];
	FILE *f = fopen("/proc/net/route", "re");
	int fd, ok;

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*s %15s", dest) == 1 && !strcmp(dest, "00000000")) {
			fclose(f);
			return 0;
		}
	}
	fclose(f);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", ifname);
	ok = fd >= 0 && !ioctl(fd, SIOCETHTOOL, &r) && !strcmp(drv.driver, "veth");
	if (fd >= 0)
		close(fd);
	return ok;
}

static int parse_mac(const char *text, uint8_t mac[6])
{
	unsigned v[6];

	if (sscanf(text, "%x:%x:%x:%x:%x:%x", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5]) != 6)
		return -1;
	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t)v[i];
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_halen = 6};
	struct frame f = {.eth.h_proto = htons(ETH_P_IP)};
	unsigned long pps, total, sent = 0;
	struct in_addr net;
	uint64_t start;
	int fd;

	if (argc != 8) {
		fprintf(stderr, "usage: flood IFACE DST-MAC DST-IP PORT SOURCE-NET PPS TOTAL\n"
				"sends TOTAL SYNs from addresses of SOURCE-NET/15, PPS a second\n");
		return 2;
	}
	pps = strtoul(argv[6], NULL, 10);
	total = strtoul(argv[7], NULL, 10);
	to.sll_ifindex = (int)if_nametoindex(argv[1]);
	if (!is_confined(argv[1])) {
		fprintf(stderr, "flood: %s is no veth in a namespace without a default route\n",
			argv[1]);
		return 1;
	}
	if (!to.sll_ifindex || parse_mac(argv[2], f.eth.h_dest) || !pps || !total || total > MOST ||
	    inet_pton(AF_INET, argv[3], &f.ip.daddr) != 1 ||
	    inet_pton(AF_INET, argv[5], &net) != 1) {
		fprintf(stderr, "flood: bad argument\n");
		return 2;
	}
	fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (fd < 0) {
		fprintf(stderr, "flood: packet socket: %s\n", strerror(errno));
		return 1;
	}
	memcpy(f.eth.h_source, "\x02\0\0\0\0\x66", 6);
	f.ip.version = 4;
	f.ip.ihl = 5;
	f.ip.ttl = 64;
	f.ip.protocol = IPPROTO_TCP;
	f.ip.tot_len = htons(sizeof(f.ip) + sizeof(f.tcp));
	f.tcp.dest = htons((uint16_t)strtoul(argv[4], NULL, 10));
	f.tcp.doff = 5;
	f.tcp.syn = 1;
	f.tcp.window = htons(64240);
	srandom(1);
	start = now_ns();
	while (sent < total) {
		uint64_t due = start + sent * 1000000000ull / pps, now = now_ns();

		if (due > now + 200000) {
			struct timespec nap = {0, (long)(due - now)};

			nanosleep(&nap, NULL);
		}
		f.ip.saddr = htonl(ntohl(net.s_addr) | ((uint32_t)random() & 0x1ffff));
		f.ip.id = htons((uint16_t)sent);
		f.tcp.source = htons((uint16_t)(1024 + random() % 60000));
		f.tcp.seq = htonl((uint32_t)random());
		checksums(&f);
		if (sendto(fd, &f, sizeof(f), 0, (struct sockaddr *)&to, sizeof(to)) < 0 &&
		    errno != ENOBUFS) {
			fprintf(stderr, "flood: send: %s\n", strerror(errno));
			return 1;
		}
		sent++;
	}
	printf("%lu SYNs in %.1f s\n", sent, (double)(now_ns() - start) / 1e9);
	close(fd);
	return 0;
}
