package bench

import (
	"context"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/rss"
)

// endNames are those of the ends of a run in reports, metrics and profiles: 0 is the client's.
var endNames = [2]string{"client", "server"}

// end is one end of a run: an endpoint, or pollers below TCP.
type end interface {
	Port() dataplane.Port
	Stats() []worker.Stats
	Do(i int, fn func()) error   // on worker i
	Snapshot(i int) worker.Stats // of worker i: on it, or after its end
	Wait(ctx context.Context) error
	Stop()
	Close() error
}

// tcpEnd is an Endpoint as an end.
type tcpEnd struct{ *fastsyn.Endpoint }

func (e tcpEnd) Do(i int, fn func()) error { return e.Workers()[i].Do(fn) }

func (e tcpEnd) Snapshot(i int) worker.Stats { return e.Workers()[i].Snapshot() }

// generator is what Run needs of a client, a flood or an echo, by way of end.Do.
type generator interface {
	life() *lifecycle
	// attempted = done + failed + in flight, each counted by itself.
	attempted() uint64
	progress() (done, failed, inflight uint64, lat *latency)
	// counts and latencies tell a Snapshot the rest; the first of latencies is that of progress.
	counts(put func(family, outcome string, n uint64))
	latencies(put func(name string, l *latency))
}

func (l *lifecycle) life() *lifecycle { return l }

// opener is a generator that opens flows.
type opener interface {
	generator
	base() *client
	// decided are the times of what is done, and undecided reports whether f is an attempt that is
	// neither done nor failed. After the workers have ended.
	decided() *latency
	undecided(f *worker.Flow) bool
}

func (c *client) base() *client { return c }

func (c *client) attempted() uint64 { return c.ctr.opened }

// progress has the attempts that are not decided in flight: a flow that is closing is done.
func (c *client) progress() (done, failed, inflight uint64, lat *latency) {
	if c.worker == nil {
		return 0, 0, 0, c.service
	}
	e := c.worker.Engine()
	return c.ctr.established, e.Refused + e.TimedOut + e.Unreachable + e.AttemptAborted, e.Opening, c.service
}

func (f *flood) attempted() uint64 { return f.ctr.sent }

func (f *flood) progress() (done, failed, inflight uint64, lat *latency) {
	n, open := f.ctr.answered, uint64(f.inflight())
	return n, f.ctr.sent - n - open, open, f.service
}

func (r *run) makeClients(c *fastsyn.Config, info dataplane.Info) error {
	if err := r.makeOpeners(c, info, sources(r.cfg.Addrs, r.cfg.Pools, r.job.remote)); err != nil {
		return err
	}
	c.Source = func(i int) fastsyn.Source { return r.gens[i].(fastsyn.Source) }
	return nil
}

// makeOpeners makes a client of each worker, which open from these addresses.
func (r *run) makeOpeners(c *fastsyn.Config, info dataplane.Info, locals pool) error {
	picker, err := newPicker(info, r.cfg.portRanges...)
	if err != nil {
		return err
	}
	for i := range r.cfg.Workers {
		t, err := newTuples(picker, locals, r.job.remote, r.job.port, i, r.cfg.Seed)
		if err != nil {
			return err
		}
		g, err := r.cfg.kind().generator(r, i, t, c.Engine.MaxFlows)
		if err != nil {
			return err
		}
		b := g.base()
		if r.cfg.plan != nil {
			b.late = make([]uint32, c.Engine.MaxFlows+1)
			b.response, b.wait = newLatency(), newLatency()
		}
		if r.cfg.Close == CloseFIN {
			b.up = make([]bool, c.Engine.MaxFlows+1)
		}
		r.gens = append(r.gens, g)
	}
	return nil
}

func (r *run) makeFloods(c *fastsyn.Config, info dataplane.Info) error {
	floods, err := r.newFloods(r.job, info)
	if err != nil {
		return err
	}
	for _, f := range floods {
		r.gens = append(r.gens, f)
	}
	c.Source = func(i int) fastsyn.Source { return r.gens[i].(fastsyn.Source) }
	c.Raw = func(i int) fastsyn.Raw { return r.gens[i].(*flood) }
	return nil
}

// newFloods makes the flood of each worker, on the terms of j.
func (r *run) newFloods(j *job, info dataplane.Info) (out []*flood, err error) {
	var picker *rss.Picker
	if info.Queues > 1 || r.cfg.Ports != "" {
		if picker, err = newPicker(info, r.cfg.portRanges...); err != nil {
			return nil, err
		}
	}
	from, err := invented(j.cfg.Addrs, j.cfg.Pools, j.remote)
	if err != nil {
		return nil, err
	}
	for i := range r.cfg.Workers {
		if picker != nil && portsFor(picker, from, j.remote, j.port, i) == 0 {
			return nil, noPorts(j.remote, i)
		}
		f := newFlood(j, i, from, picker, r.cfg.Seed)
		f.shape = r.shape
		out = append(out, f)
	}
	return out, nil
}
