package handshake

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

const (
	cookieOut   = "S mss=1460 | SA seq=0 ack=1 | CLOSED\n"
	cookieOutTS = "S mss=1460 ts=1000 ws=7 sack | SA seq=0 ack=1 ts ecr=1000 ws=3 sack | CLOSED\n"
	always      = CookiesAlways
)

func TestCKI_003_Lifetime(t *testing.T) {
	for _, form := range []string{"S mss=1460", "S mss=1460 ts=1"} {
		ok := 0
		for s := range 140 {
			k := newKit(t, Config{Cookies: always, CookieFleet: true})
			k.now += int64(s) * 7e8 // anywhere in an epoch
			k.ring.Advance(time.Unix(0, k.now))
			k.play(form + " | SA seq=0 ack=1 | CLOSED")
			k.advance(time.Duration(s) * time.Second)
			segs := k.inject([]wire.Segment{k.parse("", "A seq=1 ack=1"+form[len("S mss=1460"):])})
			done := segs[0].Path == 1
			require.True(t, done || s >= 60, "%s: refused after %d s", form, s)
			require.False(t, done && s > 120, "%s: accepted after %d s", form, s)
			ok += b2i(done)
		}
		require.Greater(t, ok, 60)
	}
}

func TestCKI_005_SmallMSS(t *testing.T) {
	k := newKit(t, Config{Cookies: always})
	k.play(`
		S mss=215  | - | CLOSED
		S mss=216  | SA seq=0 ack=1 | CLOSED
		A seq=1 ack=1 | - | ESTABLISHED | established
	`)
	require.EqualValues(t, 216, k.info.MSS)
	require.EqualValues(t, 1, k.e.Counters().Outcome[DropMSS])
	// Never more than the peer said.
	for _, c := range []struct {
		syn string
		mss uint16
	}{{"S", 536}, {"S mss=0", 536}, {"S mss=537", 536}, {"S mss=1459", 1440}, {"S mss=9000", 1460}} {
		k := newKit(t, Config{Cookies: always})
		k.play(c.syn + " | SA\nA seq=1 ack=1 | - | ESTABLISHED | established")
		require.Equal(t, c.mss, k.info.MSS, c.syn)
	}
}

func TestCKI_008_WithoutTimestamps(t *testing.T) {
	eachFamily(t, Config{Cookies: always}, func(t *testing.T, k *kit) {
		// Form N carries the shift and SACK, rounded down.
		k.play("S mss=1440 ws=9 sack | SA ws=3 sack !ts | CLOSED\nA seq=1 ack=1 win=10 | - | ESTABLISHED | established")
		require.True(t, k.info.Cookie && k.info.WScale && k.info.SACK && !k.info.Timestamps)
		require.EqualValues(t, 8, k.info.SndShift)
		require.EqualValues(t, 10<<8, k.info.SndWnd)
		require.Zero(t, k.info.RTT)
		require.Equal(t, k.iss, k.info.ISS)
		require.Equal(t, k.irs, k.info.IRS)
	})
}

func TestCKI_008_WithTimestamps(t *testing.T) {
	eachFamily(t, Config{Cookies: always}, func(t *testing.T, k *kit) {
		k.play(cookieOutTS + `
			+40ms |
			PA seq=1 ack=1 len=9 ts=1040 win=10 | A seq=1 ack=10 ts ecr=1040 win=32768 | ESTABLISHED | established, data 0+9
		`)
		require.True(t, k.info.Cookie && k.info.WScale && k.info.SACK && k.info.Timestamps)
		require.EqualValues(t, 7, k.info.SndShift)
		require.GreaterOrEqual(t, k.info.RTT, 40*time.Millisecond)
		require.Less(t, k.info.RTT, 104*time.Millisecond) // CKI-020
	})
}

