package cookie

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
)

// prf returns AES-128 under one key, safe for concurrent use; call it once per
// chunk. It is a closure because reflection cannot look into one: fmt follows a
// pointer in an unexported field when the verb does not fit (%s), past all
// methods, and would print the round keys.
type prf func() cipher.Block

func newPRF(key [aes.BlockSize]byte) prf {
	b, err := aes.NewCipher(key[:])
	if err != nil {
		panic("cookie: " + err.Error()) // 16 bytes are always a valid key size
	}
	return func() cipher.Block { return b }
}

// lanes is how many blocks are built before the first is encrypted, and encrypted
// before the first is read. A block is written as two words and read by AES as
// one vector, which a CPU cannot forward from its store buffer: back to back each
// block waits for its stores to retire (21 ns a block; 11 ns in lanes).
const lanes = 16

type block [aes.BlockSize]byte

func (b *block) put(lo, hi uint64) {
	binary.LittleEndian.PutUint64(b[:8], lo)
	binary.LittleEndian.PutUint64(b[8:], hi)
}

func (b *block) lo() uint64 { return binary.LittleEndian.Uint64(b[:8]) }
func (b *block) hi() uint64 { return binary.LittleEndian.Uint64(b[8:]) }

// encrypt replaces b by AES(b).
func (b *block) encrypt(c cipher.Block) {
	s := noescape(b)[:]
	c.Encrypt(s, s)
}
