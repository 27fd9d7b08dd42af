package rssprobe

import (
	"fmt"
	"net"
	"time"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/rss"
)

const (
	// MaxTuples bounds the test frames of one probe.
	MaxTuples  = 4096
	maxTimeout = time.Minute
	// sendBurst is how many frames are sent between two looks at all queues:
	// less than any receive ring holds.
	sendBurst = 32
	// idle bounds a sleep between two looks that found nothing.
	idle = 200 * time.Microsecond
	// assumedRETA is the size assumed for a device that does not tell.
	assumedRETA = 128
)

// Config shapes a probe. Zero fields take the defaults.
type Config struct {
	// Tuples is the number of test frames, IPv4 and IPv6 in turn. Default: four
	// per entry of the RETA, but 512 to MaxTuples.
	Tuples int
	// Timeout ends the probe whatever happens. Default 2 s, at most a minute.
	Timeout time.Duration
	// Quiet ends it earlier, when all frames are sent and none of them has
	// arrived for so long. Default 100 ms.
	Quiet time.Duration
	// Key and RETA are what to compare with. Default: what Info of the port
	// says, and if it says nothing, rss.DefaultKey and a round robin over 128 entries.
	Key  rss.Key
	RETA rss.RETA
	// Dst is the destination MAC of the frames, default that of the port. Src is
	// the source, default a locally administered address.
	Dst, Src net.HardwareAddr
	// Seed decides the tuples and marks the frames, so that those of an earlier
	// probe are not taken for ours. Default: the time.
	Seed uint64
	// Now is the clock, default time.Now.
	Now func() time.Time
}

// Sender sends one frame towards the port, without blocking, and does not keep
// it. False says that there is no room now; the probe asks again.
type Sender func(frame []byte) bool

// Ports probes rx with frames that queue 0 of tx sends: the two ends of a wire
// or cable.
func Ports(tx, rx dataplane.Port, c Config) (*Result, error) {
	q, b := tx.Queue(0), dataplane.NewBatch()
	if c.Src == nil {
		c.Src = tx.Info().MAC
	}
	return Run(func(frame []byte) bool {
		if q.Blank(b, 1) == 0 {
			return false
		}
		b.Data[0] = append(b.Data[0], frame...) // FrameRoom is far larger
		b.Verdict[0] = dataplane.Reply
		return q.Settle(b) == 1
	}, rx, c)
}

// Run sends test frames and polls all queues of rx until each frame has
// arrived, or Config bounds the wait. Frames of others are dropped and counted.
// The error, if any, is one of Config or a failure of the device; what the device
// does with the frames is in the result, however bad it is.
func Run(send Sender, rx dataplane.Port, c Config) (*Result, error) {
	p, err := newProbe(rx, c)
	if err != nil {
		return nil, err
	}
	if err := p.run(send); err != nil {
		return nil, err
	}
	p.judge()
	return &p.res, nil
}

// probe is one run.
type probe struct {
	c      Config
	rx     dataplane.Port
	hash   *rss.Toeplitz
	tests  []test
	index  map[wire.Tuple]int
	nonce  uint32
	link   wire.Link
	res    Result
	batch  *dataplane.Batch
	ifName string
}

