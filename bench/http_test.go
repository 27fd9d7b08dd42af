package bench

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/bench/http1"
	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/loop"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

// clean requires that n transactions came to their end in the fewest steps.
func clean(t *testing.T, r *Report, n uint64) {
	t.Helper()
	h := &r.HTTP
	require.Equal(t, Handshakes{Attempted: n, Established: n}, r.Handshakes)
	require.Equal(t, Flows{Done: n}, r.Flows)
	require.Equal(t, []uint64{n, n, 0}, []uint64{h.Attempted, h.Complete, h.Pending})
	require.Equal(t, n*uint64(h.Requests), h.Responses)
	require.Empty(t, h.Failed)
	require.Equal(t, int64(n), r.Latency.Count)
	require.Equal(t, int64(n), h.FirstByte.Count)
	require.Equal(t, int64(n), h.Total.Count)
	require.LessOrEqual(t, r.Latency.Min, h.FirstByte.Min)
	require.LessOrEqual(t, h.FirstByte.Min, h.Total.Min)
}

func TestHTTP(t *testing.T) {
	for _, tc := range []Config{
		{},
		{IPv6: true, Cookies: "always"},
		{Workers: 2, Concurrency: 100, Cookies: "never"},
		{HTTPBody: -1},
		{HTTPBody: 1, HTTPRequests: 3},
		{HTTPRequests: 2, Workers: 2, IPv6: true, NoTimestamps: true, NoSACK: true, NoWScale: true},
		{HTTPBody: 100_000, Concurrency: 16, HTTPPath: "/a/b?c"},
		{HTTPBody: 100_000, HTTPRequests: 3, Concurrency: 16},
		{HTTPBody: 1, HTTPRequests: 12, HTTPPipeline: 4},
		{HTTPBody: -1, HTTPRequests: 5, HTTPPipeline: 5, Workers: 2, IPv6: true},
		{HTTPBody: 100_000, HTTPRequests: 5, HTTPPipeline: 2, Concurrency: 16},
	} {
		t.Run(fmt.Sprintf("body=%d/requests=%d/pipeline=%d/workers=%d/v6=%v", tc.HTTPBody, tc.HTTPRequests, tc.HTTPPipeline, tc.Workers, tc.IPv6), func(t *testing.T) {
			n := uint64(3000)
			if tc.HTTPBody > 10_000 {
				n = 300
			}
			tc.Scenario, tc.Count = ScenarioHTTP, n
			r := measure(t, tc)
			clean(t, r, n)
			require.Equal(t, map[int]int{0: 1024, -1: 0, 1: 1, 100_000: 100_000}[tc.HTTPBody], r.HTTP.Body)
			require.Equal(t, n*uint64(max(1, tc.HTTPRequests))*uint64(r.HTTP.Body), r.HTTP.ContentBytes)
			// A thread that pauses for milliseconds has its peer probe the tail, or a ring overflow.
			late := r.Retransmissions != Retransmissions{} || r.Client.Streams.DelayedAcks+r.Server.Streams.DelayedAcks != 0
			require.Equal(t, n, r.Server.Engine.Done)
			require.Zero(t, r.Client.Engine.TimeWaits+r.Server.Engine.TimeWaits)
			if tc.HTTPBody == 0 && tc.HTTPRequests == 0 && !late {
				// SYN, ACK with the request, FIN; SYN-ACK, response with FIN, ACK.
				require.Equal(t, 2*n, r.Client.Streams.SegmentsOut)
				require.Equal(t, 2*n, r.Server.Streams.SegmentsOut)
			}
			if tc.Cookies == "always" {
				require.Equal(t, n, r.Server.Engine.CookiesOK)
			}
		})
	}
}

