package handshake

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

const rtt = 20 * time.Millisecond // of a duo, whose wire takes 10 ms; each side looks once per ms

// connect opens side 0 to side 1 and waits until both are up.
func (d *duo) connect(tb testing.TB) {
	tb.Helper()
	d.open(tb, 0)
	d.run(tb, 100*time.Millisecond)
	require.Equal(tb, [2]string{"established;", "established;"}, d.takeBoth())
	d.sent, d.by = 0, [2][]Time{}
}

// send has side i send n bytes.
func (d *duo) send(tb testing.TB, i, n int) {
	tb.Helper()
	k := d.k[i]
	k.now = d.now
	k.advance(0)
	require.True(tb, k.e.Send(k.flow, n, false))
}

// agree checks that the sides have one flow between them.
func (d *duo) agree(tb testing.TB, name string) {
	tb.Helper()
	for i, k := range d.k {
		require.Equal(tb, "ESTABLISHED", k.state(), "%s, side %d", name, i)
		require.EqualValues(tb, 1, k.e.Counters().EstablishedNow, "%s, side %d", name, i)
	}
	rec := func(k *kit) *record { return &k.e.recs[k.e.lookup(k.e.sumTuple(&k.tup).Hash, &k.tup)] }
	a, b := rec(d.k[0]), rec(d.k[1])
	require.Equal(tb, a.sndNxt, b.rcvNxt, name)
	require.Equal(tb, b.sndNxt, a.rcvNxt, name)
}

// The third ACK is lost: the server's SYN-ACK comes again, and the client's
// challenge ACK repairs the loss.
func TestSYN_003_LostThirdAck(t *testing.T) {
	for _, lost := range []int{1, 2} {
		d := newClientServer(t, Config{})
		acks := 0
		d.drop = func(n int) bool {
			if n < 3 || acks == lost || n%2 == 0 {
				return false
			}
			acks++
			return true
		}
		start := d.now
		d.open(t, 0)
		d.run(t, 20*time.Second)
		require.Equal(t, [2]string{"established;", "established;"}, d.takeBoth())
		d.agree(t, "")
		c := d.k[1].e.Counters()
		require.EqualValues(t, lost, c.SynAckRetrans)
		require.EqualValues(t, lost, d.k[0].e.Counters().Outcome[AnsweredChallenge])
		require.True(t, d.k[1].info.Retrans)
		// What the client echoes is the first SYN-ACK, which did arrive (RTX-006).
		require.Greater(t, d.k[1].info.RTT, time.Duration(1<<lost-1)*time.Second)
		at := time.Duration(d.by[0][len(d.by[0])-1] - start)
		require.Greater(t, at, time.Duration(1<<lost-1)*time.Second)
		require.Less(t, at, time.Duration(1<<lost-1)*time.Second+5*rtt)
	}
	// Text repairs it sooner.
	d := newClientServer(t, Config{})
	d.drop = func(n int) bool { return n == 3 }
	d.open(t, 0)
	d.run(t, 25*time.Millisecond)
	require.Equal(t, [2]string{"established;", ""}, d.takeBoth())
	d.send(t, 0, 10)
	d.run(t, 25*time.Millisecond)
	require.Equal(t, [2]string{"acked;", "established, data 0+10;"}, d.takeBoth())
	require.Zero(t, d.k[1].e.Counters().SynAckRetrans)
}

// RFC 9293 figure 9: an old duplicate SYN arrives before the new one.
func TestSYN_006_OldDuplicateSynFirst(t *testing.T) {
	d := newClientServer(t, Config{})
	old := wire.Segment{Tuple: d.k[0].tup, Seq: 90, Flags: wire.FlagSYN, Win: 1000}
	d.transmit(0, old)
	d.run(t, 5*time.Millisecond)
	d.drop = func(n int) bool { return n == 2 } // the new SYN of the figure is late: here it is lost and sent again
	d.open(t, 0)
	d.run(t, 500*time.Millisecond)
	require.Equal(t, [2]string{"established;", "established;"}, d.takeBoth(), "of the old one no one is told")
	d.agree(t, "")
	c := d.k[1].e.Counters()
	require.EqualValues(t, 2, c.SynAcks)
	require.EqualValues(t, 1, c.HalfOpenReset)
	require.EqualValues(t, 1, c.Accepted)
	require.EqualValues(t, 1, d.k[0].e.Counters().Outcome[AnsweredReset])
}

// This side lost its state; the peer's text meets a reset and the peer aborts.
func TestRST_015_TextToWhoForgot(t *testing.T) {
	for _, forgets := range []int{0, 1} {
		d := newClientServer(t, Config{})
		d.connect(t)
		d.restart(t, forgets, Config{}, 30)
		other := d.k[1-forgets]
		d.send(t, 1-forgets, 100)
		d.run(t, 60*time.Second)
		want := [2]string{}
		want[1-forgets] = "closed: reset;"
		require.Equal(t, want, d.takeBoth())
		require.Equal(t, 2, d.sent, "the text and the reset")
		require.EqualValues(t, 1, other.e.Counters().Reset)
		require.Zero(t, other.e.Counters().Flows)
	}
}

