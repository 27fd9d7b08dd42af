package handshake

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The probe is the segment of RFC 9293 §3.8.4, and any good segment answers it, once.
func TestKAL_002_Probe(t *testing.T) {
	k := newKit(t, Config{})
	k.play(connected + `
		probe          | A seq=0 ack=1 len=0
		A seq=1 ack=1  | - | ESTABLISHED | alive
		A seq=1 ack=1  | -
		+10m           | - | ESTABLISHED          # nothing is armed
		probe          | A seq=0 ack=1
		PA seq=1 ack=1 len=3 | A ack=4 | ESTABLISHED | alive, data 0+3
		probe          | A seq=0 ack=4
		FA seq=4 ack=1 | A ack=5 | CLOSE-WAIT | alive, peer closed
		probe          | A seq=0 ack=5
		A seq=5 ack=1  | - | CLOSE-WAIT | alive
	`)
	require.Equal(t, uint64(4), k.e.Counters().Probes)
	require.Zero(t, k.e.timers.armed)
}

// With timestamps, which the answer of a peer has too.
func TestKAL_002_ProbeWithTimestamps(t *testing.T) {
	newKit(t, Config{}).play(connecting + `
		SA seq=0 ack=1 mss=1460 ts=500 | A seq=1 ack=1 ts ecr=500 | ESTABLISHED | established
		probe                | A seq=0 ack=1 ts ecr=500
		A seq=1 ack=1 ts=400 | A seq=1 | ESTABLISHED      # PAWS: not the peer of now
		A seq=1 ack=1 ts=501 | - | ESTABLISHED | alive
	`)
}

// A probe without an answer is repeated, and in the end the flow is dead (KAL-004); a reset ends it at once.
func TestKAL_004_ProbeUnanswered(t *testing.T) {
	k := newKit(t, Config{DataRetries: 2})
	k.play(connected + `
		probe   | A seq=0 ack=1
		+999ms  | -
		+2ms    | A seq=0 ack=1
		+2001ms | A seq=0 ack=1 | ESTABLISHED
		+4001ms | - | CLOSED | closed: timed out
	`)
	c := k.e.Counters()
	require.Equal(t, uint64(3), c.Probes)
	require.Equal(t, uint64(1), c.Broken)
	require.Zero(t, c.DataRetrans)

	newKit(t, Config{}).play(connected + `
		probe   | A seq=0 ack=1
		R seq=1 | - | CLOSED | closed: reset
	`)
}

// Text and FIN that follow a probe have their own repetitions, and no probe comes between.
func TestKAL_004_ProbeGivesWay(t *testing.T) {
	k := newKit(t, Config{})
	k.play(connected + `
		probe  | A seq=0 ack=1
		send 3 | PA seq=1 len=3
	`)
	require.False(t, k.e.Probe(k.flow), "text is under way")
	k.play(`
		+1001ms       | PA seq=1 len=3
		A seq=1 ack=4 | - | ESTABLISHED | alive, acked
		probe  | A seq=3 ack=1
		close  | FA seq=4 ack=1 | FIN-WAIT-1
		+1001ms | FA seq=4 ack=1
		A seq=1 ack=5 | - | FIN-WAIT-2 | alive
		+60001ms | - | CLOSED | closed: done
	`)
}

// What cannot be probed: flows that are not open, that the peer opened, or that are streams.
func TestProbeRefused(t *testing.T) {
	k := newKit(t, Config{})
	k.play(connecting)
	require.False(t, k.e.Probe(k.flow))
	require.False(t, k.e.Probe(FlowID{}))
	k.play("SA seq=0 ack=1 mss=1460 | A seq=1 ack=1 | ESTABLISHED | established\nclose | FA seq=1 | FIN-WAIT-1")
	require.False(t, k.e.Probe(k.flow))

	k = newKit(t, Config{})
	k.play("S mss=1460 | SA\nA seq=1 ack=1 | - | ESTABLISHED | established")
	require.False(t, k.e.Probe(k.flow), "passive")

	k = newKit(t, Config{})
	k.e.Streams(3)
	k.play(connecting + "SA seq=0 ack=1 mss=1460 | - | ESTABLISHED | established")
	require.False(t, k.e.Probe(k.flow), "stream")

	k = newKit(t, Config{})
	k.play(connected)
	for k.e.OutputRoom() > 0 {
		require.NotNil(t, k.e.emit(k.flow.idx, false))
	}
	require.False(t, k.e.Probe(k.flow), "no room")
	k.e.Sent(len(k.e.Output()))
	require.True(t, k.e.Probe(k.flow))
	k.advance(time.Second)
}

// Whoever opens is told of each repetition.
func TestRepeatsAreTold(t *testing.T) {
	k := newKit(t, Config{SYNRetries: 2})
	k.e.TellRepeats()
	k.play(connecting + `
		+1001ms | S seq=0 | SYN-SENT | repeated
		+2001ms | S seq=0 | SYN-SENT | repeated
		+4001ms | -       | CLOSED   | closed: timed out
	`)
}
