/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In a client of skep exec: XDP programs attached by netlink (RTM_SETLINK with IFLA_XDP) to an interface
 * that is a port of the instance. The instance attaches; the message becomes one that does nothing,
 * which the kernel acknowledges, so that the client gets its answer in its own socket. Other messages, and
 * those about other interfaces, go on as they are.
 */
#include <errno.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "client/ask.h"
#include "next.h"

struct xdp {
	uint32_t ifindex, flags;
	int fd, expected;
	bool given;
};

/* Finds an attribute in `len` bytes of them: its payload, NULL. */
static const void *attribute(const void *at, size_t len, uint16_t type, size_t *size)
{
	const uint8_t *p = at;
	struct nlattr a;

	while (len >= sizeof(a)) {
		memcpy(&a, p, sizeof(a));
		if (a.nla_len < sizeof(a) || a.nla_len > len)
			return NULL;
		if ((a.nla_type & NLA_TYPE_MASK) == type) {
			*size = a.nla_len - sizeof(a);
			return p + sizeof(a);
		}
		size_t step = NLA_ALIGN(a.nla_len);

		if (step > len)
			return NULL;
		p += step;
		len -= step;
	}
	return NULL;
}

static bool number(const void *at, size_t len, uint16_t type, void *value)
{
	size_t size;
	const void *p = attribute(at, len, type, &size);

	if (!p || size < 4)
		return false;
	memcpy(value, p, 4);
	return true;
}

/* The one message of buf, if it is about XDP. */
static struct xdp parse(const void *buf, size_t len)
{
	const size_t head = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct ifinfomsg));
	struct xdp x = {.fd = -1, .expected = -1};
	struct ifinfomsg info;
	struct nlmsghdr h;
	const void *nest;
	size_t size;

	if (len < head)
		return x;
	memcpy(&h, buf, sizeof(h));
	if ((h.nlmsg_type != RTM_SETLINK && h.nlmsg_type != RTM_NEWLINK) || h.nlmsg_len > len ||
	    h.nlmsg_len < head)
		return x;
	memcpy(&info, (const uint8_t *)buf + NLMSG_HDRLEN, sizeof(info));
	nest = attribute((const uint8_t *)buf + head, h.nlmsg_len - head, IFLA_XDP, &size);
	if (!nest)
		return x;
	x.given = number(nest, size, IFLA_XDP_FD, &x.fd);
	number(nest, size, IFLA_XDP_FLAGS, &x.flags);
	number(nest, size, IFLA_XDP_EXPECTED_FD, &x.expected);
	x.ifindex = (uint32_t)info.ifi_index;
	return x;
}

static bool is_netlink(int sock)
{
	int domain = 0, code = errno;
	socklen_t len = sizeof(domain);
	bool yes = !getsockopt(sock, SOL_SOCKET, SO_DOMAIN, &domain, &len) && domain == AF_NETLINK;

	errno = code;
	return yes;
}

/* 1: done, and *ack is to be sent instead; 0: not for us; -1 with errno. */
static int take(int sock, const void *buf, size_t len, struct nlmsghdr *ack)
{
	struct xdp x = parse(buf, len);
	long r;

	if (!x.given || !is_netlink(sock))
		return 0;
	r = skep_ask(SKEP_ASK_XDP, x.ifindex | (unsigned long)x.flags << 32,
		     (uint32_t)x.fd | (unsigned long)(uint32_t)x.expected << 32);
	if (r == -ENODEV || r == -ENOSYS)
		return 0;
	if (r < 0) {
		errno = (int)-r;
		return -1;
	}
	memcpy(ack, buf, sizeof(*ack));
	ack->nlmsg_len = sizeof(*ack);
	ack->nlmsg_type = NLMSG_NOOP;
	ack->nlmsg_flags = (ack->nlmsg_flags & NLM_F_ACK) | NLM_F_REQUEST;
	return 1;
}

EXPORT ssize_t sendto(int sock, const void *buf, size_t len, int flags, const struct sockaddr *to,
		      socklen_t size)
{
	struct nlmsghdr ack;
	int mine = take(sock, buf, len, &ack);

	if (!mine)
		return NEXT(sendto)(sock, buf, len, flags, to, size);
	if (mine < 0 || NEXT(sendto)(sock, &ack, sizeof(ack), flags, to, size) < 0)
		return -1;
	return (ssize_t)len;
}

EXPORT ssize_t send(int sock, const void *buf, size_t len, int flags)
{
	struct nlmsghdr ack;
	int mine = take(sock, buf, len, &ack);

	if (!mine)
		return NEXT(send)(sock, buf, len, flags);
	if (mine < 0 || NEXT(send)(sock, &ack, sizeof(ack), flags) < 0)
		return -1;
	return (ssize_t)len;
}

EXPORT ssize_t sendmsg(int sock, const struct msghdr *m, int flags)
{
	struct iovec one;
	struct msghdr with;
	struct nlmsghdr ack;
	int mine = 0;
	size_t len;

	if (m && m->msg_iovlen == 1 && m->msg_iov)
		mine = take(sock, m->msg_iov->iov_base, m->msg_iov->iov_len, &ack);
	if (!mine)
		return NEXT(sendmsg)(sock, m, flags);
	if (mine < 0)
		return -1;
	len = m->msg_iov->iov_len;
	one = (struct iovec){&ack, sizeof(ack)};
	with = *m;
	with.msg_iov = &one;
	return NEXT(sendmsg)(sock, &with, flags) < 0 ? -1 : (ssize_t)len;
}
