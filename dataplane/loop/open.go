package loop

import (
	"fmt"
	"sync"

	"github.com/fastsyn/fastsyn/dataplane"
)

const example = "loop:demo?queues=2&frames=4096&ring=1024"

func init() {
	dataplane.Register("loop", dataplane.Driver{
		Open: openSpec, Example: example,
		Wire: func(string) bool { return true },
	})
}

// names are the wires of this process with an open side.
var names struct {
	sync.Mutex
	wires map[string]*wire
}

// Pair returns both sides of a new wire that has no name in the registry.
func Pair(c Config) (a, b dataplane.Port, err error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, nil, fmt.Errorf("loop: pair: %w", err)
	}
	w, err := newWire("pair", c)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range w.side {
		p.stop.open.Store(true)
	}
	return w.side[0], w.side[1], nil
}

// openSpec is the driver. The first side decides the shape of the wire; the
// second takes it over, and may repeat parameters but not contradict them.
func openSpec(name string, p *dataplane.Params) (dataplane.Port, error) {
	def := Config{}.withDefaults()
	c := Config{
		Queues: p.Int("queues", def.Queues, 1, maxQueues),
		Frames: p.PowerOfTwo("frames", def.Frames, minFrames, maxFrames/2),
		Ring:   p.PowerOfTwo("ring", def.Ring, 2, maxRing),
		Poison: p.Bool("poison", false) || raceBuild,
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("loop: %q: %w (example: %s)", name, err, example)
	}
	names.Lock()
	defer names.Unlock()
	if w := names.wires[name]; w != nil {
		return w.openSecond(c, p)
	}
	w, err := newWire(name, c)
	if err != nil {
		return nil, err
	}
	if names.wires == nil {
		names.wires = map[string]*wire{}
	}
	names.wires[name] = w
	w.side[0].stop.open.Store(true)
	return w.side[0], nil
}

// openSecond opens side b. The caller holds the names lock.
func (w *wire) openSecond(c Config, p *dataplane.Params) (dataplane.Port, error) {
	a, b := w.side[0].stop, w.side[1].stop
	switch {
	case b.open.Load() && !a.closed.Load() && !b.closed.Load():
		return nil, fmt.Errorf("loop: %q: both ends are in use; close them, or use another name", w.name)
	case b.open.Load():
		return nil, fmt.Errorf("loop: %q: one end is closed and the other still open; close that too, or use another name", w.name)
	}
	for _, q := range []struct {
		key       string
		got, have int
	}{
		{"queues", c.Queues, w.cfg.Queues},
		{"frames", c.Frames, w.cfg.Frames},
		{"ring", c.Ring, w.cfg.Ring},
	} {
		if p.Has(q.key) && q.got != q.have {
			return nil, fmt.Errorf("loop: %q: %s=%d, but the side opened first has %s=%d; give both the same, or leave it out here",
				w.name, q.key, q.got, q.key, q.have)
		}
	}
	if p.Has("poison") && c.Poison != w.cfg.Poison {
		return nil, fmt.Errorf("loop: %q: poison=%t, but the side opened first has poison=%t; give both the same, or leave it out here",
			w.name, c.Poison, w.cfg.Poison)
	}
	b.open.Store(true)
	return w.side[1], nil
}
