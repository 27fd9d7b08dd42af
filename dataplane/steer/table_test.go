package steer

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/rss"
)

// The key is not symmetric, so that a tuple taken the wrong way round shows.
func newTable(t testing.TB, queues int) *Table {
	t.Helper()
	reta, err := rss.NewRETA(128, queues)
	require.NoError(t, err)
	return New(rss.DefaultKey, reta)
}

var (
	peer4, our4   = tuple("198.51.100.2:40000", "192.0.2.1:443")
	peer6, our6   = tuple("[2001:db8::2]:40001", "[2001:db8::1]:443")
	router4       = wire.AddrFrom(netip.MustParseAddr("203.0.113.9"))
	router6       = wire.AddrFrom(netip.MustParseAddr("2001:db8:1::9"))
	tuple4        = wire.Tuple{Remote: peer4.addr, RemotePort: peer4.port, Local: our4.addr, LocalPort: our4.port}
	tuple6        = wire.Tuple{Remote: peer6.addr, RemotePort: peer6.port, Local: our6.addr, LocalPort: our6.port}
	errors4       = []uint8{wire.ICMPUnreachable, wire.ICMPSourceQuench, wire.ICMPTimeExceeded, wire.ICMPParamProblem}
	errors6       = []uint8{wire.ICMPv6Unreachable, wire.ICMPv6PacketTooBig, wire.ICMPv6TimeExceeded, wire.ICMPv6ParamProblem}
	twoQueueTable = New(rss.SymmetricKey, rss.RETA{0, 1})
)

type end struct {
	addr wire.Addr
	port uint16
}

func tuple(a, b string) (x, y end) {
	p, q := netip.MustParseAddrPort(a), netip.MustParseAddrPort(b)
	return end{wire.AddrFrom(p.Addr()), p.Port()}, end{wire.AddrFrom(q.Addr()), q.Port()}
}

// want is the specification: hash and queue of a tuple as received.
func want(t *Table, u wire.Tuple) (queue uint16, hash uint32) {
	h := rss.New(t.Key())
	if u.Remote.Is4() {
		hash = h.Hash4(u.Remote.V4(), u.Local.V4(), u.RemotePort, u.LocalPort)
	} else {
		hash = h.Hash6(u.Remote.Hi, u.Remote.Lo, u.Local.Hi, u.Local.Lo, u.RemotePort, u.LocalPort)
	}
	return t.RETA().Queue(hash), hash
}

// packet is an IP packet with a TCP segment from u.Remote to u.Local.
func packet(u wire.Tuple, text int) []byte {
	s := wire.Segment{
		Tuple: wire.Tuple{Remote: u.Local, RemotePort: u.LocalPort, Local: u.Remote, LocalPort: u.RemotePort},
		Seq:   1, Flags: wire.FlagACK, Win: 1000,
	}
	b := make([]byte, wire.PacketLen(&s, text))
	wire.PutTCP(b, &s, make([]byte, text))
	return b
}

// reversed is u as the peer sees it.
func reversed(u wire.Tuple) wire.Tuple {
	return wire.Tuple{Remote: u.Local, RemotePort: u.LocalPort, Local: u.Remote, LocalPort: u.RemotePort}
}

// ip4 puts an IPv4 header with options in front of b.
func ip4(src, dst wire.Addr, proto uint8, opts, b []byte) []byte {
	p := make([]byte, 20, 20+len(opts)+len(b))
	p[0], p[8], p[9] = 0x45+byte(len(opts)/4), 64, proto
	be.PutUint16(p[2:], uint16(20+len(opts)+len(b)))
	be.PutUint32(p[12:], src.V4())
	be.PutUint32(p[16:], dst.V4())
	p = append(p, opts...)
	be.PutUint16(p[10:], wire.Checksum(p, 0))
	return append(p, b...)
}

func ip6(src, dst wire.Addr, next uint8, b []byte) []byte {
	p := make([]byte, 40, 40+len(b))
	p[0], p[6], p[7] = 0x60, next, 64
	be.PutUint16(p[4:], uint16(len(b)))
	s, d := src.As16(), dst.As16()
	copy(p[8:], s[:])
	copy(p[24:], d[:])
	return append(p, b...)
}

