package flow

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/hugepages"
)

func newReassembler(t testing.TB, blocks int, limits HoldLimits) *Reassembler {
	t.Helper()
	r, err := NewReassembler(newPool(t, blocks), limits, hugepages.Options{NoTHP: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Free()) })
	return r
}

// rxModel is one flow on a Reassembler beside the plainest thing that could do its
// job: an array with a byte per sequence number, counted from 0.
type rxModel struct {
	t     testing.TB
	r     *Reassembler
	exact bool // nothing is short, so that what is held is known

	h    Held
	base wire.Seq // sequence number 0 of the model
	edge int      // right edge promised

	nxt   int
	bytes []byte // what came first
	got   []bool
	fin   int    // -1: not seen
	top   int    // end of what was received
	done  bool   // FIN reached
	out   []byte // what the application was given
	order []int  // a position in each span that changed, the latest last
	seen  [numFates]int
}

func newRxModel(t testing.TB, r *Reassembler, base wire.Seq, exact bool) *rxModel {
	return &rxModel{t: t, r: r, base: base, exact: exact, fin: -1, bytes: make([]byte, 1<<17), got: make([]bool, 1<<17)}
}

func (m *rxModel) seq(at int) wire.Seq { return m.base + wire.Seq(at) }

// firstNew returns the first position in [from, to) that was not received, to if none.
func (m *rxModel) firstNew(from, to int) int {
	for from < to && m.got[from] {
		from++
	}
	return from
}

// firstOld is the opposite of firstNew.
func (m *rxModel) firstOld(from, to int) int {
	for from < to && !m.got[from] {
		from++
	}
	return from
}

// segment brings text that begins at position at, with a window of wnd from nxt
// or what was promised before.
func (m *rxModel) segment(at int, text []byte, fin bool, wnd int) Arrival {
	t := m.t
	m.edge = max(m.edge, m.nxt+wnd)
	before := m.nxt
	free := m.r.pool.Left()

	// What the model thinks of it.
	end, offered := at+len(text), fin
	if end > m.edge {
		end, fin = m.edge, false
	}
	switch {
	case m.fin >= 0 && m.fin < end:
		end, fin = m.fin, false
	case m.fin >= 0:
		fin = fin && end == m.fin
	default:
		fin = fin && (m.top == m.nxt || m.top <= end)
	}
	hi := end
	if fin {
		hi++
	}
	want, dup := Outside, [2]int{}
	if hi > at {
		// The first run of what was received before.
		if at < m.nxt {
			dup = [2]int{at, min(hi, m.nxt)}
		} else if l := m.firstOld(at, hi); l < hi {
			dup = [2]int{l, m.firstNew(l, hi)}
		}
		held := m.top > m.nxt
		switch fresh := m.firstNew(max(at, m.nxt), hi); {
		case hi <= m.nxt, fresh == hi:
			want = Duplicate
		case at > m.nxt:
			want = Ahead
		case held:
			want = Filled
		default:
			want = InOrder
		}
		if m.exact {
			for i := max(at, m.nxt); i < end; i++ {
				if !m.got[i] {
					m.got[i], m.bytes[i] = true, text[i-at]
				}
			}
			if fin && end >= m.nxt { // else it is a lie
				m.fin, m.got[end] = end, true
			}
			m.top = max(m.top, hi)
			if hi > m.nxt {
				m.order = append(m.order, hi-1)
			}
		}
	}

	simple := m.h.Next(m.seq(m.nxt), uint32(m.edge-m.nxt), m.seq(at), uint32(len(text)))
	a := m.r.Arrive(&m.h, m.seq(m.nxt), uint32(m.edge-m.nxt), m.seq(at), text, offered)
	m.seen[a.Fate]++
	if m.exact {
		require.Equal(t, want, a.Fate)
		got := [2]int{}
		if a.Dup.Left != a.Dup.Right {
			got = [2]int{int(int32(a.Dup.Left - m.base)), int(int32(a.Dup.Right - m.base))}
		}
		require.Equal(t, dup, got, "D-SACK")
	} else if a.Fate == NoRoom {
		require.Equal(t, free, m.r.pool.Left())
		require.Equal(t, Ahead, want)
	}

	if simple {
		require.Equal(t, Arrival{Len: uint32(len(text)), Fate: InOrder, FIN: offered}, a)
	}

	// What the application gets.
	if a.Len > 0 {
		require.Equal(t, m.nxt, at+int(a.Off))
		m.deliver(text[a.Off:][:a.Len])
	}
	if a.Ready {
		c, last := m.r.Take(&m.h)
		checkChain(t, m.r.pool, c)
		for b := c.First; b != 0; b = m.r.pool.Next(b) {
			m.deliver(m.r.pool.Text(b))
		}
		m.r.pool.Release(&c)
		require.False(t, a.FIN && last)
		a.FIN = a.FIN || last
	}
	if a.FIN {
		m.done = true
		require.Zero(t, m.h, "nothing comes behind a FIN")
	}
	switch a.Fate {
	case InOrder, Filled:
		require.True(t, m.nxt > before || a.FIN)
	default:
		require.Equal(t, before, m.nxt)
	}
	m.check()
	if a.Fate == Ahead || a.Fate == Duplicate && at > m.nxt {
		var dst [4]wire.SACKBlock
		require.NotZero(t, m.r.SACK(m.h, wire.SACKBlock{}, &dst, 1))
		require.True(t, m.seq(at).InWindow(dst[0].Left, uint32(dst[0].Right-dst[0].Left)), "the span of the segment that caused the ACK is first")
	}
	return a
}

