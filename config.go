package fastsyn

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/flow"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

// The application's side, as defined by package worker.
type (
	// Flow is one connection, in a callback.
	Flow = worker.Flow
	// Callbacks are an application's functions.
	Callbacks = worker.Callbacks
	// Worker is one core of an endpoint.
	Worker = worker.Worker
	// Source opens flows on a worker.
	Source = worker.Source
	// Task is work for a worker from another goroutine; see Worker.Post.
	Task = worker.Task
	// Raw sends and receives segments past the engine.
	Raw = worker.Raw
	// Info are the facts of a handshake.
	Info = handshake.Info
	// FlowID names a flow beyond a callback.
	FlowID = handshake.FlowID
	// Gate bounds what a listener takes in.
	Gate = handshake.Gate
	// CloseReason says how a flow ended.
	CloseReason = handshake.CloseReason
)

// Config describes an endpoint.
type Config struct {
	// Port is a port string such as "loop:" or "afpacket:veth0?queues=2".
	Port string
	// Device is an opened port, in place of Port. Close closes it.
	Device dataplane.Port
	// Addrs are own addresses with the prefix of their link, "10.0.0.2/24".
	Addrs []string
	// Pools are prefixes of which every address is ours, for load generators.
	Pools []string
	// Gateways are next hops for what is not on the link, at most one per family.
	Gateways []string
	// Listeners accept connections from the first frame on; Handle adds more
	// while the endpoint runs.
	Listeners []Listener
	// Engine configures the handshake engines. MTU 0 takes the port's.
	Engine handshake.Config
	// Flow configures the streams of established flows: memory, timers. The receive window is
	// Engine.RcvWindow.
	Flow flow.Config
	// Secret keys cookies, sequence numbers and timestamp offsets; nodes that
	// share one accept each other's cookies. Unset: random.
	Secret cookie.Secret
	// CookieEpoch is the life of a cookie key; a cookie lives one to two of
	// them. 0: one minute.
	CookieEpoch time.Duration
	// FastOpen makes and checks Fast Open cookies for listeners with Callbacks.FastOpen, as to agree
	// with Linux hosts (cookie.NewLinuxFastOpen). Nil: they come from Secret.
	FastOpen *cookie.FastOpen
	// DAD is how long Open waits for another host that has one of Addrs to say so, before
	// it uses them (duplicate address detection, RFC 4862 §5.4, RFC 5227 §2.1; pools are
	// not asked for). 0: a second, or nothing on a wire in memory; negative: not at all.
	// A link that is down is not asked.
	DAD time.Duration
	// VLANPriority, if set, is the priority code point (0 to 7) of answers to tagged
	// frames. Nil: that of the frame answered.
	VLANPriority *uint8
	// Backlog is how many connections per worker, established and not accepted yet, a
	// net.Listener of Listen has room for. 0: 1024.
	Backlog int
	// ReadMemory is the received text that the net.Conns of a worker hold unread, in bytes,
	// above which their peers are granted small windows only. What they had been granted before
	// may still come. 0: 256 MiB.
	ReadMemory int
	// Polling is how workers wait for frames. By default they poll without pause on ports
	// whose driver owns the device, and sleep on others when nothing comes.
	Polling worker.Polling
	// CallbackBudget is how long the callbacks of one burst may take until new
	// connections are refused for as long again. 0: no bound.
	CallbackBudget time.Duration
	// CPUs pins worker i to CPUs[i]; beyond its length workers are not pinned, so
	// an empty slice pins none. Nil leaves it to the port, if that has a wish.
	CPUs []int
	// Source and Raw, if set, make the traffic generator of each worker.
	Source func(worker int) Source
	Raw    func(worker int) Raw
	// Role is the label "role" of the workers in CPU profiles, beside "worker", their number. Default "endpoint".
	Role string
	// RawAddrs are the own addresses whose segments Raw gets; those of the others are for flows.
	// The zero Prefix: all.
	RawAddrs netip.Prefix
	// Shape is how the segments of flows look: option order, TTL. Nil: as Linux has them.
	Shape *wire.Shape
	// Logger gets what happens on the control path. Nil: nothing.
	Logger *slog.Logger
}

// Listener is an address and who accepts there.
type Listener struct {
	Addr      string // as in Handle
	Callbacks Callbacks
	Gate      Gate // on each worker; with a Backlog the application calls Worker.Take
}

func parsePrefixes(what string, in []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range in {
		p, err := netip.ParsePrefix(strings.TrimSpace(s))
		if err != nil {
			if _, e := netip.ParseAddr(s); e == nil {
				return nil, fmt.Errorf("fastsyn: %s %q: the prefix length is missing, as in %s/24", what, s, s)
			}
			return nil, fmt.Errorf("fastsyn: %s %q: want ADDRESS/LENGTH, such as 10.0.0.2/24: %w", what, s, err)
		}
		out = append(out, p)
	}
	return out, nil
}

func (c *Config) net(mac []byte) (*worker.Net, error) {
	addrs, err := parsePrefixes("address", c.Addrs)
	if err != nil {
		return nil, err
	}
	pools, err := parsePrefixes("pool", c.Pools)
	if err != nil {
		return nil, err
	}
	var gws []netip.Addr
	for _, s := range c.Gateways {
		a, err := netip.ParseAddr(strings.TrimSpace(s))
		if err != nil {
			return nil, fmt.Errorf("fastsyn: gateway %q: want an IP address: %w", s, err)
		}
		gws = append(gws, a)
	}
	if len(mac) != 6 {
		return nil, fmt.Errorf("fastsyn: the port has no Ethernet address (got %d bytes, want 6)", len(mac))
	}
	n, err := worker.NewNet([6]byte(mac), addrs, pools, gws)
	if err != nil {
		return nil, fmt.Errorf("fastsyn: %w", err)
	}
	if p := c.VLANPriority; p != nil {
		if *p > 7 {
			return nil, fmt.Errorf("fastsyn: VLAN priority %d: want 0 to 7", *p)
		}
		n.SetPriority(*p)
	}
	return n, nil
}

// ParseListen reads ":80", "10.0.0.2:80" or "[2001:db8::1]:80". The address is
// invalid (any) in the first form.
func ParseListen(s string) (netip.AddrPort, error) {
	if port, ok := strings.CutPrefix(s, ":"); ok {
		ap, err := netip.ParseAddrPort("0.0.0.0:" + port)
		if err != nil || ap.Port() == 0 {
			return netip.AddrPort{}, fmt.Errorf("fastsyn: listen address %q: want a port from 1 to 65535 after the colon", s)
		}
		return netip.AddrPortFrom(netip.Addr{}, ap.Port()), nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("fastsyn: listen address %q: want :PORT, IPV4:PORT or [IPV6]:PORT: %w", s, err)
	}
	if ap.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("fastsyn: listen address %q: port 0 cannot be listened on; name a port from 1 to 65535", s)
	}
	return ap, nil
}
