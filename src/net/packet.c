/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A port on a packet socket (packet(7)): a TPACKET_V3 ring for receiving, batches
 * of sendmmsg for sending. The kernel tells with a virtio-net header what it left to
 * the hardware (checksums, segmentation) and hands VLAN tags apart; both are put
 * right here, in private copies of the frames.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/frame.h"
#include "net/port.h"

#define BLOCK_SIZE     (256u << 10) /* holds any packet, offloaded ones of 64 KiB too */
#define BLOCKS         32u
#define RETIRE_MS      1u /* a block that is not full is handed over after this */
#define TX_PATIENCE_MS 10
#define VLAN_HLEN      4u

struct skep_port {
	char name[IF_NAMESIZE];
	uint32_t ifindex;
	int rx, tx; /* sockets */
	uint8_t *ring;
	uint32_t block; /* the block that we read, or wait for */
	uint32_t left; /* its frames that are still to be read; 0: not ours */
	struct tpacket3_hdr *next;
	bool cutting; /* segments of *next are under way */
	struct skep_segmenter cut;
	uint8_t *large; /* copy of the packet that is being cut */
	uint8_t *slots; /* SKEP_PORT_BATCH private frames */
	uint32_t slot_size;
	struct skep_port_stats stats;
};

/* ---- Opening ---- */

static int fail(char *why, size_t len, const char *ifname, const char *what)
{
	int err = -errno;

	if (err == -EPERM || err == -EACCES)
		snprintf(why, len, "%s: %s: not permitted; it takes root or CAP_NET_RAW", ifname,
			 what);
	else
		snprintf(why, len, "%s: %s: %s", ifname, what, strerror(-err));
	return err;
}

static int set(int fd, int option, int value)
{
	return setsockopt(fd, SOL_PACKET, option, &value, sizeof(value));
}

static int open_rx(struct skep_port *p, char *why, size_t len)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_ifindex = (int)p->ifindex};
	struct packet_mreq promisc = {.mr_ifindex = (int)p->ifindex, .mr_type = PACKET_MR_PROMISC};
	struct tpacket_req3 ring = {
		.tp_block_size = BLOCK_SIZE,
		.tp_block_nr = BLOCKS,
		.tp_frame_size = 2048, /* V3 packs frames of any size; this only has to divide */
		.tp_frame_nr = BLOCK_SIZE / 2048 * BLOCKS,
		.tp_retire_blk_tov = RETIRE_MS,
	};

	p->rx = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (p->rx < 0)
		return fail(why, len, p->name, "packet socket");
	if (set(p->rx, PACKET_VERSION, TPACKET_V3) || set(p->rx, PACKET_VNET_HDR, 1) ||
	    set(p->rx, PACKET_IGNORE_OUTGOING, 1))
		return fail(why, len, p->name, "packet socket options");
	if (setsockopt(p->rx, SOL_PACKET, PACKET_RX_RING, &ring, sizeof(ring)))
		return fail(why, len, p->name, "receive ring");
	p->ring = mmap(NULL, (size_t)BLOCK_SIZE * BLOCKS, PROT_READ | PROT_WRITE, MAP_SHARED, p->rx,
		       0);
	if (p->ring == MAP_FAILED) {
		p->ring = NULL;
		return fail(why, len, p->name, "receive ring");
	}
	/* Only now that all is set may frames come in. */
	at.sll_protocol = htons(ETH_P_ALL);
	if (bind(p->rx, (struct sockaddr *)&at, sizeof(at)))
		return fail(why, len, p->name, "bind");
	if (setsockopt(p->rx, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promisc, sizeof(promisc)))
		return fail(why, len, p->name, "promiscuous mode");
	return 0;
}

static int open_tx(struct skep_port *p, char *why, size_t len)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_ifindex = (int)p->ifindex};
	int buffer = 4 << 20;

	/* Protocol 0: this socket receives nothing. */
	p->tx = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->tx < 0 || bind(p->tx, (struct sockaddr *)&at, sizeof(at)))
		return fail(why, len, p->name, "sending socket");
	if (setsockopt(p->tx, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer)))
		return fail(why, len, p->name, "send buffer");
	return 0;
}

static int read_mtu(struct skep_port *p, char *why, size_t len)
{
	struct ifreq r = {0};

	memcpy(r.ifr_name, p->name, sizeof(r.ifr_name));
	if (ioctl(p->rx, SIOCGIFMTU, &r))
		return fail(why, len, p->name, "MTU");
	p->slot_size = SKEP_PORT_HEADROOM + (uint32_t)r.ifr_mtu + ETH_HLEN + 2 * VLAN_HLEN +
		       SKEP_PORT_TAILROOM;
	p->slot_size = (p->slot_size + 63) & ~63u;
	return 0;
}

