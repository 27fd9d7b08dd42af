package bench

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/rss"
)

const (
	// stallTime without any answer is when unanswered SYNs give their places back.
	stallTime = int64(100e6)
	maxStall  = int64(10e9)
	floodBase = 32768 // source ports are 15 random bits above
)

// flood sends SYNs from invented sources and keeps no state per source. SYN
// number k comes from a source derived from k and the seed, and its sequence number is
// k permuted. An answer must acknowledge that plus one, which gives k back, and
// go to the source of k. A ring says when the last numbers were sent and whether
// they are answered.
//
// It is Source and Raw of one worker.
type flood struct {
	lifecycle
	worker *worker.Worker // nil until the first SYN
	picker *rss.Picker    // nil: one queue, any port will do
	pool   pool           // of the sources
	key    uint64
	window int
	pace   pace
	shape  *synShape // nil: our own

	link           wire.Link
	frame          [floodMost]byte // SYN with source address (of IPv6: its low half), port, sequence number and sums 0
	size           int
	l3, l4         int
	ipSum, tcpSum  uint64 // of the template, to be folded
	v4             bool
	ahead          uint64 // one above the highest number answered
	heard          int64  // last answer, or start
	patience       int64  // how long a silence lasts until the window is emptied
	sentAt         []uint32
	ctr            floodCounters
	answeredWindow uint64 // when the sending time ended
	sentWindow     uint64
	service        *latency
}

// floodRoom holds the SYNs of our own, over IPv6 with all options; floodMost those of any profile.
const (
	floodRoom = 96
	floodMost = 128
)

// floodCounters: segments received = answered + reset + repeated + late + bad.
type floodCounters struct {
	sent, answered, reset, repeated, bad uint64
	late                                 uint64 // verified, but too old to say whether for the first time
	// stalls counts how often nothing at all was heard for stallTime or longer.
	stalls uint64
}

// inflight is how many SYNs were sent after the last one answered. Those before it
// that are not answered are presumed lost, so that loss does not eat up the window.
func (f *flood) inflight() int { return int(f.ctr.sent - f.ahead) }

func newFlood(j *job, id int, sources pool, p *rss.Picker, seed uint64) *flood {
	f := &flood{
		lifecycle: newLifecycle(j, id), pool: sources, picker: p,
		key: mix(seed ^ mix(uint64(id)+1)), service: newLatency(), v4: sources.at(0).Is4(),
	}
	f.window = max(1, f.share(j.cfg.Concurrency))
	f.patience = stallTime
	n := 1024
	for n < 8*f.window {
		n *= 2
	}
	f.sentAt = make([]uint32, n)
	return f
}

// Poll implements worker.Source: it resolves the next hop and keeps the time.
func (f *flood) Poll(w *worker.Worker, now int64) int64 {
	switch f.phase {
	case resolving:
		if f.job.stop.Load() {
			f.abandon(errStopped, now)
			return worker.Never
		}
		if again := f.resolve(w, now); again > 0 {
			return again
		}
		if err := f.prepare(w); err != nil {
			f.abandon(err, now)
			return worker.Never
		}
		f.pace = newPace(f.job.cfg.plan, f.id, f.job.workers, f.start)
	case sending:
		if f.over(now, &f.pace) || f.quota == 0 && f.inflight() == 0 {
			f.answeredWindow, f.sentWindow = f.ctr.answered+f.ctr.reset, f.ctr.sent
			f.stopSending(now)
			if f.inflight() == 0 {
				f.finish()
			}
			return worker.Never
		}
		return f.until
	case draining:
		if f.inflight() == 0 {
			f.finish()
		}
	case finished:
	}
	return worker.Never
}

// prepare makes f ready to send, once the next hop is known.
func (f *flood) prepare(w *worker.Worker) error {
	hop, _ := w.Net().NextHop(f.job.remote)
	mac, _ := w.Net().Neighbors.Lookup(hop)
	f.link = wire.Link{Dst: mac, Src: w.Net().MAC}
	f.heard, f.worker = w.Now(), w
	return f.template()
}

