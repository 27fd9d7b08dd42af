package bench

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

// asker is a mirror for servers: its peer sends SYNs, and, if it completes
// handshakes, an ACK and a RST for each SYN-ACK. A server on it is one core alone.
type asker struct {
	mirror
	f        *flood
	complete bool
	open     int // SYNs without an answer
	left     int
	done     chan struct{}
	syns     *dataplane.Batch
}

func newAsker(t testing.TB, n int, complete bool) *asker {
	a := &asker{f: testFlood(t, "198.18.0.1:80", "198.19.0.0/16", Config{}), complete: complete, left: n, done: make(chan struct{}), syns: dataplane.NewBatch()}
	a.f.link.Dst = [6]byte(a.Info().MAC)
	a.f.quota = 1 << 62
	require.NoError(t, a.f.template())
	a.arena = make([]byte, mirrorFrames*mirrorStride)
	for i := range uint32(mirrorFrames) {
		a.free = append(a.free, i)
	}
	return a
}

func (a *asker) Queue(int) dataplane.Queue { return a }

func (a *asker) Rx(b *dataplane.Batch) int {
	// As if the others were on the way: up to 256 in flight.
	if n := min(dataplane.BatchSize, 256-a.open, a.left); n > 0 && len(a.back)-a.head < dataplane.BatchSize {
		a.Blank(a.syns, n)
		a.f.Send(64, a.syns)
		for i := range a.syns.N {
			a.back = append(a.back, a.syns.Handle[i]<<32|uint64(len(a.syns.Data[i])))
		}
		a.open += a.syns.N
		a.left -= a.syns.N
	}
	return a.mirror.Rx(b)
}

func (a *asker) Settle(b *dataplane.Batch) (sent int) {
	a.clock()
	be := binary.BigEndian
	for i := range b.N {
		idx := uint32(b.Handle[i])
		d := b.Data[i]
		if b.Verdict[i] != dataplane.Reply {
			a.free = append(a.free, idx)
			continue
		}
		sent++
		if len(d) < 54 || be.Uint16(d[12:]) != wire.EtherTypeIPv4 || wire.Flags(d[47]) != wire.FlagSYN|wire.FlagACK {
			a.free = append(a.free, idx)
			continue
		}
		a.open--
		if !a.complete {
			a.free = append(a.free, idx)
			continue
		}
		a.answer(idx, d)
	}
	a.st.TxFrames += uint64(sent)
	b.N = 0
	if a.left == 0 && a.open == 0 && a.done != nil {
		close(a.done)
		a.done = nil
	}
	return sent
}

// answer makes an ACK and a RST of the SYN-ACK d.
func (a *asker) answer(idx uint32, d []byte) {
	var p wire.Packet
	if r := wire.Parse(d, true, &p); r != wire.OK {
		panic(r)
	}
	s := p.Seg // Local is the peer of the server already
	s.Flags, s.Seq, s.Ack = wire.FlagACK, s.Ack, s.Seq+1
	s.Opt.TSVal, s.Opt.TSEcr = s.Opt.TSEcr, s.Opt.TSVal
	rst := a.free[len(a.free)-1]
	a.free = a.free[:len(a.free)-1]
	l := wire.Link{Src: [6]byte(d[:6]), Dst: [6]byte(d[6:12])}
	for _, w := range []struct {
		idx   uint32
		flags wire.Flags
	}{{idx, wire.FlagACK}, {rst, wire.FlagRST}} {
		s.Flags = w.flags
		if w.flags == wire.FlagRST {
			s.Opt.Has = 0
		}
		f := a.arena[int(w.idx)*mirrorStride:][:2048]
		n := wire.PutLink(f, &l, wire.EtherTypeIPv4)
		n += wire.PutTCP(f[n:], &s, nil)
		a.back = append(a.back, uint64(w.idx)<<32|uint64(n))
	}
}

// onAsker has a server answer n SYNs on one core.
func onAsker(t testing.TB, policy handshake.CookiePolicy, complete bool, n int) (*asker, handshake.Counters) {
	a := newAsker(t, n, complete)
	done := a.done
	ep, err := fastsyn.Open(fastsyn.Config{
		Device: a, Addrs: []string{"198.18.0.1/15"}, DAD: -1, Polling: worker.Busy, Engine: handshake.Config{Cookies: policy, MaxFlows: 4096},
		Listeners: []fastsyn.Listener{{Addr: ":80", Callbacks: fastsyn.Callbacks{Bare: true, AutoClose: true}}},
	})
	require.NoError(t, err)
	select {
	case <-done:
	case <-time.After(5 * time.Minute):
		t.Error("not answered within five minutes")
	}
	ep.Stop()
	c := ep.Stats()[0].Engine
	require.NoError(t, ep.Close())
	return a, c
}

func TestAsker(t *testing.T) {
	_, c := onAsker(t, handshake.CookiesAlways, false, 3000)
	require.Equal(t, uint64(3000), c.Cookies)
	for _, p := range []handshake.CookiePolicy{handshake.CookiesAlways, handshake.CookiesNever} {
		_, c = onAsker(t, p, true, 3000)
		require.GreaterOrEqual(t, c.Accepted, uint64(3000-256), "the last ones were not waited for")
	}
}

// BenchmarkServer is all that one core does for a SYN, and for a handshake that
// is reset at once, drivers aside; the peer in the same thread is included.
func BenchmarkServer(b *testing.B) {
	for _, tc := range []struct {
		policy   handshake.CookiePolicy
		complete bool
	}{{handshake.CookiesAlways, false}, {handshake.CookiesNever, true}, {handshake.CookiesAlways, true}} {
		b.Run(fmt.Sprintf("cookies=%v/complete=%v", tc.policy, tc.complete), func(b *testing.B) {
			n := max(b.N, 100_000)
			a, _ := onAsker(b, tc.policy, tc.complete, n)
			b.ReportMetric(0, "ns/op")
			perFrame := float64(a.end-a.begin) / float64(a.ended-a.began)
			b.ReportMetric(perFrame, "cpu-ns/op")
		})
	}
}
