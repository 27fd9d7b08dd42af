package flow

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/hugepages"
)

func TestHeldCostsAnIdleFlowFourBytes(t *testing.T) {
	require.Equal(t, uintptr(4), unsafe.Sizeof(Held(0)))
	require.Equal(t, uintptr(32), unsafe.Sizeof(span{}), "two to a cache line")
	require.Equal(t, uintptr(40), unsafe.Sizeof(holding{}))
	require.LessOrEqual(t, unsafe.Sizeof(RcvWindow{})+unsafe.Sizeof(DelAck{})+unsafe.Sizeof(TSRecent{}), uintptr(32))
}

// rx brings a segment, after others, to a flow that expects "a" of letters next.
type rx struct {
	name string
	held []string // segments before, as "at text", with "." for FIN at the end
	seg  string
	wnd  int // 20 if 0, none if -1

	fate  Fate
	out   string // what the application gets
	fin   bool
	spans string // what is held then, as a SACK option tells it
	dup   string
}

const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func (m *rxModel) script(seg string, wnd int) Arrival {
	at, body, _ := strings.Cut(seg, " ")
	body, fin := strings.CutSuffix(body, ".")
	pos := strings.Index(letters, at)
	return m.segment(pos, []byte(body), fin, wnd)
}

func (m *rxModel) told(h Held, dup wire.SACKBlock) string { return m.toldIn(h, dup, 4) }

func (m *rxModel) toldIn(h Held, dup wire.SACKBlock, room int) string {
	var dst [4]wire.SACKBlock
	var out []string
	for _, b := range dst[:m.r.SACK(h, dup, &dst, room)] {
		out = append(out, letters[b.Left-m.base:b.Left-m.base+1]+"-"+letters[b.Right-m.base:b.Right-m.base+1])
	}
	return strings.Join(out, " ")
}