// template encodes the SYN once, by the same code as every other segment.
func (f *flood) template() error {
	c := &f.job.cfg
	s := wire.Segment{Tuple: wire.Tuple{Remote: f.job.remote, RemotePort: f.job.port}, Flags: wire.FlagSYN, Win: 64240}
	if f.v4 {
		s.Local = wire.Addr4(0)
	}
	s.Opt = wire.Options{Has: wire.HasMSS, MSS: 1460}
	if !f.v4 {
		s.Opt.MSS = 1440
	}
	if !c.NoTimestamps {
		s.Opt.Has |= wire.HasTimestamps
		s.Opt.TSVal = uint32(mix(f.key))
	}
	if !c.NoSACK {
		s.Opt.Has |= wire.HasSACKPermitted
	}
	if !c.NoWScale {
		s.Opt.Has |= wire.HasWScale
		s.Opt.WScale = 7
	}
	b := f.frame[:]
	f.l3 = wire.PutLink(b, &f.link, s.Local.EtherType())
	n := 0
	if p := f.shape; p != nil {
		s.Win, s.Opt.MSS, s.Opt.WScale, s.Opt.TSVal = uint16(p.window), uint16(p.mss), uint8(p.scale), uint32(mix(f.key))
		if n = p.PutSYN(b[f.l3:], &s, nil, false); n > 0 {
			p.Mark(b[f.l3:], uint16(mix(f.key))|1, false)
		}
	} else {
		n = wire.PutTCP(b[f.l3:], &s, nil)
	}
	if f.l3 == 0 || n == 0 {
		return fmt.Errorf("bench: the SYN template does not fit %d bytes", len(b))
	}
	f.size = f.l3 + n
	f.l4 = f.l3 + wire.IPLen(&s)
	f.ipSum = uint64(^binary.BigEndian.Uint16(b[f.l3+10:]))
	f.tcpSum = uint64(^binary.BigEndian.Uint16(b[f.l4+16:]))
	if f.v4 {
		binary.BigEndian.PutUint16(b[f.l3+10:], 0)
	}
	binary.BigEndian.PutUint16(b[f.l4+16:], 0)
	return nil
}

// Want implements worker.Raw.
func (f *flood) Want(now int64) (n int, next int64) {
	if f.phase != sending {
		return 0, worker.Never
	}
	if f.quota == 0 {
		f.expire(now)
		return 0, f.heard + f.patience
	}
	n = f.window - f.inflight()
	if n <= 0 {
		f.expire(now)
		return 0, f.heard + f.patience
	}
	n = min(n, dataplane.BatchSize)
	if uint64(n) > f.quota {
		n = int(f.quota)
	}
	if f.pace.on() {
		due := f.pace.due(min(now, f.until-1))
		if due == 0 {
			return 0, f.pace.intended()
		}
		n = min(n, due)
	}
	return n, now
}

// expire empties the window when nothing is heard at all, each time after twice
// the time, so that a peer that only paused does not drown in what it missed.
func (f *flood) expire(now int64) {
	if f.inflight() > 0 && now-f.heard >= f.patience {
		f.ctr.stalls++
		f.ahead = f.ctr.sent
		f.heard = now
		f.patience = min(2*f.patience, maxStall)
	}
}

// source returns the source of SYN number k: its address, by the upper bits of a random number, and its port, by
// the lower ones.
func (f *flood) source(k uint64) (a wire.Addr, port uint16) {
	r := mix(f.key + k)
	i, _ := bits.Mul64(r, f.pool.n)
	a = f.pool.at(i)
	if f.picker != nil {
		return f.pick(a, r)
	}
	return a, floodBase | uint16(r)
}

// pick returns a port that brings the answers to a back to the queue of f, or another source
// that has one.
func (f *flood) pick(a wire.Addr, r uint64) (wire.Addr, uint16) {
	for {
		if port, ok := start(f.picker, a, f.job.remote, f.job.port).Pick(f.id, uint32(r)); ok {
			return a, port
		}
		r = mix(r)
		i, _ := bits.Mul64(r, f.pool.n)
		a = f.pool.at(i)
	}
}

