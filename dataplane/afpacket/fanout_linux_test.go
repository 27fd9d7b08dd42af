package afpacket

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	steering "github.com/fastsyn/fastsyn/dataplane/steer"
	"github.com/fastsyn/fastsyn/rss"
)

// runBPF interprets classic BPF as net/core/filter.c does: pkt starts at the
// network header, proto is skb->protocol; a load outside of pkt returns 0.
func runBPF(t *testing.T, p []unix.SockFilter, pkt []byte, proto uint16) uint32 {
	t.Helper()
	var a, x uint32
	var m [16]uint32
	for pc := 0; ; pc++ {
		if pc >= len(p) {
			t.Fatal("the program runs off its end")
		}
		in := p[pc]
		arg := in.K
		if in.Code&unix.BPF_X != 0 {
			arg = x
		}
		load := func(at uint32, n int) (uint32, bool) {
			if int(at)+n > len(pkt) {
				return 0, false
			}
			var v uint32
			for _, b := range pkt[at:][:n] {
				v = v<<8 | uint32(b)
			}
			return v, true
		}
		ok := true
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			if in.K == skfAdOff+skfAdProtocol {
				a = uint32(proto)
			} else {
				a, ok = load(in.K, 4)
			}
		case unix.BPF_LD | unix.BPF_H | unix.BPF_ABS:
			a, ok = load(in.K, 2)
		case unix.BPF_LD | unix.BPF_B | unix.BPF_ABS:
			a, ok = load(in.K, 1)
		case unix.BPF_LD | unix.BPF_W | unix.BPF_IND:
			a, ok = load(x+in.K, 4)
		case unix.BPF_LD | unix.BPF_H | unix.BPF_IND:
			a, ok = load(x+in.K, 2)
		case unix.BPF_LD | unix.BPF_B | unix.BPF_IND:
			a, ok = load(x+in.K, 1)
		case unix.BPF_LDX | unix.BPF_IMM:
			x = in.K
		case unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH:
			x, ok = load(in.K, 1)
			x = x & 15 * 4
		case unix.BPF_LD | unix.BPF_IMM:
			a = in.K
		case unix.BPF_LD | unix.BPF_MEM:
			a = m[in.K]
		case unix.BPF_ST:
			m[in.K] = a
		case unix.BPF_MISC | unix.BPF_TAX:
			x = a
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= arg
		case unix.BPF_ALU | unix.BPF_ADD | unix.BPF_K, unix.BPF_ALU | unix.BPF_ADD | unix.BPF_X:
			a += arg
		case unix.BPF_ALU | unix.BPF_OR | unix.BPF_X:
			a |= arg
		case unix.BPF_ALU | unix.BPF_XOR | unix.BPF_X:
			a ^= arg
		case unix.BPF_ALU | unix.BPF_LSH | unix.BPF_K:
			a <<= arg
		case unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K:
			a >>= arg
		case unix.BPF_ALU | unix.BPF_MOD | unix.BPF_K:
			a %= arg
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(in.K)
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			pc += branch(in, a == in.K)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			pc += branch(in, a >= in.K)
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			pc += branch(in, a > in.K)
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			pc += branch(in, a&in.K != 0)
		case unix.BPF_RET | unix.BPF_K:
			return in.K
		case unix.BPF_RET | unix.BPF_A:
			return a
		default:
			t.Fatalf("instruction %d: code %#x is not one the generator uses", pc, in.Code)
		}
		if !ok {
			return 0
		}
	}
}

func branch(in unix.SockFilter, yes bool) int {
	if yes {
		return int(in.Jt)
	}
	return int(in.Jf)
}

// tuple is a TCP segment's addressing, as on the wire: 4 or 16 byte addresses.
type tuple struct {
	src, dst         []byte
	srcPort, dstPort uint16
}