var rxTable = []rx{
	{name: "DAT-001 next", seg: "a abc", fate: InOrder, out: "abc"},
	{name: "DAT-001 trimmed left: seq-5, 10 bytes, 5 delivered", seg: "5 56789abcde", fate: InOrder, out: "abcde", dup: "5-a"},
	{name: "DAT-001 trimmed right", seg: "a abcdef", wnd: 4, fate: InOrder, out: "abcd"},
	{name: "DAT-001 trimmed on both sides", seg: "8 89abcdef", wnd: 4, fate: InOrder, out: "abcd", dup: "8-a"},
	{name: "DAT-001 trimmed right behind a hole", seg: "c cdefgh", wnd: 4, fate: Ahead, spans: "c-e"},
	{name: "DAT-001 the FIN goes with what is cut off", seg: "a abcdef.", wnd: 4, fate: InOrder, out: "abcd"},
	{name: "DAT-001 a FIN at the right edge needs no room", seg: "a abcd.", wnd: 4, fate: InOrder, out: "abcd", fin: true},
	{name: "DAT-001 a bare FIN with a closed window", seg: "a .", wnd: -1, fate: InOrder, fin: true},
	{name: "DAT-001 text with a closed window", seg: "a abc", wnd: -1, fate: Outside},
	{name: "DAT-001 beyond the window", seg: "e ef", wnd: 4, fate: Outside},
	{name: "DAT-001 a FIN beyond the window", seg: "f .", wnd: 4, fate: Outside},
	{name: "DAT-001 a FIN behind a hole at the right edge", seg: "e .", wnd: 4, fate: Ahead, spans: "e-f"},
	{name: "DAT-001 old", seg: "5 567", fate: Duplicate, dup: "5-8"},
	{name: "DAT-001 old up to RCV.NXT", seg: "5 56789", fate: Duplicate, dup: "5-a"},

	{name: "DAT-002 held behind a hole", seg: "c cde", fate: Ahead, spans: "c-f"},
	{name: "DAT-002 the hole is filled", held: []string{"c cde"}, seg: "a ab", fate: Filled, out: "abcde"},
	{name: "DAT-002 a part of the hole is filled", held: []string{"c cde"}, seg: "a a", fate: Filled, out: "a", spans: "c-f"},
	{name: "DAT-002 one of two holes is filled", held: []string{"c cd", "f f"}, seg: "a ab", fate: Filled, out: "abcd", spans: "f-g"},
	{name: "DAT-002 longer than a span", held: []string{"c cd"}, seg: "b bcdef", fate: Ahead, spans: "b-g", dup: "c-e"},
	{name: "DAT-002 in front of a span", held: []string{"e ef"}, seg: "c cd", fate: Ahead, spans: "c-g"},
	{name: "DAT-002 closes the hole between two", held: []string{"c cd", "g gh"}, seg: "e ef", fate: Ahead, spans: "c-i"},
	{name: "DAT-002 over several spans", held: []string{"c c", "e e", "g g", "j j"}, seg: "b bcdefgh", fate: Ahead, spans: "b-i j-k", dup: "c-d"},
	{name: "DAT-002 held already", held: []string{"c cdef"}, seg: "d de", fate: Duplicate, spans: "c-g", dup: "d-f"},
	{name: "DAT-002 text and FIN behind a hole", seg: "c cd.", fate: Ahead, spans: "c-f"},
	{name: "DAT-002 FIN alone behind a hole", seg: "c .", fate: Ahead, spans: "c-d"},
	{name: "DAT-002 FIN behind held text", held: []string{"c cd"}, seg: "e .", fate: Ahead, spans: "c-f"},
	{name: "DAT-002 held text and its FIN are next", held: []string{"c cd."}, seg: "a ab", fate: Filled, out: "abcd", fin: true},
	{name: "DAT-002 the held FIN is next", held: []string{"c ."}, seg: "a ab", fate: Filled, out: "ab", fin: true},
	{name: "DAT-002 the FIN is held again", held: []string{"c cd."}, seg: "c cd.", fate: Duplicate, spans: "c-f", dup: "c-f"},

	{name: "DAT-002 the first copy counts behind a hole", held: []string{"c cde"}, seg: "b XXXXXX", fate: Ahead, spans: "b-h", dup: "c-f"},
	{name: "DAT-002 the first copy counts in front", held: []string{"c cde"}, seg: "a XXXXXXX", fate: Filled, out: "XXcdeXX", dup: "c-f"},
	{name: "DAT-002 the first copy counts, and then a hole", held: []string{"c cd", "g g"}, seg: "a XXXXX", fate: Filled, out: "XXcdX", spans: "g-h", dup: "c-e"},
	{name: "DAT-002 the first copy counts with a FIN", held: []string{"c cd"}, seg: "a XXXXX.", fate: Filled, out: "XXcdX", fin: true, dup: "c-e"},

	{name: "DAT-010 no text behind the FIN", held: []string{"c cd."}, seg: "d dXXX", fate: Duplicate, spans: "c-f", dup: "d-e"},
	{name: "DAT-010 nothing but what is behind the FIN", held: []string{"c cd."}, seg: "g gh", fate: Outside, spans: "c-f"},
	{name: "DAT-010 a second FIN behind the first", held: []string{"c cd."}, seg: "c cdXX.", fate: Duplicate, spans: "c-f", dup: "c-e"},
	{name: "DAT-010 a second FIN before the first", held: []string{"e ef."}, seg: "b b.", fate: Ahead, spans: "b-c e-h"},
	{name: "DAT-010 a FIN in front of held text", held: []string{"e ef"}, seg: "a ab.", fate: Filled, out: "ab", spans: "e-g"},
	{name: "DAT-010 a FIN within held text", held: []string{"c cdef"}, seg: "a abcd.", fate: Filled, out: "abcdef", dup: "c-e"},
}

