package bench

import (
	"bytes"
	"fmt"
	"math"
	"time"
)

// Held is what became of flows that were held: the scenario concurrency, and handshake with close
// "hold". established = lost_opening + peak + late; peak + late = lost_holding + lost_checking + closed + open.
type Held struct {
	Target uint64 `json:"target"` // flows wanted
	// Peak is how many were open when the last worker had opened its share, all workers together.
	Peak      uint64  `json:"peak"`
	ReachedS  float64 `json:"reached_s"`  // from the first SYN to the last flow of the peak
	HoldS     float64 `json:"hold_s"`     // all of them were held together
	Late      uint64  `json:"late"`       // established after that
	PeakThere uint64  `json:"peak_there"` // established at our server at the end of the hold; 0 with Connect
	// Lost are flows that nobody here has ended, by reason, and when that was.
	Lost         map[string]uint64 `json:"lost"`
	LostOpening  uint64            `json:"lost_opening"`
	LostHolding  uint64            `json:"lost_holding"`
	LostChecking uint64            `json:"lost_checking"` // found out by a probe, or while flows were closed
	// Probed flows were asked after the hold whether their peer still has them.
	Probed uint64 `json:"probed"`
	Alive  uint64 `json:"alive"`
	Closed uint64 `json:"closed"` // by us; Flows says how that ended
	Open   uint64 `json:"open"`   // not closed when the run ended

	TableBytes         uint64  `json:"table_bytes"`          // of our client's engines and generators
	BytesPerConnection float64 `json:"bytes_per_connection"` // those, divided by the peak
	ResidentBytes      uint64  `json:"resident_bytes"`       // of the whole process during the hold; 0: unknown
}

// whileHeld is what is seen of a run while it holds its flows.
type whileHeld struct {
	there    uint64 // established at our server
	settled  bool   // it had received all that was sent
	resident uint64
}