func (u tuple) hash(t *rss.Toeplitz) uint32 {
	w, d := binary.BigEndian.Uint32, binary.BigEndian.Uint64
	if len(u.src) == 4 {
		return t.Hash4(w(u.src), w(u.dst), u.srcPort, u.dstPort)
	}
	return t.Hash6(d(u.src), d(u.src[8:]), d(u.dst), d(u.dst[8:]), u.srcPort, u.dstPort)
}

// packet builds the IP packet; opts are 32-bit words of IPv4 options.
func (u tuple) packet(opts int) (pkt []byte, proto uint16) {
	tcp := make([]byte, 20)
	binary.BigEndian.PutUint16(tcp, u.srcPort)
	binary.BigEndian.PutUint16(tcp[2:], u.dstPort)
	tcp[12] = 5 << 4
	if len(u.src) == 4 {
		pkt = make([]byte, 20+4*opts)
		pkt[0], pkt[6], pkt[8], pkt[9] = byte(0x45+opts), 0x40, 64, 6
		for i := 20; i < len(pkt); i++ {
			pkt[i] = 1 // NOP
		}
		binary.BigEndian.PutUint16(pkt[2:], uint16(len(pkt)+len(tcp)))
		copy(pkt[12:], u.src)
		copy(pkt[16:], u.dst)
		binary.BigEndian.PutUint16(pkt[10:], ^uint16(sum16(pkt, 0)))
		return append(pkt, tcp...), unix.ETH_P_IP
	}
	pkt = make([]byte, 40)
	pkt[0], pkt[5], pkt[6], pkt[7] = 0x60, byte(len(tcp)), 6, 64
	copy(pkt[8:], u.src)
	copy(pkt[24:], u.dst)
	return append(pkt, tcp...), unix.ETH_P_IPV6
}

// icmpError builds an ICMP error by a router about a segment of the other
// direction, with opts words of options in both IPv4 headers.
func (u tuple) icmpError(opts int) (pkt []byte, proto uint16) {
	quote, proto := tuple{u.dst, u.src, u.dstPort, u.srcPort}.packet(opts)
	src := make([]byte, len(u.src))
	src[0] = 198
	pkt, _ = tuple{src, u.src, 0, 0}.packet(opts)
	pkt = append(pkt[:len(pkt)-20], 3, 1, 0, 0, 0, 0, 0, 0)
	if proto == unix.ETH_P_IP {
		pkt[9] = unix.IPPROTO_ICMP
		binary.BigEndian.PutUint16(pkt[2:], uint16(len(pkt)+len(quote)))
	} else {
		pkt[6] = unix.IPPROTO_ICMPV6
		binary.BigEndian.PutUint16(pkt[4:], uint16(8+len(quote)))
	}
	return append(pkt, quote...), proto
}

// sum16 is the folded ones' complement sum of b, from start.
func sum16(b []byte, start uint32) uint32 {
	for ; len(b) > 1; b = b[2:] {
		start += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		start += uint32(b[0]) << 8
	}
	for start>>16 != 0 {
		start = start&0xffff + start>>16
	}
	return start
}

func randomTuple(r *rand.Rand, v6 bool) tuple {
	n := 4
	if v6 {
		n = 16
	}
	u := tuple{make([]byte, n), make([]byte, n), uint16(r.Uint32()), uint16(r.Uint32())}
	for i := range n {
		u.src[i], u.dst[i] = byte(r.Uint32()), byte(r.Uint32())
	}
	return u
}

func testKeys(r *rand.Rand) map[string]rss.Key {
	keys := map[string]rss.Key{"symmetric": rss.SymmetricKey, "microsoft": rss.DefaultKey}
	var k rss.Key
	for i := range k {
		k[i] = byte(r.Uint32())
	}
	keys["random"] = k
	for i := range k {
		k[i] = k[i%2]
	}
	keys["random period 16"] = k
	return keys
}

