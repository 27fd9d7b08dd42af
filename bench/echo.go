package bench

import (
	"encoding/binary"
	"fmt"
	"net"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/rss"
)

// The frames of an echo are the shortest that Ethernet carries: 60 bytes and the
// check sequence. They are TCP segments, since that is what devices spread over
// queues for us; no TCP sees them. Frame number k holds k in sequence and
// acknowledgment number, and six bytes of text: the tag of the run and the queue
// that sent it. It belongs to flow k mod echoFlows, each with a destination port
// of its own. All of them have the discard port (RFC 863) as their source.
const (
	echoSize  = 60
	echoText  = echoSize - wire.EthernetLen - wire.IPv4Len - wire.TCPLen
	echoFlows = 64
	echoPort  = 9
)

// Addresses in the frames of an echo: benchmark prefix (RFC 2544). Nobody routes by them.
var echoFrom, echoTo = wire.Addr4(0xc6120101), wire.Addr4(0xc6120001)

// echo sends frames to a reflector and verifies what comes back: that it is one
// of its own, unchanged but for the swapped addresses, the first copy, and in order
// within its flow. A frame is lost when a later one of its flow comes first, or
// when nothing at all comes for stallTime; if it comes after all, it is counted as
// returned and reordered, and not as lost any more.
//
// A received frame is verified and then overwritten with the next one to send,
// as a responder would answer: half the buffers, and those in the cache.
type echo struct {
	lifecycle
	q      dataplane.Queue
	rx, tx *dataplane.Batch
	window int
	pace   pace

	// A returned frame as words in the machine's order, but 5 and 6 big-endian with
	// number and checksum left out; 4 is in its flow.
	back [8]uint64
	head [2]uint64 // the first two words of a frame to send, the other six are those of back
	peer uint64    // MAC address of the reflector
	flow [echoFlows]echoFlow

	outstanding int      // sent, neither returned nor presumed lost
	sentAt      []uint32 // when the last numbers were sent, in 64 ns; 0: returned
	now         int64    // of the last turn
	heard       int64    // last time anything returned
	patience    int64    // how long a silence lasts until the window is emptied
	ctr         echoCounters
	sentWindow  uint64 // when the sending time ended
	backWindow  uint64
	service     *latency
}

// echoFlow is what one flow puts into a frame, and what it waits for.
type echoFlow struct {
	w4   uint64 // the word with the destination port, without the number
	sum  uint64 // of all that does not depend on the number
	next uint64 // number that should return next
}

// echoCounters: frames received = returned + repeated + late + bad + elsewhere + foreign,
// and sent = returned + lost + outstanding.
type echoCounters struct {
	sent, returned, lost uint64
	reordered            uint64 // of the returned ones: presumed lost before
	repeated             uint64 // further copies
	late                 uint64 // so old that it is not known whether they are the first copy; lost
	bad                  uint64 // ours, but changed
	elsewhere            uint64 // ours, from another queue: the device spreads them otherwise than it says
	foreign              uint64 // not ours at all
	stalls               uint64
}

// newEcho makes the generator of queue id. own and peer are the MAC addresses,
// ports the destination ports that come back to this queue.
func newEcho(j *job, id int, q dataplane.Queue, own, peer net.HardwareAddr, p *rss.Picker) (*echo, error) {
	e := &echo{
		lifecycle: newLifecycle(j, id), q: q, rx: dataplane.NewBatch(), tx: dataplane.NewBatch(),
		patience: stallTime, service: newLatency(),
	}
	if c := q.Caps(); min(c.ReplyRoom, c.FrameRoom) < echoSize {
		return nil, fmt.Errorf("bench: the port's buffers hold %d bytes, an echo frame has %d", min(c.ReplyRoom, c.FrameRoom), echoSize)
	}
	e.window = max(1, e.share(j.cfg.Concurrency))
	n := 1024
	for n < 8*e.window {
		n *= 2
	}
	e.sentAt = make([]uint32, n)
	// Frames return as they went: from our address and port to the peer's.
	ports := p.Start4(echoFrom.V4(), echoTo.V4(), echoPort)
	if ports.Count(id) < echoFlows {
		return nil, fmt.Errorf("bench: %d ports of %d-%d bring frames back to queue %d, %d are needed; use fewer workers",
			ports.Count(id), firstPort, lastPort, id, echoFlows)
	}
	return e, e.template(own, peer, ports)
}

