package handshake

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

func gatedKit(t *testing.T, cfg Config, g Gate) *kit {
	t.Helper()
	k := newKit(t, cfg)
	require.NoError(t, k.e.SetGate(wire.Addr{}, 80, g))
	return k
}

// peer goes to another source port, whose handshake has not begun.
func (k *kit) peer(port uint16) {
	k.tup.RemotePort = port
	k.iss, k.tsFirst, k.tsLast = 0, 0, 0
}

func TestSetGate(t *testing.T) {
	k := newKit(t, Config{})
	require.Error(t, k.e.SetGate(wire.Addr{}, 443, Gate{Backlog: 1}))
	require.Error(t, k.e.SetGate(our4, 80, Gate{Backlog: 1}), "80 is listened on at any address")
	require.NoError(t, k.e.SetGate(our4, 81, Gate{Backlog: 1}))
	require.NoError(t, k.e.SetGate(wire.Addr4(0), 80, Gate{Backlog: 1}))
	for _, bad := range []Gate{{HalfOpen: -1}, {Backlog: -1}, {Defer: -1}, {Defer: 2 * time.Hour}} {
		require.Error(t, k.e.SetGate(wire.Addr{}, 80, bad))
	}
	// Deferral in time-outs: 1, 3, 7, 15 s as in Linux.
	for d, n := range map[time.Duration]uint8{0: 0, 1: 1, time.Second: 1, time.Second + 1: 2, 3 * time.Second: 2, 7 * time.Second: 3, 10 * time.Second: 4} {
		require.Equal(t, n, k.e.holdOf(d), "%v", d)
	}
}

func TestFLD_001_BoundPerListener(t *testing.T) {
	for _, policy := range []CookiePolicy{CookiesNever, CookiesPressure} {
		k := gatedKit(t, Config{Cookies: policy}, Gate{HalfOpen: 2})
		open := func(port uint16, lport string) string {
			k.peer(port)
			out := k.inject([]wire.Segment{k.parse("", "S mss=1460 "+lport)})
			if out[0].Path == 1 {
				return "dropped"
			}
			k.tup.LocalPort = out[0].LocalPort
			defer func() { k.tup.LocalPort = 80 }()
			return k.state()
		}
		full := "dropped"
		if policy != CookiesNever {
			full = "CLOSED" // a cookie (CKI-015)
		}
		require.Equal(t, "SYN-RECEIVED", open(40000, ""))
		require.Equal(t, "SYN-RECEIVED", open(40001, ""))
		require.Equal(t, full, open(40002, ""))
		require.Equal(t, "SYN-RECEIVED", open(40003, "lport=81"), "another listener has its own")
		// Each way out of SYN-RECEIVED gives the place back: ACK, RST, time-out.
		k.peer(40000)
		k.play("S mss=1460 | SA")
		k.play("A seq=1 ack=1 | - | ESTABLISHED | established")
		require.Equal(t, "SYN-RECEIVED", open(40004, ""))
		require.Equal(t, full, open(40005, ""))
		k.peer(40004)
		k.play("R seq=1 | - | CLOSED")
		require.Equal(t, "SYN-RECEIVED", open(40006, ""))
		require.Equal(t, full, open(40007, ""))
		for range 10 {
			k.advance(10 * time.Second)
		}
		k.drain()
		require.Zero(t, k.e.Counters().HalfOpen)
		require.Equal(t, "SYN-RECEIVED", open(40008, ""))
		require.Equal(t, "SYN-RECEIVED", open(40009, ""))
		require.Equal(t, full, open(40010, ""))
	}
}

