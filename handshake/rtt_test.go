package handshake

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What text starts with after each kind of handshake, and that ours does.
func TestRTX_004_NoSample(t *testing.T) {
	const (
		sent     = "send 5 | PA\n"
		oneSec   = sent + "+1s | -\n+1ms | PA\n+2s | -\n+1ms | PA"
		threeSec = sent + "+3s | -\n+1ms | PA\n+6s | -\n+1ms | PA\n"
	)
	for _, c := range []struct {
		name, script string
		cfg          Config
		rto          time.Duration
		iw           int
		text         string
	}{
		{"SYN-ACK answered at once", halfOpen + "+50ms |\nA seq=1 ack=1 | - | ESTABLISHED | established", Config{}, 200e6, 10, oneSec},
		{"SYN answered at once", connecting + "+50ms |\nSA seq=0 ack=1 | A | ESTABLISHED | established", Config{}, 200e6, 10, oneSec},
		{"SYN-ACK repeated", halfOpen + "+1001ms | SA\nA seq=1 ack=1 | - | ESTABLISHED | established", Config{}, 3e9, 1, threeSec},
		{"SYN repeated", connecting + "+1001ms | S\nSA seq=0 ack=1 | A | ESTABLISHED | established", Config{}, 3e9, 1, threeSec},
		{"SYN repeated, RTO 100 ms", connecting + "+101ms | S\nSA seq=0 ack=1 | A | ESTABLISHED | established", Config{InitialRTO: 100e6}, 300e6, 1, sent + "+300ms | -\n+1ms | PA\n+600ms | -\n+1ms | PA"},
		{"cookie without timestamps", cookieOut + "A seq=1 ack=1 | - | ESTABLISHED | established", Config{Cookies: always}, 3e9, 10, threeSec}, // CKI-020
		{"cookie with timestamps", cookieOutTS + "+40ms |\nA seq=1 ack=1 ts=1040 | - | ESTABLISHED | established", Config{Cookies: always}, 0, 10, oneSec},
		// The copy is known (RTX-006), but not that the first one arrived.
		{"SYN-ACK repeated, timestamps", halfOpenTS + "+1001ms | SA\n+70ms |\nA seq=1 ack=1 ts=1000 | - | ESTABLISHED | established", Config{}, 210e6, 1, oneSec},
	} {
		t.Run("RTX-004 "+c.name, func(t *testing.T) {
			k := newKit(t, c.cfg)
			k.play(c.script)
			if c.rto != 0 {
				require.Equal(t, c.rto, k.info.RTO)
			} else {
				require.Less(t, k.info.RTO, time.Second)
				require.GreaterOrEqual(t, k.info.RTO, minRTO)
			}
			require.Equal(t, c.iw, k.info.IW)
			k.play(c.text)
		})
	}
}

func TestRTX_005_Estimator(t *testing.T) {
	var r RTT
	require.Zero(t, r.RTO(minRTO), "no sample, no RTO")
	r.Sample(100 * time.Millisecond)
	require.Equal(t, RTT{100 * time.Millisecond, 50 * time.Millisecond}, r)
	require.Equal(t, 300*time.Millisecond, r.RTO(minRTO))
	r.Sample(200 * time.Millisecond)
	require.Equal(t, RTT{112500 * time.Microsecond, 62500 * time.Microsecond}, r)
	require.Equal(t, 362500*time.Microsecond, r.RTO(minRTO))
	require.Equal(t, time.Second, r.RTO(time.Second), "bounded below")
	// Equal samples: the variance fades, and granularity is what is left.
	for range 200 {
		r.Sample(400 * time.Millisecond)
	}
	require.InDelta(t, float64(400*time.Millisecond), float64(r.Smoothed), 100)
	require.InDelta(t, float64(401*time.Millisecond), float64(r.RTO(minRTO)), 1000)
	// Falling samples count as much as rising ones.
	r = RTT{}
	r.Sample(200 * time.Millisecond)
	r.Sample(100 * time.Millisecond)
	require.Equal(t, RTT{187500 * time.Microsecond, 100 * time.Millisecond}, r)
}

// Karn: a handshake segment that was sent more than once gives a sample only if the
// peer's timestamp says which copy it answers.
func TestRTX_006_WhichCopy(t *testing.T) {
	for _, c := range []struct {
		ecr  string
		want time.Duration // before the ACK, 3009 ms after the first copy
	}{
		{"first", 3009 * time.Millisecond},
		{"first+1001", 2008 * time.Millisecond},
		{"last", 7 * time.Millisecond},
		{"0", 0},
	} {
		k := newKit(t, Config{})
		k.play(halfOpenTS + `
			+1001ms    | SA
			+2001ms    | SA
			+7ms       |
			A seq=1 ack=1 ts=1000 ecr=` + c.ecr + ` | - | ESTABLISHED | established
		`)
		require.Equal(t, c.want, k.info.RTT, c.ecr)
		require.True(t, k.info.Retrans)
		k = newKit(t, Config{})
		k.play(connecting + `
			+1001ms    | S
			+2001ms    | S
			+7ms       |
			SA seq=0 ack=1 ts=9 ecr=` + c.ecr + ` | A | ESTABLISHED | established
		`)
		require.Equal(t, c.want, k.info.RTT, c.ecr)
	}
	// The ACK left the option out (LSN-020), or it was never negotiated.
	k := newKit(t, Config{})
	k.play(halfOpenTS + "+1001ms | SA\nA seq=1 ack=1 | - | ESTABLISHED | established")
	require.Zero(t, k.info.RTT)
	// A peer on the same wire: less than a tick is counted as one.
	k = newKit(t, Config{})
	k.play(halfOpenTS + "+1001ms | SA\nA seq=1 ack=1 ts=1000 ecr=last | - | ESTABLISHED | established")
	require.Equal(t, time.Millisecond, k.info.RTT)
}

// An echo of the first copy proves that nothing was lost.
func TestRTX_008_SpuriousTimeout(t *testing.T) {
	for ecr, iw := range map[string]int{"first": 10, "first+1": 1, "first+1001": 1, "0": 1} {
		k := newKit(t, Config{})
		k.play(halfOpenTS + "+1001ms | SA\n+7ms |\nA seq=1 ack=1 ts=1000 ecr=" + ecr + " | - | ESTABLISHED | established")
		require.Equal(t, iw, k.info.IW, ecr)
		k = newKit(t, Config{})
		k.play(connecting + "+1001ms | S\n+7ms |\nSA seq=0 ack=1 ts=9 ecr=" + ecr + " | A | ESTABLISHED | established")
		require.Equal(t, iw, k.info.IW, ecr)
	}
}
