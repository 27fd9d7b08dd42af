//go:build !purego

// Mint and Verify, 16 lanes a pass, as in cookie.go. The fields of 16 structs are turned
// into one register each by interleaving words inside 128-bit lanes: if register i
// holds one word of items 4i..4i+3, four of them become registers that hold word w of
// item 4i+j at dword 4j+i. Turning back is the same step, so the answers come out in order.

#include "textflag.h"
#include "aes_amd64.h"

// The tables of tables.go as dwords; a test compares them.
DATA tabMSS<>+0(SB)/8, $0x00000218000000d8
DATA tabMSS<>+8(SB)/8, $0x00000550000004b0
DATA tabMSS<>+16(SB)/8, $0x000005a000000578
DATA tabMSS<>+24(SB)/8, $0x00002300000005b4
DATA tabMSS<>+32(SB)/8, $0x00000218000000d8
DATA tabMSS<>+40(SB)/8, $0x000004c400000488
DATA tabMSS<>+48(SB)/8, $0x0000058c00000550
DATA tabMSS<>+56(SB)/8, $0x000022ec000005a0
GLOBL tabMSS<>(SB), RODATA|NOPTR, $64

DATA tabShift<>+0(SB)/8, $0x0000000000000000
DATA tabShift<>+8(SB)/8, $0x0000000400000002
DATA tabShift<>+16(SB)/8, $0x0000000700000006
DATA tabShift<>+24(SB)/8, $0x0000000a00000008
DATA tabShift<>+32(SB)/8, $0x0000000000000000
DATA tabShift<>+40(SB)/8, $0x0000000000000000
DATA tabShift<>+48(SB)/8, $0x0000000000000000
DATA tabShift<>+56(SB)/8, $0x0000000000000000
GLOBL tabShift<>(SB), RODATA|NOPTR, $64

DATA tabShiftIndex<>+0(SB)/8, $0x0000000100000001
DATA tabShiftIndex<>+8(SB)/8, $0x0000000200000002
DATA tabShiftIndex<>+16(SB)/8, $0x0000000300000003
DATA tabShiftIndex<>+24(SB)/8, $0x0000000500000004
DATA tabShiftIndex<>+32(SB)/8, $0x0000000600000006
DATA tabShiftIndex<>+40(SB)/8, $0x0000000700000007
DATA tabShiftIndex<>+48(SB)/8, $0x0000000700000007
DATA tabShiftIndex<>+56(SB)/8, $0x0000000700000007
GLOBL tabShiftIndex<>(SB), RODATA|NOPTR, $64

// What the index of an MSS, and 8 for IPv6, are in the data under the MAC.
DATA tabData<>+0(SB)/8, $0x0000010000000000
DATA tabData<>+8(SB)/8, $0x0000030000000200
DATA tabData<>+16(SB)/8, $0x0000050000000400
DATA tabData<>+24(SB)/8, $0x0000070000000600
DATA tabData<>+32(SB)/8, $0x0000018000000080
DATA tabData<>+40(SB)/8, $0x0000038000000280
DATA tabData<>+48(SB)/8, $0x0000058000000480
DATA tabData<>+56(SB)/8, $0x0000078000000680
GLOBL tabData<>(SB), RODATA|NOPTR, $64