func TestDAT_001_002_Arrivals(t *testing.T) {
	for _, c := range rxTable {
		t.Run(c.name, func(t *testing.T) {
			for _, base := range []wire.Seq{0, ^wire.Seq(0) - 11, 1<<31 - 12, 1 << 31} { // VAL-021
				r := newReassembler(t, 16, HoldLimits{})
				m := newRxModel(t, r, base, true)
				m.segment(0, []byte(letters[:10]), false, 10)
				wnd := c.wnd
				if wnd == 0 {
					wnd = 20
				}
				for _, h := range c.held {
					require.Equal(t, Ahead, m.script(h, max(wnd, 0)).Fate)
				}
				a := m.script(c.seg, max(wnd, 0))
				require.Equal(t, c.fate, a.Fate)
				require.Equal(t, c.out, string(m.out[10:]))
				require.Equal(t, c.fin, m.done)
				require.Equal(t, c.spans, m.told(m.h, wire.SACKBlock{}))
				require.Equal(t, c.dup, m.told(0, a.Dup))
				require.Equal(t, a.Fate != InOrder || a.FIN || c.dup != "", a.Prompt())
				m.end()
			}
		})
	}
}

// A bound costs the peer another transmission, and nothing else.
func TestDAT_002_HeldTextIsBounded(t *testing.T) {
	full := bytes.Repeat([]byte("x"), BlockSize)
	t.Run("spans of a flow", func(t *testing.T) {
		m := newRxModel(t, newReassembler(t, 16, HoldLimits{Spans: 2}), 0, true)
		require.Equal(t, Ahead, m.segment(10, []byte("k"), false, 1000).Fate)
		require.Equal(t, Ahead, m.segment(20, []byte("u"), false, 1000).Fate)
		m.exact = false
		require.Equal(t, NoRoom, m.segment(15, []byte("p"), false, 1000).Fate)
		require.Equal(t, NoRoom, m.segment(30, nil, true, 1000).Fate)
		require.Equal(t, Ahead, m.segment(9, []byte("j"), false, 1000).Fate, "grows a span")
		require.Equal(t, Ahead, m.segment(21, []byte("v"), false, 1000).Fate, "grows a span")
		require.Equal(t, Ahead, m.segment(11, []byte("lmnopqrst"), true, 1000).Fate, "joins two")
		require.Equal(t, "9-m", m.told(m.h, wire.SACKBlock{}))
		m.end()
	})
	t.Run("blocks of a flow", func(t *testing.T) {
		m := newRxModel(t, newReassembler(t, 16, HoldLimits{Blocks: 2}), 0, false)
		require.Equal(t, Ahead, m.segment(10, full[:2000], false, 9000).Fate)
		a := m.segment(2010, full, false, 9000) // 48 bytes go into the first block
		require.Equal(t, Ahead, a.Fate)
		require.Equal(t, Ahead, m.segment(2010+2048, full, false, 9000).Fate, "48 bytes of the last block")
		require.Equal(t, NoRoom, m.segment(10+2*2048, full, false, 9000).Fate)
		require.Equal(t, NoRoom, m.segment(9, full[:1], false, 9000).Fate, "in front of it there is no room")
		require.Equal(t, Ahead, m.segment(10+2*2048, nil, true, 9000).Fate, "a FIN needs none")
		var dst [4]wire.SACKBlock
		require.Equal(t, 1, m.r.SACK(m.h, wire.SACKBlock{}, &dst, 4))
		require.Equal(t, wire.SACKBlock{Left: 10, Right: 10 + 2*2048 + 1}, dst[0])
		require.Equal(t, Filled, m.segment(0, full[:10], false, 9000).Fate)
		require.True(t, m.done)
		m.end()
	})
	t.Run("blocks of the pool", func(t *testing.T) {
		r := newReassembler(t, 4, HoldLimits{Spare: 2})
		m, other := newRxModel(t, r, 0, false), Held(0)
		require.Equal(t, Ahead, m.segment(10, full[:1000], false, 9000).Fate)
		require.Equal(t, Ahead, r.Arrive(&other, 0, 9000, 10, full[:1000], false).Fate)
		require.Equal(t, 2, r.Holding())
		require.Equal(t, NoRoom, r.Arrive(&other, 0, 9000, 2000, full[:1000], false).Fate, "the others' share")
		third := Held(0)
		require.Equal(t, NoRoom, r.Arrive(&third, 0, 9000, 10, full[:1], false).Fate)
		require.Zero(t, third, "what holds nothing costs nothing")
		require.Equal(t, 2, r.pool.Left())
		require.Zero(t, r.pool.Refused(), "nobody who needs a block was refused")
		r.Release(&other)
		require.Equal(t, Ahead, r.Arrive(&third, 0, 9000, 10, full[:1], false).Fate)
		r.Release(&third)
		m.end()
	})
	t.Run("flows", func(t *testing.T) {
		r := newReassembler(t, 3, HoldLimits{})
		var h [4]Held
		for i := range h { // FINs need no blocks, but a span each
			want := Ahead
			if i == 3 {
				want = NoRoom
			}
			require.Equal(t, want, r.Arrive(&h[i], 0, 100, 1, nil, true).Fate)
		}
		require.Equal(t, 3, r.Holding())
		for i := range h {
			r.Release(&h[i])
		}
		require.Zero(t, r.Holding())
	})
	t.Run("an overlap for which there is no block", func(t *testing.T) {
		r := newReassembler(t, 2, HoldLimits{Blocks: 1})
		m := newRxModel(t, r, 0, false)
		require.Equal(t, Ahead, m.segment(10, full, false, 9000).Fate)
		a := m.segment(0, bytes.Repeat([]byte("x"), 2100), true, 9000)
		require.Equal(t, Filled, a.Fate)
		require.Equal(t, 10+2048, m.nxt, "up to where there was room")
		require.False(t, m.done, "the FIN is behind what is missing")
		require.Equal(t, InOrder, m.segment(10, bytes.Repeat([]byte("x"), 2090), true, 9000).Fate)
		require.True(t, m.done)
		m.end()
	})
	t.Run("in front of a span there is room for half of it", func(t *testing.T) {
		m := newRxModel(t, newReassembler(t, 8, HoldLimits{Blocks: 2}), 0, false)
		require.Equal(t, Ahead, m.segment(4010, full[:100], false, 9000).Fate)
		require.Equal(t, NoRoom, m.segment(10, bytes.Repeat(full, 2)[:4000], false, 9000).Fate)
		require.Equal(t, Ahead, m.segment(2010, full[:2000], false, 9000).Fate, "what was taken for it is given back")
		m.end()
	})
	t.Run("wrong limits", func(t *testing.T) {
		_, err := NewReassembler(newPool(t, 1), HoldLimits{Spare: -1}, hugepages.Options{})
		require.ErrorContains(t, err, "none can be negative")
	})
}

