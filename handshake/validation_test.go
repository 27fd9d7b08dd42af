package handshake

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// frame is what the peer's segment looks like on the wire, after alter changed
// its TCP header; the checksum is right again.
func (k *kit) frame(text string, alter func(tcp []byte)) []byte {
	k.tb.Helper()
	s := k.parse(text, text)
	s.Tuple = swap(s.Tuple)
	b := make([]byte, 200)
	n := wire.PutLink(b, &wire.Link{Dst: [6]byte{2}, Src: [6]byte{4}}, s.Local.EtherType())
	end := n + wire.PutTCP(b[n:], &s, make([]byte, s.Len))
	b = b[:end]
	tcp := b[n+wire.IPLen(&s):]
	if alter != nil {
		alter(tcp)
		checksum(tcp, &s)
	}
	return b
}

// checksum is the sum of RFC 9293 §3.1 the slow way, put into tcp.
func checksum(tcp []byte, s *wire.Segment) {
	sum := uint32(wire.ProtoTCP) + uint32(len(tcp))
	for _, a := range []wire.Addr{s.Local, s.Remote} {
		if a.Is4() {
			sum += a.V4()>>16 + a.V4()&0xffff
			continue
		}
		for sh := 0; sh < 64; sh += 16 {
			sum += uint32(a.Hi>>sh&0xffff) + uint32(a.Lo>>sh&0xffff)
		}
	}
	tcp[16], tcp[17] = 0, 0
	for i := range tcp {
		sum += uint32(tcp[i]) << (8 * (1 - i&1))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(tcp[16:], ^uint16(sum))
}

// exchange hands a frame to the parser and the engine and returns the answer as
// the IP packet that goes out, nil if there is none.
func (k *kit) exchange(frame []byte) []byte {
	k.tb.Helper()
	var p wire.Packet
	if wire.Parse(frame, false, &p) != wire.OK {
		return nil
	}
	out := k.inject([]wire.Segment{p.Seg})
	require.Len(k.tb, out, 1)
	if out[0].Path == 1 {
		return nil
	}
	b := make([]byte, 200)
	b = b[:wire.PutTCP(b, &out[0], nil)]
	// What goes out is well-formed, and comes back as what was meant.
	link := make([]byte, 100)
	n := wire.PutLink(link, &wire.Link{Dst: [6]byte{2}, Src: [6]byte{4}}, out[0].Local.EtherType())
	require.Equal(k.tb, wire.OK, wire.Parse(append(link[:n], b...), false, &p))
	require.Equal(k.tb, out[0].Flags, p.Seg.Flags)
	return b
}

func TestVAL_002_ChecksumZeroIsOrdinary(t *testing.T) {
	eachFamily(t, Config{}, func(t *testing.T, k *kit) {
		k.play(halfOpen)
		// A window that makes the sum 0xffff and so the field 0.
		right := k.frame("A seq=1 ack=1 win=0", nil)
		at := len(right) - wire.TCPLen
		win := binary.BigEndian.Uint16(right[at+16:])
		right = k.frame(fmt.Sprintf("A seq=1 ack=1 win=%d", win), nil)
		require.Zero(t, binary.BigEndian.Uint16(right[at+16:]))
		// The same field over other contents is wrong, not absent.
		wrong := k.frame(fmt.Sprintf("A seq=1 ack=1 win=%d", win-1), nil)
		wrong[at+16], wrong[at+17] = 0, 0
		require.Nil(t, k.exchange(wrong))
		require.Equal(t, "SYN-RECEIVED", k.state())
		require.EqualValues(t, 1, k.e.Counters().Segments, "the engine never saw it")
		require.Nil(t, k.exchange(right))
		require.Equal(t, "ESTABLISHED", k.state())
		require.Equal(t, "established", k.takeEvents())
	})
}

func TestVAL_008to010_OddFlagsAreCounted(t *testing.T) {
	for _, c := range []struct {
		name, in string
		outcome  Outcome
	}{
		{"VAL-008 SYN+FIN", "SF", DropBadFlags},
		{"VAL-008 SYN+FIN with text", "SFPU len=5", DropBadFlags},
		{"VAL-009 SYN+RST", "SR", DropRST},
		{"VAL-009 everything", "SFRPAUEC ack=1", DropRST},
		{"VAL-009 RST+FIN", "FR", DropRST},
		{"VAL-010 null", ".", DropBadFlags},
		{"VAL-010 FIN", "F", DropBadFlags},
		{"VAL-010 christmas tree", "FPU", DropBadFlags},
		{"VAL-010 text without flags", "P len=10", DropBadFlags},
	} {
		for _, policy := range []CookiePolicy{CookiesNever, CookiesAlways} {
			t.Run(fmt.Sprintf("%s, cookies %v", c.name, policy), func(t *testing.T) {
				eachFamily(t, Config{Cookies: policy}, func(t *testing.T, k *kit) {
					k.play(c.in + " | - | CLOSED")
					ctr := k.e.Counters()
					require.EqualValues(t, 1, ctr.Outcome[c.outcome])
					require.Zero(t, ctr.SynIn+ctr.ResetsSent+ctr.CookiesBad)
				})
			})
		}
	}
}

func TestVAL_011_OddFlagsToClosedPort(t *testing.T) {
	for _, irs := range []wire.Seq{0, 5, 0xfffffff0, 0xffffffff} {
		eachFamily(t, Config{}, func(t *testing.T, k *kit) {
			k.irs = irs
			k.play(`
				. lport=9            | RA rawseq=0 ack=0  win=0 len=0 !opt
				. lport=9 len=10     | RA rawseq=0 ack=10 win=0 len=0
				F lport=9            | RA rawseq=0 ack=1
				FPU lport=9          | RA rawseq=0 ack=1
				SF lport=9           | RA rawseq=0 ack=2
				SF lport=9 len=20    | RA rawseq=0 ack=22
			`)
			require.EqualValues(t, 6, k.e.Counters().Outcome[AnsweredReset])
		})
	}
}

func TestVAL_012_ReservedBits(t *testing.T) {
	eachFamily(t, Config{}, func(t *testing.T, k *kit) {
		reserve := func(tcp []byte) { tcp[12] |= 0x0f } // 0x0e reserved, 0x01 AE
		plain, odd := k.exchange(k.frame("S mss=1460", nil)), k.exchange(k.frame("S mss=1460 rport=40001", reserve))
		l3 := wire.IPLen(&wire.Segment{Tuple: k.tup})
		for _, b := range [][]byte{plain, odd} {
			require.Zero(t, b[l3+12]&0x0f, "never sent, never echoed")
			require.EqualValues(t, wire.FlagSYN|wire.FlagACK, b[l3+13])
		}
		require.Len(t, odd, len(plain))
		require.EqualValues(t, 2, k.e.Counters().SynAcks)
		// On a reset and on a challenge as well.
		rst := k.exchange(k.frame("A seq=1 ack=1 lport=9", reserve))
		require.EqualValues(t, wire.FlagRST, rst[l3+13])
		require.Zero(t, rst[l3+12]&0x0f)
		k.play("S rport=40002 | SA")
		k.tup.RemotePort = 40002
		ack := k.exchange(k.frame("A seq=0 ack=1", reserve))
		require.EqualValues(t, wire.FlagACK, ack[l3+13])
		require.Zero(t, ack[l3+12]&0x0f)
	})
}

func TestVAL_013_UrgentSyn(t *testing.T) {
	eachFamily(t, Config{}, func(t *testing.T, k *kit) {
		urgent := func(tcp []byte) { tcp[18], tcp[19] = 0x12, 0x34 }
		l3 := wire.IPLen(&wire.Segment{Tuple: k.tup})
		for i, in := range []string{"S mss=1460", "SP mss=1460", "SU mss=1460", "SPU mss=1460 len=5"} {
			b := k.exchange(k.frame(fmt.Sprintf("%s rport=%d", in, 41000+i), urgent))
			require.EqualValues(t, wire.FlagSYN|wire.FlagACK, b[l3+13], in)
			require.Zero(t, binary.BigEndian.Uint16(b[l3+18:]), "%s: urgent pointer", in)
			require.EqualValues(t, k.irs+1, binary.BigEndian.Uint32(b[l3+8:]), in)
		}
		k.tup.RemotePort = 41003
		k.play("PAU seq=1 ack=1 len=5 | A seq=1 ack=6 | ESTABLISHED | established, data 0+5")
	})
}

func TestVAL_017_PortZero(t *testing.T) {
	for _, policy := range []CookiePolicy{CookiesNever, CookiesAlways} {
		k := newKit(t, Config{Cookies: policy})
		k.tup.RemotePort = 0
		k.play("S mss=1460 | SA seq=0 ack=1\nA seq=1 ack=1 | - | ESTABLISHED | established")
	}
	k := newKit(t, Config{})
	k.play("S lport=0 | RA rawseq=0 ack=1\nA lport=0 ack=7 | R rawseq=7")
	require.Error(t, k.e.Listen(wire.Addr{}, 0, 0, false))
	k.tup.LocalPort = 0
	_, err := k.e.Connect(&k.tup, 0, 0)
	require.ErrorIs(t, err, ErrUnreachable)
}

func TestLSN_003_ResetOnTheWire(t *testing.T) {
	k := newKit(t, Config{})
	for _, in := range []string{"S tos=0x29 mss=1460 ts=1", "A ack=9 tos=0x2b"} {
		b := k.exchange(k.frame(in+" lport=9", nil))
		require.Len(t, b, 40, "no options")
		require.EqualValues(t, 0x28, b[1], "DSCP without the ECN bits")
		require.EqualValues(t, 0x40, b[6], "DF")
		require.EqualValues(t, 64, b[8], "TTL")
		require.Zero(t, binary.BigEndian.Uint16(b[34:]), "window")
	}
}

// startAt sets the clock so that the next ISS for the kit's tuple is iss.
func (k *kit) startAt(iss wire.Seq) {
	base := k.e.sumTuple(&k.tup).ISN
	k.now += int64(uint32(iss)-cookie.ISN(base, k.now)) * 64
	k.advance(0)
}

// TestVAL_021_Wrap leads a flow across 2^32 in both directions, from every place
// near the wrap and near the turn of the signed comparison.
func TestVAL_021_Wrap(t *testing.T) {
	const life = `
		send 100                | PA seq=1 ack=1 len=100 | ESTABLISHED
		A seq=1 ack=50          | - | ESTABLISHED                          # part of it
		A seq=1 ack=102         | A seq=101 ack=1 | ESTABLISHED            # not sent yet (RST-006)
		A seq=1 ack=101         | - | ESTABLISHED | acked
		PA seq=1 ack=101 len=60000     | A seq=101 ack=60001 | ESTABLISHED | data 0+60000
		+500ms                  |
		R seq=60000             | - | ESTABLISHED                          # RST-003
		R seq=125537            | - | ESTABLISHED                          # beyond the edge
		R seq=125536            | A seq=101 ack=60001 | ESTABLISHED        # RST-002
		PA seq=125536 ack=101 len=2    | A seq=101 ack=60001 | ESTABLISHED
		PA seq=59991 ack=101 len=20    | A seq=101 ack=60011 | ESTABLISHED | data 10+10
		close                   | FA seq=101 ack=60011 | FIN-WAIT-1
		A seq=60011 ack=102     | - | FIN-WAIT-2
		FA seq=60011 ack=102    | A seq=102 ack=60012 | TIME-WAIT | peer closed, closed: done
		+500ms                  |
		FA seq=60011 ack=102    | A seq=102 ack=60012 | TIME-WAIT
		R seq=60012             | - | CLOSED
	`
	near := []wire.Seq{0xffffffff, 0, 0xfffffffe, 0xffffff9c, 0xffff8000, 0x7fffffff, 0x80000000, 0x7fff8000}
	for _, iss := range near {
		for _, irs := range near {
			t.Run(fmt.Sprintf("iss %#x irs %#x", uint32(iss), uint32(irs)), func(t *testing.T) {
				k := newKit(t, Config{})
				k.irs = irs
				k.startAt(iss)
				k.play(opened)
				require.Equal(t, iss, k.info.ISS)
				require.Equal(t, irs, k.info.IRS)
				k.play(life)

				k = newKit(t, Config{NoTimestamps: true, NoWScale: true})
				k.irs = irs
				k.tup.LocalPort = 5000
				k.startAt(iss)
				k.play(connected)
				require.Equal(t, iss, k.info.ISS)
				require.Equal(t, irs, k.info.IRS)
				k.play(life)
			})
		}
	}
}

// TestVAL_021_WrapOfHalfOpen is about the window of SYN-RECEIVED, 64240 bytes.
func TestVAL_021_WrapOfHalfOpen(t *testing.T) {
	for _, irs := range []wire.Seq{0xffffffff, 0xffff8000, 0xffff0510, 0x7fffffff, 0x7fff8000} {
		k := newKit(t, Config{})
		k.irs = irs
		k.startAt(0xffffffff)
		k.play(halfOpen + `
			R seq=0              | - | SYN-RECEIVED
			R seq=64241          | - | SYN-RECEIVED
			R seq=64240          | A seq=1 ack=1 | SYN-RECEIVED
			A seq=64240 ack=1    | - | ESTABLISHED | established
		`)
		require.EqualValues(t, 0xffffffff, k.info.ISS)
	}
}
