package rss

import "fmt"

// KeySize is the number of key bytes the hash reads: the longest input (36
// bytes) plus one 32-bit window.
const KeySize = 40

// maxKeySize is the longest key in use: NICs that can also hash longer inputs
// take 52 bytes, of which the tuples here reach the first 40 (RSS-002).
const maxKeySize = 52

// Key is a Toeplitz key in the order in which it is written to the device.
type Key [KeySize]byte

// DefaultKey is the key of Microsoft's verification suite, and what many
// drivers program when not told otherwise.
var DefaultKey = Key{
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
	0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
	0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
	0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
}

// SymmetricKey gives both directions of a connection the same hash (RSS-004).
// Its price (RSS-005): both halves of every hash are equal, so a hash carries
// 16 bits, and colliding tuples are easy to construct. Spread frames over queues with it;
// never index a flow table with it.
var SymmetricKey = Key{
	0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a,
	0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a,
	0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a,
	0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a,
}

// NewKey copies a key as read from a device: 40 to 52 bytes, of which the
// first 40 count. The error does not contain key bytes.
func NewKey(b []byte) (Key, error) {
	if len(b) < KeySize || len(b) > maxKeySize {
		return Key{}, fmt.Errorf("rss: key of %d bytes: want %d to %d", len(b), KeySize, maxKeySize)
	}
	return Key(b[:KeySize]), nil
}

// Symmetric reports whether k repeats every 16 bits, the form in which a
// tuple and its reverse hash alike for IPv4 and IPv6, with and without ports.
// What RSS-005 says about SymmetricKey then holds for k.
func (k Key) Symmetric() bool {
	for i := 2; i < len(k); i++ {
		if k[i] != k[i-2] {
			return false
		}
	}
	return true
}
