package http1

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

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
