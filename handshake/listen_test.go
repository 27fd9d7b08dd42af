package handshake

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

func TestLSN_023_HalfOpensEndUntold(t *testing.T) {
	eachFamily(t, Config{}, func(t *testing.T, k *kit) {
		k.play(halfOpen)
		require.NoError(t, k.e.Unlisten(wire.Addr{}, 80))
		require.Empty(t, k.drain(), "no reset")
		c := k.e.Counters()
		require.EqualValues(t, 1, c.HalfOpenClosed)
		require.Zero(t, c.HalfOpen+c.Flows)
		k.play(`
			+100s            | - | CLOSED                    # no SYN-ACK timer either
			A seq=1 ack=1    | R seq=1 | CLOSED              # LSN-002
			S mss=1460       | RA rawseq=0 ack=1 | CLOSED    # LSN-001
		`)
		require.ErrorIs(t, k.e.Unlisten(wire.Addr{}, 80), ErrNoListener)
		require.NoError(t, k.e.Listen(wire.Addr{}, 80, 9, false))
		k.play(opened)
		require.EqualValues(t, 9, k.events[0].App)
	})
}

func TestLSN_023_FlowsLiveOn(t *testing.T) {
	k := newKit(t, Config{})
	k.play(opened)
	require.NoError(t, k.e.Unlisten(wire.Addr4(0), 80))
	k.play(`
		PA seq=1 ack=1 len=5   | A seq=1 ack=6 | ESTABLISHED | data 0+5
		abort                  | RA seq=1 ack=6 | CLOSED      # an owner who has gone with the listener
	`)
	// An attempt of our own from the same port is none of the listener's.
	k = newKit(t, Config{})
	k.play(crossed)
	require.NoError(t, k.e.Unlisten(wire.Addr{}, 80))
	k.play("A seq=1 ack=1 | - | ESTABLISHED | established")
	// TIME-WAIT answers a new SYN by an ACK once nobody listens.
	k = newKit(t, Config{})
	k.play(opened + toTimeWait + "+600ms |")
	require.NoError(t, k.e.Unlisten(wire.Addr{}, 80))
	k.play("S seq=3 | A seq=2 ack=2 | TIME-WAIT")
}

func TestLSN_023_Cookies(t *testing.T) {
	k := newKit(t, Config{Cookies: always})
	k.play(cookieOut)
	require.NoError(t, k.e.Unlisten(wire.Addr{}, 80))
	k.play("A seq=1 ack=1 | R seq=1 | CLOSED")
	require.Zero(t, k.e.Counters().Accepted)
}

func TestLSN_023_OtherListeners(t *testing.T) {
	// Port 81 is exact at our4 (app 8); any address of it gets app 9.
	k := newKit(t, Config{})
	require.NoError(t, k.e.Listen(wire.Addr{}, 81, 9, false))
	k.tup.LocalPort = 81
	k.play(halfOpen)
	exact, iss := k.tup, k.iss
	k.tup.Local = wire.Addr4(0xc0000203)
	k.play(halfOpen)
	require.NoError(t, k.e.Unlisten(our4, 81))
	k.play("A seq=1 ack=1 | - | ESTABLISHED | established")
	require.EqualValues(t, 9, k.events[0].App)
	k.tup, k.iss = exact, iss
	k.play("A seq=1 ack=1 | R seq=1 | CLOSED")
	// Now the other one answers for that address too.
	k.play(opened)
	require.EqualValues(t, 9, k.events[0].App)
	// The wildcard goes; nothing of the port is left.
	k.play("R seq=1 | - | CLOSED | closed: reset")
	require.NoError(t, k.e.Unlisten(wire.Addr{}, 81))
	k.play("S | RA rawseq=0 ack=1")
	require.NoError(t, k.e.Unlisten(our6, 81))
	require.ErrorIs(t, k.e.Unlisten(our6, 81), ErrNoListener)
}

// A large table is swept by and by, but no peer can tell.
func TestLSN_023_SweepInSteps(t *testing.T) {
	const n = 3*sweepStep + 100
	k := newKit(t, Config{MaxFlows: n + 10, MaxHalfOpen: n + 10, HighMark: n + 10, Cookies: CookiesNever})
	isn := make([]wire.Seq, n)
	open := func(i int) {
		k.tup.RemotePort, k.tup.LocalPort = uint16(1000+i), 80
		if i%4 == 3 {
			k.tup.LocalPort = 81
		}
		isn[i] = k.inject([]wire.Segment{k.parse("", "S mss=1460")})[0].Seq
	}
	for i := range n {
		open(i)
	}
	require.NoError(t, k.e.Unlisten(wire.Addr{}, 80))
	halfOpen := int(k.e.Counters().HalfOpen)
	require.Greater(t, halfOpen, n-sweepStep, "one step is not all")
	at := func(i int) { // the last one is far from being swept
		k.tup.RemotePort, k.tup.LocalPort, k.iss = uint16(1000+i), 80, isn[i]
		if i%4 == 3 {
			k.tup.LocalPort = 81
		}
	}
	at(n - 2)
	k.play("A seq=1 ack=1 | R seq=1 | CLOSED")
	at(n - 3)
	k.play("S mss=1460 | RA rawseq=0 ack=1 | CLOSED")
	at(n - 4)
	k.play("R seq=2 | - | CLOSED")
	// Who listens there from now on does not inherit either, in whatever order.
	require.NoError(t, k.e.Listen(wire.Addr{}, 80, 9, false))
	at(n - 6)
	require.Equal(t, 80, int(k.tup.LocalPort))
	k.play("A seq=1 ack=1 | R seq=1 | CLOSED\nS mss=1460 | SA seq=0 ack=1 | SYN-RECEIVED")
	for steps := 0; k.e.sweepAt != 0; steps++ {
		require.Less(t, steps, 4)
		k.advance(0)
	}
	c := k.e.Counters()
	require.EqualValues(t, n/4+1, c.HalfOpen, "those of port 81, and the new one")
	require.EqualValues(t, n-n/4, c.HalfOpenClosed)
	k.play("A seq=1 ack=1 | - | ESTABLISHED | established")
	at(n - 1)
	require.Equal(t, 81, int(k.tup.LocalPort))
	k.play("A seq=1 ack=1 | - | ESTABLISHED | established")
}

// Slots come back, so that listeners may come and go for ever.
func TestLSN_023_SlotsAreReused(t *testing.T) {
	k := newKit(t, Config{})
	for i := range 200_000 {
		port := uint16(1000 + i%7)
		require.NoError(t, k.e.Listen(wire.Addr{}, port, 1, false))
		require.NoError(t, k.e.Listen(our4, port, 1, false))
		require.NoError(t, k.e.Unlisten(wire.Addr{}, port))
		require.NoError(t, k.e.Unlisten(our4, port))
	}
	require.LessOrEqual(t, len(k.e.listeners.all), 8)
	for port := range k.e.listeners.byPort {
		if port != 80 && port != 81 {
			require.Zero(t, k.e.listeners.byPort[port])
		}
	}
}
