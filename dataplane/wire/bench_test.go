package wire

import (
	"fmt"
	"testing"
)

func benchFrames(tb testing.TB) []struct {
	name  string
	frame []byte
} {
	return []struct {
		name  string
		frame []byte
	}{
		{"syn4", eth(unhex(tb, vecSYN4))},
		{"ack4", eth(ip4(cli4, srv4, ProtoTCP, nil, tcp(cli4, srv4, FlagACK, nil, nil)))},
		{"ack4ts", eth(ip4(cli4, srv4, ProtoTCP, nil, tcp(cli4, srv4, FlagACK, unhex(tb, optsAckTS), nil)))},
		{"bsd4", syn4(unhex(tb, optsBSD))},
		{"syn6", eth(ip6(cli6, srv6, ProtoTCP, unhex(tb, vecSYN6TCP)))},
		{"data4", eth(ip4(cli4, srv4, ProtoTCP, nil, tcp(cli4, srv4, FlagACK|FlagPSH, unhex(tb, optsAckTS), make([]byte, 1448))))},
	}
}

func BenchmarkParse(b *testing.B) {
	for _, c := range benchFrames(b) {
		for _, csum := range []string{"verify", "good"} {
			b.Run("kind="+c.name+"/csum="+csum, func(b *testing.B) {
				var p Packet
				good := csum == "good"
				for b.Loop() {
					if r := Parse(c.frame, good, &p); r != OK {
						b.Fatal(r)
					}
				}
			})
		}
	}
}

func benchSegments() []struct {
	name    string
	s       Segment
	payload []byte
} {
	tup := Tuple{Remote: addr(cli4), Local: addr(srv4), RemotePort: 40000, LocalPort: 80}
	tup6 := tup
	tup6.Remote, tup6.Local = addr(cli6), addr(srv6)
	all := Options{Has: HasMSS | HasSACKPermitted | HasTimestamps | HasWScale, MSS: 1460, WScale: 7, TSVal: 999959, TSEcr: 1000}
	ts := Options{Has: HasTimestamps, TSVal: 999959, TSEcr: 1000}
	return []struct {
		name    string
		s       Segment
		payload []byte
	}{
		{"synack4", Segment{Tuple: tup, Seq: 0x7c730b04, Ack: 0x01020305, Flags: FlagSYN | FlagACK, Win: 65160, Opt: all}, nil},
		{"synack6", Segment{Tuple: tup6, Seq: 0x7c730b04, Ack: 0x01020305, Flags: FlagSYN | FlagACK, Win: 65160, Opt: all}, nil},
		{"ack4", Segment{Tuple: tup, Seq: 1, Ack: 2, Flags: FlagACK, Win: 512}, nil},
		{"ack4ts", Segment{Tuple: tup, Seq: 1, Ack: 2, Flags: FlagACK, Win: 512, Opt: ts}, nil},
		{"data4", Segment{Tuple: tup, Seq: 1, Ack: 2, Flags: FlagACK, Win: 512, Opt: ts}, make([]byte, 1448)},
	}
}

func BenchmarkPutTCP(b *testing.B) {
	for _, c := range benchSegments() {
		b.Run("kind="+c.name, func(b *testing.B) {
			buf := make([]byte, 2048)
			for b.Loop() {
				if PutTCP(buf, &c.s, c.payload) == 0 {
					b.Fatal("0")
				}
			}
		})
	}
}

func BenchmarkPutTCPOffload(b *testing.B) {
	for _, c := range benchSegments() {
		b.Run("kind="+c.name, func(b *testing.B) {
			buf := make([]byte, 2048)
			for b.Loop() {
				if PutTCPOffload(buf, &c.s, c.payload) == 0 {
					b.Fatal("0")
				}
			}
		})
	}
}

func BenchmarkChecksum(b *testing.B) {
	for _, n := range []int{20, 40, 60, 128, 536, 1460, 9000, 65535} {
		b.Run(fmt.Sprintf("len=%d", n), func(b *testing.B) {
			buf := make([]byte, n)
			b.SetBytes(int64(n))
			for b.Loop() {
				Checksum(buf, 0)
			}
		})
	}
}
