package bench

// pace is a fixed schedule of intended times: open k is due at start + k·interval.
// It does not slip when opens come late, so their lateness can be measured.
type pace struct {
	interval float64 // ns; 0: no schedule
	start    float64
	done     uint64 // opens made
}

// newPace shares rate per second out over n workers; worker i is offset by i/n
// of an interval, so that together they are evenly spaced.
func newPace(rate float64, i, n int, start int64) pace {
	if rate == 0 {
		return pace{}
	}
	interval := 1e9 / rate * float64(n)
	return pace{interval: interval, start: float64(start) + interval*float64(i)/float64(n)}
}

// due returns how many opens should have been made by now and have not been.
func (p *pace) due(now int64) int {
	n := (float64(now)-p.start)/p.interval + 1
	if n <= float64(p.done) {
		return 0
	}
	return int(min(n-float64(p.done), 1<<30))
}

// intended returns the time the next open was or is due.
func (p *pace) intended() int64 { return int64(p.start + float64(p.done)*p.interval) }
