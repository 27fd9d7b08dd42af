package bench

import (
	"fmt"
	"net/netip"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/rss"
)

// Source ports: all but the well-known ones.
const firstPort, lastPort = 1024, 65535

// maxSources bounds the source addresses that are kept apart; more in a pool add nothing.
const maxSources = 1 << 12

// mix is the finalizer of splitmix64 (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// newPicker returns the source ports of a port by the queue replies come to.
func newPicker(info dataplane.Info) (*rss.Picker, error) {
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
	return rss.NewPicker(rss.New(key), reta, firstPort, lastPort)
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
	total int // tuples in a lap
	set   []rss.PortSet
	walk  []rss.Walk
	tuple []wire.Tuple
}

func newTuples(p *rss.Picker, locals []wire.Addr, remote wire.Addr, port uint16, queue int, seed uint64) (*tuples, error) {
	t := &tuples{queue: queue, seed: mix(seed ^ mix(uint64(queue)))}
	for i, a := range locals {
		s := start(p, a, remote, port)
		if s.Count(queue) == 0 {
			continue
		}
		t.total += s.Count(queue)
		t.set = append(t.set, s)
		t.walk = append(t.walk, s.Walk(queue, uint32(mix(t.seed+uint64(i)))))
		t.tuple = append(t.tuple, wire.Tuple{Remote: remote, Local: a, RemotePort: port})
	}
	if len(t.set) == 0 {
		return nil, fmt.Errorf("bench: no source port of %d-%d brings replies of %v to queue %d; use fewer workers", firstPort, lastPort, remote, queue)
	}
	return t, nil
}

// next returns the next tuple. It belongs to t until the next call.
func (t *tuples) next() *wire.Tuple {
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

// sources lists the addresses of the family of remote in addrs and pools.
func sources(addrs, pools []string, remote wire.Addr) []wire.Addr {
	var out []wire.Addr
	for _, s := range addrs {
		if p, err := netip.ParsePrefix(s); err == nil && p.Addr().Is4() == remote.Is4() {
			out = append(out, wire.AddrFrom(p.Addr()))
		}
	}
	for _, s := range pools {
		p, err := netip.ParsePrefix(s)
		if err != nil || p.Addr().Is4() != remote.Is4() {
			continue
		}
		n := 0
		for a := p.Masked().Addr(); p.Contains(a) && len(out) < maxSources; a, n = a.Next(), n+1 {
			if n > 0 || p.IsSingleIP() { // the first is the network's own name
				out = append(out, wire.AddrFrom(a))
			}
		}
	}
	return out
}

// spoofRange returns the sources of a flood as a base address and the bits that
// may vary: the first pool of the family of remote, else the first own address.
func spoofRange(addrs, pools []string, remote wire.Addr) (base wire.Addr, mask uint64, err error) {
	for _, s := range pools {
		p, err := netip.ParsePrefix(s)
		if err != nil || p.Addr().Is4() != remote.Is4() {
			continue
		}
		// 16 bits of sources are plenty, with 15 bits of ports each.
		bits := min(p.Addr().BitLen()-p.Bits(), 16)
		return wire.AddrFrom(p.Masked().Addr()), 1<<bits - 1, nil
	}
	if own := sources(addrs, nil, remote); len(own) > 0 {
		return own[0], 0, nil
	}
	return base, 0, fmt.Errorf("bench: no address or pool of the family of %v", remote)
}
