package bench

// soFar is the part of a report that its limiter looks at, of a run that still goes on: what
// happened since first, the beginning of the sending time.
func (s *Snapshot) soFar(first *Snapshot) *Report {
	rep := &Report{
		Scenario: s.Scenario, Connect: s.Peer, Concurrency: s.Concurrency, TargetRate: s.TargetRate, DurationS: s.Elapsed.Seconds(),
		Polling: s.Polling, CPUSeconds: s.CPU.Seconds(),
	}
	for i := range s.Ends {
		side := s.side(first, i)
		if s.Ends[i].Name == endNames[1] {
			rep.Server = &side
			continue
		}
		rep.Client, rep.Workers = side, side.Workers
	}
	e := &rep.Client.Engine
	rep.Handshakes = Handshakes{
		Attempted: e.Attempted, Established: e.Connected, Refused: e.Refused, TimedOut: e.TimedOut, Unreachable: e.Unreachable,
		Reset: e.AttemptAborted, Pending: e.Opening,
		PortPoolExhausted: s.total("port_pool_exhausted", ""), TableFull: s.total("table_full", ""),
	}
	if want := s.TargetRate * rep.DurationS; want > float64(e.Attempted) {
		rep.Handshakes.Unsent = uint64(want) - e.Attempted
	}
	rep.Retransmissions = Retransmissions{SYN: e.SynRetrans, Stream: rep.Client.Streams.Resent}
	if rep.Server != nil {
		rep.Retransmissions.Stream += rep.Server.Streams.Resent
	}
	for _, d := range s.Latencies {
		switch d.Name {
		case "latency":
			rep.Latency.Mean = d.Hist.Mean()
		case "total":
			rep.HTTP.Total.Mean = d.Hist.Mean()
		}
	}
	h := &rep.HTTP
	h.Attempted, h.Failed = e.Attempted, s.outcomes("requests_failed")
	h.BadResponse, h.Short = s.total("transactions", "bad_response"), s.total("transactions", "short")
	h.Reset, h.Broken = s.total("transactions", "reset"), s.total("transactions", "broken")
	f := &rep.SYNFlood
	f.Sent, f.Answered, f.Reset, f.Stalls = s.total("syns", ""), s.total("answers", "syn_ack"), s.total("answers", "reset"), s.total("stalls", "")
	f.Unanswered = f.Sent - min(f.Sent, f.Answered+f.Reset)
	b := &rep.Echo
	b.Sent, b.Returned, b.Lost, b.Stalls = s.total("frames", ""), s.total("frames_returned", ""), s.total("frames_lost_now", ""), f.Stalls
	b.Bad, b.Elsewhere = s.total("frames_unused", "bad"), s.total("frames_unused", "elsewhere")
	if rep.DurationS > 0 {
		rep.Rate.SYNsPerS, rep.Rate.FramesPerS = float64(f.Sent)/rep.DurationS, float64(b.Sent)/rep.DurationS
	}
	return rep
}

// side sums up an end, as Side does.
func (s *Snapshot) side(first *Snapshot, end int) Side {
	workers := s.Ends[end].Workers
	out := Side{Workers: len(workers)}
	var frames, bursts uint64
	for i := range workers {
		w := &workers[i]
		out.Port.Add(w.Port)
		out.Engine.Add(&w.Engine)
		out.Streams.Add(&w.Streams)
		out.Busy = max(out.Busy, busyShare(s, first, end, i))
		frames, bursts = frames+w.Frames, bursts+w.Bursts
		if end < len(first.Ends) && i < len(first.Ends[end].Workers) {
			old := &first.Ends[end].Workers[i]
			frames, bursts = frames-old.Frames, bursts-old.Bursts
		}
	}
	if bursts > 0 {
		out.Burst = float64(frames) / float64(bursts)
	}
	return out
}

// total is a counter of all workers.
func (s *Snapshot) total(family, outcome string) (n uint64) {
	for _, w := range s.Work {
		for _, c := range w.Counts {
			if c.Family == family && c.Outcome == outcome {
				n += c.N
			}
		}
	}
	return n
}

// outcomes are the counters of a family that are not zero, of all workers.
func (s *Snapshot) outcomes(family string) map[string]uint64 {
	m := map[string]uint64{}
	for _, w := range s.Work {
		for _, c := range w.Counts {
			if c.Family == family && c.N > 0 {
				m[c.Outcome] += c.N
			}
		}
	}
	return m
}