DATA c1<>+0(SB)/4, $1
GLOBL c1<>(SB), RODATA|NOPTR, $4
DATA c2<>+0(SB)/4, $2
GLOBL c2<>(SB), RODATA|NOPTR, $4
DATA c3<>+0(SB)/4, $3
GLOBL c3<>(SB), RODATA|NOPTR, $4
DATA c4<>+0(SB)/4, $4
GLOBL c4<>(SB), RODATA|NOPTR, $4
DATA c6<>+0(SB)/4, $6
GLOBL c6<>(SB), RODATA|NOPTR, $4
DATA c7<>+0(SB)/4, $7
GLOBL c7<>(SB), RODATA|NOPTR, $4
DATA c8<>+0(SB)/4, $8
GLOBL c8<>(SB), RODATA|NOPTR, $4
DATA c14<>+0(SB)/4, $14
GLOBL c14<>(SB), RODATA|NOPTR, $4
DATA c15<>+0(SB)/4, $15
GLOBL c15<>(SB), RODATA|NOPTR, $4
DATA c16<>+0(SB)/4, $16
GLOBL c16<>(SB), RODATA|NOPTR, $4
DATA c28<>+0(SB)/4, $0x1c
GLOBL c28<>(SB), RODATA|NOPTR, $4
DATA c63<>+0(SB)/4, $63
GLOBL c63<>(SB), RODATA|NOPTR, $4
DATA c64<>+0(SB)/4, $64
GLOBL c64<>(SB), RODATA|NOPTR, $4
DATA cff<>+0(SB)/4, $0xff
GLOBL cff<>(SB), RODATA|NOPTR, $4
DATA cffff<>+0(SB)/4, $0xffff
GLOBL cffff<>(SB), RODATA|NOPTR, $4
DATA c216<>+0(SB)/4, $216
GLOBL c216<>(SB), RODATA|NOPTR, $4
DATA cm8<>+0(SB)/4, $0xffffff00
GLOBL cm8<>(SB), RODATA|NOPTR, $4
DATA cm4<>+0(SB)/4, $0xfffffff0
GLOBL cm4<>(SB), RODATA|NOPTR, $4
DATA c112<>+0(SB)/4, $112
GLOBL c112<>(SB), RODATA|NOPTR, $4
DATA c128<>+0(SB)/4, $128
GLOBL c128<>(SB), RODATA|NOPTR, $4
DATA c256<>+0(SB)/4, $256
GLOBL c256<>(SB), RODATA|NOPTR, $4

// Registers r0..r3 hold four words of four items each; w0..w3 get word 0..3 of all.
// t0..t3 are scratch.
#define TRANSPOSE(r0, r1, r2, r3, t0, t1, t2, t3, w0, w1, w2, w3) \
	VPUNPCKLDQ r1, r0, t0   \
	VPUNPCKHDQ r1, r0, t1   \
	VPUNPCKLDQ r3, r2, t2   \
	VPUNPCKHDQ r3, r2, t3   \
	VPUNPCKLQDQ t2, t0, w0  \
	VPUNPCKHQDQ t2, t0, w1  \
	VPUNPCKLQDQ t3, t1, w2  \
	VPUNPCKHQDQ t3, t1, w3

// Word 3 of Z0..Z3 to w.
#define WORD3(t, w) \
	VPUNPCKHDQ Z1, Z0, w    \
	VPUNPCKHDQ Z3, Z2, t    \
	VPUNPCKHQDQ t, w, w

// Word 0 of z0..z3 to z0; z2 is scratch.
#define WORD0(z0, z1, z2, z3) \
	VPUNPCKLDQ z1, z0, z0   \
	VPUNPCKLDQ z3, z2, z2   \
	VPUNPCKLQDQ z2, z0, z0

// Words irs and data of all items, and the first round key at AX, xor-ed onto the blocks
// Z0..Z3 of which they cover words 2 and 3.
#define COVER(irs, data, zero, t0, t1, t2) \
	VBROADCASTI32X4 (AX), Z16 \
	VPXORD zero, zero, zero  \
	VPUNPCKLDQ data, irs, t0 \
	VPUNPCKHDQ data, irs, t1 \
	VPUNPCKLQDQ t0, zero, t2 \
	VPUNPCKHQDQ t0, zero, t0 \
	VPTERNLOGD $0x96, Z16, t2, Z0        \
	VPTERNLOGD $0x96, Z16, t0, Z1        \
	VPUNPCKLQDQ t1, zero, t2 \
	VPUNPCKHQDQ t1, zero, t1 \
	VPTERNLOGD $0x96, Z16, t2, Z2        \
	VPTERNLOGD $0x96, Z16, t1, Z3

// func mintVAES512(rk *roundKeys, dst *Minted, in *Input, n int, parity uint32)
// Requires AVX512F, AVX512VL, AVX512BW, AVX512DQ, VAES.
TEXT ·mintVAES512(SB), NOSPLIT, $0-36
	MOVQ rk+0(FP), AX
	MOVQ dst+8(FP), DI
	MOVQ in+16(FP), SI
	MOVQ n+24(FP), CX
	MOVL parity+32(FP), BX
	VPBROADCASTD BX, Z23
	VMOVDQU64 tabMSS<>(SB), Z20
	VMOVDQU64 tabShift<>(SB), Z21
	VMOVDQU64 tabShiftIndex<>(SB), Z22
	VMOVDQU64 tabData<>(SB), Z28

