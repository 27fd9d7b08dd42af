package cookie

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

// bestKernel is what new keys are made for. Only tests change it.
var bestKernel = func() kernel {
	list := kernels()
	return list[len(list)-1]
}()

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
