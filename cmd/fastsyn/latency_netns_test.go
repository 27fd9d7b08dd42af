//go:build linux

package main

import (
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// Segments to and from the peer are held for a known time each way. The report says so, and so does the
// kernel of the peer, which measures the round trip from its SYN-ACK to our ACK by itself. No half of the
// handshakes can take less; the medians may be more by what this machine adds to half of them.
func TestTruth_PhasesAndTheKernelsRoundTrip(t *testing.T) {
	interop(t)
	const (
		delay = 20 * time.Millisecond // each way
		n     = 400
		slack = 10 * time.Millisecond
	)
	lab := dptest.NewLab(t)
	var mu sync.Mutex
	var rtts []time.Duration
	kernelListener(t, lab, &net.ListenConfig{}, ":80", func(c net.Conn) {
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			return
		}
		_ = raw.Control(func(fd uintptr) {
			if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
				mu.Lock()
				defer mu.Unlock()
				rtts = append(rtts, time.Duration(info.Rtt)*time.Microsecond)
			}
		})
	})
	// A second of pause is a quarter of the run.
	r := truth(t, lab, "impair(delay="+delay.String()+",dir=both):", "--connect", addr(lab.PeerAddr4, 80), "--rate", "100", "--count", "400", "--initial-rto", "1m", "--close", "fin")
	require.EqualValues(t, n, r.Handshakes.Established)
	require.EqualValues(t, n, r.Phases.SYNACK.Count)
	ms := func(ns int64) time.Duration { return time.Duration(ns) }
	require.GreaterOrEqual(t, ms(r.Phases.SYNACK.P50), 2*delay*999/1000, "of three digits")
	require.InDelta(t, 2*delay, ms(r.Phases.SYNACK.P50), float64(slack))
	require.InDelta(t, 2*delay, ms(r.Response.P50), float64(slack))

	mu.Lock()
	defer mu.Unlock()
	require.NotEmpty(t, rtts)
	slices.Sort(rtts)
	kernel := rtts[len(rtts)/2]
	require.InDelta(t, 2*delay, kernel, float64(slack))
	require.InDelta(t, kernel, ms(r.Phases.SYNACK.P50), float64(slack))
	t.Logf("held %v: SYN to SYN-ACK p50 %v, min %v; the kernel's median of %d round trips is %v; ACK handed over after %v (p50)",
		2*delay, ms(r.Phases.SYNACK.P50), ms(r.Phases.SYNACK.Min), len(rtts), kernel, ms(r.Phases.ACK.P50))

	// The ladder of a sampled one shows the same.
	require.NotEmpty(t, r.Samples)
	require.Equal(t, "first", r.Samples[0].Why)
	require.GreaterOrEqual(t, ms(r.Samples[0].Segments[1].AtNS), 2*delay-time.Millisecond)
	require.Equal(t, "ESTABLISHED", r.Samples[0].Segments[1].StateIs)
}
