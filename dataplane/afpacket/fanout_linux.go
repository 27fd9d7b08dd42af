package afpacket

import (
	"math/bits"

	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/rss"
)

// retaSize is the size of the redirection table that the program imitates.
const retaSize = 128

// The classic BPF ancillary loads (linux/filter.h).
const (
	skfAdOff      = 0xfffff000 // SKF_AD_OFF, -0x1000
	skfAdProtocol = 0          // skb->protocol, in host order
)

// steer returns the PACKET_FANOUT_CBPF program that picks the queue of a frame:
// RETA[Toeplitz & 127] of the TCP 4-tuple, with the RETA dealt round robin, so
// (hash & 127) % queues. The tuple is that of package dataplane/steer: of a whole TCP segment right
// behind an IPv4 header (options allowed) or an IPv6 header (options and atomic fragment headers
// allowed), or of the one that an ICMP error quotes, reversed. Everything else
// goes to queue 0: ARP, NDP, echo, fragments, other extension headers, a second VLAN tag.
//
// A fanout program sees the frame from the network header on (found by
// experiment, pinned by TestFanoutOffsets): packet_rcv_fanout runs it
// before the Ethernet header is pushed back. The kernel has already taken an
// outer VLAN tag off by then, so tagged frames need nothing extra. A load
// beyond the end of the frame ends the program with 0.
func steer(key rss.Key, queues int) []unix.SockFilter {
	v4 := append(tuple4(), toeplitz(key, 3, queues)...)
	v6 := append(tuple6(), toeplitz(key, 9, queues)...)
	p := []unix.SockFilter{
		ins(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, skfAdOff+skfAdProtocol),
		jump(unix.BPF_JEQ, unix.ETH_P_IP, 3, 0),
		jump(unix.BPF_JEQ, unix.ETH_P_IPV6, 0, 1),
		ins(unix.BPF_JMP|unix.BPF_JA, uint32(len(v4))+1),
		ins(unix.BPF_RET|unix.BPF_K, 0),
	}
	return append(append(p, v4...), v6...)
}

// tuple4 returns the code that puts source, destination and ports into M[0..2].
func tuple4() []unix.SockFilter {
	tcp := []unix.SockFilter{
		ins(unix.BPF_LD|unix.BPF_W|unix.BPF_IND, 0), // ports
		ins(unix.BPF_ST, 2),
		ins(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 12),
		ins(unix.BPF_ST, 0),
		ins(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 16),
		ins(unix.BPF_ST, 1),
	}
	quoted := []unix.SockFilter{
		ins(unix.BPF_LD|unix.BPF_B|unix.BPF_IND, 0), // type
		jump(unix.BPF_JEQ, wire.ICMPUnreachable, 4, 0),
		jump(unix.BPF_JEQ, wire.ICMPSourceQuench, 3, 0),
		jump(unix.BPF_JEQ, wire.ICMPTimeExceeded, 2, 0),
		jump(unix.BPF_JEQ, wire.ICMPParamProblem, 1, 0),
		ins(unix.BPF_RET|unix.BPF_K, 0),
		ins(unix.BPF_LD|unix.BPF_H|unix.BPF_IND, 8+6), // fragment offset
		jump(unix.BPF_JSET, 0x1fff, 2, 0),
		ins(unix.BPF_LD|unix.BPF_B|unix.BPF_IND, 8+9), // protocol
		jump(unix.BPF_JEQ, unix.IPPROTO_TCP, 1, 0),
		ins(unix.BPF_RET|unix.BPF_K, 0),
		ins(unix.BPF_LD|unix.BPF_W|unix.BPF_IND, 8+12),
		ins(unix.BPF_ST, 1),
		ins(unix.BPF_LD|unix.BPF_W|unix.BPF_IND, 8+16),
		ins(unix.BPF_ST, 0),
		ins(unix.BPF_LD|unix.BPF_B|unix.BPF_IND, 8), // version and header length
		jump(unix.BPF_JGE, 0x50, 1, 0),
		jump(unix.BPF_JGE, 0x45, 1, 0),
		ins(unix.BPF_RET|unix.BPF_K, 0),
		alu(unix.BPF_AND, 15),
		alu(unix.BPF_LSH, 2),
		aluX(unix.BPF_ADD),
		ins(unix.BPF_MISC|unix.BPF_TAX, 0),
		ins(unix.BPF_LD|unix.BPF_W|unix.BPF_IND, 8+4), // is there a sequence number?
		ins(unix.BPF_LD|unix.BPF_W|unix.BPF_IND, 8),
	}
	quoted = append(quoted, swapPorts(2)...)
	p := []unix.SockFilter{
		ins(unix.BPF_LD|unix.BPF_H|unix.BPF_ABS, 6), // more fragments, or an offset
		jump(unix.BPF_JSET, 0x3fff, 4, 0),
		ins(unix.BPF_LDX|unix.BPF_B|unix.BPF_MSH, 0), // X = header length
		ins(unix.BPF_LD|unix.BPF_B|unix.BPF_ABS, 9),  // protocol
		jump(unix.BPF_JEQ, unix.IPPROTO_TCP, 2, 0),
		jump(unix.BPF_JEQ, unix.IPPROTO_ICMP, uint8(1+len(tcp)+1), 0),
		ins(unix.BPF_RET|unix.BPF_K, 0),
	}
	p = append(append(p, tcp...), ins(unix.BPF_JMP|unix.BPF_JA, uint32(len(quoted))))
	return append(p, quoted...)
}

