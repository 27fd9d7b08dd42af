package main

import (
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane/flow"
)

func TestServeStreamFlags(t *testing.T) {
	parse := func(args ...string) (fastsyn.Config, error) {
		var o streamFlags
		var cfg fastsyn.Config
		cmd := &cobra.Command{}
		o.add(cmd)
		if err := cmd.ParseFlags(args); err != nil {
			return cfg, err
		}
		return cfg, o.apply(&cfg)
	}
	cfg, err := parse()
	require.NoError(t, err)
	require.Equal(t, fastsyn.Config{}, cfg, "the defaults of the packages")
	cfg, err = parse("--rcv-window", "1M", "--send-buffer", "65536", "--text-memory", "1g", "--keep-alive", "30s", "--user-timeout", "1m", "--nagle")
	require.NoError(t, err)
	require.Equal(t, 1<<20, cfg.Engine.RcvWindow)
	require.Equal(t, flow.Config{SendBuffer: 65536, Memory: 1 << 30, KeepAlive: true, KeepAliveIdle: 30 * time.Second, UserTimeout: time.Minute, Nagle: true}, cfg.Flow)
	for _, bad := range [][]string{
		{"--rcv-window", "1459"},
		{"--rcv-window", "2G"},
		{"--rcv-window", "x"},
		{"--send-buffer", "1K"},
		{"--send-buffer", "2G"},
		{"--send-buffer", "0"},
		{"--text-memory", "1K"},
		{"--text-memory", "1T"},
		{"--keep-alive", "10ms"},
		{"--keep-alive", "-1s"},
		{"--keep-alive", "1000h"},
		{"--user-timeout", "-1s"},
		{"--user-timeout", "3h"},
	} {
		_, err := parse(bad...)
		require.ErrorContains(t, err, bad[0], "%v", bad)
	}
}

func TestSizeFlag(t *testing.T) {
	var n int
	f := sizeFlag{n: &n}
	require.Empty(t, f.String())
	require.Empty(t, sizeFlag{}.String())
	for s, want := range map[string]int{"1": 1, "64K": 64 << 10, "3m": 3 << 20, "2G": 2 << 30} {
		require.NoError(t, f.Set(s))
		require.Equal(t, want, n)
	}
	require.Equal(t, "1", func() string { n = 1; return f.String() }())
	require.NoError(t, sizeFlag{n: &n, zero: true}.Set("0"))
	require.Equal(t, "0", sizeFlag{n: &n, zero: true}.String())
	for _, s := range []string{"", "K", "0", "-1", "1.5M", "1KB", "99999999999999999999", "9999999999999G"} {
		require.ErrorIs(t, f.Set(s), errSize, s)
	}
}
