package rssprobe

import (
	"cmp"
	"fmt"
	"math"
	"strings"

	"github.com/fastsyn/fastsyn/rss"
)

// fewestArrivals is what a verdict needs, and fewestRepeats what an explanation
// needs: tuples that hash to a RETA entry which another one has tested before.
// A wrong explanation survives each of them with a chance of 1 in the queues.
const (
	fewestArrivals = 8
	fewestRepeats  = 24
)

// judge fills in the counts, the verdict and the suggestion.
func (p *probe) judge() {
	r := &p.res
	for i := range p.tests {
		t := &p.tests[i]
		f := &r.IPv4
		if !t.tuple.Remote.Is4() {
			f = &r.IPv6
		}
		switch {
		case !t.sent:
			continue
		case !t.arrived:
			r.Missing++
		case t.real == t.predicted:
			f.Agree++
			f.Arrived++
		default:
			f.Arrived++
			r.Mismatches = append(r.Mismatches, Mismatch{t.tuple, t.hash, t.predicted, t.real})
		}
		f.Sent++
	}
	r.Agree = r.IPv4.Agree + r.IPv6.Agree
	r.Verdict = p.verdict()
	r.Suggestion = p.suggest()
}

func (p *probe) verdict() Verdict {
	r := &p.res
	switch {
	case r.Arrived < max(fewestArrivals, r.Sent/2):
		return Inconclusive
	case r.Agree == r.Arrived:
		return Matches
	}
	if _, one := p.onlyQueue(all); one {
		return NoSpread
	}
	for _, f := range []Family{r.IPv4, r.IPv6} {
		if f.Arrived >= fewestArrivals && f.Agree == f.Arrived {
			return Partly
		}
	}
	// What chance would give if real and predicted queues had nothing to do
	// with each other, and four standard deviations more.
	predicted := make([]int, r.Queues)
	for i := range p.tests {
		if p.tests[i].arrived {
			predicted[p.tests[i].predicted]++
		}
	}
	n, chance := float64(r.Arrived), 0.0
	for q, c := range predicted {
		chance += float64(c) / n * float64(r.PerQueue[q]) / n
	}
	if float64(r.Agree) > n*chance+4*math.Sqrt(n*chance*(1-chance)) {
		return Partly
	}
	return Differs
}

// A family selects tests.
type family uint8

const (
	all family = iota
	only4
	only6
)

func (f family) String() string { return [...]string{"all test frames", "IPv4", "IPv6"}[f] }

// each calls f for the tests of a family that arrived.
func (p *probe) each(which family, f func(*test)) {
	for i := range p.tests {
		t := &p.tests[i]
		if t.arrived && (which == all || t.tuple.Remote.Is4() == (which == only4)) {
			f(t)
		}
	}
}

// onlyQueue returns the queue on which everything of a family arrived, if there
// is one and it is not as predicted.
func (p *probe) onlyQueue(which family) (queue int, one bool) {
	queue, one = -1, true
	wrong := false
	p.each(which, func(t *test) {
		if queue < 0 {
			queue = t.real
		}
		one = one && t.real == queue
		wrong = wrong || t.real != t.predicted
	})
	return queue, one && wrong
}

func (p *probe) suggest() string {
	r := &p.res
	device := cmp.Or(p.ifName, "IFACE") // as an operand of ethtool
	told := ""
	if r.Assumed {
		told = " (the driver names no key or table, so the usual ones were assumed)"
	}
	switch r.Verdict {
	case Matches:
		if r.Queues == 1 {
			return "There is one queue, so there is nothing to spread."
		}
		if r.Missing > 0 {
			return fmt.Sprintf("Rely on the prediction; the %d frames that did not arrive were lost on the way or are filtered.", r.Missing)
		}
		return "Rely on the prediction: flows stay on the core that source ports are chosen for" + told + "."
	case Inconclusive:
		if r.Sent == 0 {
			return "The sender took no frame: check that its link is up."
		}
		return fmt.Sprintf("Too few frames arrived (%s): check that the link is up, that the sender is at the other end, and that nothing filters 198.18.0.0/15 and 2001:2::/48.", device)
	case NoSpread:
		q, _ := p.onlyQueue(all)
		return fmt.Sprintf("Everything arrives on queue %d: turn RSS on (ethtool -L %s combined %d, ethtool -X %s equal %d), or open the port with one queue.",
			q, device, r.Queues, device, r.Queues)
	default: // Differs, Partly
	}
	cause, ok := p.explain(all)
	if !ok { // the families apart, which a device may well treat differently
		cause = p.family(only4, r.IPv4, device) + "; " + p.family(only6, r.IPv6, device)
	}
	cause = strings.ToUpper(cause[:1]) + cause[1:]
	return fmt.Sprintf("%s%s. Until that is settled use one queue, or steer in software.", cause, told)
}