func TestFateNames(t *testing.T) {
	seen := map[string]bool{}
	for f := range numFates {
		require.False(t, seen[f.String()])
		seen[f.String()] = true
	}
	require.Equal(t, "fate 7", numFates.String())
}

// A stream in segments that are lost, repeated, cut anew and out of order, by turns with
// room for all of it and with little.
func TestDAT_002_StreamArrivesOnceInOrder(t *testing.T) {
	seeds := uint64(120)
	if testing.Short() {
		seeds = 20
	}
	var seen [numFates]int
	for seed := range seeds {
		rnd := rand.New(rand.NewPCG(seed, 2))
		exact := seed%2 == 0
		r := newReassembler(t, 64, HoldLimits{Spare: 1})
		if !exact {
			r = newReassembler(t, 6, HoldLimits{Spans: 1 + rnd.IntN(4), Blocks: 1 + rnd.IntN(5), Spare: 1})
		}
		stream := make([]byte, 20000+rnd.IntN(20000))
		for i := range stream {
			stream[i] = byte(rnd.Uint32())
		}
		m := newRxModel(t, r, wire.Seq(rnd.Uint32()), exact)
		mss := 100 + rnd.IntN(1400)
		if seed%3 == 0 {
			m.base = ^wire.Seq(0) - wire.Seq(rnd.IntN(len(stream)))
		}
		for step := 0; !m.done; step++ {
			require.Less(t, step, 100000)
			at := m.nxt + rnd.IntN(12*mss) - 2*mss
			if rnd.IntN(4) != 0 {
				at -= at % mss // as a sender cuts it
			}
			if rnd.IntN(8) == 0 {
				at = m.nxt // what is missing is sent again
			}
			at = min(max(at, 0), len(stream))
			n := min(1+rnd.IntN(mss), len(stream)-at)
			if rnd.IntN(3) != 0 {
				n = min(mss, len(stream)-at)
			}
			fin := at+n == len(stream)
			if n == 0 && !fin {
				continue
			}
			m.segment(at, stream[at:at+n], fin, rnd.IntN(10*mss))
		}
		require.True(t, bytes.Equal(stream, m.out), "seed %d", seed)
		m.end()
		for f, n := range m.seen {
			seen[f] += n
		}
	}
	for f := InOrder; f < numFates; f++ {
		require.NotZero(t, seen[f], "never %v", f)
	}
}

