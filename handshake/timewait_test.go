package handshake

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// toTimeWaitTS is toTimeWait with timestamps; TS.Recent is 1020.
const toTimeWaitTS = "close | FA | FIN-WAIT-1\nA seq=1 ack=2 ts=1010 | - | FIN-WAIT-2\n" +
	"FA seq=1 ack=2 ts=1020 | A seq=2 ack=2 | TIME-WAIT | peer closed, closed: done\n"

func TestTWT_002_TimerRestartsForTheFINOnly(t *testing.T) {
	for _, c := range []struct {
		in      string
		restart bool
	}{
		{"FA seq=1 ack=2", true},
		{"FPA seq=-9 ack=2 len=10", true}, // the last text with it
		{"FA seq=0 ack=2", false},         // not where the FIN was
		{"FA seq=2 ack=2", false},
		{"FA seq=100000 ack=2", false},
		{"SFA seq=0 ack=2", false}, // ends at RCV.NXT, but no FIN of a flow
		{"F seq=1", false},         // no ACK
		{"PA seq=2 ack=2 len=5", false},
		{"S seq=0", false},
		{"A seq=2 ack=2", false},
	} {
		t.Run(c.in, func(t *testing.T) {
			k := newKit(t, Config{})
			k.play(opened + toTimeWait + "+41s |")
			k.inject([]wire.Segment{k.parse("", c.in)})
			k.takeEvents()
			if c.restart {
				k.play("+20s | - | TIME-WAIT\n+40002ms | - | CLOSED")
				return
			}
			k.play("+20s | - | CLOSED")
		})
	}
}

func TestTWT_002_PureAcks(t *testing.T) {
	newKit(t, Config{}).play(opened + toTimeWait + `
		A seq=2 ack=2   | - | TIME-WAIT
		A seq=2 ack=1   | - | TIME-WAIT               # an old one of the same place
		A seq=2 ack=3   | A seq=2 ack=2 | TIME-WAIT   # of what was never sent
		A seq=1 ack=2   | - | TIME-WAIT               # limited to one per 500 ms
		+500ms          |
		A seq=1 ack=2   | A seq=2 ack=2 | TIME-WAIT
		+500ms          |
		SA seq=0 ack=1  | A seq=2 ack=2 | TIME-WAIT
		SF seq=7        | - | TIME-WAIT
	`)
	// An old timestamp makes it an old duplicate (TSP-007); a new one is what a SYN has to beat.
	newKit(t, Config{}).play(openedTS + toTimeWaitTS + `
		+600ms                |
		A seq=2 ack=2 ts=1019 | A seq=2 ack=2 ecr=1020 | TIME-WAIT
		A seq=2 ack=2 ts=1030 | - | TIME-WAIT
		+600ms                |
		S seq=-9 ts=1030      | A seq=2 ack=2 ecr=1030 | TIME-WAIT
		S seq=-9 ts=1031      | SA seq=0 ecr=1031 | SYN-RECEIVED
	`)
}

