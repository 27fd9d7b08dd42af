package main

import (
	"slices"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
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

func TestServeFloodFlags(t *testing.T) {
	parse := func(args ...string) (*serveFlags, error) {
		var o serveFlags
		cmd := &cobra.Command{}
		o.flood.add(cmd)
		if err := cmd.ParseFlags(args); err != nil {
			return nil, err
		}
		o.cookies = "pressure"
		return &o, o.flags()
	}
	o, err := parse()
	require.NoError(t, err)
	require.Empty(t, o.flood.settings())
	require.Equal(t, handshake.FloodConfig{SourcePrefix4: 24, SourcePrefix6: 48}, o.cfg.Engine.Flood)
	o, err = parse("--syn-limit", "100000", "--source-limit", "200/50", "--source-prefix", "22,56", "--source-over", "cookie", "--evict-oldest",
		"--cookie-limit", "7", "--reset-limit", "10/1", "--bad-cookies", "silence", "--defer-accept", "3s", "--max-half-open", "1000",
		"--high-mark", "900", "--low-mark", "800", "--min-stay", "2s", "--listener-half-open", "500", "--callback-budget", "10ms")
	require.NoError(t, err)
	require.Equal(t, handshake.FloodConfig{
		SYN: handshake.Limit{PerSecond: 100000}, Source: handshake.Limit{PerSecond: 200, Burst: 50}, SourcePrefix4: 22, SourcePrefix6: 56, SourceCookies: true,
		EvictOldest: true, CookieAccepts: handshake.Limit{PerSecond: 7}, Resets: handshake.Limit{PerSecond: 10, Burst: 1}, SilentBadCookies: true,
	}, o.cfg.Engine.Flood)
	require.Equal(t, fastsyn.Gate{HalfOpen: 500, Defer: 3 * time.Second}, o.flood.gate)
	e := o.cfg.Engine
	require.Equal(t, []any{1000, 900, 800, 2 * time.Second, 10 * time.Millisecond}, []any{e.MaxHalfOpen, e.HighMark, e.LowMark, e.MinStay, o.cfg.CallbackBudget})
	require.Equal(t, "bad_cookies silence, callback_budget 10ms, cookie_limit 7/s, defer_accept 3s, evict_oldest on, high_mark 900, "+
		"listener_half_open 500, low_mark 800, max_half_open 1000, reset_limit 10/s burst 1, source_limit 200/s burst 50, source_over cookie, "+
		"source_prefix 22,56, syn_limit 100000/s", list(o.flood.settings()))
	for _, bad := range [][]string{
		{"--syn-limit", "fast"},
		{"--syn-limit", "0"},
		{"--syn-limit", "10/"},
		{"--syn-limit", "10/-1"},
		{"--source-prefix", "24"},
		{"--source-prefix", "33,48"},
		{"--source-over", "cookie"},
		{"--source-over", "x"},
		{"--bad-cookies", "x"},
		{"--defer-accept", "2h"},
		{"--listener-half-open", "-1"},
	} {
		_, err := parse(bad...)
		require.Error(t, err, "%v", bad)
	}
}