// hold waits for generators that hold their flows, and looks at what is held. A wait that ends early
// says that the run was stopped, which they hear too.
func (r *run) hold(wait func(ch <-chan struct{}, timeout <-chan time.Time) (early bool, err error)) error {
	until := func(ch <-chan struct{}) (err error) {
		for early := true; early && err == nil; {
			early, err = wait(ch, nil)
		}
		return err
	}
	var all []*holder
	for _, g := range r.gens {
		if h, ok := g.(*holder); ok {
			all = append(all, h)
		}
	}
	if len(all) == 0 {
		return nil
	}
	r.stage.enter(PhaseHolding)
	for _, h := range all {
		if err := until(h.held); err != nil {
			return err
		}
	}
	r.lookAtHeld()
	r.job.holding.seen.Store(true)
	for _, h := range all {
		if err := until(h.idle); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) lookAtHeld() {
	r.held.resident = residentBytes()
	if r.server == nil {
		return
	}
	for end := time.Now().Add(settleTime); !r.held.settled && time.Now().Before(end); time.Sleep(100 * time.Microsecond) {
		r.held.settled = r.taken()
	}
	for _, s := range r.server.Stats() {
		r.held.there += s.Engine.EstablishedNow
	}
}

func (r *run) reportHandshakes(rep *Report) {
	r.reportClients(rep)
	if r.cfg.Close == CloseHold {
		r.reportHolders(rep)
	}
}

func (r *run) reportHeld(rep *Report) {
	r.reportClients(rep)
	r.reportHolders(rep)
}

func (r *run) reportHolders(rep *Report) {
	h := &rep.Held
	h.Target, h.Lost = uint64(r.cfg.population()), map[string]uint64{}
	first, begin, end, reached := int64(math.MaxInt64), int64(0), int64(math.MaxInt64), int64(0)
	var dead, waiting uint64
	for i, g := range r.gens {
		g := g.(*holder)
		t := &g.tally
		h.Peak += t.peak
		h.Late += t.late
		h.Probed += t.asked
		h.Alive += t.alive
		dead += t.dead
		waiting += uint64(g.waiting)
		h.Closed += t.closed
		h.Open += uint64(g.open)
		h.LostOpening += t.before
		h.LostHolding += t.during
		for why, n := range t.lost {
			if n > 0 {
				h.Lost[lossNames[why]] += n
			}
			h.LostChecking += n
		}
		h.TableBytes += uint64(r.final[0][i].MemoryBytes) + g.bytes()
		first, reached = min(first, g.start), max(reached, g.peakAt)
		begin, end = max(begin, g.begin), min(end, g.finishAt)
	}
	h.LostChecking -= h.LostOpening + h.LostHolding
	h.PeakThere, h.ResidentBytes = r.held.there, r.held.resident
	if reached > 0 {
		h.ReachedS = time.Duration(reached - first).Seconds()
	}
	h.HoldS = time.Duration(max(0, end-begin)).Seconds()
	if h.Peak > 0 {
		h.BytesPerConnection = float64(h.TableBytes) / float64(h.Peak)
	}
	rep.equation("established = lost while opening + peak + late", rep.Handshakes.Established, h.LostOpening+h.Peak+h.Late)
	rep.equation("peak + late = lost while held + lost while checked + closed by us + open", h.Peak+h.Late, h.LostHolding+h.LostChecking+h.Closed+h.Open)
	rep.equation("probed = alive + lost unanswered + waiting", h.Probed, h.Alive+dead+waiting)
	if h.LostOpening+h.LostHolding+h.LostChecking+h.Late+rep.Handshakes.Pending == 0 && r.held.settled && r.lossless(rep) {
		rep.equation("open at the client = established at the server, after the hold", h.Peak, h.PeakThere)
	}
}

func (r *Report) textHeld(b *bytes.Buffer) {
	r.textHandshakes(b)
	h := &r.Held
	if h.Target == 0 {
		return
	}
	there := ""
	if r.Server != nil {
		there = fmt.Sprintf(", %s at the server", count(h.PeakThere))
	}
	line(b, "open", "%s of %s after %.3f s, all held for %.3f s%s", count(h.Peak), count(h.Target), h.ReachedS, h.HoldS, there)
	if h.Probed > 0 {
		line(b, "probes", "%s asked after the hold, %s alive", count(h.Probed), count(h.Alive))
	}
	lost := ""
	if s := nonZero(h.Lost); s != "" {
		lost = ": " + s
	}
	line(b, "held", "%s = %s lost while held + %s lost while checked + %s closed by us + %s open%s", count(h.Peak+h.Late),
		count(h.LostHolding), count(h.LostChecking), count(h.Closed), count(h.Open), lost)
	if h.LostOpening > 0 {
		line(b, "lost", "%s while others were opened", count(h.LostOpening))
	}
	memory := fmt.Sprintf("%.0f bytes of tables for each at the client", h.BytesPerConnection)
	if h.ResidentBytes > 0 {
		memory += fmt.Sprintf(", %s resident in the whole process", bytesText(float64(h.ResidentBytes)))
	}
	line(b, "memory", "%s", memory)
}

func (r *Report) setupHeld() string {
	s := r.setupHandshakes()
	if r.Close == CloseHold {
		s += ", " + count(r.Held.Target) + " wanted"
	}
	return s
}

// heldLimiter says why not more are held, and if all are, for how long they took.
func heldLimiter(r *Report) string {
	h, n := &r.Held, &r.Handshakes
	lost := h.LostOpening + h.LostHolding + h.LostChecking
	switch {
	case h.Target == 0 || n.Established == 0:
		return clientLimiter(r)
	case lost > 0:
		return fmt.Sprintf("the peer, or a device on the way: %s of %s connections were lost, %s of them while others were opened: %s.",
			count(lost), count(n.Established), count(h.LostOpening), nonZero(h.Lost))
	case h.Peak >= h.Target:
		checked := "none was lost"
		if h.Probed > 0 {
			checked = "all answered a probe"
		}
		return fmt.Sprintf("the number asked for: %s connections were open after %.3f s, and after %.3f s %s.", count(h.Peak), h.ReachedS, h.HoldS, checked)
	case n.PortPoolExhausted > 0:
		return fmt.Sprintf("source ports: no tuple was free for more than %s of %s connections; more source addresses (--addr, --pool) help.", count(h.Peak), count(h.Target))
	case droppedSYNs(r) > 0:
		return backlogFull(r)
	}
	return fmt.Sprintf("failed opens: %s of %s attempts were established, %s refused, %s timed out, %s ended by ICMP errors, %s pending.",
		count(n.Established), count(n.Attempted), count(n.Refused), count(n.TimedOut), count(n.Unreachable), count(n.Pending))
}