// icmp is a message of type typ about the quoted packet, from the router to us.
func icmp(typ uint8, quote []byte) []byte {
	m := append([]byte{typ, 1, 0, 0, 0, 0, 0, 0}, quote...)
	if quote[0]>>4 == 4 {
		be.PutUint16(m[2:], wire.Checksum(m, 0))
		return ip4(router4, our4.addr, wire.ProtoICMP, nil, m)
	}
	be.PutUint16(m[2:], wire.Checksum(m, wire.PseudoSum(router6, our6.addr, wire.ProtoICMPv6, uint32(len(m)))))
	return ip6(router6, our6.addr, wire.ProtoICMPv6, m)
}

// eth puts an Ethernet header, with a tag if tci is not 0, in front of an IP packet.
func eth(tci uint16, ip []byte) []byte {
	l := wire.Link{Dst: [6]byte{2, 0, 0, 0, 0, 1}, Src: [6]byte{2, 0, 0, 0, 0, 2}, VLAN: tci}
	b := make([]byte, l.Len(), l.Len()+len(ip))
	et := uint16(wire.EtherTypeIPv4)
	if len(ip) > 0 && ip[0]>>4 == 6 {
		et = wire.EtherTypeIPv6
	}
	wire.PutLink(b, &l, et)
	return append(b, ip...)
}

func edit(b []byte, f func(b []byte)) []byte { f(b); return b }

// options is the packet with n NOPs in its IPv4 header.
func options(p []byte, n int) []byte {
	opts := make([]byte, n)
	for i := range opts {
		opts[i] = 1
	}
	return ip4(wire.Addr4(be.Uint32(p[12:])), wire.Addr4(be.Uint32(p[16:])), p[9], opts, p[20:])
}

// check holds Frame and Burst to the expected result. known4 and known6 share the burst.
func check(t *testing.T, tab *Table, name string, d []byte, queue uint16, hash uint32, ok bool) {
	t.Helper()
	q, h, is := tab.Frame(d)
	require.Equal(t, ok, is, name)
	require.Equal(t, hash, h, name)
	require.Equal(t, queue, q, name)
	var b Burst
	other := eth(0, packet(tuple4, 0))
	is = tab.Burst(&b, [][]byte{other, d, other}, 0)&2 != 0
	require.Equal(t, ok, is, name)
	if ok {
		require.Equal(t, hash, b.Hash[1], name)
		require.Equal(t, queue, b.Queue[1], name)
	}
}

func TestRSS_003_010_SegmentsBelongWhereTheirTupleSays(t *testing.T) {
	for _, queues := range []int{1, 2, 5} {
		tab := newTable(t, queues)
		for name, d := range map[string][]byte{
			"plain":                  eth(0, packet(tuple4, 0)),
			"tagged":                 eth(9, packet(tuple4, 0)),
			"text":                   eth(0, packet(tuple4, 999)),
			"options":                eth(0, options(packet(tuple4, 0), 4)),
			"all options":            eth(9, options(packet(tuple4, 0), 40)),
			"don't fragment":         eth(0, edit(packet(tuple4, 0), func(p []byte) { p[6] |= 0xc0 })),
			"no more than the ports": eth(0, packet(tuple4, 0)[:24]),
		} {
			q, h := want(tab, tuple4)
			check(t, tab, name, d, q, h, true)
		}
		behind := func(first uint8, ext ...byte) []byte {
			return ip6(tuple6.Remote, tuple6.Local, first, append(ext, packet(tuple6, 0)[40:]...))
		}
		eight := bytes.Repeat([]byte{60, 0, 1, 4, 0, 0, 0, 0}, 8)
		eight[56] = wire.ProtoTCP
		for name, d := range map[string][]byte{
			"plain":                  eth(0, packet(tuple6, 0)),
			"tagged":                 eth(9, packet(tuple6, 7)),
			"no more than the ports": eth(0, packet(tuple6, 0)[:44]),
			"destination options":    eth(0, behind(60, 6, 0, 1, 4, 0, 0, 0, 0)),
			"hop-by-hop and more":    eth(9, behind(0, 60, 0, 1, 4, 0, 0, 0, 0, 6, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)),
			"atomic fragment":        eth(0, behind(44, 6, 0, 0, 6, 1, 2, 3, 4)),
			"eight headers":          eth(0, behind(60, eight...)),
		} {
			q, h := want(tab, tuple6)
			check(t, tab, name, d, q, h, true)
		}
	}
}

