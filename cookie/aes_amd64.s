//go:build !purego

// AES-128 over n blocks in place, under a key schedule of 11 round keys of 16
// bytes. No load or store needs alignment, and none touches a byte outside of the
// n blocks or the schedule. Hand-written: each function is one loop.

#include "textflag.h"

#include "aes_amd64.h"

// func encryptVAES512(rk *roundKeys, b *block, n int)
// Requires AVX512F, AVX512VL, AVX512BW, AVX512DQ, VAES.
TEXT ·encryptVAES512(SB), NOSPLIT, $0-24
	MOVQ rk+0(FP), AX
	MOVQ b+8(FP), SI
	MOVQ n+16(FP), CX

big:
	CMPQ CX, $32
	JLT  mid
	VMOVDQU64 0(SI), Z0
	VMOVDQU64 64(SI), Z1
	VMOVDQU64 128(SI), Z2
	VMOVDQU64 192(SI), Z3
	VMOVDQU64 256(SI), Z4
	VMOVDQU64 320(SI), Z5
	VMOVDQU64 384(SI), Z6
	VMOVDQU64 448(SI), Z7
	CIPHER8(VPXORQ, VBROADCASTI32X4, Z16, Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7)
	VMOVDQU64 Z0, 0(SI)
	VMOVDQU64 Z1, 64(SI)
	VMOVDQU64 Z2, 128(SI)
	VMOVDQU64 Z3, 192(SI)
	VMOVDQU64 Z4, 256(SI)
	VMOVDQU64 Z5, 320(SI)
	VMOVDQU64 Z6, 384(SI)
	VMOVDQU64 Z7, 448(SI)
	ADDQ $512, SI
	SUBQ $32, CX
	JMP  big

mid:
	CMPQ CX, $16
	JLT  small
	VMOVDQU64 0(SI), Z0
	VMOVDQU64 64(SI), Z1
	VMOVDQU64 128(SI), Z2
	VMOVDQU64 192(SI), Z3
	CIPHER4(VPXORQ, VBROADCASTI32X4, Z16, Z0, Z1, Z2, Z3)
	VMOVDQU64 Z0, 0(SI)
	VMOVDQU64 Z1, 64(SI)
	VMOVDQU64 Z2, 128(SI)
	VMOVDQU64 Z3, 192(SI)
	ADDQ $256, SI
	SUBQ $16, CX

small:
	// Up to 15 blocks: masks keep loads and stores inside of them.
	TESTQ CX, CX
	JLE   done
	ADDQ  CX, CX        // qwords, 2..30
	MOVQ  $1, BX
	SHLQ  CX, BX
	DECQ  BX            // low qwords of four registers, 8 bits each
	KMOVB BX, K1
	SHRQ  $8, BX
	KMOVB BX, K2
	SHRQ  $8, BX
	KMOVB BX, K3
	SHRQ  $8, BX
	KMOVB BX, K4
	VMOVDQU64.Z 0(SI), K1, Z0
	VMOVDQU64.Z 64(SI), K2, Z1
	VMOVDQU64.Z 128(SI), K3, Z2
	VMOVDQU64.Z 192(SI), K4, Z3
	CMPQ CX, $8
	JLE  one
	CIPHER4(VPXORQ, VBROADCASTI32X4, Z16, Z0, Z1, Z2, Z3)
	VMOVDQU64 Z1, K2, 64(SI)
	VMOVDQU64 Z2, K3, 128(SI)
	VMOVDQU64 Z3, K4, 192(SI)
	JMP  store

one:
	CIPHER1(VPXORQ, VBROADCASTI32X4, Z16, Z0)

store:
	VMOVDQU64 Z0, K1, 0(SI)

done:
	VZEROUPPER
	RET

// func encryptVAES256(rk *roundKeys, b *block, n int)
// Requires AVX2, VAES.
TEXT ·encryptVAES256(SB), NOSPLIT, $0-24
	MOVQ rk+0(FP), AX
	MOVQ b+8(FP), SI
	MOVQ n+16(FP), CX

big:
	CMPQ CX, $16
	JLT  mid
	VMOVDQU 0(SI), Y0
	VMOVDQU 32(SI), Y1
	VMOVDQU 64(SI), Y2
	VMOVDQU 96(SI), Y3
	VMOVDQU 128(SI), Y4
	VMOVDQU 160(SI), Y5
	VMOVDQU 192(SI), Y6
	VMOVDQU 224(SI), Y7
	CIPHER8(VPXOR, VBROADCASTI128, Y8, Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7)
	VMOVDQU Y0, 0(SI)
	VMOVDQU Y1, 32(SI)
	VMOVDQU Y2, 64(SI)
	VMOVDQU Y3, 96(SI)
	VMOVDQU Y4, 128(SI)
	VMOVDQU Y5, 160(SI)
	VMOVDQU Y6, 192(SI)
	VMOVDQU Y7, 224(SI)
	ADDQ $256, SI
	SUBQ $16, CX
	JMP  big