func TestTWT_003to005_OptionsOfTheIncarnations(t *testing.T) {
	for _, c := range []struct{ name, before, in, out string }{
		{"TWT-003 newer, higher", openedTS + toTimeWaitTS, "S seq=9 ts=1021", "SA seq=0 ack=10 ecr=1021 | SYN-RECEIVED"},
		{"TWT-003 newer, lower", openedTS + toTimeWaitTS, "S seq=-9 ts=1021", "SA seq=0 ack=-8 ecr=1021 | SYN-RECEIVED"},
		{"TWT-003 equal, higher", openedTS + toTimeWaitTS, "S seq=3 ts=1020", "SA seq=0 ack=4 | SYN-RECEIVED"},
		{"TWT-003 equal, same", openedTS + toTimeWaitTS, "S seq=2 ts=1020", "A seq=2 ack=2 ecr=1020 | TIME-WAIT"},
		{"TWT-003 older, higher", openedTS + toTimeWaitTS, "S seq=9 ts=1019", "A seq=2 ack=2 | TIME-WAIT"},
		{"TWT-003 newer across the wrap", openedTS + toTimeWaitTS, "S seq=-9 ts=2147484000", "SA | SYN-RECEIVED"},
		{"TWT-003 older across the wrap", openedTS + toTimeWaitTS, "S seq=9 ts=2147484700", "A seq=2 ack=2 | TIME-WAIT"},
		{"TWT-004 without now, higher", openedTS + toTimeWaitTS, "S seq=3", "SA seq=0 ack=4 !ts | SYN-RECEIVED"},
		{"TWT-004 without now, same", openedTS + toTimeWaitTS, "S seq=2", "A seq=2 ack=2 | TIME-WAIT"},
		{"TWT-004 never, higher", opened + toTimeWait, "S seq=3", "SA seq=0 ack=4 | SYN-RECEIVED"},
		{"TWT-004 never, same", opened + toTimeWait, "S seq=2", "A seq=2 ack=2 | TIME-WAIT"},
		{"TWT-004 never, lower", opened + toTimeWait, "S seq=-9", "A seq=2 ack=2 | TIME-WAIT"},
		{"TWT-005 only now, higher", opened + toTimeWait, "S seq=3 ts=5", "SA seq=0 ack=4 ecr=5 | SYN-RECEIVED"},
		{"TWT-005 only now, lower", opened + toTimeWait, "S seq=-9 ts=5", "A seq=2 ack=2 | TIME-WAIT"},
		{"OPT-014 signed", opened + toTimeWait, "S seq=9 md5", "- | TIME-WAIT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKit(t, Config{})
			k.play(c.before + "+600ms |\n")
			old := k.iss
			k.play(c.in + " | " + c.out)
			ctr := k.e.Counters()
			if k.state() == "TIME-WAIT" {
				require.EqualValues(t, 1, ctr.Outcome[AnsweredChallenge]+ctr.Outcome[DropSigned])
				return
			}
			require.Equal(t, old+2+65537, k.iss, "ISN-004")
			require.EqualValues(t, 2, ctr.SynAcks)
			require.EqualValues(t, 1, ctr.HalfOpen)
		})
	}
}

func TestSYN_005_InTimeWait(t *testing.T) {
	// TWT-003 and TWT-004 have the conditions; here is what follows from either answer.
	k := newKit(t, Config{})
	k.play(opened + toTimeWait + `
		S seq=3         | SA seq=0 ack=4 | SYN-RECEIVED
		A seq=4 ack=1   | - | ESTABLISHED | established
	`)
	require.EqualValues(t, 2, k.e.Counters().Accepted)
	k = newKit(t, Config{})
	k.play(opened + toTimeWait + `
		S seq=2         | A seq=2 ack=2 | TIME-WAIT
		R seq=2         | - | CLOSED                 # as a peer in SYN-SENT answers that ACK (ACT-003)
		S seq=2         | SA seq=0 ack=3 | SYN-RECEIVED
	`)
	require.EqualValues(t, 2, k.e.Counters().SynIn)
	require.EqualValues(t, 1, k.e.Counters().TimeWaits)
}

// TWT-013: an abort leaves nothing behind on either side, so the tuple is free at once.
func TestTWT_013_AbortSkipsTimeWait(t *testing.T) {
	d := newClientServer(t, Config{})
	for n := range 3 {
		d.connect(t)
		k := d.k[0]
		k.now = d.now
		k.advance(0)
		require.True(t, k.e.Abort(k.flow))
		d.run(t, 20*time.Millisecond)
		require.Equal(t, [2]string{"", "closed: reset;"}, d.takeBoth())
		for i, k := range d.k {
			require.Equal(t, "CLOSED", k.state())
			c := k.e.Counters()
			require.Zero(t, c.TimeWaits+c.Flows, "side %d, round %d", i, n)
		}
	}
	// It takes a call of its own: a close does enter TIME-WAIT, and Config.TimeWait < 0 is the other way out.
	newKit(t, Config{}).play(opened + toTimeWait)
	newKit(t, Config{TimeWait: -1}).play(opened + toFinWait2 + "FA seq=1 ack=2 | A | CLOSED | peer closed, closed: done")
}

func TestTWT_007_RFC1337(t *testing.T) {
	k := newKit(t, Config{RFC1337: true})
	k.play(opened + toTimeWait + `
		R seq=2        | - | TIME-WAIT
		RA seq=2 ack=2 | - | TIME-WAIT
		+61s           | - | CLOSED
	`)
	require.EqualValues(t, 2, k.e.Counters().Outcome[DropRST])
}