func TestCKI_009_AlteredBits(t *testing.T) {
	for bit := range 6 { // the time above these bits is checked, but not authenticated
		k := newKit(t, Config{Cookies: always})
		k.play(cookieOutTS)
		s := k.parse("", "A seq=1 ack=1 ts=1001")
		s.Opt.TSEcr ^= 1 << bit
		require.Equal(t, wire.FlagRST, k.inject([]wire.Segment{s})[0].Flags, "TSecr bit %d", bit)
	}
	for bit := range 32 {
		k := newKit(t, Config{Cookies: always})
		k.play(cookieOut)
		s := k.parse("", "A seq=1 ack=1")
		s.Ack ^= 1 << bit
		require.Equal(t, wire.FlagRST, k.inject([]wire.Segment{s})[0].Flags, "ack bit %d", bit)
	}
	// Timestamps on the ACK of a cookie without them, and the other way round (CKI-011).
	newKit(t, Config{Cookies: always}).play(cookieOut + "A seq=1 ack=1 ts=5 | R seq=1 | CLOSED")
	newKit(t, Config{Cookies: always}).play(cookieOutTS + "A seq=1 ack=1 | R seq=1 | CLOSED")
	// Another sequence number (CKI-010), another peer.
	newKit(t, Config{Cookies: always}).play(cookieOut + `
		A seq=2 ack=1 | R seq=1 | CLOSED
		A seq=0 ack=1 | R seq=1 | CLOSED
		A seq=4 ack=1 | R seq=1 | CLOSED
		A seq=1 ack=1 rport=40001 | R seq=1 | CLOSED
		A seq=1 ack=1 | - | ESTABLISHED | established
	`)
}

func TestCKI_012_WhichSegmentsAreChecked(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{"A seq=1 ack=1", "- | ESTABLISHED | established"},
		{"PA seq=1 ack=1", "- | ESTABLISHED | established"},
		{"AUEC seq=1 ack=1", "- | ESTABLISHED | established"},
		{"FA seq=1 ack=1", "A seq=1 ack=2 | CLOSE-WAIT | established, peer closed"},
		{"SA seq=1 ack=1", "R seq=1 | CLOSED"},
		{"SA seq=0 ack=1", "R seq=1 | CLOSED"},
		{"RA seq=1 ack=1", "- | CLOSED"},
		{"R seq=1", "- | CLOSED"},
		{"F seq=1", "- | CLOSED"},
	} {
		t.Run(c.in, func(t *testing.T) {
			newKit(t, Config{Cookies: always}).play(cookieOut + c.in + " | " + c.out)
		})
	}
}

func TestCKI_013_FailedCheck(t *testing.T) {
	k := newKit(t, Config{Cookies: always})
	k.play(cookieOut + "A seq=1 ack=12345 | R seq=12345 | CLOSED")
	require.EqualValues(t, 1, k.e.Counters().CookiesBad)
}

func TestCKI_014_Stateless(t *testing.T) {
	k := newKit(t, Config{Cookies: always, MaxFlows: 1})
	for range 300 {
		k.play(cookieOutTS)
		k.tup.RemotePort++
	}
	c := k.e.Counters()
	require.Zero(t, c.Flows+c.HalfOpen)
	require.EqualValues(t, 300, c.Cookies)
	require.EqualValues(t, 1, k.e.fresh, "no record was ever made")
	k.play("+100s | - | CLOSED")
	// The same SYN twice gets the same ISS twice within an epoch, also in one burst.
	k = newKit(t, Config{Cookies: always})
	k.play("S mss=1460 & S mss=1460 | SA seq=0 ack=1 & SA seq=0 ack=1 | CLOSED")
}

