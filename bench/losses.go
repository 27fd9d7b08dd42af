package bench

import (
	"maps"
	"strings"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/impair"
	"github.com/fastsyn/fastsyn/dataplane/worker"
)

// harmless are reasons not to use a frame that are no loss, since there was nothing in it for us: announcements of
// the other end, frames for others, and resets that met no flow.
var harmless = map[string]bool{
	"arp_ignored": true, "ndp_ignored": true, "icmp_ignored": true, "foreign_mac": true, "foreign_ip": true, "foreign": true, "rst_ignored": true,
}

// traffic is what one end did with frames, each count by who made it.
type traffic struct {
	own    dataplane.Stats // of the port as the workers see it
	device dataplane.Stats // under all decorators
	unsent map[string]uint64
	parse  map[string]uint64 // received and not used, by the worker
	state  map[string]uint64 // likewise, by the engine
	missed map[string]uint64 // by reason, what own.RxMissed is made of as far as the driver says
	tx, rx impair.DirCounts

	segments, control, ignored uint64 // received and used, or of no use to anybody
}

func trafficOf(ws []worker.Stats, ep end) *traffic {
	port := ep.Port()
	t := &traffic{device: totals(port), unsent: map[string]uint64{}, parse: map[string]uint64{}, state: map[string]uint64{}, missed: map[string]uint64{}}
	add := func(to, m map[string]uint64) (ignored uint64) {
		for name, n := range m {
			if harmless[name] {
				ignored += n
			} else {
				to[name] += n
			}
		}
		return ignored
	}
	for i := range ws {
		w := &ws[i]
		t.own.Add(w.Port)
		t.segments += w.Segments
		t.control += w.Control
		add(t.unsent, w.TxDrops)
		t.ignored += add(t.parse, w.RxDrops)
		add(t.state, w.SegmentDrops)
	}
	eachImpaired(port, func(p *impair.Port) {
		for i := range p.Info().Queues {
			c := p.Impaired(i)
			t.tx.Add(c.Tx)
			t.rx.Add(c.Rx)
		}
	})
	known := uint64(0)
	if d, ok := unwrap(port).(dataplane.DropReporter); ok {
		for i := range port.Info().Queues {
			for name, n := range d.Drops(i) {
				if n > 0 && strings.Contains(name, "_rx_") && !strings.HasSuffix(name, "errors") || strings.HasSuffix(name, "steer_full") {
					t.missed[name] += n
					known += n
				}
			}
		}
	}
	if known != t.own.RxMissed { // it was read at another time, or the driver does not say
		t.missed = map[string]uint64{"rx_missed": t.own.RxMissed}
	}
	return t
}

// eachImpaired calls f for each decorator of a port that loses frames on purpose.
func eachImpaired(p dataplane.Port, f func(*impair.Port)) {
	for {
		if d, ok := p.(*impair.Port); ok {
			f(d)
		}
		u, ok := p.(interface{ Unwrap() dataplane.Port })
		if !ok {
			return
		}
		p = u.Unwrap()
	}
}

// handed is what the workers gave to the port for sending.
func (t *traffic) handed() uint64 { return t.own.TxFrames + t.own.TxFull }

// refused are the frames that the device took and then refused, inside TxFrames.
func (t *traffic) refused() uint64 { return min(t.own.TxErrors, t.own.TxFrames) }

// sent is the stage between the engine and the device of an end: what it wanted to send, and what the device took.
func (t *traffic) sent(name string) Stage {
	s := Stage{Name: name, In: t.handed(), Out: t.own.TxFrames - t.refused(), Seen: true}
	for _, n := range t.unsent {
		s.In += n
	}
	s.lose(t.unsent)
	s.lose(map[string]uint64{"tx_ring_full": t.own.TxFull, "tx_errors": t.refused()})
	return s
}

// impaired adds what an end's decorators did to the frames it sent (or received) to the stage that is the wire.
func (s *Stage) impaired(prefix string, c *impair.DirCounts) {
	s.gain(map[string]uint64{prefix + "duplicated": c.Duplicated})
	s.lose(map[string]uint64{prefix + "lost": c.Lost, prefix + "store_full": c.StoreFull, prefix + "unsent": c.Unsent, prefix + "held": c.Held})
}