loop:
	// Z0..Z3: Sum; Z4..Z7: IRS, TSNow, MSS|WScale|Opts, V6.
	VMOVDQU64  0(SI), Z8
	VMOVDQU64  64(SI), Z9
	VMOVDQU64  128(SI), Z10
	VMOVDQU64  192(SI), Z11
	VMOVDQU64  256(SI), Z12
	VMOVDQU64  320(SI), Z13
	VMOVDQU64  384(SI), Z14
	VMOVDQU64  448(SI), Z15
	VSHUFI64X2 $0x88, Z9, Z8, Z0
	VSHUFI64X2 $0xdd, Z9, Z8, Z4
	VSHUFI64X2 $0x88, Z11, Z10, Z1
	VSHUFI64X2 $0xdd, Z11, Z10, Z5
	VSHUFI64X2 $0x88, Z13, Z12, Z2
	VSHUFI64X2 $0xdd, Z13, Z12, Z6
	VSHUFI64X2 $0x88, Z15, Z14, Z3
	VSHUFI64X2 $0xdd, Z15, Z14, Z7
	TRANSPOSE(Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z4, Z5, Z6, Z7)
	WORD3(Z9, Z8) // TSOff

	// Z10: index of the MSS | V6<<3, by halving; Z11: that MSS; K5: it is one we take.
	VPANDD.BCST      cffff<>(SB), Z6, Z9
	VPTESTMD.BCST    cff<>(SB), Z7, K1
	VPBROADCASTD.Z   c8<>(SB), K1, Z10
	VPORD.BCST       c4<>(SB), Z10, Z11
	VPERMD           Z20, Z11, Z12
	VPCMPUD          $5, Z12, Z9, K2
	VMOVDQA32        Z11, K2, Z10
	VPORD.BCST       c2<>(SB), Z10, Z11
	VPERMD           Z20, Z11, Z12
	VPCMPUD          $5, Z12, Z9, K2
	VMOVDQA32        Z11, K2, Z10
	VPORD.BCST       c1<>(SB), Z10, Z11
	VPERMD           Z20, Z11, Z12
	VPCMPUD          $5, Z12, Z9, K2
	VMOVDQA32        Z11, K2, Z10
	VPERMD           Z20, Z10, Z11
	VPCMPUD.BCST     $5, c216<>(SB), Z9, K5

	// K3: TS; K4: HasWScale; Z13: options kept.
	VPSRLD           $24, Z6, Z12
	VPTESTMD.BCST    c8<>(SB), Z12, K3
	VPTESTMD.BCST    c1<>(SB), Z12, K4
	VPANDD.BCST      c3<>(SB), Z12, Z13
	VPANDD.BCST      c15<>(SB), Z12, K3, Z13

	// Z15: window scale as form T writes it; Z17: its index in form N; Z18: what is kept.
	VPSRLD           $16, Z6, Z14
	VPANDD.BCST      cff<>(SB), Z14, Z14
	VPBROADCASTD     c15<>(SB), Z15
	VPMINUD.BCST     c14<>(SB), Z14, K4, Z15
	VMOVDQA32.Z      Z15, K4, Z14
	VPERMD.Z         Z22, Z14, K4, Z17
	VPERMD           Z21, Z17, Z18
	VMOVDQA32        Z14, K3, Z18

	// Z19: data; Z24: index of the MSS.
	VMOVDQA32        Z17, Z19
	VMOVDQA32        Z15, K3, Z19
	VPSLLD           $3, Z13, Z24
	VPTERNLOGD.BCST  $0xf8, c112<>(SB), Z24, Z19
	VPERMD           Z28, Z10, Z24
	VPORD            Z24, Z19, Z19
	VPANDD.BCST      c7<>(SB), Z10, Z24

	// Z25: low bits of the ISS.
	VPSLLD           $5, Z24, Z25
	VPSLLD           $2, Z17, Z26
	VPANDD.BCST      c2<>(SB), Z13, Z27
	VPTERNLOGD       $0xfe, Z27, Z26, Z25
	VPSLLD           $1, Z24, K3, Z25
	VPORD            Z23, Z25, Z25

	// Z26: TSVal; Z11: MSS|WScale|Opts; Z12: OK.
	VPSUBD           Z19, Z5, Z26
	VPANDD.BCST      c63<>(SB), Z26, Z26
	VPSUBD           Z26, Z5, Z26
	KANDW            K3, K5, K6
	VPADDD.Z         Z8, Z26, K6, Z26
	VPSLLD           $16, Z18, Z18
	VPSLLD           $24, Z13, Z13
	VPTERNLOGD.Z     $0xfe, Z13, Z18, K5, Z11
	VPBROADCASTD.Z   c1<>(SB), K5, Z12

	COVER(Z4, Z19, Z5, Z8, Z9, Z13)
	ROUNDS4(VBROADCASTI32X4, Z16, Z0, Z1, Z2, Z3)
	WORD0(Z0, Z1, Z2, Z3)

	// ISS = low bits xor MAC without its low bits xor the top of the MAC.
	VPSRLD           $24, Z0, Z1
	VPSRLD           $28, Z0, K3, Z1
	VPANDD.BCST      cm8<>(SB), Z0, Z2
	VPANDD.BCST      cm4<>(SB), Z0, K3, Z2
	VPTERNLOGD.Z     $0x96, Z2, Z1, K5, Z25

	TRANSPOSE(Z25, Z26, Z11, Z12, Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7)
	VMOVDQU64 Z4, 0(DI)
	VMOVDQU64 Z5, 64(DI)
	VMOVDQU64 Z6, 128(DI)
	VMOVDQU64 Z7, 192(DI)
	ADDQ $512, SI
	ADDQ $256, DI
	SUBQ $16, CX
	JG   loop
	VZEROUPPER
	RET

