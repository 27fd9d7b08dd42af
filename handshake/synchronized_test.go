package handshake

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Ways into the synchronized states after opened. Our FIN is at seq 1, the
// peer's next byte at 1 or, when its FIN came, at 2.
const (
	toFinWait1  = "close | FA seq=1 ack=1 | FIN-WAIT-1\n"
	toFinWait2  = toFinWait1 + "A seq=1 ack=2 | - | FIN-WAIT-2\n"
	toCloseWait = "FA seq=1 ack=1 | A seq=1 ack=2 | CLOSE-WAIT | peer closed\n"
	toClosing   = toFinWait1 + "FA seq=1 ack=1 | A seq=2 ack=2 | CLOSING | peer closed\n"
	toLastAck   = toCloseWait + "close | FA seq=1 ack=2 | LAST-ACK\n"
	toTimeWait  = toFinWait2 + "FA seq=1 ack=2 | A seq=2 ack=2 | TIME-WAIT | peer closed, closed: done\n"
)

// synchronizedStates are the states of §3.10.7.4 with the script that leads
// there, RCV.NXT and SND.NXT.
var synchronizedStates = []struct {
	name, script, rcv, snd string
}{
	{"ESTABLISHED", "", "1", "1"},
	{"FIN-WAIT-1", toFinWait1, "1", "2"},
	{"FIN-WAIT-2", toFinWait2, "1", "2"},
	{"CLOSE-WAIT", toCloseWait, "2", "1"},
	{"CLOSING", toClosing, "2", "2"},
	{"LAST-ACK", toLastAck, "2", "2"},
}

func TestSYN_002_003_SynOnSynchronized(t *testing.T) {
	for _, c := range synchronizedStates {
		for _, in := range []string{
			"S seq=0", "S seq=1", "S seq=50", "S seq=-100000", "S seq=2000000000",
			"SA seq=0 ack=1", "SA seq=7 ack=77", "SFPU seq=3", "S seq=1 ts=1",
		} {
			t.Run(c.name+"/"+in, func(t *testing.T) {
				newKit(t, Config{}).play(openedTS + c.script + `
					` + in + ` | A seq=` + c.snd + ` ack=` + c.rcv + ` | ` + c.name + `
					` + in + ` | - | ` + c.name + `
					+499ms |
					` + in + ` | - | ` + c.name + `
					+1ms |
					` + in + ` | A seq=` + c.snd + ` ack=` + c.rcv + ` | ` + c.name + `
				`)
			})
		}
	}
}

func TestRST_001_ExactReset(t *testing.T) {
	for _, c := range synchronizedStates {
		for _, tail := range []string{"R seq=", "RA ack=9999 seq=", "R ts=1 seq="} { // RST-005: no PAWS
			t.Run(c.name+"/"+tail, func(t *testing.T) {
				why := "reset"
				if c.name == "CLOSING" || c.name == "LAST-ACK" {
					why = "done"
				}
				k := newKit(t, Config{})
				k.play(openedTS + c.script + tail + c.rcv + " | - | CLOSED | closed: " + why)
				require.Zero(t, k.e.Counters().EstablishedNow)
				require.Zero(t, k.e.Counters().Flows)
			})
		}
	}
}

func TestRST_002_003_OtherReset(t *testing.T) {
	// RCV.WND is 65535 without window scaling.
	newKit(t, Config{}).play(opened + `
		R seq=2          | A seq=1 ack=1 | ESTABLISHED
		R seq=3          | - | ESTABLISHED
		+500ms           |
		R seq=65536      | A seq=1 ack=1 | ESTABLISHED  # the right edge counts as inside
		+500ms           |
		R seq=65537      | - | ESTABLISHED
		R seq=0          | - | ESTABLISHED
		R seq=-1         | - | ESTABLISHED
		RA seq=0 ack=1   | - | ESTABLISHED
	`)
}

func TestRST_005_PAWS(t *testing.T) {
	newKit(t, Config{}).play(openedTS + "R seq=1 ts=5 ecr=0 | - | CLOSED | closed: reset")
	newKit(t, Config{}).play(halfOpenTS + "R seq=1 ts=5 ecr=0 | - | CLOSED")
}

