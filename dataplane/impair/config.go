package impair

import (
	"errors"
	"fmt"
	"time"

	"github.com/fastsyn/fastsyn/dataplane"
)

// ReorderHold is how long a frame waits at most for another one to overtake it.
const ReorderHold = time.Millisecond

const (
	maxDelay     = time.Minute
	maxStore     = 1 << 16
	defaultStore = 1024
)

// Dir says which frames are impaired.
type Dir uint8

// The directions. The zero value is DirTx.
const (
	DirTx Dir = iota
	DirRx
	DirBoth
)

// Config says how bad the wire is. Probabilities are fractions from 0 to 1.
// The zero value changes nothing.
type Config struct {
	Loss, Dup, Reorder, Corrupt float64
	Delay                       time.Duration // at most a minute
	Jitter                      time.Duration // at most Delay
	Seed                        uint64
	Dir                         Dir
	Store                       int    // held frames per queue and direction, at most 65536; default 1024
	Pcap                        string // file to capture to; "" for none
	// Now is the clock, time.Now if nil. Tests set it. It is called from the
	// goroutine of each queue.
	Now func() time.Time
}

const example = "impair(loss=1%,dup=0.5%,reorder=2%,delay=10ms,jitter=2ms,corrupt=0.1%,seed=7,pcap=f.pcap,dir=tx):loop:demo"

func init() {
	dataplane.RegisterDecorator("impair", dataplane.Decorator{Configure: configure, Example: example})
}

func configure(p *dataplane.Params) (func(dataplane.Port) (dataplane.Port, error), error) {
	c := Config{
		Loss:    p.Percent("loss", 0),
		Dup:     p.Percent("dup", 0),
		Reorder: p.Percent("reorder", 0),
		Corrupt: p.Percent("corrupt", 0),
		Delay:   p.Duration("delay", 0, 0, maxDelay),
		Jitter:  p.Duration("jitter", 0, 0, maxDelay),
		Seed:    p.Uint64("seed", 1),
		Store:   p.Int("store", defaultStore, 1, maxStore),
		Pcap:    p.String("pcap", ""),
	}
	switch p.Enum("dir", "tx", "tx", "rx", "both") {
	case "rx":
		c.Dir = DirRx
	case "both":
		c.Dir = DirBoth
	}
	if c.Jitter > c.Delay {
		p.Fail("jitter", fmt.Sprintf("it is at most the delay, which is %v", c.Delay))
	}
	return func(inner dataplane.Port) (dataplane.Port, error) {
		outer, err := New(inner, c)
		if err != nil {
			return nil, err // not a nil *Port in an interface
		}
		return outer, nil
	}, p.Err()
}

func (c *Config) validate() error {
	for _, f := range []struct {
		name string
		v    float64
	}{{"Loss", c.Loss}, {"Dup", c.Dup}, {"Reorder", c.Reorder}, {"Corrupt", c.Corrupt}} {
		if !(f.v >= 0 && f.v <= 1) { // also refuses NaN
			return fmt.Errorf("impair: %s is %g: want a fraction from 0 to 1", f.name, f.v)
		}
	}
	switch {
	case c.Delay < 0 || c.Delay > maxDelay:
		return fmt.Errorf("impair: Delay is %v: want 0 to %v", c.Delay, maxDelay)
	case c.Jitter < 0 || c.Jitter > c.Delay:
		return fmt.Errorf("impair: Jitter is %v: want 0 to Delay, which is %v", c.Jitter, c.Delay)
	case c.Store < 0 || c.Store > maxStore:
		return fmt.Errorf("impair: Store is %d: want 1 to %d, or 0 for %d", c.Store, maxStore, defaultStore)
	case c.Dir > DirBoth:
		return errors.New("impair: Dir is none of DirTx, DirRx, DirBoth")
	}
	if c.Store == 0 {
		c.Store = defaultStore
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}

// holds reports whether frames can be held, and a store is needed.
func (c *Config) holds() bool { return c.Dup > 0 || c.Reorder > 0 || c.Delay > 0 }

// acts reports whether any frame can be changed.
func (c *Config) acts() bool { return c.holds() || c.Loss > 0 || c.Corrupt > 0 }
