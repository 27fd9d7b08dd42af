package worker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// watcher opens one flow after the other, and watches each with the same Recording.
type watcher struct {
	opener
	r     *Recording
	frame []TapFrame
	flows int
}

func (o *watcher) Poll(w *Worker, now int64) int64 {
	if o.inflight == 0 && len(o.r.Frames) > 0 && w.Flow(o.r.Flow).State() == handshake.Closed {
		if w.tap != nil && o.r.Frames[len(o.r.Frames)-1].At < now { // what was queued is sent
			o.frame = append(o.frame[:0], o.r.Frames...)
			o.flows++
			w.Unwatch(o.r)
		}
		if w.tap != nil {
			return 0
		}
	}
	if w.tap == nil {
		o.opener.Poll(w, now)
		for id := range w.engine.All {
			w.Watch(id, o.r)
		}
	}
	return 0
}

// The frames of a flow, with the states that they lead to, and those of no other flow.
func TestTap(t *testing.T) {
	for _, tc := range []struct {
		name    string
		v6, fin bool
		listen  bool
		want    []string
	}{
		{"reset", false, false, true, []string{"> S SYN-SENT", "< S. ESTABLISHED", "> . ESTABLISHED", "> R. CLOSED"}},
		{"reset, IPv6", true, false, true, []string{"> S SYN-SENT", "< S. ESTABLISHED", "> . ESTABLISHED", "> R. CLOSED"}},
		{"closed by FIN", false, true, true, []string{"> S SYN-SENT", "< S. ESTABLISHED", "> . ESTABLISHED", "> F. FIN-WAIT-1", "< F. CLOSED", "> . CLOSED"}},
		{"refused", false, false, false, []string{"> S SYN-SENT", "< R. CLOSED"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := &watcher{opener: opener{n: 1, v6: tc.v6, fin: tc.fin}, r: &Recording{Frames: make([]TapFrame, 0, 8)}}
			p := newPair(t, handshake.Config{MaxFlows: 4096}, o)
			app, err := p.server.AddApp(Callbacks{Bare: true, AutoClose: true})
			require.NoError(t, err)
			if tc.listen {
				require.NoError(t, p.server.Listen(wire.Addr{}, 80, app))
			}
			for range 100 {
				p.step()
			}
			require.Greater(t, o.flows, 2)
			var got []string
			last := int64(0)
			for i := range o.frame {
				f := &o.frame[i]
				require.GreaterOrEqual(t, f.At, last)
				last = f.At
				var pk wire.Packet
				require.Equal(t, wire.OK, wire.Parse(f.Data[:f.Size], false, &pk), "whole, with good checksums")
				dir := "<"
				if f.Out {
					dir = ">"
				}
				got = append(got, dir+" "+tcpdumpFlags(pk.Seg.Flags)+" "+f.State.String())
			}
			require.Equal(t, tc.want, got)
			checkPair(t, p)
			require.Zero(t, testing.AllocsPerRun(500, p.step))
		})
	}
}

func tcpdumpFlags(f wire.Flags) (s string) {
	for _, x := range []struct {
		bit  wire.Flags
		name string
	}{{wire.FlagFIN, "F"}, {wire.FlagSYN, "S"}, {wire.FlagRST, "R"}, {wire.FlagPSH, "P"}, {wire.FlagACK, "."}} {
		if f&x.bit != 0 {
			s += x.name
		}
	}
	return s
}

// Of several flows at once each has its own; what there is no room for is counted.
func TestTapOfSeveral(t *testing.T) {
	o := &opener{n: 32}
	p := newPair(t, handshake.Config{MaxFlows: 4096}, o)
	app, err := p.server.AddApp(Callbacks{Bare: true, AutoClose: true})
	require.NoError(t, err)
	require.NoError(t, p.server.Listen(wire.Addr{}, 80, app))
	for p.client.engine.Counters().Opening == 0 {
		p.step()
	}
	var all []*Recording
	for id := range p.client.engine.All {
		r := &Recording{Frames: make([]TapFrame, 0, 2)}
		p.client.Watch(id, r)
		all = append(all, r)
	}
	require.Len(t, all, 32)
	for range 10 {
		p.step()
	}
	for _, r := range all {
		require.Len(t, r.Frames, 2)
		require.Equal(t, 1, r.More, "SYN-ACK and ACK are kept, the reset is not; the SYN went out before")
		for i := range r.Frames {
			var pk wire.Packet
			require.Equal(t, wire.OK, wire.Parse(r.Frames[i].Data[:r.Frames[i].Size], false, &pk))
			local, port := pk.Seg.Local, pk.Seg.LocalPort
			if r.Frames[i].Out {
				local, port = pk.Seg.Remote, pk.Seg.RemotePort
			}
			require.Equal(t, r.Tuple.Local, local)
			require.Equal(t, r.Tuple.LocalPort, port)
		}
		p.client.Unwatch(r)
	}
	require.Nil(t, p.client.tap)
	p.client.Unwatch(all[0]) // again: nothing
	checkPair(t, p)
}
