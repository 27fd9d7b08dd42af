package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// message is what two readers of the same bytes have to agree on.
type message struct {
	word   string // method or status
	length int64
}

// stricter are reasons for which we refuse what net/http takes. For all others it has to refuse, too.
var stricter = []Reason{
	BareLF, ObsFold, BadValue, NoHost, ManyHosts, BadHost, BadMethod, MethodUnknown, BadTarget, TargetTooLong, BadVersion, HeadTooLong, TooManyFields,
	LengthAndCoding, CodingHTTP10, BadCoding, BadExpect, BadChunk, BadField, FieldSpace, BadInterim, BadStatusLine, Unexpected,
}

// serveAll returns the requests that a server takes, and why it refused the next one.
func serveAll(s *Server, parts [][]byte) (all []message, why Reason) {
	c := s.Get()
	defer s.Put(c)
	for _, p := range parts {
		for len(p) > 0 {
			before, content := s.Requests, s.Counters.Content
			n, act := s.Feed(c, p)
			p = p[n:]
			if i := slices.IndexFunc(s.Refused[:], func(n uint64) bool { return n > 0 }); i >= 0 {
				if s.Requests == before && len(all) > 0 { // within its content
					all = all[:len(all)-1]
				}
				return all, Reason(i)
			}
			if s.Requests > before {
				all = append(all, message{word: [...]string{"", "GET", "HEAD", "POST", "PUT", "CONNECT", "OPTIONS"}[s.req.method]})
			}
			if k := s.Counters.Content - content; k > 0 {
				all[len(all)-1].length += int64(k)
			}
			if act == Respond {
				for {
					text, static := s.Response(c)
					if done, closes := s.Sent(c, len(text)+len(static)); closes {
						return all, OK
					} else if done {
						break
					}
				}
			}
		}
	}
	if c.state == content || c.state == chunked {
		all = all[:len(all)-1]
	}
	return all, OK
}

// excused are errors of net/http about what is no framing and no business of ours.
func excused(err error) bool {
	var u *url.Error
	for _, text := range []string{"invalid URI", "bad trailer key", "too much non-data", "invalid Host", "malformed Host", "malformed MIME header: missing colon"} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return errors.As(err, &u)
}

// blankBeforeExtension is what RFC 9112 section 7.1.1 wants to be read and net/http refuses.
var blankBeforeExtension = regexp.MustCompile(`[0-9a-fA-F][ \t]+;`)

// compare holds each of ours against what next reads with net/http, and the refusal against the next.
func compare(t *testing.T, in []byte, ours []message, why Reason, next func() (message, error)) {
	t.Helper()
	for i, m := range ours {
		got, err := next()
		if err != nil && (excused(err) || blankBeforeExtension.Match(in)) {
			return
		}
		require.NoError(t, err, "message %d of %q", i, in)
		if m.word == "" {
			m.word = got.word
		}
		require.Equal(t, got, m, "message %d of %q", i, in)
	}
	if why != OK && !slices.Contains(stricter, why) {
		_, err := next()
		require.Error(t, err, "%q: we say %s", in, why)
	}
}

// final is out without 100 Continue, of which there are the fewer the more content came with its head.
func final(out []byte) string { return strings.ReplaceAll(string(out), string(ContinueLine), "") }

func FuzzRequest(f *testing.F) {
	for _, c := range requestRules {
		f.Add([]byte(c.in), uint8(3))
	}
	f.Add([]byte(browserRequest+curlRequest), uint8(50))
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		site := Fixed("text/plain", []byte("ok\n"))
		whole, cut := testServer(site), testServer(site)
		a, b := &fake{}, &fake{}
		feed(t, whole, a, true, in)
		feed(t, cut, b, true, pieces(in, max(1, int(size)))...)
		require.Equal(t, final(a.out), final(b.out), "the cut does not matter")
		end(t, whole, a)
		end(t, cut, b)
		whole.Continues, cut.Continues = 0, 0
		require.Equal(t, whole.Counters, cut.Counters)

		s := testServer(site)
		ours, why := serveAll(s, [][]byte{in})
		r := bufio.NewReaderSize(bytes.NewReader(in), 1<<16)
		compare(t, in, ours, why, func() (m message, err error) {
			for { // RFC 9112 section 2.2: net/http does not skip empty lines
				if p, _ := r.Peek(2); string(p) != "\r\n" {
					break
				}
				_, _ = r.Discard(2)
			}
			req, err := http.ReadRequest(r)
			if err != nil {
				return m, err
			}
			n, err := io.Copy(io.Discard, req.Body)
			return message{req.Method, n}, err
		})
	})
}

func FuzzResponse(f *testing.F) {
	for _, c := range responseRules {
		f.Add([]byte(c.in), uint8(3), false)
	}
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), uint8(3), true)
	f.Fuzz(func(t *testing.T, in []byte, size uint8, head bool) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		run := func(parts [][]byte) (res Result, why Reason, used int) {
			c, err := NewClient(method, "a", "/", true, 200, AnyLength)
			require.NoError(t, err)
			x := new(Exchange)
			done := false
			for _, p := range parts {
				for len(p) > 0 && !done {
					var n int
					n, done, why = x.feed(c, p)
					p = p[n:]
					used += n
				}
			}
			if !done && (x.state != content || x.left >= 0) {
				why = Truncated
			}
			res = Result{int(x.status), x.length, x.persists}
			c.mem.put(x.in)
			require.Equal(t, 0, clientInUse(c))
			return res, why, used
		}
		a, why, used := run([][]byte{in})
		b, why2, used2 := run(pieces(in, max(1, int(size))))
		require.Equal(t, why, why2)
		require.Equal(t, a, b)
		if why == OK {
			require.Equal(t, used, used2)
		}

		var ours []message
		if why == OK {
			ours = []message{{"", a.Length}}
		}
		r := bufio.NewReaderSize(bytes.NewReader(in), 1<<16)
		compare(t, in, ours, why, func() (m message, err error) {
			for {
				res, err := http.ReadResponse(r, &http.Request{Method: method})
				if err != nil {
					return m, err
				}
				if res.StatusCode < 200 {
					continue
				}
				if why == OK {
					require.Equal(t, res.StatusCode, a.Status)
					if res.Close {
						require.False(t, a.Persists, "%q", in)
					}
				}
				n, err := io.Copy(io.Discard, res.Body)
				return message{"", n}, err
			}
		})
	})
}