// Four segments at off(SI): their Sums to s, Seq, Ack, TSEcr and TSNow to m.
#define LOAD4(off, s, m, ya, a, yb, b) \
	VMOVDQU off(SI), ya                 \
	VMOVDQU off+80(SI), yb              \
	VINSERTI64X4 $1, off+40(SI), a, a   \
	VINSERTI64X4 $1, off+120(SI), b, b  \
	VSHUFI64X2 $0x88, b, a, s           \
	VSHUFI64X2 $0xdd, b, a, m

// HasTS of eight segments to the low byte of acc, the first to its top bit, and V6 to the
// byte above. A Go bool is 0 or 1. Scalar, because the vector ports have enough to do.
#define FLAG(acc, i) \
	MOVWLZX i*40+32(SI), DX \
	LEAL (DX)(acc*2), acc
#define FLAGS(acc, a, b, c, d, e, f, g, h) \
	MOVWLZX a*40+32(SI), acc \
	FLAG(acc, b)  \
	FLAG(acc, c)  \
	FLAG(acc, d)  \
	FLAG(acc, e)  \
	FLAG(acc, f)  \
	FLAG(acc, g)  \
	FLAG(acc, h)

// A round of two schedules, at R9 and R8, for four registers each.
#define BOTH(op, off) \
	VBROADCASTI32X4 off(R9), Z16  \
	VBROADCASTI32X4 off(R8), Z17  \
	op Z16, Z0, Z0      \
	op Z17, Z24, Z24    \
	op Z16, Z1, Z1      \
	op Z17, Z25, Z25    \
	op Z16, Z2, Z2      \
	op Z17, Z26, Z26    \
	op Z16, Z3, Z3      \
	op Z17, Z27, Z27

// Words 0 to 3 of four results in z, the lanes of which are 20 bytes apart from off(DI) on.
#define RESULTS(off, x, z) \
	VMOVDQU x, off(DI)                  \
	VEXTRACTI32X4 $1, z, off+20(DI)     \
	VEXTRACTI32X4 $2, z, off+40(DI)     \
	VEXTRACTI32X4 $3, z, off+60(DI)

// Word 4 of item i, from lane l of what is on the stack.
#define RESULT4(i, l) \
	MOVL fifth-(64-4*l)(SP), BX         \
	MOVL BX, i*20+16(DI)