// An error quotes what we sent: it belongs where what we receive belongs.
func TestRSS_003_010_ErrorsBelongWhereTheirFlowDoes(t *testing.T) {
	for _, queues := range []int{1, 2, 5} {
		tab := newTable(t, queues)
		sent4, sent6 := packet(reversed(tuple4), 100), packet(reversed(tuple6), 100)
		q4, h4 := want(tab, tuple4)
		q6, h6 := want(tab, tuple6)
		for _, typ := range errors4 {
			check(t, tab, "whole", eth(0, icmp(typ, sent4)), q4, h4, true)
		}
		for _, typ := range errors6 {
			check(t, tab, "whole", eth(0, icmp(typ, sent6)), q6, h6, true)
		}
		for name, d := range map[string][]byte{
			"tagged":          eth(9, icmp(3, sent4)),
			"the least":       eth(0, icmp(3, sent4[:28])),
			"padded":          append(eth(0, icmp(3, sent4[:28])), make([]byte, 9)...),
			"options":         eth(0, options(icmp(3, sent4), 12)),
			"quoted options":  eth(0, icmp(3, options(sent4, 20))),
			"first fragment":  eth(0, icmp(3, edit(packet(reversed(tuple4), 100), func(p []byte) { p[6] = 0x20 }))),
			"rewritten quote": eth(0, icmp(11, edit(packet(reversed(tuple4), 100), func(p []byte) { p[8], p[2] = 0, 9 }))),
		} {
			check(t, tab, name, d, q4, h4, true)
		}
		for name, d := range map[string][]byte{
			"tagged":    eth(9, icmp(1, sent6)),
			"the least": eth(0, icmp(1, sent6[:48])),
		} {
			check(t, tab, name, d, q6, h6, true)
		}
	}
}

