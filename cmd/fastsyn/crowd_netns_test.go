//go:build linux

package main

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/dataplane/flow"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

// start runs a crowd in the peer's namespace.
func (c crowd) start(t *testing.T, lab *dptest.Lab) *dptest.Process {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	b, err := json.Marshal(c)
	require.NoError(t, err)
	// package os raises the limit of open files to the hard one.
	p := lab.Start(t, lab.PeerNS, "env", crowdEnv+"="+string(b), self)
	p.WaitFor(t, "connected\n", patience)
	return p
}

// crowdEnd waits for the last line of a crowd.
func crowdEnd(t *testing.T, p *dptest.Process, limit time.Duration) (end crowdEnds) {
	t.Helper()
	p.WaitFor(t, "ended ", limit)
	require.NoError(t, p.Wait())
	line := find(t, `ended (.*)`, p.Output())[0]
	require.NoError(t, json.Unmarshal([]byte(line), &end))
	return end
}

// echoHere serves echo in this process, and remembers the flows and how they ended.
type echoHere struct {
	ep   *fastsyn.Endpoint
	app  *echoApp
	ids  []fastsyn.FlowID
	ends map[fastsyn.CloseReason]int
}

func serveEchoHere(t *testing.T, lab *dptest.Lab, cfg fastsyn.Config) *echoHere {
	t.Helper()
	o := new(serveFlags)
	o.cfg.Flow = cfg.Flow
	a, err := openEcho(o, "", appEnv{workers: 1, say: t.Logf})
	require.NoError(t, err)
	e := &echoHere{app: a.(*echoApp), ends: map[fastsyn.CloseReason]int{}}
	cb := a.callbacks()
	cb.Established = func(f *fastsyn.Flow) { e.ids = append(e.ids, f.ID()) }
	closed := cb.Closed
	cb.Closed = func(f *fastsyn.Flow, why fastsyn.CloseReason) {
		e.ends[why]++
		closed(f, why)
	}
	e.ep, _ = inProcess(t, lab, "", cfg, cb)
	return e
}

// do runs fn on the worker.
func (e *echoHere) do(t *testing.T, fn func(w *fastsyn.Worker)) {
	t.Helper()
	w := e.ep.Workers()[0]
	require.NoError(t, w.Do(func() { fn(w) }))
}

func (e *echoHere) stats() worker.Stats { return e.ep.Stats()[0] }

// nothingLeft waits until no flow is, and requires that they left nothing behind.
func (e *echoHere) nothingLeft(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return e.stats().Engine.Flows == 0 }, patience, 20*time.Millisecond)
	s := e.stats()
	require.Empty(t, s.Check())
	require.Zero(t, s.CallbackPanics)
	for name, n := range map[string]uint64{
		"streams": s.Streams.Now, "blocks of text": s.Streams.BlocksInUse, "senders": s.Streams.Sending, "holes": s.Streams.Holding,
		"timers": s.Streams.Timers, "half-open": s.Engine.HalfOpen, "opening": s.Engine.Opening, "established": s.Engine.EstablishedNow,
	} {
		require.Zero(t, n, name)
	}
	e.do(t, func(*fastsyn.Worker) { require.Zero(t, e.app.counts(0)["backlog_chunks_now"]) })
}

// memory is what this process has in memory, without the Go heap's garbage.
func memory(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	kb, err := strconv.Atoi(find(t, `VmRSS:\s+(\d+) kB`, string(b))[0])
	require.NoError(t, err)
	return kb << 10
}

// Ten thousand slow clients at a time: each gets its own text back, and what they
// cost together is bounded.
func TestCrowd_DAT_014_TenThousandSlowConnections(t *testing.T) {
	interop(t)
	var files syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	const n = 10_000
	if had := files.Max; had < n+100 { // root may raise it, but not in every container
		files.Cur, files.Max = n+100, n+100
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
			const unmet = "the hard limit of open files is %d: raise it above %d (ulimit -Hn)"
			if os.Getenv("FASTSYN_REQUIRE") != "" {
				t.Fatalf(unmet, had, n+100)
			}
			t.Skipf(unmet, had, n+100)
		}
	}
	lab := dptest.NewLab(t)
	e := serveEchoHere(t, lab, fastsyn.Config{})
	before := memory(t)
	p := crowd{
		To: []string{addr(lab.Addr4, 80), addr(lab.Addr6, 80)}, Clients: n, Pieces: 5, Piece: 3000, Pause: 500 * time.Millisecond,
	}.start(t, lab)
	require.Eventually(t, func() bool { return e.stats().Streams.Now == uint64(n) }, patience, 20*time.Millisecond)
	s := e.stats()
	require.Equal(t, uint64(n), s.Engine.EstablishedNow)
	require.Zero(t, s.Streams.BlocksInUse, "nobody has said anything")
	require.Zero(t, s.Streams.Timers)
	idle := memory(t) - before
	require.NoError(t, p.Signal(syscall.SIGUSR1))
	end := crowdEnd(t, p, time.Minute)
	require.Empty(t, end.Wrong)
	require.Equal(t, n, end.Done)
	e.nothingLeft(t)
	s = e.stats()
	require.Equal(t, uint64(end.Bytes), s.Streams.BytesIn)
	require.Equal(t, uint64(end.Bytes), s.Streams.BytesOut)
	e.do(t, func(*fastsyn.Worker) { require.Equal(t, map[fastsyn.CloseReason]int{handshake.ReasonDone: n}, e.ends) })
	blocks := s.Streams.BlocksHigh * flow.BlockSize
	t.Logf("%d flows: %d bytes each in memory while idle; %d bytes echoed; at most %d bytes of text in %d blocks at a time",
		n, idle/n, end.Bytes, blocks, s.Streams.BlocksHigh)
	// As many blocks as pieces under way at the very most.
	require.LessOrEqual(t, s.Streams.BlocksHigh, uint64(2*n*(3000/flow.BlockSize+1)))
	if !raceBuild {
		require.Less(t, idle/n, 4096)
	}
}

