package bench

import (
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

// Population is the latency of all attempts, with those that failed in it. One that timed out, was
// refused or was pending is censored: it took at least as long as is known of it.
type Population struct {
	Count    uint64   `json:"count"`
	Censored uint64   `json:"censored"`
	P50      Quantile `json:"p50"`
	P90      Quantile `json:"p90"`
	P99      Quantile `json:"p99"`
	P999     Quantile `json:"p999"`
}

// Quantile of a Population. With AtLeast it falls among the censored: the true value is NS ns or more, or there is none.
type Quantile struct {
	NS      int64 `json:"ns"`
	AtLeast bool  `json:"at_least"`
}

// population estimates the distribution of the time until an attempt is done, of which some were not:
//
//   - failed ones never will be, so they stay among those that are not done at any time: their quantiles have
//     no value. When they were given up says only how far it is known.
//   - pending ones may be done some time after they were last looked at. They are censored: from then on they
//     are taken to be like those that are left (Kaplan and Meier 1958).
//
// Without pending ones, quantile q of n is that of rank round(q n), all failed ones above all others, which is what
// Latency has of the same values. unknown are failures whose time is not known.
func population(done, failed, pending cells, unknown uint64) Population {
	p := Population{Censored: uint64(failed.count()+pending.count()) + unknown}
	p.Count = uint64(done.count()) + p.Censored
	if p.Count == 0 {
		return p
	}
	longest := int64(0)
	for _, c := range []cells{done, failed, pending} {
		if len(c) > 0 {
			_, high := bounds(c[len(c)-1].at)
			longest = max(longest, high)
		}
	}
	quantiles := [...]struct {
		to   *Quantile
		rank float64
	}{{&p.P50, 0.5}, {&p.P90, 0.9}, {&p.P99, 0.99}, {&p.P999, 0.999}}
	next, left := 0, float64(p.Count)
	for i := range quantiles {
		quantiles[i].rank = max(1, math.Floor(quantiles[i].rank*left+0.5))
	}
	// Those that are censored leave their weight to the ones that are left (Efron 1967): the same estimate.
	sum, weight := 0.0, 1.0
	for len(done) > 0 {
		var d, c float64
		at := done[0].at
		if len(pending) > 0 && pending[0].at < at {
			at = pending[0].at
		}
		if done[0].at == at {
			d, done = float64(done[0].n), done[1:]
		}
		if len(pending) > 0 && pending[0].at == at {
			c, pending = float64(pending[0].n), pending[1:]
		}
		sum += d * weight
		left -= d + c
		for ; next < len(quantiles) && sum >= quantiles[next].rank-1e-6; next++ {
			_, quantiles[next].to.NS = bounds(at)
		}
		if left > 0 {
			weight *= (left + c) / left
		}
	}
	for ; next < len(quantiles); next++ {
		*quantiles[next].to = Quantile{NS: longest, AtLeast: true}
	}
	return p
}

func (c *client) decided() *latency {
	if c.response != nil {
		return c.response
	}
	return c.service
}

func (c *client) undecided(f *worker.Flow) bool {
	s := f.State()
	return f.Active() && (s == handshake.SynSent || s == handshake.SynRcvd)
}

// populate makes the population of those that open flows. The workers have ended.
func (r *run) populate(rep *Report) {
	done, failed, pending := newLatency(), newLatency(), newLatency()
	var attempted uint64
	for _, g := range r.gens {
		g := g.(opener)
		c := g.base()
		attempted += g.attempted()
		g.decided().copyTo(done.h)
		c.failed.copyTo(failed.h)
		if c.worker == nil {
			continue
		}
		for f := range c.worker.Flows {
			if g.undecided(f) {
				pending.record(int64(f.Age()) + c.lateness(f))
			}
		}
	}
	pending.settle()
	rep.latency("failed", failed.h)
	rep.latency("pending", pending.h)
	rep.Population = population(cellsOf(done.h), cellsOf(failed.h), cellsOf(pending.h), 0)
	rep.equation("population = attempted", rep.Population.Count, attempted)
}

// repopulate makes the population of the sum of reports, from their histograms together.
func (r *Report) repopulate(reports []*Report, hist map[string]*hdrhistogram.Histogram) {
	of := func(name string) cells {
		if h := hist[name]; h != nil {
			return cellsOf(h)
		}
		return nil
	}
	done := of("response")
	if done == nil {
		done = of("http.total")
	}
	if done == nil {
		done = of("latency")
	}
	failed, pending := of("failed"), of("pending")
	known := uint64(done.count() + failed.count() + pending.count())
	all := uint64(0)
	for _, x := range reports {
		all += x.Population.Count
	}
	r.Population = population(done, failed, pending, all-min(all, known))
}
