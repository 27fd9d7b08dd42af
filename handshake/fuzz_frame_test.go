package handshake

import (
	"encoding/binary"
	"testing"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// frame encodes s, lets bytes of the input change it, and feeds what the parser
// makes of it to the engine: what passes the parser must be safe in any state.
func (z *fuzzer) frame(s *wire.Segment) {
	var b [256]byte
	src := *s
	src.Tuple = swap(s.Tuple)
	b[12], b[13] = byte(src.Local.EtherType()>>8), byte(src.Local.EtherType())
	n := wire.EthernetLen + wire.PutTCP(b[wire.EthernetLen:], &src, make([]byte, s.Len))
	ctl := z.next()
	for range ctl >> 4 & 7 {
		b[wire.EthernetLen+int(z.next())%(n-wire.EthernetLen)] ^= z.next()
	}
	if l4 := tcpAt(b[:]); ctl&1 != 0 && l4 != 0 {
		refit(b[:n], l4)
	}
	z.raw(b[:n], ctl&2 != 0)
}

// raw is what a worker does with a frame that came alone.
func (z *fuzzer) raw(b []byte, sumGood bool) {
	z.settle()
	var p wire.Packet
	if wire.Parse(b, sumGood, &p) != wire.OK || p.Kind != wire.KindTCP {
		return
	}
	z.segs[0] = p.Seg
	z.n = 1
	z.settle()
}

// fuzzStates are programs of fuzzer.step that end in each state, on tuple 0.
var fuzzStates = [...]struct {
	state State
	prog  []byte
}{
	{Listen, nil},
	{SynRcvd, []byte{0, 1 << 3, 96, 0, 16, 0x57}},
	{SynSent, []byte{9}},
	{SynRcvd, []byte{9, 0, 1 << 3, 96, 0, 16, 0x57}}, // active
	{Established, []byte{0, 1 << 3, 96, 0, 16, 0x57, 0, 0, 32, 0, 0, 0}},
	{Established, []byte{0, 1 << 3, 0, 0, 0, 0, 0, 0, 0}}, // without options
	{FinWait1, []byte{0, 1 << 3, 0, 0, 0, 0, 0, 0, 0, 0, 10}},
	{FinWait2, []byte{0, 1 << 3, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0}},
	{CloseWait, []byte{0, 1 << 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3 << 3, 0, 0, 0}},
	{Closing, []byte{0, 1 << 3, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 3 << 3, 0, 0, 1}},
	{LastAck, []byte{0, 1 << 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3 << 3, 0, 0, 0, 0, 10}},
	{TimeWait, []byte{0, 1 << 3, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 3 << 3, 0, 0, 0}},
}

func TestFuzzStates(t *testing.T) {
	for _, c := range fuzzStates {
		z := newFuzzer(t, append([]byte{0xf1, 0, 0}, c.prog...))
		for len(z.in) > 0 {
			z.step()
		}
		tup, got := z.tuple(0), Listen
		if idx := z.e.lookup(z.e.sumTuple(&tup).Hash, &tup); idx != 0 {
			got = z.e.recs[idx].state
		}
		if got != c.state {
			t.Errorf("%x leads to %v, not %v", c.prog, got, c.state)
		}
		z.finish()
	}
}

// FuzzFrame feeds TCP segments made of raw bytes, with their options, to the engine in
// each state. The harness supplies addresses, ports and checksums, and counts the
// sequence numbers from those the record expects, so that zeroes are exact.
func FuzzFrame(f *testing.F) {
	header := func(flags byte, options ...byte) []byte {
		b := make([]byte, 17, 64)
		b[8], b[9], b[10] = byte(5+len(options)/4)<<4, flags, 4
		return append(b, options...)
	}
	linux := []byte{2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 3, 0xe8, 0, 0, 0, 0, 1, 3, 3, 7}
	tfo := []byte{2, 4, 5, 0xb4, 34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 254, 6, 0xf9, 0x89, 9, 9}
	for i := range fuzzStates {
		f.Add(byte(i), header(byte(wire.FlagSYN), linux...))
		f.Add(byte(i)|16, header(byte(wire.FlagSYN|wire.FlagECE|wire.FlagCWR), tfo...))
		f.Add(byte(i), append(header(byte(wire.FlagACK|wire.FlagPSH), 1, 1, 8, 10, 0, 0, 3, 0xe9, 0, 0, 0, 0), "text"...))
		f.Add(byte(i), header(byte(wire.FlagSYN|wire.FlagACK), linux...))
		f.Add(byte(i)|32, header(byte(wire.FlagFIN|wire.FlagACK)))
	}
	f.Fuzz(func(t *testing.T, where byte, in []byte) {
		if len(in) > 600 {
			return
		}
		st := fuzzStates[int(where&15)%len(fuzzStates)]
		z := newFuzzer(t, append([]byte{0xf0 | where>>4&3, 0, 0}, st.prog...))
		for len(z.in) > 0 {
			z.step()
		}
		for len(in) > 0 {
			n := min(len(in), wire.TCPLen+40+8)
			if len(in) > 2*n {
				n = len(in) / 2
			}
			z.tcp(in[:n])
			in = in[n:]
		}
		z.finish()
	})
}

// tcp makes a frame of raw, the bytes of a TCP header from its sequence number on
// without the checksum, then options and text.
func (z *fuzzer) tcp(raw []byte) {
	var b [1024]byte
	t := z.tuple(0)
	h := make([]byte, wire.TCPLen)
	copy(h[4:16], raw)
	if len(raw) > 12 {
		h = append(h, raw[12:]...)
	}
	var r record
	if idx := z.e.lookup(z.e.sumTuple(&t).Hash, &t); idx != 0 {
		r = z.e.recs[idx]
	}
	be := binary.BigEndian
	be.PutUint16(h, t.RemotePort)
	be.PutUint16(h[2:], t.LocalPort)
	be.PutUint32(h[4:], be.Uint32(h[4:])+uint32(r.rcvNxt))
	if h[13]&byte(wire.FlagACK) != 0 {
		be.PutUint32(h[8:], be.Uint32(h[8:])+uint32(r.sndNxt))
	}
	ip := b[wire.EthernetLen:]
	be.PutUint16(b[12:], wire.EtherTypeIPv4)
	ip[0], ip[8], ip[9] = 0x45, 64, wire.ProtoTCP
	be.PutUint16(ip[2:], uint16(wire.IPv4Len+len(h)))
	be.PutUint32(ip[12:], t.Remote.V4())
	be.PutUint32(ip[16:], t.Local.V4())
	n := wire.EthernetLen + wire.IPv4Len + copy(ip[wire.IPv4Len:], h)
	be.PutUint16(ip[10:], wire.Checksum(ip[:wire.IPv4Len], 0))
	refit(b[:n], wire.EthernetLen+wire.IPv4Len)
	z.raw(b[:n], false)
}
