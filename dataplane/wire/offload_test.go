package wire

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// complete does to IP packet b what a device does: it computes the IPv4 header
// checksum, adds up the TCP segment with the seed in its field, and complements.
func complete(t testing.TB, b []byte) {
	t.Helper()
	var src, dst Addr
	var seg TCP
	if ip, ok := ParseIPv4(b); ok {
		require.Zero(t, ip.Checksum())
		be.PutUint16(b[10:], Checksum(b[:ip.HeaderLen()], 0))
		src, dst, seg = ip.Src(), ip.Dst(), TCP(ip.Payload())
	} else {
		ip, ok := ParseIPv6(b)
		require.True(t, ok)
		src, dst, seg = ip.Src(), ip.Dst(), TCP(ip.Payload())
	}
	require.EqualValues(t, PseudoSum(src, dst, ProtoTCP, uint32(len(seg))), seg.Checksum(), "the seed")
	be.PutUint16(seg[16:], Checksum(seg, 0))
}

// VAL-003: what a device completes equals what is computed here; FuzzPutTCP holds that for any segment.
func TestVAL_003_PutTCPOffload(t *testing.T) {
	for _, c := range benchSegments() {
		t.Run(c.name, func(t *testing.T) {
			for _, text := range []int{len(c.payload), 1, 2, 3} {
				payload := make([]byte, text)
				for i := range payload {
					payload[i] = byte(i + 1)
				}
				want, got := make([]byte, 2048), make([]byte, 2048)
				n := PutTCP(want, &c.s, payload)
				require.Equal(t, n, PutTCPOffload(got, &c.s, payload))
				complete(t, got[:n])
				require.Equal(t, want, got)
			}
			b := make([]byte, 2048)
			n := PutTCPOffload(b, &c.s, c.payload)
			for m := range n {
				require.Zero(t, PutTCPOffload(b[:m], &c.s, c.payload), "in %d bytes", m)
			}
			require.Zero(t, testing.AllocsPerRun(100, func() { PutTCPOffload(b, &c.s, c.payload) }))
		})
	}
	b := make([]byte, 70000)
	s4, s6 := benchSegments()[2].s, benchSegments()[1].s
	require.Equal(t, 65535, PutTCPOffload(b, &s4, make([]byte, 65535-40)))
	require.Zero(t, PutTCPOffload(b, &s4, make([]byte, 65535-39)))
	require.Equal(t, 40+65535, PutTCPOffload(b, &s6, make([]byte, 65535-40)))
	require.Zero(t, PutTCPOffload(b, &s6, make([]byte, 65535-39)))
}

// The seed of a known packet: the pseudo-header of 198.51.100.2 > 192.0.2.1, 6, 20 bytes.
func TestVAL_003_OffloadSeed(t *testing.T) {
	s := Segment{Tuple: Tuple{Local: addr(cli4), Remote: addr(srv4), LocalPort: 40000, RemotePort: 80}, Flags: FlagACK}
	b := make([]byte, 64)
	require.Equal(t, 40, PutTCPOffload(b, &s, nil))
	require.EqualValues(t, 0xc633+0x6402+0xc000+0x0201+6+20-0xffff, be.Uint16(b[20+16:]))
}
