package steer

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// FuzzSteer holds both forms to each other on any bytes, and to package wire on
// frames that it takes.
func FuzzSteer(f *testing.F) {
	for _, d := range mixed(rand.New(rand.NewPCG(2, 2)), 40) {
		f.Add(d, uint8(1), uint64(0))
	}
	f.Add([]byte(nil), uint8(64), ^uint64(0))
	tab := newTable(f, 5)
	var b Burst
	f.Fuzz(func(t *testing.T, d []byte, copies uint8, known uint64) {
		q, h, ok := tab.Frame(d)
		if !ok {
			require.Zero(t, q)
			require.Zero(t, h)
		}
		// The frame between others, cut short by one byte more each time.
		var data [][]byte
		for i := range min(int(copies), Max) {
			data = append(data, d[:max(0, len(d)-i)])
		}
		known &^= 1
		got := tab.Burst(&b, data, known)
		for i, d := range data {
			if known>>i&1 != 0 {
				continue
			}
			q, h, ok := tab.Frame(d)
			require.Equal(t, ok, got>>i&1 != 0)
			if ok {
				require.Equal(t, q, b.Queue[i])
				require.Equal(t, h, b.Hash[i])
			}
		}
		agreeWithWire(t, tab, d)
	})
}

// agreeWithWire compares with what the worker will see in the frame.
func agreeWithWire(t *testing.T, tab *Table, d []byte) {
	d = bytes.Clone(d)
	var p wire.Packet
	r := wire.Parse(d, true, &p)
	if r == wire.ReasonBadICMPChecksum && p.L4 > 0 { // else a fuzzer finds few errors
		m, pseudo := d[p.L4:p.End], uint32(0)
		if p.V6 {
			pseudo = wire.PseudoSum(p.Seg.Remote, p.Seg.Local, wire.ProtoICMPv6, uint32(len(m)))
		}
		be.PutUint16(m[2:], 0)
		be.PutUint16(m[2:], wire.Checksum(m, pseudo))
		r = wire.Parse(d, true, &p)
	}
	if r != wire.OK {
		return
	}
	q, h, ok := tab.Frame(d)
	if p.Kind == wire.KindTCP {
		require.True(t, ok)
		wantQ, wantH := want(tab, p.Seg.Tuple)
		require.Equal(t, wantH, h)
		require.Equal(t, wantQ, q)
		return
	}
	extended := p.V6 && p.L4-p.L3 != wire.IPv6Len
	quote, is := wire.QuotedTCP(d, &p)
	switch {
	case is && ok:
		wantQ, wantH := want(tab, quote.Tuple)
		require.Equal(t, wantH, h)
		require.Equal(t, wantQ, q)
	case is: // we send no extension headers, so no honest quote has any
		require.True(t, extended || p.V6 && d[p.Data+6] != wire.ProtoTCP)
	case ok: // about an address that the error was not sent to, which the worker ignores
		require.NotEqual(t, wire.KindARP, p.Kind)
		at := p.Data + 12
		src := wire.Addr4(be.Uint32(d[at:]))
		if p.V6 {
			src = wire.Addr16((*[16]byte)(d[p.Data+8:]))
		}
		require.NotEqual(t, p.Seg.Local, src)
	}
}
