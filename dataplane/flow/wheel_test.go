package flow

import (
	"math/rand/v2"
	"testing"
)

type timed struct {
	_     [100]byte
	timer link
	_     [16]byte
}

func newTimedWheel(n int, now uint32) *wheel {
	return newWheel(linksIn(make([]timed, n+1), func(r *timed) *link { return &r.timer }), now)
}

func TestWheelSmoke(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		now := rng.Uint32()
		w := newTimedWheel(500, now)
		model := map[uint32]uint32{}
		for range 2000 {
			i := rng.Uint32N(500) + 1
			switch rng.IntN(4) {
			case 0, 1:
				at := now + rng.Uint32()>>(1+rng.IntN(31))
				if rng.IntN(10) == 0 {
					at = now - rng.Uint32N(1000)
				}
				w.arm(i, at)
				model[i] = at
			case 2:
				w.disarm(i)
				delete(model, i)
			case 3:
				now += rng.Uint32() >> (1 + rng.IntN(31))
				for {
					i, ok := w.due(now)
					if !ok {
						if in, any := w.next(now); any && in == 0 {
							continue
						}
						break
					}
					at, in := model[i]
					if !in || int32(now-at) < 0 {
						t.Fatalf("flow %d at %d, now %d", i, at, now)
					}
					delete(model, i)
				}
				for i, at := range model {
					if int32(now-at) >= 0 {
						t.Fatalf("flow %d at %d not due at %d", i, at, now)
					}
				}
			}
			if int(w.count) != len(model) {
				t.Fatal(w.count, len(model))
			}
			in, ok := w.next(now)
			if ok != (len(model) != 0) {
				t.Fatal("next")
			}
			for _, at := range model {
				if d := int32(at - now); ok && int32(in) > max(d, 0) {
					t.Fatal("next late", in, d)
				}
			}
		}
	}
}
