package bench

import (
	"bytes"
	"fmt"
	"math"
	"time"
)

// Churn is the outcome of that scenario: established = lived + cut + lost + living.
type Churn struct {
	Target    uint64            `json:"target"`     // flows wanted at a time
	LifetimeS float64           `json:"lifetime_s"` // the mean asked for
	Dist      string            `json:"dist"`       // exponential or constant
	Lived     uint64            `json:"lived"`      // ended by us when their time was over
	Cut       uint64            `json:"cut"`        // ended by us because the run was
	Lost      map[string]uint64 `json:"lost"`       // that nobody here has ended, by reason
	Living    uint64            `json:"living"`     // when the run ended

	// The steady state, from when the population was complete to the end of the sending time. By Little's
	// law population = opened_per_s x mean_life_s; Deviation is what is missing to that, as a share.
	SteadyS    float64 `json:"steady_s"` // 0: it never was
	Population float64 `json:"population"`
	OpenedPerS float64 `json:"opened_per_s"`
	MeanLifeS  float64 `json:"mean_life_s"` // of those opened in it: as drawn, or until they were lost
	Little     float64 `json:"little"`      // opened_per_s x mean_life_s
	Deviation  float64 `json:"deviation"`   // population / little - 1
}

func (r *run) reportChurn(rep *Report) {
	r.reportClients(rep)
	c := &rep.Churn
	c.Target, c.LifetimeS, c.Dist, c.Lost = uint64(r.cfg.Concurrency), r.cfg.Lifetime.Seconds(), r.cfg.LifetimeDist, map[string]uint64{}
	var lost, failed, area, stays uint64
	c.SteadyS = math.Inf(1)
	for _, g := range r.gens {
		g := g.(*churner)
		c.Lived += g.tally.lived
		c.Cut += g.tally.cut
		c.Living += uint64(g.lives.n)
		failed += g.tally.failed
		for why, n := range g.tally.lost {
			if n > 0 {
				c.Lost[lossNames[why]] += n
			}
			lost += n
		}
		s := &g.steady
		area += s.area
		stays += s.stays
		length := s.lengthS()
		if c.SteadyS = min(c.SteadyS, length); length > 0 {
			c.Population += time.Duration(s.area<<steadyShift).Seconds() / length
			c.OpenedPerS += float64(s.arrivals) / length
			c.Little += s.drawn / 1e9 / length
		}
	}
	if c.OpenedPerS > 0 {
		c.MeanLifeS = c.Little / c.OpenedPerS
		c.Deviation = c.Population/c.Little - 1
	}
	h := &rep.Handshakes
	rep.equation("established = lived + cut + lost + living", h.Established, c.Lived+c.Cut+lost+c.Living)
	rep.equation("failed attempts = refused + timed out + unreachable + reset", failed, h.Refused+h.TimedOut+h.Unreachable+h.Reset)
	rep.equation("population over the steady time = sum of the lives in it (in 1.024 µs)", area, stays)
}

func (r *Report) textChurn(b *bytes.Buffer) {
	c := &r.Churn
	r.textHandshakes(b)
	var lost uint64
	for _, n := range c.Lost {
		lost += n
	}
	why := ""
	if s := nonZero(c.Lost); s != "" {
		why = ": " + s
	}
	line(b, "lives", "%s established = %s lived + %s cut by the end + %s lost + %s living%s", count(r.Handshakes.Established), count(c.Lived), count(c.Cut), count(lost), count(c.Living), why)
	if c.SteadyS > 0 {
		line(b, "steady", "%s flows for %.3f s; %s opened/s x %s each = %s (%+.2f %%)", number(c.Population), c.SteadyS, number(c.OpenedPerS),
			shortDuration(time.Duration(c.MeanLifeS*1e9)), number(c.Little), 100*c.Deviation)
	}
}

func (r *Report) setupChurn() string {
	return r.setupHandshakes() + fmt.Sprintf(", lifetimes of %s, %s", shortDuration(time.Duration(r.Churn.LifetimeS*1e9)), r.Churn.Dist)
}

func churnLimiter(r *Report) string {
	c, h := &r.Churn, &r.Handshakes
	var lost uint64
	for _, n := range c.Lost {
		lost += n
	}
	switch {
	case h.Established == 0 || h.Refused > h.Attempted/2 || h.Unreachable > h.Attempted/2:
		return clientLimiter(r)
	case lost > h.Established/manyLost:
		return fmt.Sprintf("the peer, or a device on the way: %s of %s flows were lost before their time: %s.", count(lost), count(h.Established), nonZero(c.Lost))
	case c.SteadyS == 0:
		return fmt.Sprintf("the end of the run: the population of %s was never complete; a longer --duration helps.", count(c.Target))
	case c.Population >= 0.99*float64(c.Target):
		return fmt.Sprintf("the population asked for: %s flows that live %s make %s opens/s.", number(c.Population), shortDuration(time.Duration(c.MeanLifeS*1e9)), number(c.OpenedPerS))
	}
	return openLimiter(r)
}
