package http1

import "bytes"

type method uint8

const (
	methodOther method = iota // known, not served: 405
	methodGet
	methodHead
	methodPost
	methodPut
	methodConnect
	methodOptions
)

// request is what a head says. The slices are parts of the head.
type request struct {
	method method
	minor  byte // of the version
	hosts  uint8
	expect bool // 100-continue
	lined  bool // the request line was read
	secret bool // it has what only this client may know
	path   []byte
	cond   conditions
	framing
}

// conditions are the fields that choose between the content, a part of it and none
// (RFC 9110 sections 13 and 14). A field that came twice is nil again and repeated: all of it is ignored.
type conditions struct {
	noneMatch, modifiedSince, rang, ifRange []byte
	repeated                                bool
}

// parse reads the head that p begins with. n is its length with the empty line,
// 0 while it is not complete. Errors are found in the order of the bytes, so
// that they do not depend on the pieces that the head came in.
func (r *request) parse(p []byte) (n int, why Reason) {
	*r = request{framing: framing{length: -1}}
	text, n, why := line(p)
	if n == 0 {
		if w := methodSoFar(p); w != OK {
			return 0, w
		}
		return 0, why
	}
	if why = r.line(text); why != OK {
		return 0, why
	}
	r.lined = true
	for fields := 0; ; fields++ {
		text, k, why := line(p[n:])
		if k == 0 {
			return 0, why
		}
		n += k
		if len(text) == 0 {
			break
		}
		if fields == maxFields {
			return 0, TooManyFields
		}
		name, value, why := field(text)
		if why == OK {
			why = r.field(name, value)
		}
		if why != OK {
			return 0, why
		}
	}
	if r.minor > 0 && r.hosts == 0 {
		return 0, NoHost
	}
	if why = r.check(r.minor); why != OK {
		return 0, why
	}
	return n, OK
}

// methodSoFar says what is wrong with the beginning of a request line already, so that
// what is not HTTP at all, such as TLS, is not waited for.
func methodSoFar(p []byte) Reason {
	for i, c := range p {
		switch {
		case token[c] && i < maxMethod:
		case token[c]:
			return MethodUnknown
		case c == ' ' && i > 0:
			return OK
		default:
			return BadMethod
		}
	}
	return OK
}

// line reads the request line (RFC 9112 section 3).
func (r *request) line(text []byte) (why Reason) {
	if why = methodSoFar(text); why != OK {
		return why
	}
	i := bytes.IndexByte(text, ' ')
	j := bytes.LastIndexByte(text, ' ')
	if i < 0 {
		return BadMethod // as when its end had come in another piece
	}
	if i == j || j-i == 1 {
		return BadRequestLine
	}
	target := text[i+1 : j]
	if r.minor, why = version(text[j+1:]); why != OK {
		return why
	}
	if bytes.IndexByte(target, ' ') >= 0 {
		return BadRequestLine
	}
	if r.method, why = methodOf(text[:i]); why != OK {
		return why
	}
	if len(target) > maxTarget {
		return TargetTooLong
	}
	return r.target(target)
}

func methodOf(p []byte) (method, Reason) {
	switch string(p) {
	case "GET":
		return methodGet, OK
	case "HEAD":
		return methodHead, OK
	case "POST":
		return methodPost, OK
	case "PUT":
		return methodPut, OK
	case "CONNECT":
		return methodConnect, OK
	case "OPTIONS":
		return methodOptions, OK
	case "DELETE", "TRACE", "PATCH":
		return methodOther, OK
	}
	return 0, MethodUnknown
}

// target finds the path in the four forms of RFC 9112 section 3.2.
func (r *request) target(p []byte) Reason {
	for _, c := range p {
		if c <= ' ' || c >= 0x7f || c == '#' { // RFC 3986: no such character, and no fragment
			return BadTarget
		}
	}
	switch {
	case r.method == methodConnect: // authority-form; refused by its method later
		if !hostname(p) {
			return BadTarget
		}
		p = nil
	case p[0] == '/':
	case len(p) == 1 && p[0] == '*' && r.method == methodOptions:
		p = nil
	default: // absolute-form
		i := bytes.Index(p, []byte("://"))
		if i < 0 || !is(p[:i], "http") && !is(p[:i], "https") {
			return BadTarget
		}
		p = p[i+3:]
		end := bytes.IndexAny(p, "/?")
		if end < 0 {
			end = len(p)
		}
		if end == 0 || !hostname(p[:end]) {
			return BadTarget
		}
		p = p[end:]
	}
	if i := bytes.IndexByte(p, '?'); i >= 0 {
		p = p[:i]
	}
	if r.path = p; len(p) == 0 {
		r.path = slash
	}
	return OK
}

var slash = []byte("/")

// hostname reports that p has only characters of uri-host and port (RFC 3986 section 3.2.2).
func hostname(p []byte) bool {
	for _, c := range p {
		if !hostChar[c] {
			return false
		}
	}
	return true
}

var hostChar = func() (t [256]bool) {
	for _, c := range "-._~:[]!$&'()*+,;=%0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		t[c] = true
	}
	return t
}()

func (r *request) field(name, value []byte) Reason {
	switch len(name) {
	case len("host"):
		if is(name, "host") {
			switch r.hosts++; {
			case r.hosts > 1:
				return ManyHosts
			case !hostname(value):
				return BadHost
			}
			return OK
		}
	case len("range"):
		if is(name, "range") {
			r.cond.once(&r.cond.rang, value)
		}
	case len("expect"):
		switch {
		case is(name, "expect") && r.minor > 0:
			if !is(value, "100-continue") {
				return BadExpect
			}
			r.expect = true
		case is(name, "cookie"):
			r.secret = true
		}
	case len("if-range"):
		if is(name, "if-range") {
			r.cond.once(&r.cond.ifRange, value)
		}
	case len("if-none-match"):
		switch {
		case is(name, "if-none-match"):
			r.cond.once(&r.cond.noneMatch, value)
		case is(name, "authorization"):
			r.secret = true
		}
	case len("proxy-authorization"):
		if is(name, "proxy-authorization") {
			r.secret = true
		}
	case len("if-modified-since"):
		if is(name, "if-modified-since") {
			r.cond.once(&r.cond.modifiedSince, value)
			return OK
		}
		fallthrough
	default:
		return r.take(name, value)
	}
	return OK
}

func (c *conditions) once(v *[]byte, value []byte) {
	if *v != nil {
		c.repeated = true
	}
	*v = value
}
