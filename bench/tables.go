package bench

import (
	"cmp"
	"fmt"

	"github.com/fastsyn/fastsyn/handshake"
)

// population is how many flows may stay established at once, over all workers; 0 where each ends
// as soon as it has done what it is for.
func (c *Config) population() int {
	switch {
	case c.kind().holds:
		return c.Concurrency
	case c.Close == CloseHold:
		return int(c.Count)
	}
	return 0
}

// attempts is how many handshakes may be in flight, over all workers.
func (c *Config) attempts() int {
	if c.kind().holds {
		return min(c.Concurrency, openWindow*max(1, c.Workers))
	}
	return c.Concurrency
}

// clientFlows is the size of the flow table of a worker of the client: only TIME-WAIT can fill it.
func (c *Config) clientFlows() int {
	if n := c.population(); n > 0 {
		return tableFor(n, c.Workers) + 4*c.attempts()/c.Workers
	}
	return max(2048, 4*c.Concurrency/c.Workers)
}

// serverTable sizes the tables of our server, with --max-flows and --max-half-open as those of serve.
func (c *Config) serverTable(e *handshake.Config) {
	n := max(4096, 16*c.attempts()/c.Workers)
	if p := c.population(); p > 0 {
		n += tableFor(p, c.Workers)
	}
	e.MaxFlows = cmp.Or(c.MaxFlows, max(n, c.MaxHalfOpen))
	e.MaxHalfOpen = c.MaxHalfOpen
}

// tableFor is a worker's share of n flows, and some for those that one end still has and the other has not.
func tableFor(n, workers int) int {
	n = (n + workers - 1) / workers
	return n + n/16
}

// tableSettings checks the sizes of the tables of our server.
func (c *Config) tableSettings() error {
	kind := c.kind()
	for _, e := range []struct {
		flag string
		n    int
	}{{"max-flows", c.MaxFlows}, {"max-half-open", c.MaxHalfOpen}, {"listener-half-open", c.ListenerHalfOpen}} {
		switch {
		case e.n == 0:
		case kind.raw || kind.bareServer != nil:
			return flagError(e.flag, e.n, "nothing in "+c.Scenario+" keeps flows for a client", "leave it out")
		case c.Connect != "":
			return flagError(e.flag, e.n, "the server at "+c.Connect+" has tables of its own", "leave --connect out for a server of ours")
		case e.n < 1 || e.n > 1<<30:
			return flagError(e.flag, e.n, fmt.Sprintf("want 1 to %d", 1<<30), "leave it out for a size that does not limit")
		}
	}
	if c.MaxFlows > 0 && c.MaxHalfOpen > c.MaxFlows {
		return flagError("max-half-open", c.MaxHalfOpen, fmt.Sprintf("more than --max-flows %d, of which half-opens are a part", c.MaxFlows), "lower it, or leave one of them out")
	}
	return nil
}

// droppedSYNs are those that our server had no place for.
func droppedSYNs(r *Report) uint64 {
	if r.Server == nil {
		return 0
	}
	return r.Server.Drops[handshake.DropTableFull.String()]
}

// backlogLimits reports whether SYNs without a place are many, or those that wait for their repetition,
// a second or more each, take a tenth of the places in flight.
func backlogLimits(r *Report) bool {
	n := droppedSYNs(r)
	return n > r.Handshakes.Attempted/manyLost || n > 0 && float64(n) > 0.1*float64(r.Concurrency)*r.DurationS
}

// backlogFull is the sentence about droppedSYNs.
func backlogFull(r *Report) string {
	return fmt.Sprintf("the backlog: %s SYNs of %s attempts met a full table of our server and were dropped, each for a client's timeout; a larger --max-half-open, --listener-half-open or --max-flows helps, or --cookies pressure.",
		count(droppedSYNs(r)), count(r.Handshakes.Attempted))
}
