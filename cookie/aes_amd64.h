// AES-128 for VAES registers of any width, as macros. The schedule is at AX; bcast loads
// a round key into all lanes of the scratch register key. Operands run backwards in Go:
// VAESENC key, state, dst.

// A round of the schedule in AX for four registers; key is scratch.
#define ROUND4(op, off, bcast, key, a, b, c, d) \
	bcast off(AX), key    \
	op    key, a, a       \
	op    key, b, b       \
	op    key, c, c       \
	op    key, d, d

#define ROUND1(op, off, bcast, key, a) \
	bcast off(AX), key    \
	op    key, a, a

#define CIPHER1(xor, bcast, key, a) \
	ROUND1(xor, 0, bcast, key, a)        \
	ROUND1(VAESENC, 16, bcast, key, a)   \
	ROUND1(VAESENC, 32, bcast, key, a)   \
	ROUND1(VAESENC, 48, bcast, key, a)   \
	ROUND1(VAESENC, 64, bcast, key, a)   \
	ROUND1(VAESENC, 80, bcast, key, a)   \
	ROUND1(VAESENC, 96, bcast, key, a)   \
	ROUND1(VAESENC, 112, bcast, key, a)  \
	ROUND1(VAESENC, 128, bcast, key, a)  \
	ROUND1(VAESENC, 144, bcast, key, a)  \
	ROUND1(VAESENCLAST, 160, bcast, key, a)

// CIPHER4 behind the first round key.
#define ROUNDS4(bcast, key, a, b, c, d) \
	ROUND4(VAESENC, 16, bcast, key, a, b, c, d)   \
	ROUND4(VAESENC, 32, bcast, key, a, b, c, d)   \
	ROUND4(VAESENC, 48, bcast, key, a, b, c, d)   \
	ROUND4(VAESENC, 64, bcast, key, a, b, c, d)   \
	ROUND4(VAESENC, 80, bcast, key, a, b, c, d)   \
	ROUND4(VAESENC, 96, bcast, key, a, b, c, d)   \
	ROUND4(VAESENC, 112, bcast, key, a, b, c, d)  \
	ROUND4(VAESENC, 128, bcast, key, a, b, c, d)  \
	ROUND4(VAESENC, 144, bcast, key, a, b, c, d)  \
	ROUND4(VAESENCLAST, 160, bcast, key, a, b, c, d)

#define CIPHER4(xor, bcast, key, a, b, c, d) \
	ROUND4(xor, 0, bcast, key, a, b, c, d)        \
	ROUNDS4(bcast, key, a, b, c, d)

#define ROUND8(op, off, bcast, key, a, b, c, d, e, f, g, h) \
	ROUND4(op, off, bcast, key, a, b, c, d) \
	op    key, e, e       \
	op    key, f, f       \
	op    key, g, g       \
	op    key, h, h

#define CIPHER8(xor, bcast, key, a, b, c, d, e, f, g, h) \
	ROUND8(xor, 0, bcast, key, a, b, c, d, e, f, g, h)        \
	ROUND8(VAESENC, 16, bcast, key, a, b, c, d, e, f, g, h)   \
	ROUND8(VAESENC, 32, bcast, key, a, b, c, d, e, f, g, h)   \
	ROUND8(VAESENC, 48, bcast, key, a, b, c, d, e, f, g, h)   \
	ROUND8(VAESENC, 64, bcast, key, a, b, c, d, e, f, g, h)   \
	ROUND8(VAESENC, 80, bcast, key, a, b, c, d, e, f, g, h)   \
	ROUND8(VAESENC, 96, bcast, key, a, b, c, d, e, f, g, h)   \
	ROUND8(VAESENC, 112, bcast, key, a, b, c, d, e, f, g, h)  \
	ROUND8(VAESENC, 128, bcast, key, a, b, c, d, e, f, g, h)  \
	ROUND8(VAESENC, 144, bcast, key, a, b, c, d, e, f, g, h)  \
	ROUND8(VAESENCLAST, 160, bcast, key, a, b, c, d, e, f, g, h)
