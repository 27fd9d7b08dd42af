package handshake

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// Openings that other scripts begin with.
const (
	halfOpen = "S mss=1460 | SA seq=0 ack=1 | SYN-RECEIVED\n"
	opened   = halfOpen + "A seq=1 ack=1 | - | ESTABLISHED | established\n"

	halfOpenTS = "S mss=1460 ts=1000 | SA seq=0 ack=1 ecr=1000 | SYN-RECEIVED\n"
	openedTS   = halfOpenTS + "A seq=1 ack=1 ts=1000 | - | ESTABLISHED | established\n"
)

func TestLSN_001_ResetWithoutACK(t *testing.T) {
	for _, irs := range []wire.Seq{0, 1000, 0xffffffff} {
		k := newKit(t, Config{})
		k.irs = irs
		k.play(`
			S lport=9            | RA rawseq=0 ack=1
			S lport=9 len=10     | RA rawseq=0 ack=11
			. lport=9            | RA rawseq=0 ack=0     # VAL-011
			. lport=9 len=10     | RA rawseq=0 ack=10
			FPU lport=9          | RA rawseq=0 ack=1
			SF lport=9           | RA rawseq=0 ack=2
		`)
	}
	k := newKit(t, Config{})
	k.irs = 0xffffffff
	k.play("S lport=9 | RA rawseq=0 rawack=0")
}

func TestLSN_002_ResetWithACK(t *testing.T) {
	eachFamily(t, Config{}, func(t *testing.T, k *kit) {
		k.play(`
			A lport=9 ack=77          | R rawseq=77 len=0
			A ack=77                  | R rawseq=77
			FA ack=78 len=3           | R rawseq=78
			PA ack=4294967295 len=9   | R rawseq=4294967295
			SA ack=0                  | R rawseq=0
		`)
	})
}

func TestLSN_003_ResetHeader(t *testing.T) {
	k := newKit(t, Config{})
	k.play(`
		A lport=9 ack=5 tos=0x29 win=4000 ts=5   | R tos=40 win=0 !opt
		S lport=9 tos=0x2b mss=1460 ws=3 sack ts=7 | RA tos=40 win=0 !opt
	`)
}

func TestVAL_008_009_010_OddFlagsToListen(t *testing.T) {
	newKit(t, Config{}).play(`
		SF      | - | CLOSED
		.       | - | CLOSED
		F       | - | CLOSED
		FPU     | - | CLOSED
		SR      | - | CLOSED
		SFRPAU  | - | CLOSED
		R lport=9 | -
		RA lport=9 | -
	`)
}

func TestLSN_004_SynAck(t *testing.T) {
	eachFamily(t, Config{}, func(t *testing.T, k *kit) {
		k.play(halfOpen)
		r := &k.e.recs[1]
		require.Equal(t, k.iss, r.sndUna)
		require.Equal(t, k.iss+1, r.sndNxt)
		require.Equal(t, k.irs+1, r.rcvNxt)
		k.play("A seq=1 ack=1 | - | ESTABLISHED | established")
		require.Equal(t, k.iss, k.info.ISS)
		require.Equal(t, k.irs, k.info.IRS)
		require.Equal(t, k.tup, k.info.Tuple)
	})
}

func TestLSN_005_TextOnSyn(t *testing.T) {
	newKit(t, Config{}).play(`
		S len=100             | SA seq=0 ack=1 | SYN-RECEIVED
		PA seq=1 ack=1 len=5  | A seq=1 ack=6  | ESTABLISHED | established, data 0+5
	`)
}

func TestLSN_006_RepeatedSyn(t *testing.T) {
	k := newKit(t, Config{})
	k.play(`
		S mss=1460 ts=50 sack  | SA seq=0 ack=1 ecr=50 sack | SYN-RECEIVED
		+50ms                  |
		S mss=1460 ts=51 sack  | SA seq=0 ack=1 ecr=50 sack mss=1460 | SYN-RECEIVED
		+50ms                  |
		S mss=1460 ts=52 sack  | - | SYN-RECEIVED
		+449ms                 |
		S mss=1460 ts=53       | - | SYN-RECEIVED
		+2ms                   |
		S mss=9 ts=54 ws=3     | SA seq=0 ack=1 ecr=50 sack mss=1460 !ws | SYN-RECEIVED  # LSN-007
	`)
	require.EqualValues(t, 4, k.e.Counters().SynRepeats)
	require.EqualValues(t, 2, k.e.Counters().SynRepeatsLimited)
	require.EqualValues(t, 1, k.e.Counters().SynIn)
	// The SYN-ACK timer started anew.
	k.play(`
		+999ms         |
		+2ms           | SA seq=0 ack=1 | SYN-RECEIVED
		A seq=1 ack=1 ts=55 | - | ESTABLISHED | established
	`)
	require.Equal(t, time.Millisecond, k.info.RTT, "since the copy that the peer echoes (RTX-006)")
	require.True(t, k.info.Retrans)
}

