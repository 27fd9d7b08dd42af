//go:build !amd64 || purego

package rss

var variants []variant

// simd is what the assembly needs of a key: there is none.
type simd struct{}

func (*simd) init(*Key, *[input6][256]uint32) {}

func (*Toeplitz) batch4(_, _, _, _ []uint32) int { return 0 }

func (*Toeplitz) batch6(_ []uint32, _, _, _, _ []uint64, _ []uint32) int { return 0 }
