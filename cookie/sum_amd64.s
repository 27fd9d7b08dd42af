//go:build !purego

#include "textflag.h"
#include "aes_amd64.h"

// Per tuple the dwords RemoteLo, LocalLo and ports of its last 32 bytes.
DATA sumPick<>+0(SB)/8, $0x0000000400000000
DATA sumPick<>+8(SB)/8, $0x0000000700000006
DATA sumPick<>+16(SB)/8, $0x0000000c00000008
DATA sumPick<>+24(SB)/8, $0x0000000f0000000e
DATA sumPick<>+32(SB)/8, $0x0000001400000010
DATA sumPick<>+40(SB)/8, $0x0000001700000016
DATA sumPick<>+48(SB)/8, $0x0000001c00000018
DATA sumPick<>+56(SB)/8, $0x0000001f0000001e
GLOBL sumPick<>(SB), RODATA|NOPTR, $64

// The domain word in its place, and what turns a first block for IPv4 into one for IPv6.
DATA sumDomain4<>+0(SB)/8, $0x0000000000000000
DATA sumDomain4<>+8(SB)/8, $0x3476736600000000
DATA sumDomain4<>+16(SB)/8, $0x0000000000000000
DATA sumDomain4<>+24(SB)/8, $0x3476736600000000
DATA sumDomain4<>+32(SB)/8, $0x0000000000000000
DATA sumDomain4<>+40(SB)/8, $0x3476736600000000
DATA sumDomain4<>+48(SB)/8, $0x0000000000000000
DATA sumDomain4<>+56(SB)/8, $0x3476736600000000
GLOBL sumDomain4<>(SB), RODATA|NOPTR, $64

DATA sumKeep6<>+0(SB)/8, $0x0000000000000000
DATA sumKeep6<>+8(SB)/8, $0xffffffffffffffff
DATA sumKeep6<>+16(SB)/8, $0x0000000000000000
DATA sumKeep6<>+24(SB)/8, $0xffffffffffffffff
DATA sumKeep6<>+32(SB)/8, $0x0000000000000000
DATA sumKeep6<>+40(SB)/8, $0xffffffffffffffff
DATA sumKeep6<>+48(SB)/8, $0x0000000000000000
DATA sumKeep6<>+56(SB)/8, $0xffffffffffffffff
GLOBL sumKeep6<>(SB), RODATA|NOPTR, $64

DATA sumFlip6<>+0(SB)/8, $0x0000000000000000
DATA sumFlip6<>+8(SB)/8, $0x0200000000000000
DATA sumFlip6<>+16(SB)/8, $0x0000000000000000
DATA sumFlip6<>+24(SB)/8, $0x0200000000000000
DATA sumFlip6<>+32(SB)/8, $0x0000000000000000
DATA sumFlip6<>+40(SB)/8, $0x0200000000000000
DATA sumFlip6<>+48(SB)/8, $0x0000000000000000
DATA sumFlip6<>+56(SB)/8, $0x0200000000000000
GLOBL sumFlip6<>(SB), RODATA|NOPTR, $64

// An IPv4 tuple is 0 (or the low half of Lo) where the mask says, after the xor: in
// the last 32 bytes, and in Hi|Lo.
DATA sumMapped8<>+0(SB)/8, $0x0000ffff00000000
DATA sumMapped8<>+8(SB)/8, $0x0000000000000000
DATA sumMapped8<>+16(SB)/8, $0x0000ffff00000000
DATA sumMapped8<>+24(SB)/8, $0x0000000000000000
DATA sumMapped8<>+32(SB)/8, $0x0000ffff00000000
DATA sumMapped8<>+40(SB)/8, $0x0000000000000000
DATA sumMapped8<>+48(SB)/8, $0x0000ffff00000000
DATA sumMapped8<>+56(SB)/8, $0x0000000000000000
GLOBL sumMapped8<>(SB), RODATA|NOPTR, $64

DATA sumCare8<>+0(SB)/8, $0xffffffff00000000
DATA sumCare8<>+8(SB)/8, $0xffffffffffffffff
DATA sumCare8<>+16(SB)/8, $0xffffffff00000000
DATA sumCare8<>+24(SB)/8, $0x0000000000000000
DATA sumCare8<>+32(SB)/8, $0xffffffff00000000
DATA sumCare8<>+40(SB)/8, $0xffffffffffffffff
DATA sumCare8<>+48(SB)/8, $0xffffffff00000000
DATA sumCare8<>+56(SB)/8, $0x0000000000000000
GLOBL sumCare8<>(SB), RODATA|NOPTR, $64

DATA sumMapped4<>+0(SB)/8, $0x0000000000000000
DATA sumMapped4<>+8(SB)/8, $0x0000ffff00000000
DATA sumMapped4<>+16(SB)/8, $0x0000000000000000
DATA sumMapped4<>+24(SB)/8, $0x0000ffff00000000
DATA sumMapped4<>+32(SB)/8, $0x0000000000000000
DATA sumMapped4<>+40(SB)/8, $0x0000ffff00000000
DATA sumMapped4<>+48(SB)/8, $0x0000000000000000
DATA sumMapped4<>+56(SB)/8, $0x0000ffff00000000
GLOBL sumMapped4<>(SB), RODATA|NOPTR, $64

DATA sumCare4<>+0(SB)/8, $0xffffffffffffffff
DATA sumCare4<>+8(SB)/8, $0xffffffff00000000
DATA sumCare4<>+16(SB)/8, $0xffffffffffffffff
DATA sumCare4<>+24(SB)/8, $0xffffffff00000000
DATA sumCare4<>+32(SB)/8, $0xffffffffffffffff
DATA sumCare4<>+40(SB)/8, $0xffffffff00000000
DATA sumCare4<>+48(SB)/8, $0xffffffffffffffff
DATA sumCare4<>+56(SB)/8, $0xffffffff00000000
GLOBL sumCare4<>(SB), RODATA|NOPTR, $64

