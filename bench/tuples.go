package bench

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/rss"
)

// Source ports: all but the well-known ones.
const firstPort, lastPort = 1024, 65535

// maxSources is up to how many source addresses each has a walk over its ports that is
// kept; with more it is found anew for each open.
const maxSources = 1 << 12

// mix is the finalizer of splitmix64 (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// newPicker returns the source ports of a port by the queue replies come to: those of ranges, by default
// all but the well-known ones.
func newPicker(info dataplane.Info, ranges ...rss.PortRange) (*rss.Picker, error) {
	if len(ranges) == 0 {
		ranges = []rss.PortRange{{Lo: firstPort, Hi: lastPort}}
	}
	key, reta := rss.SymmetricKey, rss.RETA{0}
	if info.Queues > 1 {
		if len(info.RETA) == 0 || len(info.RSSKey) == 0 {
			return nil, fmt.Errorf("bench: %s: %d queues, but the driver does not say how it spreads frames over them; use one queue (--workers 1)", info.Name, info.Queues)
		}
		var err error
		if key, err = rss.NewKey(info.RSSKey); err != nil {
			return nil, fmt.Errorf("bench: %s: %w", info.Name, err)
		}
		reta = info.RETA
	}
	return rss.NewPickerOf(rss.New(key), reta, ranges...)
}

// start returns the ports for connections from local to remote.
func start(p *rss.Picker, local, remote wire.Addr, remotePort uint16) rss.PortSet {
	if remote.Is4() {
		return p.Start4(remote.V4(), local.V4(), remotePort)
	}
	return p.Start6(remote.Hi, remote.Lo, local.Hi, local.Lo, remotePort)
}

// tuples deals out the 4-tuples of one worker: source addresses in turn, and the
// ports of each in an order whose beginning the seed decides.
type tuples struct {
	queue int
	seed  uint64
	at    int
	laps  uint64
	total int    // tuples in a lap
	crowd *crowd // nil: the sources are few
	set   []rss.PortSet
	walk  []rss.Walk
	tuple []wire.Tuple
}

func newTuples(p *rss.Picker, locals pool, remote wire.Addr, port uint16, queue int, seed uint64) (*tuples, error) {
	t := &tuples{queue: queue, seed: mix(seed ^ mix(uint64(queue)))}
	if locals.n > maxSources {
		return t, t.many(p, locals, remote, port)
	}
	for i := range locals.n {
		a := locals.at(i)
		s := start(p, a, remote, port)
		if s.Count(queue) == 0 {
			continue
		}
		t.total += s.Count(queue)
		t.set = append(t.set, s)
		t.walk = append(t.walk, s.Walk(queue, uint32(mix(t.seed+i))))
		t.tuple = append(t.tuple, wire.Tuple{Remote: remote, Local: a, RemotePort: port})
	}
	if len(t.set) == 0 {
		return nil, noPorts(remote, queue)
	}
	return t, nil
}

func noPorts(remote wire.Addr, queue int) error {
	return fmt.Errorf("bench: no source port brings replies of %v to queue %d; use fewer workers, or more ports (--ports)", remote, queue)
}

// next returns the next tuple. It belongs to t until the next call.
func (t *tuples) next() *wire.Tuple {
	if t.crowd != nil {
		return t.crowd.next()
	}
	i := t.at
	if t.at++; t.at == len(t.set) {
		t.at = 0
	}
	port, ok := t.walk[i].Next()
	if !ok {
		// In the same order again, so that a port rests as long as can be.
		t.laps++
		t.walk[i] = t.set[i].Walk(t.queue, uint32(mix(t.seed+uint64(i))))
		port, _ = t.walk[i].Next()
	}
	t.tuple[i].LocalPort = port
	return &t.tuple[i]
}

// crowd deals out the tuples of more sources than can each have a walk. Addresses come in steps of the golden
// section, which soon reaches all parts of the pool, each once a round; in each round an address has the next of its ports.
type crowd struct {
	picker     *rss.Picker
	locals     pool
	queue      int
	seed       uint64
	at, stride uint64 // number of the address, and from one to the next: coprime with that of all
	left       uint64 // addresses of the round
	round      uint32
	tuple      wire.Tuple
}

// many makes the crowd of t.
func (t *tuples) many(p *rss.Picker, locals pool, remote wire.Addr, port uint16) error {
	c := &crowd{
		picker: p, locals: locals, queue: t.queue, seed: t.seed, at: t.seed % locals.n, left: locals.n,
		tuple: wire.Tuple{Remote: remote, RemotePort: port},
	}
	for c.stride = uint64(float64(locals.n) / math.Phi); gcd(c.stride, locals.n) != 1; {
		c.stride++
	}
	ports := portsFor(p, locals, remote, port, t.queue)
	if ports == 0 {
		return noPorts(remote, t.queue)
	}
	t.crowd = c
	t.total = int(min(ports, 1<<62))
	return nil
}

// portsFor estimates how many tuples of a queue there are, from sources here and there in the pool: with few
// ports an address may have none of them.
func portsFor(p *rss.Picker, locals pool, remote wire.Addr, port uint16, queue int) float64 {
	looks := min(locals.n, maxSources)
	n := 0
	for i := range looks {
		if looks < locals.n { // by chance: addresses at even distances hash alike
			i, _ = bits.Mul64(mix(i), locals.n)
		}
		n += start(p, locals.at(i), remote, port).Count(queue)
	}
	return float64(n) * float64(locals.n) / float64(looks)
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// next is that of tuples.
func (c *crowd) next() *wire.Tuple {
	for {
		i := c.at
		if c.at += c.stride; c.at >= c.locals.n {
			c.at -= c.locals.n
		}
		round := c.round
		if c.left--; c.left == 0 {
			c.left = c.locals.n
			c.round++
		}
		c.tuple.Local = c.locals.at(i)
		s := start(c.picker, c.tuple.Local, c.tuple.Remote, c.tuple.RemotePort)
		port, ok := s.Pick(c.queue, uint32(mix(c.seed+i))>>1+round)
		if ok {
			c.tuple.LocalPort = port
			return &c.tuple
		}
	}
}
