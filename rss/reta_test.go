package rss

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRSS_003_RoundRobin(t *testing.T) {
	for _, size := range []int{1, 2, 64, 128, 512, 2048, MaxRETA} {
		for _, queues := range []int{1, 2, 3, 7, 64} {
			if queues > size {
				continue
			}
			r, err := NewRETA(size, queues)
			require.NoError(t, err)
			require.Len(t, r, size)
			require.NoError(t, r.Validate(queues))
			for _, hash := range []uint32{0, 1, 127, 128, 0x7fffffff, 0x80000000, 0xffffffff} {
				require.Equal(t, uint16(int(hash%uint32(size))%queues), r.Queue(hash))
			}
		}
	}
}

func TestNewRETARefuses(t *testing.T) {
	for _, c := range []struct {
		size, queues int
		want         string
	}{
		{0, 1, "power of two"},
		{-128, 1, "power of two"},
		{100, 4, "power of two"},
		{2 * MaxRETA, 4, "power of two"},
		{128, 0, "want 1 to 128 queues"},
		{128, -1, "want 1 to 128 queues"},
		{128, 129, "want 1 to 128 queues"},
	} {
		_, err := NewRETA(c.size, c.queues)
		require.ErrorContains(t, err, c.want, "%d/%d", c.size, c.queues)
		require.ErrorContains(t, err, "rss: ")
	}
}

// Every power of two up to MaxRETA is a table and nothing else is; each spreads
// evenly, reads only the low bits, and its picker deals out every port once.
func TestRSS_003_EverySize(t *testing.T) {
	for size := range 2*MaxRETA + 2 {
		_, err := NewRETA(size, 1)
		require.Equal(t, size >= 1 && size <= MaxRETA && size&(size-1) == 0, err == nil, "size %d", size)
	}
	rnd := rand.New(rand.NewPCG(23, 24))
	for size := 1; size <= MaxRETA; size *= 2 {
		for _, queues := range []int{1, 3, 16, min(size, 61)} {
			if queues > size {
				continue
			}
			r := mustRETA(t, size, queues)
			count := make([]int, queues)
			for h := range uint32(size) {
				q := r.Queue(h)
				count[q]++
				high := rnd.Uint32() &^ uint32(size-1)
				if q != uint16(int(h)%queues) || q != r.Queue(h|high) {
					t.Fatalf("size %d, %d queues: hash %#x to queue %d, %#x to queue %d", size, queues, h, q, h|high, r.Queue(h|high))
				}
			}
			for _, c := range count {
				require.InDelta(t, float64(size)/float64(queues), c, 1)
			}
			rnd.Shuffle(size, func(i, j int) { r[i], r[j] = r[j], r[i] })
			require.NoError(t, r.Validate(queues))
			require.Error(t, r.Validate(queues-1), "a table may not name a queue that is not there")
			p := mustPicker(t, DefaultKey, r, 2000, 2500)
			checkSet(t, p, r, p.Start4(0xc6336402, 0xc0000201, 80), 2000, 2500, 0xc6336402, 0xc0000201)
			checkSet(t, p, r, p.Start6(0x20010db8<<32, 2, 0x20010db8<<32, 1, 80), 2000, 2500,
				0x20010db8<<32, 2, 0x20010db8<<32, 1)
		}
	}
}

func TestRETAValidate(t *testing.T) {
	require.ErrorContains(t, RETA{0, 1, 0}.Validate(2), "power of two")
	require.ErrorContains(t, RETA{0, 2}.Validate(2), "entry 1 is queue 2")
	require.Error(t, RETA(nil).Validate(1))
	require.Zero(t, RETA(nil).Queue(7), "no table: one queue")
}

// Reducing a table to its period loses nothing.
func TestRETAPeriod(t *testing.T) {
	even, _ := NewRETA(128, 4)
	require.Len(t, even.period(), 4)
	odd, _ := NewRETA(128, 3)
	require.Len(t, odd.period(), 128)
	require.Len(t, RETA{5, 5, 5, 5}.period(), 1)
	r := rand.New(rand.NewPCG(7, 8))
	for range 200 {
		reta := make(RETA, 1<<r.IntN(7))
		for i := range reta {
			reta[i] = uint16(r.IntN(2))
		}
		short := reta.period()
		for h := range uint32(256) {
			require.Equal(t, reta.Queue(h), short.Queue(h))
		}
	}
}
