package cookie

import (
	"fmt"
	"testing"
)

// perItem reports the cost of one element of the batch beside that of the call.
func perItem(b *testing.B, n int, what string) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/"+what)
}

func BenchmarkSum(b *testing.B) {
	h := NewHasher(testKey)
	for _, v6 := range []bool{false, true} {
		for _, n := range []int{1, 64} {
			b.Run(fmt.Sprintf("v6=%v/batch=%d", v6, n), func(b *testing.B) {
				in, dst := make([]Tuple, n), make([]Sum, n)
				for i := range in {
					in[i] = tupleN(uint32(i), v6)
				}
				b.ReportAllocs()
				for b.Loop() {
					h.Sum(dst, in)
				}
				perItem(b, n, "tuple")
			})
		}
	}
}

func BenchmarkMint(b *testing.B) {
	keys := testRing(b, 0).Load()
	for _, ts := range []bool{false, true} {
		for _, n := range []int{1, 64} {
			b.Run(fmt.Sprintf("ts=%v/batch=%d", ts, n), func(b *testing.B) {
				in, dst := benchInputs(n, ts), make([]Minted, n)
				b.ReportAllocs()
				for b.Loop() {
					keys.Mint(dst, in)
				}
				perItem(b, n, "cookie")
			})
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	keys := testRing(b, 0).Load()
	for _, ts := range []bool{false, true} {
		for _, good := range []bool{true, false} {
			for _, n := range []int{1, 64} {
				b.Run(fmt.Sprintf("ts=%v/good=%v/batch=%d", ts, good, n), func(b *testing.B) {
					in, minted := benchInputs(n, ts), make([]Minted, n)
					keys.Mint(minted, in)
					ack, dst := make([]VerifyInput, n), make([]Result, n)
					for i := range ack {
						ack[i] = ackFor(&in[i], &minted[i], 40)
						if !good {
							ack[i].Ack ^= 0x10000
						}
					}
					b.ReportAllocs()
					for b.Loop() {
						keys.Verify(dst, ack)
					}
					perItem(b, n, "ack")
				})
			}
		}
	}
}

func benchInputs(n int, ts bool) []Input {
	h, in := NewHasher(testKey), make([]Input, n)
	for i := range in {
		t := tupleN(uint32(i), false)
		in[i] = Input{Sum: h.SumOne(&t), IRS: uint32(i) * 0x9e3779b9, TSNow: 1e6, MSS: 1460, WScale: 7, Opts: HasWScale | SACK}
		if ts {
			in[i].Opts |= TS
		}
	}
	return in
}