// The sequence numbers are a permutation of the SYNs' numbers: times an odd
// number, which its inverse modulo 2^32 undoes, plus bits of the key.
const isnFactor, isnInverse uint32 = 0x9e3779b1, 0x0e8b2f51

func (f *flood) isn(k uint64) uint32 { return uint32(k)*isnFactor + uint32(f.key) }

// Send implements worker.Raw.
func (f *flood) Send(now int64, b *dataplane.Batch) {
	stamp := uint32(now/64) | 1
	mask := uint64(len(f.sentAt) - 1)
	k := f.ctr.sent
	data, verdict := b.Data[:b.N], b.Verdict[:b.N]
	for i := range data {
		a, port := f.source(k)
		data[i] = f.put(data[i], a, port, f.isn(k))
		verdict[i] = dataplane.Reply
		f.sentAt[k&mask] = stamp
		k++
	}
	f.ctr.sent = k
	f.quota -= uint64(b.N)
	if f.pace.on() {
		f.pace.made(b.N)
	}
}

// put writes a SYN into the buffer p and returns it: the template, and what is zero in it.
func (f *flood) put(p []byte, from wire.Addr, port uint16, isn uint32) []byte {
	be := binary.BigEndian
	p = p[:floodRoom]
	*(*[floodRoom]byte)(p) = [floodRoom]byte(f.frame[:])
	if p = p[:f.size]; len(p) > floodRoom {
		copy(p[floodRoom:], f.frame[floodRoom:])
	}
	ip, tcp := p[f.l3:], p[f.l4:]
	sum := f.tcpSum + uint64(isn) + uint64(port)
	if f.v4 {
		a := from.V4()
		sum += uint64(a)
		be.PutUint32(ip[12:], a)
		be.PutUint16(ip[10:], ^wire.Fold(f.ipSum+uint64(a)))
	} else {
		sum += from.Hi>>32 + from.Hi&0xffffffff + from.Lo>>32 + from.Lo&0xffffffff
		be.PutUint64(ip[8:], from.Hi)
		be.PutUint64(ip[16:], from.Lo)
	}
	be.PutUint16(tcp, port)
	be.PutUint32(tcp[4:], isn)
	be.PutUint16(tcp[16:], ^wire.Fold(sum))
	return p
}

// Receive implements worker.Raw: it verifies the answers.
func (f *flood) Receive(now int64, segs []*wire.Segment) {
	stamp, mask := uint32(now/64)|1, uint64(len(f.sentAt)-1)
	run, sentAt := int64(0), stamp
	for _, s := range segs {
		if s.Flags&wire.FlagACK == 0 || s.Flags&(wire.FlagSYN|wire.FlagRST) == 0 ||
			s.Remote != f.job.remote || s.RemotePort != f.job.port {
			f.ctr.bad++
			continue
		}
		// The number, of which the sequence number holds 32 bits, is among those sent.
		age := uint64(uint32(f.ctr.sent) - 1 - (uint32(s.Ack)-1-uint32(f.key))*isnInverse)
		if age >= f.ctr.sent {
			f.ctr.bad++
			continue
		}
		k := f.ctr.sent - 1 - age
		if a, port := f.source(k); a != s.Local || port != s.LocalPort {
			f.ctr.bad++
			continue
		}
		if age >= uint64(len(f.sentAt)) {
			f.ctr.late++
			continue
		}
		slot := &f.sentAt[k&mask]
		if *slot == 0 {
			f.ctr.repeated++
			continue
		}
		if s.Flags&wire.FlagRST != 0 {
			f.ctr.reset++
		} else {
			f.ctr.answered++
			if *slot != sentAt { // those sent at once are recorded at once
				f.service.recordN(int64(stamp-sentAt)*64, run)
				run, sentAt = 0, *slot
			}
			run++
		}
		*slot = 0
		f.ahead = max(f.ahead, k+1)
	}
	f.service.recordN(int64(stamp-sentAt)*64, run)
	f.heard, f.patience = now, stallTime
}
