package handshake

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// Ways into the states of a flow whose application is gone.
const (
	toOrphan1 = "release | FA seq=1 ack=1 | FIN-WAIT-1\n"
	toOrphan2 = toOrphan1 + "A seq=1 ack=2 | - | FIN-WAIT-2\n"
)

func TestRST_013_CloseWithNothingUnread(t *testing.T) {
	// Text is the application's as soon as it is told, so there is nothing unread
	// to make a reset of a close; an application that wants one aborts.
	for _, how := range []string{"close", "release"} {
		newKit(t, Config{}).play(opened + `
			PA seq=1 ack=1 len=5 | A seq=1 ack=6 | ESTABLISHED | data 0+5
			` + how + ` | FA seq=1 ack=6 | FIN-WAIT-1
		`)
		newKit(t, Config{}).play(opened + toCloseWait + how + " | FA seq=1 ack=2 | LAST-ACK")
	}
	k := newKit(t, Config{})
	k.play(opened + `
		PA seq=1 ack=1 len=5 | A seq=1 ack=6 | ESTABLISHED | data 0+5
		abort | RA seq=1 ack=6 | CLOSED
	`)
	require.EqualValues(t, 1, k.e.Counters().Aborted)
}

func TestRST_014_TextAfterRelease(t *testing.T) {
	for _, c := range []struct{ name, script string }{
		{"FIN-WAIT-1", toOrphan1},
		{"FIN-WAIT-2", toOrphan2},
		{"FIN-WAIT-2, released late", toFinWait2 + "release | - | FIN-WAIT-2\n"},
		{"FIN-WAIT-1, by the same segment FIN-WAIT-2", toOrphan1},
	} {
		ack := "2"
		if c.name == "FIN-WAIT-1" {
			ack = "1"
		}
		for _, in := range []string{"PA seq=1 len=4", "PA seq=50 len=4", "FPA seq=1 len=4", "PA seq=-3 len=5"} {
			t.Run(c.name+"/"+in, func(t *testing.T) {
				k := newKit(t, Config{})
				k.play(opened + c.script + in + " ack=" + ack + " | R seq=" + ack + " len=0 !opt | CLOSED | closed: aborted")
				ctr := k.e.Counters()
				require.EqualValues(t, 1, ctr.Aborted)
				require.EqualValues(t, 1, ctr.Outcome[AnsweredReset])
				require.Zero(t, ctr.PayloadBytes)
				require.Zero(t, ctr.Flows+ctr.EstablishedNow)
				require.False(t, k.e.Release(k.flow))
			})
		}
	}
	// Text that was read before and comes again is no new text, and a FIN is welcome.
	newKit(t, Config{}).play(opened + `
		PA seq=1 ack=1 len=5   | A seq=1 ack=6 | ESTABLISHED | data 0+5
		release                | FA seq=1 ack=6 | FIN-WAIT-1
		PA seq=1 ack=1 len=5   | A seq=2 ack=6 | FIN-WAIT-1
		A seq=6 ack=2          | - | FIN-WAIT-2
		FPA seq=1 ack=2 len=5  | A seq=2 ack=7 | TIME-WAIT | closed: done
	`)
	// Beyond the window it is only asked for again.
	newKit(t, Config{}).play(opened + toOrphan2 + "PA seq=70000 ack=2 len=4 | A seq=2 ack=1 | FIN-WAIT-2")
	// An owner who only half-closed still reads (DAT-012).
	newKit(t, Config{}).play(opened + toFinWait2 + "PA seq=1 ack=2 len=4 | A seq=2 ack=5 | FIN-WAIT-2 | data 0+4")
}

func TestRST_014_ReleaseByState(t *testing.T) {
	k := newKit(t, Config{})
	k.play(connecting + "release | - | CLOSED")
	require.EqualValues(t, 1, k.e.Counters().AttemptAborted)
	k = newKit(t, Config{})
	k.play(crossed + "release | RA seq=1 ack=1 | CLOSED")
	require.EqualValues(t, 1, k.e.Counters().AttemptAborted)
	// Text under way is still delivered, and its end still told.
	newKit(t, Config{}).play(opened + `
		send 10           | PA seq=1 ack=1 len=10 | ESTABLISHED
		release           | FA seq=11 ack=1 | FIN-WAIT-1
		+1001ms           | FPA seq=1 ack=1 len=10 | FIN-WAIT-1
		A seq=1 ack=12    | - | FIN-WAIT-2 | acked
		FA seq=1 ack=12   | A seq=12 ack=2 | TIME-WAIT | closed: done
	`)
	newKit(t, Config{}).play(opened + toClosing + "release | - | CLOSING\nA seq=2 ack=2 | - | TIME-WAIT | closed: done")
	newKit(t, Config{}).play(opened + toLastAck + "release | - | LAST-ACK\nA seq=2 ack=2 | - | CLOSED | closed: done")
	k = newKit(t, Config{})
	k.play(opened + toTimeWait)
	require.False(t, k.e.Release(k.flow), "its end has been told")
	require.False(t, k.e.Release(FlowID{}))
}

