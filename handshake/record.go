package handshake

import (
	"unsafe"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// Bits of record.flags.
const (
	flagV6      = 1 << iota // addresses are in Engine.addr6
	flagActive              // we sent the first SYN (SIM-007)
	flagTS                  // timestamps negotiated
	flagSACK                // SACK negotiated
	flagWScale              // window scaling negotiated
	flagCookie              // established by a cookie
	flagRetrans             // the handshake segment was retransmitted
	flagFINSent             // SND.NXT includes our FIN

	// What cookies of SYNs cannot be: in a passive SYN-RECEIVED, handed over before the peer's
	// ACK (fastopen.go); in an active record, an open with text (fastopen_client.go).
	flagFastOpen = flagCookie
)

// Bits of record.flags2.
const (
	flagAutoClose = 1 << iota // answer the peer's FIN with ours at once
	flagSoftError             // an ICMP error was heard and did not end the attempt
	flagHalfOpen              // counted in Engine.halfOpen
	flagText                  // text given to Send or ConnectText is not yet acknowledged
	flagAcked                 // something behind our SYN was acknowledged
	flagReleased              // the application is gone, see Release
	flagProved                // passive SYN-RECEIVED: the peer has proved its address, but is not let in yet
	flagStream                // carried by somebody else, see Streams

	flagGated  = flagSoftError // passive: counted by the Gate of its listener
	flagProbed = flagProved    // active: a Probe is not answered yet
)

// Bits of record.shifts, below the peer's shift.
const (
	bitECN       = 1 << iota // ECN negotiated (RFC 3168); the lowest, to multiply by
	bitCE                    // our ACKs have ECE, until the peer's CWR
	bitCWR                   // our next text has CWR
	bitPathError             // synchronized: an ICMP error was heard and nothing acknowledged since
	lowBits      = 15
)

// record is one connection in any state but LISTEN and CLOSED: a cache line,
// without pointers, so that the collector never looks at millions of them.
type record struct {
	remote4, local4       uint32 // of IPv6 addresses the last word
	remotePort, localPort uint16
	sndUna, sndNxt        wire.Seq
	rcvNxt                wire.Seq
	tsRecent              uint32
	start                 uint32 // 64 ns ticks: first SYN or SYN-ACK out
	last                  uint32 // 64 ns ticks: last repeated SYN-ACK or challenge ACK out
	next, prev            uint32 // timer FIFO; next also links the free and the limbo list
	deadline              uint32 // ms
	wnd                   uint16 // SND.WND as in the header, unscaled
	mss                   uint16 // what we may send: the peer's MSS clamped to our MTU
	app                   uint16
	path                  uint16
	gen                   uint16
	state                 State
	flags, flags2         uint8
	shifts                uint8 // peer's shift in the high half, bits in the low; ours is Engine.ownShift
	timer                 uint8 // class + 1; 0 is unarmed
	retries               uint8
}

// A record is one cache line (DESIGN §4); these fail to compile otherwise.
const (
	_ = uint(64 - unsafe.Sizeof(record{}))
	_ = uint(unsafe.Sizeof(record{}) - 64)
)

// addrs6 holds the addresses of an IPv6 record, beside it at the same index.
type addrs6 struct{ remote, local wire.Addr }

// FlowID names a flow from outside the engine. It goes stale when the flow
// ends; a stale one is refused, never confused with a new flow in its place
// (until 65536 reuses later).
type FlowID struct {
	idx uint32
	gen uint16
}

// Index is a dense number for side tables, below Config.MaxFlows+1.
func (id FlowID) Index() uint32 { return id.idx }

// Generation tells flows apart that had the same Index one after the other.
func (id FlowID) Generation() uint16 { return id.gen }

// Valid reports whether id names anything at all.
func (id FlowID) Valid() bool { return id.idx != 0 }

func (r *record) peerShift() uint8 { return r.shifts >> 4 }

// setPeerShift takes the shift of a window scale option.
func (r *record) setPeerShift(n uint8) { r.shifts = r.shifts&lowBits | n<<4 }

// synWnd takes the window of a SYN or SYN-ACK, which is never scaled (WND-001).
func (r *record) synWnd(win uint16) { r.wnd = win >> r.peerShift() }

// sndWnd is SND.WND in bytes.
func (r *record) sndWnd() uint32 { return uint32(r.wnd) << r.peerShift() }

// stamped reports whether s carries a timestamp that counts: one that was negotiated.
func (r *record) stamped(s *wire.Segment) bool {
	return r.flags&flagTS != 0 && s.Opt.Has&wire.HasTimestamps != 0
}

// paws reports whether the TSval of s is older than TS.Recent (RFC 7323 §5.3).
// Zero stands for "none yet", as in Linux.
func (r *record) paws(s *wire.Segment) bool {
	return int32(s.Opt.TSVal-r.tsRecent) < 0 && r.tsRecent != 0
}

func (e *Engine) tuple(idx uint32) (t wire.Tuple) {
	e.putTuple(idx, &t)
	return t
}

// putTuple is tuple without the copy.
func (e *Engine) putTuple(idx uint32, t *wire.Tuple) {
	r := &e.recs[idx]
	t.RemotePort, t.LocalPort = r.remotePort, r.localPort
	if r.flags&flagV6 != 0 {
		a := &e.addr6[idx]
		t.Remote, t.Local = a.remote, a.local
		return
	}
	t.Remote, t.Local = wire.Addr4(r.remote4), wire.Addr4(r.local4)
}

// is reports whether record idx belongs to t.
func (e *Engine) is(idx uint32, t *wire.Tuple) bool {
	r := &e.recs[idx]
	if r.remote4 != uint32(t.Remote.Lo) || r.remotePort != t.RemotePort || r.local4 != uint32(t.Local.Lo) || r.localPort != t.LocalPort {
		return false
	}
	if r.flags&flagV6 != 0 {
		a := &e.addr6[idx]
		return a.remote == t.Remote && a.local == t.Local
	}
	return t.Remote.Is4() && t.Local.Is4()
}

// alloc takes a record and enters it into the table under hash. It returns 0
// when none is free (or the chain of hash is too long, which counts as full), after trying one that was removed in this burst and the
// oldest TIME-WAIT (TWT-014).
func (e *Engine) alloc(t *wire.Tuple, hash uint64) uint32 {
	idx := e.free
	switch {
	case idx != 0:
		e.free = e.recs[idx].next
	case int(e.fresh) < len(e.recs):
		idx = e.fresh
		e.fresh++
	default:
		if e.limbo == 0 || e.named(e.limbo) {
			oldest := e.timers.fifo[classTimeWait].head
			if oldest == 0 || e.named(oldest) {
				return 0
			}
			e.ctr.TimeWaitRecycled++
			e.remove(oldest)
		}
		idx = e.limbo
		e.limbo = e.recs[idx].next
		e.reused = true
	}
	r := &e.recs[idx]
	gen := r.gen + 1
	*r = record{gen: gen, remotePort: t.RemotePort, localPort: t.LocalPort}
	r.remote4, r.local4 = uint32(t.Remote.Lo), uint32(t.Local.Lo)
	if !t.Remote.Is4() {
		r.flags = flagV6
		e.addr6[idx] = addrs6{t.Remote, t.Local}
	}
	if !e.tab.insert(hash, idx) {
		r.next, e.free = e.free, idx
		return 0
	}
	e.note(hash)
	e.flows++
	return idx
}

// remove takes a record out of the table and the timers and puts it into limbo:
// events of this burst may still name it, so it is reused only after EndBurst.
func (e *Engine) remove(idx uint32) {
	e.removeHashed(idx, e.hashOf(idx))
}

func (e *Engine) removeHashed(idx uint32, hash uint64) {
	r := &e.recs[idx]
	e.timers.disarm(e.recs, idx)
	if r.flags2&(flagHalfOpen|flagGated) != 0 {
		if r.gated() {
			e.ungate(r, idx)
		}
		e.leaveHalfOpen(r)
	}
	e.tab.remove(hash, idx)
	r.state = Closed
	if e.limbo == 0 {
		e.limboEnd = idx
	}
	r.next = e.limbo
	e.limbo = idx
	e.flows--
}

// named reports whether a pending event names record idx, which must then stay
// readable until EndBurst (HND-004). Only a full table asks.
func (e *Engine) named(idx uint32) bool {
	for i := range e.events {
		if e.events[i].Flow.idx == idx {
			return true
		}
	}
	return false
}

func (e *Engine) leaveHalfOpen(r *record) {
	if r.flags2&flagHalfOpen != 0 {
		r.flags2 &^= flagHalfOpen
		e.halfOpen--
		if r.retries != 0 {
			e.resent--
		}
	}
}

func (e *Engine) get(id FlowID) *record {
	if id.idx == 0 || int(id.idx) >= len(e.recs) {
		return nil
	}
	r := &e.recs[id.idx]
	if r.gen != id.gen || r.state <= Closed {
		return nil
	}
	return r
}

func (e *Engine) id(idx uint32) FlowID { return FlowID{idx, e.recs[idx].gen} }
