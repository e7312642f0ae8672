/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of struct xdp_md. */
#include "prog/fields.h"

#define ROW(field, ifield, fkind, ...)                                                             \
	{                                                                                          \
		.name = #field, .off = offsetof(struct xdp_md, field), .size = 4,                  \
		.ioff = offsetof(struct skep_xdp, ifield),                                         \
		.isize = sizeof(((struct skep_xdp *)0)->ifield), .kind = SKEP_CTX_##fkind,         \
		.flags = SKEP_CTX_R, __VA_ARGS__                                                   \
	}

const struct skep_ctx_field skep_fields_xdp[] = {
	ROW(data, data, PKT),
	ROW(data_end, data_end, PKT_END),
	ROW(data_meta, data_meta, PKT_META),
	ROW(ingress_ifindex, ingress_ifindex, SCALAR),
	ROW(rx_queue_index, rx_queue_index, SCALAR),
	ROW(egress_ifindex, egress_ifindex, SCALAR, .attach = 1ull << BPF_XDP_DEVMAP),
};
