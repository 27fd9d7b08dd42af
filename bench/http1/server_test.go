package http1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// get is a request that is all right, with extra field lines.
func get(extra string) string { return "GET / HTTP/1.1\r\nHost: a\r\n" + extra + "\r\n" }

func post(extra, content string) string {
	return "POST /up HTTP/1.1\r\nHost: a\r\n" + extra + "\r\n" + content
}

// requestRules are requests and what a fixed site does: the statuses of the
// responses, then close when it closes.
var requestRules = []struct {
	name, in, want string
	why            Reason
}{
	{"RFC 9112 3: a request line", get(""), "200", OK},
	{"RFC 9112 9.3: HTTP/1.1 persists; 9.3.2: pipelined", get("") + get("") + "HEAD /x?y HTTP/1.1\r\nhOST:b:80\r\n\r\n", "200 200 200", OK},
	{"RFC 9112 9.6: close", get("Connection: close\r\n") + get(""), "200 close", OK},
	{"RFC 9110 7.6.1: close in a list, any case", get("Connection: Upgrade , CLOSE\r\n"), "200 close", OK},
	{"RFC 9110 7.6.1: close in the second line", get("Connection: keep-alive\r\nConnection:,close\r\n"), "200 close", OK},
	{"RFC 9112 9.3: HTTP/1.0 closes", "GET / HTTP/1.0\r\n\r\n", "200 close", OK},
	{"RFC 9112 9.3: HTTP/1.0 with keep-alive", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET / HTTP/1.0\r\n\r\n", "200 200 close", OK},
	{"RFC 9110 2.5: HTTP/1.9 is answered as 1.1", "GET / HTTP/1.9\r\nHost: a\r\n\r\n", "200", OK},
	{"RFC 9112 2.2: empty lines before a request", "\r\n\r\n" + get("") + "\r\n" + get(""), "200 200", OK},
	{"RFC 9112 3.2.2: absolute-form", "GET HTTP://b.example:8080?q HTTP/1.1\r\nHost: a\r\n\r\n", "200", OK},
	{"RFC 9112 3.2: Host may be empty", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "200", OK},
	{"RFC 9112 5.1: white space around a value, empty value", get("A: \t b \t\r\nB:\r\nC: \xe4\t\xf6\r\n"), "200", OK},

	{"RFC 9112 6.3: Content-Length", post("Content-Length: 5\r\n", "hello") + get(""), "200 200", OK},
	{"RFC 9112 6.3: content of a GET", get("Content-Length: 3\r\n") + "abc" + get(""), "200 200", OK},
	{"RFC 9110 8.6: the same length twice", post("Content-Length: 5\r\ncontent-length: 5\r\n", "hello") + get(""), "200 200", OK},
	{"RFC 9110 8.6: zeros before", post("Content-Length: 0000000000000000000000005\r\n", "hello") + get(""), "200 200", OK},
	{"RFC 9112 7.1: chunked", post("Transfer-Encoding: Chunked\r\n", "5\r\nhello\r\n00A\r\n0123456789\r\n0\r\n\r\n") + get(""), "200 200", OK},
	{"RFC 9112 7.1.1: chunk extensions", post("Transfer-Encoding: chunked\r\n", "5 ; a=\"b;c\"\r\nhello\r\n0;x\r\n\r\n") + get(""), "200 200", OK},
	{"RFC 9112 7.1.2: trailer", post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\nA: b\r\nC:\r\n\r\n") + get(""), "200 200", OK},
	{"RFC 9110 10.1.1: expect", post("Expect: 100-Continue\r\nContent-Length: 5\r\n", "hello"), "200", OK},
	{"RFC 9110 10.1.1: expectations of HTTP/1.0 are ignored", "PUT / HTTP/1.0\r\nExpect: x\r\nContent-Length: 1\r\n\r\na", "200 close", OK},
	{"RFC 9110 10.1.1: nothing to wait for", get("Expect: 100-continue\r\n"), "200", OK},

	{"RFC 9110 15.5.6: known methods", "DELETE / HTTP/1.1\r\nHost: a\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "405 405", OK},
	{"RFC 9110 9.3.6: after CONNECT comes no HTTP", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n" + get(""), "405 close", OK},
	{"RFC 9110 15.6.2: unknown method", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", "501 close", MethodUnknown},
	{"RFC 9110 9.1: methods are case-sensitive", "get / HTTP/1.1\r\nHost: a\r\n\r\n", "501 close", MethodUnknown},
	{"RFC 9112 3: long method", strings.Repeat("A", 33), "501 close", MethodUnknown},
	{"RFC 9112 3: TLS is not waited for", "\x16\x03\x01\x02\x00", "400 close", BadMethod},
	{"RFC 9112 3: a method alone", "GET\r\n", "400 close", BadMethod},
	{"RFC 9112 2.2: blank before the method", " GET / HTTP/1.1\r\n", "400 close", BadMethod},
	{"RFC 9112 2.2: CR alone before the method", "\rGET / HTTP/1.1\r\n", "400 close", BadMethod},
	{"RFC 9112 3: two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400 close", BadRequestLine},
	{"RFC 9112 3: space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "400 close", BadRequestLine},
	{"RFC 9112 3: space after the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "400 close", BadRequestLine},
	{"RFC 9112 3: HTTP/0.9", "GET /\r\n", "400 close", BadRequestLine},
	{"RFC 9112 2.3: HTTP is upper case", "GET / http/1.1\r\nHost: a\r\n\r\n", "400 close", BadRequestLine},
	{"RFC 9112 2.3: one digit each", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", "400 close", BadRequestLine},
	{"RFC 9113 3.4: HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 close", BadVersion},
	{"RFC 9112 3.2: relative target", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", "400 close", BadTarget},
	{"RFC 9112 3.2.4: asterisk-form", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "400 close", BadTarget},
	{"RFC 9112 3.2.2: no authority", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", "400 close", BadTarget},
	{"RFC 9110 4.2.4: userinfo with a slash in disguise", "GET http://a\\@b/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 close", BadTarget},
	{"RFC 9112 3.2.2: another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 close", BadTarget},
	{"RFC 9112 3.2.1: fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "400 close", BadTarget},
	{"RFC 3986 2: control character in the target", "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "400 close", BadTarget},
	{"RFC 3986 2: byte above 127", "GET /\xe4 HTTP/1.1\r\nHost: a\r\n\r\n", "400 close", BadTarget},
	{"RFC 9112 3: target of 8000 bytes", "GET /" + strings.Repeat("a", 7999) + " HTTP/1.1\r\nHost: a\r\n\r\n", "200", OK},
	{"RFC 9112 3: of 8001", "GET /" + strings.Repeat("a", 8000) + " HTTP/1.1\r\nHost: a\r\n\r\n", "414 close", TargetTooLong},
	{"RFC 9112 3: endless", "GET /" + strings.Repeat("a", 10000), "414 close", TargetTooLong},
	{"RFC 6585 5: head too long", get("A: " + strings.Repeat("a", 9000) + "\r\n"), "431 close", HeadTooLong},
	{"RFC 6585 5: 101 fields", get(strings.Repeat("a:\r\n", 100)), "431 close", TooManyFields},

	{"RFC 9112 2.2: bare LF ends no line", "GET / HTTP/1.1\nHost: a\n\n", "400 close", BareLF},
	{"RFC 9112 2.2: bare LF after a field", get("A: b\n"), "400 close", BareLF},
	{"RFC 9112 2.2: bare CR in a value", get("A: b\rc\r\n"), "400 close", BadValue},
	{"RFC 9112 2.2: two CRs", get("A: b\r\r\n"), "400 close", BadValue},
	{"RFC 9112 2.2: bare CR in the request line", "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", "400 close", BadTarget},
	{"RFC 9110 5.5: NUL in a value", get("Aaaa: bbbbbbbbb\x00bbbbbbbbbb\r\n"), "400 close", BadValue},
	{"RFC 9110 5.5: DEL in a value", get("Aaaa: bbbbbbbbb\x7fbbbbbbbbbb\r\n"), "400 close", BadValue},
	{"RFC 9112 5.1: blank before the colon", get("Content-Length : 5\r\n"), "400 close", FieldSpace},
	{"RFC 9112 5.1: tab before the colon", get("Content-Length\t: 5\r\n"), "400 close", FieldSpace},
	{"RFC 9112 5.2: folded line", get("A: b\r\n c\r\n"), "400 close", ObsFold},
	{"RFC 9112 2.2: blank before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "400 close", ObsFold},
	{"RFC 9112 5: no colon", get("abc\r\n"), "400 close", BadField},
	{"RFC 9112 5: no name", get(": c\r\n"), "400 close", BadField},
	{"RFC 9112 5: no token", get("a@b: c\r\n"), "400 close", BadField},
	{"RFC 9112 3.2: no Host", "GET / HTTP/1.1\r\n\r\n", "400 close", NoHost},
	{"RFC 9112 3.2: two Hosts", get("HOST: a\r\n"), "400 close", ManyHosts},
	{"RFC 9112 3.2: two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "400 close", ManyHosts},
	{"RFC 9112 3.2: invalid Host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400 close", BadHost},

	{"RFC 9112 6.3: lengths that differ", post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"), "400 close", LengthsDiffer},
	{"RFC 9112 6.3: a list of lengths", post("Content-Length: 5, 5\r\n", "hello"), "400 close", BadLength},
	{"RFC 9112 6.3: a sign", post("Content-Length: +5\r\n", "hello"), "400 close", BadLength},
	{"RFC 9112 6.3: below zero", post("Content-Length: -1\r\n", ""), "400 close", BadLength},
	{"RFC 9112 6.3: hexadecimal", post("Content-Length: 0x5\r\n", "hello"), "400 close", BadLength},
	{"RFC 9112 6.3: empty", post("Content-Length:\r\n", ""), "400 close", BadLength},
	{"RFC 9112 6.3: 2^63", post("Content-Length: 9223372036854775808\r\n", ""), "400 close", BadLength},
	{"RFC 9112 6.3: 2^64+5", post("Content-Length: 18446744073709551621\r\n", "hello"), "400 close", BadLength},
	{"RFC 9112 6.1: length and coding", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n") + get(""), "400 close", LengthAndCoding},
	{"RFC 9112 6.1: coding and length", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n") + get(""), "400 close", LengthAndCoding},
	{"RFC 9112 6.1: unknown coding", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), "501 close", CodingUnknown},
	{"RFC 9112 6.3: a coding in disguise", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), "400 close", BadCoding},
	{"RFC 9112 6.3: parameters", post("Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n"), "400 close", BadCoding},
	{"RFC 9112 6.1: empty elements", post("Transfer-Encoding: ,chunked\r\n", "0\r\n\r\n"), "400 close", BadCoding},
	{"RFC 9112 6.1: chunked twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), "400 close", BadCoding},
	{"RFC 9112 6.3: chunked is not the last", post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"), "400 close", BadCoding},
	{"RFC 9112 6.1: no coding", post("Transfer-Encoding: \r\n", ""), "400 close", BadCoding},
	{"RFC 9112 6.1: coding in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 close", CodingHTTP10},
	{"RFC 9110 10.1.1: another expectation", post("Expect: 200-ok\r\nContent-Length: 5\r\n", "hello"), "417 close", BadExpect},

	{"RFC 9112 7.1: no size", post("Transfer-Encoding: chunked\r\n", "\r\nhello\r\n"), "400 close", BadChunk},
	{"RFC 9112 7.1: size with 0x", post("Transfer-Encoding: chunked\r\n", "0x5\r\nhello\r\n"), "400 close", BadChunk},
	{"RFC 9112 7.1: size too large", post("Transfer-Encoding: chunked\r\n", "8000000000000000\r\n"), "400 close", BadChunk},
	{"RFC 9112 7.1: 17 digits", post("Transfer-Encoding: chunked\r\n", "00000000000000005\r\nhello\r\n"), "400 close", BadChunk},
	{"RFC 9112 7.1: blank after the size", post("Transfer-Encoding: chunked\r\n", "5 \r\nhello\r\n"), "400 close", BadChunk},
	{"RFC 9112 7.1: bare LF after the size", post("Transfer-Encoding: chunked\r\n", "5\nhello\r\n"), "400 close", BadChunk},
	{"RFC 9112 7.1: bare LF in an extension", post("Transfer-Encoding: chunked\r\n", "5;\nhello\r\n"), "400 close", BadChunk},
	{"RFC 9112 7.1: bare LF after a chunk", post("Transfer-Encoding: chunked\r\n", "5\r\nhello\n0\r\n\r\n"), "400 close", BadChunk},
	{"RFC 9112 7.1: more than the size", post("Transfer-Encoding: chunked\r\n", "4\r\nhello\r\n0\r\n\r\n"), "400 close", BadChunk},
	{"RFC 9112 7.1.1: endless extension", post("Transfer-Encoding: chunked\r\n", "5;"+strings.Repeat("a", 5000)), "400 close", BadChunk},
	{"RFC 9112 7.1.2: trailer without colon", post("Transfer-Encoding: chunked\r\n", "0\r\nabc\r\n\r\n"), "400 close", BadField},
	{"RFC 9112 7.1.2: folded trailer", post("Transfer-Encoding: chunked\r\n", "0\r\nA: b\r\n c\r\n\r\n"), "400 close", ObsFold},
	{"RFC 9112 7.1.2: endless trailer", post("Transfer-Encoding: chunked\r\n", "0\r\n"+strings.Repeat("a: b\r\n", 2000)), "431 close", HeadTooLong},
	{"RFC 9112 7.1.2: bare LF in a trailer", post("Transfer-Encoding: chunked\r\n", "0\r\nA: b\n\r\n"), "400 close", BareLF},
	{"RFC 9112 7.1.2: bare CR in a trailer", post("Transfer-Encoding: chunked\r\n", "0\r\nA: b\rc\r\n\r\n"), "400 close", BadValue},
	{"RFC 9112 7.1.2: CR alone for the last line", post("Transfer-Encoding: chunked\r\n", "0\r\n\r\r\n"), "400 close", BadValue},
}

// outcome reads what a server wrote with net/http: the statuses, and close.
func outcome(t *testing.T, f *fake, methods []string) string {
	t.Helper()
	var words []string
	in := bufio.NewReader(bytes.NewReader(f.out))
	for i := 0; ; i++ {
		if _, err := in.Peek(1); err == io.EOF {
			break
		}
		m := "GET"
		if i < len(methods) {
			m = methods[i]
		}
		r, err := http.ReadResponse(in, &http.Request{Method: m})
		require.NoError(t, err, "%q", f.out)
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err, "%q", f.out)
		if r.StatusCode == 100 {
			i--
			continue
		}
		require.Equal(t, "fastsyn", r.Header.Get("Server"))
		require.Equal(t, "Sun, 06 Nov 1994 08:49:37 GMT", r.Header.Get("Date"))
		require.Equal(t, r.Close, f.closed && in.Buffered() == 0, "what the last response says and what happens")
		if m != "HEAD" && r.StatusCode >= 400 {
			require.Equal(t, fmt.Sprintf("%s\n", r.Status), string(body))
		}
		words = append(words, strconv.Itoa(r.StatusCode))
	}
	if f.closed {
		words = append(words, "close")
	}
	return strings.Join(words, " ")
}

func TestRequests(t *testing.T) {
	for _, c := range requestRules {
		t.Run(c.name, func(t *testing.T) {
			for _, size := range []int{1 << 20, 1, 2, 3, 7, 100} {
				s, f := testServer(Fixed("text/plain", []byte("ok\n"))), &fake{}
				var content []byte
				s.Content = func(p []byte) { content = append(content, p...) }
				feed(t, s, f, false, pieces([]byte(c.in), size)...)
				methods := []string{"GET", "GET", "GET"}
				if strings.Contains(c.in, "HEAD") {
					methods[2] = "HEAD"
				}
				require.Equal(t, c.want, outcome(t, f, methods), "pieces of %d bytes", size)
				for why, n := range s.Refused {
					want := uint64(0)
					if Reason(why) == c.why && why != 0 {
						want = 1
					}
					require.Equal(t, want, n, "pieces of %d: %s", size, Reason(why))
				}
				if c.why == OK && strings.Contains(c.in, "hello") {
					require.Contains(t, []string{"hello", "hello0123456789"}, string(content))
					require.Equal(t, uint64(len(content)), s.Counters.Content)
				}
				if c.want == strings.TrimSuffix(c.want, "close") {
					require.Nil(t, f.value, "an idle connection has no state")
				}
				end(t, s, f)
			}
		})
	}
}

// TestContinue: 100 Continue goes out when the client waits, and not when the content came with the head.
func TestContinue(t *testing.T) {
	head := "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
	s, f := testServer(Fixed("text/plain", nil)), &fake{}
	feed(t, s, f, false, []byte(head))
	require.Equal(t, string(ContinueLine), string(f.out))
	feed(t, s, f, false, []byte("hel"), []byte("lo"))
	require.Contains(t, string(f.out), "100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
	feed(t, s, f, false, []byte(head+"h"), []byte("ello"))
	require.Equal(t, 1, strings.Count(string(f.out), "100 Continue"))
	require.Equal(t, uint64(1), s.Continues)
	end(t, s, f)

	// What is refused is not asked for, and the connection is no longer understood.
	s, f = testServer(filesSite(t)), &fake{}
	feed(t, s, f, false, []byte(head))
	require.Equal(t, "405 close", outcome(t, f, nil))
	end(t, s, f)
}

// TestTruncated: half a request is counted once, and closed in turn.
func TestTruncated(t *testing.T) {
	for in, cut := range map[string]uint64{
		"GET / HT": 0, "GET / HTTP/1.1\r\nHost: a\r\n": 0, post("Content-Length: 5\r\n", "hell"): 1, post("Transfer-Encoding: chunked\r\n", "5\r\nhello"): 1,
	} {
		for _, fin := range []bool{true, false} {
			s, f := testServer(Fixed("text/plain", nil)), &fake{}
			feed(t, s, f, fin, []byte(in))
			require.Equal(t, fin, f.closed)
			require.Empty(t, f.out)
			end(t, s, f)
			require.Equal(t, uint64(1), s.Refused[Truncated], in)
			require.Equal(t, cut, s.Cut, in)
		}
	}
}

// TestLinger: after the close text is discarded, up to a bound (RFC 9112 section 9.6).
func TestLinger(t *testing.T) {
	s, f := NewServer(Fixed("text/plain", nil), Limits{Linger: 1000}), &fake{}
	feed(t, s, f, false, []byte("x y z\r\n"), make([]byte, 1000-len("x y z\r\n")))
	require.True(t, f.closed)
	require.False(t, f.aborted)
	feed(t, s, f, false, []byte("z"))
	require.True(t, f.aborted)
	require.Equal(t, uint64(1), s.Refused[Flooded])
	end(t, s, f)
}

// TestMemory: heads in pieces are bounded in total, and the memory is there again.
func TestMemory(t *testing.T) {
	s := NewServer(Fixed("text/plain", nil), Limits{Memory: 2048})
	s.Tick(testTime)
	var fakes []*fake
	for range 6 {
		f := &fake{}
		feed(t, s, f, false, []byte("GET / HT"))
		fakes = append(fakes, f)
	}
	for i, f := range fakes {
		if i < 4 {
			require.Empty(t, f.out)
			feed(t, s, f, false, []byte("TP/1.0\r\n\r\n"))
			require.Equal(t, "200 close", outcome(t, f, nil))
		} else {
			require.Equal(t, "503 close", outcome(t, f, nil))
		}
		s.Closed(f)
	}
	require.Equal(t, uint64(2), s.Refused[NoMemory])
	f := &fake{}
	feed(t, s, f, false, []byte("GET / HTTP/1.1\r\nHost: "+strings.Repeat("a", 1500)), []byte("\r\n\r\n"))
	require.Equal(t, "200", outcome(t, f, nil), "small buffers gave way to a large one")
	end(t, s, f)
}

func TestConnSize(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(Conn{}), uintptr(128))
}
