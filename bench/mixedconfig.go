package bench

import (
	"math"
	"net/netip"
	"strings"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/handshake"
)

// What the clients of a mixed run do.
const (
	ClientsHandshake = "handshake"
	ClientsHTTP      = "http"
)

// transacts reports whether the clients make HTTP transactions.
func (c *Config) transacts() bool {
	return c.Scenario == ScenarioHTTP || c.Scenario == ScenarioMixed && c.Clients == ClientsHTTP
}

// noMixed refuses settings of a mixed run elsewhere.
func (c *Config) noMixed() error {
	if c.Scenario == ScenarioMixed {
		return nil
	}
	for flag, given := range map[string]bool{
		"clients": c.Clients != "", "flood-rate": c.FloodRate != 0, "evict-oldest": c.EvictOldest, "syn-limit": c.SYNLimit != "",
		"source-limit": c.SourceLimit != "", "source-over": c.SourceOver != "",
	} {
		if given {
			return flagError(flag, "", "a "+c.Scenario+" has no flood beside its clients", "leave it out, or use --scenario "+ScenarioMixed)
		}
	}
	return nil
}

// mixedSettings checks what only a mixed run has, and fills in its defaults.
func (c *Config) mixedSettings() error {
	if c.Clients == "" {
		c.Clients = ClientsHandshake
	}
	if c.FloodRate == 0 {
		c.FloodRate = DefaultFloodRate
	}
	if c.Rate == 0 && c.Load == "" {
		c.Rate = DefaultCleanRate
	}
	if c.SourceOver == "" {
		c.SourceOver = "drop"
	}
	if math.IsNaN(c.FloodRate) || c.FloodRate < 0 || c.FloodRate > maxRate {
		return flagError("flood-rate", c.FloodRate, "want SYNs per second, from above 0 to 1e9", "leave it out for 100000")
	}
	if err := choice("clients", c.Clients, ClientsHandshake, ClientsHTTP); err != nil {
		return err
	}
	if err := choice("source-over", c.SourceOver, "drop", "cookie"); err != nil {
		return err
	}
	if c.Connect != "" {
		for _, f := range []struct {
			name  string
			given bool
		}{{"evict-oldest", c.EvictOldest}, {"syn-limit", c.SYNLimit != ""}, {"source-limit", c.SourceLimit != ""}} {
			if f.given {
				return flagError(f.name, "", "it is a setting of our own server, and with --connect the server is another", "give it to that one: fastsyn serve has it too")
			}
		}
		if err := c.spoofedPool(); err != nil {
			return err
		}
	}
	if _, err := c.defence(); err != nil {
		return err
	}
	if c.Clients == ClientsHTTP {
		return c.httpSettings()
	}
	return nil
}

// spoofedPool checks that the sources of the flood are not those of the clients.
func (c *Config) spoofedPool() error {
	pool := spoofPrefix(c.Pools, netip.MustParseAddrPort(c.Connect).Addr().Is4())
	if !pool.IsValid() {
		return flagError("pool", "", "the flood needs sources of its own, of the family of the peer", "give a prefix that the peer routes here, such as --pool 198.19.0.0/16")
	}
	for _, a := range c.Addrs {
		if p, err := netip.ParsePrefix(a); err == nil && pool.Contains(p.Addr()) {
			return flagError("addr", a, "the sources of the flood, "+pool.String()+", contain it, so that answers to the clients could not be told from those to the flood",
				"give the clients an address outside of --pool")
		}
	}
	return nil
}

// spoofPrefix is the first pool of the family, of which all sources of the flood are; invalid if there is none.
func spoofPrefix(pools []string, v4 bool) netip.Prefix {
	for _, s := range pools {
		if p, err := netip.ParsePrefix(s); err == nil && p.Addr().Is4() == v4 {
			return p.Masked()
		}
	}
	return netip.Prefix{}
}