// Requests that wait for no response go out with the ACK of the handshake, together. What a connection for each of them
// would have taken is counted, and its time is that of the connects measured.
func TestHTTPReuse(t *testing.T) {
	const n, requests = 500, 10
	segments := map[int]uint64{}
	for _, pipeline := range []int{1, 10} {
		r := measure(t, Config{Scenario: ScenarioHTTP, Count: n, HTTPBody: 1, HTTPRequests: requests, HTTPPipeline: pipeline})
		clean(t, r, n)
		segments[pipeline] = r.Client.Streams.SegmentsOut - r.Retransmissions.Stream
		u := &r.HTTP.Reuse
		require.Equal(t, []uint64{n * requests, n, n * (requests - 1)}, []uint64{u.Responses, u.Connections, u.HandshakesAvoided})
		require.InDelta(t, r.Latency.Mean*0.9, u.SavedNS, 1)
		require.InDelta(t, r.Latency.Mean, u.ConnectNS, 1)
		require.InDelta(t, (r.Latency.Mean+r.HTTP.Exchange.Mean)/requests, u.RequestNS, 1)
		require.Equal(t, int64(n), r.HTTP.Exchange.Count)
		require.LessOrEqual(t, r.HTTP.Exchange.Max, r.HTTP.Total.Max)
		var b bytes.Buffer
		require.NoError(t, r.WriteText(&b))
		require.Regexp(t, `(?m)^reuse +10 requests on a connection(, 10 at once)?: 4,500 handshakes avoided, \S+ of \S+ per request saved \(connect \S+\)$`, b.String())
	}
	require.GreaterOrEqual(t, segments[1], uint64(n*(requests+1)), "each request in a segment of its own")
	require.LessOrEqual(t, segments[10], uint64(n*6), "all requests in one")
	require.Zero(t, reuse(0, 10, 0, 0).SavedNS)
}

// A server that closes in the middle of a pipeline leaves requests unanswered: they are cut, and the sums close.
func TestHTTPPipelineShort(t *testing.T) {
	const text = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx" +
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\ny"
	peer(t, t.Name(), fastsyn.Config{Listeners: []fastsyn.Listener{{Addr: ":80", Callbacks: fastsyn.Callbacks{Data: func(f *fastsyn.Flow, _ []byte) {
		f.Reply([]byte(text), true)
	}}}}})
	c := toPeer(t.Name())
	c.Scenario, c.Count, c.HTTPRequests, c.HTTPPipeline, c.HTTPBody, c.Drain = ScenarioHTTP, 50, 6, 3, 1, 10*time.Second
	r := measure(t, c)
	require.Equal(t, []uint64{50, 50}, []uint64{r.HTTP.Attempted, r.HTTP.Short})
	require.Equal(t, uint64(100), r.HTTP.Responses)
	require.Equal(t, r.HTTP.RequestsSent-100, r.HTTP.Failed["cut"])
	require.GreaterOrEqual(t, r.HTTP.RequestsSent, uint64(150))
}

// The end that closes first keeps the tuple, when it is asked to: our server after one
// request, the client after several.
func TestTWT_013_HTTPTimeWait(t *testing.T) {
	for requests, client := range map[int]uint64{1: 0, 2: 500} {
		r := measure(t, Config{Scenario: ScenarioHTTP, Count: 500, HTTPRequests: requests, TimeWait: time.Minute})
		clean(t, r, 500)
		require.Equal(t, client, r.Client.Engine.TimeWaits)
		require.Equal(t, 500-client, r.Server.Engine.TimeWaits)
		require.InEpsilon(t, 60, r.TimeWaitS, 1e-9)
	}
}

// One percent lost each way, or worse: every transaction is complete, every byte as it was sent.
func TestHTTPUnderLoss(t *testing.T) {
	for _, port := range []string{"impair(loss=1%,seed=3):loop:", "impair(loss=1%,dup=2%,reorder=2%,corrupt=1%,seed=5):loop:"} {
		for _, requests := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s/requests=%d", port, requests), func(t *testing.T) {
				r := measure(t, Config{
					Scenario: ScenarioHTTP, Port: port, Count: 1500, HTTPRequests: requests, HTTPBody: 20_000, InitialRTO: 20 * time.Millisecond, SYNRetries: 20,
					TimeWait: time.Minute, Drain: time.Minute,
				})
				require.Equal(t, uint64(1500), r.HTTP.Complete)
				require.Empty(t, r.HTTP.Failed)
				require.NotZero(t, r.Retransmissions.Stream)
				require.NotZero(t, r.Client.Drops["impair_tx_lost"])
				require.NotZero(t, r.Server.Drops["impair_tx_lost"])
			})
		}
	}
}

