package flow

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/hugepages"
)

func testSendPool(tb testing.TB, blocks, statics int) *sendPool {
	tb.Helper()
	pool, err := NewPool(blocks, hugepages.Options{})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, pool.Free()) })
	return newSendPool(pool, statics)
}

// text returns n bytes that look different at each position.
func patterned(n int, from uint32) []byte {
	b := make([]byte, n)
	for i := range b {
		x := (from + uint32(i)) * 2654435761
		b[i] = byte(x >> 24)
	}
	return b
}

func TestSendBuffer(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(sendbuf{}), uintptr(32))
	p := testSendPool(t, 4, 1)
	b := sendbuf{una: 1<<32 - 1000}
	text := patterned(5*BlockSize, 0)
	require.Equal(t, 100, p.append(&b, text[:100], 4, 0))
	require.Equal(t, 100, p.append(&b, text[100:200], 4, 0))
	require.EqualValues(t, 1, b.blocks, "small writes share a block")
	require.Equal(t, 2*BlockSize-200, p.append(&b, text[200:], 2, 0), "the limit of the flow")
	require.Equal(t, BlockSize, p.append(&b, text[2*BlockSize:], 9, 1), "what the pool keeps for others")
	require.EqualValues(t, 3*BlockSize, b.size)

	h, tl := p.slices(&b, b.una+BlockSize-10, 30)
	require.Equal(t, text[BlockSize-10:BlockSize], h)
	require.Equal(t, text[BlockSize:BlockSize+20], tl)
	h, tl = p.slices(&b, b.una+10, 3*BlockSize)
	require.Equal(t, BlockSize-10+BlockSize, len(h)+len(tl), "no more than two pieces")
	dst := make([]byte, 4*BlockSize)
	require.Equal(t, 3*BlockSize-10, p.copyOut(&b, b.una+10, dst))
	require.Equal(t, text[10:3*BlockSize], dst[:3*BlockSize-10])
	h, tl = p.slices(&b, b.end(), 1)
	require.Empty(t, h)
	require.Empty(t, tl)
	h, _ = p.slices(&b, b.una-1, 1)
	require.Empty(t, h)

	p.release(&b, b.una-1) // an old ACK
	p.release(&b, b.end()+1)
	require.EqualValues(t, 3*BlockSize, b.size)
	p.release(&b, b.una+BlockSize+5)
	require.EqualValues(t, 2, b.blocks)
	require.Equal(t, 2, p.pool.InUse())
	h, _ = p.slices(&b, b.una, 3)
	require.Equal(t, text[BlockSize+5:BlockSize+8], h)
	p.release(&b, b.end())
	require.Equal(t, sendbuf{una: 1<<32 - 1000 + 3*BlockSize - 1<<32, curSeq: b.curSeq}, b)
	require.Zero(t, p.pool.InUse())
}

func TestStaticTextIsNotCopied(t *testing.T) {
	p := testSendPool(t, 4, 2)
	b := sendbuf{una: 7}
	page := patterned(100_000, 1)
	require.Equal(t, 10, p.append(&b, patterned(10, 99), 4, 0))
	require.True(t, p.appendStatic(&b, page))
	require.True(t, p.appendStatic(&b, nil))
	require.Equal(t, 20, p.append(&b, patterned(20, 77), 4, 0))
	h, tl := p.slices(&b, 7, 1460)
	require.Equal(t, patterned(10, 99), h)
	require.Same(t, &page[0], &tl[0])
	h, tl = p.slices(&b, 17+50_000, 1460)
	require.Same(t, &page[50_000], &h[0])
	require.Len(t, h, 1460)
	require.Equal(t, 1460, cap(h), "nobody appends into the page")
	require.Empty(t, tl)
	require.True(t, p.appendStatic(&b, page[:1]))
	require.False(t, p.appendStatic(&b, page), "the table is full")
	p.release(&b, 17+60_000)
	h, _ = p.slices(&b, b.una, 1)
	require.Same(t, &page[60_000], &h[0])
	p.clear(&b)
	require.Zero(t, b.size)
	require.Zero(t, p.free.used)
	require.Zero(t, p.pool.InUse())
	for i := range p.static {
		require.Nil(t, p.static[i].text, "the collector gets it back")
	}
	full := sendbuf{size: maxSend - 1}
	require.False(t, p.appendStatic(&full, page[:2]), "more than a flow holds")
}

