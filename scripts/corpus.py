#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real programs: the objects that tools ship in their binaries, the larger programs of the kernel's
tests and our own, compiled in several ways, verified by skep and by the running kernel.

corpus.py gather DIR [SELFTESTS]   objects into DIR: from the packages that are installed, and compiled from the
                                   selftests' folder (with its progs moved to ../others) and from ours
corpus.py load SKEP DIR OUT        each program on both; OUT/corpus.{kernel,skep}: what judge.py reads
corpus.py bench SKEP DIR [ROUNDS]  verification speed of the programs that both take, interleaved; where DIR
                                   holds no objects they are gathered first
"""
import concurrent.futures
import json
import math
import os
import resource
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BTF = "/sys/kernel/btf/vmlinux"

REPEAT = 5 # loads in a row, warm ones count

# Packages whose binaries carry BPF objects, or that have them as files.
PACKAGES = ("libbpf-tools", "xdp-tools", "libxdp1", "bpftool", "systemd")

# The kernel's larger tests.
SELFTESTS = """strobemeta strobemeta_bpf_loop strobemeta_nounroll1 strobemeta_nounroll2 strobemeta_subprogs
	pyperf50 pyperf100 pyperf180 pyperf600 pyperf600_bpf_loop pyperf600_iter pyperf600_nounroll pyperf_global pyperf_subprogs
	profiler1 profiler2 profiler3 test_xdp_noinline test_l4lb test_l4lb_noinline test_l4lb_noinline_dynptr
	xdp_synproxy_kern loop1 loop2 loop3 loop4 loop5 loop6 test_verif_scale1 test_verif_scale2 test_verif_scale3
	bpf_flow test_cls_redirect test_cls_redirect_dynptr test_cls_redirect_subprogs test_tc_tunnel
	test_tcp_hdr_options test_misc_tcp_hdr_options test_sk_lookup test_sysctl_loop1 test_sysctl_loop2 xdping_kern
	xdp_features test_lwt_seg6local test_seg6_loop test_xdp test_xdp_loop test_parse_tcp_hdr_opt
	test_parse_tcp_hdr_opt_dynptr test_tc_dtime test_tcp_custom_syncookie setget_sockopt core_kern bpf_loop_bench
	strncmp_bench test_select_reuseport_kern test_pkt_access xdp_metadata test_xdp_vlan test_xdp_bpf2bpf
	test_tcpbpf_kern test_tunnel_kern test_tc_edt test_sockmap_kern sockopt_sk test_skb_helpers""".split()

# (name, compiler, its flags)
WAYS = [("clang-14-v2", "clang-14", ["-mcpu=v2"]), ("clang-14-v3", "clang-14", ["-mcpu=v3"]),
        ("clang-16-v3", "clang-16", ["-mcpu=v3"]), ("clang-19-v3", "clang-19", ["-mcpu=v3"]),
        ("clang-19-v4", "clang-19", ["-mcpu=v4"])]


def embedded(path):
    """The BPF objects within a file."""
    with open(path, "rb") as f:
        data = f.read()
    at = data.find(b"\x7fELF\x02\x01")
    while at >= 0:
        if at + 64 <= len(data) and struct.unpack_from("<H", data, at + 18)[0] == 247:
            shoff, = struct.unpack_from("<Q", data, at + 40)
            size, n = struct.unpack_from("<HH", data, at + 58)
            yield data[at:at + shoff + size * n]
        at = data.find(b"\x7fELF\x02\x01", at + 1)


def gather_packages(out):
    seen = set()
    for package in PACKAGES:
        files = subprocess.run(["dpkg", "-L", package], capture_output=True, text=True).stdout.split("\n")
        for path in files:
            if not os.path.isfile(path) or os.path.islink(path) or os.path.getsize(path) > 64 << 20:
                continue
            for i, obj in enumerate(embedded(path)):
                if obj in seen:
                    continue
                seen.add(obj)
                name = os.path.basename(path).removesuffix(".o") + (f"-{i + 1}" if i else "")
                with open(f"{out}/{package}.{name}.o", "wb") as f:
                    f.write(obj)


def compile_one(job):
    src, obj, cc, flags = job
    r = subprocess.run([cc, "-g", "-O2", "-target", "bpf", *flags, "-c", src, "-o", obj + ".new"],
                       capture_output=True, text=True)
    if r.returncode:
        return f"{os.path.basename(obj)}: {r.stderr.strip().splitlines()[0] if r.stderr.strip() else 'not compiled'}"
    os.rename(obj + ".new", obj)
    return None


def gather_sources(out, selftests):
    jobs = []
    arch = os.uname().machine
    for way, cc, flags in WAYS:
        if subprocess.run(["sh", "-c", f"command -v {cc}"], capture_output=True).returncode:
            print(f"corpus: no {cc}")
            continue
        if selftests:
            progs = f"{selftests}/../others/progs"
            inc = ["-D__TARGET_ARCH_x86", "-mlittle-endian", f"-I{selftests}/tools/include", f"-I{selftests}", f"-I{selftests}/progs",
                   f"-I{selftests}/../../../include/uapi", "-idirafter", f"/usr/include/{arch}-linux-gnu",
                   "-Wno-everything", "-fno-strict-aliasing", "-DENABLE_ATOMICS_TESTS"]
            jobs += [(f"{progs}/{p}.c", f"{out}/selftests.{p}.{way}.o", cc, inc + flags)
                     for p in SELFTESTS if os.path.exists(f"{progs}/{p}.c")]
        ours = [f"{HERE}/{d}/{f}" for d in ("examples", "apps/guard") for f in sorted(os.listdir(f"{HERE}/{d}"))
                if f.endswith(".bpf.c") and f not in ("xdp_drop_all.bpf.c", "legacy_map.bpf.c")]
        jobs += [(src, f"{out}/ours.{os.path.basename(src)[:-6]}.{way}.o", cc,
                  ["-idirafter", f"/usr/include/{arch}-linux-gnu", f"-I{HERE}/apps/guard"] + flags) for src in ours]
    jobs = [j for j in jobs if not os.path.exists(j[1])]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        failed = [f for f in pool.map(compile_one, jobs) if f]
    with open(f"{out}/not-compiled.txt", "w") as f:
        f.write("".join(line + "\n" for line in failed))


def objects(path):
    return sorted(f for f in os.listdir(path) if f.endswith(".o"))


def check(skep, path, kernel, repeat=1):
    """{program: what skep check says of it}, or the reason why there is nothing"""
    args = (["--runtime", "kernel"] if kernel else ["--btf", BTF]) + ["--repeat", str(repeat)]
    try:
        r = subprocess.run([skep, "check", "--json", *args, path], capture_output=True, text=True, timeout=120)
        return {p["name"]: p for p in json.loads(r.stdout)["programs"]}
    except subprocess.TimeoutExpired:
        return "took over two minutes"
    except json.JSONDecodeError:
        return r.stderr.strip() or f"status {r.returncode}"


def load(skep, path, out):
    both = kernel_takes = only_skep = more = less = 0
    with open(f"{out}/corpus.kernel", "w") as k, open(f"{out}/corpus.skep", "w") as s:
        for name in objects(path):
            theirs, ours = (check(skep, f"{path}/{name}", kernel) for kernel in (True, False))
            programs = sorted(set(theirs if isinstance(theirs, dict) else ()) | set(ours if isinstance(ours, dict) else ()))
            for program in programs:
                said = []
                for f, r in ((k, theirs), (s, ours)):
                    p = r.get(program) if isinstance(r, dict) else {"accepted": False, "what": r}
                    p = p or {"accepted": False, "what": "no such program"}
                    said.append(p)
                    f.write(f"map: {name[:-2]}/{program} {'OK' if p['accepted'] else 'FAIL'}\n")
                    if not p["accepted"]:
                        where = f" ({p['text']})" if p.get("text") else ""
                        f.write(f"Failed to load prog: {p.get('error', '')}: {p.get('what', '')}{where}\n")
                kernel_takes += said[0]["accepted"]
                both += said[0]["accepted"] and said[1]["accepted"]
                only_skep += said[1]["accepted"] and not said[0]["accepted"]
                if said[0]["accepted"] and said[1]["accepted"]:
                    more += said[1]["processed"] > said[0]["processed"]
                    less += said[1]["processed"] < said[0]["processed"]
                    if said[1]["processed"] > said[0]["processed"]:
                        print(f"corpus  processes more: {name[:-2]}/{program}: {said[1]['processed']}, the kernel {said[0]['processed']}")
                elif said[1]["accepted"]:
                    print(f"corpus  only skep takes: {name[:-2]}/{program}: {said[0].get('what', '')[:120]}")
    print(f"corpus  {len(objects(path))} objects: the kernel takes {kernel_takes} programs, skep {both} of these and {only_skep} others")
    print(f"corpus  skep processes more instructions for {more} of them, fewer for {less}")


def bench(skep, path, rounds):
    """Instructions of the verifier's count per microsecond of its own time, a median of each round's medians."""
    runs = {}
    os.makedirs(path, exist_ok=True)
    if not objects(path):
        gather_packages(path)
        gather_sources(path, None)
    for r in range(rounds):
        for name in objects(path):
            if r and not any(key[0] == name for key in runs):
                continue
            for kernel in ((0, 1) if r % 2 else (1, 0)):
                said = check(skep, f"{path}/{name}", bool(kernel), REPEAT)
                for program, p in (said.items() if isinstance(said, dict) else ()):
                    if p["accepted"] and p["processed"] >= 1000 and p["ns"]:
                        runs.setdefault((name, program), ([], []))[kernel].append((p["ns"], p["processed"]))
    print(f"{'program':58} {'skep insns':>10} {'us':>9} {'per us':>7} {'kernel':>9} {'us':>9} {'per us':>7} {'ratio':>6}")
    ratios, speeds = [], []
    for (name, program), (ours, theirs) in sorted(runs.items()):
        if not ours or not theirs:
            continue
        a, b = (sorted(x)[len(x) // 2] for x in (ours, theirs))
        ratios.append(b[0] / a[0])
        speeds.append((a[1] * 1000 / a[0], b[1] * 1000 / b[0]))
        print(f"{name[:-2] + '/' + program:58.58} {a[1]:10} {a[0] / 1000:9.0f} {a[1] * 1000 / a[0]:7.2f} {b[1]:9} {b[0] / 1000:9.0f} "
              f"{b[1] * 1000 / b[0]:7.2f} {b[0] / a[0]:6.2f}")
    print(f"memory of the process, at most: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024} MB")
    if ratios:
        mean = [math.exp(sum(map(math.log, x)) / len(x)) for x in (ratios, [s[0] for s in speeds], [s[1] for s in speeds])]
        print(f"{len(ratios)} programs of 1,000 and more: geometric means: skep {mean[1]:.2f} instructions per us, the kernel {mean[2]:.2f}; "
              f"skep is {mean[0]:.2f} times as fast")


def main():
    what, *args = sys.argv[1:]
    if what == "gather":
        os.makedirs(args[0], exist_ok=True)
        gather_packages(args[0])
        gather_sources(args[0], args[1] if len(args) > 1 else None)
    elif what == "load":
        load(*args)
    elif what == "bench":
        bench(args[0], args[1], int(args[2]) if len(args) > 2 else 3)
    else:
        sys.exit(__doc__)


main()
