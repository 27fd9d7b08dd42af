package wire

import (
	"encoding/binary"
	"net/netip"
)

// Addr is an IP address as two host-order words: pointer-free, comparable and
// cheap to hash. IPv4 is held in its IPv6-mapped form (::ffff:a.b.c.d), so the
// zero value is the IPv6 unspecified address.
type Addr struct{ Hi, Lo uint64 }

const v4mapped = 0xffff << 32

// Addr4 returns the IPv4 address whose network-order bytes read as v (192.0.2.1 is 0xc0000201).
func Addr4(v uint32) Addr { return Addr{Lo: v4mapped | uint64(v)} }

// Addr16 returns the IPv6 address in b.
func Addr16(b *[16]byte) Addr {
	return Addr{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// AddrFrom converts a netip.Addr; zones are dropped, an invalid Addr becomes ::.
func AddrFrom(a netip.Addr) Addr {
	if !a.IsValid() {
		return Addr{}
	}
	b := a.As16()
	return Addr16(&b)
}

// Is4 reports whether a is an IPv4 address.
func (a Addr) Is4() bool { return a.Hi == 0 && a.Lo>>32 == 0xffff }

// V4 returns the IPv4 address as a word read in network order; meaningless unless Is4.
func (a Addr) V4() uint32 { return uint32(a.Lo) }

// As16 returns the 16 bytes of a in network order (IPv4 in mapped form).
func (a Addr) As16() (b [16]byte) {
	binary.BigEndian.PutUint64(b[:8], a.Hi)
	binary.BigEndian.PutUint64(b[8:], a.Lo)
	return b
}

// Netip converts a for printing and for the control path.
func (a Addr) Netip() netip.Addr { return netip.AddrFrom16(a.As16()).Unmap() }

// String formats a as netip does.
func (a Addr) String() string { return a.Netip().String() }

// IsZero reports whether a is unspecified: ::, or 0.0.0.0.
func (a Addr) IsZero() bool { return a.Hi == 0 && (a.Lo == 0 || a.Lo == v4mapped) }

// Tuple is a TCP 4-tuple seen from this endpoint: in a received segment Remote
// is the source, in a sent one the destination. Ports are host order.
type Tuple struct {
	Remote, Local         Addr
	RemotePort, LocalPort uint16
}

// String formats t as "remote:port > local:port".
func (t Tuple) String() string {
	return netip.AddrPortFrom(t.Remote.Netip(), t.RemotePort).String() + " > " +
		netip.AddrPortFrom(t.Local.Netip(), t.LocalPort).String()
}
