//go:build !amd64 || purego

package cookie

// available reports whether CPU and operating system let k run.
func available(k kernel) bool { return k == kernelGeneric }

// encrypt replaces each block of b by its AES.
func (c *cipherKey) encrypt(b []block) { c.encryptGeneric(b) }

// encryptOne returns AES of the block lo|hi.
func (c *cipherKey) encryptOne(lo, hi uint64) (outLo, outHi uint64) {
	return c.encryptOneGeneric(lo, hi)
}

// sumWide, mintWide and verifyWide do nothing: there are no wider kernels here.
func (c *cipherKey) sumWide([]Sum, []Tuple) bool { return false }

func (c *cipherKey) mintWide([]Minted, []Input, uint32) bool { return false }

func (c *cipherKey) verifyWide(*cipherKey, []Result, []VerifyInput, uint32, uint32) bool {
	return false
}
