/* SPDX-License-Identifier: Apache-2.0 */
/* What must not be true of an interface that becomes an end of a wire. */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/port.h"

static int refuse(char *why, size_t len, const char *ifname, const char *what, const char *hint)
{
	snprintf(why, len, "%s %s: the kernel would handle its packets too; %s", ifname, what,
		 hint);
	return -EBUSY;
}

static int check_addresses(const char *ifname, char *why, size_t len)
{
	struct ifaddrs *all, *a;
	char text[INET6_ADDRSTRLEN], what[INET6_ADDRSTRLEN + 32];
	int err = 0;

	if (getifaddrs(&all))
		return -errno;
	for (a = all; a && !err; a = a->ifa_next) {
		const void *addr;

		if (!a->ifa_addr || strcmp(a->ifa_name, ifname) != 0)
			continue;
		if (a->ifa_addr->sa_family == AF_INET) {
			addr = &((struct sockaddr_in *)(void *)a->ifa_addr)->sin_addr;
		} else if (a->ifa_addr->sa_family == AF_INET6) {
			addr = &((struct sockaddr_in6 *)(void *)a->ifa_addr)->sin6_addr;
			/* Every IPv6 interface has one; nobody is reached through it from afar. */
			if (IN6_IS_ADDR_LINKLOCAL((const struct in6_addr *)addr))
				continue;
		} else {
			continue;
		}
		inet_ntop(a->ifa_addr->sa_family, addr, text, sizeof(text));
		snprintf(what, sizeof(what), "has the address %s", text);
		err = refuse(why, len, ifname, what,
			     "take its addresses away first (ip addr flush)");
	}
	freeifaddrs(all);
	return err;
}

/* The interface's master by netlink: sysfs may show another network namespace. */
static int find_master(unsigned ifindex, unsigned *master)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
	} req = {
		.h = {.nlmsg_len = sizeof(req),
		      .nlmsg_type = RTM_GETLINK,
		      .nlmsg_flags = NLM_F_REQUEST},
		.i = {.ifi_family = AF_UNSPEC, .ifi_index = (int)ifindex},
	};
	union {
		struct nlmsghdr h;
		char bytes[16384];
	} ans;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	ssize_t n;
	int left;

	*master = 0;
	if (fd < 0)
		return -errno;
	if (send(fd, &req, sizeof(req), 0) < 0 || (n = recv(fd, &ans, sizeof(ans), 0)) < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	close(fd);
	if (!NLMSG_OK(&ans.h, (size_t)n) || ans.h.nlmsg_type != RTM_NEWLINK)
		return -ENODEV;
	left = (int)IFLA_PAYLOAD(&ans.h);
	for (struct rtattr *a = IFLA_RTA(NLMSG_DATA(&ans.h)); RTA_OK(a, left);
	     a = RTA_NEXT(a, left))
		if (a->rta_type == IFLA_MASTER)
			memcpy(master, RTA_DATA(a), sizeof(*master));
	return 0;
}

/* A conf file of this network namespace that holds a number other than 0. */
static bool conf_is_set(const char *family, const char *ifname)
{
	char path[128];
	FILE *f;
	int v = 0;

	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/forwarding", family, ifname);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (fscanf(f, "%d", &v) != 1)
		v = 0;
	fclose(f);
	return v != 0;
}

int skep_port_check_free(const char *ifname, char *why, size_t len)
{
	unsigned ifindex = if_nametoindex(ifname), master;
	char name[IF_NAMESIZE], what[64];
	int err;

	if (!ifindex) {
		snprintf(why, len, "no interface %s here", ifname);
		return -ENODEV;
	}
	err = find_master(ifindex, &master);
	if (err) {
		snprintf(why, len, "can't ask about %s: %s", ifname, strerror(-err));
		return err;
	}
	if (master) {
		snprintf(what, sizeof(what), "belongs to %s",
			 if_indextoname(master, name) ? name : "another interface");
		return refuse(why, len, ifname, what, "take it out first (ip link set nomaster)");
	}
	err = check_addresses(ifname, why, len);
	if (err)
		return err;
	if (conf_is_set("ipv4", ifname) || conf_is_set("ipv6", ifname))
		return refuse(why, len, ifname, "forwards",
			      "switch forwarding off for it first (sysctl "
			      "net.ipv4.conf.IFACE.forwarding=0)");
	return 0;
}
