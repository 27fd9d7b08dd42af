package cookie

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
)

// prf returns AES-128 under one key, safe for concurrent use; call it once per
// batch. It is a closure because reflection cannot look into one: fmt follows a
// pointer in an unexported field when the verb does not fit (%s), past all
// methods, and would print the round keys.
type prf func() *cipherKey

// cipherKey is one key as the kernel it was made for wants it.
type cipherKey struct {
	rk     roundKeys
	std    cipher.Block // the generic kernel's
	kernel kernel
}

func newPRF(key [aes.BlockSize]byte) prf { return newPRFOn(key, bestKernel) }

// newPRFOn is newPRF for a kernel that is available.
func newPRFOn(key [aes.BlockSize]byte, k kernel) prf {
	c := &cipherKey{kernel: k}
	if k == kernelGeneric {
		b, err := aes.NewCipher(key[:])
		if err != nil {
			panic("cookie: " + err.Error()) // 16 bytes are always a valid key size
		}
		c.std = b
	} else {
		c.rk.expand(&key)
	}
	return func() *cipherKey { return c }
}

type block [aes.BlockSize]byte

func (b *block) put(lo, hi uint64) {
	binary.LittleEndian.PutUint64(b[:8], lo)
	binary.LittleEndian.PutUint64(b[8:], hi)
}

func (b *block) lo() uint64 { return binary.LittleEndian.Uint64(b[:8]) }
func (b *block) hi() uint64 { return binary.LittleEndian.Uint64(b[8:]) }

// roundKeys is the key schedule of FIPS-197 §5.2, in the order of encryption.
type roundKeys [11 * aes.BlockSize]byte

// expand fills rk. crypto/aes does not give its schedule away. No table is read at
// an address that depends on the key.
func (rk *roundKeys) expand(key *[aes.BlockSize]byte) {
	copy(rk[:], key[:])
	rcon := byte(1)
	for i := len(key); i < len(rk); i += 4 {
		w := [4]byte(rk[i-4 : i])
		if i%len(key) == 0 {
			w = [4]byte{subByte(w[1]) ^ rcon, subByte(w[2]), subByte(w[3]), subByte(w[0])}
			rcon = gfMul(rcon, 2)
		}
		for j := range w {
			rk[i+j] = rk[i+j-len(key)] ^ w[j]
		}
	}
}

// subByte is the S-box of FIPS-197 §5.1.1, computed: the inverse in GF(2^8), which
// is the 254th power, and the affine map.
func subByte(x byte) byte {
	inv := byte(1)
	for range 7 { // 254 = 2+4+...+128
		x = gfMul(x, x)
		inv = gfMul(inv, x)
	}
	s := inv
	for n := 1; n <= 4; n++ {
		s ^= inv<<n | inv>>(8-n)
	}
	return s ^ 0x63
}

// gfMul multiplies in GF(2^8) modulo x^8+x^4+x^3+x+1, without branches.
func gfMul(a, b byte) (p byte) {
	for range 8 {
		p ^= a & -(b & 1)
		b >>= 1
		a = a<<1 ^ 0x1b&-(a>>7)
	}
	return p
}
