package handshake

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// fastKit listens with Fast Open on port 80.
func fastKit(tb testing.TB, cfg Config) *kit {
	tb.Helper()
	k := newKit(tb, cfg)
	require.NoError(tb, k.e.FastOpen(wire.Addr{}, 80, 16))
	return k
}

func eachFastFamily(t *testing.T, cfg Config, f func(t *testing.T, k *kit)) {
	t.Helper()
	t.Run("v4", func(t *testing.T) { f(t, fastKit(t, cfg)) })
	t.Run("v6", func(t *testing.T) { f(t, fastKit(t, cfg).v6()) })
}

// A flow with 100 bytes of text on its SYN.
const (
	fastOpened   = "S tfo=good len=100 | SA seq=0 ack=101 !tfo | SYN-RECEIVED | established fast, data 0+100\n"
	fastOpenedTS = "S tfo=good ts=1000 len=100 | SA seq=0 ack=101 ecr=1000 !tfo | SYN-RECEIVED | established fast, data 0+100\n"
)

func TestTFO_001_CookieRequest(t *testing.T) {
	eachFastFamily(t, Config{}, func(t *testing.T, k *kit) {
		mss := map[bool]string{true: "1460", false: "1440"}[k.tup.Remote.Is4()]
		k.play(`
			S mss=1460 ws=7 sack ts=5 tfo len=50 | SA seq=0 ack=1 mss=` + mss + ` ws=3 sack ts tfo=good !exp len=0 | SYN-RECEIVED
			A seq=1 ack=1 len=50 ts=5            | A seq=1 ack=51 | ESTABLISHED | established, data 0+50
		`)
		require.False(t, k.info.FastOpen)
		require.Equal(t, FastOpenCounters{Requests: 1}, k.e.Counters().FastOpen)
	})
}

func TestTFO_003_HND_001_GoodCookie(t *testing.T) {
	eachFastFamily(t, Config{}, func(t *testing.T, k *kit) {
		k.play(`
			S tfo=good mss=1000 ws=7 win=5000 len=100 | SA seq=0 ack=101 !tfo len=0 | SYN-RECEIVED | established fast, data 0+100
		`)
		c := k.e.Counters()
		require.Equal(t, FastOpenCounters{Accepted: 1, Pending: 1}, c.FastOpen)
		require.EqualValues(t, 1, c.Accepted)
		require.EqualValues(t, 1, c.EstablishedNow)
		require.Zero(t, c.HalfOpen)
		require.EqualValues(t, 100, c.PayloadBytes)
		require.True(t, k.info.FastOpen)
		require.EqualValues(t, 1000, k.info.MSS)
		require.EqualValues(t, 5000, k.info.SndWnd, "the window of a SYN is never scaled")
		require.Equal(t, k.irs, k.info.IRS)
		require.Equal(t, k.iss, k.info.ISS)
		require.Zero(t, k.info.RTT)
		k.play("A seq=101 ack=1 win=10 | - | ESTABLISHED | confirmed")
		require.EqualValues(t, 10<<7, k.e.recs[k.flow.idx].sndWnd())
		require.Equal(t, FastOpenCounters{Accepted: 1, Confirmed: 1}, k.e.Counters().FastOpen)
		k.play(`
			A seq=101 ack=1 len=5 | A seq=1 ack=106 | ESTABLISHED | data 0+5
			R seq=106             | - | CLOSED | closed: reset
		`)
	})
	t.Run("TFO-003 without text", func(t *testing.T) {
		fastKit(t, Config{}).play(`
			S tfo=good              | SA seq=0 ack=1 !tfo | SYN-RECEIVED | established fast
			A seq=1 ack=1 len=9     | A seq=1 ack=10 | ESTABLISHED | confirmed, data 0+9
		`)
	})
	t.Run("HND-002 text of the final ACK", func(t *testing.T) {
		fastKit(t, Config{}).play(fastOpened + `
			FA seq=101 ack=1 len=9  | A seq=1 ack=111 | CLOSE-WAIT | confirmed, data 0+9, peer closed
		`)
	})
	t.Run("TSP-002 timestamps", func(t *testing.T) {
		fastKit(t, Config{}).play(fastOpenedTS + `
			A seq=101 ack=1 ts=1001 | - | ESTABLISHED | confirmed
			A seq=101 ack=1 ts=1002 len=3 | A ack=104 ecr=1002 | ESTABLISHED | data 0+3
		`)
	})
}

