package handshake

import (
	"bytes"
	"errors"
	"slices"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// simApp is one side of a flow as its application knows it: some sends, then an
// end. Which ones, chance decides.
type simApp struct {
	id        FlowID
	in, out   *stream
	got, sent uint32
	sends     int
	end       simEnding
}

type simEnding uint8

const (
	endClose    simEnding = iota // FIN after the last text
	endWithText                  // FIN on the last text
	endSecond                    // after the peer
	endAbort
	endRelease // FIN, and nobody reads on
	numEndings
)

func (d *simNode) newApp(id FlowID, f *seenFlow) *simApp {
	a := &simApp{id: id, sends: d.w.rng.IntN(4), end: simEnding(d.w.rng.IntN(int(numEndings)))}
	if a.end >= endAbort && d.w.c.orderly {
		a.end = endClose
	}
	if a.end == endSecond && f.active {
		a.end = endWithText // else both might wait for ever
	}
	f.app = a
	d.where[id] = len(d.alive)
	d.alive = append(d.alive, id)
	return a
}

// forget ends the application's hold on a flow.
func (d *simNode) forget(id FlowID, f *seenFlow) {
	i, last := d.where[id], len(d.alive)-1
	d.alive[i] = d.alive[last]
	d.where[d.alive[i]] = i
	d.alive = d.alive[:last]
	delete(d.where, id)
	if d.open[f.tup] == id {
		delete(d.open, f.tup)
	}
	if d.used = append(d.used, f.tup); len(d.used) > 512 {
		d.used = slices.Delete(d.used, 0, 256)
	}
}

func (d *simNode) later(at Time, t wire.Tuple) { d.plans = append(d.plans, simPlan{at, t}) }

func (d *simNode) connect(t wire.Tuple) {
	reused := d.e.ctr.TimeWaitReused
	id, n, err := d.dial(t)
	switch {
	case err == nil:
		d.w.ctr.Begun++
		if wait, ok := d.waits[t]; ok { // TWT-011
			if passed := d.e.nowMS - wait.since; passed < 1000 && d.e.ctr.TimeWaitReused != reused {
				d.wit.fail("%v was taken over after %d ms", t, passed)
			}
			delete(d.waits, t)
		}
		d.withText(d.newApp(id, d.wit.flows[id]), t, n)
		if d.w.c.poke > 0 && d.w.rng.IntN(50) == 0 {
			d.close(id, d.wit.flows[id])
		}
	case errors.Is(err, ErrTupleInUse):
		d.w.ctr.InUse++
		if _, used := d.waits[t]; d.w.c.reuse == 0 && d.w.c.simultaneous == 0 && d.w.c.crash == 0 && !used {
			d.wit.fail("%v is in use", t)
		}
	case errors.Is(err, ErrTableFull):
		d.w.ctr.NoRoom++
		if d.e.flows < d.e.cfg.MaxFlows-MaxBurst {
			d.wit.fail("full with %d flows", d.e.flows)
		}
	case errors.Is(err, ErrOutputFull):
		d.w.ctr.NoRoom++
	default:
		d.wit.fail("connect %v: %v", t, err)
	}
}

// events runs the applications; in are the frames of the burst.
func (d *simNode) events(in []*simFrame) {
	for i := range d.e.Events() {
		ev := &d.e.Events()[i]
		d.w.mix(uint64(ev.Kind)<<40 | uint64(ev.Reason)<<32 | uint64(ev.Flow.idx))
		if d.w.watched(d.e.tuple(ev.Flow.idx)) {
			d.tell("event %+v", *ev)
		}
		if f := d.wit.aborted(ev); f != nil {
			if ev.Len > 0 { // the engine has acknowledged it
				f.app.got += ev.Len
				f.app.in.delivered = max(f.app.in.delivered, f.app.got)
			}
			continue
		}
		f := d.wit.event(ev)
		switch ev.Kind {
		case EventEstablished:
			d.established(ev, f)
		case EventData:
			fr := in[ev.Seg]
			p := &d.pkts[ev.Seg]
			d.gotText(f, fr.b[p.Data:p.End][ev.Off:ev.Off+ev.Len])
		case EventConfirmed:
			if !f.app.out.shown && !d.w.isTainted(f.tup) {
				d.wit.fail("confirmed before proof: %+v of %v", *ev, f.tup)
			}
			d.proceed(f)
		case EventAcked:
			acked := f.app.sent
			if d.e.Sending(ev.Flow) { // a new one since
				acked -= d.e.recs[ev.Flow.idx].outstanding()
			}
			if got := f.app.out.delivered; got < acked && !d.w.isTainted(f.tup) && !f.app.out.again {
				d.wit.fail("%d bytes were delivered, and %d are acknowledged: %v", got, acked, f.tup)
			}
			d.proceed(f)
		case EventPeerClosed:
			if d.e.State(ev.Flow) == LastAck {
				f.app.out.closed = true // the engine has answered
			}
			if a := f.app; !d.w.isTainted(f.tup) && !a.in.again && (!a.in.closed || a.got != a.in.sent) {
				d.wit.fail("FIN after %d of %d bytes (closed: %v): %v", a.got, a.in.sent, a.in.closed, f.tup)
			}
			d.proceed(f)
		case EventClosed:
			d.closed(ev, f)
		}
	}
	d.wit.endBurst()
}

// established checks the proof of address: each side has seen the other's SYN.
func (d *simNode) established(ev *Event, f *seenFlow) {
	w := d.w
	if !ev.Active {
		d.newApp(ev.Flow, f)
	}
	a := f.app
	a.in, a.out = w.stream(swap(f.tup), ev.IRS), w.stream(f.tup, ev.ISS)
	info := d.e.Info(ev)
	f.ecn = info.ECN
	if id, ok := d.open[f.tup]; ok {
		d.wit.fail("%v is up twice: %v and %v", f.tup, id, ev.Flow)
	}
	d.open[f.tup] = ev.Flow
	if d.w.c.gate.Backlog > 0 && !ev.Active {
		d.queued = append(d.queued, ev.Flow)
	}
	if !w.isTainted(f.tup) {
		d.checkECN(ev, &info)
		if !a.out.shown && !f.early || !a.in.shown {
			d.wit.fail("established before proof (shown: %v, %v): %+v, %+v", a.out.shown, a.in.shown, *ev, info)
		}
		d.checkOnce(ev, f, &info)
	}
	d.proceed(f)
}

// checkOnce holds HND-001: one SYN makes one flow. A cookie is the exception: a
// late copy of its ACK is as good as the first when the flow has ended since. So is
// a late copy of a SYN with a good cookie of Fast Open (TFO-019).
func (d *simNode) checkOnce(ev *Event, f *seenFlow, info *Info) {
	k := streamKey{swap(f.tup), ev.IRS}
	d.born[k]++
	f.app.in.early = f.app.in.early || f.early
	if d.born[k] == 1 {
		return
	}
	d.w.ctr.Again++
	f.app.out.again = true
	if !info.Cookie && !f.app.in.early {
		d.wit.fail("one SYN made %d flows: %+v, %+v", d.born[k], *ev, *info)
	}
}

func (d *simNode) gotText(f *seenFlow, p []byte) {
	a, w := f.app, d.w
	w.ctr.Bytes += uint64(len(p))
	want := w.blank()[:len(p)]
	a.in.text(want, a.got)
	a.got += uint32(len(p))
	if !w.isTainted(f.tup) && (a.got > a.in.sent || !bytes.Equal(p, want)) {
		d.wit.fail("%d bytes of %d sent, the last %d differ: %v", a.got, a.in.sent, len(p), !bytes.Equal(p, want))
	}
	a.in.delivered = max(a.in.delivered, a.got)
	w.free(want)
}

// proceed takes the next step of a program.
func (d *simNode) proceed(f *seenFlow) {
	a := f.app
	st := d.e.State(a.id)
	if st != Established && st != CloseWait && !(st == SynRcvd && f.early) {
		return
	}
	if a.sends > 0 {
		room := d.e.SendRoom(a.id)
		if room == 0 {
			return // text is under way
		}
		n := 1 + d.w.rng.IntN(min(room, simMSS))
		fin := a.sends == 1 && a.end == endWithText
		if d.wit.send(a.id, n, fin) {
			a.sends--
			a.sent += uint32(n)
			a.out.sent = max(a.out.sent, a.sent)
			a.out.closed = a.out.closed || fin
		}
		return
	}
	switch a.end {
	case endClose, endWithText:
		d.close(a.id, f)
	case endSecond:
		if f.peerClosed {
			d.close(a.id, f)
		}
	case endAbort:
		d.abort(a.id, f)
	case endRelease:
		d.wit.release(a.id)
		a.out.closed = true
	case numEndings:
	}
}

func (d *simNode) close(id FlowID, f *seenFlow) {
	if d.w.watched(f.tup) {
		d.tell("close in %v", d.e.State(id))
	}
	if d.wit.close(id) {
		if f.up {
			f.app.out.closed = true
		} else {
			d.forget(id, f)
		}
	}
}

func (d *simNode) abort(id FlowID, f *seenFlow) {
	if d.w.watched(f.tup) {
		d.tell("abort in %v", d.e.State(id))
	}
	if d.wit.abort(id) {
		d.forget(id, f)
	}
}

// poke is a call nobody foresaw.
func (d *simNode) poke(id FlowID) {
	f := d.wit.flows[id]
	switch d.w.rng.IntN(4) {
	case 0:
		d.abort(id, f)
	case 1:
		d.close(id, f)
	default:
		f.app.sends++
		if f.up {
			d.proceed(f)
		}
	}
}

// closed checks that there was a reason, and that a good end was complete.
func (d *simNode) closed(ev *Event, f *seenFlow) {
	a := f.app
	d.forget(ev.Flow, f)
	if d.e.State(ev.Flow) == TimeWait {
		d.waits[f.tup] = simWait{ev.Flow, d.e.nowMS}
	}
	if d.w.isTainted(f.tup) {
		return
	}
	d.voidEnded(f.tup, ev.Reason)
	_, reset := d.resets[f.tup]
	_, icmp := d.errors[f.tup]
	switch ev.Reason {
	case ReasonReset, ReasonRefused:
		if !reset {
			d.wit.fail("%v without a reset of the peer: %v", ev.Reason, f.tup)
		}
		if d.w.c.clean() {
			d.wit.fail("%v on a good wire: %v", ev.Reason, f.tup)
		}
	case ReasonUnreachable:
		if !icmp {
			d.wit.fail("unreachable without an ICMP error: %v", f.tup)
		}
	case ReasonTimedOut:
		if d.w.c.clean() {
			d.wit.fail("timed out on a good wire: %v", f.tup)
		}
	case ReasonDone:
		if !reset && f.peerClosed && !a.in.again && a.got != a.in.sent {
			d.wit.fail("done after %d of %d bytes: %v", a.got, a.in.sent, f.tup)
		}
	case ReasonAborted: // released, and the witness knows
	case ReasonNone, numCloseReasons:
		d.wit.fail("closed for no reason: %v", f.tup)
	}
}

// giveUp aborts what is left.
func (d *simNode) giveUp() {
	for len(d.alive) > 0 {
		id := d.alive[0]
		f := d.wit.flows[id]
		if !f.up {
			d.wit.fail("an attempt has not ended: %v", d.e.State(id))
		}
		if d.w.c.clean() {
			d.wit.fail("a flow has not ended on a good wire: %v in %v", f.tup, d.e.State(id))
		}
		d.w.ctr.Given++
		d.abort(id, f)
		if d.e.OutputRoom() == 0 {
			d.flush(false)
		}
	}
	d.flush(false)
}
