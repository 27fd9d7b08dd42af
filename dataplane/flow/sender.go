package flow

import (
	"fmt"
	"math"
	"math/bits"
	"unsafe"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/hugepages"
)

// sender is what a flow needs while something is queued or in flight. Between, it is at
// rest: what is worth remembering is in its memory, and the sender serves another flow.
// Pointer-free.
type sender struct {
	recovery
	rto rto
	cc  cubic
	buf sendbuf

	since        uint32   // ms: since when nothing new was acknowledged, for the user timeout
	ecnEnd       wire.Seq // SND.NXT when a congestion mark was last heeded, with ecnSet
	ecnSet       bool
	windowWait   bool  // nothing is in flight and something waits for the window, since armed
	windowProbes uint8 // of a closed window, in a row
}

// Three cache lines.
const _ = uint(192 - unsafe.Sizeof(sender{}))

// memory is what a flow at rest knows of its path. What it leaves out of a sender means
// nothing when all is acknowledged, or is dropped for these reasons:
//
//   - An epoch of CUBIC is not continued but begun again from the window there is (RFC 9438
//     §4.2): below W_max that is the same curve, moved in time to where the window lies
//     on it; beyond it the curve begins flat again, which is slower. The estimate of
//     Reno begins anew too, so that near the plateau the window grows like Reno's (§4.3).
//     cwnd_prior, which only says how long that is by less than a segment in a round
//     trip, is computed from W_max, or ssthresh after a timeout.
//   - A round of RACK's duplicate SACKs, the congestion mark last heeded and the
//     segment that arrived last concern text that is acknowledged. What is
//     sent later was sent after all of them (RFC 8985 §6.2).
//   - The back-off of the timeout ends with the last ACK, see rto.progress.
//
// W_max, ssthresh and the least round trip are rounded down to 11 bits, which makes none of
// them more aggressive, and once is all: what has been rounded stays. 24 bytes.
type memory struct {
	cwnd     uint32
	srtt     uint32 // of rto
	rttvar   uint32
	at       uint32 // ms: when the last ACK came, at the latest
	ssthresh rounded
	wMax     rounded
	minRTT   rounded // 0: none
	reoMult  uint8   // RACK.reo_wnd_mult (RFC 8985 §6.2)
	bits     uint8
}

// Bits of memory.bits, and in the upper half RACK.reo_wnd_persist, less one.
const (
	memReordered    = 1 << iota // RACK.reordering_seen
	memSYNLost                  // rto.synLost
	memCareful                  // SND.UNA is the end of the last recovery (RFC 6582 §3.2 step 2)
	memProbed                   // a repeated tail is acknowledged, and whether twice is not known yet
	memPersistShift = iota
)

const _ = uint(24 - unsafe.Sizeof(memory{}))

// start begins with what the handshake found out: for segments of mss bytes, whether one of it was lost, and
// so the window is one of them, and the round trip in microseconds, 0 if it is not known. repeated
// says that it is not because a SYN or SYN-ACK was, or may have been, repeated (RTX-004).
func (m *memory) start(mss uint32, lost bool, rtt uint32, repeated bool) {
	m.cwnd, m.ssthresh = initialWindow(mss, lost), noThreshold
	m.srtt, m.rttvar, m.minRTT = 0, 0, 0
	m.at, m.wMax, m.reoMult, m.bits = 0, 0, 1, 0
	if rtt != 0 {
		var r rto
		r.sample(rtt, 1)
		m.srtt, m.rttvar, m.minRTT = r.srtt, r.rttvar, roundDown(rtt)
	} else if repeated {
		m.bits = memSYNLost
	}
}

// noThreshold is cubicMaxWindow.
const noThreshold rounded = 20<<11 | 1<<10