func TestTFO_004_BadCookie(t *testing.T) {
	k := fastKit(t, Config{})
	n := uint64(0)
	for _, bad := range []string{"0011223344556677", "00112233", "00112233445566778899aabbccddeeff"} {
		n++
		k.tup.RemotePort++
		k.play("S tfo=" + bad + " len=20 | SA seq=0 ack=1 tfo=good | SYN-RECEIVED\n" +
			"A seq=1 ack=1 len=20 | A ack=21 | ESTABLISHED | established, data 0+20")
		require.Equal(t, n, k.e.Counters().FastOpen.BadCookies)
	}
	// Of another source.
	good := k.cookie("good")
	k.tup.Remote = wire.Addr4(0xc6336403)
	s := k.parse("", "S tfo len=20")
	s.Opt.TFOLen = uint8(copy(s.Opt.TFO[:], good))
	k.compare("foreign", "SA seq=0 ack=1 tfo=good", k.inject([]wire.Segment{s}), 1)
	require.Empty(t, k.takeEvents())
	require.Equal(t, FastOpenCounters{BadCookies: 4}, k.e.Counters().FastOpen)
}

// What the parser takes as absent is absent here; see also TestTFO_005 of package wire.
func TestTFO_005_006_NoOption(t *testing.T) {
	k := fastKit(t, Config{})
	k.play(`
		S len=20             | SA seq=0 ack=1 !tfo | SYN-RECEIVED
		A seq=1 ack=1 len=20 | A ack=21 | ESTABLISHED | established, data 0+20
	`)
	for _, raw := range [][]byte{{34, 5, 1, 2, 3}, {34, 4, 1, 2}, {34, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18}} {
		k.tup.RemotePort++
		s := k.parse("", "S len=20")
		wire.ParseOptions(raw, true, &s.Opt)
		k.compare("odd", "SA seq=0 ack=1 !tfo", k.inject([]wire.Segment{s}), 1)
		require.Empty(t, k.takeEvents())
	}
	require.Zero(t, k.e.Counters().FastOpen)
}

func TestTFO_007_Rotation(t *testing.T) {
	k := fastKit(t, Config{})
	old := k.cookie("good")
	require.NoError(t, k.ring.Rotate(testSecret(t, 3), time.Unix(0, k.now)))
	k.advance(2 * time.Minute)
	s := k.parse("", "S tfo len=100")
	s.Opt.TFOLen = uint8(copy(s.Opt.TFO[:], old))
	require.NotEqual(t, old, k.cookie("good"))
	k.compare("previous key", "SA seq=0 ack=101 tfo=good", k.inject([]wire.Segment{s}), 1)
	require.Equal(t, "established fast, data 0+100", k.takeEvents())
	k.play("A seq=101 ack=1 | - | ESTABLISHED | confirmed")
	require.Equal(t, FastOpenCounters{Accepted: 1, Confirmed: 1}, k.e.Counters().FastOpen)
}

func TestTFO_008_PendingLimit(t *testing.T) {
	k := newKit(t, Config{})
	require.NoError(t, k.e.FastOpen(wire.Addr{}, 80, 3))
	from := func(n uint16) { k.tup.RemotePort = 40000 + n }
	for i := range uint16(3) {
		from(i)
		k.play(fastOpened)
	}
	from(3)
	k.play("S tfo=good len=100 | SA seq=0 ack=1 !tfo | SYN-RECEIVED")
	from(4)
	k.play("S tfo | SA seq=0 ack=1 !tfo | SYN-RECEIVED")
	require.EqualValues(t, 2, k.e.Counters().FastOpen.Full)
	// One is acknowledged: its place is free. One is reset: its place is not, for a minute.
	from(2)
	k.iss = k.e.recs[k.e.lookup(k.e.sumTuple(&k.tup).Hash, &k.tup)].sndUna
	k.play("A seq=101 ack=1 | - | ESTABLISHED | confirmed")
	from(1)
	k.play("R seq=101 | - | CLOSED | closed: reset")
	from(5)
	k.play(fastOpened)
	from(6)
	k.play("S tfo=good len=100 | SA seq=0 ack=1 !tfo | SYN-RECEIVED")
	// An application that aborts frees it.
	from(5)
	k.play("abort | RA ack=101 | CLOSED")
	from(7)
	k.play(fastOpened)
	k.play("abort | RA | CLOSED")
	k.advance(59 * time.Second)
	k.takeEvents()
	k.drain()
	from(8)
	k.play(fastOpened) // the place of the one before
	from(10)
	k.play("S tfo=good len=100 | SA seq=0 ack=1 !tfo | SYN-RECEIVED")
	k.play("+1s | - ")
	from(11)
	k.play(fastOpened)
	require.Equal(t, FastOpenCounters{Full: 4, Accepted: 7, Confirmed: 1, Failed: 3, Pending: 3}, k.e.Counters().FastOpen)
}

