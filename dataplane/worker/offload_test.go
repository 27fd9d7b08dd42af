package worker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// The same exchange with checksums completed by the device and without leaves
// the same frames: answers over received frames, tagged ones, segments from timers
// and of flows opened here, text, ARP and echo.
func TestVAL_003_OffloadLeavesTheSameFrames(t *testing.T) {
	exchange := func(t *testing.T, offload bool) (frames [][]byte, completed int) {
		r := newRigOn(t, dptest.PortConfig{Caps: dataplane.Caps{TxCsum: offload}}, Config{Engine: handshake.Config{MaxFlows: 64, Cookies: handshake.CookiesNever}})
		app, err := r.AddApp(Callbacks{
			Bare:      true,
			AutoClose: true,
			Data:      func(f *Flow, text []byte) { f.Reply(append([]byte("re: "), text...), true) },
		})
		require.NoError(t, err)
		require.NoError(t, r.Listen(wire.Addr{}, 80, app))
		take := func(out [][]byte) [][]byte {
			require.NotEmpty(t, out)
			frames = append(frames, out...)
			return out
		}
		take(r.send(t, arpFrame(1, broadcastMAC, peer4, own4)))
		for i, local := range []wire.Addr{own4, own6} {
			remote, vlan := []wire.Addr{peer4, peer6}[i], uint16(7*i)
			s := syn(local, remote, 80)
			s.Opt = wire.Options{Has: wire.HasMSS | wire.HasTimestamps | wire.HasWScale, MSS: 1400, TSVal: 5, WScale: 3}
			p := parse(t, take(r.send(t, tcpFrame(r, s, vlan)))[0])
			take(r.step(t, int64(1100*time.Millisecond))) // the SYN-ACK once more
			s.Flags, s.Seq, s.Ack = wire.FlagACK|wire.FlagPSH, 1001, p.Seg.Seq+1
			s.Opt = wire.Options{Has: wire.HasTimestamps, TSVal: 6, TSEcr: p.Seg.Opt.TSVal}
			f := tcpFrame(r, s, vlan)
			f = f[:len(f)+copy(f[len(f):cap(f)], "odd")]
			fixText(f, len("odd"))
			take(r.send(t, f))
			s = syn(local, remote, 81) // nobody listens: a reset
			take(r.send(t, tcpFrame(r, s, vlan)))
		}
		_, err = r.Connect(&wire.Tuple{Remote: peer4, Local: own4, RemotePort: 80, LocalPort: 40001}, app)
		require.NoError(t, err)
		take(r.step(t, 1000))
		return frames, r.port.Completed(0)
	}
	want, none := exchange(t, false)
	require.Zero(t, none)
	got, some := exchange(t, true)
	require.Equal(t, want, got)
	tcp := 0
	for _, f := range want {
		if parse(t, f).Kind == wire.KindTCP {
			tcp++
		}
	}
	require.Equal(t, tcp, some, "all TCP segments, and nothing else")
	require.Greater(t, len(want), tcp)
}

// fixText makes a frame whose segment got n bytes of text right again.
func fixText(f []byte, n int) {
	e, _ := wire.ParseEthernet(f)
	var src, dst wire.Addr
	var seg []byte
	b := e.Payload()
	if e.EtherType() == wire.EtherTypeIPv4 {
		b[2], b[3] = byte(len(b)>>8), byte(len(b))
		b[10], b[11] = 0, 0
		sum := wire.Checksum(b[:20], 0)
		b[10], b[11] = byte(sum>>8), byte(sum)
		ip := wire.IPv4(b)
		src, dst, seg = ip.Src(), ip.Dst(), ip.Payload()
	} else {
		b[4], b[5] = byte((len(b)-40)>>8), byte(len(b)-40)
		ip := wire.IPv6(b)
		src, dst, seg = ip.Src(), ip.Dst(), ip.Payload()
	}
	seg[16], seg[17] = 0, 0
	sum := wire.Checksum(seg, wire.PseudoSum(src, dst, wire.ProtoTCP, uint32(len(seg))))
	seg[16], seg[17] = byte(sum>>8), byte(sum)
}

// offloading is a wire that completes checksums.
type offloading struct{ dataplane.Port }

type offloadQueue struct{ dataplane.Queue }

func (p offloading) Queue(i int) dataplane.Queue { return offloadQueue{p.Port.Queue(i)} }

func (q offloadQueue) Caps() dataplane.Caps {
	c := q.Queue.Caps()
	c.TxCsum = true
	return c
}

func (q offloadQueue) Settle(b *dataplane.Batch) int {
	for i := range b.N {
		if b.Verdict[i] == dataplane.Reply && b.Meta[i].Flags&dataplane.MetaTxCsum != 0 {
			if err := dptest.CompleteChecksums(b.Data[i]); err != nil {
				panic(err)
			}
		}
	}
	return q.Queue.Settle(b)
}

// Both ends verify what the other's device completed, and nothing allocates.
func TestOffloadHandshakes(t *testing.T) {
	for name, v6 := range map[string]bool{"v4": false, "v6": true} {
		t.Run(name, func(t *testing.T) {
			o := &opener{n: 64, v6: v6, fin: true}
			p := newPairOn(t, handshake.Config{MaxFlows: 4096}, o, func(p dataplane.Port) dataplane.Port { return offloading{p} })
			app, err := p.server.AddApp(Callbacks{Bare: true, AutoClose: true})
			require.NoError(t, err)
			require.NoError(t, p.server.Listen(wire.Addr{}, 80, app))
			for range 500 {
				p.step()
			}
			require.Zero(t, testing.AllocsPerRun(300, p.step))
			checkPair(t, p)
			require.Greater(t, o.done, 1000)
			require.Empty(t, p.client.snapshot().RxDrops)
			require.Empty(t, p.server.snapshot().RxDrops)
		})
	}
}