// Four tuples at off(SI) to four first blocks for IPv4 in dst. a and b (and their low
// halves ya and yb) are scratch; Z24 and DX collect what no IPv4 tuple has set.
#define GATHER(off, dst, ya, a, yb, b) \
	VMOVDQU off+8(SI), ya                  \
	VMOVDQU off+88(SI), yb                 \
	VINSERTI64X4 $1, off+48(SI), a, a      \
	VINSERTI64X4 $1, off+128(SI), b, b     \
	ORQ off(SI), DX                        \
	ORQ off+40(SI), DX                     \
	ORQ off+80(SI), DX                     \
	ORQ off+120(SI), DX                    \
	VPXORD Z22, a, Z25                     \
	VPTERNLOGD $0xf8, Z23, Z25, Z24        \
	VPXORD Z22, b, Z25                     \
	VPTERNLOGD $0xf8, Z23, Z25, Z24        \
	VPERMT2D.Z b, Z20, K7, a               \
	VPORD Z21, a, dst

// The addresses of four tuples at off(SI) to r and l; k gets those that are not IPv4,
// two bits each, and their first blocks in z are put right.
#define GATHER6(off, z, xr, r, xl, l, k) \
	VMOVDQU off(SI), xr                    \
	VMOVDQU off+16(SI), xl                 \
	VINSERTI32X4 $1, off+40(SI), r, r      \
	VINSERTI32X4 $1, off+56(SI), l, l      \
	VINSERTI32X4 $2, off+80(SI), r, r      \
	VINSERTI32X4 $2, off+96(SI), l, l      \
	VINSERTI32X4 $3, off+120(SI), r, r     \
	VINSERTI32X4 $3, off+136(SI), l, l     \
	VPXORD Z26, r, Z24                     \
	VPXORD Z26, l, Z25                     \
	VPTERNLOGD $0xa8, Z27, Z25, Z24        \
	VPSHUFD $0x4e, Z24, Z25                \
	VPORD Z25, Z24, Z24                    \
	VPTESTMQ Z24, Z24, k                   \
	VPTERNLOGQ $0x6a, Z29, Z28, k, z

// func sumVAES512(rk *roundKeys, dst *Sum, in *Tuple, n int)
// Requires AVX512F, AVX512VL, AVX512BW, AVX512DQ, VAES.
// 16 tuples a pass: one block each if all are IPv4, else three, of which IPv4 uses
// the first.
TEXT ·sumVAES512(SB), NOSPLIT, $0-32
	MOVQ rk+0(FP), AX
	MOVQ dst+8(FP), DI
	MOVQ in+16(FP), SI
	MOVQ n+24(FP), CX
	VMOVDQU64 sumPick<>(SB), Z20
	VMOVDQU64 sumDomain4<>(SB), Z21
	VMOVDQU64 sumMapped8<>(SB), Z22
	VMOVDQU64 sumCare8<>(SB), Z23
	VMOVDQU64 sumMapped4<>(SB), Z26
	VMOVDQU64 sumCare4<>(SB), Z27
	VMOVDQU64 sumKeep6<>(SB), Z28
	VMOVDQU64 sumFlip6<>(SB), Z29
	MOVL  $0x7777, BX
	KMOVW BX, K7

loop:
	XORL  DX, DX
	VPXORD Z24, Z24, Z24
	GATHER(0, Z0, Y4, Z4, Y5, Z5)
	GATHER(160, Z1, Y6, Z6, Y7, Z7)
	GATHER(320, Z2, Y8, Z8, Y9, Z9)
	GATHER(480, Z3, Y10, Z10, Y11, Z11)
	VPTESTMD Z24, Z24, K1
	KMOVW K1, BX
	ORQ   BX, DX
	JNZ   mixed
	CIPHER4(VPXORQ, VBROADCASTI32X4, Z16, Z0, Z1, Z2, Z3)

store:
	VMOVDQU64 Z0, 0(DI)
	VMOVDQU64 Z1, 64(DI)
	VMOVDQU64 Z2, 128(DI)
	VMOVDQU64 Z3, 192(DI)
	ADDQ $640, SI
	ADDQ $256, DI
	SUBQ $16, CX
	JG   loop
	VZEROUPPER
	RET

mixed:
	GATHER6(0, Z0, X4, Z4, X8, Z8, K1)
	GATHER6(160, Z1, X5, Z5, X9, Z9, K2)
	GATHER6(320, Z2, X6, Z6, X10, Z10, K3)
	GATHER6(480, Z3, X7, Z7, X11, Z11, K4)
	CIPHER4(VPXORQ, VBROADCASTI32X4, Z16, Z0, Z1, Z2, Z3)
	VPXORQ Z4, Z0, Z12
	VPXORQ Z5, Z1, Z13
	VPXORQ Z6, Z2, Z14
	VPXORQ Z7, Z3, Z15
	CIPHER4(VPXORQ, VBROADCASTI32X4, Z16, Z12, Z13, Z14, Z15)
	VPXORQ Z8, Z12, Z12
	VPXORQ Z9, Z13, Z13
	VPXORQ Z10, Z14, Z14
	VPXORQ Z11, Z15, Z15
	CIPHER4(VPXORQ, VBROADCASTI32X4, Z16, Z12, Z13, Z14, Z15)
	VMOVDQA64 Z12, K1, Z0
	VMOVDQA64 Z13, K2, Z1
	VMOVDQA64 Z14, K3, Z2
	VMOVDQA64 Z15, K4, Z3
	JMP  store
