package bench

import "github.com/fastsyn/fastsyn/dataplane"

// side sums up one end, and adds its drops to all.
func (r *run) side(ep end, which int, all map[string]uint64) Side {
	s := newSide(r.final[which], ep.Port())
	var frames, bursts uint64
	for i := range r.final[which] {
		w := &r.final[which][i]
		p := Share{CPU: -1, RxFrames: w.Port.RxFrames, TxFrames: w.Port.TxFrames, Done: w.Engine.Accepted}
		if i < len(r.on[which]) {
			p.CPU = r.on[which][i]
		}
		switch {
		case which == 0 && i < len(r.gens):
			p.Done, _, _, _ = r.gens[i].progress()
		case i < len(r.refl):
			p.Done = r.refl[i].sent
		}
		if i < len(r.before[which]) && i < len(r.after[which]) {
			b, a := &r.before[which][i], &r.after[which][i]
			if ran := a.Ran - b.Ran; ran > 0 {
				p.Busy = float64(a.Busy-b.Busy) / float64(ran)
			}
			if n := a.Bursts - b.Bursts; n > 0 {
				p.Burst = float64(a.Frames-b.Frames) / float64(n)
			}
			frames += a.Frames - b.Frames
			bursts += a.Bursts - b.Bursts
		}
		s.Busy = max(s.Busy, p.Busy)
		s.PerWorker = append(s.PerWorker, p)
	}
	if bursts > 0 {
		s.Burst = float64(frames) / float64(bursts)
	}
	for name, n := range s.Drops {
		all[name] += n
	}
	return s
}

// checkShares compares what each worker did with what all did, by the counters of other places.
func (r *run) checkShares(rep *Report) {
	sides := []struct {
		name, done string
		*Side
		port  dataplane.Port
		total uint64
	}{{"client", "done in the intervals", &rep.Client, r.client.Port(), 0}}
	for i := range rep.Intervals {
		sides[0].total += rep.Intervals[i].Done
	}
	if rep.Server != nil {
		s := sides[0]
		s.name, s.done, s.Side, s.port, s.total = "server", "accepted", rep.Server, r.server.Port(), rep.Server.Engine.Accepted
		if len(r.refl) > 0 {
			s.done, s.total = "sent", rep.Server.Port.TxFrames
		}
		sides = append(sides, s)
	}
	for _, s := range sides {
		var done, rx, tx uint64
		for i := range s.PerWorker {
			w := &s.PerWorker[i]
			done, rx, tx = done+w.Done, rx+w.RxFrames, tx+w.TxFrames
		}
		rep.equation(s.name+" workers: done together = "+s.done, done, s.total)
		var port dataplane.Stats
		for i := range s.port.Info().Queues {
			port.Add(s.port.Stats(i))
		}
		rep.equation(s.name+" workers: received together = received by the port", rx, port.RxFrames)
		rep.equation(s.name+" workers: sent together = sent by the port", tx, port.TxFrames)
	}
}