func TestOthersBelongNowhere(t *testing.T) {
	tcp6ext := func(first uint8, ext ...byte) []byte {
		return eth(0, ip6(tuple6.Remote, tuple6.Local, first, append(ext, packet(tuple6, 0)[40:]...)))
	}
	nine := bytes.Repeat([]byte{60, 0, 1, 4, 0, 0, 0, 0}, 9)
	nine[64] = wire.ProtoTCP
	sent4, sent6 := packet(reversed(tuple4), 0), packet(reversed(tuple6), 0)
	tcp4 := func(f func(p []byte)) []byte { return eth(0, edit(packet(tuple4, 0), f)) }
	tcp6 := func(f func(p []byte)) []byte { return eth(0, edit(packet(tuple6, 0), f)) }
	ext := append([]byte{6, 0, 1, 4, 0, 0, 0, 0}, sent6[40:]...)
	for name, d := range map[string][]byte{
		"nil":                   nil,
		"no ethertype":          make([]byte, 13),
		"ethernet alone":        eth(0, packet(tuple4, 0))[:14],
		"cut in the tag":        eth(9, packet(tuple4, 0))[:17],
		"two tags":              append(eth(9, nil)[:16], eth(7, packet(tuple4, 0))[12:]...),
		"ARP":                   edit(eth(0, packet(tuple4, 0)), func(b []byte) { b[13] = 6 }),
		"UDP":                   tcp4(func(p []byte) { p[9] = 17 }),
		"UDP over IPv6":         tcp6(func(p []byte) { p[6] = 17 }),
		"first fragment":        tcp4(func(p []byte) { p[6] = 0x20 }),
		"last fragment":         tcp4(func(p []byte) { p[6], p[7] = 0, 1 }),
		"short header":          tcp4(func(p []byte) { p[0] = 0x44 }),
		"header beyond the end": tcp4(func(p []byte) { p[0] = 0x4f }),
		"version":               tcp4(func(p []byte) { p[0] = 0x65 }),
		"IPv6 version":          tcp6(func(p []byte) { p[0] = 0x40 }),
		"routing header":        tcp6ext(43, 6, 0, 0, 0, 0, 0, 0, 0),
		"fragment":              tcp6ext(44, 6, 0, 0, 1, 0, 0, 0, 0),
		"later fragment":        tcp6ext(44, 6, 0, 1, 0, 0, 0, 0, 0),
		"hop-by-hop, late":      tcp6ext(60, 0, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0),
		"nine headers":          tcp6ext(60, nine...),
		"UDP behind a header":   tcp6ext(60, 17, 0, 1, 4, 0, 0, 0, 0),
		"header past the end":   tcp6ext(60, 6, 9, 1, 4, 0, 0, 0, 0),
		"cut in the ports":      eth(0, packet(tuple4, 0)[:23]),
		"cut in IPv4":           eth(0, packet(tuple4, 0)[:19]),
		"cut in the IPv6 ports": eth(0, packet(tuple6, 0)[:43]),
		"cut in IPv6":           eth(0, packet(tuple6, 0)[:39]),

		"echo":                     eth(0, icmp(wire.ICMPEcho, sent4)),
		"redirect":                 eth(0, icmp(5, sent4)),
		"unassigned error":         eth(0, icmp(100, sent6)),
		"router advertisement":     eth(0, icmp(wire.ICMPv6RouterAdvert, sent6)),
		"ICMPv6 type 0":            eth(0, icmp(0, sent6)),
		"neighbour solicitation":   eth(0, icmp(wire.ICMPv6NeighborSolicit, sent6)),
		"fragment of an error":     eth(0, edit(icmp(3, sent4), func(p []byte) { p[6] = 0x20 })),
		"error without a quote":    eth(0, ip4(router4, our4.addr, 1, nil, make([]byte, 8))),
		"error cut in its header":  eth(0, icmp(3, sent4)[:24]),
		"quote of 7 bytes of TCP":  eth(0, icmp(3, sent4[:27])),
		"and behind options":       eth(0, icmp(3, options(sent4, 20)[:47])),
		"and in IPv6":              eth(0, icmp(1, sent6[:47])),
		"the rest being padding":   append(eth(0, icmp(3, sent4[:27])), make([]byte, 32)...),
		"and there":                append(eth(0, icmp(1, sent6[:47])), make([]byte, 32)...),
		"longer than it is":        eth(0, edit(icmp(3, sent4), func(p []byte) { p[2] = 1 })),
		"and in ICMPv6":            eth(0, edit(icmp(1, sent6), func(p []byte) { p[4] = 1 })),
		"quoted UDP":               eth(0, icmp(3, edit(packet(reversed(tuple4), 0), func(p []byte) { p[9] = 17 }))),
		"quoted UDP over IPv6":     eth(0, icmp(1, edit(packet(reversed(tuple6), 0), func(p []byte) { p[6] = 17 }))),
		"quoted later fragment":    eth(0, icmp(3, edit(packet(reversed(tuple4), 0), func(p []byte) { p[7] = 1 }))),
		"quoted short header":      eth(0, icmp(3, edit(packet(reversed(tuple4), 0), func(p []byte) { p[0] = 0x44 }))),
		"quoted header too long":   eth(0, icmp(3, edit(packet(reversed(tuple4), 0), func(p []byte) { p[0] = 0x4f }))),
		"quoted extension headers": eth(0, icmp(1, ip6(our6.addr, peer6.addr, 60, ext))),
		"IPv6 quoted in ICMP":      eth(0, ip4(router4, our4.addr, 1, nil, append([]byte{3, 1, 0, 0, 0, 0, 0, 0}, sent6...))),
		"IPv4 quoted in ICMPv6":    eth(0, ip6(router6, our6.addr, 58, append([]byte{1, 1, 0, 0, 0, 0, 0, 0}, options(sent4, 40)...))),
	} {
		check(t, newTable(t, 5), name, d, 0, 0, false)
	}
}

// mixed returns frames of all kinds in an order that r decides.
func mixed(r *rand.Rand, n int) (data [][]byte) {
	for range n {
		u4, u6 := tuple4, tuple6
		u4.Remote.Lo ^= r.Uint64() & 0xffffffff
		u6.Remote.Lo, u6.Local.Hi = r.Uint64(), r.Uint64()
		u4.RemotePort, u6.RemotePort = uint16(r.Uint32()), uint16(r.Uint32())
		tci := uint16(r.IntN(2) * 5)
		switch r.IntN(6) {
		case 0:
			data = append(data, eth(tci, packet(u4, r.IntN(9))))
		case 1:
			data = append(data, eth(tci, options(packet(u4, 0), 4*r.IntN(11))))
		case 2:
			data = append(data, eth(tci, packet(u6, r.IntN(9))))
		case 3:
			data = append(data, eth(tci, icmp(errors4[r.IntN(4)], packet(reversed(u4), 0))))
		case 4:
			data = append(data, eth(tci, icmp(errors6[r.IntN(4)], packet(reversed(u6), 0))))
		default:
			d := eth(tci, packet(u4, 0))
			data = append(data, d[:r.IntN(len(d))])
		}
	}
	return data
}

