/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a packet shall go. The helpers only note it (env->redirect); whoever
 * runs the program on a packet does it.
 */
#include <errno.h>

#include "bpf/instance.h"
#include "helper/packet.h"
#include "map/map.h"

#define TC_ACT_SHOT     2
#define TC_ACT_REDIRECT 7
#define XDP_ACTIONS     3 /* what redirect_map may fall back to, in the flags */

HELPER(redirect)
{
	bool xdp = env->prog->type == BPF_PROG_TYPE_XDP;

	if (r2 & ~(uint64_t)(xdp ? 0 : BPF_F_INGRESS))
		return xdp ? XDP_ABORTED : TC_ACT_SHOT;
	env->redirect = (struct skep_redirect){
		.kind = SKEP_REDIRECT_IFINDEX, .ifindex = (uint32_t)r1, .flags = r2};
	return xdp ? XDP_REDIRECT : TC_ACT_REDIRECT;
}

HELPER(redirect_peer)
{
	if (r2)
		return TC_ACT_SHOT;
	env->redirect = (struct skep_redirect){
		.kind = SKEP_REDIRECT_PEER, .ifindex = (uint32_t)r1, .flags = r2};
	return TC_ACT_REDIRECT;
}

HELPER(redirect_neigh)
{
	uint32_t len = (uint32_t)r3;

	if ((len && len < sizeof(struct bpf_redir_neigh)) || r4)
		return TC_ACT_SHOT;
	env->redirect = (struct skep_redirect){
		.kind = SKEP_REDIRECT_NEIGH, .ifindex = (uint32_t)r1, .flags = r4};
	return TC_ACT_REDIRECT;
}

HELPER(redirect_map)
{
	struct skep_map *map = PTR(r1);
	bool many = map->type == BPF_MAP_TYPE_DEVMAP || map->type == BPF_MAP_TYPE_DEVMAP_HASH;
	uint64_t known = XDP_ACTIONS | (many ? BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS : 0);
	uint32_t ifindex = 0;

	if (r3 & ~known)
		return XDP_ABORTED;
	if (map->ops->redirect(map, (uint32_t)r2, &ifindex) && !(r3 & BPF_F_BROADCAST)) {
		env->redirect.kind = SKEP_REDIRECT_NONE;
		return r3 & XDP_ACTIONS;
	}
	env->redirect = (struct skep_redirect){.kind = SKEP_REDIRECT_MAP,
					       .ifindex = ifindex,
					       .map = map,
					       .map_id = map->obj.id,
					       .map_type = map->type,
					       .key = (uint32_t)r2,
					       .egress = skep_devmap_prog(map, (uint32_t)r2),
					       .flags = r3};
	return XDP_REDIRECT;
}

HELPER(clone_redirect)
{
	if (r3 & ~(uint64_t)BPF_F_INGRESS || !env->clone)
		return ERR(EINVAL);
	return (uint64_t)(int64_t)env->clone(env, PTR(r1), (uint32_t)r2, r3);
}