func newProbe(rx dataplane.Port, c Config) (*probe, error) {
	info := rx.Info()
	p := &probe{rx: rx, batch: dataplane.NewBatch(), ifName: info.Name}
	fail := func(format string, args ...any) (*probe, error) {
		return nil, fmt.Errorf("rssprobe: %s %q: %w", info.Driver, info.Name, fmt.Errorf(format, args...))
	}
	if c.Key == (rss.Key{}) {
		switch {
		case len(info.RSSKey) > 0:
			key, err := rss.NewKey(info.RSSKey)
			if err != nil {
				return fail("what the driver tells: %w", err)
			}
			c.Key = key
		default:
			c.Key, p.res.Assumed = rss.DefaultKey, info.Queues > 1
		}
	}
	if c.RETA == nil {
		if c.RETA = info.RETA; len(c.RETA) == 0 {
			size := assumedRETA
			for size < info.Queues {
				size *= 2
			}
			reta, err := rss.NewRETA(size, info.Queues)
			if err != nil {
				return fail("%w", err)
			}
			c.RETA, p.res.Assumed = reta, info.Queues > 1
		}
	}
	if err := c.RETA.Validate(info.Queues); err != nil {
		return fail("%w; pass the table of the device in Config.RETA", err)
	}
	if c.Tuples == 0 {
		c.Tuples = min(max(512, 4*len(c.RETA)), MaxTuples)
	}
	if c.Timeout == 0 {
		c.Timeout = 2 * time.Second
	}
	if c.Quiet == 0 {
		c.Quiet = 100 * time.Millisecond
	}
	if c.Dst == nil {
		c.Dst = info.MAC
	}
	if c.Src == nil {
		c.Src = net.HardwareAddr{0x02, 0x66, 0x73, 0x70, 0x72, 0x62}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Seed == 0 {
		c.Seed = uint64(c.Now().UnixNano())
	}
	switch {
	case c.Tuples < 2 || c.Tuples > MaxTuples:
		return fail("%d tuples: want 2 to %d", c.Tuples, MaxTuples)
	case c.Timeout < 0 || c.Timeout > maxTimeout:
		return fail("timeout of %v: want up to %v", c.Timeout, maxTimeout)
	case c.Quiet < 0:
		return fail("quiet time of %v: want a positive one", c.Quiet)
	case len(c.Dst) != 6 || len(c.Src) != 6:
		return fail("MAC addresses %v and %v: want 6 bytes each; set Config.Dst and Config.Src", c.Dst, c.Src)
	}
	p.c, p.hash = c, rss.New(c.Key)
	p.link = wire.Link{Dst: [6]byte(c.Dst), Src: [6]byte(c.Src)}
	p.makeTests()
	p.res.Queues, p.res.PerQueue = info.Queues, make([]int, info.Queues)
	return p, nil
}

func (p *probe) run(send Sender) error {
	start := p.c.Now()
	last, frame, turn := start, make([]byte, 0, maxFrame), 0
	for sent := 0; ; {
		busy := false
		for range sendBurst {
			if sent == len(p.tests) {
				break
			}
			if frame = p.frame(frame, sent); !send(frame) {
				break
			}
			p.tests[sent].sent = true
			sent++
			busy = true
		}
		arrived, some, err := p.poll()
		if err != nil {
			return err
		}
		p.res.Sent = sent
		now := p.c.Now()
		if arrived || busy {
			last = now
		}
		switch {
		case p.res.Arrived == len(p.tests), sent == len(p.tests) && now.Sub(last) >= p.c.Quiet:
			return nil
		case now.Sub(start) >= p.c.Timeout:
			p.res.TimedOut = true
			return nil
		}
		if !busy && !some { // each queue in turn, for only one can be waited for
			p.rx.Queue(turn).Wait(idle)
			turn = (turn + 1) % p.res.Queues
		}
	}
}

// poll looks at every queue once. arrived says that a test frame was there,
// some that any frame was.
func (p *probe) poll() (arrived, some bool, err error) {
	for i := range p.res.Queues {
		q := p.rx.Queue(i)
		n := q.Rx(p.batch)
		for k := range n {
			some = true
			if p.received(i, p.batch.Data[k], p.batch.Meta[k]) {
				arrived = true
			} else {
				p.res.Foreign++
			}
		}
		q.Settle(p.batch) // all verdicts are Drop
		if n == 0 {
			if err := q.Err(); err != nil {
				return arrived, some, fmt.Errorf("rssprobe: queue %d of %q: %w", i, p.ifName, err)
			}
		}
	}
	return arrived, some, nil
}

// received notes a frame on queue i and reports whether it is a test frame.
func (p *probe) received(i int, frame []byte, meta dataplane.Meta) bool {
	var pkt wire.Packet
	// Nobody computes checksums of test frames for us but us; the tuple and
	// the number in Seq say what it is.
	if wire.Parse(frame, true, &pkt) != wire.OK || pkt.Kind != wire.KindTCP {
		return false
	}
	n, ok := p.index[pkt.Seg.Tuple]
	if !ok || !p.tests[n].sent || pkt.Seg.Flags != wire.FlagSYN || uint32(pkt.Seg.Seq) != p.nonce+uint32(n) {
		return false
	}
	t := &p.tests[n]
	if t.arrived {
		p.res.Duplicates++
		return true
	}
	t.arrived, t.real = true, i
	p.res.Arrived++
	p.res.PerQueue[i]++
	if meta.Flags&dataplane.MetaHash != 0 {
		p.res.Hashed++
		if meta.Hash == t.hash {
			p.res.HashAgree++
		}
	}
	return true
}