// The buffer against a plain slice.
func FuzzSendBuffer(f *testing.F) {
	f.Add(uint64(1), []byte("aAbrBcsCCdtDreEurFr"))
	f.Add(uint64(2), []byte("\x00\x41\x82\xc3\x04\x45\x86\xc7\x08\x49\x8a\xcb"))
	f.Fuzz(func(t *testing.T, seed uint64, script []byte) {
		rng := rand.New(rand.NewPCG(seed, 1))
		p := testSendPool(t, 8, 3)
		b := sendbuf{una: wire.Seq(rng.Uint32())}
		want := []byte{}
		for _, op := range script {
			n := rng.IntN(1 << (op & 15 % 14))
			switch op >> 6 {
			case 0:
				text := patterned(n, rng.Uint32())
				got := p.append(&b, text, 6, 1)
				want = append(want, text[:got]...)
				if got < n {
					require.True(t, b.blocks == 6 || p.pool.Left() <= 1)
				}
			case 1:
				text := patterned(n, rng.Uint32())
				if p.appendStatic(&b, text) {
					want = append(want, text...)
				}
			case 2:
				una := b.una + wire.Seq(min(n, len(want)))
				want = want[una-b.una:]
				p.release(&b, una)
				require.Equal(t, una, b.una)
			default:
				at := rng.IntN(len(want) + 1)
				h, tl := p.slices(&b, b.una+wire.Seq(at), uint32(n))
				got := slices.Concat([]byte{}, h, tl)
				require.LessOrEqual(t, len(got), min(n, len(want)-at))
				require.True(t, bytes.Equal(want[at:at+len(got)], got))
				if n > 0 && at < len(want) {
					require.NotEmpty(t, got)
				}
				dst := make([]byte, n)
				k := p.copyOut(&b, b.una+wire.Seq(at), dst)
				require.Equal(t, min(n, len(want)-at), k)
				require.True(t, bytes.Equal(want[at:at+k], dst[:k]))
			}
			require.EqualValues(t, len(want), b.size)
			require.EqualValues(t, b.blocks, p.pool.InUse())
			require.LessOrEqual(t, b.blocks, uint32(6))
		}
		p.clear(&b)
		require.Zero(t, p.pool.InUse())
		require.Zero(t, p.free.used)
	})
}

func TestSendBufferAllocatesNothing(t *testing.T) {
	p := testSendPool(t, 8, 3)
	var b sendbuf
	text, page, frame := patterned(5000, 0), patterned(9000, 3), make([]byte, seg)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		p.append(&b, text, 8, 0)
		p.appendStatic(&b, page)
		for seq := b.una; seq != b.end(); {
			n := p.copyOut(&b, seq, frame)
			h, tl := p.slices(&b, seq, seg)
			if len(h)+len(tl) == 0 || n == 0 {
				t.Fatal("no text")
			}
			seq += wire.Seq(n)
		}
		p.release(&b, b.end())
	}))
}

func BenchmarkSendBuffer(b *testing.B) {
	for _, size := range []int{1024, 64 << 10} {
		b.Run(map[int]string{1024: "copy=1KiB", 64 << 10: "copy=64KiB"}[size], func(b *testing.B) {
			p, frame := testSendPool(b, 64, 3), make([]byte, seg)
			var s sendbuf
			text := patterned(size, 0)
			b.SetBytes(int64(size))
			for b.Loop() {
				p.append(&s, text, 64, 0)
				for seq := s.una; seq != s.end(); {
					seq += wire.Seq(p.copyOut(&s, seq, frame))
				}
				p.release(&s, s.end())
			}
		})
	}
	b.Run("static=64KiB", func(b *testing.B) {
		p := testSendPool(b, 64, 3)
		var s sendbuf
		text := patterned(64<<10, 0)
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			p.appendStatic(&s, text)
			for seq := s.una; seq != s.end(); {
				h, tl := p.slices(&s, seq, seg)
				seq += wire.Seq(len(h) + len(tl))
			}
			p.release(&s, s.end())
		}
	})
}
