package http1

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// mutate returns one of texts as it is, or with one byte changed, or less or more of it.
func mutate(r *rand.Rand, texts []string) []byte {
	p := []byte(texts[r.IntN(len(texts))])
	switch r.IntN(8) {
	case 0:
		p[r.IntN(len(p))] ^= 1 << r.IntN(8)
	case 1:
		p = p[:r.IntN(len(p))]
	case 2:
		p = append(p, texts[r.IntN(len(texts))]...)
	case 3:
		i := r.IntN(len(p))
		p = bytes.Replace(p, p[i:min(i+2, len(p))], []byte("\r\n"), 1)
	}
	return p
}

// sameAsFresh plays connections to one server, and each of them to a fresh one byte by byte, which
// never has anything to remember when a head begins: both say and count the same.
func sameAsFresh(t *testing.T, site *Site, conns [][]byte, size, unix func() int) (remembered int) {
	t.Helper()
	s := testServer(site)
	var sum Counters
	for _, in := range conns {
		now := testTime + int64(unix())
		s.Tick(now)
		if s.memo.begins(in) > 0 {
			remembered++
		}
		a, b, fresh := &fake{}, &fake{}, testServer(site)
		fresh.Tick(now)
		feed(t, s, a, true, pieces(in, max(1, size()))...)
		feed(t, fresh, b, true, pieces(in, 1)...)
		require.Equal(t, final(b.out), final(a.out), "%q", in)
		require.Equal(t, b.closed, a.closed)
		require.Equal(t, b.aborted, a.aborted)
		end(t, s, a)
		end(t, fresh, b)
		sum.Add(&fresh.Counters)
	}
	got := s.Counters
	got.Continues, sum.Continues = 0, 0 // fewer, the more content came with its head
	require.Equal(t, sum, got)
	return remembered
}

func TestMemoIsInvisible(t *testing.T) {
	texts := []string{
		get(""), get("Connection: close\r\n"), "GET / HTTP/1.0\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", curlRequest, browserRequest,
		"GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2\r\n\r\n", "GET /%61.txt HTTP/1.1\r\nHost: a\r\n\r\n", "GET /dir HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /a.txt HTTP/1.1\r\nHost: a\r\nIf-Modified-Since: Thu, 29 Feb 2024 12:00:00 GMT\r\n\r\n", get("Cookie: a=b\r\n"), "GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
		post("Content-Length: 5\r\n", "hello"), post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
		post("Content-Length: 5\r\nExpect: 100-continue\r\n", "hello"), get("Long: " + strings.Repeat("a", maxMemo) + "\r\n"), "\r\n" + get(""),
	}
	for _, site := range []*Site{Fixed("text/plain", FixedText(100)), filesSite(t)} {
		remembered := 0
		for seed := range uint64(40) {
			r := rand.New(rand.NewPCG(seed, 2))
			few := texts
			if seed%2 == 0 { // the same ones often
				i := r.IntN(len(texts) - 1)
				few = texts[i : i+2]
			}
			conns := make([][]byte, 30)
			for i := range conns {
				conns[i] = mutate(r, few)
			}
			remembered += sameAsFresh(t, site, conns, func() int { return 1 + r.IntN(1<<r.IntN(12)) }, func() int { return r.IntN(2) })
		}
		require.Greater(t, remembered, 100, "heads that were remembered")
	}
}

// FuzzMemo plays what lies between zero bytes as connections to one server and one client.
func FuzzMemo(f *testing.F) {
	f.Add([]byte(get("")+"\x00"+get("")+"\x00"+get("")+"x\x00"+get("A: b\r\n")+"\x00x\x00"+get("")), uint8(200))
	f.Add([]byte(post("Content-Length: 5\r\n", "hello")+get("")+"\x00"+post("Content-Length: 5\r\n", "hell")+"\x00"+post("Content-Length: 5\r\n", "hello")), uint8(90))
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\x00HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell\x00HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), uint8(100))
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		conns := bytes.Split(in, []byte{0})
		n := func() int { return int(size) }
		sameAsFresh(t, Fixed("text/plain", []byte("ok\n")), conns, n, n)
		sameAsFreshClient(t, conns, n)
	})
}

