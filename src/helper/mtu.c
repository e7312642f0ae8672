/* SPDX-License-Identifier: Apache-2.0 */
/* Devices' MTUs, and routes, which an instance has none of. */
#include <errno.h>
#include <string.h>

#include "helper/packet.h"
#include "os/os.h"

/* enum bpf_check_mtu_flags and bpf_check_mtu_ret */
#define BPF_MTU_CHK_SEGS 1u
enum { BPF_MTU_CHK_RET_SUCCESS, BPF_MTU_CHK_RET_FRAG_NEEDED, BPF_MTU_CHK_RET_SEGS_TOOBIG };

#define LOOPBACK_MTU 65536 /* of the device that packets without one are on */

#define FIB_FLAGS                                                                                  \
	(BPF_FIB_LOOKUP_DIRECT | BPF_FIB_LOOKUP_OUTPUT | BPF_FIB_LOOKUP_SKIP_NEIGH |               \
	 BPF_FIB_LOOKUP_TBID | BPF_FIB_LOOKUP_SRC | BPF_FIB_LOOKUP_MARK)

/* 0 or -ENODEV; ifindex 0: the packet's own device. */
static int mtu_of(uint32_t ifindex, uint32_t own, uint32_t *mtu)
{
	if (!ifindex)
		ifindex = own;
	if (ifindex <= 1) {
		*mtu = LOOPBACK_MTU;
		return 0;
	}
	return skep_device_mtu(ifindex, mtu);
}

/* Lengths are of 32 bits and wrap, as in the kernel. */
static long check(uint32_t *mtu_len, uint32_t mtu, uint32_t packet, uint32_t diff, bool gso)
{
	uint32_t len = (*mtu_len ? *mtu_len + ETH_HEADER : packet) + diff;
	bool fits = (int32_t)len <= (int32_t)(mtu + ETH_HEADER);

	*mtu_len = mtu;
	return fits || gso ? BPF_MTU_CHK_RET_SUCCESS : BPF_MTU_CHK_RET_FRAG_NEEDED;
}

HELPER(check_mtu)
{
	uint32_t *mtu_len = PTR(r3), mtu;
	int err;

	if (env->prog->type == BPF_PROG_TYPE_XDP) {
		const struct skep_xdp *xdp = PTR(r1);

		if (r5)
			return ERR(EINVAL);
		err = mtu_of((uint32_t)r2, xdp->ingress_ifindex, &mtu);
		if (err)
			return ERR(-err);
		return (uint64_t)check(mtu_len, mtu, (uint32_t)(xdp->data_end - xdp->data),
				       (uint32_t)r4, false);
	}
	const struct skep_skb *skb = PTR(r1);
	bool segments = r5 & BPF_MTU_CHK_SEGS;

	if (r5 & ~(uint64_t)BPF_MTU_CHK_SEGS || (segments && ((int32_t)r4 || *mtu_len)))
		return ERR(EINVAL);
	err = mtu_of((uint32_t)r2, skb->ifindex, &mtu);
	if (err)
		return ERR(-err);
	/* Segments of a packet that is to be cut are looked at if asked for. */
	if (segments && skb->gso_size > mtu) {
		*mtu_len = mtu;
		return BPF_MTU_CHK_RET_SEGS_TOOBIG;
	}
	return (uint64_t)check(mtu_len, mtu, skb->len, (uint32_t)r4, skb->gso_size != 0);
}

/* An instance forwards nothing by routes: its devices do not. */
HELPER(fib_lookup)
{
	const struct bpf_fib_lookup *p = PTR(r2);
	uint32_t mtu;

	if ((uint32_t)r3 < sizeof(*p) || r4 & ~(uint64_t)FIB_FLAGS)
		return ERR(EINVAL);
	if (p->family != 2 /* AF_INET */ && p->family != 10 /* AF_INET6 */)
		return ERR(EAFNOSUPPORT);
	if (!p->ifindex || mtu_of(p->ifindex, 0, &mtu))
		return ERR(ENODEV);
	return r4 & BPF_FIB_LOOKUP_OUTPUT ? BPF_FIB_LKUP_RET_NOT_FWDED
					  : BPF_FIB_LKUP_RET_FWD_DISABLED;
}
