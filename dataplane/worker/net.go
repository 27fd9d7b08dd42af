package worker

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// ErrNoRoute is returned for a remote address that is neither on the link nor
// behind a gateway.
var ErrNoRoute = errors.New("worker: no route: address is not in a local prefix and no gateway is set for its family")

// block is a set of addresses with common leading bits.
type block struct{ addr, mask wire.Addr }

func newBlock(p netip.Prefix) block {
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	var m wire.Addr
	switch {
	case bits == 0:
	case bits <= 64:
		m.Hi = ^uint64(0) << (64 - bits)
	default:
		m = wire.Addr{Hi: ^uint64(0), Lo: ^uint64(0) << (128 - bits)}
	}
	a := wire.AddrFrom(p.Addr())
	return block{wire.Addr{Hi: a.Hi & m.Hi, Lo: a.Lo & m.Lo}, m}
}

func (b *block) contains(a wire.Addr) bool {
	return a.Hi&b.mask.Hi == b.addr.Hi && a.Lo&b.mask.Lo == b.addr.Lo
}

// Net is what the workers of an endpoint know of the network around them. It
// is constant once they run, but for the neighbours.
type Net struct {
	MAC        [6]byte
	Neighbors  *Neighbors
	gw4, gw6   wire.Addr
	own        []block     // addresses that are ours
	first      []wire.Addr // the single ones among them, in the order given
	onlink     []block
	broadcasts []wire.Addr // all-ones and all-zeros hosts of the IPv4 prefixes

	groups  []wire.Addr // solicited-node groups of first
	queried atomic.Bool // somebody asked who listens to what

	pcpMask, pcp uint16 // which bits of a received TCI to change, and to what
}

// SetPriority has answers to tagged frames leave with priority code point pcp
// (802.1Q §6.9.3, 0 to 7), not with that of the frame answered. Before the workers run.
func (n *Net) SetPriority(pcp uint8) { n.pcpMask, n.pcp = 7<<13, uint16(pcp&7)<<13 }

// tci is the tag of the answer to a frame tagged with v.
func (n *Net) tci(v uint16) uint16 { return v&^n.pcpMask | n.pcp }

// NewNet describes a link. addrs are own addresses with the prefix of their
// link, as in 10.0.0.2/24; pools are prefixes of which every address is ours, for
// load generators; gateways are at most one per family and must be on the link.
func NewNet(mac [6]byte, addrs, pools []netip.Prefix, gateways []netip.Addr) (*Net, error) {
	n := &Net{MAC: mac, Neighbors: NewNeighbors()}
	if len(addrs)+len(pools) == 0 {
		return nil, errors.New("worker: no address: give at least one, such as 10.0.0.2/24")
	}
	for _, p := range addrs {
		a := p.Addr()
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a.Is4In6() || a.Zone() != "" {
			return nil, fmt.Errorf("worker: address %v: want a unicast address with its prefix length, such as 10.0.0.2/24", p)
		}
		w := wire.AddrFrom(a)
		n.first = append(n.first, w)
		if g := wire.SolicitedNode(w); !w.Is4() && !slices.Contains(n.groups, g) {
			n.groups = append(n.groups, g)
		}
		n.own = append(n.own, newBlock(netip.PrefixFrom(a, a.BitLen())))
		n.onlink = append(n.onlink, newBlock(p))
		if a.Is4() && p.Bits() < 31 {
			all := uint32(1)<<(32-p.Bits()) - 1
			zeros, ones := wire.Addr4(w.V4()&^all), wire.Addr4(w.V4()|all)
			if w == zeros || w == ones {
				return nil, fmt.Errorf("worker: address %v is the network or broadcast address of its prefix; choose a host address", p)
			}
			n.broadcasts = append(n.broadcasts, zeros, ones)
		}
	}
	for _, p := range pools {
		if !p.IsValid() || p.Addr().IsMulticast() || p.Addr().IsLoopback() {
			return nil, fmt.Errorf("worker: pool %v: want a prefix of unicast addresses", p)
		}
		n.own = append(n.own, newBlock(p))
		n.onlink = append(n.onlink, newBlock(p))
	}
	for _, g := range gateways {
		w := wire.AddrFrom(g)
		if !g.IsValid() || !n.onLink(w) {
			return nil, fmt.Errorf("worker: gateway %v is in none of the local prefixes; it must be reachable without a gateway", g)
		}
		dst := &n.gw6
		if w.Is4() {
			dst = &n.gw4
		}
		if !dst.IsZero() {
			return nil, fmt.Errorf("worker: gateway %v: only one gateway per address family", g)
		}
		*dst = w
	}
	return n, nil
}

// Addrs returns the own addresses that were given one by one, in that order: those of
// pools are not among them. The caller does not change it.
func (n *Net) Addrs() []wire.Addr { return n.first }

// Owns reports whether a is an address of this endpoint.
func (n *Net) Owns(a wire.Addr) bool {
	for i := range n.own {
		if n.own[i].contains(a) {
			return true
		}
	}
	return false
}

// Source returns the first own address of the family of remote, for traffic
// that has no other preference, or false.
func (n *Net) Source(remote wire.Addr) (wire.Addr, bool) {
	for _, a := range n.first {
		if a.Is4() == remote.Is4() {
			return a, true
		}
	}
	for i := range n.own {
		if a := n.own[i].addr; a.Is4() == remote.Is4() {
			a.Lo |= 1
			return a, true
		}
	}
	return wire.Addr{}, false
}

// hasIPv6 reports whether flows over IPv6 can be.
func (n *Net) hasIPv6() bool {
	for i := range n.own {
		if !n.own[i].addr.Is4() {
			return true
		}
	}
	return false
}

func (n *Net) onLink(a wire.Addr) bool {
	for i := range n.onlink {
		if n.onlink[i].contains(a) {
			return true
		}
	}
	return false
}

// NextHop returns the address to resolve for remote, or false without a route.
func (n *Net) NextHop(remote wire.Addr) (wire.Addr, bool) {
	if n.onLink(remote) {
		return remote, true
	}
	gw := n.gw6
	if remote.Is4() {
		gw = n.gw4
	}
	return gw, !gw.IsZero()
}

// badSource reports a source no honest peer has: a directed broadcast address (VAL-015).
func (n *Net) badSource(a wire.Addr) bool {
	for _, b := range n.broadcasts {
		if a == b {
			return true
		}
	}
	return false
}
