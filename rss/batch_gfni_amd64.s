//go:build !purego

#include "textflag.h"

// Toeplitz as products of 8x8 bit matrices, one per input byte and result byte
// (batch_amd64.go builds them). VGF2P8AFFINEQB multiplies all eight bytes of a
// 64-bit lane by the matrix in the same lane of its other operand, so the
// inputs are first permuted until a lane holds bytes of one position only.

// Byte t of lane j from byte j of dword t: 16 dwords into 4 planes of 16 bytes.
DATA plane4<>+0x00(SB)/8, $0x1c1814100c080400
DATA plane4<>+0x08(SB)/8, $0x3c3834302c282420
DATA plane4<>+0x10(SB)/8, $0x1d1915110d090501
DATA plane4<>+0x18(SB)/8, $0x3d3935312d292521
DATA plane4<>+0x20(SB)/8, $0x1e1a16120e0a0602
DATA plane4<>+0x28(SB)/8, $0x3e3a36322e2a2622
DATA plane4<>+0x30(SB)/8, $0x1f1b17130f0b0703
DATA plane4<>+0x38(SB)/8, $0x3f3b37332f2b2723
GLOBL plane4<>(SB), RODATA|NOPTR, $64

// The way back: 4 planes of 16 bytes into 16 dwords.
DATA join4<>+0x00(SB)/8, $0x3121110130201000
DATA join4<>+0x08(SB)/8, $0x3323130332221202
DATA join4<>+0x10(SB)/8, $0x3525150534241404
DATA join4<>+0x18(SB)/8, $0x3727170736261606
DATA join4<>+0x20(SB)/8, $0x3929190938281808
DATA join4<>+0x28(SB)/8, $0x3b2b1b0b3a2a1a0a
DATA join4<>+0x30(SB)/8, $0x3d2d1d0d3c2c1c0c
DATA join4<>+0x38(SB)/8, $0x3f2f1f0f3e2e1e0e
GLOBL join4<>(SB), RODATA|NOPTR, $64

// 8 qwords into 8 planes of 8 bytes.
DATA plane6<>+0x00(SB)/8, $0x3830282018100800
DATA plane6<>+0x08(SB)/8, $0x3931292119110901
DATA plane6<>+0x10(SB)/8, $0x3a322a221a120a02
DATA plane6<>+0x18(SB)/8, $0x3b332b231b130b03
DATA plane6<>+0x20(SB)/8, $0x3c342c241c140c04
DATA plane6<>+0x28(SB)/8, $0x3d352d251d150d05
DATA plane6<>+0x30(SB)/8, $0x3e362e261e160e06
DATA plane6<>+0x38(SB)/8, $0x3f372f271f170f07
GLOBL plane6<>(SB), RODATA|NOPTR, $64

// 8 dwords into 4 planes of 8 bytes; the upper half is multiplied by zero.
DATA plane6p<>+0x00(SB)/8, $0x1c1814100c080400
DATA plane6p<>+0x08(SB)/8, $0x1d1915110d090501
DATA plane6p<>+0x10(SB)/8, $0x1e1a16120e0a0602
DATA plane6p<>+0x18(SB)/8, $0x1f1b17130f0b0703
DATA plane6p<>+0x20(SB)/8, $0
DATA plane6p<>+0x28(SB)/8, $0
DATA plane6p<>+0x30(SB)/8, $0
DATA plane6p<>+0x38(SB)/8, $0
GLOBL plane6p<>(SB), RODATA|NOPTR, $64

// Planes 0, 1, 2, 3 stand at qwords 0, 1, 4, 5.
DATA join6<>+0x00(SB)/8, $0x2921090128200800
DATA join6<>+0x08(SB)/8, $0x2b230b032a220a02
DATA join6<>+0x10(SB)/8, $0x2d250d052c240c04
DATA join6<>+0x18(SB)/8, $0x2f270f072e260e06
DATA join6<>+0x20(SB)/8, $0
DATA join6<>+0x28(SB)/8, $0
DATA join6<>+0x30(SB)/8, $0
DATA join6<>+0x38(SB)/8, $0
GLOBL join6<>(SB), RODATA|NOPTR, $64

