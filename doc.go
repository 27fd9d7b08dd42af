// Package fastsyn is an open-world TCP endpoint whose business is the handshake:
// any peer, any tuple, every option parsed, keyed sequence numbers and SYN
// cookies, and millions of opens per second on a core.
//
// An Endpoint owns a port (an in-memory wire, a network interface) and runs one
// worker per queue of it. Applications are callbacks that run to completion on
// the worker that owns the flow:
//
//	ep, err := fastsyn.Open(fastsyn.Config{Port: "afpacket:veth0", Addrs: []string{"10.0.0.2/24"}})
//	if err != nil { … }
//	defer ep.Close()
//	err = ep.Handle(":7", fastsyn.Callbacks{
//		Data: func(f *fastsyn.Flow, p []byte) { f.Reply(p, true) },
//	})
//	err = ep.Wait(ctx)
//
// What is written for package net takes Endpoint.Listen and Endpoint.DialContext.
//
// The endpoint's addresses must not be configured on a kernel interface that
// shares the wire: the kernel would reset its flows.
package fastsyn
