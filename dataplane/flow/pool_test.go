package flow

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/hugepages"
)

func newPool(t testing.TB, n int) *Pool {
	t.Helper()
	p, err := NewPool(n, hugepages.Options{NoTHP: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Free()) })
	return p
}

func TestPoolCounts(t *testing.T) {
	p := newPool(t, 3)
	require.Equal(t, []int{3, 0, 3, 0}, []int{p.Blocks(), p.InUse(), p.Left(), p.HighMark()})
	var b [3]Block
	for i := range b {
		var ok bool
		b[i], ok = p.Get()
		require.True(t, ok)
		require.NotZero(t, b[i])
		require.Len(t, p.Bytes(b[i]), BlockSize)
		require.Equal(t, BlockSize, cap(p.Bytes(b[i])), "a block must not reach into the next")
		copy(p.Bytes(b[i]), bytes.Repeat([]byte{byte(i + 1)}, BlockSize))
	}
	_, ok := p.Get()
	require.False(t, ok)
	require.Equal(t, uint64(1), p.Refused())
	for i := range b {
		require.Equal(t, bytes.Repeat([]byte{byte(i + 1)}, BlockSize), p.Bytes(b[i]), "blocks do not overlap")
	}
	require.Equal(t, []int{3, 0, 3}, []int{p.InUse(), p.Left(), p.HighMark()})

	p.SetText(b[1], 5, 7)
	p.SetNext(b[1], b[2])
	require.Equal(t, bytes.Repeat([]byte{2}, 7), p.Text(b[1]))
	require.Equal(t, b[2], p.Next(b[1]))
	require.Panics(t, func() { p.SetText(b[1], 1, BlockSize) }, "text ends in its block")

	p.Put(b[1])
	require.Equal(t, []int{2, 1, 3}, []int{p.InUse(), p.Left(), p.HighMark()})
	again, ok := p.Get()
	require.True(t, ok)
	require.Equal(t, b[1], again, "the block returned last is still in cache")
	require.Empty(t, p.Text(again))
	require.Zero(t, p.Next(again))
	for _, b := range b {
		p.Put(b)
	}
	require.Equal(t, []int{0, 3, 3}, []int{p.InUse(), p.Left(), p.HighMark()})
	require.Contains(t, p.Memory(), "KiB")
	require.NoError(t, p.Populate())
}

func TestPoolNoticesDoubleFree(t *testing.T) {
	p := newPool(t, 4)
	a, _ := p.Get()
	b, _ := p.Get()
	p.Put(a)
	require.PanicsWithValue(t, "flow: entry 1 is freed twice, or was never taken", func() { p.Put(a) })
	p.Put(b)
	require.Panics(t, func() { p.Put(a) }, "a is no longer the head of the list")
	require.Panics(t, func() { p.Put(4) }, "never handed out")
	require.Panics(t, func() { p.Put(0) }, "no block")
	require.Panics(t, func() { p.Put(5) }, "beyond the pool")
	require.Equal(t, 0, p.InUse())
}

func TestPoolPoisonsInRaceBuilds(t *testing.T) {
	if !raceBuild {
		t.Skip("only race builds poison: go test -race")
	}
	p := newPool(t, 1)
	b, _ := p.Get()
	lent := p.Bytes(b)
	p.Put(b)
	require.Equal(t, bytes.Repeat([]byte{0xdb}, BlockSize), lent)
}

func TestPoolRefusesSizes(t *testing.T) {
	for _, n := range []int{-1, 0, MaxBlocks + 1} {
		_, err := NewPool(n, hugepages.Options{})
		require.ErrorContains(t, err, "1 to 536870912 are possible")
	}
}

// text returns all text of c.
func text(p *Pool, c Chain) []byte {
	out := []byte{}
	for b := c.First; b != 0; b = p.Next(b) {
		out = append(out, p.Text(b)...)
	}
	return out
}

// checkChain checks what holds for any chain.
func checkChain(t testing.TB, p *Pool, c Chain) {
	t.Helper()
	n, blocks, last := 0, 0, Block(0)
	for b := c.First; b != 0; b = p.Next(b) {
		require.NotEmpty(t, p.Text(b))
		n += len(p.Text(b))
		blocks++
		last = b
	}
	require.Equal(t, Chain{First: c.First, Last: last, Len: uint32(n), Blocks: uint32(blocks)}, c)
}

// Two chains under random calls against two slices of bytes.
func TestChainsAgainstSlices(t *testing.T) {
	const blocks = 8
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		p := newPool(t, blocks)
		var c [2]Chain
		var model [2][]byte
		for range 60 {
			k := rnd.IntN(2)
			switch rnd.IntN(4) {
			case 0, 1:
				in := make([]byte, rnd.IntN(3*BlockSize))
				for i := range in {
					in[i] = byte(rnd.Uint32())
				}
				keep, left := rnd.IntN(3), p.Left()
				n := p.Append(&c[k], in, keep)
				model[k] = append(model[k], in[:n]...)
				if n < len(in) {
					require.LessOrEqual(t, p.Left(), keep, "blocks were left")
				}
				require.GreaterOrEqual(t, p.Left(), min(keep, left), "it took of what it was to keep")
			case 2:
				n := min(rnd.IntN(2*BlockSize), len(model[k])+rnd.IntN(2))
				p.Drop(&c[k], uint32(n))
				model[k] = model[k][min(n, len(model[k])):]
			case 3:
				if rnd.IntN(4) == 0 {
					p.Concat(&c[k], &c[1-k])
					model[k], model[1-k] = append(model[k], model[1-k]...), nil
				}
			}
			require.Equal(t, int(c[0].Blocks+c[1].Blocks), p.InUse())
			for k := range c {
				checkChain(t, p, c[k])
				require.True(t, bytes.Equal(model[k], text(p, c[k])), "seed %d", seed)
			}
		}
		for k := range c {
			p.Release(&c[k])
			require.Equal(t, Chain{}, c[k])
		}
		require.Equal(t, 0, p.InUse())
		require.Zero(t, p.Refused(), "Append knows what is left")
	}
}

func TestChainsDoNotAllocate(t *testing.T) {
	p := newPool(t, 8)
	in := make([]byte, 3000)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		var c, d Chain
		p.Append(&c, in, 0)
		p.Append(&d, in, 0)
		p.Concat(&c, &d)
		p.Drop(&c, 2500)
		p.Release(&c)
	}))
	require.Equal(t, 0, p.InUse())
}

func BenchmarkPoolGetPut(b *testing.B) {
	p := newPool(b, 64)
	b.ReportAllocs()
	for b.Loop() {
		x, _ := p.Get()
		p.Put(x)
	}
}
