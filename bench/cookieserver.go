package bench

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

// CookieServer is the outcome of that scenario: what handshakes are with a server that keeps nothing of a SYN.
type CookieServer struct {
	CookiesSent uint64 `json:"cookies_sent"` // by our server, as the next two
	Proved      uint64 `json:"proved"`       // flows whose ACK proved a cookie
	Bad         uint64 `json:"bad"`          // ACKs that proved none
	// Client and Server say which options are in use, as each end knows it: where they differ, the
	// cookie has lost some. Server is empty with Connect.
	Client OptionCount `json:"client"`
	Server OptionCount `json:"server"`
	// ForgeryBits is how many bits a blind guess of an ACK has to hit: 28 for these cookies with timestamps, 24 without. The
	// sender chooses: who leaves timestamps out has to hit 24.
	ForgeryBits int `json:"forgery_bits"`
	// Cookie and Stateful are our server with cookies, and without in a second run of the same length; Stateful
	// is empty with Connect. CostRatio is time of the server's workers per handshake, Cookie by Stateful.
	Cookie    ServerCost `json:"cookie"`
	Stateful  ServerCost `json:"stateful"`
	CostRatio float64    `json:"cost_ratio"`
}

// ServerCost is what handshakes took.
type ServerCost struct {
	HandshakesPerS float64 `json:"handshakes_per_s"`
	// ServerNS is time in which our server's workers had work, per flow accepted.
	ServerNS float64 `json:"server_ns"`
	P50NS    int64   `json:"p50_ns"` // from the SYN to established
	P99NS    int64   `json:"p99_ns"`
}

// cookieSettings checks what only a cookie-server run has.
func (c *Config) cookieSettings() error {
	if c.Cookies != handshake.CookiesAlways.String() && !c.beside {
		return flagError("cookies", c.Cookies, "the server of a cookie-server run keeps nothing of a SYN; the same handshakes without cookies follow by themselves",
			"leave it out, or use --scenario "+ScenarioHandshake)
	}
	return nil
}

// runCookies is a cookie-server run with our own server: one half of its time with cookies, which is
// reported, and another without.
func runCookies(ctx context.Context, asked, cfg Config, progress func(Progress)) (*Report, error) {
	half := asked
	half.beside = true
	if half.Duration = cfg.Duration / 2; cfg.Duration == 0 {
		half.Duration = 0
	}
	half.Cookies = handshake.CookiesAlways.String()
	rep, err := Run(ctx, half, progress)
	if err != nil {
		return nil, err
	}
	rep.Config = withSeed(asked, rep.Seed)
	second := half
	second.Seed, second.Cookies, second.Live, second.OnInterval = rep.Seed, handshake.CookiesNever.String(), nil, nil
	other, err := Run(ctx, second, progress)
	if err != nil || other.CookieServer.Cookie.ServerNS == 0 {
		return rep, nil // it was stopped: there is nothing to compare with
	}
	cs := &rep.CookieServer
	cs.Stateful = other.CookieServer.Cookie
	if cs.Stateful.ServerNS > 0 {
		cs.CostRatio = cs.Cookie.ServerNS / cs.Stateful.ServerNS
	}
	rep.equation("without cookies: the sums of its run that do not close", uint64(len(other.broken())), 0)
	rep.judge()
	return rep, nil
}

// broken lists the equations that do not close.
func (rep *Report) broken() (out []Equation) {
	for _, e := range rep.Equations {
		if !e.Holds {
			out = append(out, e)
		}
	}
	return out
}

// withSeed are the settings of c as they were asked for, with the seed that was used.
func withSeed(c Config, seed uint64) map[string]any {
	c.Seed = seed
	return c.Settings()
}

// makeCookieClients makes clients that count the options of their flows.
func (r *run) makeCookieClients(c *fastsyn.Config, info dataplane.Info) error {
	if err := r.makeClients(c, info); err != nil {
		return err
	}
	r.opens = newAcceptTally(r.cfg.Workers)
	for i, g := range r.gens {
		b, t := g.(opener).base(), r.opens[i]
		established := b.calls.Established
		b.calls.Established = func(f *worker.Flow) {
			one := f.Info()
			t.options.count(&one)
			established(f)
		}
	}
	return nil
}

func (r *run) serveCookies(*fastsyn.Config) fastsyn.Callbacks {
	r.accepts = newAcceptTally(r.cfg.Workers)
	return fastsyn.Callbacks{Bare: true, AutoClose: true, Established: func(f *fastsyn.Flow) {
		i := f.Info()
		r.accepts[f.Worker().ID()].options.count(&i)
	}}
}

func (r *run) reportCookies(rep *Report) {
	r.reportClients(rep)
	cs := &rep.CookieServer
	for _, t := range r.opens {
		t.options.add(&cs.Client)
	}
	cs.Cookie = ServerCost{HandshakesPerS: rep.Rate.HandshakesPerS, P50NS: rep.Latency.P50, P99NS: rep.Latency.P99}
	rep.equation("flows with options counted by the client = established", cs.Client.Flows, rep.Handshakes.Established)
	if rep.Server == nil {
		return
	}
	for _, t := range r.accepts {
		t.options.add(&cs.Server)
	}
	e := &rep.Server.Engine
	cs.CookiesSent, cs.Proved, cs.Bad = e.Cookies, e.CookiesOK, e.CookiesBad
	cs.ForgeryBits = 24
	if cs.Server.Timestamps > 0 {
		cs.ForgeryBits = 28
	}
	var busy time.Duration
	for i := range r.final[1] {
		busy += r.final[1][i].Busy
	}
	if e.Accepted > 0 {
		cs.Cookie.ServerNS = float64(busy.Nanoseconds()) / float64(e.Accepted)
	}
	rep.equation("flows with options counted by the server = accepted", cs.Server.Flows, e.Accepted)
	if r.cfg.Cookies == handshake.CookiesAlways.String() {
		rep.equation("flows proved by a cookie = accepted", cs.Server.ByCookie, e.Accepted)
		rep.equation("SYNs of which something was kept", e.SynAcks, 0)
		return
	}
	rep.equation("without cookies: sent", cs.CookiesSent, 0)
}

func (r *Report) textCookies(b *bytes.Buffer) {
	cs := &r.CookieServer
	r.textHandshakes(b)
	line(b, "client", "%s", cs.Client.text())
	if r.Server == nil {
		line(b, "cookies", "whether that server keeps SYNs cannot be told from handshakes alone; options that its SYN-ACKs leave out can be a sign of cookies")
		return
	}
	line(b, "server", "%s", cs.Server.text())
	line(b, "cookies", "%s sent, %s proved, %s bad; a blind guess of an ACK hits with odds of 2^-%d (2^-24 for who leaves timestamps out)", count(cs.CookiesSent), count(cs.Proved), count(cs.Bad), cs.ForgeryBits)
	if s := &cs.Stateful; s.ServerNS > 0 {
		line(b, "cost", "%.0f ns of the server per handshake with cookies, %.0f ns without: %.2f times; %s handshakes/s and %s",
			cs.Cookie.ServerNS, s.ServerNS, cs.CostRatio, number(cs.Cookie.HandshakesPerS), number(s.HandshakesPerS))
	}
}

// cookieLimiter is clientLimiter, but that cookies the server refuses come first.
func cookieLimiter(r *Report) string {
	cs := &r.CookieServer
	if n := cs.Bad; n > r.Handshakes.Attempted/manyLost && n > 0 {
		return fmt.Sprintf("the server refused %s cookies of %s: they were older than two epochs, or damaged on the way.", count(n), count(cs.CookiesSent))
	}
	return clientLimiter(r)
}
