package handshake

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// Option bytes come out of each segment, not out of the MSS that is announced.
func TestENC_005_OptionBytes(t *testing.T) {
	for _, c := range []struct {
		syn           string
		v6            bool
		announced, to int
	}{
		{"S mss=1460", false, 1460, 1460},
		{"S mss=1460 ts=1", false, 1460, 1448},
		{"S mss=1440 ts=1 sack ws=7", true, 1440, 1428},
		{"S mss=536 ts=1", false, 1460, 524},
		{"S mss=48 ts=1", false, 1460, 36},
	} {
		for _, policy := range []CookiePolicy{CookiesNever, CookiesAlways} {
			if policy == CookiesAlways && c.to < 200 {
				continue // CKI-005
			}
			k := newKit(t, Config{Cookies: policy})
			if c.v6 {
				k.v6()
			}
			ts := ""
			if c.announced != c.to && len(c.syn) > len("S mss=1460") {
				ts = " ts=2"
			}
			k.play(fmt.Sprintf("%s | SA mss=%d\nA seq=1 ack=1%s | - | ESTABLISHED | established", c.syn, c.announced, ts))
			require.Equal(t, c.to, k.e.SendRoom(k.flow), c.syn)
			require.False(t, k.e.Send(k.flow, c.to+1, false))
			k.play(fmt.Sprintf("send %d | PA len=%d", c.to, c.to))
			require.LessOrEqual(t, wire.TCPHeaderLen(&k.last[0])+c.to, c.announced+20, "the packet fits the MTU")
		}
	}
}

// A window of more than 536 bytes is to hold two segments.
func TestWND_006_SmallWindow(t *testing.T) {
	for win, want := range map[int]int{0: 0, 1: 1, 500: 500, 536: 536, 537: 268, 1000: 500, 2000: 1000, 2919: 1459, 2920: 1460, 65535: 1460} {
		k := newKit(t, Config{})
		k.play(fmt.Sprintf("S mss=1460 | SA\nA seq=1 ack=1 win=%d | - | ESTABLISHED | established", win))
		require.Equal(t, want, k.e.SendRoom(k.flow), "window %d", win)
	}
}

// A segment without the option is taken, whatever it carries, and counted.
func TestTSP_004_MissingTimestamp(t *testing.T) {
	k := newKit(t, Config{})
	k.play(openedTS + `
		PA seq=1 ack=1 len=5     | A ack=6 ts ecr=1000 | - | data 0+5     # TS.Recent stays
		A seq=6 ack=1            | -
		PA seq=6 ack=1 len=5 ts=1001 | A ack=11 ts ecr=1001 | - | data 0+5
		FA seq=11 ack=1          | A ack=12 | CLOSE-WAIT | peer closed
	`)
	require.EqualValues(t, 3, k.e.Counters().NoTimestamp)
	k = newKit(t, Config{}) // the ACK that completes: LSN-020
	k.play(halfOpenTS + "A seq=1 ack=1 | - | ESTABLISHED | established")
	require.EqualValues(t, 1, k.e.Counters().NoTimestamp)
	k = newKit(t, Config{})
	k.play(opened + "PA seq=1 ack=1 len=5 | A !ts | - | data 0+5")
	require.Zero(t, k.e.Counters().NoTimestamp)
	// A reset needs none (TSP-003).
	k = newKit(t, Config{})
	k.play(openedTS + "R seq=1 | - | CLOSED | closed: reset")
	require.Zero(t, k.e.Counters().NoTimestamp)
}

// kit.heard compares every TSval with the clock.
func TestTSP_009_FreshOnFINAndReset(t *testing.T) {
	k := newKit(t, Config{})
	k.play(openedTS + "+700ms |\nclose | FA ts ecr=1000")
	require.EqualValues(t, 700, k.tsLast-k.tsFirst)
	k.play("+1001ms | FA ts\n+50ms |\nabort | RA ts ecr=1000 | CLOSED")
	require.EqualValues(t, 1751, k.tsLast-k.tsFirst)
}

func TestOPT_010_ClampIsCounted(t *testing.T) {
	k := newKit(t, Config{})
	s := k.parse("", "S mss=1460 ws=14")
	s.Opt.Has |= wire.HasWScale | wire.WScaleClamped // as the parser leaves 15 and more
	k.inject([]wire.Segment{s})
	k.play("A seq=1 ack=1 win=1 | - | ESTABLISHED | established")
	require.EqualValues(t, 14, k.info.SndShift)
	require.EqualValues(t, 1, k.e.Counters().WScaleClamped)
	// By cookie, and on a SYN-ACK.
	k = newKit(t, Config{Cookies: CookiesAlways})
	s = k.parse("", "S mss=1460 ws=14")
	s.Opt.Has |= wire.WScaleClamped
	k.inject([]wire.Segment{s})
	require.EqualValues(t, 1, k.e.Counters().WScaleClamped)
	k = newKit(t, Config{})
	k.play(connecting)
	s = k.parse("", "SA seq=0 ack=1 ws=14")
	s.Opt.Has |= wire.WScaleClamped
	k.inject([]wire.Segment{s})
	require.EqualValues(t, 1, k.e.Counters().WScaleClamped)
	require.EqualValues(t, 14, k.e.recs[1].peerShift())
}

// SACK blocks on a SYN say nothing, and nothing of ours ever has any.
func TestOPT_013_SACK(t *testing.T) {
	for _, offer := range []string{"", " sack"} {
		k := newKit(t, Config{})
		s := k.parse("", "S mss=1460"+offer)
		s.Opt.Has |= wire.HasSACK
		out := k.inject([]wire.Segment{s})
		require.Equal(t, offer != "", out[0].Opt.Has&wire.HasSACKPermitted != 0)
		k.play("A seq=1 ack=1 | - | ESTABLISHED | established")
		require.Equal(t, offer != "", k.info.SACK)
		for _, in := range []string{"PA seq=10 ack=1 len=5", "PA seq=1 ack=1 len=5", "S seq=0"} {
			s := k.parse("", in)
			s.Opt.Has |= wire.HasSACK
			out := k.inject([]wire.Segment{s})
			require.Zero(t, out[0].Opt.Has, in)
			k.advance(600e6)
		}
	}
}
