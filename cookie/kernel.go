package cookie

import "crypto/aes"

// kernel is an implementation of AES-128 over batches. All give equal results; the
// generic one, on crypto/aes, is the specification.
type kernel uint8

// The kernels, slowest first. A key is made for one of them and stays with it.
const (
	kernelGeneric kernel = iota
	kernelAESNI          // 128-bit registers, eight blocks interleaved
	kernelVAES256        // 256-bit registers
	kernelVAES512        // 512-bit registers; Sum, Mint and Verify in one pass from 16 lanes on
	numKernels
)

// String names k as in Kernel.
func (k kernel) String() string {
	switch k {
	case kernelGeneric:
		return "generic"
	case kernelAESNI:
		return "aesni"
	case kernelVAES256:
		return "vaes256"
	case kernelVAES512:
		return "vaes512"
	}
	return "invalid"
}

// kernels returns those that this machine can run, the fastest last. The list
// obeys GODEBUG=cpu.avx512vaes=off,cpu.avx2=off,cpu.aes=off (golang.org/x/sys/cpu).
func kernels() []kernel {
	list := []kernel{kernelGeneric}
	for k := kernelGeneric + 1; k < numKernels; k++ {
		if available(k) {
			list = append(list, k)
		}
	}
	return list
}

// bestKernel is what new keys are made for: the fastest that computes AES. Only
// tests change it. An emulated CPU may have an instruction and get it wrong: QEMU
// 7.2 repeats the lower block of 256-bit VAESENC in the upper one, and every flow
// whose hash went that way was lost.
var bestKernel = fastest(kernels(), correct)

// fastest returns the last of list, fastest last, that is correct; the generic one always is.
func fastest(list []kernel, correct func(kernel) bool) kernel {
	for i := len(list) - 1; i > 0; i-- {
		if correct(list[i]) {
			return list[i]
		}
	}
	return kernelGeneric
}

// correct reports whether k agrees with crypto/aes on blocks for every lane of
// its registers, and a rest.
func correct(k kernel) bool {
	var key [aes.BlockSize]byte
	for i := range key {
		key[i] = byte(17 * i)
	}
	var got, want [2*wideLanes + 5]block
	for i := range got {
		got[i].put(uint64(i)*0x9e3779b97f4a7c15, ^uint64(i)<<7)
	}
	want = got
	newPRFOn(key, k)().encrypt(got[:])
	newPRFOn(key, kernelGeneric)().encryptGeneric(want[:])
	return got == want
}

// wideLanes is how many blocks the widest kernel has in flight at once.
const wideLanes = 32

// Kernel returns which AES implementation new keys use: "vaes512", "vaes256", "aesni",
// or "generic", which is crypto/aes.
func Kernel() string { return bestKernel.String() }

// lanes is how many blocks are built before the first is encrypted, and encrypted
// before the first is read, where Go does the building. A block is written as two
// words and read by AES as one vector, which a CPU cannot forward from its store
// buffer: back to back each block waits for its stores to retire.
const lanes = 16

// few is the length of a batch from which going through blocks in memory pays.
const few = 4

// encryptGeneric replaces each block of b by its AES.
func (c *cipherKey) encryptGeneric(b []block) {
	for i := range b {
		s := noescape(&b[i])[:]
		c.std.Encrypt(s, s)
	}
}

// encryptOneGeneric returns AES of the block lo|hi.
func (c *cipherKey) encryptOneGeneric(lo, hi uint64) (outLo, outHi uint64) {
	var b block
	b.put(lo, hi)
	s := noescape(&b)[:]
	c.std.Encrypt(s, s)
	return b.lo(), b.hi()
}
