// SPDX-License-Identifier: Apache-2.0

// A client in Go: a static binary, whose library makes its own system calls.
package main

import (
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/rlimit"
)

func check(what string, err error) {
	if err != nil {
		fmt.Println(what, err)
		os.Exit(1)
	}
}

// main OBJECT PIN
func main() {
	check("rlimit", rlimit.RemoveMemlock())
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: "skt_go", Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 16})
	check("map", err)
	for i := uint32(0); i < 4; i++ {
		check("put", m.Put(i, uint64(i*i)))
	}
	var k uint32
	var v, sum uint64
	for it := m.Iterate(); it.Next(&k, &v); {
		sum += v
	}
	fmt.Println("sum", sum, m.Lookup(uint32(7), &v))
	info, err := m.Info()
	check("info", err)
	fmt.Println(info.Name, info.Type, info.KeySize, info.ValueSize, info.MaxEntries)

	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "skt_go", Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 42), asm.Return()}})
	check("program", err)
	ret, _, err := p.Test(make([]byte, 64))
	fmt.Println("ran", ret, err)
	_, err = ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Reg(asm.R0, asm.R4), asm.Return()}})
	fmt.Println("refused", err)

	spec, err := ebpf.LoadCollectionSpec(os.Args[1])
	check("spec", err)
	check("constants", spec.RewriteConstants(map[string]interface{}{"step": uint32(5)}))
	c, err := ebpf.NewCollection(spec)
	check("collection", err)
	ret, _, err = c.Programs["skt_xdp"].Test(make([]byte, 80))
	fmt.Println("xdp", ret, err)
	var seen struct{ Len, Seq uint32 }
	check("seen", c.Maps["skt_seen"].Lookup(uint32(0), &seen))
	fmt.Println("seen", seen.Len, seen.Seq)

	if len(os.Args) > 2 {
		check("pin", m.Pin(os.Args[2]))
		again, err := ebpf.LoadPinnedMap(os.Args[2], nil)
		check("pinned", err)
		check("lookup", again.Lookup(uint32(3), &v))
		fmt.Println("pinned", v)
		check("unpin", m.Unpin())
		_, err = ebpf.LoadPinnedMap(os.Args[2], nil)
		fmt.Println("unpinned", err)
	}
}