mid:
	CMPQ CX, $8
	JLT  pair
	VMOVDQU 0(SI), Y0
	VMOVDQU 32(SI), Y1
	VMOVDQU 64(SI), Y2
	VMOVDQU 96(SI), Y3
	CIPHER4(VPXOR, VBROADCASTI128, Y8, Y0, Y1, Y2, Y3)
	VMOVDQU Y0, 0(SI)
	VMOVDQU Y1, 32(SI)
	VMOVDQU Y2, 64(SI)
	VMOVDQU Y3, 96(SI)
	ADDQ $128, SI
	SUBQ $8, CX

pair:
	CMPQ CX, $2
	JLT  single
	VMOVDQU (SI), Y0
	CIPHER1(VPXOR, VBROADCASTI128, Y8, Y0)
	VMOVDQU Y0, (SI)
	ADDQ $32, SI
	SUBQ $2, CX
	JMP  pair

single:
	TESTQ CX, CX
	JLE   done
	VMOVDQU (SI), X0
	CIPHER1(VPXOR, VMOVDQU, X8, X0)
	VMOVDQU X0, (SI)

done:
	VZEROUPPER
	RET

#define SSE1(op, off, key, a) \
	MOVUPS off(AX), key   \
	op     key, a

#define SSECIPHER1(key, a) \
	SSE1(PXOR, 0, key, a)      \
	SSE1(AESENC, 16, key, a)   \
	SSE1(AESENC, 32, key, a)   \
	SSE1(AESENC, 48, key, a)   \
	SSE1(AESENC, 64, key, a)   \
	SSE1(AESENC, 80, key, a)   \
	SSE1(AESENC, 96, key, a)   \
	SSE1(AESENC, 112, key, a)  \
	SSE1(AESENC, 128, key, a)  \
	SSE1(AESENC, 144, key, a)  \
	SSE1(AESENCLAST, 160, key, a)

#define SSE8(op, off) \
	MOVUPS off(AX), X8  \
	op     X8, X0       \
	op     X8, X1       \
	op     X8, X2       \
	op     X8, X3       \
	op     X8, X4       \
	op     X8, X5       \
	op     X8, X6       \
	op     X8, X7

// func encryptAESNI(rk *roundKeys, b *block, n int)
// Requires AES, SSE2.
TEXT ·encryptAESNI(SB), NOSPLIT, $0-24
	MOVQ rk+0(FP), AX
	MOVQ b+8(FP), SI
	MOVQ n+16(FP), CX

big:
	CMPQ CX, $8
	JLT  single
	MOVUPS 0(SI), X0
	MOVUPS 16(SI), X1
	MOVUPS 32(SI), X2
	MOVUPS 48(SI), X3
	MOVUPS 64(SI), X4
	MOVUPS 80(SI), X5
	MOVUPS 96(SI), X6
	MOVUPS 112(SI), X7
	SSE8(PXOR, 0)
	SSE8(AESENC, 16)
	SSE8(AESENC, 32)
	SSE8(AESENC, 48)
	SSE8(AESENC, 64)
	SSE8(AESENC, 80)
	SSE8(AESENC, 96)
	SSE8(AESENC, 112)
	SSE8(AESENC, 128)
	SSE8(AESENC, 144)
	SSE8(AESENCLAST, 160)
	MOVUPS X0, 0(SI)
	MOVUPS X1, 16(SI)
	MOVUPS X2, 32(SI)
	MOVUPS X3, 48(SI)
	MOVUPS X4, 64(SI)
	MOVUPS X5, 80(SI)
	MOVUPS X6, 96(SI)
	MOVUPS X7, 112(SI)
	ADDQ $128, SI
	SUBQ $8, CX
	JMP  big

single:
	// The blocks are independent, so a CPU overlaps these as well.
	TESTQ CX, CX
	JLE   done
	MOVUPS (SI), X0
	SSECIPHER1(X8, X0)
	MOVUPS X0, (SI)
	ADDQ $16, SI
	DECQ CX
	JMP  single

done:
	RET

// func encryptOneAESNI(rk *roundKeys, lo, hi uint64) (outLo, outHi uint64)
// Requires AES, SSE2. By words, because a block written as two words and read as one
// vector waits for its stores.
TEXT ·encryptOneAESNI(SB), NOSPLIT, $0-40
	MOVQ   rk+0(FP), AX
	MOVQ   lo+8(FP), X0
	MOVQ   hi+16(FP), X1
	PUNPCKLQDQ X1, X0
	SSECIPHER1(X8, X0)
	MOVQ   X0, outLo+24(FP)
	PSRLO  $8, X0
	MOVQ   X0, outHi+32(FP)
	RET

// func cpuidLeaf7ECX() (ecx uint32)
// The caller knows that leaf 7 exists.
TEXT ·cpuidLeaf7ECX(SB), NOSPLIT, $0-4
	MOVL $7, AX
	XORL CX, CX
	CPUID
	MOVL CX, ecx+0(FP)
	RET