func TestTWT_011_ISN_004_OwnTupleAgain(t *testing.T) {
	const tw = connecting + "SA ack=1 mss=1460 ts=1000 | A | ESTABLISHED | established\n" + toTimeWaitTS
	newClient := func(cfg Config) *kit {
		k := newKit(t, cfg)
		k.tup.LocalPort = 5000
		return k
	}
	t.Run("after a second", func(t *testing.T) {
		k := newClient(Config{})
		k.play(tw + "+999ms |")
		_, err := k.e.Connect(&k.tup, 3, 0)
		require.ErrorIs(t, err, ErrTupleInUse)
		k.play("+1ms |")
		old, was, ts := k.iss, k.flow, k.tsLast
		k.play("connect | S seq=0 ts ecr=0 | SYN-SENT") // TSP-001
		require.Equal(t, old+2+65537, k.iss)
		require.Equal(t, ts+1000, k.tsLast, "the timestamp clock of the tuple goes on (TSP-008)")
		require.Equal(t, Closed, k.e.State(was))
		c := k.e.Counters()
		require.EqualValues(t, 1, c.TimeWaitReused)
		require.EqualValues(t, 1, c.Flows)
		require.EqualValues(t, 2, c.Attempted)
		k.play("SA seq=0 ack=1 ts=3000 | A seq=1 ack=1 | ESTABLISHED | established")
	})
	t.Run("the second starts at the last FIN", func(t *testing.T) {
		k := newClient(Config{})
		k.play(tw + "+900ms |\nFA seq=1 ack=2 ts=1020 | A seq=2 ack=2 | TIME-WAIT\n+900ms |")
		_, err := k.e.Connect(&k.tup, 3, 0)
		require.ErrorIs(t, err, ErrTupleInUse)
		k.play("+100ms |\nconnect | S | SYN-SENT")
	})
	t.Run("never without timestamps", func(t *testing.T) {
		for _, cfg := range []Config{{}, {NoTimestamps: true}} {
			k := newClient(cfg)
			k.play(connected + toTimeWait + "+59s |")
			_, err := k.e.Connect(&k.tup, 3, 0)
			require.ErrorIs(t, err, ErrTupleInUse)
			require.Equal(t, "TIME-WAIT", k.state())
			k.play("+2s | - | CLOSED\nconnect | S | SYN-SENT")
		}
	})
	t.Run("in a full table", func(t *testing.T) {
		k := newClient(Config{MaxFlows: 1})
		k.play(tw + "+1s |\nconnect | S | SYN-SENT")
		require.Zero(t, k.e.Counters().TimeWaitRecycled)
	})
	t.Run("ISS is never 0", func(t *testing.T) {
		k := newClient(Config{})
		k.play(tw + "+1s |")
		k.e.recs[1].sndNxt = 0xffffffff - 65536
		k.play("connect | S rawseq=1 | SYN-SENT")
	})
}

// open has side i open its tuple and lets the SYN out.
func (d *duo) open(tb testing.TB, i int) {
	tb.Helper()
	k := d.k[i]
	k.now = d.now
	k.advance(0)
	id, err := k.e.Connect(&k.tup, 0, 0)
	require.NoError(tb, err)
	k.flow = id
}

// close has side i send its FIN.
func (d *duo) close(tb testing.TB, i int) {
	tb.Helper()
	k := d.k[i]
	k.now = d.now
	k.advance(0)
	require.True(tb, k.e.Close(k.flow))
}

// newClientServer is a duo of which side 0 opens to the listener of side 1.
func newClientServer(tb testing.TB, cfg Config) *duo {
	tb.Helper()
	d := newDuo(tb, cfg)
	d.k[0].tup.LocalPort, d.k[1].tup.RemotePort = 5000, 5000
	return d
}

// restart is side i after a crash: nothing is left of its flows. seed gives its new secret.
func (d *duo) restart(tb testing.TB, i int, cfg Config, seed byte) {
	tb.Helper()
	cfg.MaxFlows = 64
	e, err := New(cfg, testHasher(tb, seed))
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, e.Free()) })
	d.k[i].e, d.k[i].tsFirst, d.k[i].tsLast = e, 0, 0
	d.k[i].now = d.now
	d.k[i].advance(0)
}

