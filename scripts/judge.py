#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares what the kernel's tests said on an instance and on the running kernel.

judge.py [--update] OUT_DIR LISTS_DIR SUITE...

Prints pass, skip and fail of both, and sorts each test that skep does not pass, though the
kernel passes it, skips it or fails it in another way, by the kind of the difference:
  verdict  accepted or refused otherwise than the test wants
  result   accepted as wanted, but it returned something else, or was not run
  text     the verdict is right, the message, the log or the rewritten instructions are not
  skip     the test found something missing and was not run, but the kernel ran it
  crash    the test program or the instance ended in it, or it was never reached
Unprivileged variants, which a kernel with unprivileged_bpf_disabled skips, are judged by what the
test itself expects.

OUT_DIR/diff-SUITE.txt has both outputs of each difference.
LISTS_DIR/known-SUITE.txt lists the differences that are known: "KIND TEST # cause (part)".
It may only shrink: status 1 if there is one that is not in it, and if one in it is gone.
--update takes out what is gone and keeps the causes of the others. It never adds: a list is begun
by hand (or as an empty file and "--update --begin").
LISTS_DIR/kernel-SUITE.txt lists what Linux 6.18 itself fails; it stands in for the
kernel where bpf(2) can't be had or another version runs.
"""
import os
import re
import sys

KINDS = ("verdict", "result", "text", "skip", "crash")
NOT_RUN = "Did not run the program (not supported)"

RESULT = re.compile(r"FAIL retval|retval[: ].*!= |unexpected retval|Unexpected retval|Did not run|"
                    r"FAIL:(retval|run|test_run|bpf_prog_test_run)|Unexpected error [0-9-]+")
VERDICT = re.compile(r"Unexpected success to load|Failed to load prog|FAIL:[^ ]*(load|skel|open|verif)|"
                     r"Failed to find BTF ID")

# (text, cause, the part that owns it); the first that is found.
CAUSES = [
    (r"unknown program type|unsupported program type|invalid program type", "program type is not there", "prog"),
    (r"arena", "arena maps are not there", "map"),
    (r"struct_ops|STRUCT_OPS", "struct_ops is not there", "bpf"),
    (r"calling kernel function|kernel function .* is not|calling invalid kernel|kernel btf_id|ksym.*not found|extern \(func ksym\)",
     "kfunc is not there", "btf"),
    (r"program of this type cannot use helper|unknown func|unsupported helper",
     "helper is not there for this type", "helper"),
    (r"failed to create|couldn't create map|map_create|Failed to create", "map type is not there", "map"),
    (r"attach_btf_id|vmlinux BTF|in-kernel BTF|Failed to find BTF ID|attach BTF|failed to find kernel BTF",
     "kernel type or attach target is not there", "btf"),
    (r"prohibited for !root|pointer arithmetic|!root", "unprivileged pointer arithmetic", "verifier"),
    (r"(?s)VERIFIER LOG.*BTF", "types", "btf"),
    (r"unexpected subsequence of instructions|can't find expected instructions|xlated|jited", "rewriting", "verifier"),
]


class Test:
    def __init__(self, state, text=""):
        self.state, self.text, self.ran, self.crash = state, text, True, False

    def kind(self):
        if self.state == "SKIP":
            return "skip"
        if self.crash:
            return "crash"
        if VERDICT.search(self.text):
            return "verdict"
        return "result" if RESULT.search(self.text) else "text"


def verifier_results(path):
    """test_verifier: what is said of a test follows its line. Two tests may have one name."""
    out, name, states = {}, None, ("OK", "SKIP", "FAIL")
    for line in open(path, errors="replace"):
        m = re.match(r"(judge: ended in )?#\d+/([pu]) (.*)", line)
        if m:
            # What was said before the result stands between: "#5/p NAME Did not run the program OK".
            m2 = re.match(r"(.*?) ?\b(OK|SKIP|FAIL)\b(.*)", m[3])
            descr, state, more = m2.groups() if m2 and not m[1] else (m[3], "FAIL", "")
            name = f"{m[2]} " + re.split(r" (?=libbpf: |Failed to |with status |%s)" % re.escape(NOT_RUN), descr + " ")[0].strip()
            while name in out and not m[1]:
                name += "'"
            out[name] = Test(state, state + more + "\n" if more else "")
            out[name].ran, out[name].crash = NOT_RUN not in descr, bool(m[1])
        elif name and line.strip() in states and out[name].state == "FAIL" and not out[name].text:
            out[name].state = line.strip()
        elif name:
            out[name].text += line
    return out


def progs_results(path):
    """test_progs -v: what is said of a test stands before its line"""
    out, text = {}, ""
    for line in open(path, errors="replace"):
        m = re.match(r"#\d+(/\d+)?\s+(\S.*?):(OK|SKIP|FAIL)$", line)
        crash = re.match(r"judge: ended in (.*)", line)
        if crash:
            out[crash[1]] = Test("FAIL", text)
            out[crash[1]].crash = True
            text = ""
        elif m:
            # The sum of its subtests is no test of its own.
            if m[1] or not any(n.startswith(m[2] + "/") for n in out):
                out.setdefault(m[2], Test(m[3], text))
            text = ""
        elif not line.startswith("Summary:"):
            text += line
    return out


def maps_results(path):
    """test_maps, run test by test: "map: NAME OK|SKIP|FAIL", then what it said"""
    out, name = {}, None
    for line in open(path, errors="replace"):
        m = re.match(r"map: (.*) (OK|SKIP|FAIL)$", line)
        if m:
            name = m[1]
            out[name] = Test(m[2])
        elif name:
            out[name].text += line
    return out


PARSERS = {"6.1": verifier_results, "6.12": verifier_results, "progs": progs_results, "testrun": progs_results,
           "maps": maps_results, "corpus": maps_results}


def cause(kind, name, text):
    if kind == "crash":
        return "the test ended here (bpf)"
    if kind == "verdict" and (name.startswith("u ") or name.endswith("@unpriv")) and re.search("nexpected.success", text):
        return "accepted, as by Linux from 6.17 on, which has barriers for speculative paths (verifier)"
    for pattern, what, part in CAUSES:
        if re.search(pattern, text):
            return f"{what} ({part})"
    return "verifier (verifier)" if kind in ("verdict", "text") else "running (prog)"


def read_list(path):
    """{(kind, name): cause}"""
    out = {}
    for line in open(path) if os.path.exists(path) else ():
        if line.strip() and not line.startswith("#"):
            what, _, why = line.rstrip("\n").rpartition(" # ")
            kind, _, name = (what or line.rstrip("\n")).partition(" ")
            out[kind, name] = why
    return out


def write_list(path, head, entries):
    with open(path, "w") as f:
        f.write(head)
        for (kind, name), why in sorted(entries.items()):
            f.write(f"{kind} {name}{' # ' + why if why else ''}\n")


def differences(kernel, skep, kernel_fails):
    """{(kind, name): (kernel's test, ours)}"""
    out = {}
    for name in list(kernel) + [n for n in skep if n not in kernel]:
        theirs, ours = kernel.get(name), skep.get(name)
        if not ours:
            ours = Test("FAIL", "never reached\n")
            ours.crash = True
        if theirs and theirs.state == "FAIL":
            theirs_kind = theirs.kind()
        elif theirs:
            theirs_kind = "skip" if theirs.state == "SKIP" else None
        else:
            theirs_kind = next((k for k in KINDS if (k, name) in kernel_fails), None)
        if ours.state == "OK":
            if theirs and theirs.state == "OK" and theirs.ran and not ours.ran:
                out["result", name] = (theirs, ours)
        elif ours.kind() != theirs_kind:
            out[ours.kind(), name] = (theirs, ours)
    return out


def judge(suite, out_dir, lists, update, begin):
    skep = PARSERS[suite](f"{out_dir}/{suite}.skep")
    kernel = PARSERS[suite](f"{out_dir}/{suite}.kernel")
    kernel_path, known_path = f"{lists}/kernel-{suite}.txt", f"{lists}/known-{suite}.txt"
    kernel_fails = read_list(kernel_path)
    for who, r in (("kernel", kernel), ("skep", skep)):
        n = {k: sum(v.state == k for v in r.values()) for k in ("OK", "SKIP", "FAIL")}
        seconds = f"{out_dir}/{suite}.{who}.time"
        took = f"{float(open(seconds).read()):8.1f} s" if os.path.exists(seconds) else ""
        print(f"{suite:7} {who:7} {n['OK']:5} pass {n['SKIP']:5} skip {n['FAIL']:5} fail{took}" if r else
              f"{suite:7} {who:7} did not run: as {os.path.basename(kernel_path)} says")
    found = differences(kernel, skep, kernel_fails)
    have = read_list(known_path)
    causes = {name: why for (_, name), why in have.items()}
    entries = {key: causes.get(key[1]) or cause(*key, ours.text) for key, (_, ours) in found.items()}

    for kind in KINDS:
        n = sum(k == kind for k, _ in entries)
        if n or kind in ("verdict", "result", "text"):
            print(f"{suite:7} {kind} differs: {n}")
    better = sum(skep[n].state == "OK" for n, t in kernel.items() if t.state == "FAIL" and n in skep)
    if kernel:
        print(f"{suite:7} the kernel fails and skep passes: {better}")
    with open(f"{out_dir}/diff-{suite}.txt", "w") as f:
        for key, (theirs, ours) in sorted(found.items(), key=lambda e: e[0]):
            state = theirs.state + (":\n" + theirs.text if theirs.text else "\n") if theirs else "not run\n"
            f.write(f"==== {key[0]} differs: {key[1]}\ncause: {entries[key]}\n---- kernel: {state}"
                    f"---- skep: {ours.state}:\n{ours.text}\n")

    # A difference in text that was one of verdict is progress.
    rank = {k: i for i, k in enumerate(("text", "skip", "result", "verdict", "crash"))}
    fresh = {key: why for key, why in entries.items()
             if key not in have and not any((k, key[1]) in have for k in KINDS if rank[k] > rank[key[0]])}
    # Builds of one kernel version differ in a few tests: what another one failed is neither new nor gone.
    moot = {key for key in fresh if key in kernel_fails}
    fresh = {key: why for key, why in fresh.items() if key not in moot}
    gone = [(k, n) for k, n in have if (k, n) not in entries
            and not (n in kernel and kernel[n].state == "FAIL" and n in skep and skep[n].state == "FAIL")]
    for kind, name in sorted(moot):
        print(f"  another build of this kernel failed it, too: {kind} {name}")
    for (kind, name), why in sorted(fresh.items()):
        print(f"  new: {kind} {name} # {why}")
    for kind, name in sorted(gone):
        print(f"  gone: {kind} {name}")
    if update:
        write_list(known_path, "# What skep does not pass as the kernel does. May only shrink (make judge UPDATE=1).\n"
                   "# KIND TEST # cause (part that owns it)\n",
                   {k: w for k, w in entries.items() if begin or k not in fresh})
        if kernel:
            write_list(kernel_path, f"# What Linux {os.uname().release.split('-')[0]} itself does not pass.\n# KIND TEST\n",
                       {(t.kind(), n): "" for n, t in kernel.items() if t.state == "FAIL"})
    elif gone:
        print(f"  {len(gone)} known differences are gone: make judge UPDATE=1 takes them from the list")
    passed = sum(v.state == "OK" for v in skep.values())
    print(f"ran: judge_{suite} {passed}")
    # Also where no kernel tells which tests there are.
    least = max([int(line.split()[1]) for line in open(f"{lists}/required") if line.split()[0] == suite], default=0)
    if passed < least:
        print(f"required: {suite} passed {passed} tests, at least {least} are required")
    return bool(fresh and not begin) or bool(gone and not update) or passed < least


def main():
    args = sys.argv[1:]
    update, begin = "--update" in args, "--begin" in args
    out_dir, lists, *suites = [a for a in args if not a.startswith("--")]
    bad = [suite for suite in suites if judge(suite, out_dir, lists, update, begin)]
    sys.exit(1 if bad else 0)


main()
