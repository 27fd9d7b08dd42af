// Package cookie computes everything an endpoint derives from a 4-tuple and a
// secret: the table hash, the initial sequence number (RFC 6528), the timestamp
// offset (RFC 7323 §7.1) and SYN cookies (RFC 4987 §3.6). It reads no clock,
// holds no lock on the packet path and does not allocate there; time and keys
// come in from outside. All calls take batches.
//
// # One PRF of the tuple
//
// [Hasher.Sum] is CBC-MAC with AES-128 under a key of the process or the fleet
// ([Sum] for the exact bytes). IPv4 takes one block, IPv6 three; both begin with
// a block that holds another domain word, so the set of messages is prefix-free,
// which is the condition under which CBC-MAC is a PRF (Petrank and Rackoff,
// 2000). Words are little-endian, so that on amd64 the input block is a gather
// of Tuple fields and the output block is a Sum in memory.
//
// # SYN cookies
//
// The cookie is a cascade: AES under the key of the epoch over the Sum, with the
// data of this SYN xor-ed onto the ISN and TSOff words:
//
//	block = Hash | ISN xor IRS | TSOff xor data
//	data  = wscale code (bits 0-3), SACK (4), ECN (5), TS (6), V6 (7), MSS index (8-10)
//
// Why this is safe. For one tuple the xor is a bijection, so two SYNs that differ
// in any covered field have different blocks, and AES under a secret key turns
// different blocks into unpredictable values. Only two tuples whose blocks are
// equal could share a cookie, and a bit that carries chosen data gives no
// protection against that: the peer chooses the data, and the ISN and TSOff
// words can be worked out anyway from a stateful SYN-ACK and the clock. What
// protects are the bits left alone: the 64 bits of Hash, which never leave the
// machine, and the upper 21 bits of TSOff. A peer that holds cookies for n tuples
// of its own therefore hits the block of a foreign tuple with odds n/2^64 at
// best, which is nothing beside guessing. Data must never be laid over Hash:
// every bit so covered would be a bit lost. Should the tuple key leak alone, the
// cookies still stand on the epoch key.
//
// Form T, for a SYN with the Timestamps option. The ISS is 28 bits of MAC, a
// 3-bit MSS index and the parity of the epoch:
//
//	ISS  = MAC(28) | (index(3) | parity(1)) xor top 4 bits of MAC
//	TSval = TSOff + the latest ms ≤ now whose low 6 bits are wscale(4, 15 = none) | SACK<<4 | ECN<<5
//
// Form N, for a SYN without it, after FreeBSD. No ECN; the window scale is
// rounded down to one of {none, 0, 2, 4, 6, 7, 8, 10}:
//
//	ISS = MAC(24) | (index(3) | wscale index(3) | SACK(1) | parity(1)) xor top 8 bits of MAC
//
// The xor spreads the low bits evenly and, as the top of the MAC is there to be
// read, gives the parity back before any key is chosen. So each check costs
// one AES block, although two epochs are open. It hides nothing. The time in
// TSval is checked but not covered by the MAC: a SYN sent twice must get the same
// ISS twice, and the peer may echo the TSval of either answer.
//
// Unlike a stateful ISS ([ISN]), a cookie does not grow with time (ISN-002). A
// peer that sends a SYN has no record of the tuple that could object; but an old
// duplicate of ours that is still in the network falls into its new window with
// odds window/2^32 instead of never, unless timestamps sort it out (PAWS).
//
// # Forgery odds
//
// How many of the 2^32 values of one ACK number pass, for a blind sender that
// knows everything but the keys; the others are counted from their sources:
//
//	form     values  odds     at 14.88 M ACK/s, one per
//	T        16      2^-28    18 s
//	N        256     2^-24    1.1 s
//	Linux    8       2^-29    36 s    (4 MSS values, 2 epochs)
//	gVisor   12      2^-28.4  24 s
//	FreeBSD  256     2^-24    1.1 s
//	dpvs     9600    2^-18.8  0.03 s
//
// The tests of CKI-019 count the first three and try random ACKs against them.
//
// In form T a sender that does not know the tuple's TSOff must also hit a time
// between now and two epochs ago, 2^-15 more for 60 s epochs. But the sender
// chooses the form by adding or leaving out the option, so an endpoint that
// answers both forms stands at 2^-24, as FreeBSD does: option bits in the ISN are
// paid for in forgeries. Completions by cookie need a rate limit and a counter
// (CKI-019); that is the engine's work.
//
// # Keys
//
// A [Ring] derives one key per epoch from a [Secret] and UTC, so that machines
// which share the secret, the epoch length, their own window shift and the
// timestamp clock complete each other's handshakes (CKI-018). It publishes an
// immutable [Keys] through an atomic pointer: load it once per burst. A cookie is
// good for one to two epochs. Types that hold or reveal a secret print, log and
// marshal as "[redacted]".
//
// # Kernels
//
// AES runs in 512-bit, 256-bit or 128-bit registers on amd64, whichever is the best the
// machine has ([Kernel]); elsewhere, and with the build tag purego, crypto/aes does
// it, which is also the specification the others are tested against. With AES
// instructions it runs in constant time; without, the tables of crypto/aes may leak
// timing to a local observer. From 16 lanes on the 512-bit kernel does all of Sum, Mint and
// Verify; shorter batches go through Go. docs/adr/0012 has the numbers.
//
// # Other cookies
//
// [FastOpen] makes Fast Open cookies (RFC 7413) in two forms, from a [Secret] and as Linux
// does. [Linux] is the SYN cookie of the Linux kernel, exactly, for interoperation and as a
// yardstick; it leaves open what the forms above close. [Peek] reads what a cookie shows
// without a key.
package cookie