func TestRSS_001_003_SteerEqualsToeplitz(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, key := range testKeys(r) {
		t.Run(name, func(t *testing.T) {
			toe := rss.New(key)
			for queues := 2; queues <= MaxQueues; queues++ {
				reta, err := rss.NewRETA(retaSize, queues)
				require.NoError(t, err)
				p := steer(key, queues)
				require.LessOrEqual(t, len(p), unix.BPF_MAXINSNS)
				for i := range 100 {
					u := randomTuple(r, i&1 != 0)
					pkt, proto := u.packet(i % 11)
					if want, got := reta.Queue(u.hash(toe)), runBPF(t, p, pkt, proto); uint32(want) != got {
						t.Fatalf("%d queues, %+v: queue %d, want %d", queues, u, got, want)
					}
					pkt, proto = u.icmpError(i % 11)
					if want, got := reta.Queue(u.hash(toe)), runBPF(t, p, pkt, proto); uint32(want) != got {
						t.Fatalf("%d queues, %+v: an error about it to queue %d, want %d", queues, u, got, want)
					}
				}
			}
		})
	}
}

// The first rows of Microsoft's "Verifying the RSS Hash Calculation":
// 66.9.149.187:2794 -> 161.142.100.80:1766 is 0x51ccc178, and
// [3ffe:2501:200:1fff::7]:2794 -> [3ffe:2501:200:3::1]:1766 is 0x40207d3d.
func TestRSS_001_SteerMicrosoftVectors(t *testing.T) {
	p := steer(rss.DefaultKey, 61)
	u := tuple{[]byte{66, 9, 149, 187}, []byte{161, 142, 100, 80}, 2794, 1766}
	pkt, proto := u.packet(0)
	require.EqualValues(t, 0x51ccc178&127%61, runBPF(t, p, pkt, proto))
	u = tuple{
		[]byte{0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, 7},
		[]byte{0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x00, 0x03, 0, 0, 0, 0, 0, 0, 0, 1},
		2794, 1766,
	}
	pkt, proto = u.packet(0)
	require.EqualValues(t, 0x40207d3d&127%61, runBPF(t, p, pkt, proto))
}

func TestSteerOthersToQueue0(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	toe := rss.New(rss.SymmetricKey)
	p := steer(rss.SymmetricKey, 4)
	for range 100 {
		u4, u6 := randomTuple(r, false), randomTuple(r, true)
		if u4.hash(toe)&3 == 0 || u6.hash(toe)&3 == 0 {
			continue
		}
		for name, edit := range map[string]func(v4, v6 []byte){
			"udp":            func(v4, v6 []byte) { v4[9], v6[6] = 17, 17 },
			"icmp":           func(v4, v6 []byte) { v4[9], v6[6] = 1, 58 },
			"fragment":       func(v4, v6 []byte) { v4[6], v6[6] = 0x20, 44 },
			"later fragment": func(v4, v6 []byte) { v4[7], v6[6] = 1, 44 },
		} {
			v4, p4 := u4.packet(0)
			v6, p6 := u6.packet(0)
			require.NotZero(t, runBPF(t, p, v4, p4))
			require.NotZero(t, runBPF(t, p, v6, p6))
			edit(v4, v6)
			require.Zero(t, runBPF(t, p, v4, p4), name)
			require.Zero(t, runBPF(t, p, v6, p6), name)
		}
		v4, p4 := u4.packet(0)
		require.Zero(t, runBPF(t, p, v4, unix.ETH_P_ARP))
		require.Zero(t, runBPF(t, p, v4[:20], p4), "header only")
		require.Zero(t, runBPF(t, p, nil, p4), "empty")
	}
}