// func verifyVAES512(even, odd *roundKeys, dst *Result, in *VerifyInput, n int, maxAge, skew uint32)
// Requires AVX512F, AVX512VL, AVX512BW, AVX512DQ, VAES.
TEXT ·verifyVAES512(SB), NOSPLIT, $64-48
	MOVQ even+0(FP), R8
	MOVQ odd+8(FP), R9
	MOVQ dst+16(FP), DI
	MOVQ in+24(FP), SI
	MOVQ n+32(FP), CX
	MOVL maxAge+40(FP), BX
	VPBROADCASTD BX, Z28
	MOVL skew+44(FP), BX
	VPBROADCASTD BX, Z29
	VMOVDQU64 tabMSS<>(SB), Z20
	VMOVDQU64 tabShift<>(SB), Z21
	VPTERNLOGD $0xff, Z30, Z30, Z30

loop:
	// Z0..Z3: Sum; Z4..Z7: Seq, Ack, TSEcr, TSNow; K3: TS; K1: V6; Z8: TSOff.
	LOAD4(0, Z0, Z4, Y8, Z8, Y9, Z9)
	LOAD4(160, Z1, Z5, Y10, Z10, Y11, Z11)
	LOAD4(320, Z2, Z6, Y12, Z12, Y13, Z13)
	LOAD4(480, Z3, Z7, Y14, Z14, Y15, Z15)
	FLAGS(R10, 15, 11, 7, 3, 14, 10, 6, 2)
	FLAGS(R11, 13, 9, 5, 1, 12, 8, 4, 0)
	MOVL  R11, R12
	SHRL  $8, R12
	MOVBLZX R10, R13
	SHLL  $8, R13
	MOVBLZX R11, R11
	ORL   R11, R13
	KMOVW R13, K3
	ANDL  $0xff00, R10
	ORL   R10, R12
	KMOVW R12, K1
	TRANSPOSE(Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z4, Z5, Z6, Z7)
	WORD3(Z9, Z8)

	// Z4: IRS; Z5: ISS.
	VPADDD           Z30, Z5, Z5
	VPADDD           Z30, Z4, Z4

	// Z9: low bits in form N; Z10: in form T; K2: odd epoch; Z12: index of the MSS.
	VPSRLD           $24, Z5, Z9
	VPXORD           Z9, Z5, Z9
	VPANDD.BCST      cff<>(SB), Z9, Z9
	VPSRLD           $28, Z5, Z10
	VPXORD           Z10, Z5, Z10
	VPANDD.BCST      c15<>(SB), Z10, Z10
	VMOVDQA32        Z9, Z11
	VMOVDQA32        Z10, K3, Z11
	VPTESTMD.BCST    c1<>(SB), Z11, K2
	VPSRLD           $5, Z9, Z12
	VPSRLD           $1, Z10, K3, Z12

	// Form N. Z15: data; Z17: shift; Z14: options.
	VPSRLD           $2, Z9, Z13
	VPANDD.BCST      c7<>(SB), Z13, Z13
	VPANDD.BCST      c2<>(SB), Z9, Z14
	VPSLLD           $3, Z14, Z15
	VPORD            Z13, Z15, Z15
	VPERMD           Z21, Z13, Z17
	VPTESTMD         Z13, Z13, K4
	VPORD.BCST       c1<>(SB), Z14, K4, Z14

	// Form T over it. Z6: time with options; Z7: age.
	VPSUBD           Z8, Z6, Z6
	VPSUBD           Z6, Z7, Z7
	VPANDD.BCST      c63<>(SB), Z6, Z18
	VPORD.BCST       c64<>(SB), Z18, K3, Z15
	VPANDD.BCST      c15<>(SB), Z6, Z19
	VPCMPUD.BCST     $4, c15<>(SB), Z19, K3, K4
	VPXORD           Z17, Z17, K3, Z17
	VMOVDQA32        Z19, K4, Z17
	VPSRLD           $3, Z6, Z24
	VPANDD.BCST      c6<>(SB), Z24, Z24
	VPORD.BCST       c8<>(SB), Z24, K3, Z14
	VPORD.BCST       c1<>(SB), Z14, K4, Z14

	// Z15: data; Z18: MSS|WScale|Opts.
	VPSLLD           $8, Z12, Z24
	VPORD            Z24, Z15, Z15
	VPORD.BCST       c128<>(SB), Z15, K1, Z15
	VPORD.BCST       c8<>(SB), Z12, K1, Z12
	VPERMD           Z20, Z12, Z18
	VPSLLD           $16, Z17, Z17
	VPSLLD           $24, Z14, Z14
	VPTERNLOGD       $0xfe, Z14, Z17, Z18

	// K5: time to come; K6: expired. An age within the skew counts as 0.
	VPXORD           Z24, Z24, Z24
	VPMOVD2M         Z7, K4
	KANDW            K3, K4, K4
	VPSUBD           Z7, Z24, Z24
	VPCMPUD          $6, Z29, Z24, K4, K5
	VPXORD           Z7, Z7, K4, Z7
	VPCMPUD          $6, Z28, Z7, K3, K6

	// One key will do if all parities agree.
	MOVQ  R8, AX
	KMOVW K2, DX
	TESTL DX, DX
	JEQ   single
	MOVQ  R9, AX
	CMPL  DX, $0xffff
	JEQ   single
	COVER(Z4, Z15, Z24, Z25, Z26, Z27)
	VPXORD (R8), X16, X17 // from one first round key to the other
	VSHUFI32X4 $0, Z17, Z17, Z17
	VPXORD Z17, Z0, Z24
	VPXORD Z17, Z1, Z25
	VPXORD Z17, Z2, Z26
	VPXORD Z17, Z3, Z27
	BOTH(VAESENC, 16)
	BOTH(VAESENC, 32)
	BOTH(VAESENC, 48)
	BOTH(VAESENC, 64)
	BOTH(VAESENC, 80)
	BOTH(VAESENC, 96)
	BOTH(VAESENC, 112)
	BOTH(VAESENC, 128)
	BOTH(VAESENC, 144)
	BOTH(VAESENCLAST, 160)
	WORD0(Z24, Z25, Z26, Z27)
	WORD0(Z0, Z1, Z2, Z3)
	KNOTW K2, K2
	VMOVDQA32 Z24, K2, Z0
	JMP   judge