// sameAsFreshClient plays responses to one client, and each of them to a fresh one.
func sameAsFreshClient(t *testing.T, answers [][]byte, size func() int) (remembered int) {
	t.Helper()
	c := testClient(t, "GET")
	var sum ClientCounters
	for _, in := range answers {
		if c.memo.begins(in) > 0 {
			remembered++
		}
		a, b, fresh := &fake{}, &fake{}, testClient(t, "GET")
		require.True(t, c.Send(a))
		require.True(t, fresh.Send(b))
		done, parts := false, pieces(in, max(1, size()))
		for i := 0; i < len(parts) && !done; i++ {
			var why, want Reason
			done, why = c.Data(a, bytes.Clone(parts[i]))
			wantDone, want := fresh.Data(b, parts[i])
			require.Equal(t, wantDone, done, "%q", in)
			require.Equal(t, want, why, "%q", in)
		}
		if !done {
			done, why := c.PeerClosed(a)
			wantDone, want := fresh.PeerClosed(b)
			require.Equal(t, wantDone, done)
			require.Equal(t, want, why)
		}
		require.Equal(t, fresh.Last, c.Last, "%q", in)
		c.Closed(a, 0)
		require.NoError(t, c.Check(0))
		require.Equal(t, 0, clientInUse(c))
		sum.Add(&fresh.ClientCounters)
	}
	require.Equal(t, sum, c.ClientCounters)
	return remembered
}

func TestClientMemoIsInvisible(t *testing.T) {
	var texts []string
	for _, c := range responseRules {
		if len(c.in) > 0 {
			texts = append(texts, c.in)
		}
	}
	remembered := 0
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 3))
		few := texts
		if seed%2 == 0 {
			i := r.IntN(len(texts) - 1)
			few = texts[i : i+2]
		}
		answers := make([][]byte, 30)
		for i := range answers {
			answers[i] = mutate(r, few)
		}
		remembered += sameAsFreshClient(t, answers, func() int { return 1 + r.IntN(1<<r.IntN(12)) })
	}
	require.Greater(t, remembered, 100, "heads that were remembered")
}

// TestMemoOfWhat: heads that are short enough and have no secret are remembered; one that is not does not
// leave the outcome of another behind.
func TestMemoOfWhat(t *testing.T) {
	const long = maxMemo - len("GET / HTTP/1.1\r\nHost: a\r\n\r\n") - len("L: \r\n")
	for _, c := range []struct {
		name, in string
		want     bool
	}{
		{"short", get(""), true},
		{"as long as it gets", get("L: " + strings.Repeat("a", long) + "\r\n"), true},
		{"too long", get("L: " + strings.Repeat("a", long+1) + "\r\n"), false},
		{"cookie", get("COOKIE: a\r\n"), false},
		{"authorization", get("Authorization: Basic YTpi\r\n"), false},
		{"proxy-authorization", get("Proxy-Authorization: Basic YTpi\r\n"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := testServer(Fixed("text/plain", []byte("ok\n")))
			for range 2 {
				for _, in := range []string{"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", c.in} {
					f := &fake{}
					feed(t, s, f, true, []byte(in))
					require.Equal(t, strings.HasPrefix(in, "GET"), strings.HasSuffix(string(f.out), "ok\n"))
					end(t, s, f)
				}
				require.Equal(t, c.want, s.memo.begins([]byte(c.in)) == len(c.in))
			}
		})
	}
}

// statics is a stream that sends static texts from where they lie, later.
type statics struct {
	sink
	texts [][]byte
}

func (f *statics) WriteStatic(p []byte) bool { f.texts = append(f.texts, p); return true }

// TestFixedResponseStays: the response of a fixed site goes out from where it lies, so it must not change
// while the clock goes on and others are sent, and the next second has its own.
func TestFixedResponseStays(t *testing.T) {
	s, f := testServer(Fixed("text/plain", FixedText(100))), &statics{}
	requests := []string{get(""), get("Connection: close\r\n"), "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", "bad\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"}
	var want []string
	for i := range 3 {
		s.Tick(testTime + int64(i))
		for range 2 {
			for _, in := range requests {
				other := testServer(s.site)
				other.Tick(testTime + int64(i))
				g := &fake{room: 1 << 20}
				other.Data(g, []byte(in))
				other.Closed(g)
				before := f.n
				s.Data(f, []byte(in))
				s.Closed(f)
				if f.n == before {
					want = append(want, string(g.out))
				}
			}
		}
	}
	require.Len(t, f.texts, 3*2*4, "all but errors")
	for i, p := range f.texts {
		require.Equal(t, want[i], string(p))
	}
	in := []byte(requests[0])
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		f.texts = f.texts[:0]
		s.Tick(s.unix + 1)
		for range 10 {
			s.Data(f, in)
		}
	}), 1.0, "allocations a second")
}