func TestCKI_015_Modes(t *testing.T) {
	flood := func(k *kit, n int) (answers int) {
		for range n {
			k.tup.RemotePort++
			segs := k.inject([]wire.Segment{k.parse("", "S mss=1460")})
			answers += b2i(segs[0].Path != 1)
		}
		return answers
	}
	t.Run("never", func(t *testing.T) { // FLD-002
		k := newKit(t, Config{Cookies: CookiesNever, MaxFlows: 64, MaxHalfOpen: 16})
		require.Equal(t, 16, flood(k, 100))
		c := k.e.Counters()
		require.EqualValues(t, 84, c.Outcome[DropTableFull])
		require.EqualValues(t, 16, c.HalfOpen)
		require.Zero(t, c.Cookies)
	})
	t.Run("always", func(t *testing.T) {
		k := newKit(t, Config{Cookies: always})
		require.Equal(t, 100, flood(k, 100))
		require.EqualValues(t, 100, k.e.Counters().Cookies)
	})
	t.Run("pressure", func(t *testing.T) {
		k := newKit(t, Config{MaxFlows: 64, MaxHalfOpen: 32, HighMark: 16, LowMark: 4, SYNACKRetries: -1})
		require.Equal(t, 100, flood(k, 100))
		c := k.e.Counters()
		require.EqualValues(t, 16, c.HalfOpen)
		require.EqualValues(t, 84, c.Cookies)
		require.EqualValues(t, 1, c.CookieModeEntered)
		// A half-open from before goes on as it was.
		k.tup.RemotePort = 40001
		k.play("S mss=1460 | SA | SYN-RECEIVED\nA seq=1 ack=1 | - | ESTABLISHED | established")
		require.False(t, k.info.Cookie)
		// Below the low mark, but the minimum stay is not over.
		for i := uint32(2); i <= 12; i++ {
			r := &k.e.recs[i]
			k.tup.RemotePort, k.irs, k.iss = r.remotePort, r.rcvNxt-1, r.sndUna
			k.play("R seq=1 | - | CLOSED")
		}
		require.EqualValues(t, 4, k.e.Counters().HalfOpen)
		k.tup.RemotePort = 50000
		k.play("+999ms |\nS mss=1460 | SA | CLOSED")
		k.play("+1ms |\nS mss=1460 | SA | SYN-RECEIVED")
		require.EqualValues(t, 1, k.e.Counters().CookieModeEntered)
		require.Equal(t, 11, int(k.e.Counters().HalfOpen)-5+flood(k, 50)-50+11)
		require.EqualValues(t, 2, k.e.Counters().CookieModeEntered)
		require.EqualValues(t, 16, k.e.Counters().HalfOpen)
	})
	t.Run("pressure stays above the low mark", func(t *testing.T) {
		k := newKit(t, Config{MaxFlows: 64, MaxHalfOpen: 32, HighMark: 16, LowMark: 4, SYNACKRetries: 5})
		require.Equal(t, 16, flood(k, 16))
		require.Zero(t, k.e.Counters().UnderPressure)
		require.Equal(t, 1, flood(k, 1)) // the mode is decided by SYNs: this one enters it
		require.EqualValues(t, 1, k.e.Counters().UnderPressure)
		k.play("+10s | -") // and while it is on, SYN-ACKs are not repeated
		require.EqualValues(t, 16, k.e.Counters().SynAckHeld)
		require.Equal(t, 10, flood(k, 10))
		require.EqualValues(t, 11, k.e.Counters().Cookies)
		for i := uint32(1); i <= 11; i++ { // between the marks it stays on
			r := &k.e.recs[i]
			k.tup.RemotePort, k.irs, k.iss = r.remotePort, r.rcvNxt-1, r.sndUna
			k.play("R seq=1 | - | CLOSED")
		}
		k.tup.RemotePort = 50000
		k.play("S mss=1460 | SA | CLOSED")
		require.EqualValues(t, 5, k.e.Counters().HalfOpen)
	})
	t.Run("pressure with a full flow table", func(t *testing.T) { // FLD-002
		k := newKit(t, Config{MaxFlows: 4, MaxHalfOpen: 4, HighMark: 4, LowMark: 4})
		for range 4 {
			k.play(opened)
			k.tup.RemotePort++
		}
		k.play("S mss=1460 | SA seq=0 ack=1 | CLOSED")
		require.EqualValues(t, 1, k.e.Counters().Cookies)
		require.EqualValues(t, 4, k.e.Counters().EstablishedNow, "an ACKed entry is never evicted")
	})
}