func TestFLD_004_BacklogFullSYNIsSilent(t *testing.T) {
	for _, policy := range []CookiePolicy{CookiesNever, CookiesAlways, CookiesPressure} {
		k := gatedKit(t, Config{Cookies: policy}, Gate{Backlog: 2})
		first := FlowID{}
		for i := range uint16(2) {
			k.peer(40000 + i)
			k.play("S mss=1460 | SA\nA seq=1 ack=1 | - | ESTABLISHED | established")
			require.EqualValues(t, 7, k.events[0].App)
			if i == 0 {
				first = k.flow
			}
		}
		require.EqualValues(t, 2, k.e.Counters().Queued)
		k.peer(50000)
		k.play("S mss=1460 | - | CLOSED")
		require.EqualValues(t, 1, k.e.Counters().Outcome[DropQueueFull])
		require.EqualValues(t, 1, k.e.Counters().SynDropped)
		// Another listener is not concerned.
		k.play("S mss=1460 lport=81 | SA")
		// The application takes one: there is room again, once.
		require.True(t, k.e.Take(first))
		require.False(t, k.e.Take(first), "taken already")
		require.False(t, k.e.Take(FlowID{}))
		require.EqualValues(t, 1, k.e.Counters().Queued)
		k.play("S mss=1460 | SA\nA seq=1 ack=1 | - | ESTABLISHED | established")
		k.peer(50001)
		k.play("S mss=1460 | - | CLOSED")
		// A flow that ends leaves the queue, and its events have the right application.
		k.peer(50000)
		k.iss = k.info.ISS
		k.play("R seq=1 | - | CLOSED | closed: reset")
		require.EqualValues(t, 7, k.events[0].App)
		require.EqualValues(t, 1, k.e.Counters().Queued)
		k.peer(50001)
		k.play("S mss=1460 | SA")
		// One that was taken does not count when it ends.
		k.peer(40000)
		k.e.Abort(first)
		k.e.EndBurst()
		k.drain()
		require.EqualValues(t, 1, k.e.Counters().Queued)
	}
}

func TestFLD_005_BacklogFullAtFinalACK(t *testing.T) {
	// Two half-opens, room for one flow.
	setup := func(t *testing.T, g Gate) (*kit, FlowID, wire.Seq) {
		g.Backlog = 1
		k := gatedKit(t, Config{}, g)
		k.peer(40001)
		k.play("S mss=1460 | SA")
		iss := k.iss
		k.peer(40000)
		k.play("S mss=1460 | SA\nA seq=1 ack=1 | - | ESTABLISHED | established")
		first := k.flow
		k.peer(40001)
		k.iss = iss
		return k, first, iss
	}
	t.Run("it stays, the timer goes on, a later ACK completes", func(t *testing.T) {
		k, first, _ := setup(t, Gate{})
		k.play(`
			+300ms                | - | SYN-RECEIVED
			PA seq=1 ack=1 len=5  | - | SYN-RECEIVED    # the text is not acknowledged
			+700ms                | - | SYN-RECEIVED
			+1ms                  | SA seq=0 ack=1 | SYN-RECEIVED
			A seq=1 ack=1         | - | SYN-RECEIVED
			+2001ms                   | SA seq=0 ack=1 | SYN-RECEIVED
		`)
		require.EqualValues(t, 2, k.e.Counters().Outcome[DropQueueFullACK])
		require.True(t, k.e.Take(first))
		k.play("PA seq=1 ack=1 len=5 | A seq=1 ack=6 | ESTABLISHED | established, data 0+5")
		require.True(t, k.info.Retrans)
		require.Zero(t, k.info.RTT)
		require.EqualValues(t, 7, k.events[0].App)
	})
	t.Run("abort", func(t *testing.T) {
		k, _, _ := setup(t, Gate{AbortOnOverflow: true})
		k.play("A seq=1 ack=1 | R seq=1 | CLOSED")
		c := k.e.Counters()
		require.EqualValues(t, 1, c.HalfOpenOverflow)
		require.Zero(t, c.HalfOpen)
		k.play("+100s | - | CLOSED")
	})
	t.Run("it ends by its timer", func(t *testing.T) {
		k, _, _ := setup(t, Gate{})
		k.play("A seq=1 ack=1 | - | SYN-RECEIVED")
		k.play("+1001ms | SA\n+2001ms | SA\n+4001ms | SA\n+8001ms | SA\n+16001ms | SA\n+32001ms | - | CLOSED")
		require.EqualValues(t, 1, k.e.Counters().HalfOpenTimedOut)
	})
}

