package bench

import (
	"encoding/binary"
	"fmt"

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
// k xor H(source), H keyed by the seed. An answer must acknowledge that plus one,
// which gives k back, and go to the source of k. A ring says when the last numbers
// were sent and whether they are answered.
//
// It is Source and Raw of one worker.
type flood struct {
	lifecycle
	picker *rss.Picker // nil: one queue, any port will do
	base   wire.Addr   // sources are base + (k-th random number & mask)
	mask   uint64
	key    uint64
	window int
	pace   pace

	link           wire.Link
	frame          [128]byte // SYN with source address, port and sequence number 0
	size           int
	l3, l4         int
	ipSum, tcpSum  uint16
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

func newFlood(j *job, id int, base wire.Addr, mask uint64, p *rss.Picker, seed uint64) *flood {
	f := &flood{
		lifecycle: newLifecycle(j, id), base: base, mask: mask, picker: p,
		key: mix(seed ^ mix(uint64(id)+1)), service: newLatency(), v4: base.Is4(),
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
		if !f.resolve(w, now) {
			return now + hopRetry
		}
		hop, _ := w.Net().NextHop(f.job.remote)
		mac, _ := w.Net().Neighbors.Lookup(hop)
		f.link = wire.Link{Dst: mac, Src: w.Net().MAC}
		if err := f.template(); err != nil {
			f.abandon(err, now)
			return worker.Never
		}
		f.heard = now
		f.pace = newPace(f.job.cfg.Rate, f.id, f.job.workers, now)
	case sending:
		if now >= f.until || f.job.stop.Load() || f.quota == 0 && f.inflight() == 0 {
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
	n := wire.PutTCP(b[f.l3:], &s, nil)
	if f.l3 == 0 || n == 0 {
		return fmt.Errorf("bench: the SYN template does not fit %d bytes", len(b))
	}
	f.size = f.l3 + n
	f.l4 = f.l3 + wire.IPLen(&s)
	f.ipSum = binary.BigEndian.Uint16(b[f.l3+10:])
	f.tcpSum = binary.BigEndian.Uint16(b[f.l4+16:])
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
	if f.pace.interval != 0 {
		due := f.pace.due(now)
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

// source returns the source of SYN number k.
func (f *flood) source(k uint64) (src wire.Addr, port uint16) {
	r := mix(f.key + k)
	src = f.base
	src.Lo |= r & f.mask
	if src.Lo&f.mask == 0 && f.mask != 0 {
		src.Lo |= 1 // the first address of a prefix names the network
	}
	if src.Lo&f.mask == f.mask && f.mask > 1 {
		src.Lo ^= 1 // and the last is its broadcast address
	}
	port = floodBase | uint16(r>>48)
	if f.picker != nil {
		set := start(f.picker, src, f.job.remote, f.job.port)
		port = set.At(f.id, int(r>>40)%set.Count(f.id))
	}
	return src, port
}

// isn is H of a source, by the low half of its address and its port.
func (f *flood) isn(lo uint64, port uint16) uint32 {
	x := (lo<<16 | uint64(port)) ^ f.key
	x *= 0x9e3779b97f4a7c15
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	return uint32(x >> 32)
}

// Send implements worker.Raw.
func (f *flood) Send(now int64, b *dataplane.Batch) {
	stamp := uint32(now/64) | 1
	mask := uint32(len(f.sentAt) - 1)
	for i := range b.N {
		k := uint32(f.ctr.sent)
		src, port := f.source(f.ctr.sent)
		f.put(b, i, src, port, k^f.isn(src.Lo, port))
		f.sentAt[k&mask] = stamp
		f.ctr.sent++
	}
	f.quota -= uint64(b.N)
	if f.pace.interval != 0 {
		f.pace.done += uint64(b.N)
	}
}

// put writes the template into frame i and patches source and sequence number;
// the fields are zero in the template, so both sums only grow (RFC 1624).
func (f *flood) put(b *dataplane.Batch, i int, src wire.Addr, port uint16, isn uint32) {
	p := b.Data[i][:f.size]
	copy(p, f.frame[:f.size])
	ip, tcp := p[f.l3:], p[f.l4:]
	be := binary.BigEndian
	sum := wire.UpdateChecksum32(f.tcpSum, 0, isn)
	sum = wire.UpdateChecksum(sum, 0, port)
	if f.v4 {
		a := src.V4()
		sum = wire.UpdateChecksum32(sum, 0, a)
		be.PutUint32(ip[12:], a)
		be.PutUint16(ip[10:], wire.UpdateChecksum32(f.ipSum, 0, a))
	} else {
		for j, w := range [...]uint32{uint32(src.Hi >> 32), uint32(src.Hi), uint32(src.Lo >> 32), uint32(src.Lo)} {
			sum = wire.UpdateChecksum32(sum, 0, w)
			be.PutUint32(ip[8+4*j:], w)
		}
	}
	be.PutUint16(tcp, port)
	be.PutUint32(tcp[4:], isn)
	be.PutUint16(tcp[16:], sum)
	b.Data[i], b.Verdict[i] = p, dataplane.Reply
}

// Receive implements worker.Raw: it verifies the answers.
func (f *flood) Receive(now int64, segs []*wire.Segment) {
	mask := uint32(len(f.sentAt) - 1)
	for i := range segs {
		s := segs[i]
		if s.Flags&wire.FlagACK == 0 || s.Flags&(wire.FlagSYN|wire.FlagRST) == 0 ||
			s.Remote != f.job.remote || s.RemotePort != f.job.port {
			f.ctr.bad++
			continue
		}
		k := uint32(s.Ack-1) ^ f.isn(s.Local.Lo, s.LocalPort)
		age := uint64(uint32(f.ctr.sent) - 1 - k)
		if age >= f.ctr.sent {
			f.ctr.bad++
			continue
		}
		if src, port := f.source(f.ctr.sent - 1 - age); src != s.Local || port != s.LocalPort {
			f.ctr.bad++
			continue
		}
		if age >= uint64(len(f.sentAt)) {
			f.ctr.late++
			continue
		}
		stamp := f.sentAt[k&mask]
		if stamp == 0 {
			f.ctr.repeated++
			continue
		}
		f.sentAt[k&mask] = 0
		if s.Flags&wire.FlagRST != 0 {
			f.ctr.reset++
		} else {
			f.ctr.answered++
			f.service.record(int64(uint32(now/64)|1-stamp) * 64)
		}
		f.ahead = max(f.ahead, f.ctr.sent-age)
	}
	f.heard, f.patience = now, stallTime
}