// takeBoth returns what each side was told since the last call.
func (d *duo) takeBoth() [2]string {
	ev := d.events
	d.events = [2]string{}
	return ev
}

// A client opens one tuple again and again while the server, which closes first,
// has it in TIME-WAIT: sequence numbers and timestamps grow, so each SYN is new.
func TestTWT_012_ReuseWhileTheServerWaits(t *testing.T) {
	for _, cfg := range []Config{{}, {NoTimestamps: true}, {Cookies: CookiesAlways}} {
		for _, gap := range []time.Duration{0, 3 * time.Millisecond, 400 * time.Millisecond, 50 * time.Second} {
			t.Run(fmt.Sprintf("timestamps %v, cookies %v, every %v", !cfg.NoTimestamps, cfg.Cookies, gap), func(t *testing.T) {
				d := newClientServer(t, cfg)
				var last wire.Seq
				start := d.now
				const rounds = 20
				for n := range rounds {
					d.open(t, 0)
					d.run(t, 50*time.Millisecond)
					require.Equal(t, [2]string{"established;", "established;"}, d.takeBoth())
					if n > 0 {
						require.True(t, last.Less(d.k[0].info.ISS), "the ISS of the client grows")
						require.Equal(t, uint64(n), d.k[1].e.Counters().TimeWaits)
					}
					last = d.k[0].info.ISS
					d.close(t, 1)
					d.run(t, 15*time.Millisecond)
					require.Equal(t, "CLOSE-WAIT", d.k[0].state())
					d.close(t, 0)
					d.run(t, 25*time.Millisecond)
					require.Equal(t, [2]string{"peer closed;closed: done;", "peer closed, closed: done;"}, d.takeBoth())
					require.Equal(t, "CLOSED", d.k[0].state())
					require.Equal(t, "TIME-WAIT", d.k[1].state())
					d.now += int64(gap)
				}
				if gap < time.Second {
					require.Less(t, time.Duration(d.now-start), rounds*500*time.Millisecond, "two reuses a second and more")
				}
				c := d.k[1].e.Counters()
				require.EqualValues(t, rounds, c.Accepted)
				require.Zero(t, c.Outcome[AnsweredChallenge]+c.Outcome[DropRateLimited])
				require.Zero(t, d.k[0].e.Counters().SynRetrans)
			})
		}
	}
}

// A SYN that TIME-WAIT takes for an old one is answered by an ACK; the client's
// reset ends TIME-WAIT, and the SYN it sends again at once connects.
func TestTWT_015_RetryAgainstTimeWait(t *testing.T) {
	for _, rfc1337 := range []bool{false, true} {
		t.Run(fmt.Sprintf("RFC1337 %v", rfc1337), func(t *testing.T) {
			cfg := Config{NoTimestamps: true, RFC1337: rfc1337}
			d := newClientServer(t, cfg)
			d.open(t, 0)
			d.run(t, 50*time.Millisecond)
			d.close(t, 1)
			d.run(t, 15*time.Millisecond)
			d.close(t, 0)
			d.run(t, 25*time.Millisecond)
			require.Equal(t, "TIME-WAIT", d.k[1].state())
			d.takeBoth()
			rcvNxt := d.k[1].e.recs[1].rcvNxt
			d.now += 1e9
			// The client comes back with a secret under which its ISS is lower.
			for seed := byte(10); ; seed++ {
				d.restart(t, 0, cfg, seed)
				if wire.Seq(cookie.ISN(d.k[0].e.sumTuple(&d.k[0].tup).ISN, d.now)).Less(rcvNxt) {
					break
				}
			}
			start := d.now
			d.open(t, 0)
			d.run(t, 120*time.Second)
			require.Equal(t, [2]string{"established;", "established;"}, d.takeBoth())
			require.Equal(t, "ESTABLISHED", d.k[0].state())
			require.Equal(t, "ESTABLISHED", d.k[1].state())
			at := time.Duration(d.by[0][len(d.by[0])-1] - start) // of the third ACK
			if !rfc1337 {
				require.LessOrEqual(t, at, 50*time.Millisecond, "at once, not with the timer")
				return
			}
			// The reset does not count; TIME-WAIT ends by itself, 60 s after it began.
			require.Greater(t, at, 31*time.Second)
			require.Less(t, at, 64*time.Second)
		})
	}
}