func TestRST_006_AckBeyond(t *testing.T) {
	for _, c := range synchronizedStates {
		t.Run(c.name, func(t *testing.T) {
			ack := " | A seq=" + c.snd + " ack=" + c.rcv + " | " + c.name + "\n"
			newKit(t, Config{}).play(opened + c.script +
				"PA len=4 ack=3 seq=" + c.rcv + ack +
				"PA len=4 ack=900 seq=" + c.rcv + ack +
				"A ack=3 seq=" + c.rcv + " | - | " + c.name) // pure, and within 500 ms of the last
		})
	}
}

func TestRST_008_Unacceptable(t *testing.T) {
	newKit(t, Config{}).play(opened + `
		A seq=0 ack=1             | A seq=1 ack=1 | ESTABLISHED
		A seq=0 ack=1             | - | ESTABLISHED
		A seq=70000 ack=1         | - | ESTABLISHED
		PA seq=-4 ack=1 len=5     | A seq=1 ack=1 | ESTABLISHED
		PA seq=-4 ack=1 len=5     | A seq=1 ack=1 | ESTABLISHED
		PA seq=65536 ack=1 len=5  | A seq=1 ack=1 | ESTABLISHED
		+500ms                    |
		A seq=65536 ack=1         | A seq=1 ack=1 | ESTABLISHED
	`)
}

func TestRST_009_LimitIsPerFlow(t *testing.T) {
	k := newKit(t, Config{})
	for i := range uint16(10) {
		k.tup.RemotePort = 41000 + i
		k.play(opened)
	}
	for i := range uint16(10) {
		k.tup.RemotePort = 41000 + i
		k.iss = k.e.recs[1+i].sndUna - 1
		k.play("R seq=2 | A seq=1 ack=1 | ESTABLISHED\nR seq=2 | - | ESTABLISHED")
	}
}

func TestRST_011_NeverForReset(t *testing.T) {
	// kit.inject checks it for every script; here are the states without a record.
	for _, in := range []string{"R seq=0", "RA seq=5 ack=7", "SR", "SRA ack=9", "FRA ack=1"} {
		newKit(t, Config{Cookies: CookiesAlways}).play(in + " | - | CLOSED\n" + in + " lport=9 | -")
	}
}

func TestRST_012_HND_005_Abort(t *testing.T) {
	for _, c := range synchronizedStates {
		t.Run(c.name, func(t *testing.T) {
			k := newKit(t, Config{})
			k.play(openedTS + c.script + `
				+3ms |
				abort | RA seq=` + c.snd + ` ack=` + c.rcv + ` win=0 len=0 ts ecr=1000 | CLOSED
			`)
			require.False(t, k.e.Abort(k.flow), "twice")
			require.EqualValues(t, 1, k.e.Counters().Aborted)
			require.Zero(t, k.e.Counters().Flows)
		})
	}
	newKit(t, Config{}).play(opened + "abort | RA seq=1 ack=1 !opt | CLOSED")
}

func TestDAT_001_Straddling(t *testing.T) {
	newKit(t, Config{}).play(opened + `
		PA seq=-4 ack=1 len=10      | A seq=1 ack=6 | ESTABLISHED | data 5+5
		PA seq=1 ack=1 len=5        | A seq=1 ack=6 | ESTABLISHED
		FPA seq=1 ack=1 len=7       | A seq=1 ack=9 | CLOSE-WAIT  | data 5+2, peer closed
		FPA seq=1 ack=1 len=7       | A seq=1 ack=9 | CLOSE-WAIT
	`)
	// Right edge: what lies beyond the window is cut off, and the FIN with it.
	newKit(t, Config{RcvWindow: 2000, NoWScale: true}).play(opened + `
		FPA seq=1 ack=1 len=3000    | A seq=1 ack=2001 | ESTABLISHED | data 0+2000
	`)
}

