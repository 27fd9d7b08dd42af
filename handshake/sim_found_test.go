package handshake

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// What the simulation has found, each as the shortest script that shows it.

// Making room by the oldest TIME-WAIT hashes that record's tuple; the new flow
// must still get the ISN and the timestamps of its own.
func TestISN_001_TSP_008_ConnectInAFullTable(t *testing.T) {
	k := newKit(t, Config{MaxFlows: 1})
	k.play(`
		connect               | S
		SA seq=0 ack=1 ts=5   | A | ESTABLISHED | established
		close                 | FA
		FA seq=1 ack=2 ts=5   | A | TIME-WAIT | peer closed, closed: done
	`)
	k.tup.LocalPort++
	want := k.e.hasher.SumOne(&cookie.Tuple{
		RemoteHi: k.tup.Remote.Hi, RemoteLo: k.tup.Remote.Lo, LocalHi: k.tup.Local.Hi, LocalLo: k.tup.Local.Lo,
		RemotePort: k.tup.RemotePort, LocalPort: k.tup.LocalPort,
	})
	k.tsLast = 0
	k.play(`connect | S`)
	s := k.last[0]
	require.EqualValues(t, 1, k.e.Counters().TimeWaitRecycled)
	require.Equal(t, wire.Seq(cookie.ISN(want.ISN, k.now)), s.Seq)
	require.Equal(t, cookie.TSVal(want.TSOff, k.now), s.Opt.TSVal)
}

// A reply to text of a burst may go out before the application reads that the
// reply before it is acknowledged; it is not to be taken for that one.
func TestHND_002_ReplyBeforeTheAckOfTheLast(t *testing.T) {
	k := newKit(t, Config{})
	k.play(`
		S seq=0                 | SA
		PA seq=1 ack=1 len=5    | A ack=6 | ESTABLISHED | established, data 0+5
		send 100                | PA seq=1 len=100
	`)
	require.True(t, k.e.Sending(k.flow))
	k.inject([]wire.Segment{k.parse("", "PA seq=6 ack=1 len=7"), k.parse("", "A seq=13 ack=101")})
	evs := k.e.Events()
	require.Len(t, evs, 2)
	require.Equal(t, EventData, evs[0].Kind)
	require.False(t, k.e.Sending(k.flow))
	require.True(t, k.e.Send(k.flow, 50, false))
	require.Equal(t, EventAcked, evs[1].Kind)
	require.True(t, k.e.Sending(k.flow))
	k.e.EndBurst()
	k.drain()
	k.advance(1100 * time.Millisecond)
	out := k.drain()
	require.Len(t, out, 1)
	require.EqualValues(t, 50, out[0].Len)
	k.play(`A seq=13 ack=151 | - | ESTABLISHED | acked`)
	require.False(t, k.e.Sending(k.flow))
}

// The SYN-ACK that ends a simultaneous open is younger than the SYN before it.
func TestTSP_005_SIM_002_SynAckUpdatesTSRecent(t *testing.T) {
	newKit(t, Config{}).play(`
		connect                       | S
		S seq=0 ts=1000               | SA seq=0 ecr=1000       | SYN-RECEIVED
		SA seq=0 ack=1 ts=1007        | A seq=1 ack=1 ecr=1007  | ESTABLISHED | established
		PA seq=1 ack=1 len=5 ts=1006  | A seq=1 ack=1 ecr=1007  | ESTABLISHED
		PA seq=1 ack=1 len=5 ts=1007  | A seq=1 ack=6           | ESTABLISHED | data 0+5
	`)
}

// A flow that came early and was released knows no reader either: text behind the ACK
// that confirms it is reset.
func TestRST_014_TFO_009_ReleasedBeforeTheAck(t *testing.T) {
	k := fastKit(t, Config{})
	k.play(fastOpened + `
		release                    | FA seq=1 ack=101 | SYN-RECEIVED
		PA seq=101 ack=1 len=50    | R seq=1 | CLOSED | confirmed, closed: aborted
	`)
	c := k.e.Counters()
	require.Empty(t, c.Check())
	require.EqualValues(t, 1, c.Aborted)
	require.EqualValues(t, 1, c.FastOpen.Confirmed)
	require.EqualValues(t, 100, c.PayloadBytes)
	t.Run("RST-014 old text and a FIN are no new text", func(t *testing.T) {
		fastKit(t, Config{}).play(fastOpened + `
			release                | FA seq=1 ack=101 | SYN-RECEIVED
			FA seq=101 ack=2       | A seq=2 ack=102 | TIME-WAIT | confirmed, closed: done
		`)
	})
}

// Release after Close before the peer's ACK: the flow is alive, and its FIN went out once.
func TestRST_014_TFO_009_ReleaseAfterClose(t *testing.T) {
	k := fastKit(t, Config{})
	k.play(fastOpened + "close | FA seq=1 ack=101 | SYN-RECEIVED")
	require.True(t, k.e.Release(k.flow))
	require.Empty(t, k.e.Output())
	k.play("A seq=101 ack=2 len=50 | R seq=2 | CLOSED | confirmed, closed: aborted")
	require.False(t, k.e.Release(k.flow))
}

// SYNs with text have crossed, and only then a router says that ours was too long:
// the text still waits for the peer's ACK, and then fits.
func TestMTU_006_SIM_006_TooBigAfterTheCrossing(t *testing.T) {
	k := fastClient(t, Config{})
	k.learn()
	k.play(`
		connect 960              | S len=960 | SYN-SENT
		S seq=0 mss=1460         | SA seq=0 ack=1 len=0 | SYN-RECEIVED
		icmp mtu=800 seq=0       | - | SYN-RECEIVED
		SA seq=0 ack=1 mss=1460  | A seq=1 ack=1 & PA seq=1 ack=1 len=760 | ESTABLISHED | established
		A seq=1 ack=761          | - & PA seq=761 ack=1 len=200 | ESTABLISHED
		A seq=1 ack=961          | - | ESTABLISHED | acked
	`)
	require.EqualValues(t, 1, k.e.Counters().PathMTUs)
}

// Two listeners of one port and application: a flow is counted by the gate that let
// it in, whichever listener came first.
func TestFLD_001_GateOfTheSameListener(t *testing.T) {
	for _, first := range []wire.Addr{{}, our4} {
		k := newKit(t, Config{})
		second := our4
		if first == our4 {
			second = wire.Addr{}
		}
		require.NoError(t, k.e.Unlisten(wire.Addr{}, 80))
		for _, a := range []wire.Addr{first, second} {
			require.NoError(t, k.e.Listen(a, 80, 7, false))
			require.NoError(t, k.e.SetGate(a, 80, Gate{HalfOpen: 5, Backlog: 5}))
		}
		k.play("S seq=0 | SA\nA seq=1 ack=1 | - | ESTABLISHED | established")
		l := k.e.listeners.at(our4, 80)
		require.Zero(t, l.halfOpen)
		require.Equal(t, 1, l.queued)
		require.Zero(t, k.e.listeners.at(wire.Addr{}, 80).queued)
		require.True(t, k.e.Take(k.flow))
		require.Zero(t, l.queued)
	}
}