// wake continues from m with nothing queued and nothing in flight, in a sender with arbitrary content.
// nxt is SND.NXT, us and ms are the time. The caller is to call cc.resume before the first segment, as
// after any pause.
func (s *sender) wake(m *memory, nxt wire.Seq, sack bool, us, ms uint32) {
	r := &s.recovery
	// What is guarded by a flag or set with the first segment keeps what it was: rackAt,
	// rackEnd, rackRTT, armed, probeAt, reoAt, filled and round.
	r.scoreboard = newScoreboard(nxt)
	r.phase, r.dupAcks, r.sackOK = phaseOpen, 0, sack
	r.rack, r.reoArmed, r.inRound, r.hasFilled, r.fast = false, false, false, false, false
	r.reordering = m.bits&memReordered != 0
	r.point, r.hasPoint = nxt, m.bits&memCareful != 0
	r.tlpEnd, r.tlp, r.tlpRetrans = nxt, m.bits&memProbed != 0, true
	r.reoMult, r.persist = m.reoMult, 0
	if m.reoMult > 1 {
		r.persist = m.bits>>memPersistShift + 1
	}
	if r.minRTT = m.minRTT.value(); r.minRTT == 0 {
		r.minRTT = math.MaxUint32
	}

	s.rto = rto{srtt: m.srtt, rttvar: m.rttvar, synLost: m.bits&memSYNLost != 0}

	c := &s.cc
	c.cwnd, c.ssthresh, c.wMax = m.cwnd, m.ssthresh.value(), m.wMax.value()
	c.prior = 0
	if c.ssthresh < cubicMaxWindow {
		c.prior = c.reduced()
	}
	c.inEpoch, c.timedOut = false, false
	// Rounded up: both clocks of m.at and ms were within their millisecond. As long as
	// times in microseconds compare, the pause may be longer.
	idle := ms - m.at + 1
	c.last = us - min(idle, math.MaxInt32/msec)*msec

	s.buf = sendbuf{una: nxt}
	s.since, s.ecnSet, s.windowWait, s.windowProbes = ms, false, false, 0
}

// rest puts into m what wake needs. Nothing is queued or in flight.
func (s *sender) rest(m *memory, us, ms uint32) {
	r, c := &s.recovery, &s.cc
	m.cwnd, m.ssthresh, m.wMax = c.cwnd, roundDown(c.ssthresh), roundDown(c.wMax)
	m.srtt, m.rttvar = s.rto.srtt, s.rto.rttvar
	m.at = ms - (us-c.last+msec-1)/msec
	m.minRTT = 0
	if r.minRTT != math.MaxUint32 {
		m.minRTT = roundDown(r.minRTT)
	}
	m.reoMult, m.bits = r.reoMult, 0
	if r.reoMult > 1 {
		m.bits = (r.persist - 1) << memPersistShift
	}
	if r.reordering {
		m.bits |= memReordered
	}
	if s.rto.synLost {
		m.bits |= memSYNLost
	}
	if r.hasPoint {
		m.bits |= memCareful
	}
	if r.tlp {
		m.bits |= memProbed
	}
}

// repeated takes an acceptable ACK that comes at rest, if memProbed is set: it may tell that the tail
// arrived twice, so that nothing was lost (RFC 8985 §7.4.2). nxt is SND.NXT; pure is as in ackOf.
func (m *memory) repeated(ack, nxt wire.Seq, blocks []wire.SACKBlock, pure bool) {
	switch {
	case len(blocks) != 0:
		b := blocks[0]
		if !b.Left.Less(b.Right) || nxt.Less(b.Right) || uint32(nxt-b.Left) > maxSend {
			return
		}
		m.reoMult = min(m.reoMult, 254) + 1 // as in recovery.reordered
		m.bits = m.bits&^memProbed&(1<<memPersistShift-1) | (reoPersist-1)<<memPersistShift
	case pure && ack == nxt:
		m.bits &^= memProbed
	}
}

// rounded is a number of up to 32 bits as 11 bits and an exponent.
type rounded uint16

func roundDown(x uint32) rounded {
	e := max(bits.Len32(x), 11) - 11
	return rounded(e<<11) | rounded(x>>e)
}

func (r rounded) value() uint32 { return uint32(r&(1<<11-1)) << (r >> 11) }