func TestSYN_004_SynOnReleasedFinWait2(t *testing.T) {
	for _, in := range []string{"S seq=1", "S seq=2 len=9", "S seq=50000", "SF seq=1", "S seq=1 ts=2000"} {
		t.Run(in, func(t *testing.T) {
			k := newKit(t, Config{})
			k.play(openedTS + "+600ms |\n" + toOrphan2)
			s := k.parse("", in)
			k.play(in + " | RA rawseq=0 win=0 len=0 !opt | CLOSED | closed: aborted")
			require.Equal(t, s.Seq+wire.Seq(s.SegLen()), k.last[0].Ack, "SEG.SEQ+1, and what else it has")
			require.EqualValues(t, 1, k.e.Counters().Aborted)
			require.EqualValues(t, 1, k.e.Counters().Outcome[AnsweredReset])
			// The retry finds a listener.
			k.play("S mss=1460 seq=1 | SA | SYN-RECEIVED")
		})
	}
	for _, in := range []string{"S seq=0", "S seq=-100", "SA seq=5 ack=2", "S seq=5 ts=999"} {
		t.Run(in, func(t *testing.T) {
			newKit(t, Config{}).play(openedTS + "+600ms |\n" + toOrphan2 + in + " | A seq=2 ack=1 | FIN-WAIT-2")
		})
	}
	// Of the others none gives way: an owned FIN-WAIT-2, and a FIN-WAIT-1 without owner.
	newKit(t, Config{}).play(opened + toFinWait2 + "S seq=5 | A seq=2 ack=1 | FIN-WAIT-2")
	newKit(t, Config{}).play(opened + toOrphan1 + "S seq=5 | A seq=2 ack=1 | FIN-WAIT-1")
}

func TestTWT_008_FinWait2Ends(t *testing.T) {
	k := newKit(t, Config{})
	k.play(opened + toOrphan2 + `
		+59999ms | - | FIN-WAIT-2
		+2ms     | - | CLOSED | closed: done
	`)
	require.EqualValues(t, 1, k.e.Counters().Done)
	newKit(t, Config{FinWait2: 5e9}).play(opened + toOrphan2 + "+4999ms | - | FIN-WAIT-2\n+2ms | - | CLOSED | closed: done")
	// A half-close whose peer goes on talking is no orphan.
	newKit(t, Config{}).play(opened + toFinWait2 + `
		+50s                  | - | FIN-WAIT-2
		PA seq=1 ack=2 len=4  | A seq=2 ack=5 | FIN-WAIT-2 | data 0+4
		+50s                  | - | FIN-WAIT-2
		PA seq=5 ack=2 len=4  | A seq=2 ack=9 | FIN-WAIT-2 | data 0+4
		+59999ms              | - | FIN-WAIT-2
		+2ms                  | - | CLOSED | closed: done
	`)
}

func TestRST_004_ResetBeforeThePeersFIN(t *testing.T) {
	for _, c := range []struct{ name, script, why string }{
		{"CLOSE-WAIT", toCloseWait, "reset"},
		{"CLOSING", toClosing, "done"},
		{"LAST-ACK", toLastAck, "done"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKit(t, Config{})
			k.play(opened + c.script + "R seq=0 | - | " + c.name + "\nR seq=1 | - | CLOSED | closed: " + c.why)
			require.EqualValues(t, 1, k.e.Counters().Outcome[DropRST])
		})
	}
	for _, c := range synchronizedStates {
		if c.rcv == "1" { // no FIN came: RCV.NXT-1 is outside
			newKit(t, Config{}).play(opened + c.script + "R seq=0 | - | " + c.name)
		}
	}
}

func TestRST_007_AckOfLongAgo(t *testing.T) {
	// Nothing was acknowledged yet, so no ACK can be old.
	k := newKit(t, Config{})
	k.play(opened + `
		PA seq=1 ack=0 len=4    | A seq=1 ack=1 len=0 | ESTABLISHED
		A seq=1 ack=0           | - | ESTABLISHED              # pure, and within 500 ms
		FA seq=1 ack=0          | A seq=1 ack=1 | ESTABLISHED
		PA seq=1 ack=1 len=4    | A seq=1 ack=5 | ESTABLISHED | data 0+4
	`)
	require.EqualValues(t, 2, k.e.Counters().Outcome[AnsweredChallenge])
	// Then as old as the window reaches, here 3000 bytes.
	newKit(t, Config{}).play(opened + `
		A seq=1 ack=1 win=3000          | - | ESTABLISHED
		send 1000                       | PA seq=1
		A seq=1 ack=1001 win=3000       | - | ESTABLISHED | acked
		PA seq=1 ack=-2000 len=4        | A seq=1001 ack=1 | ESTABLISHED
		PA seq=1 ack=-1999 len=4 win=3000 | A seq=1001 ack=5 | ESTABLISHED | data 0+4
		PA seq=5 ack=1 len=4 win=3000   | A seq=1001 ack=9 | ESTABLISHED | data 0+4
		PA seq=9 ack=-2147483000 len=4  | A seq=1001 ack=9 | ESTABLISHED
	`)
	// A window that closed leaves room for what was under way.
	newKit(t, Config{}).play(opened + `
		send 1000                       | PA seq=1
		A seq=1 ack=1001 win=0          | - | ESTABLISHED | acked
		PA seq=1 ack=1 len=4            | A seq=1001 ack=5 | ESTABLISHED | data 0+4
		PA seq=5 ack=-460 len=4         | A seq=1001 ack=5 | ESTABLISHED
	`)
	// TSP-006: such a segment does not touch TS.Recent.
	newKit(t, Config{}).play(openedTS + `
		PA seq=1 ack=0 len=4 ts=9000    | A seq=1 ack=1 ecr=1000 | ESTABLISHED
		PA seq=1 ack=1 len=4 ts=1001    | A seq=1 ack=5 ecr=1001 | ESTABLISHED | data 0+4
	`)
}

