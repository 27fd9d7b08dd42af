package dptest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// segments are frames that lack checksums, and as they should be.
func segments() (partial, whole [][]byte) {
	a4, b4 := wire.Addr4(0xc6336402), wire.Addr4(0xc0000201)
	a6, b6 := wire.Addr{Hi: 0x20010db8 << 32, Lo: 2}, wire.Addr{Hi: 0x20010db8 << 32, Lo: 1}
	for _, tu := range []wire.Tuple{{Local: a4, Remote: b4, LocalPort: 1, RemotePort: 2}, {Local: a6, Remote: b6, LocalPort: 1, RemotePort: 2}} {
		for _, vlan := range []uint16{0, 5} {
			s := wire.Segment{Tuple: tu, Seq: 1, Ack: 2, Flags: wire.FlagACK, Win: 9}
			l := wire.Link{Dst: [6]byte{2, 1}, Src: [6]byte{2, 2}, VLAN: vlan}
			for i, put := range []func([]byte, *wire.Segment, []byte) int{wire.PutTCPOffload, wire.PutTCP} {
				b := make([]byte, 128)
				n := wire.PutLink(b, &l, tu.Local.EtherType())
				b = b[:n+put(b[n:], &s, []byte("odd"))]
				if i == 0 {
					partial = append(partial, b)
				} else {
					whole = append(whole, b)
				}
			}
		}
	}
	return partial, whole
}

// settle sends frames with MetaTxCsum.
func settle(p *Port, frames [][]byte) {
	b := dataplane.NewBatch()
	p.Queue(0).Blank(b, len(frames))
	for i, f := range frames {
		b.Data[i], b.Verdict[i], b.Meta[i].Flags = append(b.Data[i], f...), dataplane.Reply, dataplane.MetaTxCsum
	}
	p.Queue(0).Settle(b)
}

func TestPortCompletesChecksums(t *testing.T) {
	partial, whole := segments()
	p := NewPort(t, PortConfig{Caps: dataplane.Caps{TxCsum: true}})
	require.True(t, p.Queue(0).Caps().TxCsum)
	settle(p, partial)
	require.Equal(t, whole, p.Sent(0))
	require.Equal(t, len(whole), p.Completed(0))
}

func TestPortFindsFramesThatCannotBeCompleted(t *testing.T) {
	partial, whole := segments()
	edit := func(f []byte, at int, to byte) []byte {
		f = append([]byte(nil), f...)
		f[at] = to
		return f
	}
	for name, c := range map[string]struct {
		frame []byte
		want  string
	}{
		"checksums that are there":      {whole[0], "header checksum is not 0"},
		"and over IPv6":                 {whole[2], "sum of the pseudo-header"},
		"another seed":                  {edit(partial[0], 14+20+17, 1), "sum of the pseudo-header"},
		"UDP":                           {edit(partial[0], 14+9, 17), "no TCP"},
		"UDP over IPv6":                 {edit(partial[2], 14+6, 17), "no TCP"},
		"ARP":                           {edit(partial[0], 13, 6), "no IP"},
		"nothing":                       {nil, "too short"},
		"a header longer than the text": {edit(partial[0], 14+20+12, 0xf0), "no TCP"},
	} {
		r := record(func(t testing.TB) {
			settle(NewPort(t, PortConfig{Caps: dataplane.Caps{TxCsum: true}}), [][]byte{c.frame})
		})
		require.True(t, r.failed, name)
		require.Contains(t, r.text, c.want, name)
	}
	r := record(func(t testing.TB) { settle(NewPort(t, PortConfig{}), partial[:1]) })
	require.Contains(t, r.text, "without Caps.TxCsum")
}
