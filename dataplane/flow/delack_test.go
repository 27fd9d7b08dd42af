package flow

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

func TestDAT_003_WhenToAcknowledge(t *testing.T) {
	type seg struct {
		now, n uint32
		prompt bool
		want   AckWhen
	}
	const later, now = AckLater, AckNow
	for _, c := range []struct {
		name  string
		delay uint32
		segs  []seg
	}{
		{"DAT-003 every second full segment", 40, []seg{{n: 1460, want: later}, {n: 1460, want: now}, {n: 1460, want: later}, {n: 1460, want: now}}},
		{"DAT-003 full segments are shorter with timestamps", 40, []seg{{n: 1448, want: later}, {n: 1448, want: now}, {n: 1448, want: later}, {n: 1448, want: now}}},
		{"DAT-003 full segments get shorter on a new path", 40, []seg{{n: 1460, want: later}, {n: 1460, want: now}, {n: 500, want: later}, {n: 500, want: now}, {n: 500, want: later}, {n: 500, want: now}}},
		{"DAT-003 short ones add up", 40, []seg{{n: 1460, want: later}, {n: 1460, want: now}, {n: 900, want: later}, {n: 800, want: later}, {n: 1219, want: later}, {n: 1, want: now}}},
		{"DAT-003 the end of a message waits", 40, []seg{{n: 1460, want: later}, {n: 1460, want: now}, {n: 1, want: later}}},
		{"DAT-003 segments merged by an offload", 40, []seg{{n: 1460, want: later}, {n: 2 * 1460, want: now}, {n: 44 * 1460, want: now}, {n: 1460, want: later}, {n: 1460, want: now}}},
		{"DAT-003 the first segment is two", 40, []seg{{n: 2920, want: now}}},
		{"DAT-003 at once", 40, []seg{{n: 1460, prompt: true, want: now}, {n: 0, prompt: true, want: now}, {n: 1460, want: later}}},
		{"DAT-003 no delay", 0, []seg{{n: 10, want: now}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			nxt := ^wire.Seq(0) - 2000
			d := NewDelAck(nxt, 1460)
			for i, s := range c.segs {
				nxt += wire.Seq(s.n)
				require.Equal(t, s.want, d.Arrived(s.now, c.delay, nxt, s.n, s.prompt), "segment %d", i)
				if s.want == AckNow {
					d.Sent(nxt)
				}
				_, waits := d.Deadline()
				require.Equal(t, s.want == AckLater, waits)
			}
		})
	}
}

func TestDAT_003_DelayIsBounded(t *testing.T) {
	start := ^uint32(0) - 20 // wraps soon
	d := NewDelAck(100, 1460)
	require.False(t, d.Due(start))
	require.Equal(t, AckLater, d.Arrived(start, 40, 110, 10, false))
	require.Equal(t, AckLater, d.Arrived(start+30, 40, 115, 5, false), "the first one counts")
	at, ok := d.Deadline()
	require.True(t, ok)
	require.Equal(t, start+40, at)
	require.False(t, d.Due(start+39))
	require.True(t, d.Due(start+40))
	require.True(t, d.Due(start+1000))
	d.Sent(115)
	require.Equal(t, wire.Seq(115), d.Last)
	require.False(t, d.Due(start+1000), "text of our own took it along")

	require.Equal(t, AckLater, d.Arrived(start, 5_000_000, 120, 5, false))
	at, _ = d.Deadline()
	require.Equal(t, start+MaxAckDelay, at, "MUST be less than 0.5 s")
}

// Whatever arrives, no two full segments stay without an ACK, and none longer than the delay.
func FuzzDAT_003_DelayedAcks(f *testing.F) {
	f.Add(uint32(0), []byte{10, 1, 255, 0, 255, 30})
	f.Add(^uint32(0)-1000, []byte{146, 5, 146, 5, 146, 5, 3, 60, 3, 1, 146, 200})
	f.Fuzz(func(t *testing.T, base uint32, ops []byte) {
		nxt, now := wire.Seq(base), base
		d := NewDelAck(nxt, 1460)
		waits, since, unacked := false, uint32(0), 0 // the model: full segments since the last ACK
		for ; len(ops) >= 2; ops = ops[2:] {
			for range ops[1] >> 2 {
				now++
				if d.Due(now) {
					require.Equal(t, since+40, now, "due in time, if one looks")
					d.Sent(nxt)
					waits, unacked = false, 0
				}
			}
			n := uint32(ops[0]) * 10
			if n == 0 || n > 1460 {
				n = 1460
			}
			nxt += wire.Seq(n)
			if n == 1460 {
				unacked++
			}
			if d.Arrived(now, 40, nxt, n, ops[1]&3 == 3) == AckNow {
				d.Sent(nxt)
				require.Equal(t, nxt, d.Last)
				waits, unacked = false, 0
				continue
			}
			require.Less(t, unacked, 2)
			require.Less(t, uint32(nxt-d.Last), uint32(2*1460))
			require.NotEqual(t, byte(3), ops[1]&3)
			if !waits {
				waits, since = true, now
			}
			at, ok := d.Deadline()
			require.True(t, ok)
			require.Equal(t, since+40, at)
		}
	})
}

func BenchmarkDelAck(b *testing.B) {
	d := NewDelAck(0, 1460)
	nxt := wire.Seq(0)
	b.ReportAllocs()
	for b.Loop() {
		nxt += 1460
		if d.Arrived(0, 40, nxt, 1460, false) == AckNow {
			d.Sent(nxt)
		}
	}
}
