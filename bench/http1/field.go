package http1

import (
	"bytes"
	"encoding/binary"
)

// Limits of a head, as Apache and nginx have them.
const (
	defaultHead  = 8 << 10 // bytes
	maxFields    = 100     // lines
	maxTarget    = 8000    // bytes, the least that RFC 9112 section 3 recommends
	maxMethod    = 32      // bytes; a longer token is no method that anybody has
	maxInterims  = 8       // 1xx responses before the final one
	maxChunkLine = 4 << 10 // bytes of a chunk-size line with its extensions
)

// token is the set tchar of RFC 9110 section 5.6.2.
var token = func() (t [256]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		t[c] = true
	}
	return t
}()

// line returns the line that p begins with, without its end, and how many bytes it
// takes with it. n is 0 when it has not arrived as a whole.
func line(p []byte) (text []byte, n int, why Reason) {
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		return nil, 0, OK
	}
	if i == 0 || p[i-1] != '\r' {
		return nil, 0, BareLF
	}
	return p[:i-1], i + 1, OK
}

// field splits a field line (RFC 9112 section 5) and checks both parts.
func field(text []byte) (name, value []byte, why Reason) {
	n := 0
	for n < len(text) && token[text[n]] {
		n++
	}
	switch {
	case n == len(text):
		return nil, nil, BadField
	case text[n] == ':' && n > 0:
	case n == 0 && (text[0] == ' ' || text[0] == '\t'):
		return nil, nil, ObsFold
	case text[n] == ' ' || text[n] == '\t':
		return nil, nil, FieldSpace
	default:
		return nil, nil, BadField
	}
	name, value = text[:n], trim(text[n+1:])
	if !printable(value) {
		return nil, nil, BadValue
	}
	return name, value, OK
}

// trim removes optional white space from both ends.
func trim(p []byte) []byte {
	for len(p) > 0 && (p[0] == ' ' || p[0] == '\t') {
		p = p[1:]
	}
	for len(p) > 0 && (p[len(p)-1] == ' ' || p[len(p)-1] == '\t') {
		p = p[:len(p)-1]
	}
	return p
}

// printable reports that p has no control characters other than tabs. Eight
// bytes are looked at together; what looks odd there is looked at singly.
func printable(p []byte) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(p); i += 8 {
		x := binary.LittleEndian.Uint64(p[i:])
		del := x ^ 0x7f*ones
		if ((x-0x20*ones)&^x|(del-ones)&^del)&high != 0 && !printableEach(p[i:i+8]) {
			return false
		}
	}
	return printableEach(p[i:])
}

func printableEach(p []byte) bool {
	for _, c := range p {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// is reports that p is the word lower, which has lower case letters, digits and dashes
// only, in any case. p is made of tchars.
func is(p []byte, lower string) bool {
	if len(p) != len(lower) {
		return false
	}
	for i := range len(lower) {
		c := p[i]
		if c-'A' < 26 {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// element cuts the first element off a list (RFC 9110 section 5.6.1). Empty ones are skipped.
func element(list []byte) (first, rest []byte) {
	for len(list) > 0 {
		i := bytes.IndexByte(list, ',')
		if i < 0 {
			return trim(list), nil
		}
		if first = trim(list[:i]); len(first) > 0 {
			return first, list[i+1:]
		}
		list = list[i+1:]
	}
	return nil, nil
}

var comma = []byte(",")

// framing is what the fields of a message say about where its content ends and
// what the connection does afterwards.
type framing struct {
	length    int64 // Content-Length; -1: there is none
	chunked   bool
	unknown   bool // a coding that is not chunked
	coded     bool // there is a Transfer-Encoding
	close     bool
	keepAlive bool
}

// take looks at one field.
func (m *framing) take(name, value []byte) Reason {
	switch len(name) {
	case len("connection"):
		if !is(name, "connection") {
			return OK
		}
		for first, rest := element(value); len(first) > 0; first, rest = element(rest) {
			m.close = m.close || is(first, "close")
			m.keepAlive = m.keepAlive || is(first, "keep-alive")
		}
		return OK
	case len("content-length"):
		if !is(name, "content-length") {
			return OK
		}
		n, ok := decimal(value)
		switch {
		case !ok:
			return BadLength
		case m.length >= 0 && m.length != n:
			return LengthsDiffer
		}
		m.length = n
		return OK
	case len("transfer-encoding"):
		if !is(name, "transfer-encoding") {
			return OK
		}
		m.coded = true
		// Lists may have empty elements, but not this one: somebody in between may read it as no coding that he knows.
		for rest, more := value, true; more; {
			var coding []byte
			coding, rest, more = bytes.Cut(rest, comma)
			switch coding = trim(coding); {
			case len(coding) == 0 || m.chunked: // chunked is the last, and there once
				return BadCoding
			case is(coding, "chunked"):
				m.chunked = true
			default:
				m.unknown = true
			}
		}
		return OK
	}
	return OK
}

// check is what is to be said when all fields are known (RFC 9112 section 6).
func (m *framing) check(minor byte) Reason {
	switch {
	case !m.coded:
		return OK
	case m.length >= 0:
		return LengthAndCoding
	case minor == 0:
		return CodingHTTP10
	case m.unknown && !m.chunked:
		return BadCoding // RFC 9112 section 6.3: the end cannot be told
	case m.unknown:
		return CodingUnknown
	}
	return OK
}

// persists reports that another message may follow (RFC 9112 section 9.3).
func (m *framing) persists(minor byte) bool { return !m.close && (minor > 0 || m.keepAlive) }

// decimal reads 1*DIGIT below 2^63.
func decimal(p []byte) (n int64, ok bool) {
	if len(p) == 0 || len(p) > 19 && len(bytes.TrimLeft(p, "0")) > 19 {
		return 0, false
	}
	var u uint64
	for _, c := range p {
		if c < '0' || c > '9' {
			return 0, false
		}
		u = u*10 + uint64(c-'0')
	}
	return int64(u), u>>63 == 0
}

// version reads HTTP-version. Minor versions above 1 are 1, by RFC 9110 section 2.5.
func version(p []byte) (minor byte, why Reason) {
	if len(p) != 8 || string(p[:5]) != "HTTP/" || p[6] != '.' || p[5]-'0' > 9 || p[7]-'0' > 9 {
		return 0, BadRequestLine
	}
	if p[5] != '1' {
		return 0, BadVersion
	}
	return min(p[7]-'0', 1), OK
}
