package bench

import (
	"cmp"
	"time"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane/worker"
)

// lastingSettings checks what is about flows that last.
func (c *Config) lastingSettings() error {
	kind := c.kind()
	switch {
	case c.Scenario != ScenarioConcurrency && c.Hold != 0:
		return flagError("hold", c.Hold, "a "+c.Scenario+" run does not hold its flows for a time", "leave it out, or use --scenario concurrency")
	case c.Scenario != ScenarioConcurrency && c.NoProbe:
		return flagError("no-probe", "", "a "+c.Scenario+" run sends no probes", "leave it out, or use --scenario concurrency")
	case c.Scenario != ScenarioChurn && c.Lifetime != 0:
		return flagError("lifetime", c.Lifetime, "a "+c.Scenario+" run gives its flows no lifetimes", "leave it out, or use --scenario churn")
	case c.Scenario != ScenarioChurn && c.LifetimeDist != "":
		return flagError("lifetime-dist", c.LifetimeDist, "a "+c.Scenario+" run gives its flows no lifetimes", "leave it out, or use --scenario churn")
	case c.Hold > 24*time.Hour:
		return flagError("hold", c.Hold, "want at most 24h", "leave it out for 10s")
	case c.Close == CloseHold && !kind.holds && c.Count == 0:
		return flagError("close", c.Close, "without a bound on the number of flows there is no table for them", "add --count")
	case c.Close == CloseHold && c.Count > maxConcurrency:
		return flagError("count", c.Count, "too many flows to keep with --close hold", "want at most 4194304, or use --close rst")
	}
	return nil
}

// concurrencySettings fills in the defaults of that scenario: as many attempts as flows are wanted.
func (c *Config) concurrencySettings() error {
	c.Concurrency = cmp.Or(c.Concurrency, DefaultHeld)
	if c.Count == 0 {
		c.Count = uint64(c.Concurrency)
	}
	switch c.Hold = cmp.Or(c.Hold, DefaultHold); {
	case c.Hold < 0:
		c.Hold = 0
	}
	return nil
}

// churnSettings fills in the defaults of that scenario.
func (c *Config) churnSettings() error {
	c.Concurrency = cmp.Or(c.Concurrency, DefaultPopulation)
	c.Lifetime = cmp.Or(c.Lifetime, DefaultLifetime)
	c.LifetimeDist = cmp.Or(c.LifetimeDist, LifetimeExponential)
	if c.Lifetime < time.Millisecond || c.Lifetime > 24*time.Hour {
		return flagError("lifetime", c.Lifetime, "want 1ms to 24h", "leave it out for 1s")
	}
	return choice("lifetime-dist", c.LifetimeDist, LifetimeExponential, LifetimeConstant)
}

// What makes the generator of a worker.

func makeClient(r *run, i int, t *tuples, flows int) (opener, error) {
	if r.cfg.Close == CloseHold {
		return newHolder(r.job, i, t, flows, 0, false), nil
	}
	return newClient(r.job, i, t), nil
}

func makeHTTP(r *run, i int, t *tuples, flows int) (opener, error) {
	return newHTTP(r.job, i, t, flows)
}

// makeLegitimate makes those of a mixed run.
func makeLegitimate(r *run, i int, t *tuples, flows int) (opener, error) {
	if r.cfg.transacts() {
		return makeHTTP(r, i, t, flows)
	}
	return makeClient(r, i, t, flows)
}

func makeHolder(r *run, i int, t *tuples, flows int) (opener, error) {
	h := newHolder(r.job, i, t, flows, r.cfg.Hold, !r.cfg.NoProbe)
	return h, enoughTuples(h.target, t, r)
}

func makeChurner(r *run, i int, t *tuples, flows int) (opener, error) {
	c := newChurner(r.job, i, t, flows)
	return c, enoughTuples(c.places, t, r)
}

func makeRefuser(r *run, i int, t *tuples, _ int) (opener, error) {
	return newRefuser(r.job, i, t), nil
}

func makePatient(r *run, i int, t *tuples, flows int) (opener, error) {
	return newPatient(r.job, i, t, flows), nil
}

// enoughTuples checks that a worker can have n flows at once.
func enoughTuples(n int, t *tuples, r *run) error {
	if n <= t.total {
		return nil
	}
	return flagError("concurrency", r.cfg.Concurrency, "a worker has to keep "+count(uint64(n))+" flows, and its addresses have only "+count(uint64(t.total))+" ports to "+r.cfg.Connect,
		"add source addresses with --addr or --pool (64,512 flows each), or lower it")
}

// Our own servers that do not listen.

func noListener(*run, *fastsyn.Config) {}

func blackHole(r *run, c *fastsyn.Config) {
	for range r.cfg.Workers {
		r.holes = append(r.holes, new(hole))
	}
	c.Raw = func(i int) worker.Raw { return r.holes[i] }
}
