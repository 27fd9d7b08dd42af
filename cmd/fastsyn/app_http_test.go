package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/handshake"
)

const getRoot = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

// wait lets d pass, in steps of 50 ms, and tells tick how much of it has.
func (p *appPair) wait(d time.Duration, tick func(at time.Duration)) {
	for at := time.Duration(0); at < d; at += 50 * time.Millisecond {
		if tick != nil {
			tick(at)
		}
		p.now += int64(50 * time.Millisecond)
		for range 4 {
			p.step()
		}
	}
}

// visitor is a client that a test moves.
type visitor struct {
	p   *appPair
	id  fastsyn.FlowID
	got int
	// hold is for how many bytes it holds back what it reads.
	hold bool
	held int
	eof  bool
	over bool
	why  fastsyn.CloseReason
}

func (v *visitor) say(text string) {
	require.Equal(v.p.t, len(text), v.p.client.Flow(v.id).Write([]byte(text)))
}

func (p *appPair) visit(hold bool) *visitor {
	v := &visitor{p: p, hold: hold}
	p.dial(fastsyn.Callbacks{
		Established: func(f *fastsyn.Flow) { v.id = f.ID() },
		Data: func(f *fastsyn.Flow, b []byte) {
			v.got += len(b)
			if v.hold {
				v.held += len(b)
				f.Hold(len(b))
			}
		},
		PeerClosed: func(*fastsyn.Flow) { v.eof = true },
		Closed:     func(_ *fastsyn.Flow, why fastsyn.CloseReason) { v.over, v.why = true, why },
	}, 1)
	p.until("the flow", func() bool { return v.id.Valid() && p.server.Snapshot().Streams.Now == 1 })
	return v
}

func TestServeHTTP(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "index.html"), []byte("<p>hello"), 0o600))
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"by default 1 KiB": {nil, "Content-Length: 1024\r\n"},
		"--http-body":      {[]string{"--http-body", "3K"}, "Content-Length: 3072\r\n"},
		"--http-root":      {[]string{"--http-root", dir}, "\r\n\r\n<p>hello"},
		"no watch":         {[]string{"--http-timeout", "0"}, "Content-Length: 1024\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newAppPair(t, append([]string{"--app", "http"}, tc.args...)...)
			k := &talker{text: []byte(getRoot + getRoot)}
			p.dial(k.callbacks(), 1)
			p.until("the end", func() bool { return k.over })
			require.Equal(t, handshake.ReasonDone, k.why)
			require.Equal(t, 2, strings.Count(k.got.String(), "HTTP/1.1 200 OK\r\n"))
			require.Equal(t, 2, strings.Count(k.got.String(), tc.want), "%q", k.got.String())
			p.until("the server's end", func() bool { return p.server.Snapshot().Streams.Now == 0 })
			p.check()
			m := p.app.counts(0)
			require.EqualValues(t, 2, m["requests"])
			require.EqualValues(t, 2, m["responses"])
			require.EqualValues(t, 2, m["status_2xx"])
			s := p.server.Snapshot().Streams
			require.Empty(t, p.app.(appSums).sums(&s))
		})
	}
}

func TestServeHTTPFlags(t *testing.T) {
	for args, want := range map[string]string{
		"--app http --http-root /nowhere": "/nowhere",
		"--app http --http-timeout 10ms":  "--http-timeout 10ms: want 1s to 24h",
		"--app http --http-timeout 25h":   "--http-timeout 25h0m0s: want 1s to 24h",
	} {
		o := new(serveFlags)
		err := newServeOf(o).ParseFlags(strings.Fields(args))
		if err == nil {
			if err = o.checkApp(); err == nil {
				_, err = openHTTP(o, "", appEnv{workers: 1, say: t.Logf})
			}
		}
		require.ErrorContains(t, err, want)
	}
}

