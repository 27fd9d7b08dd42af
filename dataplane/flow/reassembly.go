package flow

import (
	"fmt"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/hugepages"
)

// Held is what one flow has of a Reassembler: its text beyond RCV.NXT. The zero
// value is none, and costs the flow these four bytes.
type Held uint32

// HoldLimits bound what is held beyond RCV.NXT. The peer sends again what is not
// held, so a bound costs speed and never text. Zero values stand for the defaults.
type HoldLimits struct {
	Spans  int // of one flow: runs of text with a hole before each; default 256
	Blocks int // of one flow; default 1024, which is 2 MiB
	Spare  int // blocks of the pool left for others, who need them more; default a quarter of it
}

// Fate says what became of a segment with text or FIN.
type Fate uint8

// The fates. All but InOrder call for an ACK at once (RFC 5681 §4.2).
const (
	FateInvalid Fate = iota
	InOrder          // the next text or FIN, and none is held behind a hole
	Filled           // the next text, which fills a hole or part of it
	Ahead            // behind a hole; held, or as much of it as there was room for
	Duplicate        // nothing of it is new
	NoRoom           // behind a hole, and nothing of it held: a limit, or the pool is short
	Outside          // nothing of it is in the window, or it lies behind the FIN
	numFates
)

// String returns the name of f in lower case.
func (f Fate) String() string {
	if f >= numFates {
		return fmt.Sprintf("fate %d", uint8(f))
	}
	return [numFates]string{"invalid", "in order", "filled", "ahead", "duplicate", "no room", "outside"}[f]
}

// Arrival is what Arrive made of a segment.
type Arrival struct {
	// Text [Off, Off+Len) of the segment begins at RCV.NXT and goes to the
	// application from where it lies; RCV.NXT advances by Len.
	Off, Len uint32
	// Dup is the first part of the segment that was received before, for D-SACK;
	// Left = Right if there is none.
	Dup  wire.SACKBlock
	Fate Fate
	// FIN: the peer's FIN comes next; RCV.NXT advances by one more.
	FIN bool
	// Ready: text that was held comes next. Call Take.
	Ready bool
}

// Prompt reports whether the segment is to be acknowledged at once, see DelAck.
func (a *Arrival) Prompt() bool {
	return a.Fate != InOrder || a.FIN || a.Dup.Left != a.Dup.Right
}

// Reassembler puts the text of the flows of one core in order. What is next goes
// to the application out of the received frame; only what arrives before its turn
// is copied, into blocks of a Pool. It belongs to one goroutine.
//
// Of text that arrives twice the first copy counts, whatever the second
// says. Text that a SACK block has reported is never given up. A FIN counts where
// it was first seen, unless text behind it had been held before.
type Reassembler struct {
	pool     *Pool
	arena    *hugepages.Arena
	limits   HoldLimits
	spans    []span
	free     freeList // of spans
	holdings []holding
	idle     freeList // of holdings
}

// NewReassembler makes a Reassembler that holds text in blocks of pool. It takes
// 80 bytes per block of it for its own tables, on pages as opts asks.
func NewReassembler(pool *Pool, limits HoldLimits, opts hugepages.Options) (*Reassembler, error) {
	if limits.Spans < 0 || limits.Blocks < 0 || limits.Spare < 0 {
		return nil, fmt.Errorf("flow: limits of held text %+v: none can be negative", limits)
	}
	if limits.Spans == 0 {
		limits.Spans = 256
	}
	if limits.Blocks == 0 {
		limits.Blocks = 1024
	}
	if limits.Spare == 0 {
		limits.Spare = pool.Blocks() / 4
	}
	r := &Reassembler{pool: pool, limits: limits}
	n := pool.Blocks() + 1 // a span has text in a block at least, but for one that is a FIN alone
	size := 0
	for _, f := range []func() (int, error){
		func() (int, error) { return hugepages.SizeFor[span](n) },
		func() (int, error) { return hugepages.SizeFor[holding](n) },
		func() (int, error) { return hugepages.SizeFor[uint32](n) },
		func() (int, error) { return hugepages.SizeFor[uint32](n) },
	} {
		s, err := f()
		if err != nil {
			return nil, fmt.Errorf("flow: tables for held text: %w", err)
		}
		size += s
	}
	arena, err := hugepages.Alloc(size, opts)
	if err != nil {
		return nil, fmt.Errorf("flow: tables for held text: %w", err)
	}
	r.arena = arena
	var spanLinks, idleLinks []uint32
	r.spans, err = hugepages.Slice[span](arena, n)
	if err == nil {
		r.holdings, err = hugepages.Slice[holding](arena, n)
	}
	if err == nil {
		spanLinks, err = hugepages.Slice[uint32](arena, n)
	}
	if err == nil {
		idleLinks, err = hugepages.Slice[uint32](arena, n)
	}
	if err != nil {
		_ = arena.Free()
		return nil, fmt.Errorf("flow: tables for held text: %w", err)
	}
	r.free, r.idle = newFreeList(spanLinks), newFreeList(idleLinks)
	return r, nil
}