// A limit that changes, and places that come back.
func TestTFO_008_LimitsOfListeners(t *testing.T) {
	k := newKit(t, Config{})
	require.ErrorIs(t, k.e.FastOpen(our4, 80, 1), ErrNoListener)
	require.ErrorIs(t, k.e.FastOpen(wire.Addr{}, 82, 1), ErrNoListener)
	require.ErrorContains(t, k.e.FastOpen(our4, 81, -1), "want 0..65535")
	require.ErrorContains(t, k.e.FastOpen(our4, 81, 65536), "want 0..65535")
	require.NoError(t, k.e.FastOpen(wire.Addr4(0), 80, 1))
	require.NoError(t, k.e.FastOpen(our4, 81, 2))
	port := uint16(40000)
	open := func(lport uint16, fast bool) {
		t.Helper()
		port++
		k.tup.RemotePort, k.tup.LocalPort = port, lport
		s := k.parse("", "S tfo=good len=9")
		out := k.inject([]wire.Segment{s})
		require.Equal(t, fast, out[0].Ack == k.irs+10)
		k.takeEvents()
	}
	reset := func(p uint16) {
		t.Helper()
		k.tup.RemotePort = p
		k.inject([]wire.Segment{k.parse("", "R seq=10")})
		require.Equal(t, "closed: reset", k.takeEvents())
	}
	open(80, true)
	open(80, false)
	open(81, true) // a limit of its own
	open(81, true)
	open(81, false)
	k.tup.LocalPort = 81
	reset(40003)
	require.NoError(t, k.e.FastOpen(our4, 81, 4))
	open(81, true)
	open(81, true)
	open(81, false)
	k.tup.LocalPort = 81
	reset(40004)
	reset(40006)
	require.NoError(t, k.e.FastOpen(our4, 81, 0))
	open(81, false)
	require.NoError(t, k.e.FastOpen(our4, 81, 3))
	open(81, false)
	k.now += int64(fastOpenPenalty) * 1e6
	open(81, true)
	open(81, true)
	open(81, false)
	require.ErrorContains(t, k.e.FastOpen(wire.Addr{}, 80, 65533), "want 0..65535")
}

