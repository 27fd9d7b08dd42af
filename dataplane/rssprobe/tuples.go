package rssprobe

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/rss"
)

// maxFrame is the longest test frame: Ethernet, IPv6, TCP without options.
const maxFrame = wire.EthernetLen + wire.IPv6Len + wire.TCPLen

// The two halves of the benchmark networks: sources and destinations.
const (
	remote4 = 198<<24 | 18<<16 // 198.18.0.0/16
	local4  = 198<<24 | 19<<16 // 198.19.0.0/16
	remote6 = 0x20010002_0000_0000
	local6  = 0x20010002_0000_8000
)

// test is one test frame and its fate.
type test struct {
	tuple     wire.Tuple // as received: Remote is the source
	hash      uint32
	predicted int
	real      int
	sent      bool
	arrived   bool
}

func (p *probe) makeTests() {
	r := rand.New(rand.NewPCG(p.c.Seed, 0x727373)) // "rss"
	p.nonce = r.Uint32()
	p.index = make(map[wire.Tuple]int, p.c.Tuples)
	for len(p.tests) < p.c.Tuples {
		t := test{tuple: wire.Tuple{
			RemotePort: uint16(1024 + r.IntN(65536-1024)),
			LocalPort:  uint16(1024 + r.IntN(65536-1024)),
		}}
		if len(p.tests)%2 == 0 {
			t.tuple.Remote = wire.Addr4(remote4 | 1 + r.Uint32N(0xfffe))
			t.tuple.Local = wire.Addr4(local4 | 1 + r.Uint32N(0xfffe))
		} else {
			t.tuple.Remote = wire.Addr{Hi: remote6 | uint64(r.IntN(0x8000)), Lo: r.Uint64() | 1}
			t.tuple.Local = wire.Addr{Hi: local6 | uint64(r.IntN(0x8000)), Lo: r.Uint64() | 1}
		}
		if _, ok := p.index[t.tuple]; ok {
			continue
		}
		t.hash = hashWith(p.hash, t.tuple, inputPorts)
		t.predicted = int(p.c.RETA.Queue(t.hash))
		p.index[t.tuple] = len(p.tests)
		p.tests = append(p.tests, t)
	}
}

// frame writes test frame n into b, which has room for maxFrame bytes.
func (p *probe) frame(b []byte, n int) []byte {
	t := &p.tests[n]
	seg := wire.Segment{ // ours is the sending end
		Tuple: wire.Tuple{
			Local: t.tuple.Remote, LocalPort: t.tuple.RemotePort,
			Remote: t.tuple.Local, RemotePort: t.tuple.LocalPort,
		},
		Seq: wire.Seq(p.nonce + uint32(n)), Flags: wire.FlagSYN, Win: 1024,
	}
	b = b[:maxFrame]
	at := wire.PutLink(b, &p.link, t.tuple.Remote.EtherType())
	ip := b[at:]
	b = b[:at+wire.PutTCP(ip, &seg, nil)]
	if t.tuple.Remote.Is4() {
		ip[8] = 1 // TTL
		binary.BigEndian.PutUint16(ip[10:], 0)
		binary.BigEndian.PutUint16(ip[10:], wire.Checksum(ip[:wire.IPv4Len], 0))
	} else {
		ip[7] = 1 // hop limit
	}
	return b
}

// input is what of a tuple a device hashes.
type input uint8

const (
	inputPorts    input = iota // addresses and ports, as received
	inputAddrs                 // addresses only
	inputReversed              // as the sender's own stack would, destination first
	numInputs
)

func (i input) String() string {
	return [...]string{"addresses and ports", "addresses without ports", "destination before source"}[i]
}

func hashWith(h *rss.Toeplitz, t wire.Tuple, in input) uint32 {
	src, dst, sport, dport := t.Remote, t.Local, t.RemotePort, t.LocalPort
	switch in {
	case inputPorts:
	case inputAddrs:
		sport, dport = 0, 0
	case inputReversed:
		src, dst, sport, dport = dst, src, dport, sport
	}
	if src.Is4() {
		return h.Hash4(src.V4(), dst.V4(), sport, dport)
	}
	return h.Hash6(src.Hi, src.Lo, dst.Hi, dst.Lo, sport, dport)
}
