package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// A chunkList against a buffer of the standard library, and its pool against a count.
func TestChunkList_IsABuffer(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			pool := chunkPool{limit: 8}
			var l chunkList
			var want bytes.Buffer
			text := randomText(3 * chunkSize)
			full := 0
			for range 2000 {
				switch r.IntN(3) {
				case 0:
					p := text[:r.IntN(len(text))]
					if !l.add(&pool, p) {
						// What did not fit means the end of its flow.
						full++
						require.Equal(t, pool.limit, pool.used)
						l.clear(&pool)
						want.Reset()
						require.Zero(t, pool.used)
						continue
					}
					want.Write(p)
				default:
					p := l.front()
					require.Equal(t, want.Len() > 0, len(p) > 0)
					if len(p) == 0 {
						continue
					}
					n := r.IntN(len(p) + 1)
					require.True(t, bytes.Equal(want.Next(n), p[:n]))
					l.drop(&pool, n)
				}
				require.LessOrEqual(t, pool.used, want.Len()/chunkSize+2)
			}
			for len(l.front()) > 0 {
				p := l.front()
				require.True(t, bytes.Equal(want.Next(len(p)), p))
				l.drop(&pool, len(p))
			}
			require.Zero(t, want.Len())
			require.Zero(t, pool.used)
			require.NotZero(t, full)
			require.LessOrEqual(t, pool.made, pool.limit)
		})
	}
}

// What one goroutine adds another takes, all of it, in order and once.
func TestHandover_BetweenGoroutines(t *testing.T) {
	const total = 4 << 20
	text := randomText(total)
	var there, back handover
	kick := make(chan struct{}, 1)
	got := make(chan []byte, 1)
	go func() {
		var b []byte
		for len(b) < total {
			first := there.take()
			if first == nil {
				<-kick
				continue
			}
			last := first
			for c := first; c != nil; c = c.next {
				b = append(b, c.text[c.from:c.to]...)
				last = c
			}
			back.push(first, last)
		}
		got <- b
	}()
	pool := chunkPool{limit: total/chunkSize + 1}
	collect := func() {
		for c := back.take(); c != nil; {
			next := c.next
			pool.put(c)
			c = next
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for rest := text; len(rest) > 0; {
		n := min(1+r.IntN(3000), len(rest))
		require.True(t, there.add(&pool, rest[:n]))
		rest = rest[n:]
		wake(kick)
		collect()
	}
	require.True(t, bytes.Equal(text, <-got))
	collect()
	require.Zero(t, pool.used)
}
