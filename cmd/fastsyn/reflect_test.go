package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	measure "github.com/fastsyn/fastsyn/bench"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/loop"
)

func TestReflectUsage(t *testing.T) {
	for args, want := range map[string]string{
		"reflect":              "--port is missing",
		"reflect --port loop:": "nobody is at its other end; use an interface, such as afpacket:veth0, or bench --scenario echo",
		"reflect --port afpacket:x0 --duration -1s":    "0 for no bound",
		"reflect --port afpacket:x0 --polling bussy":   `did you mean "busy"?`,
		"reflect --port afpacket:x0 --pin 3":           "one of: auto, off",
		"reflect --port afpacket:x0 --addr 10.0.0.1/8": "unknown flag --addr",
	} {
		code, _, err := fastsynCmd(t, strings.Fields(args)...)
		require.Equal(t, exitUsage, code, "%s: %s", args, err)
		require.Contains(t, err, want)
	}
	code, _, err := fastsynCmd(t, "reflect", "--port", "afpacket:nonexistent0")
	require.Equal(t, exitFailure, code)
	require.Contains(t, err, "nonexistent0")
}

// What comes in goes out with its addresses swapped, and is counted.
func TestReflectCommand(t *testing.T) {
	a, b, err := loop.Pair(loop.Config{})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	file := filepath.Join(t.TempDir(), "r.json")
	o := &reflectFlags{cfg: measure.ReflectConfig{Port: "loop:test", Device: a, Pin: "off", Polling: "adaptive"}, json: file}
	cmd := newReflect()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd.SetContext(ctx)
	done := make(chan error, 1)
	go func() { done <- o.reflect(cmd) }()

	q, batch := b.Queue(0), dataplane.NewBatch()
	q.Blank(batch, 3)
	for i := range batch.N {
		batch.Data[i] = append(batch.Data[i], "\x02peer!\x02from!\x88\xb5hello, what a long frame of at least sixty bytes this is"...)
		batch.Verdict[i] = dataplane.Reply
	}
	require.Equal(t, 3, q.Settle(batch))
	for got, end := 0, time.Now().Add(time.Minute); got < 3; {
		require.True(t, time.Now().Before(end), "%d of 3 came back", got)
		q.Wait(10 * time.Millisecond)
		q.Rx(batch)
		for i := range batch.N {
			require.Equal(t, "\x02from!\x02peer!\x88\xb5hello", string(batch.Data[i][:19]))
			got++
		}
		q.Settle(batch)
	}
	cancel()
	require.NoError(t, <-done, out.String())
	require.Contains(t, out.String(), "reflecting on loop:test, MAC 02:66:73:00:00:01, queues 1")
	require.Contains(t, out.String(), "3 received = 3 reflected + 0 not sent + 0 dropped")
	require.FileExists(t, file)
}