func TestDAT_010_ActiveClose(t *testing.T) {
	const four = "FA seq=1 ack=2 | A seq=2 ack=2 | TIME-WAIT | peer closed, closed: done\n"
	k := newKit(t, Config{})
	k.play(opened + toFinWait2 + four + `
		+59999ms  | - | TIME-WAIT
		+2ms      | - | CLOSED
	`)
	require.EqualValues(t, 1, k.e.Counters().Done)

	// The peer acknowledges our FIN and sends its own in one segment.
	newKit(t, Config{}).play(opened + toFinWait1 + four)
	// With text in the same segment.
	newKit(t, Config{}).play(opened + toFinWait1 + `
		FPA seq=1 ack=2 len=10 | A seq=2 ack=12 | TIME-WAIT | data 0+10, peer closed, closed: done
	`)
	// Crossing FINs.
	newKit(t, Config{}).play(opened + toClosing + `
		A seq=2 ack=2  | - | TIME-WAIT | closed: done
	`)
	// No TIME-WAIT wanted.
	for _, s := range []string{
		toFinWait2 + "FA seq=1 ack=2 | A seq=2 ack=2 | CLOSED | peer closed, closed: done",
		toFinWait1 + "FA seq=1 ack=2 | A seq=2 ack=2 | CLOSED | peer closed, closed: done",
		toClosing + "A seq=2 ack=2 | - | CLOSED | closed: done",
	} {
		k := newKit(t, Config{TimeWait: -1})
		k.play(opened + s)
		require.EqualValues(t, 1, k.e.Counters().Done)
		require.Zero(t, k.e.Counters().TimeWaits)
	}
}

func TestDAT_010_FinIsRetransmitted(t *testing.T) {
	k := newKit(t, Config{DataRetries: 2})
	k.play(openedTS + `
		close    | FA seq=1 ack=1 | FIN-WAIT-1
		+999ms   | - | FIN-WAIT-1
		+2ms     | FA seq=1 ack=1 len=0 | FIN-WAIT-1
		+2001ms  | FA seq=1 ack=1 | FIN-WAIT-1
		+4000ms  | - | FIN-WAIT-1
		+1ms     | - | CLOSED | closed: timed out
	`)
	require.EqualValues(t, 1, k.e.Counters().Broken)
	require.EqualValues(t, 2, k.e.Counters().DataRetrans)
	// From CLOSING and LAST-ACK as well.
	newKit(t, Config{}).play(opened + toClosing + "+1001ms | FA seq=1 ack=2 | CLOSING\nA seq=2 ack=2 | - | TIME-WAIT | closed: done")
	newKit(t, Config{}).play(opened + toLastAck + "+1001ms | FA seq=1 ack=2 | LAST-ACK\nA seq=2 ack=2 | - | CLOSED | closed: done")
}

func TestDAT_007_TextIsRetransmitted(t *testing.T) {
	k := newKit(t, Config{})
	k.play(openedTS + `
		send 100               | PA seq=1 ack=1 len=100 ts | ESTABLISHED
		+1001ms                | PA seq=1 ack=1 len=100 ts | ESTABLISHED
		A seq=1 ack=41 ts=1001 | - | ESTABLISHED
		+1001ms                | PA seq=41 ack=1 len=60    | ESTABLISHED  # back-off starts anew
		+2001ms                | PA seq=41 len=60          | ESTABLISHED
		A seq=1 ack=101 ts=1001 | - | ESTABLISHED | acked
		+200s                  | - | ESTABLISHED
	`)
	require.Positive(t, k.e.SendRoom(k.flow))
	// Text and FIN under way: the one that is missing is sent again.
	newKit(t, Config{}).play(opened + `
		send 10 fin            | FPA seq=1 ack=1 len=10 | FIN-WAIT-1
		+1001ms                | FPA seq=1 ack=1 len=10 | FIN-WAIT-1
		A seq=1 ack=11         | - | FIN-WAIT-1 | acked
		+1001ms                | FA seq=11 ack=1 len=0 | FIN-WAIT-1
		A seq=1 ack=12         | - | FIN-WAIT-2
	`)
	newKit(t, Config{}).play(opened + `
		send 10                | PA seq=1 ack=1 len=10 | ESTABLISHED
		close                  | FA seq=11 ack=1 | FIN-WAIT-1
		+1001ms                | FPA seq=1 ack=1 len=10 | FIN-WAIT-1
		FA seq=1 ack=12        | A seq=12 ack=2 | TIME-WAIT | acked, peer closed, closed: done
	`)
	// A FIN of the peer while text is under way.
	newKit(t, Config{}).play(opened + `
		send 10                | PA seq=1 ack=1 len=10 | ESTABLISHED
		FA seq=1 ack=1         | A seq=11 ack=2 | CLOSE-WAIT | peer closed
		+1001ms                | PA seq=1 ack=2 len=10 | CLOSE-WAIT
		A seq=2 ack=11         | - | CLOSE-WAIT | acked
		close                  | FA seq=11 ack=2 | LAST-ACK
		A seq=2 ack=12         | - | CLOSED | closed: done
	`)
}

