package flow

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// The examples of RFC 2018 §4 and RFC 2883 §4 in bytes instead of segments of 500:
// letters are sequence numbers, the flow expects "a" of letters.
func TestDAT_002_SACKBlocks(t *testing.T) {
	for _, c := range []struct {
		name string
		segs []string
		want string // the option in the answer to the last segment
		room int    // 4 if 0
	}{
		{name: "RFC 2018 case 1: the first four of eight arrive", segs: []string{"a aabbccdd"}, want: ""},
		{name: "RFC 2018 case 2: the first is lost", segs: []string{"b b", "c c", "d d", "e e"}, want: "b-f"},
		{name: "RFC 2018 case 3: every second is lost", segs: []string{"b b", "d d", "f f", "h h"}, want: "h-i f-g d-e b-c"},
		{name: "RFC 2018 case 3: and then the fourth arrives", segs: []string{"b b", "d d", "f f", "h h", "c c"}, want: "b-e h-i f-g"},
		{name: "RFC 2018 case 3: and then the second", segs: []string{"b b", "d d", "f f", "h h", "c c", "a a"}, want: "h-i f-g"},
		{name: "three blocks beside timestamps", segs: []string{"b b", "d d", "f f", "h h"}, room: 3, want: "h-i f-g d-e"},
		{name: "four blocks of five", segs: []string{"b b", "d d", "f f", "h h", "j j"}, want: "j-k h-i f-g d-e"},
		{name: "a span that grows comes first", segs: []string{"b b", "d d", "f f", "g g", "e e"}, want: "d-h b-c"},
		{name: "what was forgotten is told where there is room again", segs: []string{"b b", "d d", "f f", "h h", "j j", "i i"}, want: "h-k f-g d-e b-c"},
		{name: "room is left by a merge", segs: []string{"b b", "d d", "f f", "h h", "j j", "k kl", "c c"}, want: "b-e j-m h-i f-g"},

		{name: "RFC 2883 §4.1.1 a duplicate segment", segs: []string{"a abcd", "a ab"}, want: "a-c"},
		{name: "RFC 2883 §4.1.2 with text behind a hole", segs: []string{"a ab", "d de", "a ab"}, want: "a-c d-f"},
		{name: "RFC 2883 §4.1.3 a duplicate of what is held", segs: []string{"c cdef", "d de"}, want: "d-f c-g"},
		{name: "RFC 2883 §4.2.1 a part below the acknowledgement", segs: []string{"a ab", "d d", "a abc"}, want: "a-c"},
		{name: "RFC 2883 §4.2.2 a part of two spans", segs: []string{"b bc", "e ef", "b bcdef"}, want: "b-d b-g"},
		{name: "a duplicate leaves room for two others", segs: []string{"b b", "d d", "f f", "h h", "d d"}, room: 3, want: "d-e d-e h-i"},
		{name: "a duplicate FIN", segs: []string{"c cd.", "e ."}, want: "e-f c-f"},
	} {
		t.Run("DAT-002 "+c.name, func(t *testing.T) {
			m := newRxModel(t, newReassembler(t, 16, HoldLimits{}), ^wire.Seq(0)-12, true)
			m.segment(0, []byte(letters[:10]), false, 10)
			var a Arrival
			for _, s := range c.segs {
				a = m.script(s, 40)
			}
			room := c.room
			if room == 0 {
				room = 4
			}
			require.Equal(t, c.want, m.toldIn(m.h, a.Dup, room))
			m.end()
		})
	}
}

// What SACK makes is what the encoder takes, and a reader finds.
func TestDAT_002_SACKOption(t *testing.T) {
	r := newReassembler(t, 16, HoldLimits{})
	var h Held
	for _, at := range []wire.Seq{20, 40, 60, 80} {
		require.Equal(t, Ahead, r.Arrive(&h, 10, 1000, at, []byte("text"), false).Fate)
	}
	a := r.Arrive(&h, 10, 1000, 5, []byte("text"), false)
	require.Equal(t, Duplicate, a.Fate)
	for room, want := range map[int][]wire.SACKBlock{
		3: {{Left: 5, Right: 9}, {Left: 80, Right: 84}, {Left: 60, Right: 64}},
		4: {{Left: 5, Right: 9}, {Left: 80, Right: 84}, {Left: 60, Right: 64}, {Left: 40, Right: 44}},
	} {
		var dst, back [4]wire.SACKBlock
		n := r.SACK(h, a.Dup, &dst, room)
		var opt [wire.MaxOptionsLen]byte
		size := wire.PutSACK(opt[:], dst[:n], len(opt))
		require.Equal(t, 4+8*room, size)
		require.Equal(t, want, back[:wire.SACKBlocks(opt[:size], &back)])
	}
	r.Release(&h)
}

func BenchmarkSACK(b *testing.B) {
	r := newReassembler(b, 64, HoldLimits{})
	var h Held
	for i := range wire.Seq(4) {
		r.Arrive(&h, 0, 1000, 10+20*i, []byte("text"), false)
	}
	var dst [4]wire.SACKBlock
	b.ReportAllocs()
	for b.Loop() {
		r.SACK(h, wire.SACKBlock{}, &dst, 3)
	}
}