func TestLSN_006_RepeatInOneBurst(t *testing.T) {
	k := newKit(t, Config{})
	k.play(`
		S mss=1460 & S mss=1460 & S mss=1460 | SA seq=0 ack=1 & SA seq=0 ack=1 & - | SYN-RECEIVED
		A seq=1 ack=1 & A seq=1 ack=1        | - & - | ESTABLISHED | established
	`)
}

func TestLSN_007_OptionsOfARepeat(t *testing.T) {
	for _, c := range []struct{ first, again, want string }{
		{"S mss=1460 ws=7 sack ts=50", "S", "SA ws=3 sack ts ecr=50"},
		{"S mss=1460 ws=7 sack ts=50", "S mss=100 ws=1 ts=90", "SA mss=1460 ws=3 sack ts ecr=50"},
		{"S", "S mss=1460 ws=7 sack ts=50", "SA mss=1460 !ws !sack !ts"},
		{"S win=100", "S win=9000", "SA"},
	} {
		k := newKit(t, Config{})
		k.play(c.first + " | SA | SYN-RECEIVED")
		r := &k.e.recs[1]
		mss, flags, shifts, wnd, recent := r.mss, r.flags, r.shifts, r.wnd, r.tsRecent
		k.play(c.again + " | " + c.want + " | SYN-RECEIVED")
		require.Equal(t, flags|flagRetrans, r.flags, c.again)
		require.Equal(t, []any{mss, shifts, wnd, recent}, []any{r.mss, r.shifts, r.wnd, r.tsRecent}, c.again)
	}
}

func TestLSN_008_OldRepeat(t *testing.T) {
	newKit(t, Config{}).play(halfOpenTS + `
		S ts=999        | A seq=1 ack=1 | SYN-RECEIVED
		S ts=999        | - | SYN-RECEIVED
	`)
	// So is one that would replace the half-open: it is an old duplicate (TSP-007).
	newKit(t, Config{}).play(halfOpenTS + `
		S seq=5 ts=999  | A seq=1 ack=1 | SYN-RECEIVED
		S seq=5 ts=1001 | SA seq=0 ack=6 ecr=1001 | SYN-RECEIVED
	`)
}

func TestLSN_009_SynInWindow(t *testing.T) {
	for _, off := range []string{"1", "2", "64000"} {
		k := newKit(t, Config{})
		k.play(halfOpen)
		iss := k.iss
		k.play("+1ms |\nS seq=" + off + " mss=1000 | SA seq=0 mss=1460 | SYN-RECEIVED")
		require.NotEqual(t, iss, k.iss)
		require.EqualValues(t, 1, k.e.Counters().HalfOpenReplaced)
		require.EqualValues(t, 1, k.e.Counters().HalfOpen)
	}
}

func TestLSN_010_SynOutsideWindow(t *testing.T) {
	for _, off := range []string{"-1", "-100000", "64241", "200000", "2147483647"} {
		newKit(t, Config{}).play(halfOpen + `
			S seq=` + off + `    | A seq=1 ack=1 | SYN-RECEIVED
			S seq=` + off + `    | - | SYN-RECEIVED
			+501ms               |
			S seq=` + off + `    | A seq=1 ack=1 | SYN-RECEIVED
			A seq=1 ack=1        | - | ESTABLISHED | established
		`)
	}
}

func TestLSN_011_ExactReset(t *testing.T) {
	for _, rst := range []string{"R seq=1", "RA seq=1 ack=1", "RA seq=1 ack=500", "SR seq=1"} {
		k := newKit(t, Config{})
		k.play(halfOpen + rst + " | - | CLOSED")
		require.EqualValues(t, 1, k.e.Counters().HalfOpenReset)
		require.Zero(t, k.e.Counters().HalfOpen)
	}
}