single:
	COVER(Z4, Z15, Z24, Z25, Z26, Z27)
	ROUNDS4(VBROADCASTI32X4, Z16, Z0, Z1, Z2, Z3)
	WORD0(Z0, Z1, Z2, Z3)

judge:
	// K7: accepted. Z2: Reason | OK<<8.
	VPXORD           Z5, Z0, Z0
	VPBROADCASTD     cm8<>(SB), Z1
	VPBROADCASTD     cm4<>(SB), K3, Z1
	VPTESTNMD        Z1, Z0, K4
	KORW             K5, K6, K7
	KANDNW           K4, K7, K7
	VPBROADCASTD     c1<>(SB), Z2
	VPBROADCASTD     c2<>(SB), K5, Z2
	VPBROADCASTD     c3<>(SB), K6, Z2
	VPBROADCASTD     c256<>(SB), K7, Z2
	KANDW            K3, K7, K6
	VMOVDQA32.Z      Z4, K7, Z4
	VMOVDQA32.Z      Z5, K7, Z5
	VMOVDQA32.Z      Z7, K6, Z7
	VMOVDQA32.Z      Z18, K7, Z18

	TRANSPOSE(Z4, Z5, Z7, Z18, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15)
	VMOVDQU64 Z2, fifth-64(SP)
	RESULTS(0, X12, Z12)
	RESULTS(80, X13, Z13)
	RESULTS(160, X14, Z14)
	RESULTS(240, X15, Z15)
	RESULT4(0, 0)
	RESULT4(1, 4)
	RESULT4(2, 8)
	RESULT4(3, 12)
	RESULT4(4, 1)
	RESULT4(5, 5)
	RESULT4(6, 9)
	RESULT4(7, 13)
	RESULT4(8, 2)
	RESULT4(9, 6)
	RESULT4(10, 10)
	RESULT4(11, 14)
	RESULT4(12, 3)
	RESULT4(13, 7)
	RESULT4(14, 11)
	RESULT4(15, 15)
	ADDQ $640, SI
	ADDQ $320, DI
	SUBQ $16, CX
	JG   loop
	VZEROUPPER
	RET
