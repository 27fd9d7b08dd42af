package handshake

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// dial opens t, with n bytes of text or without.
func (d *simNode) dial(t wire.Tuple) (id FlowID, n int, err error) {
	if !d.w.chance(d.w.c.fastOpen) {
		id, err = d.wit.connect(t, 2)
		return id, 0, err
	}
	n = d.w.rng.IntN(min(d.e.TextRoom(t.Remote), simMSS) + 1)
	id, err = d.wit.connectText(t, 2, n)
	return id, n, err
}

// withText takes note of what an attempt sends, maybe with its SYN.
func (d *simNode) withText(a *simApp, t wire.Tuple, n int) {
	iss := d.e.recs[a.id.idx].sndUna
	d.wit.flows[a.id].iss = iss
	if n > 0 {
		a.out, a.sent = d.w.stream(t, iss), uint32(n)
		a.out.sent = a.sent
	}
}

// offer switches Fast Open on, on some nodes for port 81 too.
func (d *simNode) offer(addrs []wire.Addr) {
	if d.w.c.places == 0 {
		return
	}
	for _, a := range addrs {
		require.NoError(d.w.tb, d.e.FastOpen(a, 80, d.w.c.places))
	}
	if d.w.c.seed>>1&1 == 0 {
		require.NoError(d.w.tb, d.e.FastOpen(wire.Addr{}, 81, d.w.c.places))
	}
}

// textOf is the text that o asks for. Out says it by how much is not
// acknowledged, the header by its sequence number: they must agree, unless all of it
// was acknowledged while it waited.
func (d *simNode) textOf(o *Out, f *seenFlow) []byte {
	s, r := &o.Seg, &d.e.recs[o.Flow.idx]
	off := uint32(s.Seq - f.iss - 1)
	if s.Flags&wire.FlagSYN != 0 {
		off = 0
	}
	stale := off+s.Len <= uint32(r.sndUna-f.iss-1) && r.state >= Established
	if s.Len == 0 || s.Len > o.Text || o.Text > f.app.sent || off != f.app.sent-o.Text && !stale {
		d.wit.fail("text %d+%d wanted, the last %d of %d sent: %s", off, s.Len, o.Text, f.app.sent, tellSegment(s))
	}
	if s.TOS&ecnMask != 0 && !f.ecn {
		d.wit.fail("ECN was not negotiated: %s", tellSegment(s))
	}
	if s.Flags&(wire.FlagCWR|wire.FlagSYN) == wire.FlagCWR {
		d.w.ctr.Reduced++
	}
	text := d.text[:s.Len]
	f.app.out.text(text, off)
	return text
}

// takeSome takes flows out of the accept queue.
func (d *simNode) takeSome() {
	keep := d.queued[:0]
	for _, id := range d.queued {
		st := d.e.State(id)
		switch {
		case st > Closed && !d.w.chance(d.w.c.take):
			keep = append(keep, id)
		case d.e.Take(id) != (st > Closed && d.e.Tuple(id).LocalPort == 80):
			d.wit.fail("Take in %v", st)
		}
	}
	d.queued = keep
}

// simVoid is an attempt that nobody answers.
type simVoid struct {
	begun Time
	syns  int
}

// connectVoid has the client open t, but to an address where nobody is.
func (w *simWorld) connectVoid(t wire.Tuple) {
	t.Local, t.Remote = wire.Addr4(0x0a000001+uint32(w.next/50000)), wire.Addr4(0xac100001)
	w.void[t] = &simVoid{begun: w.nodes[0].now}
	w.nodes[0].connect(t)
}

// checkVoid holds the SYNs of such an attempt to the schedule (RTX-002). The slack
// is what a budget of Advance and Output that is sent in parts may take.
func (d *simNode) checkVoid(s *wire.Segment) {
	v := d.w.void[s.Tuple]
	if v == nil || s.Flags != wire.FlagSYN && s.Flags != wire.FlagSYN|ecnAsk {
		return
	}
	if v.syns > d.e.cfg.SYNRetries {
		d.wit.fail("%d SYNs, want %d at most: %v", v.syns+1, d.e.cfg.SYNRetries+1, s.Tuple)
	}
	d.onTime(v, d.e.cfg.Retry.SYN[:v.syns].Total())
	v.syns++
	d.w.ctr.Void++
}

func (d *simNode) onTime(v *simVoid, want time.Duration) {
	if late := time.Duration(d.now-v.begun) - want; late < 0 || late > 100*time.Millisecond {
		d.wit.fail("SYN or end %d comes %v after its time of %v", v.syns, late, want)
	}
}

// voidEnded is the end of such an attempt by its timer.
func (d *simNode) voidEnded(t wire.Tuple, why CloseReason) {
	if v := d.w.void[t]; v != nil {
		if why != ReasonTimedOut || v.syns != d.e.cfg.SYNRetries+1 {
			d.wit.fail("%v after %d SYNs that nobody answers", why, v.syns)
		}
		d.onTime(v, d.e.cfg.Retry.SYN.Total())
	}
}
