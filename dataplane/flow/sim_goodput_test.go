package flow

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/fastsyn/fastsyn/handshake"
)

// What a flow gets through a link of 100 Mbit/s with a round trip of 20 ms and a queue of one such, at random loss
// in both directions. The model is the window that a flow of CUBIC has on average with that loss, of RFC 9438 §5.1, or of Reno if
// that is larger (§4.3), and not more than the link takes; a flow that loses p of what it sends has to send
// p/(1-p) again.
func TestDAT_009_Goodput(t *testing.T) {
	if testing.Short() {
		t.Skip("75 MB of text: minutes with the race detector")
	}
	t.Parallel()
	const rate, rtt, size = 12_500, 0.02, 1448 // bytes per ms, s, bytes of text per segment
	var b strings.Builder
	fmt.Fprintf(&b, "%-5s  %-8s  %9s  %9s  %6s  %8s  %8s  %s\n", "loss", "options", "Mbit/s", "model", "share", "resent", "at least", "timeouts")
	for _, c := range []struct {
		loss  float64
		text  int
		least float64 // share of the model
		most  float64 // resent, beyond what was lost
		plain float64 // share of the model without SACK
	}{
		{0, 40e6, 0.9, 0.08, 0.1}, // slow start loses a window, which NewReno repairs a segment per round trip
		{0.001, 20e6, 0.8, 0.08, 0.5},
		{0.01, 8e6, 0.8, 0.02, 0.6},
		{0.05, 4e6, 0.6, 0.03, 0.4},
		{0.2, 1e6, 0.03, 0.2, 0.01},
	} {
		for _, sack := range []bool{true, false} {
			w := newSim(t, simConfig{name: "goodput", seed: 11, flows: 1, limit: time.Hour, orderly: true})
			for i := range w.c.path {
				w.c.path[i] = simPath{delay: 10 * time.Millisecond, loss: c.loss, rate: rate, queue: rate * 20}
			}
			w.free()
			for i := range w.c.side {
				w.c.side[i] = simSide{
					engine: handshake.Config{MaxFlows: 4, RcvWindow: 4 << 20, NoSACK: !sack, TimeWait: time.Second},
					table:  Config{Memory: 16 << 20, SendBuffer: 4 << 20},
					app:    simApp{chunk: 60_000, exact: true},
				}
			}
			w.c.side[0].app.text = c.text
			w = newSim(t, w.c)
			begin, end := handshake.Time(0), handshake.Time(0)
			w.each = func() {
				if e := w.flows[0].ends[1]; begin == 0 && e.got > 0 {
					begin = w.now
				} else if end == 0 && e.got == c.text {
					end = w.now
				}
			}
			w.run()
			w.free()

			link := float64(rate) * 1000 * size / (size + 52)
			cubic := math.Pow(0.4*3.7/(4*0.3), 0.25) * math.Pow(rtt, 0.75) / math.Pow(c.loss, 0.75)
			reno := math.Sqrt(1.5 / c.loss)
			model := min(link*(1-c.loss), max(cubic, reno)*size/rtt)
			got := float64(c.text) / (float64(end-begin) / 1e9)
			ctr := w.nodes[0].t.Counters()
			resent := float64(ctr.BytesResent) / float64(c.text)
			name, least := "SACK", c.least
			if !sack {
				name, least = "no SACK", c.plain
			}
			fmt.Fprintf(&b, "%4.1f%%  %-8s  %9.2f  %9.2f  %5.0f%%  %7.2f%%  %7.2f%%  %d\n", 100*c.loss, name, got*8/1e6, model*8/1e6, 100*got/model,
				100*resent, 100*c.loss/(1-c.loss), ctr.Timeouts)
			if got < least*model || resent > c.loss/(1-c.loss)*1.3+c.most {
				t.Errorf("at %.1f%% with %s: want %.0f%% of the model, and at most %.1f%% resent", 100*c.loss, name, 100*least, 100*(c.loss/(1-c.loss)*1.3+c.most))
			}
		}
	}
	t.Log("\n" + b.String())
}
