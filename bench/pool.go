package bench

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/rss"
)

// pool is a set of source addresses, as many as there may be: it keeps prefixes and no addresses.
type pool struct {
	spans []span
	n     uint64 // addresses in all
}

// span is n addresses, one after the other.
type span struct {
	first wire.Addr
	n     uint64
}

// maxSpan is how many addresses of a prefix are used: those of a /64 have 63 bits more than anybody needs.
const maxSpan = 1 << 48

func (p *pool) add(first wire.Addr, n uint64) {
	p.spans = append(p.spans, span{first, n})
	p.n += n
}

// one is the first address alone.
func (p pool) one() pool {
	p.spans, p.n = []span{{p.spans[0].first, 1}}, 1
	return p
}

// at is address i of the pool, below n.
func (p *pool) at(i uint64) wire.Addr {
	s := p.spans
	for i >= s[0].n {
		i -= s[0].n
		s = s[1:]
	}
	a := s[0].first
	a.Lo += i // within its prefix: no carry
	return a
}

// sources are the addresses of the family of remote in addrs and pools. Of a prefix all but those
// that nobody may have: its first address, and of IPv4 its last (RFC 1122 section 3.2.1.3, RFC 4291 section 2.6.1).
func sources(addrs, pools []string, remote wire.Addr) pool {
	var out pool
	for _, s := range addrs {
		if p, err := netip.ParsePrefix(s); err == nil && p.Addr().Is4() == remote.Is4() {
			out.add(wire.AddrFrom(p.Addr()), 1)
		}
	}
	for _, s := range pools {
		p, err := netip.ParsePrefix(s)
		if err != nil || p.Addr().Is4() != remote.Is4() {
			continue
		}
		first := wire.AddrFrom(p.Masked().Addr())
		n := uint64(maxSpan)
		if bits := p.Addr().BitLen() - p.Bits(); bits < 48 {
			n = 1 << bits
		}
		switch {
		case n == 1:
		case n == 2: // both ends of a link (RFC 3021, RFC 6164)
		case remote.Is4():
			first.Lo++
			n -= 2
		default:
			first.Lo++
			n--
		}
		out.add(first, n)
	}
	return out
}

// invented are the sources of a flood: the pools of the family of remote, else the own addresses.
func invented(addrs, pools []string, remote wire.Addr) (pool, error) {
	p := sources(nil, pools, remote)
	if p.n == 0 {
		p = sources(addrs, nil, remote)
	}
	if p.n == 0 {
		return p, fmt.Errorf("bench: no address or pool of the family of %v", remote)
	}
	return p, nil
}

// parsePorts reads ports and ranges of them, such as "1024-65535" or "4000,5000-5999".
func parsePorts(text string) ([]rss.PortRange, error) {
	if text == "" {
		return []rss.PortRange{{Lo: firstPort, Hi: lastPort}}, nil
	}
	var out []rss.PortRange
	for _, part := range strings.Split(text, ",") {
		from, to, ranged := strings.Cut(strings.TrimSpace(part), "-")
		if !ranged {
			to = from
		}
		lo, err := strconv.ParseUint(from, 10, 16)
		hi, err2 := strconv.ParseUint(to, 10, 16)
		if err != nil || err2 != nil || lo == 0 || lo > hi {
			return nil, flagError("ports", part, "want a port or a range of them, from 1 to 65535", "for example 1024-65535, or 4000,5000-5999")
		}
		out = append(out, rss.PortRange{Lo: uint16(lo), Hi: uint16(hi)})
	}
	return out, nil
}