// What --http-timeout ends, and what it does not.
func TestServeHTTPTimeout(t *testing.T) {
	const timeout = 10 * time.Second
	open := func(t *testing.T, args ...string) *appPair {
		return newAppPair(t, append([]string{"--app", "http", "--http-timeout", timeout.String()}, args...)...)
	}
	gone := func(t *testing.T, p *appPair, closed, reset int) {
		t.Helper()
		require.Zero(t, p.server.Snapshot().Streams.Now)
		p.check()
		m := p.app.counts(0)
		require.EqualValues(t, closed, m["idle_closed"])
		require.EqualValues(t, reset, m["stuck_reset"])
		require.Equal(t, m["requests"], m["responses"]+m["cut"])
		require.Zero(t, p.app.(*httpApp).idle[0].slots[0].next, "the list is empty")
	}
	t.Run("no request", func(t *testing.T) {
		p := open(t)
		v := p.visit(false)
		p.wait(timeout-time.Second, nil)
		require.False(t, v.eof)
		p.wait(2*time.Second+100*time.Millisecond, nil)
		require.True(t, v.eof, "closed as one closes")
		p.client.Flow(v.id).Close()
		p.wait(time.Second, nil)
		require.Equal(t, handshake.ReasonDone, v.why)
		gone(t, p, 1, 0)
	})
	t.Run("between requests", func(t *testing.T) {
		p := open(t)
		v := p.visit(false)
		p.wait(5*timeout, func(at time.Duration) {
			if at%(timeout-time.Second) == 0 {
				v.say(getRoot)
			}
		})
		require.False(t, v.eof, "it asked every now and then")
		p.wait(timeout, nil)
		require.True(t, v.eof)
		// It does not close, and is not waited for.
		p.wait(timeout+2*time.Second, nil)
		require.Equal(t, handshake.ReasonReset, v.why)
		gone(t, p, 1, 1)
		require.EqualValues(t, 6, p.app.counts(0)["responses"])
	})
	t.Run("a head piece by piece", func(t *testing.T) {
		p := open(t)
		v := p.visit(false)
		v.say("GET / HTTP/1.1\r\nHost: x\r\n")
		p.wait(timeout+2*time.Second, func(at time.Duration) {
			if at%time.Second == 0 && !v.over {
				v.say("a: b\r\n")
			}
		})
		require.Equal(t, handshake.ReasonReset, v.why)
		gone(t, p, 0, 1)
		require.EqualValues(t, 1, p.app.counts(0)["refused_truncated"])
	})
	t.Run("content piece by piece", func(t *testing.T) {
		p := open(t)
		v := p.visit(false)
		v.say("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
		p.wait(5*timeout, func(at time.Duration) {
			if at%(timeout-time.Second) == 0 {
				v.say("x")
			}
		})
		require.False(t, v.over, "it is slow")
		p.wait(timeout+2*time.Second, nil)
		require.Equal(t, handshake.ReasonReset, v.why, "it is stuck")
		gone(t, p, 0, 1)
		require.EqualValues(t, 1, p.app.counts(0)["cut"])
	})
	for name, size := range map[string]string{"in the send buffer": "900K", "not all in the send buffer": "3M"} {
		t.Run("a response "+name, func(t *testing.T) {
			p := open(t, "--http-body", size)
			v := p.visit(true)
			v.say(getRoot)
			p.wait(6*timeout, func(at time.Duration) {
				if at%(timeout/2) == 0 {
					n := min(v.held, 20_000)
					v.held -= n
					p.client.Flow(v.id).Consumed(n)
				}
			})
			require.False(t, v.over, "it reads slowly")
			got := v.got
			require.NotZero(t, got)
			p.wait(2*timeout+4*time.Second, nil)
			require.Equal(t, handshake.ReasonReset, v.why, "it reads no more")
			gone(t, p, 0, 1)
		})
	}
	t.Run("a reset of the peer", func(t *testing.T) {
		p := open(t)
		v := p.visit(false)
		p.client.Flow(v.id).Abort()
		p.wait(time.Second, nil)
		gone(t, p, 0, 0)
	})
	t.Run("a reset of the server", func(t *testing.T) {
		p := open(t)
		v := p.visit(false)
		v.say("GET / HTTP/1.1\r\n\r\n") // no Host: answered 400, and closed
		p.until("the FIN", func() bool { return v.eof })
		text := strings.Repeat("x", 100_000)
		p.until("the reset", func() bool {
			if !v.over {
				p.client.Flow(v.id).Write([]byte(text))
			}
			return v.over
		})
		require.EqualValues(t, 1, p.app.counts(0)["refused_flooded_after_close"])
		p.wait(timeout+2*time.Second, nil)
		gone(t, p, 0, 0)
	})
}

// The list against a map, with flows that come, go, take each other's index and are touched.
func TestIdleList(t *testing.T) {
	const after = 10 * time.Second
	r := rand.New(rand.NewPCG(1, 2))
	l := newIdleList(after)
	p := newAppPair(t, "--app", "accept")
	ids := manyIDs(p, 40)
	type state struct {
		touched int64
		rested  bool
	}
	model := map[fastsyn.FlowID]*state{}
	now := int64(1_700_000_000_000_000_000)
	ended := 0
	for range 50_000 {
		now += r.Int64N(int64(300 * time.Millisecond))
		id := ids[r.IntN(len(ids))]
		switch s := model[id]; {
		case r.IntN(4) == 0:
			l.add(id, now)
			model[id] = &state{touched: now}
		case r.IntN(8) == 0:
			l.forget(id)
			delete(model, id)
		default:
			l.touch(id, now)
			if s != nil && now-s.touched >= idleGrain {
				s.touched = now
			}
		}
		for {
			s, next := l.due(now)
			if s == nil {
				want := int64(math.MaxInt64)
				for _, m := range model {
					want = min(want, m.touched+int64(after)+idleGrain)
				}
				require.Equal(t, want, next)
				break
			}
			id := s.id
			m := model[id]
			require.NotNil(t, m)
			require.LessOrEqual(t, m.touched+int64(after)+idleGrain, now)
			if m.rested {
				l.forget(id)
				delete(model, id)
				ended++
				continue
			}
			*m = state{now, true}
			l.rest(id.Index(), 7, now)
			require.Equal(t, uint32(7), l.slots[id.Index()].left)
		}
	}
	require.Greater(t, ended, 100)
}

// manyIDs opens n flows and returns their IDs.
func manyIDs(p *appPair, n int) (ids []fastsyn.FlowID) {
	p.dial(fastsyn.Callbacks{Established: func(f *fastsyn.Flow) { ids = append(ids, f.ID()) }}, n)
	p.until(fmt.Sprintf("%d flows", n), func() bool { return len(ids) == n })
	return ids
}
