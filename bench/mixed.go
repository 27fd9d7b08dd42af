package bench

import (
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

// DefaultFloodRate and DefaultCleanRate are the schedules of a mixed run, per second in all.
const (
	DefaultFloodRate = 100_000
	DefaultCleanRate = 1000
	// DefaultMixedConcurrency is that of each worker: clients that wait for a server under a flood keep their places for long.
	DefaultMixedConcurrency = 4096
)

// mixed is legitimate clients on one worker, and a flood that joins them half-way: the first half of
// the time, or of the count, is the measure of the second. Clients and flood share the queue and the worker; the worker
// tells their segments apart by our address. The flood goes on until the last client is decided.
//
// Opens belong to the half in which they were made, whenever they are decided.
type mixed struct {
	opener
	flood  *flood
	from   int64 // when the flood began; 0: not yet
	polled int64 // last time clients could open
	half   uint64
	until  int64
	halves [2]half
	over   bool
	// transacts: what is done is a transaction, and not an established flow.
	transacts bool
}

// half is what became of the opens of one half of a mixed run.
type half struct {
	length      int64 // ns of sending time
	attempted   uint64
	unsent      uint64 // wanted by the schedule, and not made for want of places
	established uint64
	done        uint64
	failed      uint64
	latency     *latency // from the SYN to done
	options     optionTally
}

func newMixed(o opener, f *flood, transacts bool) *mixed {
	m := &mixed{opener: o, flood: f, transacts: transacts}
	for i := range m.halves {
		m.halves[i].latency = newLatency()
		m.halves[i].options.mss = map[uint16]uint64{}
	}
	b := o.base()
	m.half = b.quota / 2
	calls := b.calls
	if calls.Established != nil {
		b.calls.Established = func(fl *worker.Flow) { m.watch(fl, calls.Established, true) }
	}
	if calls.PeerClosed != nil {
		b.calls.PeerClosed = func(fl *worker.Flow) { m.watch(fl, calls.PeerClosed, false) }
	}
	if calls.Data != nil {
		b.calls.Data = func(fl *worker.Flow, p []byte) {
			h, failed := m.of(fl), b.failed.count()
			calls.Data(fl, p)
			h.failed += uint64(b.failed.count() - failed)
		}
	}
	b.calls.Closed = func(fl *worker.Flow, why handshake.CloseReason) {
		h, age, failed, done := m.of(fl), int64(fl.Age()), b.failed.count(), m.decided().count()
		calls.Closed(fl, why)
		h.failed += uint64(b.failed.count() - failed)
		if m.transacts && m.decided().count() > done {
			h.done++
			h.latency.record(age)
		}
	}
	return m
}

// of is the half that the flow of a callback was opened in.
func (m *mixed) of(f *worker.Flow) *half {
	// Both times are whole ticks of the engine, and no flow is opened in the tick in which the flood begins.
	if m.from != 0 && f.Worker().Now()/64-int64(f.Age())/64 >= m.from/64 {
		return &m.halves[1]
	}
	return &m.halves[0]
}

// watch calls a callback of the clients, and counts what comes of it.
func (m *mixed) watch(f *worker.Flow, call func(*worker.Flow), established bool) {
	h, b := m.of(f), m.base()
	if established {
		h.established++
		i := f.Info()
		h.options.count(&i)
		if !m.transacts {
			h.done++
			h.latency.record(int64(f.Age()))
		}
	}
	failed := b.failed.count()
	call(f)
	h.failed += uint64(b.failed.count() - failed)
}

// Poll implements worker.Source.
func (m *mixed) Poll(w *worker.Worker, now int64) int64 {
	b := m.base()
	if m.from == 0 && b.phase == sending && now/64 > m.polled/64 && m.due(now) {
		if err := m.join(w, now); err != nil {
			b.abandon(err, now)
			return worker.Never
		}
	}
	m.polled = now
	next := m.opener.(worker.Source).Poll(w, now)
	switch {
	case b.phase == sending && m.from == 0:
		next = min(next, m.until)
	case b.phase > sending && !m.over: // the flood goes on
		m.over = true
		m.ends()
	case b.phase == finished && m.flood.phase == sending:
		m.flood.phase = finished
	}
	return next
}

// due reports whether the first half is over.
func (m *mixed) due(now int64) bool {
	b := m.base()
	if m.until == 0 {
		m.until = b.until
		if d := int64(b.job.cfg.Duration); d > 0 {
			m.until = b.start + d/2
		}
	}
	return now >= m.until || b.job.cfg.Count > 0 && b.quota <= m.half
}

// join begins the flood.
func (m *mixed) join(w *worker.Worker, now int64) error {
	b, f, calm := m.base(), m.flood, &m.halves[0]
	calm.length, calm.attempted = now-b.start, b.ctr.opened
	if b.inflight >= b.limit {
		calm.unsent = uint64(b.pace.due(now))
	}
	m.from = now
	f.enter(now)
	if err := f.prepare(w); err != nil {
		return err
	}
	f.pace = newPace(f.job.cfg.plan, f.id, f.job.workers, now)
	return nil
}

// ends takes note of what the sending time has had.
func (m *mixed) ends() {
	b, calm, second := m.base(), &m.halves[0], &m.halves[1]
	if m.from == 0 { // it was too short for the flood
		calm.length, calm.attempted, calm.unsent = b.end-b.start, b.ctr.opened, b.missed(&b.pace)
		return
	}
	second.length, second.attempted, second.unsent = b.end-m.from, b.ctr.opened-calm.attempted, b.missed(&b.pace)
	m.flood.end, m.flood.sentWindow = b.end, m.flood.ctr.sent
	m.flood.answeredWindow = m.flood.ctr.answered + m.flood.ctr.reset
}

// counts adds those of the flood, but for what the schedule of the clients says.
func (m *mixed) counts(put func(family, outcome string, n uint64)) {
	m.opener.counts(put)
	m.flood.counts(func(family, outcome string, n uint64) {
		if family != "intended" {
			put(family, outcome, n)
		}
	})
}

// web is the client of transactions; only with those.
func (m *mixed) web() *httpClient { return m.opener.(*httpClient) }

func (c *httpClient) web() *httpClient { return c }
