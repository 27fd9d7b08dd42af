package http1

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBlocked: whatever room the stream has and when, the same bytes go out as with
// room for all; what came meanwhile is held, and none of it when all is out.
func TestBlocked(t *testing.T) {
	files := filesSite(t)
	in := []byte(strings.Repeat(
		get("")+"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\nGET /large.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=5-70000\r\n\r\nHEAD /large.bin HTTP/1.1\r\nHost: a\r\n\r\n"+
			"POST /dir/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /dir HTTP/1.1\r\nHost: a\r\n\r\n", 3) + get("Connection: close\r\n") + "never read")
	want := &fake{}
	s := testServer(files)
	feed(t, s, want, false, in)
	end(t, s, want)
	require.Len(t, strings.Split(string(want.out), "HTTP/1.1 "), 1+3*6+1)

	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		s, f := testServer(files), &fake{refuse: r.IntN(2) == 0}
		left, fin := bytes.Clone(in), r.IntN(2) == 0
		ended := false
		for len(left) > 0 || f.held > 0 || f.short {
			switch {
			case r.IntN(4) == 0: // a clock that goes on does not mix two dates into one head
				s.Tick(testTime + int64(r.IntN(2)))
			case r.IntN(2) == 0 && len(left) > 0:
				n := min(len(left), 1+r.IntN(300))
				p := bytes.Clone(left[:n])
				left = left[n:]
				s.Data(f, p)
				for i := range p {
					p[i] = 0xdb
				}
			case fin && !ended && len(left) == 0:
				ended = true
				s.PeerClosed(f)
			default:
				f.room = r.IntN(1 << r.IntN(18))
				if f.short && f.room > 0 {
					f.short = false
					s.Writable(f)
				}
			}
			require.GreaterOrEqual(t, f.held, 0)
		}
		got := strings.ReplaceAll(string(f.out), "08:49:38", "08:49:37")
		require.Equal(t, len(want.out), len(got), "seed %d", seed)
		require.True(t, got == string(want.out), "seed %d", seed)
		require.True(t, f.closed)
		require.Equal(t, 0, f.held)
		end(t, s, f)
		require.Equal(t, uint64(3*6+1), s.Responses)
	}
}

// TestBlockedAndGone: a connection that ends while a response waits leaves nothing behind.
func TestBlockedAndGone(t *testing.T) {
	s, f := testServer(filesSite(t)), &fake{room: 10, refuse: true}
	s.Data(f, []byte(get("")+get("")))
	s.Data(f, []byte(get("")))
	require.Equal(t, 2*len(get("")), f.held)
	s.PeerClosed(f)
	require.False(t, f.closed, "the responses are not out")
	end(t, s, f)
	require.Equal(t, uint64(1), s.Cut)
	require.Equal(t, uint64(0), s.Responses)
}

// TestHeldTooMuch: requests that wait are bounded in total.
func TestHeldTooMuch(t *testing.T) {
	s := NewServer(filesSite(t), Limits{Memory: 1024})
	f := &fake{room: 10}
	s.Data(f, []byte(get("")))
	s.Data(f, make([]byte, 1024))
	require.False(t, f.aborted)
	s.Data(f, make([]byte, 1))
	require.True(t, f.aborted)
	end(t, s, f)
	require.Equal(t, uint64(1), s.Refused[HeldTooMuch])
}