// Any segments, with any text and FINs wherever, and windows that open anyhow.
func FuzzDAT_001_002_Arrivals(f *testing.F) {
	f.Add(uint32(0), []byte{})
	f.Add(^uint32(5), []byte{20, 10, 1, 100, 5, 10, 2, 0, 0, 30, 3, 0, 200, 9, 0x81, 0})
	seed := rand.New(rand.NewPCG(1, 1))
	for range 4 {
		b := make([]byte, 200)
		for i := range b {
			b[i] = byte(seed.Uint32())
		}
		f.Add(seed.Uint32(), b)
	}
	pool, err := NewPool(512, hugepages.Options{NoTHP: true})
	require.NoError(f, err)
	r, err := NewReassembler(pool, HoldLimits{Blocks: 512, Spare: 1}, hugepages.Options{NoTHP: true})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, base uint32, ops []byte) {
		m := newRxModel(t, r, wire.Seq(base), true)
		defer func() { r.Release(&m.h) }()
		for i := 0; len(ops) >= 4 && i < 64 && !m.done; i++ {
			op := ops[:4]
			ops = ops[4:]
			at := max(m.nxt+int(int8(op[0])), 0)
			n := int(op[1] & 63)
			if op[1]&64 != 0 {
				n *= 45
			}
			fin := op[2]&0xf0 == 0x80
			if n == 0 && !fin {
				continue
			}
			m.segment(at, bytes.Repeat([]byte{byte(i)}, n), fin, int(op[3])*(1+int(op[2]&15)))
		}
		m.end()
	})
}

// Any segments of one stream where room is short: what is not held is sent again.
func FuzzDAT_002_LittleRoom(f *testing.F) {
	f.Add(uint32(1), []byte{1, 2, 3, 4, 5, 6, 200, 100, 50, 25})
	rnd := rand.New(rand.NewPCG(2, 2))
	for range 4 {
		b := make([]byte, 150)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		f.Add(rnd.Uint32(), b)
	}
	stream := make([]byte, 30000)
	for i := range stream {
		stream[i] = byte(i * 2654435761 >> 13)
	}
	f.Fuzz(func(t *testing.T, base uint32, ops []byte) {
		r := newReassembler(t, 2+int(base&7), HoldLimits{Spans: 1 + int(base>>3&7), Blocks: 1 + int(base>>6&7), Spare: 1})
		m := newRxModel(t, r, wire.Seq(base), false)
		for ; len(ops) >= 3 && !m.done; ops = ops[3:] {
			at := min(max(m.nxt+int(int8(ops[0]))*20, 0), len(stream))
			if ops[0]&15 == 0 {
				at = m.nxt
			}
			n := min(1+int(ops[1])*9, len(stream)-at)
			m.segment(at, stream[at:at+n], at+n == len(stream), 100*int(ops[2]))
		}
		for !m.done { // the peer gets through in the end
			n := min(1400, len(stream)-m.nxt)
			a := m.segment(m.nxt, stream[m.nxt:m.nxt+n], m.nxt+n == len(stream), 1400)
			require.Contains(t, []Fate{InOrder, Filled}, a.Fate)
		}
		require.True(t, bytes.Equal(stream, m.out))
		m.end()
	})
}