func TestWND_005_NewestWindow(t *testing.T) {
	k := newKit(t, Config{})
	room := func(n int) {
		t.Helper()
		require.Equal(t, n, k.e.SendRoom(k.flow))
	}
	k.play(opened + "A seq=1 ack=1 win=100 | - | ESTABLISHED")
	room(100)
	k.play("A seq=1 ack=1 win=0 | - | ESTABLISHED")
	room(0)
	k.play("A seq=1 ack=1 win=200 | - | ESTABLISHED")
	room(200)
	// Text that overlaps what came before was sent before its window was: SEG.SEQ < SND.WL1.
	k.play("PA seq=1 ack=1 len=10 win=200 | A ack=11 | - | data 0+10\nPA seq=1 ack=1 len=12 win=900 | A ack=13 | - | data 10+2")
	room(200)
	k.play("A seq=13 ack=1 win=300 | - | ESTABLISHED")
	room(300)
	// An old ACK brings an old window: SEG.ACK < SND.WL2.
	k.play("send 50 | PA seq=1\nA seq=13 ack=51 win=250 | - | ESTABLISHED | acked\nPA seq=13 ack=1 len=1 win=900 | A ack=14 | - | data 0+1")
	room(250)
	// What is not accepted brings none.
	k.play("PA seq=14 ack=999 len=1 win=900 | A | ESTABLISHED\nPA seq=90000 ack=51 len=1 win=900 | A | ESTABLISHED")
	room(250)
}

func TestWND_005_Unsigned(t *testing.T) {
	k := newKit(t, Config{})
	k.play("S mss=1460 ws=0 win=65535 | SA\nA seq=1 ack=1 win=0x8000 | - | ESTABLISHED | established")
	require.EqualValues(t, 0x8000, k.info.SndWnd)
	k = newKit(t, Config{})
	k.play("S mss=1460 ws=14 win=65535 | SA\nA seq=1 ack=1 win=65535 | - | ESTABLISHED | established")
	require.EqualValues(t, 65535<<14, k.info.SndWnd)
	require.Equal(t, 1460, k.e.SendRoom(k.flow))
}

// The right edge that the peer was told never moves back, from the SYN on.
func TestWND_005_OwnRightEdge(t *testing.T) {
	for _, window := range []int{1460, 2000, 65535, 65536, 131071, 256 << 10, 1 << 24, 65535<<13 + 1, 65535 << 14} {
		for _, offer := range []string{"", " ws=7", " ts=5", " ws=7 ts=5"} {
			for _, role := range []string{"passive", "active", "simultaneous"} {
				k := newKit(t, Config{RcvWindow: window})
				shift := uint(0)
				edge := k.irs
				told := func(out []wire.Segment) {
					t.Helper()
					for i := range out {
						s := &out[i]
						if s.Flags == 0 || s.Flags&wire.FlagACK == 0 {
							continue
						}
						win := uint32(s.Win)
						if s.Flags&wire.FlagSYN == 0 {
							win <<= shift
						}
						right := s.Ack + wire.Seq(win)
						require.True(t, edge.LessEq(right), "%s%s, window %d: edge %d bytes back by %s", role, offer, window, uint32(edge-right), k.show(s))
						edge = right
					}
				}
				one := func(text string) {
					t.Helper()
					out := k.inject([]wire.Segment{k.parse(text, text)})
					shift = 0
					if k.e.recs[1].flags&flagWScale != 0 {
						shift = uint(k.e.ownShift)
					}
					told(out)
				}
				switch role {
				case "passive":
					one("S mss=1460" + offer)
				case "active":
					k.play(connecting)
					edge = k.irs + 1 + wire.Seq(k.last[0].Win)
					one("SA ack=1 mss=1460" + offer)
				case "simultaneous":
					k.play(connecting)
					edge = k.irs + 1 + wire.Seq(k.last[0].Win)
					one("S mss=1460" + offer)
				}
				for i, text := range []string{"PA ack=1 seq=1 len=100", "PA ack=1 seq=101 len=1000", "PA ack=1 seq=50 len=10"} {
					if k.e.recs[1].flags&flagTS != 0 {
						text += " ts=6"
					}
					one(text)
					require.Equal(t, "ESTABLISHED", k.state(), "%d", i)
				}
			}
		}
	}
}