// What servers of others do wrong has a name each.
func TestHTTPFailures(t *testing.T) {
	const good = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
	send := func(text string, end func(f *fastsyn.Flow)) func(f *fastsyn.Flow, p []byte) {
		return func(f *fastsyn.Flow, _ []byte) {
			f.Write([]byte(text))
			end(f)
		}
	}
	shut, stay := (*fastsyn.Flow).Close, func(*fastsyn.Flow) {}
	for _, tc := range []struct {
		name     string
		data     func(f *fastsyn.Flow, p []byte)
		requests int
		want     HTTP
	}{
		{"complete", send(good, shut), 1, HTTP{Complete: 20, RequestsSent: 20, Responses: 20}},
		{"closed by us", send(good, stay), 1, HTTP{Complete: 20, RequestsSent: 20, Responses: 20}},
		{"up to the close", send("HTTP/1.0 200 OK\r\n\r\nhello", shut), 1, HTTP{Complete: 20, RequestsSent: 20, Responses: 20}},
		{"chunked", send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", stay), 3, HTTP{Complete: 20, RequestsSent: 60, Responses: 60}},
		{"status", send(strings.Replace(good, "200", "404", 1), stay), 1, HTTP{BadResponse: 20, RequestsSent: 20, Failed: map[string]uint64{"wrong status": 20}}},
		{"length", send(good[:len(good)-1]+"o!", stay), 1, HTTP{BadResponse: 20, RequestsSent: 20, Failed: map[string]uint64{"unexpected text": 20}}},
		{"another length", send(strings.Replace(good, "5", "4", 1)[:len(good)-1], stay), 1, HTTP{BadResponse: 20, RequestsSent: 20, Failed: map[string]uint64{"wrong length": 20}}},
		{"no HTTP", send("220 hello\r\n", stay), 1, HTTP{BadResponse: 20, RequestsSent: 20, Failed: map[string]uint64{"bad status line": 20}}},
		{"half a response", send(good[:len(good)-2], shut), 1, HTTP{Short: 20, RequestsSent: 20, Failed: map[string]uint64{"truncated": 20}}},
		{"nothing", func(f *fastsyn.Flow, _ []byte) { f.Close() }, 1, HTTP{Short: 20, RequestsSent: 20, Failed: map[string]uint64{"truncated": 20}}},
		{"reset", func(f *fastsyn.Flow, _ []byte) { f.Abort() }, 1, HTTP{Reset: 20, RequestsSent: 20, Failed: map[string]uint64{"cut": 20}}},
		{"closes early", send(strings.Replace(good, "\r\n\r", "\r\nConnection: close\r\n\r", 1), shut), 3, HTTP{Short: 20, RequestsSent: 20, Responses: 20}},
		{"closes early, untold", send(good, shut), 3, HTTP{Short: 20, RequestsSent: 40, Responses: 20, Failed: map[string]uint64{"truncated": 20}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			peer(t, t.Name(), fastsyn.Config{Listeners: []fastsyn.Listener{{Addr: ":80", Callbacks: fastsyn.Callbacks{Data: tc.data}}}})
			c := toPeer(t.Name())
			c.Scenario, c.Count, c.HTTPRequests, c.HTTPBody, c.Drain = ScenarioHTTP, 20, tc.requests, 5, 10*time.Second
			r := measure(t, c)
			h := &r.HTTP
			require.Equal(t, uint64(20), h.Attempted)
			got := HTTP{
				Complete: h.Complete, BadResponse: h.BadResponse, Short: h.Short, Reset: h.Reset, Pending: h.Pending,
				RequestsSent: h.RequestsSent, Responses: h.Responses, Awaited: h.Awaited, Failed: h.Failed,
			}
			if len(got.Failed) == 0 {
				got.Failed = nil
			}
			require.Equal(t, tc.want, got)
			require.Nil(t, r.Server)
		})
	}
	t.Run("silence", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var asked atomic.Int32
		peer(t, t.Name(), fastsyn.Config{Listeners: []fastsyn.Listener{{Addr: ":80", Callbacks: fastsyn.Callbacks{Data: func(*fastsyn.Flow, []byte) {
			if asked.Add(1) == 20 {
				cancel()
			}
		}}}}})
		c := toPeer(t.Name())
		c.Scenario, c.Concurrency, c.Duration, c.Drain, c.Polling = ScenarioHTTP, 20, time.Hour, -1, "adaptive"
		r, err := Run(ctx, c, nil)
		require.NoError(t, err)
		require.True(t, r.Valid, r.InvalidReason)
		h := &r.HTTP
		require.Equal(t, []uint64{20, 20, 20, 20, 0}, []uint64{h.Attempted, h.Pending, h.RequestsSent, h.Awaited, h.Responses})
		require.Empty(t, h.Failed)
	})
	t.Run("refused", func(t *testing.T) {
		peer(t, t.Name(), fastsyn.Config{})
		c := toPeer(t.Name())
		c.Scenario, c.Count = ScenarioHTTP, 20
		r := measure(t, c)
		require.Equal(t, uint64(20), r.HTTP.NotConnected)
		require.Contains(t, r.Limiter, "refused 20 of 20")
		require.Equal(t, http1.AnyLength, r.HTTP.Body)
	})
}

