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
