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
	for _, k := range kernels() {
		for _, v6 := range []bool{false, true} {
			for _, n := range []int{1, 16, 64} {
				b.Run(fmt.Sprintf("impl=%v/v6=%v/batch=%d", k, v6, n), func(b *testing.B) {
					h := &Hasher{prf: newPRFOn(testKey, k)}
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
}

// BenchmarkSipHash is one hash of a 16-byte message, as the kernel's cookie takes two of.
func BenchmarkSipHash(b *testing.B) {
	k := newSipKey(&testKey)
	var h uint64
	for b.Loop() {
		h = k.sum2(h, 1)
	}
}

func BenchmarkSumOne(b *testing.B) {
	for _, k := range kernels() {
		b.Run(fmt.Sprintf("impl=%v", k), func(b *testing.B) {
			h := &Hasher{prf: newPRFOn(testKey, k)}
			t := tupleN(1, false)
			b.ReportAllocs()
			for b.Loop() {
				t.RemotePort ^= uint16(h.SumOne(&t).Hash) // each waits for the one before
			}
		})
	}
}

// BenchmarkMint and BenchmarkVerify hold the yardstick as well: the kernel's cookies, with
// SipHash-2-4 in Go, one at a time, from the same fields (impl=siphash).
func BenchmarkMint(b *testing.B) {
	for _, ts := range []bool{false, true} {
		in := benchInputs(64, ts)
		linux := make([]LinuxInput, 64)
		for i := range linux {
			linux[i] = LinuxInput{
				Tuple: tupleN(uint32(i), false), IRS: in[i].IRS, TSNow: in[i].TSNow,
				TSOff: in[i].Sum.TSOff, MSS: in[i].MSS, WScale: in[i].WScale, Opts: in[i].Opts,
			}
		}
		b.Run(fmt.Sprintf("impl=siphash/ts=%v/batch=64", ts), func(b *testing.B) {
			l, dst := testLinux(), make([]Minted, 64)
			b.ReportAllocs()
			for b.Loop() {
				for i := range linux {
					l.Mint(dst[i:i+1], linux[i:i+1], 1000)
				}
			}
			perItem(b, 64, "cookie")
		})
		for _, k := range kernels() {
			for _, n := range []int{1, 16, 64} {
				b.Run(fmt.Sprintf("impl=%v/ts=%v/batch=%d", k, ts, n), func(b *testing.B) {
					onKernel(k, func() {
						keys, dst := testRing(b, 0).Load(), make([]Minted, n)
						b.ReportAllocs()
						for b.Loop() {
							keys.Mint(dst, in[:n])
						}
						perItem(b, n, "cookie")
					})
				})
			}
		}
	}
}

// BenchmarkVerify: good are honest ACKs of this epoch; bad are forged, with both parities.
func BenchmarkVerify(b *testing.B) {
	for _, ts := range []bool{false, true} {
		for _, good := range []bool{true, false} {
			in := benchInputs(64, ts)
			forge := func(i int, ack uint32) uint32 {
				if good {
					return ack
				}
				return ack ^ uint32(i)*0x9e3779b9 ^ 0x10000
			}
			linux, l := make([]LinuxAck, 64), testLinux()
			for i := range linux {
				syn := LinuxInput{Tuple: tupleN(uint32(i), false), IRS: in[i].IRS, TSNow: in[i].TSNow, TSOff: in[i].Sum.TSOff, MSS: 1460, WScale: 7, Opts: in[i].Opts}
				m := linuxMint(l, syn, 1000)
				linux[i] = LinuxAck{Tuple: syn.Tuple, Seq: syn.IRS + 1, Ack: forge(i, m.ISS+1), TSEcr: m.TSVal, TSNow: syn.TSNow + 40, TSOff: syn.TSOff, HasTS: ts}
			}
			b.Run(fmt.Sprintf("impl=siphash/ts=%v/good=%v/batch=64", ts, good), func(b *testing.B) {
				dst := make([]Result, 64)
				b.ReportAllocs()
				for b.Loop() {
					for i := range linux {
						l.Verify(dst[i:i+1], linux[i:i+1], 1001)
					}
				}
				perItem(b, 64, "ack")
			})
			for _, k := range kernels() {
				for _, n := range []int{1, 16, 64} {
					b.Run(fmt.Sprintf("impl=%v/ts=%v/good=%v/batch=%d", k, ts, good, n), func(b *testing.B) {
						onKernel(k, func() {
							keys, minted := testRing(b, 0).Load(), make([]Minted, n)
							keys.Mint(minted, in[:n])
							ack, dst := make([]VerifyInput, n), make([]Result, n)
							for i := range ack {
								ack[i] = ackFor(&in[i], &minted[i], 40)
								ack[i].Ack = forge(i, ack[i].Ack)
							}
							b.ReportAllocs()
							for b.Loop() {
								keys.Verify(dst, ack)
							}
							perItem(b, n, "ack")
						})
					})
				}
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