// family says in half a sentence what the device does with one IP version.
func (p *probe) family(which family, f Family, device string) string {
	if f.Arrived == 0 {
		return fmt.Sprintf("%v does not arrive", which)
	}
	if f.Agree == f.Arrived {
		return fmt.Sprintf("%v is as predicted", which)
	}
	if q, one := p.onlyQueue(which); one {
		n := 4
		if which == only6 {
			n = 6
		}
		return fmt.Sprintf("%v arrives on queue %d alone, so it is not hashed (ethtool -N %s rx-flow-hash tcp%d sdfn)", which, q, device, n)
	}
	if cause, ok := p.explain(which); ok {
		return fmt.Sprintf("%v: %s", which, cause)
	}
	return fmt.Sprintf("%v fits no key known here: read key and table of the device (ethtool -x %s) and name them", which, device)
}

// explain looks for a key, an input and a RETA under which all arrivals of a
// family make sense: tuples that hash to one entry are on one queue. What the
// table must then be is learnt from them.
func (p *probe) explain(which family) (cause string, ok bool) {
	keys := []struct {
		name string
		key  rss.Key
	}{{"the expected key", p.c.Key}, {"the default key", rss.DefaultKey}, {"the symmetric key", rss.SymmetricKey}}
	for _, k := range keys {
		h := rss.New(k.key)
		for in := range numInputs {
			for _, size := range append([]int{len(p.c.RETA)}, 64, 128, 256, 512, 1024, 2048, 4096) {
				elsewhere, seen, fits := p.fit(which, h, in, size)
				if !fits {
					continue
				}
				return p.sentence(k.name, in, size, elsewhere, seen), true
			}
		}
	}
	return "", false
}

// fit reports whether arrivals are consistent under a hash and a table size,
// how many entries were seen, and how many of them differ from the expected table.
func (p *probe) fit(which family, h *rss.Toeplitz, in input, size int) (elsewhere, seen int, ok bool) {
	table := make([]int, size) // queue plus one
	repeats := 0
	ok = true
	p.each(which, func(t *test) {
		e := int(hashWith(h, t.tuple, in)) & (size - 1)
		switch table[e] {
		case 0:
			table[e] = t.real + 1
			seen++
			if int(p.c.RETA[e&(len(p.c.RETA)-1)]) != t.real {
				elsewhere++
			}
		case t.real + 1:
			repeats++
		default:
			ok = false
		}
	})
	return elsewhere, seen, ok && repeats >= fewestRepeats
}

// sentence begins with a lower case letter, for it may follow a family.
func (p *probe) sentence(key string, in input, size, elsewhere, seen int) string {
	device := cmp.Or(p.ifName, "IFACE")
	s := fmt.Sprintf("the device hashes %v with %s", in, key)
	switch {
	case in == inputAddrs:
		s += fmt.Sprintf(": turn the ports on (ethtool -N %s rx-flow-hash tcp4 sdfn, and tcp6)", device)
	case key != "the expected key":
		s += ": name that key, or set the expected one (ethtool -X " + device + " hkey ...)"
	}
	if elsewhere > 0 {
		s += fmt.Sprintf("; %d of %d RETA entries seen, in a table of %d, are not the expected ones: read it (ethtool -x %s), or set it (ethtool -X %s equal %d)",
			elsewhere, seen, size, device, device, p.res.Queues)
	}
	return s
}