func TestTFO_009_TextBeforeTheFinalACK(t *testing.T) {
	for name, script := range map[string]string{
		"acknowledged at once": `
			send 300           | PA seq=1 ack=101 len=300 | SYN-RECEIVED
			A seq=101 ack=301  | - | ESTABLISHED | confirmed, acked
		`,
		"handshake first": `
			send 300           | PA seq=1 ack=101 len=300 | SYN-RECEIVED
			A seq=101 ack=1    | - | ESTABLISHED | confirmed
			+1.1s              | PA seq=1 ack=101 len=300 | ESTABLISHED
			A seq=101 ack=301  | - | ESTABLISHED | acked
		`,
		"in part": `
			send 300           | PA seq=1 ack=101 len=300 | SYN-RECEIVED
			A seq=101 ack=101  | - | ESTABLISHED | confirmed
			+1.1s              | PA seq=101 ack=101 len=200 | ESTABLISHED
			A seq=101 ack=301  | - | ESTABLISHED | acked
		`,
		"with FIN": `
			send 300 fin       | FPA seq=1 ack=101 len=300 | SYN-RECEIVED
			A seq=101 ack=1    | - | FIN-WAIT-1 | confirmed
			A seq=101 ack=302  | - | FIN-WAIT-2 | acked
			FA seq=101 ack=302 | A seq=302 ack=102 | TIME-WAIT | peer closed, closed: done
		`,
		"close": `
			close              | FA seq=1 ack=101 | SYN-RECEIVED
			A seq=101 ack=2    | - | FIN-WAIT-2 | confirmed
		`,
		"close, half acknowledged": `
			close              | FA seq=1 ack=101 | SYN-RECEIVED
			A seq=101 ack=1    | - | FIN-WAIT-1 | confirmed
			+1.1s              | FA seq=1 ack=101 | FIN-WAIT-1
			FA seq=101 ack=2   | A seq=2 ack=102 | TIME-WAIT | peer closed, closed: done
		`,
	} {
		t.Run("TFO-009 "+name, func(t *testing.T) { fastKit(t, Config{}).play(fastOpened + script) })
	}
	k := fastKit(t, Config{SYNACKRetries: 2})
	k.play(fastOpened)
	require.Equal(t, 536, k.e.SendRoom(k.flow))
	k.play("send 300 | PA seq=1 len=300 | SYN-RECEIVED")
	require.Zero(t, k.e.SendRoom(k.flow), "one segment at a time")
	require.False(t, k.e.Send(k.flow, 1, false))
	// The SYN-ACK alone is repeated, once more than of a half-open.
	k.play(`
		+1s | - | SYN-RECEIVED
		+1ms | SA seq=0 ack=101 !tfo | SYN-RECEIVED
		+2.1s | SA seq=0 ack=101 | SYN-RECEIVED
		+4.1s | SA seq=0 ack=101 | SYN-RECEIVED
		+8.1s | - | CLOSED | closed: timed out
	`)
	c := k.e.Counters()
	require.Equal(t, FastOpenCounters{Accepted: 1, Failed: 1}, c.FastOpen)
	require.EqualValues(t, 1, c.Broken)
	require.EqualValues(t, 3, c.SynAckRetrans)
	require.Zero(t, c.DataRetrans)
	// A window smaller than the text, and none.
	k = fastKit(t, Config{})
	k.play("S tfo=good win=10 len=1 ws=7 | SA ack=2 | SYN-RECEIVED | established fast, data 0+1")
	require.Equal(t, 10, k.e.SendRoom(k.flow))
	require.False(t, k.e.Send(k.flow, 11, false))
	k.play("close | FA seq=1")
	require.False(t, k.e.Close(k.flow), "once")
	require.Zero(t, k.e.SendRoom(k.flow))
}

func TestTFO_010_RepeatSYN(t *testing.T) {
	k := fastKit(t, Config{})
	k.play(fastOpenedTS + `
		S tfo=good ts=1000 len=100 | SA seq=0 ack=101 !tfo
		S tfo=good ts=1000 len=100 | - | SYN-RECEIVED
		+501ms                     | -
		S ts=1001                  | SA seq=0 ack=101 !tfo
		+501ms                     | -
		S ts=999                   | A seq=1 ack=101 ecr=1000   # LSN-008
		A seq=1 ack=1 ts=1000 len=100     | A seq=1 ack=101 | SYN-RECEIVED  # nothing but what we have
		A seq=51 ack=1 ts=1000 len=50     | A seq=1 ack=101 | SYN-RECEIVED
		A seq=51 ack=1 ts=1000 len=60     | A seq=1 ack=111 | ESTABLISHED | confirmed, data 50+10
	`)
	c := k.e.Counters()
	require.EqualValues(t, 3, c.SynRepeats)
	require.EqualValues(t, 110, c.PayloadBytes)
	require.EqualValues(t, 1, c.Outcome[DropRateLimited])
}