// defence is what our server does against the flood beside cookies.
func (c *Config) defence() (f handshake.FloodConfig, err error) {
	f.EvictOldest, f.SourceCookies = c.EvictOldest, c.SourceOver == "cookie"
	for _, l := range []struct {
		flag, value string
		to          *handshake.Limit
	}{{"syn-limit", c.SYNLimit, &f.SYN}, {"source-limit", c.SourceLimit, &f.Source}} {
		if l.value == "" {
			continue
		}
		if *l.to, err = handshake.ParseLimit(l.value); err != nil {
			return f, flagError(l.flag, l.value, "want a rate per second, or with a burst, RATE/BURST", "give a limit such as 1000 or 1000/200")
		}
	}
	switch {
	case f.SourceCookies && c.SourceLimit == "":
		return f, flagError("source-over", c.SourceOver, "there is no --source-limit above which cookies are sent", "add one")
	case f.SourceCookies && c.Cookies == "never":
		return f, flagError("source-over", c.SourceOver, "--cookies never sends none", "choose --cookies pressure or always")
	}
	return f, nil
}

// serveMixed is our server under a flood.
func (r *run) serveMixed(c *fastsyn.Config) fastsyn.Callbacks {
	c.Engine.Flood, _ = r.cfg.defence() // normalize has checked it
	cb := fastsyn.Callbacks{Bare: true, AutoClose: true}
	if r.cfg.transacts() {
		cb = r.serveHTTP(c)
	}
	pool := spoofPrefix(r.cfg.Pools, !r.cfg.IPv6)
	r.accepts = newAcceptTally(r.cfg.Workers)
	cb.Established = func(f *fastsyn.Flow) {
		t := r.accepts[f.Worker().ID()]
		i := f.Info()
		t.options.count(&i)
		if pool.Contains(i.Tuple.Remote.Netip()) {
			t.strangers++
		}
	}
	return cb
}

// acceptTally is what a worker of our server knows of the flows that it accepted.
type acceptTally struct {
	options   optionTally
	strangers uint64 // from where the flood claims to come
}

func newAcceptTally(workers int) (out []*acceptTally) {
	for range workers {
		out = append(out, &acceptTally{options: optionTally{mss: map[uint16]uint64{}}})
	}
	return out
}

// floodRing is how many SYNs of the flood a worker remembers.
const floodRing = 1 << 17

// makeMixed makes clients and flood of each worker.
func (r *run) makeMixed(c *fastsyn.Config, info dataplane.Info) error {
	if err := r.makeOpeners(c, info, sources(r.cfg.Addrs, nil, r.job.remote)); err != nil {
		return err
	}
	clients := r.gens
	r.gens = nil
	j := &job{cfg: r.cfg, workers: r.job.workers, remote: r.job.remote, port: r.job.port, portName: r.job.portName, fail: r.job.fail}
	j.cfg.plan, j.cfg.Count, j.cfg.Duration, j.cfg.Concurrency = constant(r.cfg.FloodRate), 0, 0, floodRing/8*r.cfg.Workers
	c.RawAddrs = spoofPrefix(r.cfg.Pools, r.job.remote.Is4())
	j.cfg.Pools = []string{c.RawAddrs.String()}
	floods, err := r.newFloods(j, info)
	if err != nil {
		return err
	}
	for i, f := range floods {
		f.window = math.MaxInt32 // answered or not, it keeps its rate
		r.gens = append(r.gens, newMixed(clients[i].(opener), f, r.cfg.transacts()))
	}
	c.Source = func(i int) fastsyn.Source { return r.gens[i].(*mixed) }
	c.Raw = func(i int) fastsyn.Raw { return r.gens[i].(*mixed).flood }
	return nil
}

// mixedTraffic names what the clients do in text.
func mixedTraffic(clients string) string {
	return map[string]string{ClientsHandshake: "handshakes", ClientsHTTP: "transactions"}[strings.TrimSpace(clients)]
}