func TestDAT_011_PassiveClose(t *testing.T) {
	k := newKit(t, Config{})
	k.play(opened + toCloseWait + `
		send 20         | PA seq=1 ack=2 len=20 | CLOSE-WAIT
		A seq=2 ack=21  | - | CLOSE-WAIT | acked
		close           | FA seq=21 ack=2 | LAST-ACK
		FA seq=1 ack=1  | A seq=22 ack=2 | LAST-ACK
		A seq=2 ack=22  | - | CLOSED | closed: done
		A seq=2 ack=22  | R seq=22 | CLOSED
	`)
	require.EqualValues(t, 1, k.e.Counters().Done)
	// Text after the peer's FIN is not taken.
	newKit(t, Config{}).play(opened + toCloseWait + "PA seq=2 ack=1 len=4 | A seq=1 ack=2 | CLOSE-WAIT")
	// Close twice, send after close.
	k = newKit(t, Config{})
	k.play(opened + toLastAck)
	require.False(t, k.e.Close(k.flow))
	require.False(t, k.e.Send(k.flow, 1, false))
}

func TestDAT_011_AutoClose(t *testing.T) {
	k := newKit(t, Config{})
	k.tup.LocalPort = 81
	k.play(opened + `
		FPA seq=1 ack=1 len=5  | FA seq=1 ack=7 | LAST-ACK | data 0+5, peer closed
		+1001ms                | FA seq=1 ack=7 | LAST-ACK
		A seq=7 ack=2          | - | CLOSED | closed: done
	`)
	k = newKit(t, Config{})
	k.tup.LocalPort = 81
	k.play(halfOpen + "FA seq=1 ack=1 | FA seq=1 ack=2 | LAST-ACK | established, peer closed")
	// At once means at once: behind text that is under way as well.
	k = newKit(t, Config{})
	k.tup.LocalPort = 81
	k.play(opened + `
		send 10          | PA seq=1 ack=1 len=10 | ESTABLISHED
		FA seq=1 ack=1   | FA seq=11 ack=2 | LAST-ACK | peer closed
		+1001ms          | FPA seq=1 ack=2 len=10 | LAST-ACK
		A seq=2 ack=12   | - | CLOSED | acked, closed: done
	`)
}

func TestDAT_012_HalfClose(t *testing.T) {
	newKit(t, Config{}).play(opened + toFinWait1 + `
		PA seq=1 ack=1 len=10  | A seq=2 ack=11 | FIN-WAIT-1 | data 0+10
		PA seq=11 ack=2 len=10 | A seq=2 ack=21 | FIN-WAIT-2 | data 0+10
		FPA seq=21 ack=2 len=1 | A seq=2 ack=23 | TIME-WAIT | data 0+1, peer closed, closed: done
	`)
}

func TestVAL_020_NoFlagInSynchronized(t *testing.T) {
	for _, c := range synchronizedStates {
		newKit(t, Config{}).play(opened + c.script +
			". len=5 seq=" + c.rcv + " | - | " + c.name + "\nF seq=" + c.rcv + " | - | " + c.name +
			"\n. seq=-9 | - | " + c.name + "\nPF len=5 seq=200000 | - | " + c.name)
	}
}

func TestTWT_001_TimeWait(t *testing.T) {
	k := newKit(t, Config{TimeWait: 5e9})
	k.play(opened + toTimeWait)
	require.False(t, k.e.Abort(k.flow), "the application has been told the end")
	require.Equal(t, TimeWait, k.e.State(k.flow))
	k.play("+4999ms | - | TIME-WAIT\n+2ms | - | CLOSED")
	require.EqualValues(t, 1, k.e.Counters().TimeWaits)
	require.Equal(t, Closed, k.e.State(k.flow))
}

