package handshake

// abort is Engine.Abort. A flow in TIME-WAIT is over already.
func (x *witness) abort(id FlowID) bool {
	st, f := x.e.State(id), x.flows[id]
	if !x.e.Abort(id) {
		if st > Closed && st != TimeWait {
			x.fail("a flow in %v cannot be aborted", st)
		}
		return false
	}
	x.gone(id, st, f)
	return true
}

func (x *witness) gone(id FlowID, st State, f *seenFlow) {
	x.due++
	switch {
	case f == nil:
		x.fail("a flow in %v that nobody was told about", st)
	case !f.up:
		x.book.AttemptAborted++
	default:
		x.book.Aborted++
	}
	delete(x.flows, id)
	x.late[id] = f
}

// close is Engine.Close, which gives up an attempt.
func (x *witness) close(id FlowID) bool {
	st, f := x.e.State(id), x.flows[id]
	early := x.early(id)
	attempt := (st == SynSent || st == SynRcvd) && !early
	fin := early && x.e.recs[id.idx].flags&flagFINSent != 0
	closed := x.e.Close(id)
	switch {
	case early && closed == fin:
		x.fail("Close before the peer's ACK, FIN sent: %v: %v", fin, closed)
	case early:
	case !attempt && closed != (st == Established || st == CloseWait):
		x.fail("Close in %v: %v", st, closed)
	case attempt && closed != (x.e.State(id) == Closed):
		x.fail("Close in %v: %v, and now it is in %v", st, closed, x.e.State(id))
	case attempt && closed:
		x.gone(id, st, f)
	}
	return closed
}

// release is Engine.Release.
func (x *witness) release(id FlowID) bool {
	st, f, early := x.e.State(id), x.flows[id], x.early(id)
	released := x.e.Release(id)
	switch {
	case released != (st > Closed && st != TimeWait):
		x.fail("Release in %v: %v", st, released)
	case released && (st == SynSent || st == SynRcvd) && !early:
		x.gone(id, st, f)
	case released:
		f.released = x.bursts
	}
	return released
}

// early reports whether id is handed over and not yet acknowledged by its peer.
func (x *witness) early(id FlowID) bool {
	r := x.e.get(id)
	return r != nil && r.handedOver()
}

// send is Engine.Send.
func (x *witness) send(id FlowID, n int, fin bool) bool {
	can := n > 0 && n <= x.e.SendRoom(id) && x.e.OutputRoom() > 0
	if x.e.Send(id, n, fin) != can {
		x.fail("Send of %d bytes with room for %d in %v: %v", n, x.e.SendRoom(id), x.e.State(id), !can)
	}
	return can
}