// template encodes a frame by the same code as every other segment, and takes it to pieces.
func (e *echo) template(own, peer net.HardwareAddr, ports rss.PortSet) error {
	text := make([]byte, 0, echoText)
	text = binary.BigEndian.AppendUint32(text, e.tag())
	text = binary.BigEndian.AppendUint16(text, uint16(e.id))
	s := wire.Segment{
		Tuple: wire.Tuple{Remote: echoTo, Local: echoFrom, LocalPort: echoPort}, Len: echoText,
		Flags: wire.FlagACK | wire.FlagPSH, Win: 512,
	}
	encode := func(src, dst net.HardwareAddr, b []byte) error {
		l := wire.Link{Src: [6]byte(src), Dst: [6]byte(dst)}
		if n := wire.PutLink(b, &l, wire.EtherTypeIPv4); n+wire.PutTCP(b[n:], &s, text) != echoSize {
			return fmt.Errorf("bench: an echo frame is not %d bytes long", echoSize)
		}
		return nil
	}
	var b [echoSize]byte
	if err := encode(own, peer, b[:]); err != nil {
		return err
	}
	e.peer = uint64(binary.BigEndian.Uint32(peer))<<16 | uint64(binary.BigEndian.Uint16(peer[4:]))
	e.head = [2]uint64{binary.LittleEndian.Uint64(b[0:]), binary.LittleEndian.Uint64(b[8:])}
	for i := range e.flow {
		s.RemotePort = ports.At(e.id, i)
		if err := encode(peer, own, b[:]); err != nil {
			return err
		}
		f := &e.flow[i]
		f.w4 = binary.BigEndian.Uint64(b[32:])
		f.sum = uint64(^binary.BigEndian.Uint16(b[50:]))
		f.next = uint64(i)
	}
	binary.BigEndian.PutUint16(b[50:], 0)
	for i := range e.back {
		switch i {
		default:
			e.back[i] = binary.LittleEndian.Uint64(b[8*i:])
		case 5, 6: // have the number in them
			e.back[i] = binary.BigEndian.Uint64(b[8*i:])
		case 7: // overlaps the word before it
			e.back[i] = binary.LittleEndian.Uint64(b[echoSize-8:])
		}
	}
	return nil
}

// tag tells the frames of this run from those of another.
func (e *echo) tag() uint32 { return uint32(mix(e.job.cfg.Seed ^ 0xec40)) }

// words are the three words of a frame that depend on its number. Small enough
// to be inlined, which halves the cost of the generator.
func (f *echoFlow) words(seq uint32, h *echoHigh) (w4, w5, w6 uint64) {
	return f.w4 | uint64(seq>>16), h.w5 | uint64(seq)<<48, h.w6 | uint64(^wire.Fold(f.sum+h.sum+uint64(seq)))<<32
}

// echoHigh is what the upper half of a number puts into the words of a frame, and
// what is the same in all. It changes once in 2^32 frames.
type echoHigh struct {
	ack         uint32
	w5, w6, sum uint64
}

func (e *echo) high(ack uint32) echoHigh {
	return echoHigh{ack: ack, w5: e.back[5] | uint64(ack)<<16, w6: e.back[6], sum: uint64(ack)}
}

// turn implements station: it verifies what came, and sends what is due.
func (e *echo) turn(now int64) (received int, worked bool, next int64) {
	e.now = now
	if e.phase == resolving {
		if again := e.begin(now); again > 0 {
			return 0, false, again
		}
	}
	n := e.q.Rx(e.rx)
	if n > 0 {
		e.receive(now)
	}
	want, next := e.want(now)
	if n > 0 {
		want -= e.again(now, min(n, want))
		e.q.Settle(e.rx)
	}
	if want > 0 {
		if k := e.q.Blank(e.tx, min(want, dataplane.BatchSize)); k > 0 {
			e.fill(e.tx, k, now)
			e.q.Settle(e.tx)
			worked = true
		}
	}
	return n, worked || n > 0, next
}

