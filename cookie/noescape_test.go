package cookie

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A block whose address was hidden from the compiler must not stay behind when
// the stack moves. Every depth of a fresh, small stack is tried, so that some
// call below Sum is the one that makes it grow; -race and checkptr insert more of them.
func TestHashesSurviveStackGrowth(t *testing.T) {
	h := NewHasher([16]byte{1})
	in := []Tuple{
		{RemoteLo: 0xffff<<32 | 1, LocalLo: 0xffff<<32 | 2, RemotePort: 1, LocalPort: 2},
		{RemoteHi: 1, RemoteLo: 2, LocalHi: 3, LocalLo: 4, RemotePort: 5, LocalPort: 6},
	}
	want := make([]Sum, len(in))
	h.Sum(want, in)
	for depth := range 800 {
		got := make(chan []Sum)
		go atDepth(depth, func() {
			s := make([]Sum, len(in))
			h.Sum(s, in)
			got <- s
		})
		require.Equal(t, want, <-got, "batch at depth %d", depth)
		go atDepth(depth, func() { got <- []Sum{h.SumOne(&in[0]), h.SumOne(&in[1])} })
		require.Equal(t, want, <-got, "single at depth %d", depth)
	}
}

//go:noinline
func atDepth(n int, f func()) byte {
	var frame [64]byte
	frame[n%len(frame)] = byte(n)
	if n == 0 {
		f()
		return frame[0]
	}
	return atDepth(n-1, f) + frame[n%len(frame)]
}