int skep_port_open(struct skep_port **out, const char *ifname, char *why, size_t len)
{
	struct skep_port *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return -ENOMEM;
	p->rx = p->tx = -1;
	snprintf(p->name, sizeof(p->name), "%s", ifname);
	p->ifindex = if_nametoindex(ifname);
	if (!p->ifindex) {
		snprintf(why, len, "no interface %s here", ifname);
		err = -ENODEV;
		goto out;
	}
	err = open_rx(p, why, len);
	if (!err)
		err = read_mtu(p, why, len);
	if (!err)
		err = open_tx(p, why, len);
	if (err)
		goto out;
	p->slots = malloc((size_t)p->slot_size * SKEP_PORT_BATCH);
	p->large = malloc(BLOCK_SIZE);
	if (!p->slots || !p->large) {
		snprintf(why, len, "%s: no memory for frames", ifname);
		err = -ENOMEM;
		goto out;
	}
	*out = p;
	return 0;
out:
	skep_port_close(p);
	return err;
}

void skep_port_close(struct skep_port *p)
{
	if (!p)
		return;
	if (p->ring)
		munmap(p->ring, (size_t)BLOCK_SIZE * BLOCKS);
	if (p->rx >= 0)
		close(p->rx);
	if (p->tx >= 0)
		close(p->tx);
	free(p->slots);
	free(p->large);
	free(p);
}

uint32_t skep_port_ifindex(const struct skep_port *p)
{
	return p->ifindex;
}

const char *skep_port_name(const struct skep_port *p)
{
	return p->name;
}

int skep_port_fd(const struct skep_port *p)
{
	return p->rx;
}

void skep_port_stats(struct skep_port *p, struct skep_port_stats *out)
{
	struct tpacket_stats_v3 s;
	socklen_t len = sizeof(s);

	/* The kernel's counters begin anew with each question. */
	if (!getsockopt(p->rx, SOL_PACKET, PACKET_STATISTICS, &s, &len))
		p->stats.rx_lost += s.tp_drops;
	*out = p->stats;
}

/* ---- Receiving ---- */

static struct tpacket_block_desc *block_at(struct skep_port *p)
{
	return (struct tpacket_block_desc *)(void *)(p->ring + (size_t)p->block * BLOCK_SIZE);
}

/* Makes p->next a frame to read, or returns false when none waits. */
static bool next_frame(struct skep_port *p)
{
	struct tpacket_block_desc *b = block_at(p);
	_Atomic uint32_t *status = (_Atomic uint32_t *)&b->hdr.bh1.block_status;

	while (!p->left) {
		if (!(atomic_load_explicit(status, memory_order_acquire) & TP_STATUS_USER))
			return false;
		p->left = b->hdr.bh1.num_pkts;
		p->next = (struct tpacket3_hdr *)(void *)((uint8_t *)b +
							  b->hdr.bh1.offset_to_first_pkt);
		if (!p->left) {
			atomic_store_explicit(status, TP_STATUS_KERNEL, memory_order_release);
			p->block = (p->block + 1) % BLOCKS;
			b = block_at(p);
			status = (_Atomic uint32_t *)&b->hdr.bh1.block_status;
		}
	}
	return true;
}

/* Done with p->next; gives the block back with its last frame. */
static void pass_frame(struct skep_port *p)
{
	struct tpacket_block_desc *b = block_at(p);

	if (--p->left) {
		p->next = (struct tpacket3_hdr *)(void *)((uint8_t *)p->next +
							  p->next->tp_next_offset);
		return;
	}
	atomic_store_explicit((_Atomic uint32_t *)&b->hdr.bh1.block_status, TP_STATUS_KERNEL,
			      memory_order_release);
	p->block = (p->block + 1) % BLOCKS;
}

static void read_offload(const uint8_t *frame, struct skep_offload *off)
{
	struct virtio_net_hdr v;

	memcpy(&v, frame - sizeof(v), sizeof(v));
	*off = (struct skep_offload){
		.flags = v.flags,
		.gso_type = v.gso_type,
		.gso_size = v.gso_size,
		.csum_start = v.csum_start,
		.csum_offset = v.csum_offset,
	};
}

/* Copies the frame at p->next to `to` (which has room before it) with its VLAN tag in
 * place. Returns its start and length, offsets in off moved along. */
static uint8_t *copy_frame(const struct tpacket3_hdr *h, uint8_t *to, uint32_t *len,
			   struct skep_offload *off)
{
	const uint8_t *frame = (const uint8_t *)h + h->tp_mac;