// tuple6 returns the code that puts source, destination and ports into M[0..8].
func tuple6() []unix.SockFilter {
	tcp := []unix.SockFilter{
		ins(unix.BPF_LDX|unix.BPF_W|unix.BPF_IMM, 40),
		ins(unix.BPF_LD|unix.BPF_W|unix.BPF_IND, 0), // ports
		ins(unix.BPF_ST, 8),
	}
	for w := range uint32(8) { // one run of bytes
		tcp = append(tcp, ins(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 8+4*w), ins(unix.BPF_ST, w))
	}
	ext := extensions()
	const ip = 40 + 8 // where the quote begins
	quoted := []unix.SockFilter{
		ins(unix.BPF_LD|unix.BPF_B|unix.BPF_ABS, 40), // type
		jump(unix.BPF_JGT, wire.ICMPv6ParamProblem, 6, 0),
		jump(unix.BPF_JGE, wire.ICMPv6Unreachable, 0, 5),
		ins(unix.BPF_LD|unix.BPF_B|unix.BPF_ABS, ip), // version
		alu(unix.BPF_AND, 0xf0),
		jump(unix.BPF_JEQ, 0x60, 0, 2),
		ins(unix.BPF_LD|unix.BPF_B|unix.BPF_ABS, ip+6), // next header
		jump(unix.BPF_JEQ, unix.IPPROTO_TCP, 1, 0),
		ins(unix.BPF_RET|unix.BPF_K, 0),
		ins(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, ip+40+4), // is there a sequence number?
	}
	for w := range uint32(8) {
		quoted = append(quoted, ins(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, ip+8+4*w), ins(unix.BPF_ST, (w+4)&7))
	}
	quoted = append(quoted, ins(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, ip+40))
	quoted = append(quoted, swapPorts(8)...)
	p := []unix.SockFilter{
		ins(unix.BPF_LD|unix.BPF_B|unix.BPF_ABS, 6), // next header
		jump(unix.BPF_JEQ, unix.IPPROTO_TCP, uint8(1+len(ext)+1), 0),
		jump(unix.BPF_JEQ, unix.IPPROTO_ICMPV6, uint8(len(ext)+1+len(tcp)+1), 0),
	}
	p = append(append(p, ext...), ins(unix.BPF_JMP|unix.BPF_JA, 1)) // past the LDX
	p = append(append(p, tcp...), ins(unix.BPF_JMP|unix.BPF_JA, uint32(len(quoted))))
	return append(p, quoted...)
}

// maxExt is how many extension headers are skipped, as by packages steer and wire.
const maxExt = 8