// begin starts the sending time, or returns when to ask again.
func (e *echo) begin(now int64) (again int64) {
	start := e.job.starts(&e.lifecycle, now)
	if start > now {
		return start
	}
	e.enter(start)
	e.heard = now
	e.pace = newPace(e.job.cfg.plan, e.id, e.job.workers, start)
	return 0
}

// want is how many frames to send now, and when to ask again if none.
func (e *echo) want(now int64) (n int, next int64) {
	if e.outstanding > 0 && now-e.heard >= e.patience {
		e.stall(now)
	}
	switch e.phase {
	case sending:
		if e.over(now, &e.pace) || e.quota == 0 && e.outstanding == 0 {
			e.sentWindow, e.backWindow = e.ctr.sent, e.ctr.returned
			e.stopSending(now)
			return e.want(now)
		}
	case draining:
		if e.outstanding == 0 {
			e.finish()
		}
		return 0, e.heard + e.patience
	case resolving, finished:
		return 0, never
	}
	n = e.window - e.outstanding
	if n <= 0 || e.quota == 0 {
		return 0, min(e.until, e.heard+e.patience)
	}
	if uint64(n) > e.quota {
		n = int(e.quota)
	}
	if e.pace.on() {
		due := e.pace.due(min(now, e.until-1))
		if due == 0 {
			return 0, min(e.until, e.pace.intended())
		}
		n = min(n, due)
	}
	return n, now
}

// again overwrites the first n received frames, returned or not, with frames to send.
func (e *echo) again(now int64, n int) int {
	if n <= 0 {
		return 0
	}
	e.fill(e.rx, n, now)
	return n
}

// fill makes the first n frames of b the next ones to send.
func (e *echo) fill(b *dataplane.Batch, n int, now int64) {
	stamp := uint32(now/64) | 1
	mask := uint64(len(e.sentAt) - 1)
	be, le := binary.BigEndian, binary.LittleEndian
	data, verdict, k := b.Data[:n], b.Verdict[:n], e.ctr.sent
	h := e.high(uint32(k >> 32))
	for i := range data {
		if uint32(k) == 0 {
			h = e.high(uint32(k >> 32))
		}
		w4, w5, w6 := e.flow[k%echoFlows].words(uint32(k), &h)
		data[i] = data[i][:echoSize]
		d := (*[echoSize]byte)(data[i])
		le.PutUint64(d[0:8], e.head[0])
		le.PutUint64(d[8:16], e.head[1])
		le.PutUint64(d[16:24], e.back[2])
		le.PutUint64(d[24:32], e.back[3])
		be.PutUint64(d[32:40], w4)
		be.PutUint64(d[40:48], w5)
		be.PutUint64(d[48:56], w6)
		le.PutUint32(d[56:60], uint32(e.back[7]>>32))
		verdict[i] = dataplane.Reply
		slot := &e.sentAt[k&mask]
		if *slot != 0 {
			e.overrun(k)
		}
		*slot = stamp
		k++
	}
	e.ctr.sent = k
	e.outstanding += n
	e.quota -= uint64(n)
	if e.pace.on() {
		e.pace.made(n)
	}
}

// overrun presumes the frame lost whose place in sentAt number k takes, unless it is already.
func (e *echo) overrun(k uint64) {
	old := k - uint64(len(e.sentAt))
	if f := &e.flow[old%echoFlows]; f.next <= old {
		e.gap(f, old+echoFlows)
	}
}

// gap presumes lost what f still waits for before number to.
func (e *echo) gap(f *echoFlow, to uint64) {
	n := (to - f.next) / echoFlows
	e.ctr.lost += n
	e.outstanding -= int(n)
	f.next = to
}

// stall presumes everything lost. The next silence may last twice as long, so
// that a peer that only paused does not drown in what it missed.
func (e *echo) stall(now int64) {
	for i := range e.flow {
		// The first number of this flow that was not sent yet.
		to := e.ctr.sent + (uint64(i)-e.ctr.sent)%echoFlows
		e.gap(&e.flow[i], to)
	}
	e.ctr.stalls++
	e.heard = now
	e.patience = min(2*e.patience, maxStall)
}

