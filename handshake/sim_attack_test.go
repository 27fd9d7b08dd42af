package handshake

import (
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// attack is what third parties send in this millisecond. They know addresses and
// ports, and no sequence number.
func (w *simWorld) attack() {
	flood := w.c.flood
	if w.c.phases && w.now/1e6/128%2 == 0 { // so that pressure comes and goes
		flood = 0
	}
	for range flood {
		w.forge(w.nodes[1], w.spoofed())
	}
	for range w.c.blind {
		d := w.nodes[w.rng.IntN(len(w.nodes))]
		if len(d.alive) == 0 {
			continue
		}
		s := w.guess()
		s.Tuple = swap(d.wit.flows[d.alive[w.rng.IntN(len(d.alive))]].tup)
		if w.rng.IntN(4) == 0 {
			w.forgeICMP(d, &s)
			continue
		}
		w.forge(d, s)
	}
}

// spoofed is a SYN, or an ACK that hopes to pass for the end of a handshake, from
// an address where nobody is.
func (w *simWorld) spoofed() wire.Segment {
	s := w.guess()
	s.Tuple = wire.Tuple{
		Local: wire.Addr4(0xac100000 | w.rng.Uint32()>>12), Remote: our4,
		LocalPort: uint16(w.rng.Uint32()), RemotePort: 80 + uint16(w.rng.IntN(2)),
	}
	s.Flags = wire.FlagSYN
	if w.rng.IntN(8) == 0 {
		s.Flags = wire.FlagACK
	}
	return s
}

// guess is a segment with any flags and numbers.
func (w *simWorld) guess() wire.Segment {
	flags := [...]wire.Flags{
		wire.FlagSYN, wire.FlagSYN | wire.FlagACK, wire.FlagACK, wire.FlagRST, wire.FlagRST | wire.FlagACK,
		wire.FlagFIN | wire.FlagACK, wire.FlagACK | wire.FlagPSH, wire.Flags(w.rng.Uint32() & 0x1ff),
	}
	s := wire.Segment{
		Seq: wire.Seq(w.rng.Uint32()), Ack: wire.Seq(w.rng.Uint32()),
		Flags: flags[w.rng.IntN(len(flags))], Win: uint16(w.rng.Uint32()),
	}
	if w.rng.IntN(2) == 0 {
		s.Opt.Has = wire.HasMSS | wire.HasWScale | wire.HasSACKPermitted
		s.Opt.MSS, s.Opt.WScale = uint16(w.rng.Uint32()), uint8(w.rng.IntN(15))
	}
	if w.rng.IntN(2) == 0 {
		s.Opt.Has |= wire.HasTimestamps
		s.Opt.TSVal, s.Opt.TSEcr = w.rng.Uint32(), w.rng.Uint32()
	}
	if w.rng.IntN(4) == 0 {
		s.Opt.Has |= wire.HasFastOpen
		s.Opt.TFOLen, s.Opt.TFO[w.rng.IntN(16)] = uint8(w.rng.IntN(3))*8, byte(w.rng.Uint32())
	}
	return s
}

// forge sends s, whose Remote is d, as if it came from s.Local.
func (w *simWorld) forge(d *simNode, s wire.Segment) {
	w.ctr.Forged++
	b := w.blank()
	copy(b, d.mac[:])
	copy(b[6:], []byte{2, 0, 0, 0, 0, 0xee})
	b[12], b[13] = byte(s.Local.EtherType()>>8), byte(s.Local.EtherType())
	var text []byte
	if s.Flags&wire.FlagPSH != 0 {
		text = []byte("forged")
	}
	n := wire.PutTCP(b[wire.EthernetLen:cap(b)], &s, text)
	w.carry(nil, d, simFrame{b: b[:wire.EthernetLen+n], forged: true})
}

// forgeICMP sends an error that quotes s as if d had sent it.
func (w *simWorld) forgeICMP(d *simNode, s *wire.Segment) {
	w.ctr.Forged++
	s.Tuple = swap(s.Tuple)
	quote := w.blank()
	n := wire.PutTCP(quote, s, nil)
	w.deliver(d, simFrame{b: w.putICMPError(d, quote[:n], w.rng.IntN(16), 500+w.rng.IntN(1000)), forged: true})
	w.free(quote)
}

// hits says whether a forged segment comes close enough to what a record expects
// to act on it. Such guesses are a matter of odds, not of this engine.
func (d *simNode) hits(s *wire.Segment) bool {
	idx := d.e.lookup(d.e.sumTuple(&s.Tuple).Hash, &s.Tuple)
	if idx == 0 {
		return false
	}
	r := &d.e.recs[idx]
	near := func(a, b wire.Seq) bool { return uint32(a-b)+1<<20 < 1<<21 }
	return near(s.Seq, r.rcvNxt) || near(s.Ack, r.sndNxt) || r.state == SynSent && s.Flags&wire.FlagSYN != 0
}

// icmp hands an ICMP error to the engine as a worker does.
func (d *simNode) icmp(f *simFrame, p *wire.Packet) {
	q, ok := wire.QuotedTCP(f.b, p)
	if !ok {
		return
	}
	if !f.forged {
		d.errors[q.Tuple] = struct{}{}
	}
	seg := wire.Segment{Tuple: q.Tuple, Seq: q.Seq, Ack: q.Seq}
	lucky := f.forged && d.hits(&seg)
	if lucky {
		return
	}
	d.w.mix(uint64(q.Seq)<<8 | uint64(q.Type))
	if d.e.ICMPError(&q) && f.forged {
		d.wit.fail("a forged ICMP error was believed: %+v", q)
	}
	d.wit.due++
}