// func hash4GFNI(hash, src, dst, ports *uint32, n int, m *matrices4)
// 16 tuples a turn; the matrices stay in Z16 to Z27. n > 0.
TEXT ·hash4GFNI(SB), NOSPLIT, $0-48
	MOVQ hash+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ dst+16(FP), DX
	MOVQ ports+24(FP), BX
	MOVQ n+32(FP), R8
	MOVQ m+40(FP), R9

	VMOVDQU64 plane4<>(SB), Z30
	VMOVDQU64 join4<>(SB), Z31
	VMOVDQU64 0x000(R9), Z16
	VMOVDQU64 0x040(R9), Z17
	VMOVDQU64 0x080(R9), Z18
	VMOVDQU64 0x0c0(R9), Z19
	VMOVDQU64 0x100(R9), Z20
	VMOVDQU64 0x140(R9), Z21
	VMOVDQU64 0x180(R9), Z22
	VMOVDQU64 0x1c0(R9), Z23
	VMOVDQU64 0x200(R9), Z24
	VMOVDQU64 0x240(R9), Z25
	VMOVDQU64 0x280(R9), Z26
	VMOVDQU64 0x2c0(R9), Z27
	XORQ      AX, AX
	KXNORW    K1, K1, K1
	SUBQ      $16, R8
	JB        tail

loop:
	VMOVDQU32.Z (SI)(AX*4), K1, Z0
	VMOVDQU32.Z (DX)(AX*4), K1, Z1
	VMOVDQU32.Z (BX)(AX*4), K1, Z2
	VPERMB      Z0, Z30, Z0
	VPERMB      Z1, Z30, Z1
	VPERMB      Z2, Z30, Z2

	VGF2P8AFFINEQB $0, Z16, Z0, Z3
	VGF2P8AFFINEQB $0, Z17, Z0, Z4
	VGF2P8AFFINEQB $0, Z18, Z0, Z5
	VGF2P8AFFINEQB $0, Z19, Z0, Z6
	VGF2P8AFFINEQB $0, Z20, Z1, Z7
	VGF2P8AFFINEQB $0, Z21, Z1, Z8
	VGF2P8AFFINEQB $0, Z22, Z1, Z9
	VGF2P8AFFINEQB $0, Z23, Z1, Z10
	VGF2P8AFFINEQB $0, Z24, Z2, Z11
	VGF2P8AFFINEQB $0, Z25, Z2, Z12
	VGF2P8AFFINEQB $0, Z26, Z2, Z13
	VGF2P8AFFINEQB $0, Z27, Z2, Z14
	VPTERNLOGQ     $0x96, Z7, Z11, Z3 // exclusive or of three
	VPTERNLOGQ     $0x96, Z8, Z12, Z4
	VPTERNLOGQ     $0x96, Z9, Z13, Z5
	VPTERNLOGQ     $0x96, Z10, Z14, Z6

	// Z3 to Z6 hold result bytes 0 to 3, each as four 128-bit lanes still to
	// be added up: fold until lane k of Z3 is the sum for result byte k.
	VSHUFI64X2 $0x44, Z4, Z3, Z7
	VSHUFI64X2 $0xee, Z4, Z3, Z8
	VSHUFI64X2 $0x44, Z6, Z5, Z9
	VSHUFI64X2 $0xee, Z6, Z5, Z10
	VPXORQ     Z7, Z8, Z3
	VPXORQ     Z9, Z10, Z5
	VSHUFI64X2 $0x88, Z5, Z3, Z7
	VSHUFI64X2 $0xdd, Z5, Z3, Z8
	VPXORQ     Z7, Z8, Z3
	VPERMB     Z3, Z31, Z3
	VMOVDQU32  Z3, K1, (DI)(AX*4)

	ADDQ $16, AX
	SUBQ $16, R8
	JAE  loop

tail:
	// R8 is what is left less 16: once more under a mask if that is not none.
	ADDQ  $16, R8
	JLE   done
	MOVL  $1, R10
	MOVQ  R8, CX
	SHLL  CX, R10
	DECL  R10
	KMOVW R10, K1
	XORQ  R8, R8
	JMP   loop

done:
	VZEROUPPER
	RET

// func hash6GFNI(hash *uint32, srcHi, srcLo, dstHi, dstLo *uint64, ports *uint32, n int, m *matrices6)
// 8 tuples a turn. n > 0.
TEXT ·hash6GFNI(SB), NOSPLIT, $0-64
	MOVQ hash+0(FP), DI
	MOVQ srcHi+8(FP), SI
	MOVQ srcLo+16(FP), DX
	MOVQ dstHi+24(FP), BX
	MOVQ dstLo+32(FP), R11
	MOVQ ports+40(FP), R12
	MOVQ n+48(FP), R8
	MOVQ m+56(FP), R9

	VMOVDQU64 plane6<>(SB), Z30
	VMOVDQU64 plane6p<>(SB), Z29
	VMOVDQU64 join6<>(SB), Z31
	VMOVDQU64 0x000(R9), Z16
	VMOVDQU64 0x040(R9), Z17
	VMOVDQU64 0x080(R9), Z18
	VMOVDQU64 0x0c0(R9), Z19
	VMOVDQU64 0x100(R9), Z20
	VMOVDQU64 0x140(R9), Z21
	VMOVDQU64 0x180(R9), Z22
	VMOVDQU64 0x1c0(R9), Z23
	VMOVDQU64 0x200(R9), Z24
	VMOVDQU64 0x240(R9), Z25
	VMOVDQU64 0x280(R9), Z26
	VMOVDQU64 0x2c0(R9), Z27
	XORQ      AX, AX
	KXNORW    K1, K1, K1
	SUBQ      $8, R8
	JB        tail