// TestLingering: a connection that we closed costs no Conn until the peer sends more, which is discarded and counted.
func TestLingering(t *testing.T) {
	s := NewServer(Fixed("text/plain", []byte("ok\n")), Limits{Linger: 10})
	var f [3]fake
	for i := range f {
		f[i].room = 1 << 20
		s.Data(&f[i], []byte(get("Connection: close\r\n")))
		require.True(t, f[i].closed)
		require.Same(t, lingering, f[i].value)
		require.Len(t, s.conns, 1, "the same again")
	}
	s.PeerClosed(&f[0])
	require.Nil(t, f[0].value)
	out := len(f[1].out)
	s.Data(&f[1], []byte(get("")[:10]))
	require.False(t, f[1].aborted)
	s.Data(&f[1], []byte("x"))
	require.True(t, f[1].aborted)
	require.Len(t, f[1].out, out)
	require.Equal(t, uint64(1), s.Refused[Flooded])
	s.Closed(&f[2])
	require.Nil(t, f[2].value)
	require.Equal(t, Conn{state: closing}, *lingering)
	end(t, s, &f[0])
}

// Heads that are equal to the last one, nearly equal, or equal and in pieces mean what they mean to a
// server that has seen none before.
func TestHeadsAgain(t *testing.T) {
	site := Fixed("text/plain", []byte("hello"))
	long := strings.Repeat("a", 2*maxMemo)
	heads := []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"GET / HTTP/1.1\r\nHost: a\r\nX: " + long + "\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nX: " + long + "\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
	}
	answer := func(s *Server, f *fake, text string, size int) string {
		n := len(f.out)
		for _, p := range pieces([]byte(text), size) {
			p = bytes.Clone(p)
			s.Data(f, p)
			for i := range p {
				p[i] = 0xdb // it was read and not kept
			}
		}
		return string(f.out[n:])
	}
	for _, size := range []int{1 << 20, 7} {
		s, f := testServer(site), &fake{room: 1 << 30}
		for i, h := range heads {
			want := answer(testServer(site), &fake{room: 1 << 30}, h, size)
			require.Equal(t, want, answer(s, f, h, size), "head %d in pieces of %d", i, size)
		}
		require.True(t, f.closed)
		require.NoError(t, s.Check(0))
	}
	// Two in one piece, and what is no head any more.
	s, f := testServer(site), &fake{room: 1 << 30}
	for range 3 {
		out := answer(s, f, heads[0]+heads[0], 1<<20)
		require.Equal(t, 2, strings.Count(out, "HTTP/1.1 200 OK"))
	}
	out := answer(s, f, heads[0][:len(heads[0])-2]+"Bad\r\n\r\n", 1<<20)
	require.Contains(t, out, "400 Bad Request")
}

// Entities that a request names are chosen anew each time, by what the second and later heads say.
func TestHeadsAgainKeepTheirFields(t *testing.T) {
	site := filesSite(t)
	get := "GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=2-4\r\n\r\n"
	s, f := testServer(site), &fake{room: 1 << 30}
	first := ""
	for i := range 4 {
		f.out = f.out[:0]
		p := []byte(get)
		s.Data(f, p)
		for j := range p {
			p[j] = 0xdb
		}
		if i == 0 {
			first = string(f.out)
			require.Contains(t, first, "206 Partial Content")
		}
		require.Equal(t, first, string(f.out))
	}
}

// The same of responses: a head is known by all of its bytes.
func TestAnswersAgain(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
	c, f := testClient(t, "GET"), &fake{}
	for _, r := range []struct {
		text string
		why  Reason
	}{
		{ok + "hello", OK},
		{ok + "hello", OK},
		{strings.Replace(ok, "5", "4", 1) + "hell", WrongLength},
		{ok + "hello", OK},
		{strings.Replace(ok, "200", "404", 1) + "hello", WrongStatus},
		{ok[:len(ok)-2] + "Transfer-Encoding: chunked\r\n\r\n", LengthAndCoding},
		{ok[:len(ok)-2] + "Transfer-Encoding: chunked\r\n\r\n", LengthAndCoding},
		{ok + "hello", OK},
		{"HTTP/1.1 100 Continue\r\n\r\n" + ok + "hello", OK},
		{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + ok + "hello", OK},
		{ok + "hello", OK},
	} {
		require.True(t, c.Send(f))
		done, why := c.Data(f, []byte(r.text))
		require.True(t, done)
		require.Equal(t, r.why, why, "%q", r.text)
		f.value = nil
	}
	require.NoError(t, c.Check(0))
}
