package handshake

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// Limit is a token bucket: Burst at once, PerSecond in the long run. The zero
// value is no limit. Over any time t at most Burst + t·PerSecond pass, exactly.
type Limit struct {
	PerSecond int // 1..1e9; 0: no limit
	Burst     int // 1..1e9; 0: a tenth of a second's worth, at least 1
}

const maxLimit = 1_000_000_000

// ParseLimit reads "RATE" or "RATE/BURST".
func ParseLimit(s string) (l Limit, err error) {
	rate, burst, found := strings.Cut(s, "/")
	if l.PerSecond, err = strconv.Atoi(rate); err != nil || l.PerSecond < 1 || l.PerSecond > maxLimit {
		return Limit{}, fmt.Errorf("%q: want a rate per second such as 1000, or with a burst, 1000/200", s)
	}
	if found {
		if l.Burst, err = strconv.Atoi(burst); err != nil || l.Burst < 1 || l.Burst > maxLimit {
			return Limit{}, fmt.Errorf("%q: want a burst of at least 1 after the slash, such as 1000/200", s)
		}
	}
	return l, nil
}

func (l *Limit) withDefaults(name string) error {
	if l.PerSecond == 0 && l.Burst == 0 {
		return nil
	}
	if l.PerSecond < 1 || l.PerSecond > maxLimit {
		return fmt.Errorf("handshake: %s: %d per second: want 1..%d, or 0 for no limit", name, l.PerSecond, maxLimit)
	}
	if l.Burst == 0 {
		l.Burst = max(1, l.PerSecond/10)
	}
	if l.Burst < 1 || l.Burst > maxLimit {
		return fmt.Errorf("handshake: %s: burst %d: want 1..%d, or 0 for a tenth of a second's worth", name, l.Burst, maxLimit)
	}
	return nil
}

// tokenBucket is a Limit at work, in whole units of a billionth of a token, so that
// nothing is ever rounded.
type tokenBucket struct {
	on    bool
	level int64 // tokens · 1e9, at most cap
	cap   int64
	rate  int64 // units per ns = tokens per second
	last  Time
	fill  int64 // ns after which any bucket is full
}

const token = int64(1e9)

func newTokenBucket(l Limit) tokenBucket {
	if l.PerSecond == 0 {
		return tokenBucket{}
	}
	c := int64(l.Burst) * token
	return tokenBucket{on: true, level: c, cap: c, rate: int64(l.PerSecond), fill: c/int64(l.PerSecond) + 1}
}

// take takes a token. A clock that goes back refills nothing.
func (b *tokenBucket) take(now Time) bool {
	if d := now - b.last; d > 0 {
		if d >= b.fill { // and the product cannot overflow
			b.level = b.cap
		} else {
			b.level = min(b.level+d*b.rate, b.cap)
		}
		b.last = now
	}
	if b.level < token {
		return false
	}
	b.level -= token
	return true
}

const sketchRows = 4

// sketch limits each source prefix in fixed memory: a count-min sketch whose
// cells are token buckets. A prefix has one cell in each row, chosen by a keyed
// hash; it is refused when all of them are empty. What is taken is taken from the
// fullest cell, and others are only brought down to it (conservative update), so a
// cell never holds more than any of its prefixes would have alone: the limit
// holds exactly for each prefix. An innocent prefix is refused only if busy ones
// fill its cells in all four rows, which nobody can aim at without the key. There
// is nothing to evict, so other traffic cannot buy a busy prefix a fresh bucket.
//
// A cell is the time at which its bucket is full again (GCRA), so it is 8 bytes
// and needs no refilling.
type sketch struct {
	cells    []int64 // row by row; ns
	mask     uint32
	interval int64 // ns per token
	slack    int64 // ns: how far full may lie ahead
	mask4    uint64
	mask6    [2]uint64
}

// prefixMask is the mask of the first n bits of a word.
func prefixMask(n int) uint64 {
	if n <= 0 {
		return 0
	}
	return ^uint64(0) << (64 - min(n, 64))
}

// newSketch makes a sketch with a number of cells per row that is a power of two.
func newSketch(l Limit, row, prefix4, prefix6 int) sketch {
	if l.PerSecond == 0 {
		return sketch{}
	}
	row = 1 << bits.Len(uint(row-1))
	interval := (token + int64(l.PerSecond) - 1) / int64(l.PerSecond) // rounded against the sender
	return sketch{
		cells: make([]int64, sketchRows*row), mask: uint32(row - 1),
		interval: interval, slack: interval * int64(l.Burst),
		mask4: prefixMask(prefix4) >> 32, mask6: [2]uint64{prefixMask(prefix6), prefixMask(prefix6 - 64)},
	}
}

func (s *sketch) on() bool { return s.cells != nil }

// take takes a token of the prefix with hash h.
func (s *sketch) take(h uint64, now Time) bool {
	row := len(s.cells) / sketchRows
	var cell [sketchRows]*int64
	full := int64(1<<63 - 1)
	for i := range cell {
		cell[i] = &s.cells[i*row+int(uint32(h>>(16*i))&s.mask)]
		full = min(full, *cell[i])
	}
	full = max(full, now) + s.interval
	if full-now > s.slack {
		return false
	}
	for _, c := range cell {
		*c = max(*c, full)
	}
	return true
}