loop:
	VMOVDQU64.Z (SI)(AX*8), K1, Z0
	VMOVDQU64.Z (DX)(AX*8), K1, Z1
	VMOVDQU64.Z (BX)(AX*8), K1, Z2
	VMOVDQU64.Z (R11)(AX*8), K1, Z3
	VMOVDQU32.Z (R12)(AX*4), K1, Y4
	VPERMB      Z0, Z30, Z0
	VPERMB      Z1, Z30, Z1
	VPERMB      Z2, Z30, Z2
	VPERMB      Z3, Z30, Z3
	VPERMB      Z4, Z29, Z4

	VGF2P8AFFINEQB $0, Z16, Z0, Z5
	VGF2P8AFFINEQB $0, Z17, Z0, Z6
	VGF2P8AFFINEQB $0, Z18, Z0, Z7
	VGF2P8AFFINEQB $0, Z19, Z0, Z8
	VGF2P8AFFINEQB $0, Z20, Z1, Z9
	VGF2P8AFFINEQB $0, Z21, Z1, Z10
	VGF2P8AFFINEQB $0, Z22, Z1, Z11
	VGF2P8AFFINEQB $0, Z23, Z1, Z12
	VGF2P8AFFINEQB $0, Z24, Z2, Z13
	VGF2P8AFFINEQB $0, Z25, Z2, Z14
	VGF2P8AFFINEQB $0, Z26, Z2, Z15
	VGF2P8AFFINEQB $0, Z27, Z2, Z0
	VPTERNLOGQ     $0x96, Z9, Z13, Z5
	VPTERNLOGQ     $0x96, Z10, Z14, Z6
	VPTERNLOGQ     $0x96, Z11, Z15, Z7
	VPTERNLOGQ     $0x96, Z12, Z0, Z8

	VGF2P8AFFINEQB $0, 0x300(R9), Z3, Z9
	VGF2P8AFFINEQB $0, 0x340(R9), Z3, Z10
	VGF2P8AFFINEQB $0, 0x380(R9), Z3, Z11
	VGF2P8AFFINEQB $0, 0x3c0(R9), Z3, Z12
	VGF2P8AFFINEQB $0, 0x400(R9), Z4, Z13
	VGF2P8AFFINEQB $0, 0x440(R9), Z4, Z14
	VGF2P8AFFINEQB $0, 0x480(R9), Z4, Z15
	VGF2P8AFFINEQB $0, 0x4c0(R9), Z4, Z0
	VPTERNLOGQ     $0x96, Z9, Z13, Z5
	VPTERNLOGQ     $0x96, Z10, Z14, Z6
	VPTERNLOGQ     $0x96, Z11, Z15, Z7
	VPTERNLOGQ     $0x96, Z12, Z0, Z8

	// Z5 to Z8 hold result bytes 0 to 3, each as eight 64-bit lanes still to
	// be added up. First in pairs, then halves, then quarters.
	VPUNPCKLQDQ Z6, Z5, Z9
	VPUNPCKHQDQ Z6, Z5, Z10
	VPUNPCKLQDQ Z8, Z7, Z11
	VPUNPCKHQDQ Z8, Z7, Z12
	VPXORQ      Z9, Z10, Z5
	VPXORQ      Z11, Z12, Z7
	VSHUFI64X2  $0x44, Z7, Z5, Z9
	VSHUFI64X2  $0xee, Z7, Z5, Z10
	VPXORQ      Z9, Z10, Z5
	VSHUFI64X2  $0xb1, Z5, Z5, Z9
	VPXORQ      Z9, Z5, Z5
	VPERMB      Z5, Z31, Z5
	VMOVDQU32   Y5, K1, (DI)(AX*4)

	ADDQ $8, AX
	SUBQ $8, R8
	JAE  loop

tail:
	ADDQ  $8, R8
	JLE   done
	MOVL  $1, R10
	MOVQ  R8, CX
	SHLL  CX, R10
	DECL  R10
	KMOVW R10, K1
	XORQ  R8, R8
	JMP   loop

done:
	VZEROUPPER
	RET