func TestTFO_011_ResetBeforeTheFinalACK(t *testing.T) {
	eachFastFamily(t, Config{}, func(t *testing.T, k *kit) {
		k.play(fastOpened + `
			R seq=1    | - | SYN-RECEIVED                  # what stood before the text: old
			R seq=100  | - | SYN-RECEIVED
			R seq=102  | A seq=1 ack=101 | SYN-RECEIVED    # LSN-012
			R seq=101  | - | CLOSED | closed: reset
		`)
		c := k.e.Counters()
		require.EqualValues(t, 1, c.Reset)
		require.Equal(t, FastOpenCounters{Accepted: 1, Failed: 1}, c.FastOpen)
		require.False(t, k.e.Abort(k.flow))
	})
}

// Everything in one burst: the application sees each flow once, whole and in order.
func TestHND_004_FastOpenInOneBurst(t *testing.T) {
	k := fastKit(t, Config{})
	k.play(`
		S tfo=good len=100 & R seq=101 | SA seq=0 ack=101 & - | CLOSED | established fast, data 0+100, closed: reset
	`)
	require.True(t, k.info.FastOpen)
	require.Zero(t, k.e.Counters().Flows)
	k = fastKit(t, Config{})
	iss := wire.Seq(cookie.ISN(k.e.sumTuple(&k.tup).ISN, k.now))
	k.iss = iss
	k.play(`
		S tfo=good len=100 & A seq=101 ack=1 len=10 & FA seq=111 ack=1 | SA ack=101 & A ack=111 & A ack=112 | CLOSE-WAIT | established fast, data 0+100, confirmed, data 0+10, peer closed
	`)
	require.True(t, k.info.FastOpen, "it was early, if only by one segment")
	require.Equal(t, iss, k.info.ISS)
	// Rejected in the callback (HND-005).
	k = fastKit(t, Config{})
	segs := []wire.Segment{k.parse("", "S tfo=good len=100")}
	k.compare("", "SA ack=101", k.inject(segs), 1)
	require.Equal(t, "established fast, data 0+100", k.takeEvents())
	k.play("abort | RA seq=1 ack=101 | CLOSED\n A seq=101 ack=1 | R seq=1 | CLOSED")
	require.EqualValues(t, 1, k.e.Counters().Aborted)
}

func TestTFO_012_SYNWithFIN(t *testing.T) {
	k := fastKit(t, Config{})
	k.play("SF tfo=good len=10 | - | CLOSED")
	require.EqualValues(t, 1, k.e.Counters().Outcome[DropBadFlags])
	k.play(fastOpened + "SF tfo=good len=100 | A seq=1 ack=101 | SYN-RECEIVED") // not a repetition
}

func TestTFO_013_ExperimentalOption(t *testing.T) {
	eachFastFamily(t, Config{}, func(t *testing.T, k *kit) {
		k.play(`
			S tfo exp             | SA ack=1 tfo=good exp | SYN-RECEIVED
			R seq=1               | - | CLOSED
			S tfo=00112233 exp    | SA ack=1 tfo=good exp | SYN-RECEIVED
			R seq=1               | - | CLOSED
			S tfo=good exp len=10 | SA ack=11 !tfo !exp | SYN-RECEIVED | established fast, data 0+10
		`)
	})
}

func TestTFO_019_OffByDefault(t *testing.T) {
	k := newKit(t, Config{})
	k.play(`
		S tfo=good len=10 | SA seq=0 ack=1 !tfo | SYN-RECEIVED
		R seq=1           | - | CLOSED
		S tfo             | SA seq=0 ack=1 !tfo | SYN-RECEIVED
	`)
	require.Zero(t, k.e.Counters().FastOpen)
	k = newKit(t, Config{})
	require.NoError(t, k.e.FastOpen(our4, 81, 1)) // another listener
	k.play("S tfo=good len=10 | SA seq=0 ack=1 !tfo | SYN-RECEIVED")
	k.tup.LocalPort = 81
	k.play("S tfo=good len=10 | SA seq=0 ack=11 | SYN-RECEIVED | established fast, data 0+10")
	// As a client as well.
	k = newKit(t, Config{})
	k.play("connect 10 | S len=0 !tfo | SYN-SENT")
}