func TestCKI_022_BacklogFull(t *testing.T) {
	k := gatedKit(t, Config{Cookies: always}, Gate{Backlog: 1, AbortOnOverflow: true})
	k.peer(40001)
	k.play(cookieOut)
	iss := k.iss
	k.peer(40000)
	k.play(cookieOut + "A seq=1 ack=1 | - | ESTABLISHED | established")
	first := k.flow
	k.peer(40001)
	k.iss = iss
	k.play("A seq=1 ack=1 | - | CLOSED") // silent, never a reset (M)
	c := k.e.Counters()
	require.EqualValues(t, 1, c.Outcome[DropQueueFullACK])
	require.EqualValues(t, 1, c.CookieNoRoom)
	require.True(t, k.e.Take(first))
	k.play("A seq=1 ack=1 | - | ESTABLISHED | established")
	require.EqualValues(t, 7, k.events[0].App)
	require.EqualValues(t, 1, k.e.Counters().Queued)
}

func TestFLD_006_DeferredAccept(t *testing.T) {
	three := Gate{Defer: 3 * time.Second} // two time-outs
	t.Run("text completes", func(t *testing.T) {
		eachFamily(t, Config{}, func(t *testing.T, k *kit) {
			require.NoError(t, k.e.SetGate(wire.Addr{}, 80, three))
			k.play(`
				S mss=1460 ts=5      | SA seq=0 ack=1 | SYN-RECEIVED
				A seq=1 ack=1 ts=6   | - | SYN-RECEIVED
				A seq=1 ack=1 ts=6   | - | SYN-RECEIVED
				+900ms               | - | SYN-RECEIVED
				PA seq=1 ack=1 ts=7 len=9 | A seq=1 ack=10 | ESTABLISHED | established, data 0+9
			`)
			c := k.e.Counters()
			require.EqualValues(t, 2, c.Outcome[DropDeferred])
			require.Zero(t, k.info.RTT, "the text came when it pleased the application")
			require.False(t, k.info.Retrans)
			require.EqualValues(t, 7, k.events[0].App)
			require.Zero(t, c.Queued)
		})
	})
	t.Run("so does a FIN", func(t *testing.T) {
		k := gatedKit(t, Config{}, three)
		k.play("S mss=1460 | SA\nA seq=1 ack=1 | - | SYN-RECEIVED\nFA seq=1 ack=1 | A ack=2 | CLOSE-WAIT | established, peer closed")
	})
	t.Run("text without a bare ACK before", func(t *testing.T) {
		k := gatedKit(t, Config{}, three)
		k.play("S mss=1460 | SA\nPA seq=1 ack=1 len=3 | A ack=4 | ESTABLISHED | established, data 0+3")
		require.NotZero(t, k.e.Counters().Accepted)
	})
	t.Run("at the end the SYN-ACK is resent and its ACK completes", func(t *testing.T) {
		k := gatedKit(t, Config{}, Gate{Defer: 7 * time.Second}) // three time-outs
		k.play(`
			S mss=1460     | SA | SYN-RECEIVED
			A seq=1 ack=1  | - | SYN-RECEIVED
			+1001ms        | - | SYN-RECEIVED     # the first two are passed over
			+2001ms            | - | SYN-RECEIVED
			A seq=1 ack=1  | - | SYN-RECEIVED
			+4001ms            | SA seq=0 ack=1 | SYN-RECEIVED
			A seq=1 ack=1  | - | ESTABLISHED | established
		`)
		require.EqualValues(t, 2, k.e.Counters().SynAckHeld)
		require.EqualValues(t, 1, k.e.Counters().SynAckRetrans)
	})
	t.Run("nobody answers any more", func(t *testing.T) {
		k := gatedKit(t, Config{SYNACKRetries: 2}, Gate{Defer: 15 * time.Second}) // four: longer than the retries
		k.play("S mss=1460 | SA\nA seq=1 ack=1 | - | SYN-RECEIVED\n+1001ms | -\n+2001ms | -\n+4001ms | -\n+8001ms | SA\n+16001ms | - | CLOSED")
		require.EqualValues(t, 1, k.e.Counters().HalfOpenTimedOut)
		k = gatedKit(t, Config{SYNACKRetries: 2}, Gate{Defer: 15 * time.Second}) // without an ACK it is as ever
		k.play("S mss=1460 | SA\n+1001ms | SA\n+2001ms | SA\n+4001ms | - | CLOSED")
	})
	t.Run("a bad ACK is answered as ever", func(t *testing.T) {
		k := gatedKit(t, Config{}, three)
		k.play("S mss=1460 | SA\nA seq=1 ack=2 | R seq=2 | SYN-RECEIVED\nA seq=1 ack=1 | - | SYN-RECEIVED\nR seq=1 | - | CLOSED")
	})
	t.Run("a cookie is not deferred", func(t *testing.T) {
		k := gatedKit(t, Config{Cookies: always}, three)
		k.play(cookieOut + "A seq=1 ack=1 | - | ESTABLISHED | established")
	})
}

