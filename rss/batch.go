package rss

// Ports packs two host-order ports as the batched hashes take them: the word
// that the four port bytes of a TCP header read as.
func Ports(src, dst uint16) uint32 { return uint32(src)<<16 | uint32(dst) }

// HashBatch4 hashes len(hash) IPv4 TCP tuples as received: hash[i] becomes
// Hash4 of src[i], dst[i] and ports[i] (see Ports). Host-order values. The other
// slices must be at least as long as hash, or it panics; hash may be one of
// them, but must not overlap one in any other way. Any length, no allocation.
//
// The work is done by the fastest variant of this machine; see Implementation.
func (t *Toeplitz) HashBatch4(hash, src, dst, ports []uint32) {
	n := len(hash)
	src, dst, ports = src[:n], dst[:n], ports[:n]
	i := t.batch4(hash, src, dst, ports)
	if t.folds {
		for ; i < n; i++ {
			hash[i] = t.fold(src[i] ^ dst[i] ^ ports[i])
		}
	}
	for ; i < n; i++ {
		hash[i] = t.Hash4(src[i], dst[i], uint16(ports[i]>>16), uint16(ports[i]))
	}
}

// HashBatch6 is HashBatch4 for IPv6: hash[i] becomes Hash6 of the i-th values.
func (t *Toeplitz) HashBatch6(hash []uint32, srcHi, srcLo, dstHi, dstLo []uint64, ports []uint32) {
	n := len(hash)
	srcHi, srcLo, dstHi, dstLo, ports = srcHi[:n], srcLo[:n], dstHi[:n], dstLo[:n], ports[:n]
	i := t.batch6(hash, srcHi, srcLo, dstHi, dstLo, ports)
	if t.folds {
		for ; i < n; i++ {
			x := srcHi[i] ^ srcLo[i] ^ dstHi[i] ^ dstLo[i]
			hash[i] = t.fold(uint32(x) ^ uint32(x>>32) ^ ports[i])
		}
	}
	for ; i < n; i++ {
		hash[i] = t.Hash6(srcHi[i], srcLo[i], dstHi[i], dstLo[i], uint16(ports[i]>>16), uint16(ports[i]))
	}
}

// Implementation names what computes the batched hashes here: "gfni" (AVX-512 with
// VBMI and GFNI), "clmul" (AVX with PCLMULQDQ) or "tables" (Go). The environment
// GODEBUG=cpu.avx512gfni=off,cpu.pclmulqdq=off turns the first two off (Go's runtime,
// which does not know all of these names, remarks on that on standard error). Short
// batches, and keys of period 16, take the tables where these are faster.
func Implementation() string {
	for _, v := range variants {
		if *v.use {
			return v.name
		}
	}
	return "tables"
}

// variant is one way to compute the batched hashes besides the tables, which
// are its specification. In order of preference.
type variant struct {
	name      string
	use       *bool    // tests turn it off and on; supported when the program starts
	supported bool     // by CPU and operating system
	flags     []string // what Linux calls the CPU features in /proc/cpuinfo
}
