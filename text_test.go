package fastsyn

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// A text is a queue of bytes, however it is filled, moved and emptied.
func TestTextModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var a, b text
	var wantA, wantB []byte
	next := byte(0)
	for range 20000 {
		switch rng.IntN(5) {
		case 0, 1:
			p := make([]byte, rng.IntN(3*blockText)>>rng.IntN(12))
			for i := range p {
				p[i] = next
				next++
			}
			a.add(p)
			wantA = append(wantA, p...)
		case 2:
			b.take(&a)
			wantB, wantA = append(wantB, wantA...), nil
			require.Zero(t, a)
		case 3:
			p := make([]byte, rng.IntN(3*blockText)>>rng.IntN(12))
			n := b.read(p)
			require.Equal(t, min(len(p), len(wantB)), n)
			require.True(t, bytes.Equal(wantB[:n], p[:n]))
			wantB = wantB[n:]
		case 4:
			p := b.front()
			require.True(t, bytes.HasPrefix(wantB, p))
			if len(wantB) > 0 {
				require.NotEmpty(t, p)
				n := 1 + rng.IntN(len(p))
				b.drop(n)
				wantB = wantB[n:]
			}
		}
		require.Equal(t, len(wantA), a.n)
		require.Equal(t, len(wantB), b.n)
	}
	a.free()
	require.Zero(t, a)
}

// Small pieces share a block, and blocks come back: a warm queue allocates nothing.
func TestTextZeroAllocs(t *testing.T) {
	var q text
	p := make([]byte, 100)
	for range 20 {
		q.add(p)
	}
	require.Equal(t, q.head, q.tail, "2,000 bytes in one block")
	q.free()
	if raceEnabled {
		t.Skip("the race detector has sync.Pool drop things at random")
	}
	large := make([]byte, 3*blockText)
	got := testing.AllocsPerRun(1000, func() {
		q.add(large)
		for q.n > 0 {
			q.read(p)
		}
	})
	require.Zero(t, got)
}