func TestCKI_016_OnlyWhileCookiesAreOut(t *testing.T) {
	k := newKit(t, Config{})
	k.play("A seq=1 ack=1 | R seq=1 | CLOSED")
	require.Zero(t, k.e.Counters().CookiesBad, "quiet: not even looked at")
	k = newKit(t, Config{Cookies: CookiesNever, CookieFleet: true})
	k.play("A seq=1 ack=1 | R seq=1 | CLOSED")
	require.Zero(t, k.e.Counters().CookiesBad)
	k = newKit(t, Config{CookieFleet: true})
	k.play("A seq=1 ack=1 | R seq=1 | CLOSED")
	require.EqualValues(t, 1, k.e.Counters().CookiesBad, "another node may have sent it")

	k = newKit(t, Config{Cookies: always, CookieLife: 30e9})
	k.play(cookieOut + "+29999ms |\nA seq=1 ack=2 | R\n+1ms |\nA seq=1 ack=1 | R seq=1 | CLOSED")
	require.EqualValues(t, 1, k.e.Counters().CookiesBad)
}

func TestCKI_018_AnotherNode(t *testing.T) {
	a := newKit(t, Config{Cookies: always})
	a.play(cookieOutTS)
	b := newKit(t, Config{CookieFleet: true})
	b.iss, b.tsLast = a.iss, a.tsLast
	b.play("+30ms |\nA seq=1 ack=1 ts=1001 | - | ESTABLISHED | established")
	require.Equal(t, a.iss, b.info.ISS)
}

func TestCKI_022_NoRoom(t *testing.T) {
	k := newKit(t, Config{Cookies: always, MaxFlows: 1})
	k.play(cookieOut)
	iss := k.iss
	k.tup.RemotePort++
	k.play(cookieOut + "A seq=1 ack=1 | - | ESTABLISHED | established")
	k.tup.RemotePort--
	k.iss = iss
	k.play("A seq=1 ack=1 | - | CLOSED")
	c := k.e.Counters()
	require.EqualValues(t, 1, c.CookieNoRoom)
	require.EqualValues(t, 1, c.Outcome[DropFlowsFull])
	k.tup.RemotePort++
	k.e.Abort(k.flow)
	k.e.EndBurst()
	k.drain()
	k.tup.RemotePort--
	k.iss = iss
	k.play("A seq=1 ack=1 | - | ESTABLISHED | established")
}

// What can happen around a cookie ACK within one burst.
func TestCookieBursts(t *testing.T) {
	newKit(t, Config{Cookies: always}).play(cookieOut + `
		A seq=1 ack=1 & A seq=1 ack=1          | - & - | ESTABLISHED | established
	`)
	newKit(t, Config{Cookies: always}).play(cookieOut + `
		A seq=1 ack=1 & PA seq=1 ack=1 len=4   | - & A seq=1 ack=5 | ESTABLISHED | established, data 0+4
	`)
	newKit(t, Config{Cookies: always}).play(cookieOut + `
		A seq=1 ack=1 & R seq=1                | - & - | CLOSED | established, closed: reset
	`)
	newKit(t, Config{Cookies: always}).play(cookieOut + `
		R seq=1 & A seq=1 ack=1                | - & - | ESTABLISHED | established
	`)
	newKit(t, Config{Cookies: always}).play(cookieOut + `
		S mss=1460 & A seq=1 ack=1 & S mss=1460 | SA seq=0 ack=1 & - & A seq=1 ack=1 | ESTABLISHED | established
	`)
	// 64 of everything.
	k := newKit(t, Config{Cookies: always, MaxFlows: 128})
	var segs []wire.Segment
	for i := range MaxBurst {
		segs = append(segs, k.parse("", "S mss=1460"))
		segs[i].RemotePort += uint16(i)
	}
	for i, s := range k.inject(segs) {
		segs[i] = k.parse("", "A seq=1")
		segs[i].RemotePort, segs[i].Ack = s.RemotePort, s.Seq+1
	}
	k.inject(segs)
	require.Len(t, k.e.Events(), MaxBurst)
	require.EqualValues(t, MaxBurst, k.e.Counters().Accepted)
	k.e.Handle(k.now, k.ring.Load(), nil, nil)
}
