//go:build !purego

#include "textflag.h"

// Toeplitz as carry-less products (batch_amd64.go has the arithmetic): needs
// no tables, one multiplication for each 32 bits of IPv4 and two for each 64 of
// IPv6. The hash comes out with its 32 bits in reverse order.

// Bytes of each dword reversed.
DATA swap4<>+0x00(SB)/8, $0x0405060700010203
DATA swap4<>+0x08(SB)/8, $0x0c0d0e0f08090a0b
GLOBL swap4<>(SB), RODATA|NOPTR, $16

// Low dwords of both qwords, bytes reversed.
DATA swap6<>+0x00(SB)/8, $0x08090a0b00010203
DATA swap6<>+0x08(SB)/8, $0x8080808080808080
GLOBL swap6<>(SB), RODATA|NOPTR, $16

// Bits of a nibble reversed, as the upper nibble and as the lower.
DATA turnLo<>+0x00(SB)/8, $0xe060a020c0408000
DATA turnLo<>+0x08(SB)/8, $0xf070b030d0509010
GLOBL turnLo<>(SB), RODATA|NOPTR, $16
DATA turnHi<>+0x00(SB)/8, $0x0e060a020c040800
DATA turnHi<>+0x08(SB)/8, $0x0f070b030d050901
GLOBL turnHi<>(SB), RODATA|NOPTR, $16

DATA nibble<>+0x00(SB)/8, $0x0f0f0f0f0f0f0f0f
DATA nibble<>+0x08(SB)/8, $0x0f0f0f0f0f0f0f0f
GLOBL nibble<>(SB), RODATA|NOPTR, $16

DATA lowDword<>+0x00(SB)/8, $0x00000000ffffffff
DATA lowDword<>+0x08(SB)/8, $0x00000000ffffffff
GLOBL lowDword<>(SB), RODATA|NOPTR, $16

// CONSTANTS and REVERSE use X11 to X15; the caller sets X15, the byte order.
#define CONSTANTS \
	VMOVDQU turnLo<>(SB), X12 \
	VMOVDQU turnHi<>(SB), X13 \
	VMOVDQU nibble<>(SB), X14

// REVERSE turns round the bits of each dword of x, with X11 as scratch.
#define REVERSE(x) \
	VPSHUFB X15, x, x      \
	VPSRLW  $4, x, X11     \
	VPAND   X14, x, x      \
	VPAND   X14, X11, X11  \
	VPSHUFB x, X12, x      \
	VPSHUFB X11, X13, X11  \
	VPOR    X11, x, x

// SPLIT4 spreads the dwords of x over qwords: 0 and 2 stay in x, 1 and 3 go to X5.
#define SPLIT4(x) \
	VPSRLQ $32, x, X5 \
	VPAND  X10, x, x

// MUL4 multiplies the dwords of x by a qword of r, adding to X0 to X3: tuples 0 to
// 3. The selectors lo and hi name that qword of r, with the lower and upper qword of x.
#define MUL4(x, lo, hi, r) \
	SPLIT4(x)                 \
	VPCLMULQDQ lo, r, x, X6   \
	VPCLMULQDQ lo, r, X5, X7  \
	VPXOR      X6, X0, X0     \
	VPXOR      X7, X1, X1     \
	VPCLMULQDQ hi, r, x, X6   \
	VPCLMULQDQ hi, r, X5, X7  \
	VPXOR      X6, X2, X2     \
	VPXOR      X7, X3, X3

// func hash4CLMUL(hash, src, dst, ports *uint32, n int, k *windows4)
// 4 tuples a turn; n is a multiple of 4 and not 0.
TEXT ·hash4CLMUL(SB), NOSPLIT, $0-48
	MOVQ hash+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ dst+16(FP), DX
	MOVQ ports+24(FP), BX
	MOVQ n+32(FP), R8
	MOVQ k+40(FP), R9

	CONSTANTS
	VMOVDQU swap4<>(SB), X15
	VMOVDQU lowDword<>(SB), X10
	VMOVDQU (R9), X8
	VMOVDQU 16(R9), X9
	XORQ    AX, AX

loop:
	VMOVDQU    (SI)(AX*4), X4
	SPLIT4(X4)
	VPCLMULQDQ $0x00, X8, X4, X0
	VPCLMULQDQ $0x00, X8, X5, X1
	VPCLMULQDQ $0x01, X8, X4, X2
	VPCLMULQDQ $0x01, X8, X5, X3
	VMOVDQU    (DX)(AX*4), X4
	MUL4(X4, $0x10, $0x11, X8)
	VMOVDQU    (BX)(AX*4), X4
	MUL4(X4, $0x00, $0x01, X9)

	// The second dword of X0 to X3 is the hash.
	VPUNPCKLDQ  X1, X0, X0
	VPUNPCKLDQ  X3, X2, X2
	VPUNPCKHQDQ X2, X0, X0
	REVERSE(X0)
	VMOVDQU     X0, (DI)(AX*4)

	ADDQ $4, AX
	CMPQ AX, R8
	JB   loop
	RET

// MUL6 loads an address half of two tuples from p and multiplies them by both halves of
// r, adding to X0 and X1 (upper halves count), X2 and X3 (lower halves count).
#define MUL6(p, r) \
	VMOVDQU    (p)(AX*8), X4       \
	VPCLMULQDQ $0x00, r, X4, X5    \
	VPXOR      X5, X0, X0          \
	VPCLMULQDQ $0x01, r, X4, X5    \
	VPXOR      X5, X1, X1          \
	VPCLMULQDQ $0x10, r, X4, X5    \
	VPXOR      X5, X2, X2          \
	VPCLMULQDQ $0x11, r, X4, X5    \
	VPXOR      X5, X3, X3

// func hash6CLMUL(hash *uint32, srcHi, srcLo, dstHi, dstLo *uint64, ports *uint32, n int, k *windows6)
// 2 tuples a turn; n is a multiple of 2 and not 0.
TEXT ·hash6CLMUL(SB), NOSPLIT, $0-64
	MOVQ hash+0(FP), DI
	MOVQ srcHi+8(FP), SI
	MOVQ srcLo+16(FP), DX
	MOVQ dstHi+24(FP), BX
	MOVQ dstLo+32(FP), R11
	MOVQ ports+40(FP), R12
	MOVQ n+48(FP), R8
	MOVQ k+56(FP), R9

	CONSTANTS
	VMOVDQU swap6<>(SB), X15
	VMOVDQU (R9), X6
	VMOVDQU 16(R9), X7
	VMOVDQU 32(R9), X8
	VMOVDQU 48(R9), X9
	VMOVDQU 64(R9), X10
	XORQ    AX, AX

loop:
	// Ports in the upper dwords: their product has the hash where X0 wants it.
	VMOVQ      (R12)(AX*4), X4
	VPXOR      X5, X5, X5
	VPUNPCKLDQ X4, X5, X4
	VPCLMULQDQ $0x00, X10, X4, X0
	VPCLMULQDQ $0x01, X10, X4, X1
	VPXOR      X2, X2, X2
	VPXOR      X3, X3, X3
	MUL6(SI, X6)
	MUL6(DX, X7)
	MUL6(BX, X8)
	MUL6(R11, X9)

	VPUNPCKHQDQ X1, X0, X0
	VPUNPCKLQDQ X3, X2, X2
	VPXOR       X2, X0, X0
	REVERSE(X0)
	VMOVQ       X0, (DI)(AX*4)

	ADDQ $2, AX
	CMPQ AX, R8
	JB   loop
	RET
