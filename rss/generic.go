package rss

// hashGeneric is the function as Microsoft states it, and so the specification
// of Toeplitz: for each input bit that is set, from the left, the result takes
// the leftmost 32 bits of the key, which then rotates left by one bit.
func hashGeneric(key, input []byte) uint32 {
	bit := func(b []byte, i int) uint32 { return uint32(b[i/8]>>(7-i%8)) & 1 }
	var h uint32
	for i := range len(input) * 8 {
		if bit(input, i) == 0 {
			continue
		}
		var window uint32
		for j := range 32 {
			window = window<<1 | bit(key, (i+j)%(len(key)*8))
		}
		h ^= window
	}
	return h
}
