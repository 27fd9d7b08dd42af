package wire

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNewShape(t *testing.T) {
	for want, kinds := range map[string][]uint8{
		"kind 5 has no place":       {OptMSS, OptSACK},
		"kind 2 comes twice":        {OptMSS, OptNOP, OptMSS},
		"behind the end":            {OptEOL, OptNOP},
		"41 bytes of options":       make([]uint8, 41),
		"kind 34 has no place in a": {OptFastOpen},
	} {
		_, err := NewShape(kinds...)
		require.ErrorContains(t, err, want)
	}
	s, err := NewShape(make([]uint8, 40)...)
	require.NoError(t, err)
	require.Len(t, s.Kinds(), 40)
	require.Zero(t, s.Has())
}

// A SYN in a shape reads back as what it was made of, whatever the order, with good checksums and marks; text and
// the Fast Open option, where there is room behind the layout, go with it.
func TestShapePutSYN(t *testing.T) {
	all := HasMSS | HasWScale | HasSACKPermitted | HasTimestamps
	for _, kinds := range [][]uint8{
		{OptMSS, OptSACKPermitted, OptTimestamps, OptNOP, OptWScale},
		{OptTimestamps, OptWScale, OptMSS, OptSACKPermitted},
		{OptMSS, OptNOP, OptWScale, OptNOP, OptNOP, OptTimestamps, OptSACKPermitted, OptEOL, OptEOL},
		{},
	} {
		for _, local := range []Addr{Addr4(0x0a000001), {Hi: 0x20010db8 << 32, Lo: 7}} {
			for _, fast := range []bool{false, true} {
				s, err := NewShape(kinds...)
				require.NoError(t, err)
				s.TTL, s.Identified, s.NoDF = 200, true, true
				remote := Addr4(0x0a000002)
				if !local.Is4() {
					remote = Addr{Hi: 0x20010db8 << 32, Lo: 9}
				}
				seg := Segment{Tuple: Tuple{Local: local, Remote: remote, LocalPort: 5, RemotePort: 6}, Seq: 77, Flags: FlagSYN, Win: 1000}
				seg.Opt = Options{Has: all, MSS: 1300, WScale: 9, TSVal: 0xabcdef01, TSEcr: 3}
				if fast {
					seg.Opt.Has |= HasFastOpen
					seg.Opt.TFOLen = 8
				}
				for _, text := range []string{"", "text on a SYN"} {
					b := make([]byte, 14+200)
					n := s.PutSYN(b[14:], &seg, []byte(text), false)
					require.NotZero(t, n)
					s.Mark(b[14:], 4242, false)
					l := Link{}
					PutLink(b, &l, local.EtherType())
					var p Packet
					require.Equal(t, OK, Parse(b[:14+n], false, &p))
					want := s.Has()
					eol := len(kinds) > 0 && kinds[len(kinds)-1] == OptEOL
					if fast && !eol {
						want |= HasFastOpen
					}
					require.Equal(t, want, p.Seg.Opt.Has)
					require.EqualValues(t, len(text), p.Seg.Len)
					if s.Has() != 0 {
						require.EqualValues(t, 1300, p.Seg.Opt.MSS)
						require.EqualValues(t, 9, p.Seg.Opt.WScale)
						require.EqualValues(t, uint32(0xabcdef01), p.Seg.Opt.TSVal)
					}
					if local.Is4() {
						ip := IPv4(b[14:])
						require.True(t, ip.ChecksumOK())
						require.EqualValues(t, 200, ip.TTL())
						require.EqualValues(t, 4242, ip.ID())
						require.Zero(t, ip.Frag())
					} else {
						require.EqualValues(t, 200, b[14+7])
					}
					// For a device that completes checksums: the same but for them.
					o := make([]byte, 200)
					require.Equal(t, n, s.PutSYN(o, &seg, []byte(text), true))
					s.Mark(o, 4242, true)
					l4 := IPLen(&seg)
					if local.Is4() {
						require.Zero(t, IPv4(o).Checksum())
						copy(o[10:12], b[24:26])
					}
					copy(o[l4+16:l4+18], b[14+l4+16:])
					require.Equal(t, b[14:14+n], o[:n])
				}
			}
		}
	}
	s, err := NewShape(OptMSS, OptTimestamps)
	require.NoError(t, err)
	b := make([]byte, 100)
	seg := Segment{Tuple: Tuple{Local: Addr4(1), Remote: Addr4(2)}, Flags: FlagSYN}
	require.Zero(t, testing.AllocsPerRun(100, func() { s.PutSYN(b, &seg, nil, false); s.Mark(b, 1, false) }))
	require.Zero(t, s.PutSYN(b[:50], &seg, nil, false), "no room")
}