func TestLSN_012_OtherReset(t *testing.T) {
	newKit(t, Config{}).play(halfOpen + `
		R seq=0       | - | SYN-RECEIVED
		R seq=-5      | - | SYN-RECEIVED
		R seq=64241   | - | SYN-RECEIVED
		R seq=2       | A seq=1 ack=1 | SYN-RECEIVED
		R seq=3       | - | SYN-RECEIVED
		+500ms        |
		R seq=64240   | A seq=1 ack=1 | SYN-RECEIVED
	`)
}

func TestLSN_013_WrongAck(t *testing.T) {
	k := newKit(t, Config{})
	k.play(halfOpen)
	k.play(`
		A seq=1 ack=0           | R seq=0 | SYN-RECEIVED
		A seq=1 ack=2           | R seq=2 | SYN-RECEIVED
		PA seq=9 ack=100 len=4  | R seq=100 | SYN-RECEIVED
		A seq=1 ack=1           | - | ESTABLISHED | established
	`)
	require.EqualValues(t, 3, k.e.Counters().Outcome[AnsweredReset])
}

// Cookie mode ends between the SYN that got a cookie and its repeat, which gets a
// record: the peer is established by the first answer and sends its ACK.
func TestLSN_013_CookieBehindHalfOpen(t *testing.T) {
	start := func(t *testing.T) (k *kit, cookie, stored wire.Seq) {
		k = newKit(t, Config{HighMark: 1, LowMark: 1})
		k.tup.RemotePort++
		k.play(halfOpen)
		filler := k.iss
		k.tup.RemotePort--
		k.play(cookieOut)
		cookie = k.iss
		k.iss = filler
		k.tup.RemotePort++
		k.play("R seq=1 | - | CLOSED\n+1s |")
		k.tup.RemotePort--
		k.play("S mss=1460 | SA seq=0 ack=1 | SYN-RECEIVED")
		require.NotEqual(t, cookie, k.iss)
		return k, cookie, k.iss
	}
	t.Run("the ACK of the cookie opens", func(t *testing.T) {
		k, cookie, _ := start(t)
		k.iss = cookie
		k.play("PA seq=1 ack=1 len=3 | A seq=1 ack=4 | ESTABLISHED | established, data 0+3")
		require.True(t, k.info.Cookie)
		require.Equal(t, cookie, k.info.ISS)
		c := k.e.Counters()
		require.EqualValues(t, 1, c.HalfOpenReplaced)
		require.EqualValues(t, 1, c.CookiesOK)
		require.Zero(t, c.HalfOpen)
		require.Zero(t, c.Outcome[AnsweredReset])
	})
	t.Run("the ACK of the record opens", func(t *testing.T) {
		k, _, _ := start(t)
		k.play("A seq=1 ack=1 | - | ESTABLISHED | established")
		require.False(t, k.info.Cookie)
		require.Zero(t, k.e.Counters().CookiesOK+k.e.Counters().CookiesBad, "it is not looked at as a cookie")
	})
	t.Run("an ACK of neither is reset", func(t *testing.T) {
		k, _, _ := start(t)
		k.play("A seq=1 ack=77 | R seq=77 | SYN-RECEIVED\nA seq=1 ack=1 | - | ESTABLISHED | established")
		require.EqualValues(t, 1, k.e.Counters().CookiesBad)
	})
	t.Run("in one burst", func(t *testing.T) {
		k, cookie, _ := start(t)
		k.play("R seq=1 | - | CLOSED")
		k.iss = cookie
		k.play("S mss=1460 & A seq=1 ack=1 | SA & - | ESTABLISHED | established")
		require.True(t, k.info.Cookie)
	})
	t.Run("both kinds at once", func(t *testing.T) {
		k, cookie, stored := start(t)
		k.iss = cookie
		a := k.parse("", "A seq=1 ack=1")
		k.iss = stored
		b := k.parse("", "A seq=1 ack=1")
		out := k.inject([]wire.Segment{a, b})
		require.EqualValues(t, 1, out[0].Path, "silent")
		// Now the cookie's flow is there, and the record's ACK is far from its SND.NXT.
		require.Equal(t, wire.FlagACK, out[1].Flags)
		require.Equal(t, "ESTABLISHED", k.state())
		require.Equal(t, "established", k.takeEvents())
	})
}

func TestLSN_014_GoodAckWrongSeq(t *testing.T) {
	newKit(t, Config{}).play(halfOpen + `
		A seq=0 ack=1               | A seq=1 ack=1 | SYN-RECEIVED
		A seq=100000 ack=1          | - | SYN-RECEIVED       # pure: RST-008
		PA seq=100000 ack=1 len=4   | A seq=1 ack=1 | SYN-RECEIVED
		+500ms                      |
		A seq=100000 ack=1          | A seq=1 ack=1 | SYN-RECEIVED
		A seq=1 ack=1               | - | ESTABLISHED | established
	`)
}