// path says where the frames of a run went, from the client's workers to the peer and back.
func (r *run) path(rep *Report) {
	c := trafficOf(r.final[0], r.client)
	sent := c.sent("sent")
	wire := Stage{Name: "wire", In: sent.Out, Seen: true}
	wire.impaired("impair_tx_", &c.tx)
	left := c.onDevice()
	peer, back := Stage{Name: "peer"}, Stage{Name: "return"}
	arrived := c.own.RxFrames + c.own.RxMissed
	if rep.Server != nil {
		s := trafficOf(r.final[1], r.server)
		rep.Reconciled = s.reconcile("server", rep.Server.Device)
		wire.lose(s.missed)
		wire.onTheWay(left, s.device.RxFrames+s.own.RxMissed)
		wire.impaired("impair_rx_", &s.rx)
		wire.Out = s.own.RxFrames
		wire.settle("impair_undelivered")

		peer.In, peer.Seen = wire.Out, true
		peer.lose(s.parse)
		peer.lose(s.state)
		peer.Out = s.segments + s.control + s.ignored - lostBy(s.state)

		answers := s.sent("")
		back.In, back.Seen, back.Lost = answers.In, true, answers.Lost
		back.impaired("impair_tx_", &s.tx)
		back.onTheWay(s.onDevice(), c.device.RxFrames+c.own.RxMissed)
		back.impaired("impair_rx_", &c.rx)
		back.Out = arrived
		back.settle("impair_undelivered")
	} else {
		wire.Seen, wire.Out = false, left
		peer.In, peer.Out = left, c.device.RxFrames+c.own.RxMissed
		peer.lose(unanswered(rep))
		back.In, back.Out = peer.Out, arrived
		back.impaired("impair_rx_", &c.rx)
	}
	ring := Stage{Name: "ring", In: arrived, Out: c.own.RxFrames, Seen: true}
	ring.lose(c.missed)
	parse := Stage{Name: "parse", In: c.own.RxFrames, Seen: true}
	parse.lose(c.parse)
	parse.Out = c.segments + c.control + c.ignored
	state := Stage{Name: "state", In: c.segments, Seen: true}
	state.lose(c.state)
	state.lose(unusable(rep))
	state.Out = state.In - min(state.In, lostBy(state.Lost))
	rep.Reconciled = append(rep.Reconciled, c.reconcile("client", rep.Client.Device)...)
	rep.Path = []Stage{sent, wire, peer, back, ring, parse, state}
	rep.closePath()
}

// closePath adds the sums of the stages to the equations: together if they all close, and else those that do not.
func (r *Report) closePath() {
	all := Equation{Name: "path, each stage: in + added = out + lost", Holds: true}
	for i := range r.Path {
		if e := r.Path[i].sum(); e.Holds {
			all.Left += e.Left
			all.Right += e.Right
		} else {
			r.Equations = append(r.Equations, e)
		}
	}
	r.Equations = append(r.Equations, all)
}

// unanswered are the segments that no answer came for, which is all that is known of a path that is not ours.
// Each was lost on the wire, at the peer or on the way back, or came too late.
func unanswered(rep *Report) map[string]uint64 {
	return map[string]uint64{
		"syns_repeated": rep.Retransmissions.SYN, "segments_repeated": rep.Retransmissions.Stream + rep.Retransmissions.FIN,
		"timed_out": rep.Handshakes.TimedOut, "pending": rep.Handshakes.Pending,
		"unanswered": rep.SYNFlood.Unanswered, "not_returned": rep.Echo.Lost + rep.Echo.InFlight,
	}
}

// unusable are the segments that a generator below the engine received and had no use for.
func unusable(rep *Report) map[string]uint64 {
	f, e := &rep.SYNFlood, &rep.Echo
	return map[string]uint64{
		"repeated": f.Repeated + e.Repeated, "late": f.Late + e.Late, "bad": f.Bad + e.Bad, "elsewhere": e.Elsewhere,
	}
}

// lose adds what is not zero to Lost.
func (s *Stage) lose(m map[string]uint64) { s.Lost = plus(s.Lost, m) }

func (s *Stage) gain(m map[string]uint64) { s.Added = plus(s.Added, m) }

func plus(to, m map[string]uint64) map[string]uint64 {
	to = maps.Clone(to)
	if to == nil {
		to = map[string]uint64{}
	}
	for name, n := range m {
		if n > 0 {
			to[name] += n
		}
	}
	return to
}

func lostBy(reasons map[string]uint64) (n uint64) {
	for _, x := range reasons {
		n += x
	}
	return n
}

// onTheWay books the difference between what one device sent and the other had: frames that are still there, or
// that nobody counted. There may be frames of others too.
func (s *Stage) onTheWay(sent, had uint64) {
	s.lose(map[string]uint64{"left_on_the_wire": sent - min(sent, had)})
	s.gain(map[string]uint64{"of_others": had - min(sent, had)})
}

// settle books the frames that a decorator has taken from the device and not delivered when the run ended. It
// holds one burst at most; more is a sum that does not close.
func (s *Stage) settle(name string) {
	in, out := s.In+lostBy(s.Added), s.Out+lostBy(s.Lost)
	if d := in - min(in, out); d > 0 && d <= dataplane.BatchSize*maxWorkers {
		s.lose(map[string]uint64{name: d})
	}
}
