package worker

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// icmpAbout is an ICMP error of a router, sent to hw, about an IPv4 frame of ours.
func icmpAbout(hw [6]byte, typ, code byte, rest uint32, frame []byte) []byte {
	b := unreachable(hw, frame[:14+28])
	ip := b[14:]
	ip[20], ip[21], ip[22], ip[23] = typ, code, 0, 0
	binary.BigEndian.PutUint32(ip[24:], rest)
	sum := wire.Checksum(ip[20:], 0)
	ip[22], ip[23] = byte(sum>>8), byte(sum)
	return b
}

// A router reports a narrow path: the reply goes out again in pieces, byte for byte.
func TestMTU_004_ReplyInPieces(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 64})
	want := make([]byte, 1400)
	for i := range want {
		want[i] = byte(i * 7)
	}
	app, err := r.AddApp(Callbacks{Bare: true, Data: func(f *Flow, _ []byte) { require.True(t, f.Reply(want, true)) }})
	require.NoError(t, err)
	require.NoError(t, r.Listen(wire.Addr{}, 80, app))
	s := syn(own4, peer4, 80)
	s.Opt.Has, s.Opt.MSS = wire.HasMSS, 1460
	iss := parse(t, r.send(t, tcpFrame(r, s, 0))[0]).Seg.Seq
	b := make([]byte, 256)
	l := wire.Link{Dst: r.hw, Src: peerHW}
	req := wire.Segment{Tuple: wire.Tuple{Local: peer4, Remote: own4, LocalPort: 40000, RemotePort: 80}, Seq: 1001, Ack: iss + 1, Flags: wire.FlagACK | wire.FlagPSH, Win: 65535}
	n := wire.PutLink(b, &l, wire.EtherTypeIPv4)
	n += wire.PutTCP(b[n:], &req, []byte("?"))
	out := r.send(t, b[:n])
	require.Len(t, out, 2)
	reply := out[1]

	var got []byte
	var fin bool
	out = r.send(t, icmpAbout(r.hw, wire.ICMPUnreachable, wire.ICMPFragNeeded, 640, reply))
	for range 3 {
		require.Len(t, out, 1)
		p := parse(t, out[0])
		require.LessOrEqual(t, len(out[0])-14, 640)
		require.Equal(t, iss+1+wire.Seq(len(got)), p.Seg.Seq)
		got = append(got, out[0][p.Data:p.End]...)
		fin = p.Seg.Flags&wire.FlagFIN != 0
		s.Seq, s.Ack, s.Flags, s.Opt.Has = 1002, p.Seg.Seq+wire.Seq(p.Seg.SegLen()), wire.FlagACK, 0
		out = r.send(t, tcpFrame(r, s, 0))
	}
	require.Empty(t, out)
	require.True(t, bytes.Equal(want, got))
	require.True(t, fin, "the FIN is behind the last piece")
	require.Empty(t, r.texts.busy)
	require.EqualValues(t, 1, r.Engine().PathMTUs)
	// The same about a flow that there is not: not believed, and counted.
	reply[14+20+1]++
	require.Empty(t, r.send(t, icmpAbout(r.hw, wire.ICMPUnreachable, wire.ICMPFragNeeded, 600, reply)))
	require.EqualValues(t, 1, r.drops()["icmp_ignored"])
}

// An attempt that an ICMP error ends is told at once, though nothing else comes in.
func TestACT_013_EndIsToldAtOnce(t *testing.T) {
	for _, c := range []struct {
		typ, code byte
		fast      bool
	}{{wire.ICMPUnreachable, 3, false}, {wire.ICMPUnreachable, 1, true}, {wire.ICMPTimeExceeded, 0, true}} {
		r := newRig(t, handshake.Config{MaxFlows: 64, FailFast: c.fast})
		var why []handshake.CloseReason
		app, err := r.AddApp(Callbacks{Bare: true, Closed: func(_ *Flow, reason handshake.CloseReason) { why = append(why, reason) }})
		require.NoError(t, err)
		r.cfg.Net.Neighbors.learn(peer4, peerHW, true, r.now)
		_, err = r.Connect(&wire.Tuple{Remote: peer4, Local: own4, RemotePort: 80, LocalPort: 40000}, app)
		require.NoError(t, err)
		out := r.step(t, 1000)
		require.Len(t, out, 1)
		require.Empty(t, r.send(t, icmpAbout(r.hw, c.typ, c.code, 0, out[0])))
		require.Equal(t, []handshake.CloseReason{handshake.ReasonUnreachable}, why)
		require.Empty(t, r.step(t, int64(time.Minute)))
	}
}