func TestReassemblyDoesNotAllocate(t *testing.T) {
	r := newReassembler(t, 64, HoldLimits{})
	seg := bytes.Repeat([]byte("x"), 1448)
	var dst [4]wire.SACKBlock
	nxt, h := wire.Seq(0), Held(0)
	require.Zero(t, testing.AllocsPerRun(200, func() {
		r.Arrive(&h, nxt, 1<<20, nxt+2*1448, seg, false)
		r.Arrive(&h, nxt, 1<<20, nxt+4*1448, seg, false)
		r.Arrive(&h, nxt, 1<<20, nxt+3*1448, seg, false)
		r.Arrive(&h, nxt, 1<<20, nxt+1448, seg, false)
		a := r.Arrive(&h, nxt, 1<<20, nxt+1448, seg, false)
		if r.SACK(h, a.Dup, &dst, 3) != 2 {
			t.Fatal("a duplicate and a span")
		}
		a = r.Arrive(&h, nxt, 1<<20, nxt, seg, false)
		c, _ := r.Take(&h)
		nxt += wire.Seq(a.Len + c.Len)
		r.pool.Release(&c)
	}))
	require.Equal(t, wire.Seq(201*5*1448), nxt)
	require.Zero(t, r.Holding())
	require.Zero(t, r.pool.InUse())
}

func BenchmarkArrive(b *testing.B) {
	seg := bytes.Repeat([]byte("x"), 1448)
	b.Run("case=next", func(b *testing.B) {
		r := newReassembler(b, 64, HoldLimits{})
		var h Held
		nxt := wire.Seq(0)
		b.ReportAllocs()
		for b.Loop() {
			a := r.Arrive(&h, nxt, 1<<20, nxt, seg, false)
			nxt += wire.Seq(a.Len)
		}
	})
	b.Run("case=inline", func(b *testing.B) {
		var h Held
		nxt, taken := wire.Seq(0), 0
		b.ReportAllocs()
		for b.Loop() {
			if h.Next(nxt, 1<<20, nxt, uint32(len(seg))) {
				nxt += wire.Seq(len(seg))
				taken++
			}
		}
		if taken == 0 {
			b.Fatal("nothing taken")
		}
	})
	// One lost segment in 16: 15 are held, and the 16th fills the hole.
	b.Run("case=hole", func(b *testing.B) {
		r := newReassembler(b, 64, HoldLimits{})
		var h Held
		nxt := wire.Seq(0)
		b.ReportAllocs()
		b.SetBytes(16 * 1448)
		for b.Loop() {
			for i := range 15 {
				r.Arrive(&h, nxt, 1<<20, nxt+wire.Seq(i+1)*1448, seg, false)
			}
			a := r.Arrive(&h, nxt, 1<<20, nxt, seg, false)
			c, _ := r.Take(&h)
			nxt += wire.Seq(a.Len + c.Len)
			r.pool.Release(&c)
		}
	})
	// Every second segment is lost, and comes from the left: 128 spans.
	b.Run("case=holes", func(b *testing.B) {
		r := newReassembler(b, 512, HoldLimits{Spare: 1})
		var h Held
		nxt := wire.Seq(0)
		b.ReportAllocs()
		b.SetBytes(256 * 1448)
		for b.Loop() {
			for i := range 128 {
				r.Arrive(&h, nxt, 1<<20, nxt+wire.Seq(2*i+1)*1448, seg, false)
			}
			for range 128 {
				a := r.Arrive(&h, nxt, 1<<20, nxt, seg, false)
				c, _ := r.Take(&h)
				nxt += wire.Seq(a.Len + c.Len)
				r.pool.Release(&c)
			}
		}
	})
}
