package handshake

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// duo is two engines and a wire with a constant delay, one flow between them.
type duo struct {
	k      [2]*kit
	now    Time
	wire   []inFlight
	drop   func(n int) bool // n counts the segments sent
	swap   bool             // who is served first
	sent   int
	by     [2][]Time // when each side sent
	react  func(side int)
	events [2]string
}

type inFlight struct {
	to int
	at Time
	s  wire.Segment
}

func newDuo(tb testing.TB, cfg Config) *duo {
	tb.Helper()
	d := &duo{k: [2]*kit{newKit(tb, cfg), newKit(tb, cfg)}, drop: func(int) bool { return false }}
	d.k[1].tup = swap(d.k[0].tup)
	require.NoError(tb, d.k[1].e.Listen(wire.Addr{}, d.k[1].tup.LocalPort, 0, false))
	d.now = d.k[0].now
	return d
}

func (d *duo) transmit(from int, s wire.Segment) {
	d.sent++
	d.by[from] = append(d.by[from], d.now)
	if d.drop(d.sent) {
		return
	}
	s.Tuple = swap(s.Tuple)
	d.wire = append(d.wire, inFlight{1 - from, d.now + 10e6, s})
}

// run lets both live for a while, in steps of a millisecond.
func (d *duo) run(tb testing.TB, long time.Duration) {
	tb.Helper()
	for end := d.now + int64(long); d.now < end; {
		for i := range d.k {
			if d.swap {
				i = 1 - i
			}
			k := d.k[i]
			k.now = d.now
			k.advance(0)
			for _, s := range k.drain() {
				d.transmit(i, s)
			}
			var in []wire.Segment
			rest := d.wire[:0]
			for _, f := range d.wire {
				if f.to == i && f.at <= d.now {
					in = append(in, f.s)
				} else {
					rest = append(rest, f)
				}
			}
			d.wire = rest
			if len(in) > 0 {
				for _, s := range k.inject(in) {
					if s.Flags != 0 {
						d.transmit(i, s)
					}
				}
			}
			if ev := k.takeEvents(); ev != "" {
				d.events[i] += ev + ";"
				if d.react != nil {
					d.react(i)
					for _, s := range k.drain() {
						d.transmit(i, s)
					}
				}
			}
		}
		d.now += 1e6
		if len(d.wire) == 0 { // to the next timer
			a, anyA := d.k[0].e.NextTimer()
			b, anyB := d.k[1].e.NextTimer()
			if !anyA && !anyB {
				break
			}
			if !anyA {
				a = b
			}
			if !anyB {
				b = a
			}
			d.now = max(d.now, min(end, d.now+int64(max(min(a, b), 1)-1)*1e6))
		}
	}
}

func TestSIM_008_EveryLossPattern(t *testing.T) {
	for pattern := range 64 {
		for _, order := range []bool{false, true} {
			for _, stagger := range []time.Duration{0, 5 * time.Millisecond} {
				d := newDuo(t, Config{})
				d.swap = order
				d.drop = func(n int) bool { return n <= 6 && pattern>>(n-1)&1 != 0 }
				first := b2i(order)
				d.k[0].tup.LocalPort, d.k[1].tup.RemotePort = 5000, 5000 // nobody listens
				open := func(i int) {
					k := d.k[i]
					k.now = d.now
					k.advance(0)
					id, err := k.e.Connect(&k.tup, 0, 0)
					require.NoError(t, err)
					k.flow = id
				}
				open(first)
				if stagger > 0 {
					for _, s := range d.k[first].drain() {
						d.transmit(first, s)
					}
					d.now += int64(stagger)
				}
				open(1 - first)
				d.run(t, 400*time.Second)
				name := fmt.Sprintf("pattern %06b order %v stagger %v", pattern, order, stagger)
				for i, k := range d.k {
					require.Equal(t, "ESTABLISHED", k.state(), name)
					require.Equal(t, "established;", d.events[i], name)
					c := k.e.Counters()
					require.EqualValues(t, 1, c.Connected, name)
					require.EqualValues(t, 1, c.EstablishedNow, name)
				}
				require.Equal(t, d.k[0].info.ISS, d.k[1].info.IRS, name)
				require.Equal(t, d.k[1].info.ISS, d.k[0].info.IRS, name)
				a, b := &d.k[0].e.recs[1], &d.k[1].e.recs[1]
				require.Equal(t, a.sndNxt, b.rcvNxt, name)
				require.Equal(t, b.sndNxt, a.rcvNxt, name)
				require.Empty(t, d.wire)
			}
		}
	}
}

// desyncStates are all states that can hold a record, with a way there for
// either role.
var desyncStates = []struct{ name, script string }{
	{"CLOSED", ""},
	{"SYN-SENT", connecting},
	{"SYN-RECEIVED", halfOpenTS},
	{"SYN-RECEIVED", connecting + "S seq=0 mss=1460 ts=1000 | SA seq=0 ack=1 | SYN-RECEIVED\n"},
	{"ESTABLISHED", openedTS},
	{"ESTABLISHED", opened},
	{"ESTABLISHED", connected},
	{"FIN-WAIT-1", openedTS + toFinWait1},
	{"FIN-WAIT-2", openedTS + toFinWait2},
	{"CLOSE-WAIT", openedTS + toCloseWait},
	{"CLOSING", openedTS + toClosing},
	{"LAST-ACK", openedTS + toLastAck},
	{"TIME-WAIT", openedTS + toTimeWait},
}

func TestRST_010_NoLoop(t *testing.T) {
	t.Parallel()
	for x, a := range desyncStates {
		for y, b := range desyncStates {
			for _, off := range []wire.Seq{1000, 1 << 31, 0xffffff00} {
				for _, probe := range []string{"A seq=1 ack=1", "PA seq=1 ack=1 len=10", "FA seq=2 ack=2", "S seq=0"} {
					d := newDuo(t, Config{SYNRetries: 2, SYNACKRetries: 2, DataRetries: 2})
					d.k[0].play(a.script)
					// The other side believes in numbers that are off.
					d.k[1].irs = d.k[0].iss + off
					d.k[1].play(b.script)
					d.k[0].iss, d.k[0].irs = d.k[0].iss+off, d.k[1].iss // as seen by the probe
					s := d.k[0].parse("", probe)
					s.Tuple = d.k[0].tup
					for _, s := range d.k[0].inject([]wire.Segment{s}) {
						if s.Flags != 0 {
							d.transmit(0, s)
						}
					}
					d.by = [2][]Time{} // the probe came from outside, its answer is not part of a loop
					d.k[0].takeEvents()
					if x == 0 && y == 0 {
						require.LessOrEqual(t, d.sent, 1)
					}
					d.run(t, 20*time.Second)
					for side := range d.by {
						at := d.by[side]
						for i := 3; i < len(at); i++ {
							require.Greater(t, at[i]-at[i-3], int64(time.Second), "%s(%d) against %s(%d), off %d, probe %s: side %d sends more than 3 in a second (%d in all)",
								a.name, x, b.name, y, int32(off), probe, side, len(at))
						}
					}
				}
			}
		}
	}
}
