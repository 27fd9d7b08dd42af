package dataplane

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Params are the parameters of one driver or decorator. A driver asks for each
// key it knows with a typed getter, which returns the default when the key is
// absent or its value is bad, and then checks Err once. Err names every bad
// value and every key nobody asked for.
type Params struct {
	owner   string
	example string
	list    []Param
	known   []string
	errs    []error
}

// NewParams returns the parameters of owner (a driver or decorator name, for
// error texts). Example is an example port string.
func NewParams(owner, example string, list []Param) *Params {
	return &Params{owner: owner, example: example, list: list}
}

// Has reports whether key was given.
func (p *Params) Has(key string) bool {
	_, ok := p.lookup(key)
	return ok
}

// String returns the value of key as it is, or def.
func (p *Params) String(key, def string) string {
	if v, ok := p.lookup(key); ok {
		return v
	}
	return def
}

// Enum returns the value of key, one of allowed, or def.
func (p *Params) Enum(key, def string, allowed ...string) string {
	v, ok := p.lookup(key)
	if !ok {
		return def
	}
	if !slices.Contains(allowed, v) {
		hint := ""
		if near := nearest(v, allowed); near != "" {
			hint = fmt.Sprintf("; did you mean %q?", near)
		}
		p.bad(key, v, "it is one of "+strings.Join(allowed, ", ")+hint)
		return def
	}
	return v
}

// Bool returns the value of key: true, yes, on or 1; false, no, off or 0.
func (p *Params) Bool(key string, def bool) bool {
	v, ok := p.lookup(key)
	if !ok {
		return def
	}
	switch v {
	case "true", "yes", "on", "1":
		return true
	case "false", "no", "off", "0":
		return false
	}
	p.bad(key, v, "it is true or false")
	return def
}

// Int returns the value of key, a decimal number from lo to hi.
func (p *Params) Int(key string, def, lo, hi int) int {
	v, ok := p.lookup(key)
	if !ok {
		return def
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < lo || n > hi {
		p.bad(key, v, fmt.Sprintf("it is a whole number from %d to %d", lo, hi))
		return def
	}
	return n
}

// PowerOfTwo returns the value of key, a power of two from lo to hi.
func (p *Params) PowerOfTwo(key string, def, lo, hi int) int {
	v, ok := p.lookup(key)
	if !ok {
		return def
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < lo || n > hi || n < 1 || n&(n-1) != 0 {
		p.bad(key, v, fmt.Sprintf("it is a power of two from %d to %d", lo, hi))
		return def
	}
	return n
}

// Uint64 returns the value of key, decimal or with prefix 0x.
func (p *Params) Uint64(key string, def uint64) uint64 {
	v, ok := p.lookup(key)
	if !ok {
		return def
	}
	n, err := strconv.ParseUint(v, 0, 64)
	if err != nil {
		p.bad(key, v, "it is a whole number from 0 to 2^64-1")
		return def
	}
	return n
}

// Float returns the value of key, a number from lo to hi.
func (p *Params) Float(key string, def, lo, hi float64) float64 {
	v, ok := p.lookup(key)
	if !ok {
		return def
	}
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || math.IsNaN(f) || f < lo || f > hi {
		p.bad(key, v, fmt.Sprintf("it is a number from %g to %g", lo, hi))
		return def
	}
	return f
}

// Percent returns the value of key as a fraction from 0 to 1. It is written as a
// percentage ("0.5%") or as the fraction itself ("0.005").
func (p *Params) Percent(key string, def float64) float64 {
	v, ok := p.lookup(key)
	if !ok {
		return def
	}
	num, pct := strings.CutSuffix(v, "%")
	f, err := strconv.ParseFloat(num, 64)
	if pct {
		f /= 100
	}
	if err != nil || math.IsNaN(f) || f < 0 || f > 1 {
		p.bad(key, v, "it is a percentage from 0% to 100%, or a fraction from 0 to 1")
		return def
	}
	return f
}

// Duration returns the value of key, written as time.ParseDuration takes it ("10ms"), from lo to hi.
func (p *Params) Duration(key string, def, lo, hi time.Duration) time.Duration {
	v, ok := p.lookup(key)
	if !ok {
		return def
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < lo || d > hi {
		p.bad(key, v, fmt.Sprintf("it is a time with its unit, such as 10ms, from %v to %v", lo, hi))
		return def
	}
	return d
}

// Size returns the value of key in bytes, from lo to hi: a whole number with an
// optional unit K, M or G (also KiB, MiB, GiB), each 1024 times the one before.
func (p *Params) Size(key string, def, lo, hi int64) int64 {
	v, ok := p.lookup(key)
	if !ok {
		return def
	}
	num := strings.TrimRight(v, "KMGiB")
	shift := 0
	switch v[len(num):] {
	case "", "B":
	case "K", "KiB":
		shift = 10
	case "M", "MiB":
		shift = 20
	case "G", "GiB":
		shift = 30
	default:
		num = ""
	}
	n, err := strconv.ParseInt(num, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64>>shift || n<<shift < lo || n<<shift > hi {
		p.bad(key, v, fmt.Sprintf("it is a number of bytes from %d to %d, such as 64K or 2M", lo, hi))
		return def
	}
	return n << shift
}

// Fail records that the value of key is bad for a reason the getters cannot know.
func (p *Params) Fail(key, why string) {
	v, _ := p.lookup(key)
	p.bad(key, v, why)
}

// Err returns what was wrong with the parameters, nil if nothing: bad values in
// the order asked for, then the keys no getter asked for.
func (p *Params) Err() error {
	errs := slices.Clone(p.errs)
	for _, q := range p.list {
		if slices.Contains(p.known, q.Key) {
			continue
		}
		hint := ""
		if near := nearest(q.Key, p.known); near != "" {
			hint = fmt.Sprintf("; did you mean %q?", near)
		}
		known := "it takes none"
		if len(p.known) > 0 {
			known = "known: " + strings.Join(p.known, ", ")
		}
		errs = append(errs, fmt.Errorf("dataplane: %s has no parameter %q%s (%s; example: %s)", p.owner, q.Key, hint, known, p.example))
	}
	return errors.Join(errs...)
}

func (p *Params) lookup(key string) (string, bool) {
	if !slices.Contains(p.known, key) {
		p.known = append(p.known, key)
	}
	for _, q := range p.list {
		if q.Key == key {
			return q.Value, true
		}
	}
	return "", false
}

func (p *Params) bad(key, value, want string) {
	p.errs = append(p.errs, fmt.Errorf("dataplane: %s: %s=%q: %s (example: %s)", p.owner, key, value, want, p.example))
}