// Which errors and which quotes it takes is decided as package steer decides.
func TestSteerErrorsAsPackageSteer(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	reta, err := rss.NewRETA(retaSize, 61)
	require.NoError(t, err)
	table, p := steering.New(rss.DefaultKey, reta), steer(rss.DefaultKey, 61)
	taken := 0
	for range 200 {
		for _, v6 := range []bool{false, true} {
			good, proto := randomTuple(r, v6).icmpError(r.IntN(11))
			for at := range good[:len(good)-18] { // one byte of the headers changed, in any way that matters
				for _, to := range []byte{good[at] + 1, good[at] ^ 0x20, good[at] ^ 0xf0, byte(r.IntN(14)), byte(r.Uint32())} {
					pkt := bytes.Clone(good)
					pkt[at] = to
					if at < 6 {
						continue // version and lengths of the outer header, which the kernel has checked
					}
					want, _, ok := table.Frame(ether(ourMAC, peerMAC, proto, pkt))
					if ok {
						taken++
					}
					require.EqualValues(t, want, runBPF(t, p, pkt, proto), "byte %d is %#x in %x", at, to, good)
				}
			}
			for _, cut := range []int{9, 12, 13, 20, 40} {
				pkt := bytes.Clone(good[:len(good)-cut])
				if v6 {
					binary.BigEndian.PutUint16(pkt[4:], uint16(len(pkt)-40))
				} else {
					binary.BigEndian.PutUint16(pkt[2:], uint16(len(pkt)))
				}
				want, _, ok := table.Frame(ether(ourMAC, peerMAC, proto, pkt))
				require.Equal(t, cut <= 12, ok)
				require.EqualValues(t, want, runBPF(t, p, pkt, proto), "%d bytes cut from %x", cut, good)
			}
		}
	}
	require.NotZero(t, taken)
}

// Extension headers are walked as package steer walks them, whatever they are.
func TestRSS_010_SteerExtensionsAsPackageSteer(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	reta, err := rss.NewRETA(retaSize, 61)
	require.NoError(t, err)
	table, p := steering.New(rss.DefaultKey, reta), steer(rss.DefaultKey, 61)
	taken := map[int]int{} // by number of headers
	for range 20000 {
		whole, proto := randomTuple(r, true).packet(0)
		n := r.IntN(10)
		types := make([]byte, n+1)
		var ext []byte
		for i := range n {
			types[i] = []byte{0, 60, 60, 60, 44, 44, byte(r.Uint32())}[r.IntN(7)]
			if i > 0 && types[i] == 0 && r.IntN(4) != 0 {
				types[i] = 60
			}
		}
		types[n] = unix.IPPROTO_TCP
		for i := range n {
			h := make([]byte, 8)
			h[0] = types[i+1]
			switch {
			case types[i] == 44 && r.IntN(4) == 0:
				h[2+r.IntN(2)] = byte(r.Uint32())
			case types[i] == 44:
				h[1] = byte(r.Uint32()) // reserved
			case r.IntN(3) == 0:
				h[1] = byte(r.IntN(3))
				h = append(h, make([]byte, 8*int(h[1]))...)
			}
			ext = append(ext, h...)
		}
		pkt := append(append(bytes.Clone(whole[:40]), ext...), whole[40:]...)
		pkt[6] = types[0]
		if r.IntN(8) == 0 {
			pkt = pkt[:40+r.IntN(len(ext)+8)]
		}
		binary.BigEndian.PutUint16(pkt[4:], uint16(len(pkt)-40))
		want, _, ok := table.Frame(ether(ourMAC, peerMAC, proto, pkt))
		if ok {
			taken[n]++
		}
		require.EqualValues(t, want, runBPF(t, p, pkt, proto), "%x", pkt)
	}
	for n := range 9 {
		require.NotZero(t, taken[n], "%d headers", n)
	}
}

// The price of a frame in the kernel: instructions for both IP versions together.
// TCP jumps over the 80 that are about errors and the 160 about extension headers.
func TestSteerLength(t *testing.T) {
	require.LessOrEqual(t, len(steer(rss.SymmetricKey, 64)), 475)
	require.LessOrEqual(t, len(steer(rss.DefaultKey, 2)), 565)
	require.LessOrEqual(t, len(steer(rss.DefaultKey, 63)), 815)
}