func TestCKI_021_NoFastOpenInCookieMode(t *testing.T) {
	eachFamily(t, Config{Cookies: CookiesAlways}, func(t *testing.T, k *kit) {
		require.NoError(t, k.e.FastOpen(wire.Addr{}, 80, 4))
		k.play(`
			S tfo=good mss=1460 ts=9 len=100 | SA ack=1 !tfo | CLOSED
			A seq=1 ack=1 ts=9 len=100       | A ack=101 | ESTABLISHED | established, data 0+100
		`)
		require.True(t, k.info.Cookie)
		require.False(t, k.info.FastOpen)
		require.Zero(t, k.e.Counters().FastOpen)
	})
}

// The rows of SYN-RECEIVED, for a flow that the application has.
func TestLSN_012to019_HandedOver(t *testing.T) {
	k := fastKit(t, Config{})
	k.play(fastOpenedTS + `
		A seq=101 ack=2 ts=1000          | R seq=2 | SYN-RECEIVED      # LSN-013
		A seq=101 ack=0 ts=1000          | R seq=0 | SYN-RECEIVED
		. seq=101 len=5                  | - | SYN-RECEIVED            # VAL-020
		A seq=0 ack=1 ts=1000            | A ack=101 | SYN-RECEIVED    # LSN-014
		A seq=0 ack=1 ts=1000            | - | SYN-RECEIVED            # RST-008: twice a second if it has no text
		A seq=101 ack=1 ts=1000 len=1 ecr=first-1 | A ack=101 | SYN-RECEIVED # LSN-018
		A seq=101 ack=1 ts=1000 len=1 ecr=last+1  | A ack=101 | SYN-RECEIVED # not sent yet
		A seq=101 ack=1 ts=999 len=1     | A ack=101 | SYN-RECEIVED    # LSN-019
		+501ms                           | -
		SA seq=0 ack=1 ts=1000           | A ack=101 | SYN-RECEIVED    # LSN-017
		SA seq=0 ack=2 ts=1000           | R seq=2 | SYN-RECEIVED
		+501ms                           | SA
		S seq=500 ts=1000                | A seq=1 ack=101 | SYN-RECEIVED
		S seq=501 ts=1000                | - | SYN-RECEIVED
		icmp soft seq=0                  | - | SYN-RECEIVED
		icmp hard seq=0                  | - | SYN-RECEIVED
		A seq=150 ack=1 ts=1000 len=10   | A ack=101 | ESTABLISHED | confirmed   # LSN-015
	`)
	// What we sent may be echoed (LSN-018), and its window used.
	k = fastKit(t, Config{})
	k.play(fastOpenedTS + `
		+30ms                               | -
		send 10                             | PA seq=1 ack=101 len=10
		A seq=101 ack=11 ts=1001 ecr=last+1 | A ack=101 | SYN-RECEIVED # LSN-018
		A seq=101 ack=11 ts=1001 ecr=last   | - | ESTABLISHED | confirmed, acked
	`)
	require.EqualValues(t, 0, k.e.Counters().FastOpen.Pending)
}

func TestRTX_007_RoundTripOfHandedOver(t *testing.T) {
	rtt := func(k *kit) time.Duration { return time.Duration(k.events[0].RTT) * 64 }
	k := fastKit(t, Config{})
	k.play(fastOpened + "+30ms | -\n A seq=101 ack=1 | - | ESTABLISHED | confirmed")
	require.Equal(t, EventConfirmed, k.events[0].Kind)
	require.Equal(t, 30*time.Millisecond, rtt(k), "from the SYN-ACK, not from the hand-over")
	k = fastKit(t, Config{})
	k.play(fastOpened + "+1.1s | SA\n A seq=101 ack=1 | - | ESTABLISHED | confirmed")
	require.Zero(t, rtt(k), "Karn (RTX-006)")
}

// A TIME-WAIT that a SYN with a cookie takes over (TWT-006).
func TestTWT_006_FastOpenFromTimeWait(t *testing.T) {
	k := fastKit(t, Config{})
	k.play(openedTS + `
		close                     | FA seq=1
		FA seq=1 ack=2 ts=1001    | A seq=2 ack=2 | TIME-WAIT | peer closed, closed: done
	`)
	iss := k.iss
	k.play("S seq=1000 tfo=good ts=1002 len=10 | SA ack=1011 | SYN-RECEIVED | established fast, data 0+10")
	require.Equal(t, iss+2+65537, k.info.ISS)
}

