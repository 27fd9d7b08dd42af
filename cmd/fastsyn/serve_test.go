package main

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

func TestServePolling(t *testing.T) {
	for flag, want := range map[string]worker.Polling{"auto": worker.Auto, "busy": worker.Busy, "adaptive": worker.Adaptive} {
		o := serveFlags{cookies: "never", polling: flag}
		require.NoError(t, o.flags())
		require.Equal(t, want, o.cfg.Polling)
	}
	def := newServe().Flags().Lookup("polling").DefValue
	require.Equal(t, "auto", def)
}

// --pin off comes before what the port wants, and that before what is spare.
func TestServePin(t *testing.T) {
	spare := worker.AllowedCPUs()
	if len(spare) > 0 {
		spare = spare[1:]
		slices.Reverse(spare)
	}
	if len(spare) == 0 {
		spare = nil // one CPU, or unknown: nobody is pinned
	}
	for name, tc := range map[string]struct {
		pin  string
		port []int
		want []int // nil: the port's choice
	}{
		"auto":                 {"auto", nil, spare},
		"auto, the port wants": {"auto", []int{5}, nil},
		"off":                  {"off", nil, []int{}},
		"off, the port wants":  {"off", []int{5}, []int{}},
	} {
		t.Run(name, func(t *testing.T) {
			o := serveFlags{cookies: "never", pin: tc.pin}
			require.NoError(t, o.flags())
			o.cfg.Device = dptest.NewPort(t, dptest.PortConfig{CPUs: tc.port})
			require.NoError(t, o.open())
			require.Equal(t, tc.want, o.cfg.CPUs)
		})
	}
}

// What --retry, --syn-ack-retries and --ecn make of the engine.
func TestServeRetryAndECN(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want handshake.Config
	}{
		"default":  {nil, handshake.Config{}},
		"none":     {[]string{"--syn-ack-retries", "0"}, handshake.Config{SYNACKRetries: -1}},
		"two":      {[]string{"--syn-ack-retries", "2", "--initial-rto", "2s"}, handshake.Config{SYNACKRetries: 2, InitialRTO: 2 * time.Second}},
		"bsd":      {[]string{"--retry", "bsd", "--ecn", "off"}, handshake.Config{Retry: handshake.RetryBSD.Retry(), ECN: handshake.ECNOff}},
		"bsd, one": {[]string{"--retry", "bsd", "--syn-ack-retries", "1"}, handshake.Config{Retry: handshake.RetryBSD.Retry(), SYNACKRetries: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			var o serveFlags
			cmd := newServeOf(&o)
			require.NoError(t, cmd.ParseFlags(tc.args))
			require.NoError(t, o.handshakes(cmd.Flags().Changed))
			tc.want.TimeWait = time.Minute
			if tc.want.InitialRTO == 0 {
				tc.want.InitialRTO = time.Second
			}
			require.Equal(t, tc.want, o.cfg.Engine)
		})
	}
}