// senders are the senders of a core: as many as flows may have something to send at a time.
// The one returned last is taken next, so that it is in cache. A sender that nobody took
// costs address space only.
type senders struct {
	arena *hugepages.Arena
	all   []sender // by index; 0 is none
	freed freeList
}

// newSenders makes n of them on pages as opts asks.
func newSenders(n int, opts hugepages.Options) (*senders, error) {
	p := &senders{}
	var link []uint32
	size, err := hugepages.SizeFor[sender](n + 1)
	more, err2 := hugepages.SizeFor[uint32](n + 1)
	if err == nil {
		err = err2
	}
	if err == nil {
		p.arena, err = hugepages.Alloc(size+more, opts)
	}
	if err == nil {
		p.all, err = hugepages.Slice[sender](p.arena, n+1)
	}
	if err == nil {
		link, err = hugepages.Slice[uint32](p.arena, n+1)
	}
	if err != nil {
		if p.arena != nil {
			_ = p.arena.Free()
		}
		return nil, fmt.Errorf("flow: memory for %d senders: %w", n, err)
	}
	p.freed = newFreeList(link)
	return p, nil
}

// get returns a sender to wake, 0 if there is none left.
func (p *senders) get() uint32 { return p.freed.get() }

// put takes back a sender at rest. It panics if i is not in use.
func (p *senders) put(i uint32) {
	p.freed.put(i)
	if raceBuild {
		p.all[i].poison()
	}
}

// poison writes nonsense over everything but what wake must leave to be overwritten: then a sender is
// used that was not woken, or wake forgot something.
func (s *sender) poison() {
	s.recovery = recovery{
		scoreboard: scoreboard{una: 0xdbdbdbdb, nxt: 0xdbdbdbdc, head: math.MaxUint32, tail: math.MaxUint32, runs: 99, sacked: 77, lost: 55, high: 0xdb},
		rackAt:     0xdbdbdbdb, rackEnd: 0xdbdbdbdb, rackRTT: 0xdbdbdbdb, minRTT: 0xdb, armed: 0xdbdbdbdb, probeAt: 0xdbdbdbdb,
		reoAt: 0xdbdbdbdb, point: 0xdbdbdbdb, filled: s.nxt + 1<<30, round: 0xdbdbdbdb, tlpEnd: 0xdbdbdbdb,
		phase: 0xdb, dupAcks: 0xdb, reoMult: 0xdb, persist: 0xdb,
		sackOK: true, rack: true, reordering: true, reoArmed: true, inRound: true, hasPoint: true, hasFilled: true, tlp: true, tlpRetrans: true, fast: true,
	}
	s.rto = rto{srtt: 0xdbdbdbdb, rttvar: 0xdbdbdbdb, backoff: 0xdb, synLost: true}
	s.cc = cubic{
		wEst: 0xdbdbdbdbdb, cwnd: 0xdbdbdbdb, ssthresh: 0xdbdbdb, wMax: 0xdbdb, prior: 0xdbdb, origin: 0xdbdbdbdb, epoch: 0xdbdbdbdb,
		k: 0xdbdbdbdb, last: 0xdbdbdbdb, inEpoch: true, timedOut: true,
	}
	s.buf = sendbuf{first: 0xdbdbdb, last: 0xdbdbdb, una: 0xdbdbdbdb, size: 0xdbdbdb, blocks: 0xdbdbdb, cur: 0xdbdbdb, curSeq: 0xdbdbdbdb}
	s.since, s.ecnEnd, s.ecnSet, s.windowWait, s.windowProbes = 0xdbdbdbdb, 0xdbdbdbdb, true, true, 0xdb
}

// at returns sender i, which is in use.
func (p *senders) at(i uint32) *sender { return &p.all[i] }

// inUse is how many senders are out.
func (p *senders) inUse() int { return int(p.freed.used) }

// free returns the memory. No sender may be used afterwards.
func (p *senders) free() error { return p.arena.Free() }