// TestNoAllocations: once warm, nothing is allocated per request: at once, in pieces, of files, ranges, with content.
func TestNoAllocations(t *testing.T) {
	f := &fake{room: 1 << 40, out: make([]byte, 0, 1<<20)}
	s := testServer(filesSite(t))
	for name, in := range map[string]string{
		"get": get(""), "close": get("Connection: close\r\n"), "large": "GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n", "decoded": "GET /%61.txt HTTP/1.1\r\nHost: a\r\n\r\n",
		"missing": "GET /x HTTP/1.1\r\nHost: a\r\n\r\n", "range": "GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2\r\n\r\n", "head": "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
		"since": get("If-Modified-Since: Thu, 29 Feb 2024 12:00:00 GMT\r\n"), "other date": get("If-Modified-Since: Thu, 29 Feb 2024 12:00:01 GMT\r\n"),
		"content": post("Content-Length: 5\r\n", "hello"), "chunked": post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), "bad": "x",
		"none match": get("If-None-Match: \"x\", *\r\n"),
	} {
		for _, size := range []int{1 << 20, 10} {
			t.Run(fmt.Sprintf("%s/pieces of %d", name, size), func(t *testing.T) {
				parts := pieces([]byte(in), size)
				unix := int64(testTime)
				require.Zero(t, testing.AllocsPerRun(100, func() {
					f.out, f.closed = f.out[:0], false
					unix++
					s.Tick(unix)
					for _, p := range parts {
						s.Data(f, p)
					}
					s.Closed(f)
				}))
			})
		}
	}
	t.Run("fixed", func(t *testing.T) {
		s, f := testServer(Fixed("text/plain", FixedText(1024))), &fake{out: make([]byte, 0, 1<<20)}
		heads := [][]byte{[]byte(get("")), []byte(get("Connection: close\r\n")), []byte(curlRequest), []byte(browserRequest), []byte(browserRequest)}
		require.Zero(t, testing.AllocsPerRun(100, func() {
			f.out, f.closed = f.out[:0], false
			for _, p := range heads {
				s.Data(f, p)
				s.Closed(f)
			}
		}))
		require.Positive(t, f.static)
	})
	t.Run("blocked", func(t *testing.T) {
		f := &fake{refuse: true, out: make([]byte, 0, 1<<20)}
		in := []byte("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n" + get(""))
		require.Zero(t, testing.AllocsPerRun(100, func() {
			f.out, f.room = f.out[:0], 1000
			s.Data(f, in)
			for f.held > 0 {
				f.room = 30_000
				s.Writable(f)
			}
		}))
	})
	t.Run("client", func(t *testing.T) {
		c := testClient(t, "GET")
		f := &fake{out: make([]byte, 0, 1<<20)}
		parts := pieces([]byte("HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 5\r\n\r\nhello"), 40)
		require.Zero(t, testing.AllocsPerRun(100, func() {
			f.out = f.out[:0]
			c.Send(f)
			for _, p := range parts {
				c.Data(f, p)
			}
		}))
		require.NoError(t, c.Check(0))
	})
}

// sink is a stream that takes all and keeps nothing.
type sink struct {
	n     int
	value any
}

func (f *sink) Write(p []byte) int        { f.n += len(p); return len(p) }
func (f *sink) WriteStatic(p []byte) bool { f.n += len(p); return true }
func (f *sink) Close()                    {}
func (f *sink) Abort()                    {}
func (f *sink) Hold(int)                  {}
func (f *sink) Consumed(int)              {}
func (f *sink) SetValue(v any)            { f.value = v }
func (f *sink) Value() any                { return f.value }

const curlRequest = "GET /a.txt HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n"

const browserRequest = "GET /a.txt HTTP/1.1\r\nHost: example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Connection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nPriority: u=0, i\r\n\r\n"

func BenchmarkServer(b *testing.B) {
	fixed, files := Fixed("text/plain", FixedText(1024)), filesSite(b)
	for _, c := range []struct {
		name string
		site *Site
		in   []string // one after another
	}{
		{"request=short/site=fixed", fixed, []string{get("")}},
		{"request=close/site=fixed", fixed, []string{get("Connection: close\r\n")}},
		{"request=curl/site=fixed", fixed, []string{curlRequest}},
		{"request=curl/site=files", files, []string{curlRequest}},
		{"request=browser/site=files", files, []string{browserRequest}},
		{"request=alternating-close/site=fixed", fixed, []string{get("Connection: close\r\n"), get("Connection: Close\r\n")}},
		{"request=alternating-curl/site=files", files, []string{curlRequest, strings.ToUpper(curlRequest)}},
		{"request=alternating-browser/site=files", files, []string{browserRequest, strings.Replace(browserRequest, "i\r\n", "j\r\n", 1)}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s, f, in := testServer(c.site), &sink{}, [2][]byte{[]byte(c.in[0]), []byte(c.in[len(c.in)-1])}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s.Data(f, in[i&1])
				if f.value != nil {
					s.Closed(f)
				}
			}
		})
	}
}

func BenchmarkClient(b *testing.B) {
	for _, name := range []string{"response=same", "response=alternating"} {
		b.Run(name, func(b *testing.B) {
			var in [2][]byte
			s := testServer(Fixed("text/plain", FixedText(1024)))
			c, err := NewClient("GET", "a", "/", false, 200, 1024)
			require.NoError(b, err)
			for i := range in {
				f := &fake{}
				s.Data(f, c.Request())
				in[i] = f.out
				if name == "response=alternating" {
					s.Tick(testTime + 1)
				}
			}
			out := &sink{}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				c.Send(out)
				c.Data(out, in[i&1])
			}
			require.NoError(b, c.Check(0))
		})
	}
}