// extensions returns the code that walks the extension headers of an IPv6 packet,
// from A = the type of the first, to X = the offset of TCP, as package steer does.
func extensions() []unix.SockFilter {
	const size, next = 9, 10 // scratch
	options := []unix.SockFilter{
		ins(unix.BPF_LD|unix.BPF_B|unix.BPF_IND, 1),
		alu(unix.BPF_ADD, 1),
		alu(unix.BPF_LSH, 3),
	}
	fragment := []unix.SockFilter{
		ins(unix.BPF_LD|unix.BPF_H|unix.BPF_IND, 2),
		jump(unix.BPF_JSET, 0xfff9, 0, 1), // an offset, or more fragments
		ins(unix.BPF_RET|unix.BPF_K, 0),
		ins(unix.BPF_LD|unix.BPF_IMM, 8),
		ins(unix.BPF_JMP|unix.BPF_JA, uint32(len(options))),
	}
	step := []unix.SockFilter{ // from A = size to A = next header, X behind this one
		ins(unix.BPF_ST, size),
		ins(unix.BPF_LD|unix.BPF_B|unix.BPF_IND, 0),
		ins(unix.BPF_ST, next),
		ins(unix.BPF_LD|unix.BPF_MEM, size),
		aluX(unix.BPF_ADD),
		ins(unix.BPF_MISC|unix.BPF_TAX, 0),
		ins(unix.BPF_LD|unix.BPF_MEM, next),
	}
	handled := len(fragment) + len(options) + len(step)
	c := code{}
	c.emit(
		ins(unix.BPF_LDX|unix.BPF_W|unix.BPF_IMM, 40),
		jump(unix.BPF_JEQ, unix.IPPROTO_HOPOPTS, uint8(4+len(fragment)), 0), // at the front only
	)
	for left := maxExt - 1; left >= 0; left-- {
		c.emit(
			jump(unix.BPF_JEQ, unix.IPPROTO_DSTOPTS, uint8(3+len(fragment)), 0),
			jump(unix.BPF_JEQ, unix.IPPROTO_FRAGMENT, 2, 0),
			jump(unix.BPF_JEQ, unix.IPPROTO_TCP, uint8(1+handled+left*(4+handled)+2), 0),
			ins(unix.BPF_RET|unix.BPF_K, 0),
		)
		c.emit(fragment...)
		c.emit(options...)
		c.emit(step...)
	}
	c.emit(jump(unix.BPF_JEQ, unix.IPPROTO_TCP, 1, 0), ins(unix.BPF_RET|unix.BPF_K, 0))
	return c.p
}

// swapPorts returns the code that puts A with its halves swapped into M[to].
func swapPorts(to uint32) []unix.SockFilter {
	return []unix.SockFilter{
		ins(unix.BPF_ST, to),
		alu(unix.BPF_LSH, 16),
		ins(unix.BPF_MISC|unix.BPF_TAX, 0),
		ins(unix.BPF_LD|unix.BPF_MEM, to),
		alu(unix.BPF_RSH, 16),
		aluX(unix.BPF_OR),
		ins(unix.BPF_ST, to),
	}
}

// The hash is linear over bits, so bit j of it is the parity of the input under
// a mask that is the key shifted by j. Eight such masked words are folded
// side by side in one register, as bytes and then nibbles; where they end up is
// slotBit. BPF scratch: M[0..8] input words, M[9..13] partial results.
var slotBit = [8]int{0, 2, 1, 3, 4, 6, 5, 7}

const scratch = 9