func TestHTTPRateKeepsItsSchedule(t *testing.T) {
	r := measure(t, Config{Scenario: ScenarioHTTP, Count: 200, Rate: 4000, Concurrency: 1 << 12})
	clean(t, r, 200)
	require.Equal(t, int64(200), r.Response.Count)
	require.GreaterOrEqual(t, r.Response.Max, r.HTTP.Total.Min)
	require.GreaterOrEqual(t, r.DurationS, 0.0497)
}

func TestHostField(t *testing.T) {
	for connect, want := range map[string]string{
		"10.0.0.9:80": "10.0.0.9", "10.0.0.9:8080": "10.0.0.9:8080", "[2001:db8::9]:80": "[2001:db8::9]", "[2001:db8::9]:81": "[2001:db8::9]:81",
	} {
		c := Config{Connect: connect}
		require.Equal(t, want, c.hostField())
	}
}

// httpPair is the scenario stepped by hand: one worker at each end of a wire.
type httpPair struct {
	client, server *worker.Worker
	gen            *httpClient
	web            *httpServer
	now            int64
}

// newHTTPPair serves one body and wants another.
func newHTTPPair(tb testing.TB, c Config, body, want []byte) *httpPair {
	tb.Helper()
	p := &httpPair{now: 1_700_000_000_000_000_000}
	c.Scenario, c.Seed = ScenarioHTTP, 1
	c, err := c.normalize()
	require.NoError(tb, err)
	c.Connect = server4 + ":80"
	near, far, err := loop.Pair(loop.Config{Queues: 1, Frames: 8192, Ring: 2048})
	require.NoError(tb, err)
	secret, err := cookie.NewSecret([]byte("0123456789abcdef0123456789abcdef"))
	require.NoError(tb, err)
	ring, err := cookie.NewRing(secret, time.Unix(0, p.now), cookie.RingConfig{})
	require.NoError(tb, err)
	const flows = 4096
	mk := func(port dataplane.Port, addr string, src worker.Source) *worker.Worker {
		n, err := worker.NewNet([6]byte(port.Info().MAC), []netip.Prefix{netip.MustParsePrefix(addr)}, nil, nil)
		require.NoError(tb, err)
		h, err := secret.Hasher()
		require.NoError(tb, err)
		w, err := worker.New(worker.Config{
			Port: port, Net: n, Engine: handshake.Config{MaxFlows: flows, TimeWait: -1, Cookies: handshake.CookiesPressure}, Hasher: h, Ring: ring,
			Clock: func() int64 { return p.now }, CPU: -1, Polling: worker.Busy, Source: src,
		})
		require.NoError(tb, err)
		tb.Cleanup(func() {
			require.NoError(tb, w.Free())
			require.NoError(tb, port.Close())
		})
		return w
	}
	p.web = newHTTPServer(body, 1)
	p.server = mk(near, serverAddrs[0], nil)
	app, err := p.server.AddApp(p.web.callbacks())
	require.NoError(tb, err)
	require.NoError(tb, p.server.Listen(wire.Addr{}, serverPort, app))

	j := &job{cfg: c, workers: 1, remote: wire.AddrFrom(netip.MustParseAddr(server4)), port: serverPort, content: want, fail: make(chan error, 1)}
	picker, err := newPicker(far.Info())
	require.NoError(tb, err)
	t, err := newTuples(picker, sources(clientAddrs[:1], nil, j.remote), j.remote, serverPort, 0, 1)
	require.NoError(tb, err)
	p.gen, err = newHTTP(j, 0, t, flows)
	require.NoError(tb, err)
	p.client = mk(far, clientAddrs[0], p.gen)
	return p
}