func TestFastOpenAllocatesNothing(t *testing.T) {
	k := fastKit(t, Config{MaxFlows: 256, FastOpenCache: 64})
	syn, ask, bad := k.parse("", "S tfo=good len=10"), k.parse("", "S tfo"), k.parse("", "S tfo=00112233 len=5")
	rst := k.parse("", "R seq=11")
	segs := make([]wire.Segment, 4)
	act, in := make([]Action, 4), refs(segs)
	port := uint16(0)
	allocs := testing.AllocsPerRun(300, func() {
		port++
		segs[0], segs[1], segs[2], segs[3] = syn, ask, bad, rst
		for i := range segs {
			segs[i].RemotePort = port + 1000*uint16(i)
		}
		segs[3].RemotePort = port
		k.now += 61e9 // places of reset flows come back
		k.e.Handle(k.now, k.ring.Load(), in, act)
		k.e.EndBurst()
		k.e.Advance(k.now, 1<<20)
		k.e.EndBurst()
		k.e.Sent(len(k.e.Output()))
	})
	require.Zero(t, allocs)
	require.EqualValues(t, 301, k.e.Counters().FastOpen.Failed)
	require.Empty(t, func() string { c := k.e.Counters(); return c.Check() }())
}

// A Gate counts flows that come early as it counts others.
func TestFLD_004_006_FastOpenThroughAGate(t *testing.T) {
	k := fastKit(t, Config{})
	require.NoError(t, k.e.SetGate(wire.Addr{}, 80, Gate{HalfOpen: 4, Backlog: 1, Defer: time.Second}))
	k.play("S tfo=good | SA seq=0 ack=1 !tfo | SYN-RECEIVED\n A seq=1 ack=1 | - | SYN-RECEIVED") // no text to go by
	k.tup.RemotePort++
	k.play(fastOpened)
	c := k.e.Counters()
	require.EqualValues(t, 1, c.Queued)
	require.EqualValues(t, 1, c.HalfOpen)
	k.tup.RemotePort++
	k.play("S tfo=good len=9 | - | CLOSED")
	require.EqualValues(t, 1, k.e.Counters().Outcome[DropQueueFull])
	require.True(t, k.e.Take(k.flow))
	k.play("S tfo=good len=9 | SA ack=10 | SYN-RECEIVED | established fast, data 0+9\n R seq=10 | - | CLOSED | closed: reset")
	require.Zero(t, k.e.Counters().Queued)
}

// The oldest half-open gives way to others, a flow that an application has does not.
func TestFLD_002_EvictionPassesOverHandedOver(t *testing.T) {
	k := fastKit(t, Config{MaxFlows: 3, MaxHalfOpen: 2, Cookies: CookiesNever, Flood: FloodConfig{EvictOldest: true}})
	k.play(fastOpened)
	flow := k.flow
	for range 4 {
		k.tup.RemotePort++
		k.play("S | SA | SYN-RECEIVED")
	}
	require.Equal(t, SynRcvd, k.e.State(flow))
	require.EqualValues(t, 2, k.e.Counters().HalfOpenEvicted)
}

// A listener that ends leaves its early flows alone, and its places to the next one.
func TestLSN_023_FastOpenListenerEnds(t *testing.T) {
	k := fastKit(t, Config{})
	k.play(fastOpened)
	require.NoError(t, k.e.Unlisten(wire.Addr{}, 80))
	k.play("A seq=101 ack=1 len=5 | A ack=106 | ESTABLISHED | confirmed, data 0+5")
	for range 3 {
		require.NoError(t, k.e.Listen(wire.Addr{}, 80, 7, false))
		k.tup.RemotePort++
		k.play("S tfo=good len=9 | SA seq=0 ack=1 !tfo | SYN-RECEIVED\n R seq=1 | - | CLOSED") // off by default
		require.NoError(t, k.e.FastOpen(wire.Addr{}, 80, 16))
		k.tup.RemotePort++
		k.play(fastOpened)
		require.NoError(t, k.e.Unlisten(wire.Addr{}, 80))
	}
	require.Len(t, k.e.fast.queues, 2)
	require.Len(t, k.e.fast.slots, 17)
	require.Equal(t, 3, k.e.fast.pending)
}