// receive verifies the frames in e.rx.
func (e *echo) receive(now int64) {
	be, le := binary.BigEndian, binary.LittleEndian
	stamp := uint32(now/64) | 1
	mask := uint64(len(e.sentAt) - 1)
	before, run, sentAt := e.ctr.returned, int64(0), stamp
	back, data, h := &e.back, e.rx.Data[:e.rx.N], e.high(uint32(e.ctr.sent>>32))
	for i := range data {
		if len(data[i]) != echoSize {
			e.strange(data[i])
			continue
		}
		d := (*[echoSize]byte)(data[i])
		seq, ack := be.Uint32(d[38:42]), be.Uint32(d[42:46])
		if ack != h.ack {
			h = e.high(ack)
		}
		k := uint64(ack)<<32 | uint64(seq)
		f := &e.flow[k%echoFlows]
		w4, w5, w6 := f.words(seq, &h)
		changed := (le.Uint64(d[0:8]) ^ back[0]) | (le.Uint64(d[8:16]) ^ back[1]) | (le.Uint64(d[16:24]) ^ back[2]) | (le.Uint64(d[24:32]) ^ back[3]) |
			(be.Uint64(d[32:40]) ^ w4) | (be.Uint64(d[40:48]) ^ w5) | (be.Uint64(d[48:56]) ^ w6) | (le.Uint64(d[52:60]) ^ back[7])
		if changed != 0 || k >= e.ctr.sent {
			e.strange(d[:])
			continue
		}
		if e.ctr.sent-k > uint64(len(e.sentAt)) {
			e.ctr.late++
			continue
		}
		slot := &e.sentAt[k&mask]
		if *slot == 0 {
			e.ctr.repeated++
			continue
		}
		if *slot != sentAt { // those sent at once are recorded at once
			e.service.recordN(int64(stamp-sentAt)*64, run)
			run, sentAt = 0, *slot
		}
		run++
		*slot = 0
		e.ctr.returned++
		if k < f.next { // given up before
			e.ctr.lost--
			e.ctr.reordered++
			continue
		}
		if k > f.next {
			e.gap(f, k)
		}
		f.next = k + echoFlows
		e.outstanding--
	}
	if e.ctr.returned != before {
		e.service.recordN(int64(stamp-sentAt)*64, run)
		e.heard, e.patience = now, stallTime
	}
}

// strange counts a frame that is not as it was sent. It is ours if it comes from
// the reflector or has the tag of this run.
func (e *echo) strange(d []byte) {
	be := binary.BigEndian
	tagged := len(d) >= echoSize && be.Uint32(d[54:]) == e.tag()
	switch {
	case !tagged && (len(d) < wire.EthernetLen || binary.LittleEndian.Uint64(d) != e.back[0] || be.Uint64(d[6:])>>16 != e.peer):
		e.ctr.foreign++
	case tagged && len(d) == echoSize && int(be.Uint16(d[58:])) != e.id && int(be.Uint16(d[58:])) < e.job.workers:
		e.ctr.elsewhere++
	default:
		e.ctr.bad++
	}
}

// unreturned counts, by the times they were sent at, the frames that are still waited for.
func (e *echo) unreturned() (n uint64) {
	size := uint64(len(e.sentAt))
	for k := e.ctr.sent - min(e.ctr.sent, size); k < e.ctr.sent; k++ {
		if e.sentAt[k%size] != 0 && k >= e.flow[k%echoFlows].next {
			n++
		}
	}
	return n
}

// stats implements station: what is not ours is a drop.
func (e *echo) stats(s *worker.Stats) {
	if e.ctr.foreign > 0 {
		s.RxDrops["foreign"] = e.ctr.foreign
		s.Segments -= e.ctr.foreign
	}
}

func (e *echo) attempted() uint64 { return e.ctr.sent }

func (e *echo) progress() (done, failed, inflight uint64, lat *latency) {
	return e.ctr.returned, e.ctr.lost, uint64(e.outstanding), e.service
}