func (p *httpPair) step() {
	p.now += 10_000
	p.client.Step()
	p.server.Step()
}

// Once warm, a transaction allocates nothing on either side.
func TestHTTPTransactionsDoNotAllocate(t *testing.T) {
	for _, c := range []Config{{HTTPBody: 1024}, {HTTPBody: 1024, HTTPRequests: 3}, {HTTPBody: 30_000}} {
		t.Run(fmt.Sprintf("body=%d/requests=%d", c.HTTPBody, c.HTTPRequests), func(t *testing.T) {
			c.Concurrency = 64
			body := http1.FixedText(c.HTTPBody)
			p := newHTTPPair(t, c, body, body)
			warm := 20_000
			if raceBuild {
				warm = 1000
			}
			for range warm {
				p.step()
			}
			done := p.gen.tally.ends[endComplete]
			require.Positive(t, done)
			if !raceBuild {
				require.Zero(t, testing.AllocsPerRun(500, p.step))
			} else {
				for range 500 {
					p.step()
				}
			}
			require.Greater(t, p.gen.tally.ends[endComplete], done+500)
			for end, n := range p.gen.tally.ends {
				if ending(end) != endComplete {
					require.Zero(t, n, "ending %d", end)
				}
			}
		})
	}
}

// A byte that is not the one the server was given to send ends the transaction.
func TestHTTPContentIsCompared(t *testing.T) {
	for _, at := range []int{0, 700, 29_999} {
		body := http1.FixedText(30_000)
		other := append([]byte(nil), body...)
		other[at] ^= 0x20
		p := newHTTPPair(t, Config{HTTPBody: 30_000, Concurrency: 4, Count: 8}, other, body)
		for range 5000 {
			p.step()
		}
		require.Equal(t, [numEndings]uint64{endContent: 8}, p.gen.tally.ends)
		s := p.client.Snapshot()
		require.Empty(t, s.Check())
		require.Equal(t, uint64(8), s.Engine.Aborted)
		require.Equal(t, finished, p.gen.phase)
	}
}

// BenchmarkHTTPTransaction is what both ends cost together, wire included.
func BenchmarkHTTPTransaction(b *testing.B) {
	for _, flows := range []int{64, 256, 1024} {
		b.Run(fmt.Sprintf("flows=%d", flows), func(b *testing.B) {
			body := http1.FixedText(1024)
			p := newHTTPPair(b, Config{Concurrency: flows}, body, body)
			for range 5000 {
				p.step()
			}
			start := p.gen.tally.ends[endComplete]
			for b.Loop() {
				p.step()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(p.gen.tally.ends[endComplete]-start), "ns/transaction")
		})
	}
}