	read_offload(frame, off);
	*len = h->tp_snaplen;
	memcpy(to, frame, *len);
	if (!(h->tp_status & TP_STATUS_VLAN_VALID))
		return to;
	off->csum_start = (uint16_t)(off->csum_start + VLAN_HLEN);
	*len += VLAN_HLEN;
	return skep_frame_vlan_push(
		to, h->tp_status & TP_STATUS_VLAN_TPID_VALID ? h->hv1.tp_vlan_tpid : ETH_P_8021Q,
		(uint16_t)h->hv1.tp_vlan_tci);
}

/* One whole frame into slot buf: its length, or 0 if it was bad or has to be cut (p->cutting). */
static uint32_t take_frame(struct skep_port *p, uint8_t *buf, uint32_t *off_out)
{
	struct tpacket3_hdr *h = p->next;
	struct skep_offload off;
	uint8_t *frame = (uint8_t *)h + h->tp_mac;
	uint32_t len = 0;

	if (h->tp_snaplen < h->tp_len || h->tp_snaplen < ETH_HLEN)
		goto bad;
	read_offload(frame, &off);
	if (off.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
		if (h->tp_snaplen > BLOCK_SIZE - 2 * VLAN_HLEN)
			goto bad;
		frame = copy_frame(h, p->large + VLAN_HLEN, &len, &off);
		if (skep_segment_start(&p->cut, frame, len, &off))
			goto bad;
		p->cutting = true;
		p->stats.rx_cut++;
		return 0;
	}
	if (h->tp_snaplen > p->slot_size - SKEP_PORT_HEADROOM)
		goto bad;
	frame = copy_frame(h, buf + SKEP_PORT_HEADROOM, &len, &off);
	if ((off.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) && skep_frame_checksum(frame, len, &off))
		goto bad;
	*off_out = (uint32_t)(frame - buf);
	pass_frame(p);
	return len;
bad:
	p->stats.rx_bad++;
	pass_frame(p);
	return 0;
}

/* The next segment into slot buf: its length, or 0 at the end. */
static uint32_t take_segment(struct skep_port *p, uint8_t *buf, uint32_t *off_out)
{
	long n = skep_segment_next(&p->cut, buf + SKEP_PORT_HEADROOM,
				   p->slot_size - SKEP_PORT_HEADROOM);

	*off_out = SKEP_PORT_HEADROOM;
	if (n > 0)
		return (uint32_t)n;
	if (n < 0)
		p->stats.rx_bad++;
	p->cutting = false;
	pass_frame(p);
	return 0;
}

int skep_port_recv(struct skep_port *p, struct skep_packet *packets, uint32_t n)
{
	uint32_t got = 0;

	if (n > SKEP_PORT_BATCH)
		n = SKEP_PORT_BATCH;
	while (got < n && (p->cutting || next_frame(p))) {
		uint8_t *buf = p->slots + (size_t)got * p->slot_size;
		uint32_t at = 0, len;

		len = p->cutting ? take_segment(p, buf, &at) : take_frame(p, buf, &at);
		if (!len)
			continue;
		packets[got++] = (struct skep_packet){
			.buf = buf,
			.cap = p->slot_size,
			.off = at,
			.len = len,
			.ifindex = p->ifindex,
		};
		p->stats.rx_frames++;
		p->stats.rx_bytes += len;
	}
	return (int)got;
}

/* ---- Sending ---- */

int skep_port_send(struct skep_port *p, const struct skep_packet *const *packets, uint32_t n)
{
	struct mmsghdr msgs[SKEP_PORT_BATCH];
	struct iovec iov[SKEP_PORT_BATCH];
	uint32_t done = 0, sent = 0;
	int patience = TX_PATIENCE_MS;

	if (n > SKEP_PORT_BATCH)
		n = SKEP_PORT_BATCH;
	memset(msgs, 0, n * sizeof(msgs[0]));
	for (uint32_t i = 0; i < n; i++) {
		iov[i] = (struct iovec){packets[i]->buf + packets[i]->off, packets[i]->len};
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	while (done < n) {
		int r = sendmmsg(p->tx, msgs + done, n - done, 0);

		if (r > 0) {
			for (int i = 0; i < r; i++)
				p->stats.tx_bytes += msgs[done + (uint32_t)i].msg_len;
			done += (uint32_t)r;
			sent += (uint32_t)r;
			continue;
		}
		if (errno == EINTR)
			continue;
		if ((errno == EAGAIN || errno == ENOBUFS) && patience > 0) {
			struct pollfd w = {.fd = p->tx, .events = POLLOUT};

			poll(&w, 1, 1);
			patience--;
			continue;
		}
		/* This one can't go (too long, link down): the others may. */
		p->stats.tx_lost++;
		done++;
	}
	p->stats.tx_frames += sent;
	return (int)sent;
}
