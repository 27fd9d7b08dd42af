package page

import (
	"strconv"

	"github.com/fastsyn/fastsyn/bench"
)

// balance shows how evenly the workers of an end were loaded.
type balance struct {
	Title  string
	Note   string
	Rows   []workerRow
	More   int
	Mean   string // where an even share ends
	Spread string
}

type workerRow struct {
	Name, CPU, Done, Share, W, Busy, BusyW, Burst, Rx, Tx string
}

func newBalances(r *bench.Report) []balance {
	var out []balance
	if b := newBalance("Client", &r.Client); b != nil {
		out = append(out, *b)
	}
	if r.Server != nil {
		if b := newBalance("Server", r.Server); b != nil {
			out = append(out, *b)
		}
	}
	return out
}

func newBalance(title string, s *bench.Side) *balance {
	if s.Workers == 0 && len(s.PerWorker) == 0 {
		return nil
	}
	b := &balance{Title: title, Note: plural(s.Workers, "worker") + ", the busiest " + percent(s.Busy) + " of the time, bursts of " + trim(s.Burst, 1) + " frames"}
	if s.Memory != "" {
		b.Note += ", tables in " + clip(s.Memory)
	}
	var most, total, least uint64
	for i, w := range s.PerWorker {
		most, total = max(most, w.Done), total+w.Done
		if i == 0 || w.Done < least {
			least = w.Done
		}
	}
	list, more := head(s.PerWorker, 128)
	b.More = more
	for i, w := range list {
		row := workerRow{
			Name: strconv.Itoa(i), CPU: "–", Done: count(w.Done), Share: share(w.Done, total), Busy: percent(clamp(w.Busy)), BusyW: at(w.Busy), Burst: trim(w.Burst, 1),
			Rx: count(w.RxFrames), Tx: count(w.TxFrames), W: at(float64(w.Done) / float64(max(1, most))),
		}
		if w.CPU >= 0 {
			row.CPU = strconv.Itoa(w.CPU)
		}
		b.Rows = append(b.Rows, row)
	}
	if len(s.PerWorker) > 1 && total > 0 {
		mean := float64(total) / float64(len(s.PerWorker))
		b.Mean = at(mean / float64(most))
		b.Spread = "The fullest has " + trim(float64(most)/mean, 2) + " times an even share, the emptiest " + trim(float64(least)/mean, 2) + "."
	}
	return b
}
