/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tunnel metadata of a packet: what a program sets, a program behind it reads. Packets come without, for
 * no device here takes them out of a tunnel.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "helper/packet.h"

#define SET_FLAGS                                                                                  \
	(BPF_F_TUNINFO_IPV6 | BPF_F_ZERO_CSUM_TX | BPF_F_DONT_FRAGMENT | BPF_F_SEQ_NUMBER |        \
	 BPF_F_NO_TUNNEL_KEY)
#define GET_FLAGS (BPF_F_TUNINFO_IPV6 | BPF_F_TUNINFO_FLAGS)
#define MAX_OPT   255

/* TUNNEL_* of <linux/if_tunnel.h>, in network order. */
#define WITH_CSUM 0x0100u
#define WITH_KEY  0x0400u
#define WITH_SEQ  0x0800u
#define DONT_FRAG 0x0001u
#define NOCACHE   0x0020u
#define OPTIONS   0x00d8u /* GENEVE, VXLAN, ERSPAN, GTP: nobody said which */
#define LABEL     0xfffffu /* bits of a flow label */

/* The structure as it was when it ended behind one field after the other. */
static bool is_old_size(uint32_t size)
{
	return size == offsetof(struct bpf_tunnel_key, local_ipv6[0]) ||
	       size == offsetof(struct bpf_tunnel_key, tunnel_label) ||
	       size == offsetof(struct bpf_tunnel_key, tunnel_ext) ||
	       size == offsetof(struct bpf_tunnel_key, remote_ipv6[1]);
}

HELPER(skb_get_tunnel_key)
{
	const struct skep_skb *skb = PTR(r1);
	const struct skep_tunnel *tunnel = skb->tunnel ? &env->tunnel : NULL;
	uint32_t size = (uint32_t)r3;
	struct bpf_tunnel_key key;
	int err = EINVAL;

	if (!tunnel || r4 & ~(uint64_t)GET_FLAGS)
		goto fail;
	if (tunnel->ipv6 != !!(r4 & BPF_F_TUNINFO_IPV6)) {
		err = EPROTO;
		goto fail;
	}
	if (size != sizeof(key)) {
		if (!is_old_size(size))
			goto fail;
		/* The first one knew IPv4 only. */
		if (tunnel->ipv6 && size == offsetof(struct bpf_tunnel_key, remote_ipv6[1]))
			goto fail;
	}
	key = tunnel->key;
	if (r4 & BPF_F_TUNINFO_FLAGS)
		key.tunnel_flags = tunnel->flags | (tunnel->has_opt ? OPTIONS : 0);
	memcpy(PTR(r2), &key, size);
	return 0;
fail:
	memset(PTR(r2), 0, size);
	return ERR(err);
}

HELPER(skb_set_tunnel_key)
{
	struct skep_skb *skb = PTR(r1);
	uint32_t size = (uint32_t)r3;
	struct bpf_tunnel_key key = {0};
	struct skep_tunnel *t = &env->tunnel;
	size_t ends;

	if (r4 & ~(uint64_t)SET_FLAGS)
		return ERR(EINVAL);
	if (size != sizeof(key) && !is_old_size(size))
		return ERR(EINVAL);
	memcpy(&key, PTR(r2), size);
	if ((!(r4 & BPF_F_TUNINFO_IPV6) && key.tunnel_label) || key.tunnel_ext)
		return ERR(EINVAL);
	skb->tunnel = true;
	/* As it will be read: the remote end that is written is the local one of who receives it. */
	*t = (struct skep_tunnel){.ipv6 = r4 & BPF_F_TUNINFO_IPV6,
				  .key = {.tunnel_id = key.tunnel_id,
					  .tunnel_tos = key.tunnel_tos,
					  .tunnel_ttl = key.tunnel_ttl,
					  .tunnel_label = key.tunnel_label & LABEL}};
	ends = t->ipv6 ? sizeof(key.local_ipv6) : sizeof(key.local_ipv4);
	memcpy(t->key.remote_ipv6, key.local_ipv6, ends);
	memcpy(t->key.local_ipv6, key.remote_ipv6, ends);
	t->flags = NOCACHE | (r4 & BPF_F_NO_TUNNEL_KEY ? 0 : WITH_KEY) |
		   (r4 & BPF_F_ZERO_CSUM_TX ? 0 : WITH_CSUM) |
		   (r4 & BPF_F_DONT_FRAGMENT ? DONT_FRAG : 0) |
		   (r4 & BPF_F_SEQ_NUMBER ? WITH_SEQ : 0);
	return 0;
}

HELPER(skb_get_tunnel_opt)
{
	const struct skep_skb *skb = PTR(r1);
	const struct skep_tunnel *t = skb->tunnel ? &env->tunnel : NULL;
	uint32_t size = (uint32_t)r3;
	int err = ENOENT;

	if (!t || !t->has_opt)
		goto fail;
	if (size < t->opt_len) {
		err = ENOMEM;
		goto fail;
	}
	memcpy(PTR(r2), t->opt, t->opt_len);
	memset((char *)PTR(r2) + t->opt_len, 0, size - t->opt_len);
	return t->opt_len;
fail:
	memset(PTR(r2), 0, size);
	return ERR(err);
}

HELPER(skb_set_tunnel_opt)
{
	struct skep_skb *skb = PTR(r1);
	struct skep_tunnel *t = &env->tunnel;
	uint32_t size = (uint32_t)r3;

	if (!skb->tunnel || size & 3)
		return ERR(EINVAL);
	if (size > MAX_OPT)
		return ERR(ENOMEM);
	memcpy(t->opt, PTR(r2), size);
	t->opt_len = (uint8_t)size;
	t->has_opt = true;
	return 0;
}

/* No packet here came out of IPsec. */
HELPER(skb_get_xfrm_state)
{
	memset(PTR(r3), 0, (uint32_t)r4);
	return ERR(EINVAL);
}