// A thousand connections that end while text goes both ways leave no flow, no text, no sender
// and no timer behind, however they end.
func TestCrowd_RST_014_KAL_005_ThousandKilled(t *testing.T) {
	interop(t, "iptables")
	const n = 1000
	// Small windows: a thousand large ones are more than the ring of the interface holds, and then
	// those whose turn it is never find it with room.
	pouring := func(t *testing.T, cfg flow.Config) (*dptest.Lab, *echoHere, *dptest.Process) {
		t.Helper()
		lab := dptest.NewLab(t)
		cfg.SendBuffer = 32 << 10
		e := serveEchoHere(t, lab, fastsyn.Config{Flow: cfg, Engine: handshake.Config{RcvWindow: 4 << 10, TimeWait: time.Second}})
		p := crowd{To: []string{addr(lab.Addr4, 80), addr(lab.Addr6, 80)}, Clients: n, Piece: 16 << 10, Pour: true}.start(t, lab)
		require.NoError(t, p.Signal(syscall.SIGUSR1))
		p.WaitFor(t, "flowing\n", patience)
		s := e.stats()
		require.Equal(t, uint64(n), s.Streams.Now)
		require.NotZero(t, s.Streams.BlocksInUse)
		require.NotZero(t, s.Streams.Timers)
		return lab, e, p
	}
	ends := func(t *testing.T, e *echoHere) (m map[fastsyn.CloseReason]int) {
		e.do(t, func(*fastsyn.Worker) { m = e.ends })
		return m
	}
	t.Run("the process of the peers", func(t *testing.T) {
		// A thousand resets at once are more than a ring may hold: who missed one asks again.
		_, e, p := pouring(t, flow.Config{KeepAlive: true, KeepAliveIdle: time.Second, KeepAliveInterval: time.Second, KeepAliveProbes: 100})
		require.NoError(t, p.Signal(syscall.SIGKILL))
		e.nothingLeft(t)
		require.Equal(t, map[fastsyn.CloseReason]int{handshake.ReasonReset: n}, ends(t, e))
	})
	// Nobody says anything any more: what is in flight is given up after the user timeout, and who
	// has nothing in flight after the keep-alive probes.
	silent := flow.Config{UserTimeout: 2 * time.Second, KeepAlive: true, KeepAliveIdle: time.Second, KeepAliveInterval: time.Second, KeepAliveProbes: 1}
	t.Run("the wire", func(t *testing.T) {
		lab, e, _ := pouring(t, silent)
		for _, ipt := range []string{"iptables", "ip6tables"} {
			for _, chain := range []string{"INPUT", "OUTPUT"} {
				lab.Exec(t, lab.PeerNS, ipt, "-A", chain, "-p", "tcp", "-j", "DROP")
			}
		}
		e.nothingLeft(t)
		require.Equal(t, map[fastsyn.CloseReason]int{handshake.ReasonTimedOut: n}, ends(t, e))
	})
	t.Run("the link", func(t *testing.T) {
		lab, e, _ := pouring(t, silent)
		lab.Exec(t, lab.PeerNS, "ip", "link", "set", lab.PeerIf, "down")
		e.nothingLeft(t)
		require.Equal(t, map[fastsyn.CloseReason]int{handshake.ReasonTimedOut: n}, ends(t, e))
	})
	t.Run("ours", func(t *testing.T) {
		_, e, p := pouring(t, flow.Config{})
		e.do(t, func(w *fastsyn.Worker) {
			for _, id := range e.ids {
				e.app.closed(w.Flow(id), handshake.ReasonAborted) // which is not called after Abort
				w.Flow(id).Abort()
			}
		})
		e.nothingLeft(t)
		require.Empty(t, ends(t, e))
		end := crowdEnd(t, p, patience)
		require.Empty(t, end.Wrong)
		require.Equal(t, n, end.Reset, "each peer was told, and what came before was right")
		require.EqualValues(t, n, e.stats().Engine.Aborted)
	})
	t.Run("all of it", func(t *testing.T) {
		_, e, p := pouring(t, flow.Config{})
		require.NoError(t, e.ep.Close())
		p.Stop()
		require.False(t, strings.Contains(p.Output(), "Wrong\":[\""))
	})
}
