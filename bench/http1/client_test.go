package http1

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func testClient(t testing.TB, method string) *Client {
	t.Helper()
	c, err := NewClient(method, "a", "/", true, 200, 5)
	require.NoError(t, err)
	return c
}

// responseRules are what a server sends, then FIN when fin is set, and what the client makes of it.
var responseRules = []struct {
	name, in string
	fin      bool
	why      Reason
	persists bool
}{
	{"RFC 9112 6.3: length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, OK, true},
	{"RFC 9112 9.6: close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", false, OK, false},
	{"RFC 9112 9.3: HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, OK, false},
	{"RFC 9112 9.3: HTTP/1.0 with keep-alive", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", false, OK, true},
	{"RFC 9112 4: no phrase", "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", false, OK, true},
	{"RFC 9112 4: not even a space", "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", false, OK, true},
	{"RFC 9112 7.1: chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n0\r\na: b\r\n\r\n", false, OK, true},
	{"RFC 9112 6.3: up to the close", "HTTP/1.1 200 OK\r\n\r\nhello", true, OK, false},
	{"RFC 9110 15.2: interim responses", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, OK, true},
	{"RFC 9112 8: closed in a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", true, Truncated, false},
	{"RFC 9112 8: closed in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", true, Truncated, false},
	{"RFC 9112 8: closed in the head", "HTTP/1.1 200 OK\r\nContent-Le", true, Truncated, false},
	{"RFC 9112 8: closed before", "", true, Truncated, false},
	{"RFC 9112 4: no HTTP", "SSH-2.0-x", false, BadStatusLine, false},
	{"RFC 9112 4: HTTP/2", "HTTP/2.0 200 OK\r\n", false, BadStatusLine, false},
	{"RFC 9112 4: two digits", "HTTP/1.1 20 OK\r\n", false, BadStatusLine, false},
	{"RFC 9112 4: four digits", "HTTP/1.1 2000 OK\r\n", false, BadStatusLine, false},
	{"RFC 9110 15: status above 599", "HTTP/1.1 600 OK\r\n", false, BadStatusLine, false},
	{"RFC 9112 4: CR in the phrase", "HTTP/1.1 200 O\rK\r\n", false, BadStatusLine, false},
	{"RFC 9110 15.2.2: 101 was not asked for", "HTTP/1.1 101 Switching Protocols\r\n\r\n", false, BadInterim, false},
	{"RFC 9110 15.2: nine interim responses", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 9), false, BadInterim, false},
	{"RFC 9112 6.3: length and coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello", false, LengthAndCoding, false},
	{"RFC 9112 6.3: lengths that differ", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", false, LengthsDiffer, false},
	{"RFC 9112 6.1: coding in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false, CodingHTTP10, false},
	{"RFC 9112 6.1: unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", false, CodingUnknown, false},
	{"RFC 9112 2.2: bare LF", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", false, BareLF, false},
	{"RFC 9112 5.2: folded line", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", false, ObsFold, false},
	{"RFC 9112 7.1: bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", false, BadChunk, false},
	{"head too long", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", maxAnswer), false, HeadTooLong, false},
	{"RFC 9112 9.2: text after the response", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello?", false, Unexpected, false},
	{"RFC 9110 15.3.5: no content with 204", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", false, WrongStatus, true},
	{"RFC 9110 15.4.5: no content with 304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false, WrongStatus, true},
	{"another status", "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello", false, WrongStatus, true},
	{"another length", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!", false, WrongLength, true},
	{"no content", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, WrongLength, true},
}

func TestResponses(t *testing.T) {
	for _, r := range responseRules {
		t.Run(r.name, func(t *testing.T) {
			sizes := []int{1 << 20, 1, 2, 3, 7, 100}
			if r.why == Unexpected { // what comes later finds nothing to belong to: TestClientReuse
				sizes = sizes[:1]
			}
			for _, size := range sizes {
				c, f := testClient(t, "GET"), &fake{}
				require.True(t, c.Send(f))
				require.Equal(t, string(c.Request()), string(f.out))
				done, why := false, OK
				for _, p := range pieces([]byte(r.in), size) {
					if done {
						require.NotEqual(t, OK, why, "complete before all pieces came")
						break
					}
					p = bytes.Clone(p)
					done, why = c.Data(f, p)
					for i := range p {
						p[i] = 0xdb
					}
				}
				if r.fin && !done {
					done, why = c.PeerClosed(f)
				}
				require.True(t, done, "pieces of %d", size)
				require.Equal(t, r.why, why, "pieces of %d", size)
				require.Equal(t, r.persists, c.Last.Persists)
				if why == OK {
					require.Equal(t, Result{200, 5, r.persists}, c.Last)
					require.Equal(t, uint64(5), c.Content)
				} else {
					require.Equal(t, uint64(1), c.Failed[why])
				}
				done, _ = c.PeerClosed(f)
				require.False(t, done, "it is told once")
				c.Closed(f, 0)
				require.NoError(t, c.Check(0))
				require.Equal(t, 0, clientInUse(c))
			}
		})
	}
}

func clientInUse(c *Client) int { return inUse(&Server{mem: c.mem, limits: Limits{Memory: 64 << 20}}) }

// TestClientReuse: requests follow each other on one connection; HEAD has no content; what is cut is counted.
func TestClientReuse(t *testing.T) {
	c, f := testClient(t, "HEAD"), &fake{}
	for range 3 {
		require.True(t, c.Send(f))
		done, why := c.Data(f, []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"))
		require.Equal(t, []any{true, OK, true}, []any{done, why, c.Last.Persists})
	}
	done, why := c.Data(f, []byte("x"))
	require.Equal(t, []any{true, Unexpected}, []any{done, why}, "after the response")
	c.Closed(f, 0)
	require.NoError(t, c.Check(0))
	require.Equal(t, uint64(3), c.Done)

	for _, part := range []string{"", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"} {
		c, f := testClient(t, "GET"), &fake{}
		done, why := c.Data(f, []byte("x"))
		require.Equal(t, []any{true, Unexpected}, []any{done, why}, "before the request")
		require.True(t, c.Send(f))
		require.NoError(t, c.Check(1))
		if part != "" {
			done, _ = c.Data(f, []byte(part))
			require.False(t, done)
		}
		c.Closed(f, 1)
		c.Closed(f, 0)
		require.Equal(t, uint64(1), c.Cut)
		require.NoError(t, c.Check(0))
		require.Equal(t, 0, clientInUse(c))
	}
	require.False(t, c.Send(&fake{refuse: true}))
}

func TestNewClientRefuses(t *testing.T) {
	for _, c := range [][3]string{{"POST", "a", "/"}, {"GET", "a b", "/"}, {"GET", "a", "x"}, {"GET", "a", "/ HTTP/1.1\r\nX: y"}, {"GET", "a\r\n\r\nGET", "/"}} {
		_, err := NewClient(c[0], c[1], c[2], true, 200, AnyLength)
		require.Error(t, err, "%q", c)
	}
}

// TestClientAgainstServer: the two halves agree, keep-alive and close, for all sizes around what is copied and what is referenced.
func TestClientAgainstServer(t *testing.T) {
	for _, size := range []int{0, 1, 1024, joined - 1, joined, joined + 1, 100_000} {
		for _, keep := range []bool{true, false} {
			t.Run(fmt.Sprintf("size=%d/keep=%v", size, keep), func(t *testing.T) {
				s := testServer(Fixed("text/plain", FixedText(size)))
				c, err := NewClient("GET", "a:8080", "/x", keep, 200, int64(size))
				require.NoError(t, err)
				near, far := &fake{}, &fake{room: 1 << 30}
				for range 3 {
					require.True(t, c.Send(near))
					s.Data(far, near.out)
					done, why := c.Data(near, far.out)
					require.Equal(t, []any{true, OK, keep}, []any{done, why, c.Last.Persists})
					require.Equal(t, !keep, far.closed)
					if size > joined {
						require.Equal(t, size, far.static, "a long body is not copied")
					}
					*near, *far = fake{value: near.value}, fake{room: 1 << 30}
				}
				require.NoError(t, c.Check(0))
				require.NoError(t, s.Check(0))
			})
		}
	}
}

// TestClientPipelines: responses to several requests come in pieces of any size, across their borders; what
// nobody waits for is refused, and a server that announces to close leaves the others unanswered.
func TestClientPipelines(t *testing.T) {
	const depth = 3
	plain, chunked := "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
	last := "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
	for _, c := range []struct {
		stream string
		done   int // responses as wanted
		why    Reason
		open   int // requests still under way
	}{
		{plain + chunked + plain, 3, OK, 0},
		{chunked + plain, 2, OK, 1},
		{plain + plain[:30], 1, OK, 2},
		{plain + chunked + plain + "x", 3, Unexpected, 0},
		{plain + last, 2, OK, 1},
		{plain + "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n" + plain, 1, WrongStatus, 1},
	} {
		for size := 1; size <= len(c.stream); size++ {
			cl, f := testClient(t, "GET"), &fake{}
			require.Equal(t, 2, cl.SendMany(f, 2))
			require.Equal(t, 1, cl.SendMany(f, 1))
			require.Equal(t, strings.Repeat(string(cl.Request()), depth), string(f.out))
			open, got, last := depth, OK, false
		feed:
			for _, p := range pieces([]byte(c.stream), size) {
				for len(p) > 0 {
					n, done, why := cl.Next(f, p, open > 1)
					p = p[n:]
					if done && open > 0 && !last {
						open--
					}
					if done && why == OK && !cl.Last.Persists {
						last = true
					}
					if got = why; why != OK {
						break feed
					}
				}
			}
			if c.why == Unexpected { // with the last response, or behind it
				require.Equal(t, c.why, got)
				continue
			}
			require.Equal(t, c.why, got, "pieces of %d", size)
			require.EqualValues(t, c.done, cl.Done)
			require.Equal(t, c.open, open)
			require.NoError(t, cl.Check(uint64(open)))
			cl.Closed(f, open)
			require.NoError(t, cl.Check(0))
			require.Equal(t, 0, clientInUse(cl))
		}
	}
	c := testClient(t, "GET")
	require.Zero(t, c.SendMany(&fake{refuse: true}, 3))
	n := c.SendMany(&fake{}, 1<<20)
	require.Greater(t, n, 100)
	require.LessOrEqual(t, n*len(c.Request()), maxBatch+len(c.Request()))
	require.NoError(t, c.Check(uint64(n)))
	f := &fake{}
	require.Equal(t, 2, c.SendMany(f, 2))
	require.Zero(t, testing.AllocsPerRun(100, func() { f.out = f.out[:0]; c.SendMany(f, 2) }))
}