// toeplitz returns the code from the input words in M[0..words) to the end.
func toeplitz(key rss.Key, words, queues int) []unix.SockFilter {
	// With a power of two, (hash & 127) % queues reads only that many bits.
	need := bits.Len(retaSize - 1)
	if queues&(queues-1) == 0 {
		need = bits.Len(uint(queues - 1))
	}
	c := code{}
	short := key.Symmetric()
	if short {
		// The key repeats every 16 bits: all 16-bit words of the input see
		// the same windows, so fold them into one, kept twice over in M[0].
		c.emit(ins(unix.BPF_LD|unix.BPF_MEM, 0))
		for w := 1; w < words; w++ {
			c.emit(ins(unix.BPF_MISC|unix.BPF_TAX, 0), ins(unix.BPF_LD|unix.BPF_MEM, uint32(w)), aluX(unix.BPF_XOR))
		}
		c.fold(16)
		c.emit(alu(unix.BPF_AND, 0xffff), ins(unix.BPF_MISC|unix.BPF_TAX, 0), alu(unix.BPF_LSH, 16), aluX(unix.BPF_OR), ins(unix.BPF_ST, 0))
	}
	for s := range 4 { // slots s and s+4 as halves of one word, folded to bytes
		lo, hi := slotBit[s], slotBit[s+4]
		if short {
			c.emit(ins(unix.BPF_LD|unix.BPF_MEM, 0), alu(unix.BPF_AND, mask(key, 0, lo, need)&0xffff|mask(key, 0, hi, need)<<16))
		} else {
			c.masked(key, words, hi, need)
			c.fold(16)
			c.emit(alu(unix.BPF_LSH, 16), ins(unix.BPF_ST, scratch+4))
			c.masked(key, words, lo, need)
			c.fold(16)
			c.emit(alu(unix.BPF_AND, 0xffff), ins(unix.BPF_MISC|unix.BPF_TAX, 0), ins(unix.BPF_LD|unix.BPF_MEM, scratch+4), aluX(unix.BPF_OR))
		}
		c.fold(8)
		c.emit(alu(unix.BPF_AND, 0x00ff00ff), ins(unix.BPF_ST, uint32(scratch+s)))
	}
	for s := range 2 { // four bytes per word, folded to nibbles
		c.merge(scratch+2*s, scratch+2*s+1, 8)
		c.fold(4)
		c.emit(alu(unix.BPF_AND, 0x0f0f0f0f), ins(unix.BPF_ST, uint32(scratch+2*s)))
	}
	c.merge(scratch, scratch+2, 4) // eight nibbles
	c.fold(2)
	c.fold(1)
	c.emit(alu(unix.BPF_AND, 0x11111111)) // eight parities; now close the gaps
	c.fold(3)
	c.emit(alu(unix.BPF_AND, 0x03030303))
	c.fold(6)
	c.emit(alu(unix.BPF_AND, 0x000f000f))
	c.fold(12)
	c.emit(alu(unix.BPF_AND, retaSize-1), alu(unix.BPF_MOD, uint32(queues)), ins(unix.BPF_RET|unix.BPF_A, 0))
	return c.p
}

// mask returns which bits of input word w bit j of the hash depends on, none
// when only the low need bits are wanted. Input bit n, counted from the first
// byte's top, adds the 32-bit key window that starts at key bit n.
func mask(key rss.Key, w, j, need int) (m uint32) {
	if j >= need {
		return 0
	}
	for n := 32 * w; n < 32*w+32; n++ {
		at := n + 31 - j
		m = m<<1 | uint32(key[at/8]>>(7-at%8))&1
	}
	return m
}

type code struct{ p []unix.SockFilter }

func (c *code) emit(in ...unix.SockFilter) { c.p = append(c.p, in...) }

// fold sets A ^= A >> n; X is lost.
func (c *code) fold(n uint32) {
	c.emit(ins(unix.BPF_MISC|unix.BPF_TAX, 0), alu(unix.BPF_RSH, n), aluX(unix.BPF_XOR))
}

// merge sets A = M[lo] | M[hi] << n; X is lost.
func (c *code) merge(lo, hi int, n uint32) {
	c.emit(ins(unix.BPF_LD|unix.BPF_MEM, uint32(hi)), alu(unix.BPF_LSH, n), ins(unix.BPF_MISC|unix.BPF_TAX, 0),
		ins(unix.BPF_LD|unix.BPF_MEM, uint32(lo)), aluX(unix.BPF_OR))
}

// masked sets A to the xor of all input words under their masks for hash bit j.
func (c *code) masked(key rss.Key, words, j, need int) {
	if j >= need {
		c.emit(ins(unix.BPF_LD|unix.BPF_IMM, 0))
		return
	}
	for w := range words {
		if w > 0 {
			c.emit(ins(unix.BPF_MISC|unix.BPF_TAX, 0))
		}
		c.emit(ins(unix.BPF_LD|unix.BPF_MEM, uint32(w)), alu(unix.BPF_AND, mask(key, w, j, need)))
		if w > 0 {
			c.emit(aluX(unix.BPF_XOR))
		}
	}
}

func ins(op uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: op, K: k} }

func alu(op uint16, k uint32) unix.SockFilter { return ins(unix.BPF_ALU|op|unix.BPF_K, k) }

func aluX(op uint16) unix.SockFilter { return ins(unix.BPF_ALU|op|unix.BPF_X, 0) }

func jump(op uint16, k uint32, jt, jf uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, Jt: jt, Jf: jf, K: k}
}