// The peer lost its state and opens again from the same port: its SYN is answered
// by a challenge ACK, its reset ends the old flow, and its next SYN opens the new one.
func TestRST_016_HalfOpenDiscovery(t *testing.T) {
	for _, cfg := range []Config{{}, {NoTimestamps: true}, {Cookies: CookiesAlways}} {
		name := fmt.Sprintf("timestamps %v, cookies %v", !cfg.NoTimestamps, cfg.Cookies)
		d := newClientServer(t, cfg)
		d.connect(t)
		d.now += 5e9
		d.restart(t, 0, cfg, 30)
		start := d.now
		d.open(t, 0)
		d.run(t, 10*time.Second)
		require.Equal(t, [2]string{"established;", "closed: reset;established;"}, d.takeBoth(), name)
		d.agree(t, name)
		at := time.Duration(d.by[0][len(d.by[0])-1] - start)
		require.LessOrEqual(t, at, 2*rtt+10*time.Millisecond, "%s: the SYN goes out again at once (ACT-003)", name)
		c := d.k[1].e.Counters()
		require.EqualValues(t, 1, c.Outcome[AnsweredChallenge], name)
		require.EqualValues(t, 1, c.Reset, name)
		require.EqualValues(t, 1, d.k[0].e.Counters().Outcome[AnsweredReset], name)

		// Without that help it takes the timer: 1 s + RTT.
		d = newClientServer(t, cfg)
		d.connect(t)
		d.now += 5e9
		d.restart(t, 0, cfg, 30)
		d.drop = func(n int) bool { return n == 4 } // SYN, ACK, RST, SYN
		start = d.now
		d.open(t, 0)
		d.run(t, 10*time.Second)
		require.Equal(t, [2]string{"established;", "closed: reset;established;"}, d.takeBoth(), name)
		d.agree(t, name)
		at = time.Duration(d.by[0][len(d.by[0])-1] - start)
		require.LessOrEqual(t, at, time.Second+rtt+10*time.Millisecond, name)
	}
}

// Whatever of the first six segments is lost, both end with one flow and the same numbers.
func TestRST_016_EveryLossPattern(t *testing.T) {
	// Six retries would do but for one pattern: a seventh SYN that is the first to arrive
	// finds the old flow, and no eighth comes to open the new one.
	for _, cfg := range []Config{{SYNRetries: 7}, {SYNRetries: 7, NoTimestamps: true}, {SYNRetries: 7, Cookies: CookiesAlways}} {
		for pattern := range 64 {
			d := newClientServer(t, cfg)
			d.connect(t)
			d.now += 5e9
			d.restart(t, 0, cfg, 30)
			d.drop = func(n int) bool { return n <= 6 && pattern>>(n-1)&1 != 0 }
			d.open(t, 0)
			d.run(t, 600*time.Second)
			name := fmt.Sprintf("pattern %06b, timestamps %v, cookies %v", pattern, !cfg.NoTimestamps, cfg.Cookies)
			ev := d.takeBoth()
			require.Equal(t, "established;", ev[0], name)
			if d.k[1].state() == "CLOSED" {
				// A cookie leaves nothing behind that could repeat the SYN-ACK for a third ACK
				// that was lost; the client's text will find that out.
				require.Equal(t, CookiesAlways, cfg.Cookies, name)
				require.Equal(t, "closed: reset;", ev[1], name)
				continue
			}
			require.Equal(t, "closed: reset;established;", ev[1], name)
			d.agree(t, name)
		}
	}
}

// The server forgets while the client is idle, then the client is opened to from the
// other side: both roles of a tuple meet their own past.
func TestRST_016_ServerForgets(t *testing.T) {
	d := newClientServer(t, Config{})
	d.connect(t)
	d.now += 5e9
	d.restart(t, 1, Config{}, 30)
	d.open(t, 1) // from its well-known port to the client's
	d.run(t, 10*time.Second)
	ev := d.takeBoth()
	// The client aborts its old flow and refuses the new one: it does not listen.
	require.Equal(t, [2]string{"closed: reset;", "closed: refused;"}, ev)
	require.Zero(t, d.k[0].e.Counters().Flows+d.k[1].e.Counters().Flows)
}

// The SYN of a client that restarted while its first open was half done is outside
// the window of the first, in all likelihood: the client's reset of the challenge ACK
// removes the half-open (LSN-010, LSN-011), and the SYN it sends again opens.
func TestLSN_010_RestartedClient(t *testing.T) {
	for seed := range byte(8) {
		d := newClientServer(t, Config{})
		d.drop = func(n int) bool { return n == 2 } // the SYN-ACK
		d.open(t, 0)
		d.run(t, 15*time.Millisecond)
		require.Equal(t, "SYN-RECEIVED", d.k[1].state())
		d.restart(t, 0, Config{}, seed)
		start := d.now
		d.open(t, 0)
		d.run(t, 30*time.Second)
		require.Equal(t, [2]string{"established;", "established;"}, d.takeBoth(), "seed %d", seed)
		d.agree(t, fmt.Sprint(seed))
		require.Less(t, time.Duration(d.by[0][len(d.by[0])-1]-start), time.Second)
		c := d.k[1].e.Counters()
		require.EqualValues(t, 1, c.HalfOpenReset)
		require.EqualValues(t, 1, c.Outcome[AnsweredChallenge])
		require.EqualValues(t, 2, c.SynAcks)
	}
}
