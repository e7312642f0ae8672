# SPDX-License-Identifier: Apache-2.0
# bcc: programs from C text, and tables. The output must be the same on the kernel and on an instance.
import ctypes
from bcc import BPF

b = BPF(text=r"""
struct key { u32 proto; u32 len; };
BPF_HASH(lens, struct key, u64, 64);
BPF_ARRAY(total, u64, 2);
BPF_PERCPU_ARRAY(each, u64, 1);

int pass(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct key k = {};
	int zero = 0;
	u64 *n;

	if (data + 14 > end)
		return XDP_DROP;
	k.proto = *(u16 *)(data + 12);
	k.len = end - data;
	lens.increment(k);
	total.increment(zero);
	n = each.lookup(&zero);
	if (n)
		*n += 1;
	return XDP_PASS;
}

int filter(struct __sk_buff *skb)
{
	int one = 1;

	total.increment(one);
	return skb->len;
}
""")


class Run(ctypes.Structure):
    """The part of union bpf_attr that BPF_PROG_TEST_RUN reads."""
    _fields_ = [("prog_fd", ctypes.c_uint32), ("retval", ctypes.c_uint32),
                ("size_in", ctypes.c_uint32), ("size_out", ctypes.c_uint32),
                ("data_in", ctypes.c_uint64), ("data_out", ctypes.c_uint64),
                ("repeat", ctypes.c_uint32), ("duration", ctypes.c_uint32)]


libc = ctypes.CDLL(None, use_errno=True)
SYS_BPF = {"x86_64": 321, "aarch64": 280}[__import__("os").uname().machine]


def run(fn, packet, repeat):
    data = ctypes.create_string_buffer(packet, len(packet))
    a = Run(fn.fd, 0, len(packet), 0, ctypes.addressof(data), 0, repeat, 0)
    if libc.syscall(SYS_BPF, 10, ctypes.byref(a), ctypes.sizeof(a)):
        raise OSError(ctypes.get_errno(), "test run")
    return a.retval


xdp = b.load_func("pass", BPF.XDP)
flt = b.load_func("filter", BPF.SOCKET_FILTER)
print("xdp", run(xdp, b"\0" * 12 + b"\x08\x00" + b"\0" * 50, 3), run(xdp, b"\0" * 100, 2))
print("filter", run(flt, b"\0" * 77, 4))
lens, total, each = b["lens"], b["total"], b["each"]
for k, v in sorted(lens.items(), key=lambda i: i[0].len):
    print("proto", k.proto, "len", k.len, "count", v.value)
print("total", [v.value for v in total.values()], "each", sum(each[0]))
total[1] = ctypes.c_uint64(9)
print("changed", total[1].value)
lens.clear()
print("left", len(lens))