// Any number of frames, with any of them known, some with a hash that is not
// theirs: it is taken as it is.
func TestBurstEqualsOneAtATime(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 1))
	for _, tab := range []*Table{newTable(t, 5), newTable(t, 1), twoQueueTable} {
		var b Burst
		for n := range Max + 1 {
			data, known := mixed(r, n), r.Uint64()&r.Uint64()
			var told [Max]uint32
			for i := range told {
				told[i] = r.Uint32()
				if known>>i&1 != 0 {
					b.Hash[i] = told[i]
				}
			}
			ok := tab.Burst(&b, data, known)
			require.True(t, n == Max || ok>>n == 0, "a bit beyond the burst")
			for i, d := range data {
				q, h, is := tab.Frame(d)
				if known>>i&1 != 0 {
					q, h, is = tab.Queue(told[i]), told[i], true
				}
				require.Equal(t, is, ok>>i&1 != 0, "frame %d of %d", i, n)
				if is {
					require.Equal(t, h, b.Hash[i], "frame %d of %d", i, n)
					require.Equal(t, q, b.Queue[i], "frame %d of %d", i, n)
				}
			}
		}
		require.Panics(t, func() { tab.Burst(&b, make([][]byte, Max+1), 0) })
	}
}

func TestTableIsWhatItWasMadeOf(t *testing.T) {
	reta := rss.RETA{3, 1, 2, 0}
	tab := New(rss.DefaultKey, reta)
	reta[0] = 9
	require.Equal(t, rss.RETA{3, 1, 2, 0}, tab.RETA())
	require.Equal(t, rss.DefaultKey, tab.Key())
	require.EqualValues(t, 1, tab.Queue(0xfffffff1))
	one := New(rss.DefaultKey, nil)
	q, h := want(one, tuple4)
	check(t, one, "one queue", eth(0, packet(tuple4, 0)), q, h, true)
	require.Zero(t, q)
}

func TestNoAllocation(t *testing.T) {
	tab, data := newTable(t, 4), mixed(rand.New(rand.NewPCG(1, 1)), Max)
	var b Burst
	require.Zero(t, testing.AllocsPerRun(100, func() {
		tab.Burst(&b, data, 1<<7)
		for _, d := range data {
			tab.Frame(d)
		}
	}))
}

func BenchmarkSteer(b *testing.B) {
	kinds := map[string]func(u4, u6 wire.Tuple) []byte{
		"tcp4":  func(u4, _ wire.Tuple) []byte { return eth(0, packet(u4, 0)) },
		"vlan4": func(u4, _ wire.Tuple) []byte { return eth(5, packet(u4, 0)) },
		"tcp6":  func(_, u6 wire.Tuple) []byte { return eth(0, packet(u6, 0)) },
		"icmp4": func(u4, _ wire.Tuple) []byte { return eth(0, icmp(3, packet(reversed(u4), 0))) },
	}
	for _, kind := range []string{"tcp4", "vlan4", "tcp6", "icmp4"} {
		var data [][]byte
		for i := range Max {
			u4, u6 := tuple4, tuple6
			u4.RemotePort, u6.RemotePort = uint16(i), uint16(i)
			data = append(data, kinds[kind](u4, u6))
		}
		for name, key := range map[string]rss.Key{"symmetric": rss.SymmetricKey, "microsoft": rss.DefaultKey} {
			tab := New(key, rss.RETA{0, 1, 2, 3})
			run := func(how string, f func()) {
				b.Run(fmt.Sprintf("kind=%s/key=%s/how=%s", kind, name, how), func(b *testing.B) {
					for b.Loop() {
						f()
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*Max), "ns/pkt")
				})
			}
			var burst Burst
			run("burst", func() { tab.Burst(&burst, data, 0) })
			run("known", func() { tab.Burst(&burst, data, ^uint64(0)) })
			run("single", func() {
				for i, d := range data {
					burst.Queue[i], burst.Hash[i], _ = tab.Frame(d)
				}
			})
		}
	}
}
