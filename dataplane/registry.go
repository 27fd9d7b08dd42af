package dataplane

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Driver makes ports of one kind. It is registered in the init of its package.
type Driver struct {
	// Open opens target ("veth0"; may be empty). It reads its parameters from p
	// and returns p.Err(), if any, before it touches the host. Its errors name
	// the driver and the target themselves.
	Open func(target string, p *Params) (Port, error)
	// Example is a port string that shows the usual parameters.
	Example string
	// Wire reports whether opening target twice in one process gives the two ends
	// of one wire. Nil: never.
	Wire func(target string) bool
}

// Decorator makes ports that wrap another port, whatever its driver.
type Decorator struct {
	// Configure reads parameters from p, returns p.Err() if that is not nil, and
	// otherwise a function that wraps the opened inner port. It runs before the
	// inner port is opened, so that a typing error leaves the host alone. When
	// wrap fails, Open closes inner. The outer port's Close closes inner.
	Configure func(p *Params) (wrap func(inner Port) (Port, error), err error)
	// Example is a port string that shows the usual parameters.
	Example string
}

// ErrUnknownDriver is wrapped by Open when no driver or decorator of a name is registered.
var ErrUnknownDriver = errors.New("not registered")

var registry struct {
	sync.Mutex
	drivers    map[string]Driver
	decorators map[string]Decorator
}

// Register makes a driver available under a name. It panics when the name is
// malformed or taken, or Open is nil: those are mistakes in the program.
func Register(driver string, d Driver) {
	registry.Lock()
	defer registry.Unlock()
	checkRegistration(driver, d.Open == nil)
	if registry.drivers == nil {
		registry.drivers = map[string]Driver{}
	}
	registry.drivers[driver] = d
}

// RegisterDecorator makes a decorator available under a name, and panics as Register does.
func RegisterDecorator(name string, d Decorator) {
	registry.Lock()
	defer registry.Unlock()
	checkRegistration(name, d.Configure == nil)
	if registry.decorators == nil {
		registry.decorators = map[string]Decorator{}
	}
	registry.decorators[name] = d
}

func checkRegistration(name string, empty bool) {
	_, drv := registry.drivers[name]
	_, dec := registry.decorators[name]
	switch {
	case drv || dec:
		panic("dataplane: driver or decorator " + name + " is registered twice")
	case empty:
		panic("dataplane: driver or decorator " + name + " is registered without a function")
	case name == "":
		panic("dataplane: driver registered without a name")
	}
	for i := range len(name) {
		if !isNameByte(name[i]) {
			panic(fmt.Sprintf("dataplane: %q is not a driver name: only a-z, 0-9, _ and - are", name))
		}
	}
}

// Drivers returns the names of the registered drivers, sorted.
func Drivers() []string {
	registry.Lock()
	defer registry.Unlock()
	return slices.Sorted(maps.Keys(registry.drivers))
}

// Decorators returns the names of the registered decorators, sorted.
func Decorators() []string {
	registry.Lock()
	defer registry.Unlock()
	return slices.Sorted(maps.Keys(registry.decorators))
}

// Example returns the example port string of a driver or decorator, "" if unknown.
func Example(name string) string {
	registry.Lock()
	defer registry.Unlock()
	if d, ok := registry.drivers[name]; ok {
		return d.Example
	}
	return registry.decorators[name].Example
}

// IsWire reports whether opening sp twice in this process gives the two ends of
// one wire, so that both can be ours.
func IsWire(sp Spec) bool {
	registry.Lock()
	drv := registry.drivers[sp.Driver]
	registry.Unlock()
	return drv.Wire != nil && drv.Wire(sp.Target)
}

// Open opens the port that spec names: see Spec for the form. All parameters of
// decorators are checked before anything is opened.
func Open(spec string) (Port, error) {
	sp, err := ParseSpec(spec)
	if err != nil {
		return nil, err
	}
	return OpenSpec(sp)
}

// OpenSpec opens the port that sp describes.
func OpenSpec(sp Spec) (Port, error) {
	registry.Lock()
	drv, ok := registry.drivers[sp.Driver]
	decs := maps.Clone(registry.decorators)
	registry.Unlock()
	if !ok {
		return nil, unknownDriver(sp.Driver)
	}
	wraps := make([]func(Port) (Port, error), len(sp.Decorators))
	for i, d := range sp.Decorators {
		dec, ok := decs[d.Name]
		if !ok {
			return nil, unknownDecorator(d.Name)
		}
		p := NewParams(d.Name, dec.Example, d.Params)
		wrap, err := dec.Configure(p)
		if err == nil {
			err = p.Err()
		}
		if err != nil {
			return nil, err
		}
		wraps[i] = wrap
	}
	p := NewParams(sp.Driver, drv.Example, sp.Params)
	port, err := drv.Open(sp.Target, p)
	if err != nil {
		return nil, err
	}
	if err := p.Err(); err != nil { // a driver that forgot to ask
		return nil, errors.Join(err, port.Close())
	}
	for _, wrap := range slices.Backward(wraps) {
		outer, err := wrap(port)
		if err != nil {
			return nil, errors.Join(err, port.Close())
		}
		port = outer
	}
	return port, nil
}

func unknownDriver(name string) error {
	known := Drivers()
	if slices.Contains(Decorators(), name) {
		return fmt.Errorf("dataplane: %q is a decorator, not a driver: write %s(…): in front of a port (example: %s)", name, name, Example(name))
	}
	return unknownName("driver", name, known)
}

func unknownDecorator(name string) error {
	if slices.Contains(Drivers(), name) {
		return fmt.Errorf("dataplane: %q is a driver, not a decorator: it takes its parameters after a question mark (example: %s)", name, Example(name))
	}
	return unknownName("decorator", name, Decorators())
}

func unknownName(what, name string, known []string) error {
	hint := ""
	if near := nearest(name, known); near != "" {
		hint = fmt.Sprintf("; did you mean %q (example: %s)?", near, Example(near))
	}
	list := strings.Join(known, ", ")
	if list == "" {
		list = "none: import the packages that register them"
	}
	return fmt.Errorf("dataplane: %s %q is %w%s (known: %s)", what, name, ErrUnknownDriver, hint, list)
}

// nearest returns the known name that name was likely meant to be, or "".
func nearest(name string, known []string) string {
	best, at := "", 1+len(name)/3
	for _, k := range known {
		d := editDistance(name, k)
		if d <= at && (best == "" || d < at) {
			best, at = k, d
		}
		if best == "" && len(name) >= 2 && (strings.HasPrefix(k, name) || strings.HasPrefix(name, k)) {
			best = k
		}
	}
	return best
}

// editDistance counts insertions, deletions, substitutions and swaps of neighbours.
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	var rows [3][65]int
	prev2, prev, cur := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
