package loop

import (
	"errors"
	"fmt"
	"math/bits"
	"net"
	"runtime"
	"sync/atomic"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/steer"
	"github.com/fastsyn/fastsyn/hugepages"
	"github.com/fastsyn/fastsyn/rss"
)

const (
	mtu      = 1500
	minFrame = 14
	maxFrame = mtu + 14 + 4 // with one 802.1Q tag
	slotSize = 2048         // bytes lent per frame
	// stride puts the headers of consecutive frames into different cache sets,
	// where at a stride of 2048 all of them would compete for two sets of L1, and
	// the two lines of a header into one pair of lines, which x86 fetches together.
	stride    = slotSize + 128
	maxQueues = 16
	retaSize  = 128
	maxFrames = 1 << idxBits // per wire
)

// The word in a data ring: hash, one bit that says the hash is valid, frame
// index, length in bytes.
const (
	lenBits  = 12
	idxBits  = 19
	hashBit  = 1 << (lenBits + idxBits)
	hashPos  = 32
	lenMask  = 1<<lenBits - 1
	idxMask  = 1<<idxBits - 1
	maxHomes = 2 * maxQueues // fits the dirty masks
)

// ErrPeerClosed is wrapped by Queue.Err after the other end of the wire was closed.
var ErrPeerClosed = errors.New("the other end of the wire is closed")

// Config is the shape of a wire. Zero fields take the defaults.
type Config struct {
	Queues int // per side, 1 to 16; default 1
	Frames int // per queue, a power of two; default 4096
	Ring   int // slots from each queue to each queue, a power of two; default 1024
	// Poison overwrites frames when they are settled and panics when one is
	// settled twice. Always on in race builds.
	Poison bool
}

func (c Config) withDefaults() Config {
	if c.Queues == 0 {
		c.Queues = 1
	}
	if c.Frames == 0 {
		c.Frames = 4096
	}
	if c.Ring == 0 {
		c.Ring = 1024
	}
	c.Poison = c.Poison || raceBuild
	return c
}

func (c Config) validate() error {
	pow2 := func(n int) bool { return n > 0 && n&(n-1) == 0 }
	switch {
	case c.Queues < 1 || c.Queues > maxQueues:
		return fmt.Errorf("queues=%d: want 1 to %d", c.Queues, maxQueues)
	case !pow2(c.Frames) || c.Frames < minFrames || c.Frames > maxFrames/2:
		return fmt.Errorf("frames=%d: want a power of two from %d to %d", c.Frames, minFrames, maxFrames/2)
	case 2*c.Queues*c.Frames > maxFrames:
		return fmt.Errorf("frames=%d for each of 2 times %d queues: a wire holds at most %d frames; use frames=%d",
			c.Frames, c.Queues, maxFrames, 1<<(bits.Len(uint(maxFrames/2/c.Queues))-1))
	case !pow2(c.Ring) || c.Ring < 2 || c.Ring > maxRing:
		return fmt.Errorf("ring=%d: want a power of two from 2 to %d", c.Ring, maxRing)
	}
	return nil
}

const (
	minFrames = 2 * dataplane.BatchSize
	maxRing   = 1 << 16
)

// wire is both sides. It is constant once made, but for the sides' flags, the
// frames and the rings.
type wire struct {
	name  string
	cfg   Config
	arena []byte
	steer *steer.Table // nil with one queue
	side  [2]*port
	// state is the debug view of each frame, written by its owner; nil unless poisoning.
	state []frameState
}

// newWire makes both sides. The frames go into huge pages where the kernel gives
// them: 17 MB of frames that take turns are four times what a TLB covers in 4 KiB pages.
// They are returned when nobody refers to the wire any more, not on Close: an
// application may still look at a frame it kept.
func newWire(name string, c Config) (*wire, error) {
	w := &wire{name: name, cfg: c}
	homes := 2 * c.Queues
	arena, err := hugepages.Alloc(homes*c.Frames*stride, hugepages.Options{})
	if err != nil {
		return nil, fmt.Errorf("loop: %q: frames: %w", name, err)
	}
	w.arena = arena.Bytes()
	runtime.AddCleanup(w, func(a *hugepages.Arena) { _ = a.Free() }, arena)
	if c.Queues > 1 {
		reta, err := rss.NewRETA(retaSize, c.Queues)
		if err != nil {
			return nil, fmt.Errorf("loop: %q: %w", name, err)
		}
		w.steer = steer.New(rss.SymmetricKey, reta)
	}
	if c.Poison {
		w.state = make([]frameState, homes*c.Frames)
	}
	for s := range w.side {
		p := &port{w: w, num: s, stop: new(sideState)}
		for i := range c.Queues {
			p.queues = append(p.queues, newQueue(w, s, i))
		}
		w.side[s] = p
	}
	// One data ring per (from, to) across the wire, one return ring per (from, home).
	for s := range w.side {
		for i, from := range w.side[s].queues {
			for _, to := range w.side[1-s].queues {
				r := newRing(c.Ring)
				from.out = append(from.out, r)
				to.in = append(to.in, r)
			}
			from.peers = w.side[1-s].queues
			from.peer, from.self = w.side[1-s].stop, w.side[s].stop
			for h := range homes {
				if h == s*c.Queues+i {
					continue
				}
				r := newRing(c.Frames) // can hold every frame of that home: never full
				from.give[h] = r
				home := w.side[h/c.Queues].queues[h%c.Queues]
				home.take = append(home.take, r)
			}
		}
	}
	return w, nil
}

// frame returns the bytes of a frame's slot.
func (w *wire) frame(idx uint32) []byte {
	off := int(idx) * stride
	return w.arena[off : off+slotSize : off+slotSize]
}

// sideState is read by the other side once per burst and written twice in its life.
type sideState struct {
	_      pad
	closed atomic.Bool
	open   atomic.Bool
	_      pad
}

// port is one side of a wire.
type port struct {
	w      *wire
	num    int // 0 is a, 1 is b
	stop   *sideState
	queues []*queue
}

var _ dataplane.Port = (*port)(nil)

// Info implements dataplane.Port. Up says that the other side is open.
func (p *port) Info() dataplane.Info {
	peer := p.w.side[1-p.num].stop
	info := dataplane.Info{
		Driver: "loop",
		Name:   p.w.name,
		MAC:    net.HardwareAddr{0x02, 0x66, 0x73, 0, 0, byte(p.num) + 1},
		MTU:    mtu,
		Queues: p.w.cfg.Queues,
		Up:     peer.open.Load() && !peer.closed.Load() && !p.stop.closed.Load(),
	}
	if p.w.steer != nil {
		key := p.w.steer.Key()
		info.RSSKey = key[:]
		info.RETA = p.w.steer.RETA()
	}
	return info
}

// Queue implements dataplane.Port.
func (p *port) Queue(i int) dataplane.Queue { return p.queues[i] }

// Stats implements dataplane.Port.
func (p *port) Stats(i int) dataplane.Stats { return p.queues[i].pub.load() }

// Close implements dataplane.Port. Closing again does nothing.
func (p *port) Close() error {
	names.Lock()
	defer names.Unlock()
	if p.stop.closed.Swap(true) {
		return nil
	}
	peer := p.w.side[1-p.num]
	for i := range p.queues {
		p.queues[i].wakeUp()
		peer.queues[i].wakeUp() // their Err changed
	}
	// A side that never opened does not hold the name.
	if !peer.stop.open.Load() || peer.stop.closed.Load() {
		if names.wires[p.w.name] == p.w {
			delete(names.wires, p.w.name)
		}
	}
	return nil
}