func TestLSN_015_GoodAckAhead(t *testing.T) {
	newKit(t, Config{}).play(halfOpen + `
		A seq=100 ack=1      | - | ESTABLISHED | established
	`)
	// Text that is ahead is not held but asked for again.
	newKit(t, Config{}).play(halfOpen + `
		PA seq=6 ack=1 len=5   | A seq=1 ack=1  | ESTABLISHED | established
		PA seq=1 ack=1 len=10  | A seq=1 ack=11 | ESTABLISHED | data 0+10
	`)
}

func TestLSN_016_HND_002_AckWithTextAndFin(t *testing.T) {
	newKit(t, Config{}).play(halfOpen + `
		PA seq=1 ack=1 len=5  | A seq=1 ack=6 | ESTABLISHED | established, data 0+5
	`)
	newKit(t, Config{}).play(halfOpen + `
		FPA seq=1 ack=1 len=5 | A seq=1 ack=7 | CLOSE-WAIT | established, data 0+5, peer closed
	`)
	newKit(t, Config{}).play(halfOpen + `
		FA seq=1 ack=1        | A seq=1 ack=2 | CLOSE-WAIT | established, peer closed
	`)
}

func TestLSN_017_SynAckInPassive(t *testing.T) {
	newKit(t, Config{}).play(halfOpen + `
		SA seq=0 ack=1   | A seq=1 ack=1 | SYN-RECEIVED
		SA seq=0 ack=9   | R seq=9 | SYN-RECEIVED
		SA seq=1 ack=1   | - | CLOSED
	`)
}

func TestLSN_018_EchoedTimestamp(t *testing.T) {
	newKit(t, Config{}).play(halfOpenTS + `
		+20ms                          |
		A seq=1 ack=1 ts=1001 ecr=first-5          | A seq=1 ack=1 | SYN-RECEIVED
		A seq=1 ack=1 ts=1001 ecr=first+5          | - | SYN-RECEIVED       # pure: RST-008
		PA seq=1 ack=1 ts=1001 ecr=first+1 len=4   | A seq=1 ack=1 | SYN-RECEIVED
		PA seq=1 ack=1 ts=1001 ecr=first-1 len=4   | A seq=1 ack=1 | SYN-RECEIVED
		A seq=1 ack=1 ts=1001 ecr=first            | - | ESTABLISHED | established
	`)
	newKit(t, Config{}).play(halfOpenTS + `
		A seq=1 ack=1 ts=1001 ecr=0        | - | ESTABLISHED | established
	`)
	// Anything between the first and the last copy will do.
	for _, ecr := range []string{"first", "first+1", "first+1500", "last"} {
		newKit(t, Config{}).play(halfOpenTS + `
			+1001ms                            | SA seq=0 ack=1
			+2001ms                            | SA seq=0 ack=1
			A seq=1 ack=1 ts=1001 ecr=last+1   | A seq=1 ack=1 | SYN-RECEIVED
			+500ms                             |
			A seq=1 ack=1 ts=1001 ecr=first-1  | A seq=1 ack=1 | SYN-RECEIVED
		`)
		k := newKit(t, Config{})
		k.play(halfOpenTS + `
			+1001ms                            | SA seq=0 ack=1
			+2001ms                            | SA seq=0 ack=1
			+7ms                               |
			A seq=1 ack=1 ts=1001 ecr=` + ecr + ` | - | ESTABLISHED | established
		`)
	}
}

// The first TSval is rebuilt from 64 ns ticks; it must be exact wherever within a
// millisecond the SYN-ACK went out.
func TestLSN_018_FirstIsExact(t *testing.T) {
	for _, ns := range []int64{0, 1, 63, 64, 500_000, 999_935, 999_936, 999_937, 999_999} {
		for _, later := range []string{"0ms", "1ns", "63ns", "64ns", "1ms", "999999ns"} {
			k := newKit(t, Config{})
			k.now += ns
			k.play("S ts=9 | SA seq=0 ecr=9\n+" + later + " |\n")
			k.play("A seq=1 ack=1 ts=9 ecr=first-1 | A seq=1 | SYN-RECEIVED")
			k.tsFirst, k.tsLast = k.e.recsTS(k), 0
			k.play("A seq=1 ack=1 ts=9 ecr=first | - | ESTABLISHED | established")
		}
	}
}

