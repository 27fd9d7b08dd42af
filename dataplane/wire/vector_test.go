package wire

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVEC_Checksum(t *testing.T) {
	b := unhex(t, "0001f203f4f5f6f7") // RFC 1071 §3
	require.Equal(t, uint32(0xddf2), Sum(b))
	require.Equal(t, uint16(0x220d), Checksum(b, 0))
	require.Equal(t, uint16(0x0000), UpdateChecksum(0xdd2f, 0x5555, 0x3285)) // RFC 1624 §4
}

func TestVEC_SolicitedNode(t *testing.T) {
	g := SolicitedNode(addr("2001:db8::1:2:3"))
	require.Equal(t, "ff02::1:ff02:3", g.String())
	require.Equal(t, [6]byte{0x33, 0x33, 0xff, 0x02, 0x00, 0x03}, MulticastMAC(g))
	require.Equal(t, [6]byte{0x01, 0x00, 0x5e, 0x7f, 0xff, 0xfa}, MulticastMAC(addr("239.255.255.250")))
}

func TestVEC_Frames(t *testing.T) {
	syn := Options{Has: HasMSS | HasSACKPermitted | HasTimestamps | HasWScale, MSS: 1460, WScale: 7, TSVal: 1000}
	cookie := syn
	cookie.TSVal, cookie.TSEcr = 999959, 1000
	syn6 := syn
	syn6.MSS = 1440
	client := Tuple{Remote: addr(cli4), Local: addr(srv4), RemotePort: 40000, LocalPort: 80}
	server := Tuple{Remote: addr(srv4), Local: addr(cli4), RemotePort: 80, LocalPort: 40000}
	client6 := Tuple{Remote: addr(cli6), Local: addr(srv6), RemotePort: 40000, LocalPort: 80}
	v6, err := hex.DecodeString(vecSYN6TCP)
	require.NoError(t, err)

	for _, c := range []struct {
		name string
		ip   []byte
		want Segment
		data int32
	}{
		{"S v4", unhex(t, vecSYN4), Segment{Tuple: client, Seq: 0x01020304, Flags: FlagSYN, Win: 64240, Opt: syn}, 74},
		{"R v4", unhex(t, vecReset4), Segment{Tuple: server, Ack: 0x01020305, Flags: FlagRST | FlagACK}, 54},
		{"S v6", ip6(cli6, srv6, ProtoTCP, v6), Segment{Tuple: client6, Seq: 0x01020304, Flags: FlagSYN, Win: 64800, Opt: syn6}, 94},
		{"cookie SA v4", unhex(t, vecCookie4), Segment{Tuple: server, Seq: 0x7c730b04, Ack: 0x01020305, Flags: FlagSYN | FlagACK, Win: 65160, Opt: cookie}, 74},
	} {
		t.Run(c.name, func(t *testing.T) {
			frame := eth(c.ip)
			p, r := parse(frame)
			require.Equal(t, OK, r)
			require.Equal(t, KindTCP, p.Kind)
			require.Equal(t, c.want, p.Seg)
			require.Equal(t, c.data, p.Data)
			require.EqualValues(t, len(frame), p.End)
			require.EqualValues(t, 64, p.TTL)

			// The other way: the vector, but for IPv4 ID 1 which we send as 0.
			s := c.want
			s.Remote, s.Local = s.Local, s.Remote
			s.RemotePort, s.LocalPort = s.LocalPort, s.RemotePort
			b := make([]byte, 100)
			n := PutTCP(b, &s, nil)
			if ip, ok := ParseIPv4(b[:n]); ok {
				require.Zero(t, ip.ID())
				ip.SetID(1)
			}
			require.Equal(t, hex.EncodeToString(c.ip), hex.EncodeToString(b[:n]))
		})
	}
}