func TestTWT_002_Segments(t *testing.T) {
	newKit(t, Config{}).play(opened + toTimeWait + `
		A seq=2 ack=2           | - | TIME-WAIT
		FA seq=1 ack=2          | A seq=2 ack=2 | TIME-WAIT
		FA seq=1 ack=2          | - | TIME-WAIT
		+500ms                  |
		PA seq=2 ack=2 len=10   | A seq=2 ack=2 | TIME-WAIT
		+500ms                  |
		SA seq=0 ack=1          | A seq=2 ack=2 | TIME-WAIT
		. seq=2 len=3           | - | TIME-WAIT
	`)
	newKit(t, Config{}).play(opened + toTimeWait + `
		+50s                    |
		FA seq=1 ack=2          | A seq=2 ack=2 | TIME-WAIT
		+59s                    | - | TIME-WAIT
		+1002ms                 | - | CLOSED
	`)
}

func TestTWT_003_NewIncarnationWithTimestamps(t *testing.T) {
	const tw = openedTS + "close | FA | FIN-WAIT-1\nA seq=1 ack=2 ts=1010 | - | FIN-WAIT-2\n" +
		"FA seq=1 ack=2 ts=1020 | A seq=2 ack=2 | TIME-WAIT | peer closed, closed: done\n+600ms |\n"
	for _, c := range []struct{ in, out string }{
		{"S seq=-5000 ts=1021", "SA ecr=1021 | SYN-RECEIVED"},
		{"S seq=5000 ts=1021", "SA ecr=1021 | SYN-RECEIVED"},
		{"S seq=3 ts=1020", "SA ecr=1020 | SYN-RECEIVED"},
		{"S seq=2 ts=1020", "A seq=2 ack=2 | TIME-WAIT"},
		{"S seq=5000 ts=1019", "A seq=2 ack=2 | TIME-WAIT"},
	} {
		t.Run(c.in, func(t *testing.T) { newKit(t, Config{}).play(tw + c.in + " | " + c.out) })
	}
}

func TestTWT_004_NewIncarnationWithoutTimestamps(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{"S seq=3", "SA | SYN-RECEIVED"},
		{"S seq=3 ts=1", "SA | SYN-RECEIVED"},
		{"S seq=2", "A seq=2 ack=2 | TIME-WAIT"},
		{"S seq=1", "A seq=2 ack=2 | TIME-WAIT"},
	} {
		t.Run(c.in, func(t *testing.T) {
			newKit(t, Config{}).play(opened + toTimeWait + "+600ms |\n" + c.in + " | " + c.out)
		})
	}
	// Nobody listens: the client's own TIME-WAIT.
	k := newKit(t, Config{})
	k.tup.LocalPort = 5000
	k.play(connected + toTimeWait + "+600ms |\nS seq=3 | A seq=2 ack=2 | TIME-WAIT")
}

func TestTWT_006_ISN_004_Incarnation(t *testing.T) {
	for _, policy := range []CookiePolicy{CookiesNever, CookiesAlways, CookiesPressure} {
		k := newKit(t, Config{Cookies: policy, MaxFlows: 2, MaxHalfOpen: 1})
		if policy == CookiesAlways {
			k.play("S mss=1460 | SA seq=0 ack=1\nA seq=1 ack=1 | - | ESTABLISHED | established\n" + toTimeWait)
		} else {
			k.play(opened + toTimeWait)
			k.tup.RemotePort++
			was := k.iss
			k.play("S | SA | SYN-RECEIVED") // now the SYN queue is full
			k.iss = was
			k.tup.RemotePort--
		}
		old := k.iss
		k.play("S seq=3 & S seq=3 | SA & SA | SYN-RECEIVED")
		require.Equal(t, old+2+65537, k.last[0].Seq)
		require.Equal(t, k.last[0].Seq, k.last[1].Seq)
		// If the SYN was old after all, no harm is done.
		k.play("R seq=4 | - | CLOSED")
	}
	// ISS is never 0.
	k := newKit(t, Config{})
	k.play(opened + toTimeWait)
	k.e.recs[1].sndNxt = 0xffffffff - 65536
	k.play("S seq=3 | SA rawseq=1 | SYN-RECEIVED")
}

