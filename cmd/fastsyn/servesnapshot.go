package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fastsyn/fastsyn"
	measure "github.com/fastsyn/fastsyn/bench"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

// serveState reads a server that runs, for a measure.Live.
type serveState struct {
	port  string // as given
	begin time.Time
	ep    *fastsyn.Endpoint
	app   app
	rtt   perWorker[measure.Quick] // nil: not kept
	ended bool
}

// snapshot reads each worker between two of its bursts, or what it left if it has ended.
func (s *serveState) snapshot() measure.Snapshot {
	now := time.Now()
	out := measure.Snapshot{
		At: now, Begin: s.begin, Elapsed: now.Sub(s.begin), Phase: measure.PhaseSending, Scenario: "serve", What: "handshakes", Port: s.port, Polling: "adaptive",
	}
	if s.ended {
		out.Phase = measure.PhaseEnded
	}
	workers := s.ep.Workers()
	stats := make([]worker.Stats, len(workers))
	out.Work = make([]measure.Work, len(workers))
	var rtt measure.Quick
	for i, w := range workers {
		if w.Polling() == worker.Busy {
			out.Polling = "busy"
		}
		var counts map[string]uint64
		read := func() {
			stats[i] = w.Snapshot()
			counts = s.app.counts(i)
			if s.rtt != nil {
				s.rtt[i].AddTo(&rtt)
			}
		}
		if w.Do(read) != nil {
			read()
		}
		out.Work[i] = passive(&stats[i].Engine)
		for _, name := range slices.Sorted(maps.Keys(counts)) {
			out.Work[i].Counts = append(out.Work[i].Counts, measure.Count{Family: name, N: counts[name]})
		}
	}
	out.Ends = []measure.End{measure.ReadEnd("server", s.ep.Port(), stats)}
	if s.rtt != nil {
		out.Latencies = []measure.Distribution{rtt.Distribution("handshake_rtt")}
	}
	return out
}

// passive is the work of a server: a handshake is done when it is accepted.
func passive(c *handshake.Counters) measure.Work {
	return measure.Work{
		Done: c.Accepted,
		Failed: c.HalfOpenReset + c.HalfOpenTimedOut + c.HalfOpenReplaced + c.HalfOpenClosed + c.HalfOpenEvicted + c.HalfOpenOverflow +
			c.CookieNoRoom + c.CookieLimited,
		InFlight: c.HalfOpen,
	}
}

// timed has the RTT of each handshake recorded, before cb hears of it.
func (s *serveState) timed(cb fastsyn.Callbacks) fastsyn.Callbacks {
	established, rtt := cb.Established, s.rtt
	cb.Established = func(f *fastsyn.Flow) {
		if d := f.RTT(); d > 0 {
			rtt.of(f).Record(int64(d))
		}
		if established != nil {
			established(f)
		}
	}
	return cb
}

// serveLine is a line about what was accepted; empty when nothing changed.
func serveLine(p measure.Progress, before uint64) string {
	if p.Done == before {
		return ""
	}
	var c handshake.Counters
	for _, end := range p.Now.Ends {
		for i := range end.Workers {
			c.Add(&end.Workers[i].Engine)
		}
	}
	return fmt.Sprintf("%6.1fs  accepted %d (+%d)  half-open %d  established %d  cookies sent %d", p.Elapsed.Seconds(),
		c.Accepted, c.Accepted-before, c.HalfOpen, c.EstablishedNow, c.Cookies)
}

// serveBusy is the share of a worker's time from which it is what limits.
const serveBusy = 0.95

// serveLimits says what holds the server up, if anything does, from what happened in the last second.
func serveLimits(p *measure.Progress) string {
	var pressure uint64
	busiest, busy := 0, 0.0
	for i := range p.Now.Ends[0].Workers {
		pressure += p.Now.Ends[0].Workers[i].Engine.UnderPressure
		if b := p.Busy(0, i); b >= busy {
			busiest, busy = i, b
		}
	}
	lost := func(name string) float64 { return float64(p.Drops[name]) / max(p.Interval.Seconds(), 1e-3) }
	switch {
	case lost("rx_missed") > 0 && busy >= serveBusy:
		return fmt.Sprintf("the processor: worker %d is busy %.0f %%, and %s frames/s found the receive ring full.", busiest, 100*busy, measure.FormatRate(lost("rx_missed")))
	case lost("rx_missed") > 0:
		return fmt.Sprintf("the device: %s frames/s found the receive ring full (busiest worker %.0f %%).", measure.FormatRate(lost("rx_missed")), 100*busy)
	case lost("tx_ring_full") > 0:
		return fmt.Sprintf("the device: %s frames/s found the transmit ring full.", measure.FormatRate(lost("tx_ring_full")))
	case pressure > 0:
		return fmt.Sprintf("half-open connections: %d of %d workers are above the high mark and send SYN cookies.", pressure, len(p.Now.Ends[0].Workers))
	case busy >= serveBusy:
		return fmt.Sprintf("the processor: worker %d is busy %.0f %%.", busiest, 100*busy)
	}
	return fmt.Sprintf("nothing here: the busiest worker has work %.0f %% of the time.", 100*busy)
}

// follow shows the server every second until ctx ends.
func follow(ctx context.Context, live *measure.Live, show func(measure.Progress)) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var m measure.Meter
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p := m.Progress(live.Read(0))
			p.Limiter = serveLimits(&p)
			show(p)
		}
	}
}
