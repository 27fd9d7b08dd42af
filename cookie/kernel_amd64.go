//go:build !purego

package cookie

import "golang.org/x/sys/cpu"

//go:noescape
func encryptVAES512(rk *roundKeys, b *block, n int)

//go:noescape
func encryptVAES256(rk *roundKeys, b *block, n int)

//go:noescape
func encryptAESNI(rk *roundKeys, b *block, n int)

//go:noescape
func encryptOneAESNI(rk *roundKeys, lo, hi uint64) (outLo, outHi uint64)

// sumVAES512 is Hasher.Sum for n tuples, a multiple of 16.
//
//go:noescape
func sumVAES512(rk *roundKeys, dst *Sum, in *Tuple, n int)

// mintVAES512 is Keys.Mint for n SYNs, a multiple of 16.
//
//go:noescape
func mintVAES512(rk *roundKeys, dst *Minted, in *Input, n int, parity uint32)

// verifyVAES512 is Keys.Verify for n ACKs, a multiple of 16.
//
//go:noescape
func verifyVAES512(even, odd *roundKeys, dst *Result, in *VerifyInput, n int, maxAge, skew uint32)

func cpuidLeaf7ECX() (ecx uint32)

// available reports whether CPU and operating system let k run.
func available(k kernel) bool {
	const vaes = 1 << 9
	x := &cpu.X86
	switch k {
	case kernelGeneric:
		return true
	case kernelAESNI:
		return x.HasAES
	case kernelVAES256: // x/sys/cpu looks at VAES only where there is AVX-512
		return x.HasAES && x.HasAVX2 && cpuidLeaf7ECX()&vaes != 0
	case kernelVAES512:
		return x.HasAES && x.HasAVX512F && x.HasAVX512VL && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VAES
	}
	return false
}

// encrypt replaces each block of b by its AES.
func (c *cipherKey) encrypt(b []block) {
	if len(b) == 0 {
		return
	}
	k := c.kernel
	if k > kernelAESNI && len(b) < few {
		k = kernelAESNI // masks and wide loads of what was just written cost more
	}
	switch k {
	case kernelVAES512:
		encryptVAES512(&c.rk, &b[0], len(b))
	case kernelVAES256:
		encryptVAES256(&c.rk, &b[0], len(b))
	case kernelAESNI:
		encryptAESNI(&c.rk, &b[0], len(b))
	default:
		c.encryptGeneric(b)
	}
}

// encryptOne returns AES of the block lo|hi.
func (c *cipherKey) encryptOne(lo, hi uint64) (outLo, outHi uint64) {
	if c.kernel == kernelGeneric {
		return c.encryptOneGeneric(lo, hi)
	}
	return encryptOneAESNI(&c.rk, lo, hi)
}

// wide is how many lanes one pass of the 512-bit kernels takes. What is left of a
// longer batch is done by a last pass that overlaps the one before: dst and in are
// apart, so doing a lane twice changes nothing.
const wide = 16

// sumWide does all of a batch if it is long enough for the kernel of c.
func (c *cipherKey) sumWide(dst []Sum, in []Tuple) bool {
	n := len(in)
	if c.kernel != kernelVAES512 || n < wide || len(dst) != n {
		return false
	}
	sumVAES512(&c.rk, &dst[0], &in[0], n&^(wide-1))
	if n%wide != 0 {
		sumVAES512(&c.rk, &dst[n-wide], &in[n-wide], wide)
	}
	return true
}

// mintWide does all of a batch if it is long enough for the kernel of c.
func (c *cipherKey) mintWide(dst []Minted, in []Input, parity uint32) bool {
	n := len(in)
	if c.kernel != kernelVAES512 || n < wide || len(dst) != n {
		return false
	}
	mintVAES512(&c.rk, &dst[0], &in[0], n&^(wide-1), parity)
	if n%wide != 0 {
		mintVAES512(&c.rk, &dst[n-wide], &in[n-wide], wide, parity)
	}
	return true
}

// verifyWide does all of a batch if it is long enough for the kernel of c and odd.
func (c *cipherKey) verifyWide(odd *cipherKey, dst []Result, in []VerifyInput, maxAge, skew uint32) bool {
	n := len(in)
	if c.kernel != kernelVAES512 || odd.kernel != kernelVAES512 || n < wide || len(dst) != n {
		return false
	}
	verifyVAES512(&c.rk, &odd.rk, &dst[0], &in[0], n&^(wide-1), maxAge, skew)
	if n%wide != 0 {
		verifyVAES512(&c.rk, &odd.rk, &dst[n-wide], &in[n-wide], wide, maxAge, skew)
	}
	return true
}
