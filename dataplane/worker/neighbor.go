package worker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

const (
	maxNeighbors     = 1024 // entries in all, however many addresses a flood invents (NET-003)
	maxUnasked       = 256  // of them learned from requests to us
	neighborTries    = 3
	neighborInterval = int64(time.Second)      // between tries (NET-002)
	neighborFresh    = int64(45 * time.Second) // then one unicast probe, then broadcasts
	neighborFailed   = int64(5 * time.Second)  // how long a failure is remembered
)

type neighborState uint8

const (
	incomplete neighborState = iota + 1
	reachable
	failed
)

type neighbor struct {
	mac   [6]byte
	state neighborState
	tries uint8
	due   int64 // next probe, or end of a failure
	asked bool  // we wanted it, as opposed to learned from a request to us
}

// Neighbors maps next hops to MAC addresses (RFC 826, RFC 4861 §7). Only addresses
// that this endpoint itself wants to reach get an entry by default, so a flood from
// invented sources neither fills it nor causes a single request.
type Neighbors struct {
	snap    atomic.Pointer[map[wire.Addr][6]byte] // the reachable ones, immutable
	version atomic.Uint64                         // changes whenever an entry becomes reachable or failed

	mu      sync.Mutex
	tab     map[wire.Addr]*neighbor
	unasked int
}

// NewNeighbors returns an empty table.
func NewNeighbors() *Neighbors {
	n := &Neighbors{tab: map[wire.Addr]*neighbor{}}
	n.snap.Store(&map[wire.Addr][6]byte{})
	return n
}

// Lookup returns the MAC address of a if it is known. Any goroutine; no lock.
func (n *Neighbors) Lookup(a wire.Addr) ([6]byte, bool) {
	m, ok := (*n.snap.Load())[a]
	return m, ok
}

// probe says what a worker should send to resolve an address.
type probe uint8

const (
	probeNone   probe = iota // wait: a request is under way
	probeAsk                 // send a broadcast or multicast request
	probeFailed              // nobody answered
	probeFull                // no room for another entry
)

// want asks for a at time now and says what to do about it.
func (n *Neighbors) want(a wire.Addr, now int64) probe {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.tab[a]
	if e == nil {
		if len(n.tab) >= maxNeighbors {
			return probeFull
		}
		e = &neighbor{state: incomplete, asked: true}
		n.tab[a] = e
	}
	if !e.asked {
		e.asked = true
		n.unasked--
	}
	switch e.state {
	case reachable:
		return probeNone
	case failed:
		if now < e.due {
			return probeFailed
		}
		e.state, e.tries, e.due = incomplete, 0, 0
	case incomplete:
	}
	if now < e.due {
		return probeNone
	}
	return n.try(e, now)
}

// try spends one try of an incomplete entry.
func (n *Neighbors) try(e *neighbor, now int64) probe {
	if e.tries >= neighborTries {
		e.state, e.due = failed, now+neighborFailed
		n.version.Add(1)
		return probeFailed
	}
	e.tries++
	e.due = now + neighborInterval
	return probeAsk
}

// learn takes an answer about a (create false), or a request to us that names
// its sender (create true). It reports whether the mapping was taken.
func (n *Neighbors) learn(a wire.Addr, mac [6]byte, create bool, now int64) bool {
	if mac[0]&1 != 0 || a.IsZero() || a.IsMulticast() {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.tab[a]
	if e == nil {
		if !create || n.unasked >= maxUnasked || len(n.tab) >= maxNeighbors {
			return false
		}
		e = &neighbor{}
		n.tab[a] = e
		n.unasked++
	}
	changed := e.state != reachable || e.mac != mac
	e.state, e.mac, e.tries, e.due = reachable, mac, 0, now+neighborFresh
	if changed {
		n.publish()
	}
	return true
}

func (n *Neighbors) publish() {
	m := make(map[wire.Addr][6]byte, len(n.tab))
	for a, e := range n.tab {
		if e.state == reachable {
			m[a] = e.mac
		}
	}
	n.snap.Store(&m)
	n.version.Add(1)
}

// refreshing is an entry that a periodic walk wants probed.
type refreshing struct {
	addr    wire.Addr
	mac     [6]byte
	unicast bool
}

// age walks the table; one worker calls it about once a second. Entries due get a
// unicast probe and then broadcasts; those nobody answers for are dropped.
func (n *Neighbors) age(now int64, send func(refreshing)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	gone := false
	for a, e := range n.tab {
		if now < e.due {
			continue
		}
		switch e.state {
		case reachable:
			switch {
			case !e.asked, e.tries > neighborTries:
				n.forget(a, e)
				gone = true
			default:
				send(refreshing{a, e.mac, e.tries == 0})
				e.tries++
				e.due = now + neighborInterval
			}
		case incomplete:
			if n.try(e, now) == probeAsk {
				send(refreshing{addr: a})
			}
		case failed:
			n.forget(a, e)
		}
	}
	if gone {
		n.publish()
	}
}

// suspect has all entries asked for anew, by broadcast, for the next hops may
// be others than before. Until an answer comes they are used as they are.
func (n *Neighbors) suspect(now int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.tab {
		switch e.state {
		case reachable:
			e.tries, e.due = 1, now // past the unicast probe
		case failed:
			e.due = now
		case incomplete:
			e.tries, e.due = 0, now
		}
	}
}

func (n *Neighbors) forget(a wire.Addr, e *neighbor) {
	if !e.asked {
		n.unasked--
	}
	delete(n.tab, a)
}
