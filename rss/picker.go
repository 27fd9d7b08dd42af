package rss

import "fmt"

// Picker finds, for an active open, the local ports whose replies (remote to
// local, as received) land on a given queue (RSS-006). It is immutable and may
// be shared by all workers.
//
// The hash is linear, h(p) = h(0) xor T(p), so the low bits of T sort the
// ports of the range into classes once and for all, and the tuple only decides
// which classes a queue owns: those at RETA index i are class i xor h(0).
type Picker struct {
	t      *Toeplitz
	queues int
	mask   uint32
	reta   RETA     // reduced to its period
	entry  []uint16 // entries of the RETA, sorted by queue
	owned  []owned  // by queue
	v4     classes
	v6     classes
}

// owned are the RETA entries of a queue: entry[first:first+n].
type owned struct {
	first, n uint32
	// recip is 2^32/n rounded up, for n not 0: k/n is k*recip>>32 for every
	// k up to 2^16 and n up to MaxRETA, because recip*n is at most n too large.
	recip uint64
}

// classes are the ports of the range sorted by the low bits of their T.
type classes struct {
	port  []uint16 // class by class, ascending within each
	off   []uint32 // class c is port[off[c]:off[c+1]]
	least uint32   // length of the shortest class
	count []uint16 // by h(0) and queue: number of ports
}

// NewPicker sorts the local ports lo to hi, both included, for a device with
// this key and table. Port 0 is never chosen, even when lo is 0. It takes
// about a millisecond for a RETA of 512, tens of them for the largest, and
// keeps four bytes per port and per pair of RETA entry and queue.
func NewPicker(t *Toeplitz, reta RETA, lo, hi uint16) (*Picker, error) {
	return NewPickerOf(t, reta, PortRange{lo, hi})
}

// PortRange is the ports from Lo to Hi, both included.
type PortRange struct{ Lo, Hi uint16 }

// NewPickerOf is NewPicker for ports of several ranges, which may overlap.
func NewPickerOf(t *Toeplitz, reta RETA, ranges ...PortRange) (*Picker, error) {
	if t == nil {
		return nil, fmt.Errorf("rss: port picker without a Toeplitz key: pass rss.New(key)")
	}
	if err := checkSize(len(reta)); err != nil {
		return nil, err
	}
	ports, err := portsOf(ranges)
	if err != nil {
		return nil, err
	}
	reta = append(RETA(nil), reta.period()...)
	p := &Picker{t: t, queues: reta.queues(), mask: uint32(len(reta) - 1), reta: reta}
	if cells := len(reta) * p.queues; cells > 1<<22 {
		return nil, fmt.Errorf("rss: RETA of %d entries naming queue %d: the port counts would take %d cells, at most %d are kept; number the queues without gaps",
			len(reta), p.queues-1, cells, 1<<22)
	}
	p.owned = make([]owned, p.queues)
	for q := range p.owned {
		o := &p.owned[q]
		o.first = uint32(len(p.entry))
		for i, e := range reta {
			if int(e) == q {
				p.entry = append(p.entry, uint16(i))
			}
		}
		if o.n = uint32(len(p.entry)) - o.first; o.n > 0 {
			o.recip = (1<<32 + uint64(o.n) - 1) / uint64(o.n)
		}
	}
	p.v4 = p.classify(input4-2, ports)
	p.v6 = p.classify(input6-2, ports)
	return p, nil
}

// portsOf lists the ports of ranges, each once, ascending.
func portsOf(ranges []PortRange) ([]uint16, error) {
	if len(ranges) == 0 {
		return nil, fmt.Errorf("rss: port picker without ports: want at least one range")
	}
	var in [1 << 16]bool
	n := 0
	for _, r := range ranges {
		lo := max(r.Lo, 1)
		if lo > r.Hi {
			return nil, fmt.Errorf("rss: port range %d-%d is empty: want 1 <= lo <= hi", lo, r.Hi)
		}
		for port := int(lo); port <= int(r.Hi); port++ {
			if !in[port] {
				n++
			}
			in[port] = true
		}
	}
	ports := make([]uint16, 0, n)
	for port := range in {
		if in[port] {
			ports = append(ports, uint16(port))
		}
	}
	return ports, nil
}

// portHash returns T(port): the contribution of a port at input bytes pos and pos+1.
func (t *Toeplitz) portHash(pos int, port uint16) uint32 {
	return t.tab[pos][port>>8] ^ t.tab[pos+1][port&0xff]
}

// classify sorts ports, standing at input byte pos, by counting.
func (p *Picker) classify(pos int, ports []uint16) classes {
	n := len(p.reta)
	c := classes{
		port:  make([]uint16, len(ports)),
		off:   make([]uint32, n+1),
		count: make([]uint16, n*p.queues),
	}
	size := make([]uint32, n)
	for _, port := range ports {
		size[p.t.portHash(pos, port)&p.mask]++
	}
	c.least = size[0]
	for i, s := range size {
		c.off[i+1] = c.off[i] + s
		c.least = min(c.least, s)
	}
	next := append([]uint32(nil), c.off[:n]...)
	for _, port := range ports {
		i := p.t.portHash(pos, port) & p.mask
		c.port[next[i]] = port
		next[i]++
	}
	for base := range n {
		row := c.count[base*p.queues : (base+1)*p.queues]
		for i, q := range p.reta {
			row[q] += uint16(size[base^i])
		}
	}
	return c
}

// Queues returns one more than the highest queue of the table.
func (p *Picker) Queues() int { return p.queues }

// Start4 returns the ports for connections from local to remote:remotePort.
// Host-order values.
func (p *Picker) Start4(remote, local uint32, remotePort uint16) PortSet {
	return PortSet{p: p, c: &p.v4, base: p.t.Hash4(remote, local, remotePort, 0)}
}

// Start6 is Start4 for IPv6 addresses.
func (p *Picker) Start6(remoteHi, remoteLo, localHi, localLo uint64, remotePort uint16) PortSet {
	return PortSet{p: p, c: &p.v6, base: p.t.Hash6(remoteHi, remoteLo, localHi, localLo, remotePort, 0)}
}