func TestTWT_007_Reset(t *testing.T) {
	newKit(t, Config{}).play(opened + toTimeWait + `
		R seq=1        | - | TIME-WAIT
		R seq=3        | - | TIME-WAIT
		RA seq=2 ack=9 | - | CLOSED
	`)
}

func TestTWT_008_FinWait2(t *testing.T) {
	k := newKit(t, Config{})
	k.play(opened + toFinWait2 + `
		+59999ms | - | FIN-WAIT-2
		+2ms     | - | CLOSED | closed: done
	`)
}

// TWT-014: a full table takes the oldest TIME-WAIT, but not one that an event of
// this burst still names.
func TestTWT_014_Recycling(t *testing.T) {
	k := newKit(t, Config{MaxFlows: 1})
	k.play(opened + toTimeWait)
	k.tup.RemotePort++
	k.play(halfOpen)
	require.EqualValues(t, 1, k.e.Counters().TimeWaitRecycled)
	require.Equal(t, Closed, k.e.State(k.flow), "the old FlowID is stale")

	k = newKit(t, Config{MaxFlows: 1, Cookies: CookiesNever})
	k.play(opened + toFinWait2)
	k.play("FA seq=1 ack=2 & S rport=41000 seq=0 | A seq=2 ack=2 & - | TIME-WAIT | peer closed, closed: done")
	require.Equal(t, k.tup, k.e.Tuple(k.events[1].Flow))
	k.play("S rport=41000 seq=0 | SA seq=0 ack=1")
}

func TestHND_001_004_OneBurst(t *testing.T) {
	// All of a life in one burst: the callback sees it once and in order.
	k := newKit(t, Config{})
	k.play(halfOpen + `
		A seq=1 ack=1 & PA seq=1 ack=1 len=4 & R seq=5 & A seq=5 ack=1 | - & A seq=1 ack=5 & - & R seq=1 | CLOSED | established, data 0+4, closed: reset
	`)
	require.Equal(t, k.tup, k.info.Tuple, "Info outlives the flow until EndBurst")
	require.EqualValues(t, 1460, k.info.MSS)
	require.False(t, k.e.Close(k.flow))
	require.False(t, k.e.Abort(k.flow))
	require.False(t, k.e.Send(k.flow, 1, false))
	require.Equal(t, Closed, k.e.State(k.flow))
	require.Equal(t, []int16{0, 1, 2}, []int16{k.events[0].Seg, k.events[1].Seg, k.events[2].Seg})

	// Its record is not reused within the burst, although the table is full.
	k = newKit(t, Config{MaxFlows: 1, Cookies: CookiesNever})
	k.play(halfOpen + "A seq=1 ack=1 & R seq=1 & S rport=41000 seq=0 | - & - & - | CLOSED | established, closed: reset")
	require.Equal(t, k.tup, k.info.Tuple)
	k.play("S rport=41000 seq=0 | SA seq=0 ack=1")
	require.Equal(t, Closed, k.e.State(k.flow))
	// A half-open nobody was told of may be reused at once.
	k.tup.RemotePort = 41000
	k.play("R seq=1 & S rport=42000 seq=0 | - & SA | CLOSED")
}

func TestHND_003_Info(t *testing.T) {
	k := newKit(t, Config{})
	k.play(`
		S mss=1400 ws=7 sack ts=9 win=1000 | SA seq=0 ack=1 mss=1460 ws=3 sack ts ecr=9 win=65160 | SYN-RECEIVED
		+25ms |
		A seq=1 ack=1 ts=10 win=500 | - | ESTABLISHED | established
	`)
	require.Equal(t, Info{
		Tuple: k.tup, ISS: k.iss, IRS: k.irs, RTT: 25e6, RTO: 200e6, IW: 10, OwnMSS: 1460, MSS: 1400, SndShift: 7, RcvShift: 3,
		SndWnd: 500 << 7, WScale: true, SACK: true, Timestamps: true,
	}, k.info)
	require.EqualValues(t, 7, k.events[0].App)
	require.Equal(t, "SYN-RECEIVED", SynRcvd.String())
	require.EqualValues(t, 25e6, k.e.Age(k.flow))
}
