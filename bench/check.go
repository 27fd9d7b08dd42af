package bench

import (
	"fmt"
	"maps"
	"time"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/impair"
	"github.com/fastsyn/fastsyn/dataplane/loop"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

// report makes the report of a run whose workers have ended.
func (r *run) report() *Report {
	c := &r.cfg
	rep := &Report{
		Schema: Schema, RunID: c.RunID, Scenario: c.Scenario, Port: c.Port, Workers: c.Workers, Concurrency: c.Concurrency,
		TargetRate: r.targetRate(), Load: c.Load, DurationS: r.took.Seconds(), DrainS: r.drained.Seconds(), Seed: c.Seed,
		Close: c.Close, TimeWaitS: c.TimeWait.Seconds(), FastOpen: c.FastOpen, Polling: "adaptive", Pinned: r.pinned, CPUSeconds: r.cpu.Seconds(),
		Drops: map[string]uint64{}, Histograms: map[string]string{}, Samples: r.samples(), Host: thisHost(r.cpus),
	}
	if r.busy {
		rep.Polling = "busy"
	}
	r.asked.Seed = c.Seed
	rep.Config = r.asked.Settings()
	rep.Client = r.side(r.client, 0, rep.Drops)
	if r.server != nil {
		s := r.side(r.server, 1, rep.Drops)
		rep.Server = &s
		rep.Cookies = c.Cookies
	} else {
		rep.Connect, rep.PeerMAC = c.Connect, c.PeerMAC
	}
	if r.shape != nil {
		rep.Profile, rep.SYNSignature = c.Profile, r.shape.signature(r.job.remote.Is4())
	}
	rep.Host.NIC = nicOf(r.client.Port())
	rep.Frames = FrameCount{RX: rep.Client.Port.RxFrames, TX: rep.Client.Port.TxFrames}
	c.kind().report(r, rep)
	r.checkIntervals(rep)
	r.checkShares(rep)
	r.checkWorkers(rep)
	r.checkWire(rep)
	r.path(rep)
	rep.judge()
	rep.Limiter = limiter(rep)
	return rep
}

// newSide sums up the counters of the workers of a port, of the port, and of its device.
func newSide(workers []worker.Stats, port dataplane.Port) Side {
	s := Side{Workers: len(workers), Drops: map[string]uint64{}}
	for i := range workers {
		w := &workers[i]
		s.Port.Add(w.Port)
		s.Engine.Add(&w.Engine)
		s.Streams.Add(&w.Streams)
		s.Memory = w.Memory
		for _, m := range []map[string]uint64{w.RxDrops, w.TxDrops, w.SegmentDrops} {
			for name, n := range m {
				s.Drops[name] += n
			}
		}
	}
	for name, n := range PortDrops(port, &s.Port) {
		s.Drops[name] += n
	}
	s.Device = DeviceCounters(port)
	s.PortJSON, s.Counters, s.StreamCounters = portMap(&s.Port), CounterMap(&s.Engine), map[string]uint64{}
	if s.Streams.Opened > 0 {
		s.StreamCounters = StreamMap(&s.Streams)
	}
	return s
}

// PortDrops returns the frames that a port lost, by reason: those its driver
// and decorators name, and those in st, the sum of its counters, that are not zero.
func PortDrops(port dataplane.Port, st *dataplane.Stats) map[string]uint64 {
	m := lostFrames(st)
	if d, ok := port.(dataplane.DropReporter); ok {
		for i := range port.Info().Queues {
			for name, n := range d.Drops(i) {
				m[name] += n
			}
		}
	}
	return m
}

// queueDrops is PortDrops of one queue, whose counters are st.
func queueDrops(port dataplane.Port, i int, st *dataplane.Stats) map[string]uint64 {
	m := lostFrames(st)
	if d, ok := port.(dataplane.DropReporter); ok {
		for name, n := range d.Drops(i) {
			m[name] += n
		}
	}
	return m
}

func lostFrames(st *dataplane.Stats) map[string]uint64 {
	m := map[string]uint64{}
	for name, n := range map[string]uint64{"tx_ring_full": st.TxFull, "tx_errors": st.TxErrors, "rx_missed": st.RxMissed} {
		if n > 0 {
			m[name] += n
		}
	}
	return m
}

// DeviceCounters returns what the device under port counts itself and is not
// zero, by its own names, decorators looked through. Empty if it counts nothing.
func DeviceCounters(port dataplane.Port) map[string]uint64 {
	for {
		if c, ok := port.(dataplane.CounterReporter); ok {
			m := c.Counters()
			maps.DeleteFunc(m, func(_ string, n uint64) bool { return n == 0 })
			return m
		}
		u, ok := port.(interface{ Unwrap() dataplane.Port })
		if !ok {
			return map[string]uint64{}
		}
		port = u.Unwrap()
	}
}

// targetRate is the rate asked for: of a load, the mean over the sending time.
func (r *run) targetRate() float64 {
	if r.cfg.Load == "" {
		return r.cfg.Rate
	}
	return r.perSecond(r.intended(r.took))
}

// intended is how many opens of all workers are due within a time since the first SYN, 0 without a schedule.
func (r *run) intended(t time.Duration) uint64 {
	c := &r.cfg
	if c.plan == nil {
		return 0
	}
	if c.Duration > 0 {
		t = min(t, c.Duration-1)
	}
	n := c.plan.intended(int64(t))
	if c.Count > 0 {
		n = min(n, c.Count)
	}
	return n
}

// scheduled checks what became of the opens of a schedule.
func (rep *Report) scheduled(made uint64) {
	if rep.Intended > 0 {
		rep.equation("intended by the schedule = attempted + unsent", rep.Intended, made)
	}
}

func (r *run) perSecond(n uint64) float64 {
	if r.took <= 0 {
		return 0
	}
	return float64(n) / r.took.Seconds()
}

func (r *run) reportClients(rep *Report) {
	samples := r.reportOpens(rep)
	h := &rep.Handshakes
	rep.equation("latency samples = established", samples, h.Established)
	if rep.Server != nil && r.lossless(rep) {
		rep.equation("established by the client = accepted by the server", h.Established, rep.Server.Engine.Accepted)
	}
}

// reportOpens is reportClients without what only those have whose flows are to be established. It
// returns the number of latencies.
func (r *run) reportOpens(rep *Report) (samples uint64) {
	e := &rep.Client.Engine
	rep.Handshakes = Handshakes{
		Attempted: e.Attempted, Established: e.Connected, Refused: e.Refused, TimedOut: e.TimedOut,
		Unreachable: e.Unreachable, Reset: e.AttemptAborted, Pending: e.Opening,
	}
	rep.Retransmissions = Retransmissions{SYN: e.SynRetrans, FIN: e.DataRetrans, Stream: rep.Client.Streams.Resent}
	if rep.Server != nil {
		rep.Retransmissions.SYNACK = rep.Server.Engine.SynAckRetrans
		rep.Retransmissions.Stream += rep.Server.Streams.Resent
	}
	rep.Flows = Flows{Done: e.Done, Aborted: e.Aborted, Reset: e.Reset, Broken: e.Broken, Open: e.EstablishedNow}
	var opened, established, inWindow uint64
	var all []*times
	for _, g := range r.gens {
		c := g.(opener).base()
		all = append(all, &c.times)
		opened += c.ctr.opened
		established += c.ctr.established
		inWindow += c.inWindow
		rep.Handshakes.PortPoolExhausted += c.ctr.exhausted
		rep.Handshakes.TableFull += c.ctr.tableFull
		rep.Handshakes.Unsent += c.missed(&c.pace)
		rep.Intended += c.wanted(c.ctr.opened)
	}
	rep.Rate = Rate{HandshakesPerS: r.perSecond(inWindow), SYNsPerS: r.perSecond(opened)}
	rep.phases(all)
	r.populate(rep)
	h := &rep.Handshakes
	rep.equation("attempted = established + refused + timed out + unreachable + reset + pending",
		h.Attempted, h.Established+h.Refused+h.TimedOut+h.Unreachable+h.Reset+h.Pending)
	f := &rep.Flows
	rep.equation("established = done + aborted + reset + broken + open", h.Established, f.Done+f.Aborted+f.Reset+f.Broken+f.Open)
	rep.equation("opened by the generator = attempted by the engine", opened, h.Attempted)
	rep.equation("callbacks = established", established, h.Established)
	rep.scheduled(opened + h.Unsent)
	return uint64(rep.Latency.Count)
}

// lossless reports whether every frame sent was received as it was, so that the
// counts of both ends must agree.
func (r *run) lossless(rep *Report) bool {
	for _, s := range []*Side{&rep.Client, rep.Server} {
		if s.Port.TxFull+s.Port.TxErrors+s.Engine.CookieNoRoom+s.Engine.HalfOpenEvicted > 0 {
			return false
		}
	}
	return r.bare() && rep.Handshakes.Pending == 0 && r.taken()
}

// bare reports whether nothing decorates the client's port.
func (r *run) bare() bool { return unwrap(r.client.Port()) == r.client.Port() }

// taken reports whether the server received all that the client sent.
func (r *run) taken() bool {
	sent := totals(r.client.Port())
	return sent.TxFrames-sent.TxErrors == totals(r.server.Port()).RxFrames
}

func (r *run) reportFlood(rep *Report) {
	h := newLatency().h
	var answered, sentInWindow, segments uint64
	f := &rep.SYNFlood
	for i, g := range r.gens {
		g := g.(*flood)
		g.service.copyTo(h)
		f.Sent += g.ctr.sent
		f.Answered += g.ctr.answered
		f.Reset += g.ctr.reset
		f.Repeated += g.ctr.repeated
		f.Late += g.ctr.late
		f.Bad += g.ctr.bad
		f.Stalls += g.ctr.stalls
		f.Unsent += g.missed(&g.pace)
		rep.Intended += g.wanted(g.ctr.sent)
		answered += g.answeredWindow
		sentInWindow += g.sentWindow
		segments += r.final[0][i].Segments
	}
	f.Unanswered = f.Sent - min(f.Sent, f.Answered+f.Reset)
	rep.Rate = Rate{SYNsPerS: r.perSecond(sentInWindow), AnsweredPerS: r.perSecond(answered)}
	rep.Latency = rep.latency("latency", h)
	rep.Population = population(cellsOf(h), nil, nil, f.Reset+f.Unanswered)
	rep.scheduled(f.Sent + f.Unsent)
	rep.equation("sent = answered + reset + unanswered", f.Sent, f.Answered+f.Reset+f.Unanswered)
	rep.equation("segments received = answered + reset + repeated + late + bad", segments, f.Answered+f.Reset+f.Repeated+f.Late+f.Bad)
	if rep.Server != nil && r.bare() {
		rep.equation("answers that verify for no SYN", f.Bad, 0)
		if p := &rep.Client.Port; p.TxFull+p.TxErrors == 0 && r.taken() {
			rep.equation("SYNs sent by the client = SYNs taken by the server", f.Sent,
				rep.Server.Engine.SynIn+rep.Server.Engine.SynRepeats+knownTuples(&rep.Server.Engine))
		}
	}
}

func (r *run) reportEcho(rep *Report) {
	h := newLatency().h
	var returned, sentInWindow, frames, unreturned uint64
	e := &rep.Echo
	for i, g := range r.gens {
		g := g.(*echo)
		g.service.copyTo(h)
		c := &g.ctr
		e.Sent += c.sent
		e.Returned += c.returned
		e.Lost += c.lost
		e.InFlight += uint64(g.outstanding)
		e.Reordered += c.reordered
		e.Repeated += c.repeated
		e.Late += c.late
		e.Bad += c.bad
		e.Elsewhere += c.elsewhere
		e.Foreign += c.foreign
		e.Stalls += c.stalls
		e.Unsent += g.missed(&g.pace)
		rep.Intended += g.wanted(c.sent)
		unreturned += g.unreturned()
		returned += g.backWindow
		sentInWindow += g.sentWindow
		frames += r.final[0][i].Frames
	}
	rep.Rate = Rate{FramesPerS: r.perSecond(sentInWindow), ReturnedPerS: r.perSecond(returned)}
	rep.Latency = rep.latency("latency", h)
	rep.Population = population(cellsOf(h), nil, nil, e.Lost+e.InFlight)
	rep.scheduled(e.Sent + e.Unsent)
	rep.equation("sent = returned + lost + in flight", e.Sent, e.Returned+e.Lost+e.InFlight)
	rep.equation("in flight = sent at a known time and not returned", e.InFlight, unreturned)
	rep.equation("frames received = returned + repeated + late + bad + elsewhere + foreign", frames,
		e.Returned+e.Repeated+e.Late+e.Bad+e.Elsewhere+e.Foreign)
	p := &rep.Client.Port
	rep.equation("sent = taken by the port + transmit ring full + refused by the device", e.Sent, settled(p, e.Sent))
	if rep.Server == nil {
		return
	}
	var received, reflected, full, dropped uint64
	for i, one := range r.refl {
		received += r.final[1][i].Frames
		reflected += one.sent
		full += one.full
		for _, n := range one.drops {
			dropped += n
		}
	}
	rep.equation("reflector: received = reflected + not sent + dropped", received, reflected+full+dropped)
	if r.bare() {
		rep.equation("frames that came back changed", e.Bad, 0)
		if e.InFlight == 0 && r.taken() {
			rep.equation("lost = not sent at either end", e.Lost, e.Sent-p.TxFrames+full)
		}
	}
}

// settled is what a port says became of the asked frames it was to send. Some
// drivers count those that the device refuses as sent, some do not.
func settled(s *dataplane.Stats, asked uint64) uint64 {
	n := s.TxFrames + s.TxFull
	if n < asked {
		n += min(s.TxErrors, asked-n)
	}
	return n
}

// knownTuples are SYNs that met a record in another state than LISTEN or
// SYN-RECEIVED: sources repeat by chance.
func knownTuples(c *handshake.Counters) uint64 {
	return c.Outcome[handshake.AnsweredChallenge] + c.Outcome[handshake.DropRateLimited] - c.SynRepeatsLimited
}

func (rep *Report) equation(name string, left, right uint64) {
	rep.Equations = append(rep.Equations, Equation{name, left, right, left == right})
}

// checkWorkers adds the sums of each worker, which it checks itself.
func (r *run) checkWorkers(rep *Report) {
	for end, name := range endNames {
		for _, s := range r.final[end] {
			if broken := s.Check(); broken != "" {
				rep.Equations = append(rep.Equations, Equation{Name: fmt.Sprintf("%s worker %d: %s", name, s.Worker, broken)})
			}
		}
		if len(r.final[end]) > 0 {
			var in, out uint64
			for i := range r.final[end] {
				in += r.final[end][i].Frames
				out += used(&r.final[end][i])
			}
			rep.equation(name+": frames received = segments + control + dropped", in, out)
		}
	}
}

func used(s *worker.Stats) uint64 {
	n := s.Segments + s.Control
	for _, d := range s.RxDrops {
		n += d
	}
	return n
}

// checkWire compares what one end sent with what the other received.
func (r *run) checkWire(rep *Report) {
	for _, ep := range []end{r.client, r.server} {
		if ep == nil {
			continue
		}
		for p := ep.Port(); ; {
			if d, ok := p.(*impair.Port); ok {
				r.checkImpaired(rep, d)
			}
			u, ok := p.(interface{ Unwrap() dataplane.Port })
			if !ok {
				break
			}
			p = u.Unwrap()
		}
	}
	if r.server == nil {
		return
	}
	a, b := totals(r.client.Port()), totals(r.server.Port())
	if unwrap(r.client.Port()).Info().Driver != "loop" {
		sent, received := a.TxFrames+b.TxFrames, a.RxFrames+b.RxFrames
		rep.equation("frames sent by both ends = received by both + not received", sent, received+sent-min(sent, received))
		return
	}
	census, err := loop.Audit(unwrap(r.client.Port()))
	if err != nil {
		rep.Equations = append(rep.Equations, Equation{Name: err.Error()})
		return
	}
	rep.equation("frames sent by both ends = received by both + left on the wire",
		a.TxFrames-a.TxErrors+b.TxFrames-b.TxErrors, a.RxFrames+b.RxFrames+uint64(census.Wire))
	rep.equation("frames of the wire = at home + on the wire + held", uint64(census.Total), uint64(census.Home+census.Wire+census.Lent))
}

func (r *run) checkImpaired(rep *Report, p *impair.Port) {
	var tx, rx impair.DirCounts
	for i := range p.Info().Queues {
		c := p.Impaired(i)
		tx.Add(c.Tx)
		rx.Add(c.Rx)
	}
	for _, d := range []struct {
		name string
		c    impair.DirCounts
	}{{"sent", tx}, {"received", rx}} {
		if d.c.Seen > 0 {
			rep.equation("impair, "+d.name+": frames + copies = passed + refused + lost + no room + unsent + held",
				d.c.Seen+d.c.Duplicated, d.c.Passed+d.c.Refused+d.c.Lost+d.c.StoreFull+d.c.Unsent+d.c.Held)
		}
	}
}

// judge sets Valid by the equations.
func (rep *Report) judge() { rep.Valid, rep.InvalidReason = judge(rep.Equations) }

// judge returns whether all of eqs hold, and the first that does not.
func judge(eqs []Equation) (valid bool, reason string) {
	for _, e := range eqs {
		if !e.Holds {
			return false, fmt.Sprintf("%s: %d is not %d", e.Name, e.Left, e.Right)
		}
	}
	return true, ""
}