// Free returns the memory of the tables; the pool is not its own. The
// Reassembler must not be used afterwards.
func (r *Reassembler) Free() error { return r.arena.Free() }

// Holding is how many flows hold text beyond RCV.NXT, and Spans in how many runs.
func (r *Reassembler) Holding() int { return int(r.idle.used) }

// Spans is how many runs of text are held.
func (r *Reassembler) Spans() int { return int(r.free.used) }

// Next reports whether text of n bytes at seq is simply what the flow waits for: all
// of it goes to the application, and a FIN with it is next, so that there is no need to call Arrive. It
// inlines, and nearly all segments are like that.
func (h Held) Next(nxt wire.Seq, wnd uint32, seq wire.Seq, n uint32) bool {
	return h == 0 && seq == nxt && n <= wnd
}

// Arrive takes the text and the FIN of a segment, which begins at seq, on a flow
// that expects nxt and accepts wnd bytes from there. What lies outside is cut off on both
// sides (DAT-001); a FIN is welcome at the right edge, since it needs no room.
//
// wnd must not be smaller than a former call promised, see RcvWindow. The segment
// has passed the checks of its numbers and has text or FIN; the peer's FIN was not
// reached before.
func (r *Reassembler) Arrive(h *Held, nxt wire.Seq, wnd uint32, seq wire.Seq, text []byte, fin bool) Arrival {
	if h.Next(nxt, wnd, seq, uint32(len(text))) {
		return Arrival{Len: uint32(len(text)), Fate: InOrder, FIN: fin}
	}
	return r.arrive(h, nxt, wnd, seq, text, fin)
}

// arrival is a segment on its way in, cut to what counts.
type arrival struct {
	text []byte
	seq  wire.Seq // of text[0]
	end  wire.Seq // of the text that counts
	hi   wire.Seq // end, and one more if its FIN counts
	dup  wire.SACKBlock
}

// arrive is Arrive for what is not simply next.
func (r *Reassembler) arrive(h *Held, nxt wire.Seq, wnd uint32, seq wire.Seq, text []byte, fin bool) Arrival {
	s := arrival{text: text, seq: seq, end: seq + wire.Seq(len(text))}
	if edge := nxt + wire.Seq(wnd); edge.Less(s.end) {
		s.end, fin = edge, false
	}
	if *h != 0 {
		fin = r.holdings[*h].cut(&s, fin, r.spans)
	}
	s.hi = s.end
	if fin {
		s.hi++
	}
	if s.hi.LessEq(seq) {
		return Arrival{Fate: Outside}
	}
	if nxt.Less(seq) {
		return r.ahead(h, &s)
	}
	if seq.Less(nxt) {
		s.repeats(seq, nxt)
		if s.hi.LessEq(nxt) {
			return Arrival{Fate: Duplicate, Dup: s.dup}
		}
	}
	a := Arrival{Off: uint32(nxt - seq), Fate: InOrder}
	if *h == 0 {
		a.Len, a.FIN, a.Dup = uint32(s.end-nxt), fin, s.dup
		return a
	}
	a.Fate = Filled
	direct := s.end
	if first := r.spans[r.holdings[*h].first].left; first.Less(direct) {
		direct = first
	}
	a.Len = uint32(direct - nxt)
	if direct.Less(s.hi) { // it overlaps what is held, which came first
		r.hold(h, direct, &s)
	}
	a.Ready = r.spans[r.holdings[*h].first].left == direct
	a.Dup = s.dup
	return a
}

// ahead takes a segment that begins behind a hole (DAT-002).
func (r *Reassembler) ahead(h *Held, s *arrival) Arrival {
	a := Arrival{Fate: Duplicate}
	switch stored, short := r.hold(h, s.seq, s); {
	case stored:
		a.Fate = Ahead
	case short:
		a.Fate = NoRoom
	}
	a.Dup = s.dup
	return a
}

// Take takes the text that begins at RCV.NXT out of h, after an Arrival that was
// Ready. The blocks are the caller's then, see Pool.Release. RCV.NXT
// advances by the length of it, and by one more if the peer's FIN follows.
func (r *Reassembler) Take(h *Held) (text Chain, fin bool) {
	q := &r.holdings[*h]
	i := q.first
	s := &r.spans[i]
	text, fin = s.text, q.hasFIN && s.right == q.fin+1
	q.blocks -= text.Blocks
	r.unlink(q, i)
	if q.first == 0 {
		r.idle.put(uint32(*h))
		*h = 0
	}
	return text, fin
}

// Release forgets what a flow holds, when it ends.
func (r *Reassembler) Release(h *Held) {
	for *h != 0 {
		text, _ := r.Take(h)
		r.pool.Release(&text)
	}
}
