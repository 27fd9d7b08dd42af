package afpacket

import (
	"errors"
	"fmt"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/rss"
)

// ErrInterfaceGone is wrapped by Err of a queue whose interface was deleted or
// moved to another network namespace. The port does not come back: close it and
// open a new one.
var ErrInterfaceGone = errors.New("interface is gone")

// Ring selects the layout of the receive ring. See the package comment for
// what each costs.
type Ring uint8

// The receive ring layouts.
const (
	RingV2 Ring = iota // TPACKET_V2: the kernel hands over every frame by itself
	RingV3             // TPACKET_V3: the kernel hands over blocks, full or 1 ms old
)

// String returns the value of the ring parameter, "v2" or "v3".
func (r Ring) String() string {
	if r == RingV3 {
		return "v3"
	}
	return "v2"
}

// Bounds and defaults of Config.
const (
	MaxQueues     = 64
	DefaultRxRing = 8 << 20
	DefaultTxRing = 1 << 20
	minRing       = 256 << 10
	maxRing       = 1 << 30
)

// Config says what Open opens. The zero value of every field but Interface is
// its default.
type Config struct {
	Interface string
	Queues    int  // 1..MaxQueues; 0 is 1
	Ring      Ring // layout of the receive rings
	RxRing    int  // bytes of each queue's receive ring; 0 is DefaultRxRing
	TxRing    int  // bytes of each queue's transmit ring; 0 is DefaultTxRing
	// OffloadsOff switches checksum offloads, TSO, GSO, GRO and LRO of the
	// interface off until Close. The driver works either way: see Meta.
	OffloadsOff bool
	// Promisc asks the device for every frame and lends those for other hosts
	// too. Without it frames for other unicast addresses are left out.
	Promisc bool
	// Outgoing lends frames that others send through the interface as well, as
	// tcpdump shows them: for looking, not for answering.
	Outgoing bool
	// RSSKey spreads TCP frames over the queues; zero is rss.SymmetricKey.
	RSSKey rss.Key
}

// normalize fills in defaults and refuses what cannot be opened.
func (c *Config) normalize() error {
	if c.Interface == "" {
		return errors.New("afpacket: no interface named: write it after the colon, as in afpacket:veth0")
	}
	if c.Queues == 0 {
		c.Queues = 1
	}
	if c.Queues < 1 || c.Queues > MaxQueues {
		return fmt.Errorf("afpacket: %s: %d queues: want 1 to %d (one per core is plenty)", c.Interface, c.Queues, MaxQueues)
	}
	for _, r := range []struct {
		name  string
		bytes *int
		def   int
	}{{"rx-ring", &c.RxRing, DefaultRxRing}, {"tx-ring", &c.TxRing, DefaultTxRing}} {
		if *r.bytes == 0 {
			*r.bytes = r.def
		}
		if *r.bytes < minRing || *r.bytes > maxRing {
			return fmt.Errorf("afpacket: %s: %s of %d bytes: want %d to %d per queue", c.Interface, r.name, *r.bytes, minRing, maxRing)
		}
	}
	if c.Ring > RingV3 {
		return fmt.Errorf("afpacket: %s: ring %d: want v2 or v3", c.Interface, c.Ring)
	}
	if c.RSSKey == (rss.Key{}) {
		c.RSSKey = rss.SymmetricKey
	}
	return nil
}

const example = "afpacket:veth0?queues=2"

func init() {
	dataplane.Register("afpacket", dataplane.Driver{Open: openParams, Example: example})
}

func openParams(target string, p *dataplane.Params) (dataplane.Port, error) {
	cfg := Config{
		Interface:   target,
		Queues:      p.Int("queues", 1, 1, MaxQueues),
		RxRing:      int(p.Size("rx-ring", DefaultRxRing, minRing, maxRing)),
		TxRing:      int(p.Size("tx-ring", DefaultTxRing, minRing, maxRing)),
		OffloadsOff: p.Enum("offloads", "keep", "keep", "off") == "off",
		Promisc:     p.Bool("promisc", false),
		Outgoing:    p.Bool("outgoing", false),
	}
	if p.Enum("ring", "v2", "v2", "v3") == "v3" {
		cfg.Ring = RingV3
	}
	if p.Enum("rss-key", "symmetric", "symmetric", "microsoft") == "microsoft" {
		cfg.RSSKey = rss.DefaultKey
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	port, err := Open(cfg)
	if err != nil {
		return nil, err
	}
	return port, nil
}