// The gate of a listener can change while half-opens and flows of it are there.
func TestGateChangesUnderway(t *testing.T) {
	k := gatedKit(t, Config{}, Gate{Backlog: 1})
	k.play("S mss=1460 | SA\nA seq=1 ack=1 | - | ESTABLISHED | established")
	queued := k.flow
	k.peer(40001)
	require.NoError(t, k.e.SetGate(wire.Addr{}, 80, Gate{}))
	k.play("S mss=1460 | SA | SYN-RECEIVED") // from now on nothing is counted
	require.NoError(t, k.e.SetGate(wire.Addr{}, 80, Gate{Backlog: 1, HalfOpen: 1}))
	require.EqualValues(t, 1, k.e.Counters().Queued, "who is queued stays so")
	k.play("A seq=1 ack=1 | - | ESTABLISHED | established") // it was let in without a gate
	require.EqualValues(t, 1, k.e.Counters().Queued)
	require.False(t, k.e.Take(k.flow))
	require.True(t, k.e.Take(queued))
	k.peer(40002)
	k.play("S mss=1460 | SA | SYN-RECEIVED")
	require.NoError(t, k.e.SetGate(wire.Addr{}, 80, Gate{}))
	k.play("A seq=1 ack=1 | - | ESTABLISHED | established") // gated, but the bound is gone
	require.Zero(t, k.e.Counters().Queued)
	for i := range k.e.listeners.all {
		require.Zero(t, k.e.listeners.all[i].halfOpen)
	}
	// An active flow with a soft error shares a bit with gates: its application is its own.
	k = newKit(t, Config{})
	k.play("connect | S\nicmp soft seq=0 | - | SYN-SENT\nSA seq=0 ack=1 | A | ESTABLISHED | established")
	require.EqualValues(t, 3, k.events[0].App)
	require.False(t, k.e.Take(k.flow))
	k.play("R seq=1 | - | CLOSED | closed: reset")
	require.EqualValues(t, 3, k.events[0].App)
}

// An exact listener that comes later does not take over the counts of the one
// for any address.
func TestGateBehindAnother(t *testing.T) {
	k := gatedKit(t, Config{}, Gate{Backlog: 1, HalfOpen: 3})
	k.peer(40001)
	k.play("S mss=1460 | SA | SYN-RECEIVED")
	iss := k.iss
	k.peer(40000)
	k.play("S mss=1460 | SA\nA seq=1 ack=1 | - | ESTABLISHED | established")
	queued := k.flow
	k.peer(40001)
	k.iss = iss
	require.NoError(t, k.e.Listen(our4, 80, 9, false))
	require.NoError(t, k.e.SetGate(our4, 80, Gate{Backlog: 1, HalfOpen: 3}))
	any, exact := &k.e.listeners.all[1], &k.e.listeners.all[len(k.e.listeners.all)-1]
	require.Equal(t, []int{1, 1, 0, 0}, []int{any.halfOpen, any.queued, exact.halfOpen, exact.queued})
	k.play("A seq=1 ack=1 | - | SYN-RECEIVED") // its own queue is full, not that of the new one
	require.True(t, k.e.Take(queued))
	k.play("A seq=1 ack=1 | - | ESTABLISHED | established")
	require.EqualValues(t, 7, k.events[0].App)
	k.play("R seq=1 | - | CLOSED | closed: reset")
	k.peer(40002)
	k.play("S mss=1460 | SA | SYN-RECEIVED")
	require.Equal(t, []int{0, 0, 1, 0}, []int{any.halfOpen, any.queued, exact.halfOpen, exact.queued})
	// One whose listener is gone is let in, and its end concerns nobody.
	exact.app = 99
	k.play("A seq=1 ack=1 | - | ESTABLISHED | established\nR seq=1 | - | CLOSED | closed: reset")
	require.Equal(t, []int{1, 0}, []int{exact.halfOpen, exact.queued}, "as if it never knew")
}
