#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares what the kernel's tests said on an instance and on the running kernel.

judge.py SCRATCH KNOWN_DIR SUITE...

Prints pass, skip and fail of both, and what the kernel passes and skep does not, with the
kind of the difference: the verdict (accepted or refused, a result), or only the text.
KNOWN_DIR/known-SUITE.txt lists differences that are known, a line each: "KIND TEST # cause".
Exit status 1 if there is one that is not in the list.
"""
import os
import re
import sys

VERDICT = re.compile(
    r"Unexpected success to load|Failed to load prog|unexpected_load_(success|failure)|"
    r"FAIL retval|unexpected retval|run_subtest:FAIL:(unexpected|.*retval)|libbpf: .*failed to load")

CAUSES = [
    (r"unknown program type|unsupported program type|invalid program type", "program type is not there"),
    (r"kernel function|kfunc|bpf_(arena|iter|dynptr|rbtree|list|obj_)|calling kernel", "kfuncs are not there"),
    (r"struct_ops|STRUCT_OPS", "struct_ops is not there"),
    (r"program of this type cannot use helper|unknown func", "helper is not there for this type"),
    (r"not pointing to valid bpf_map|failed to create|Invalid map|couldn't create map|map_create",
     "map type is not there"),
    (r"attach_btf_id|vmlinux BTF|BTF_KIND|in-kernel BTF", "kernel types are not there"),
]


def verifier_results(path):
    """test_verifier: {name: (OK|SKIP|FAIL, text)}"""
    out, name = {}, None
    for line in open(path, errors="replace"):
        m = re.match(r"#\d+/([pu]) (.*?) ?(OK|SKIP|FAIL)\b", line)
        if m:
            name = f"{m[1]} {m[2]}"
            while name in out:
                name += "'"
            out[name] = (m[3], "")
        elif name:
            out[name] = (out[name][0], out[name][1] + line)
    return out


def progs_results(path):
    """test_progs -v: the text of a subtest stands before its own line"""
    out, text = {}, ""
    for line in open(path, errors="replace"):
        m = re.match(r"#\S+\s+(\S+/.*):(OK|SKIP|FAIL)$", line)
        if m:
            out.setdefault(m[1], (m[2], text))
            text = ""
        else:
            text += line
    return out


def cause(text):
    for pattern, what in CAUSES:
        if re.search(pattern, text):
            return what
    return "verifier"


def known(path):
    names = set()
    if os.path.exists(path):
        for line in open(path):
            line = line.split(" # ")[0].rstrip()
            if line and not line.startswith("#"):
                names.add(line)
    return names


def main():
    scratch, lists, suites = sys.argv[1], sys.argv[2], sys.argv[3:]
    new = 0
    for suite in suites:
        parse = progs_results if suite == "progs" else verifier_results
        skep = parse(f"{scratch}/{suite}.skep")
        kernel = parse(f"{scratch}/{suite}.kernel")
        for who, r in (("kernel", kernel), ("skep", skep)):
            n = {k: sum(v[0] == k for v in r.values()) for k in ("OK", "SKIP", "FAIL")}
            print(f"{suite:6} {who:7} {n['OK']:5} pass {n['SKIP']:5} skip {n['FAIL']:5} fail")
        lines = []
        for name, (verdict, _) in kernel.items():
            mine, text = skep.get(name, ("MISSING", ""))
            if verdict != "OK" or mine == "OK":
                continue
            kind = "skip" if mine == "SKIP" else "verdict" if mine == "MISSING" or VERDICT.search(text) else "text"
            why = "program or map type is not there" if kind == "skip" else cause(text)
            lines.append((kind, name, why))
        for kind in ("verdict", "text", "skip"):
            print(f"{suite:6} {kind} differs: {sum(k == kind for k, _, _ in lines)}")
        with open(f"{scratch}/known-{suite}.txt", "w") as f:
            f.write("# What the kernel passes and skep does not. May only shrink.\n# KIND TEST # cause\n")
            for kind, name, why in sorted(lines):
                f.write(f"{kind} {name} # {why}\n")
        have = known(f"{lists}/known-{suite}.txt")
        # A difference in text that was one of verdict is progress.
        fresh = [f"{k} {n} # {w}" for k, n, w in sorted(lines)
                 if f"{k} {n}" not in have and not (k != "verdict" and f"verdict {n}" in have)]
        gone = have - {f"{k} {n}" for k, n, _ in lines}
        for line in fresh:
            print(f"  new: {line}")
        if gone:
            print(f"  {len(gone)} known differences are gone: take them from the list "
                  f"(the present one is {scratch}/known-{suite}.txt)")
        new += len(fresh)
        print(f"ran: judge_{suite} {sum(v[0] == 'OK' for v in skep.values())}")
    sys.exit(1 if new else 0)


main()