func (m *rxModel) deliver(b []byte) {
	for i := range b {
		m.got[m.nxt+i] = true
	}
	m.nxt += len(b)
	m.top = max(m.top, m.nxt)
	require.LessOrEqual(m.t, m.nxt, m.edge)
	m.out = append(m.out, b...)
}

// ranges returns what the model holds behind nxt.
func (m *rxModel) ranges() (out [][2]int) {
	end := m.top
	for i := m.nxt; i < end; {
		l := m.firstOld(i, end)
		i = m.firstNew(l, end)
		out = append(out, [2]int{l, i})
	}
	return out
}

// check compares everything, and looks at the links.
func (m *rxModel) check() {
	t, r := m.t, m.r
	var held [][2]int
	blocks := uint32(0)
	if m.h != 0 {
		q := &r.holdings[m.h]
		prev, n := uint32(0), uint32(0)
		for i := q.first; i != 0; i = r.spans[i].next {
			s := &r.spans[i]
			require.Equal(t, prev, s.prev)
			checkChain(t, r.pool, s.text)
			l, h := int(s.left-m.base), int(s.right-m.base)
			require.Less(t, l, h)
			if prev == 0 {
				require.Greater(t, l, m.nxt, "a hole in front")
			} else {
				require.Greater(t, l, held[n-1][1], "a hole between")
			}
			held = append(held, [2]int{l, h})
			body := h - l
			if q.hasFIN && s.right == q.fin+1 {
				require.Equal(t, q.last, i)
				body--
			}
			require.Equal(t, body, int(s.text.Len))
			if m.exact {
				require.True(t, bytes.Equal(m.bytes[l:l+body], text(r.pool, s.text)), "the first copy counts")
			}
			blocks += s.text.Blocks
			prev = i
			n++
		}
		require.Equal(t, q.last, prev)
		require.Equal(t, q.spans, n)
		require.NotZero(t, n)
		require.Equal(t, q.blocks, blocks)
		require.LessOrEqual(t, int(n), r.limits.Spans)
		require.LessOrEqual(t, int(blocks), r.limits.Blocks)
	}
	require.Equal(t, int(blocks), r.pool.InUse())
	require.Equal(t, len(held), r.Spans())
	if m.exact {
		require.True(t, bytes.Equal(m.bytes[:m.nxt], m.out), "in order, once, the first copy")
		if !m.done {
			require.Equal(t, m.ranges(), held)
		}
	}
	for _, room := range []int{1, 3, 4} {
		m.checkSACK(held, room)
	}
}

// checkSACK checks the option against RFC 2018 §4.
func (m *rxModel) checkSACK(held [][2]int, room int) {
	t := m.t
	var dst [4]wire.SACKBlock
	n := m.r.SACK(m.h, wire.SACKBlock{}, &dst, room)
	require.Equal(t, min(room, len(held)), n)
	told, latest := [][2]int{}, [][2]int{}
	for _, b := range dst[:n] {
		told = append(told, [2]int{int(b.Left - m.base), int(b.Right - m.base)})
	}
	for i, b := range told {
		require.Contains(t, held, b)
		require.NotContains(t, told[:i], b)
	}
	if m.h == 0 || !m.exact {
		return
	}
	// As far as the flow remembers, spans come in the order in which they changed.
	named := 0
	for named < recentSpans && m.r.holdings[m.h].recent[named] != 0 {
		named++
	}
	for i := len(m.order) - 1; i >= 0 && len(latest) < min(named, n); i-- {
		k := slices.IndexFunc(held, func(h [2]int) bool { return h[0] <= m.order[i] && m.order[i] < h[1] })
		if k >= 0 && !slices.Contains(latest, held[k]) {
			latest = append(latest, held[k])
		}
	}
	require.Equal(t, latest, told[:len(latest)])
}

// end forgets what is held and looks for leaks.
func (m *rxModel) end() {
	m.r.Release(&m.h)
	require.Zero(m.t, m.h)
	require.Zero(m.t, m.r.Holding())
	require.Zero(m.t, m.r.Spans())
	require.Zero(m.t, m.r.pool.InUse())
}
