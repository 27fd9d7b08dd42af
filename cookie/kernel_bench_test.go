package cookie

import (
	"fmt"
	"testing"
)

// onKernel runs f with keys made for k.
func onKernel(k kernel, f func()) {
	best := bestKernel
	defer func() { bestKernel = best }()
	bestKernel = k
	f()
}

func BenchmarkEncrypt(b *testing.B) {
	for _, k := range kernels() {
		for _, n := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("impl=%v/batch=%d", k, n), func(b *testing.B) {
				c, blocks := newPRFOn(testKey, k)(), make([]block, n)
				b.ReportAllocs()
				for b.Loop() {
					c.encrypt(blocks)
				}
				perItem(b, n, "block")
			})
		}
	}
}