// recsTS is the TSval of the SYN-ACK, as the timer remembers it.
func (e *Engine) recsTS(k *kit) uint32 {
	return e.sumTuple(&k.tup).TSOff + e.timers.armedAt(&e.recs[1])
}

// A half-open kept alive by repeats beyond the 274 s of record.start.
func TestLSN_018_VeryOldHalfOpen(t *testing.T) {
	k := newKit(t, Config{})
	k.play(halfOpenTS)
	for range 1000 {
		k.advance(700e6)
		k.drain()
		k.play("S mss=1460 ts=1000 | SA seq=0 ack=1 | SYN-RECEIVED")
		r := k.e.recs[1]
		first := k.e.tsFirst(&r, 0)
		require.LessOrEqual(t, int32(first-k.e.timers.armedAt(&r)), int32(0))
	}
	k.play("+40ms |\nA seq=1 ack=1 ts=1000 ecr=last | - | ESTABLISHED | established")
}

func TestLSN_019_OldTimestamp(t *testing.T) {
	newKit(t, Config{}).play(halfOpenTS + `
		A seq=1 ack=1 ts=999    | A seq=1 ack=1 | SYN-RECEIVED
		A seq=1 ack=1 ts=1000   | - | ESTABLISHED | established
	`)
}

func TestLSN_020_NoTimestampOnAck(t *testing.T) {
	newKit(t, Config{}).play(halfOpenTS + `
		A seq=1 ack=1       | - | ESTABLISHED | established
	`)
}

func TestVAL_020_NoFlagInSynReceived(t *testing.T) {
	newKit(t, Config{}).play(halfOpen + `
		. seq=1 len=5   | - | SYN-RECEIVED
		F seq=1         | - | SYN-RECEIVED
		P seq=1 len=5   | - | SYN-RECEIVED
		P seq=-9 len=5  | - | SYN-RECEIVED
	`)
}

func TestLSN_021_ICMP(t *testing.T) {
	k := newKit(t, Config{})
	k.play(halfOpen + `
		icmp soft seq=1   | - | SYN-RECEIVED
		icmp hard seq=0   | - | SYN-RECEIVED
		icmp other seq=0  | - | SYN-RECEIVED
		icmp soft seq=0   | - | CLOSED
	`)
	k = newKit(t, Config{})
	k.play(opened + "icmp soft seq=0 | - | ESTABLISHED\nicmp hard seq=1 | - | ESTABLISHED") // MTU-008
}

func TestLSN_022_LookupOrder(t *testing.T) {
	k := newKit(t, Config{Cookies: CookiesAlways})
	other := wire.Addr4(0xc0000203)
	require.NoError(t, k.e.Listen(wire.Addr{}, 81, 9, false)) // 81 is exact at our4, with app 8
	require.ErrorIs(t, k.e.Listen(wire.Addr4(0), 81, 9, false), ErrListenerExists)
	app := func(local wire.Addr) uint16 {
		k.tup.Local, k.tup.LocalPort = local, 81
		k.play("S mss=1460 | SA seq=0 ack=1 | CLOSED\nA seq=1 ack=1 | - | ESTABLISHED | established")
		return k.events[0].App
	}
	require.EqualValues(t, 8, app(our4))
	require.EqualValues(t, 9, app(other))
	// A flow explains an ACK before any cookie does, and a SYN before any listener.
	k.play("A seq=1 ack=1 | - | ESTABLISHED\nS mss=1460 | A seq=1 ack=1 | ESTABLISHED")
	require.EqualValues(t, 2, k.e.Counters().CookiesOK)
	require.Zero(t, k.e.Counters().CookiesBad)
	// A listener of one address does not answer for another.
	k = newKit(t, Config{})
	k.tup.Local = other
	k.play("S lport=81 | RA rawseq=0 ack=1")
}

func TestSYN_006_OldDuplicateSyn(t *testing.T) {
	k := newKit(t, Config{})
	k.play(halfOpen + "R seq=1 | - | CLOSED")
	require.Zero(t, k.e.Counters().Accepted)
}

func TestOPT_014_SignedSyn(t *testing.T) {
	k := newKit(t, Config{})
	k.play("S mss=1460 md5 | - | CLOSED")
	require.EqualValues(t, 1, k.e.Counters().Outcome[DropSigned])
}
