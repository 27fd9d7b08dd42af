package http1

import (
	"bytes"
	"strconv"
	"time"
)

// Site is what a Server serves. It is immutable and may be shared by workers.
type Site struct {
	fixed   *entry // for every path
	files   map[string]*entry
	answers map[int]*entry // by status: errors and 405
}

// entry is a resource, or the text of an error.
type entry struct {
	status   int
	fields   string // field lines of its own, each with its end
	body     []byte
	etag     string // with its quotes
	modified string // Last-Modified
	unix     int64  // the same in seconds
	ranges   bool
}

// Fixed returns a site whose every path is body, with status 200. POST and PUT are
// answered alike once their content came, which is discarded: a sink for uploads.
// body must not change.
func Fixed(contentType string, body []byte) *Site {
	return &Site{fixed: &entry{status: 200, fields: "Content-Type: " + contentType + "\r\n", body: body}, answers: answers("GET, HEAD, POST, PUT")}
}

// FixedText is n bytes for Fixed: lines of text that differ, so that a piece that
// is lost or in the wrong place shows in any checksum.
func FixedText(n int) []byte {
	p := make([]byte, 0, n+64)
	for i := 0; len(p) < n; i++ {
		p = append(strconv.AppendInt(append(p, "line "...), int64(i), 10), " of what fastsyn serves\n"...)
	}
	p = p[:n]
	if n > 0 {
		p[n-1] = '\n'
	}
	return p
}

var phrases = map[int]string{
	200: "OK", 206: "Partial Content", 301: "Moved Permanently", 304: "Not Modified", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed",
	414: "URI Too Long", 416: "Range Not Satisfiable", 417: "Expectation Failed", 431: "Request Header Fields Too Large",
	501: "Not Implemented", 503: "Service Unavailable", 505: "HTTP Version Not Supported",
}

func answers(allow string) map[int]*entry {
	m := map[int]*entry{}
	for status, phrase := range phrases {
		if status < 400 || status == 416 {
			continue
		}
		e := &entry{status: status, fields: "Content-Type: text/plain\r\n", body: []byte(strconv.Itoa(status) + " " + phrase + "\n")}
		if status == 405 {
			e.fields += "Allow: " + allow + "\r\n"
		}
		m[status] = e
	}
	return m
}

// response is one response, chosen and not yet sent as a whole: 32 bytes of a Conn.
type response struct {
	entry    *entry
	from, to int64 // of the body
	part     part
	conn     conn
	head     bool // no body: HEAD
}

type part uint8

const (
	whole part = iota
	partial
	notModified
	unsatisfiable
)

// conn is what a response says about the connection.
type conn uint8

const (
	connStays conn = iota // HTTP/1.1 says nothing
	connCloses
	connKeeps // HTTP/1.0 wants to be told
	numConns
)

var connLines = [numConns]string{"", "Connection: close\r\n", "Connection: keep-alive\r\n"}

// choose returns the response to r. scratch is for the decoded path.
func (s *Site) choose(r *request, scratch []byte) response {
	e := s.fixed
	switch r.method {
	case methodGet, methodHead:
		if e == nil {
			e = s.find(r.path, scratch)
		}
	case methodPost, methodPut:
		if e == nil {
			e = s.answers[405]
		}
	default:
		e = s.answers[405]
	}
	out := response{entry: e, to: int64(len(e.body)), head: r.method == methodHead}
	if e.status == 200 && (e.etag != "" || e.ranges) {
		out.condition(r)
	}
	return out
}

// find looks a file up. Paths are decoded before (RFC 3986 section 2.1); what is not
// in the table is not there, dot segments among it, so nothing outside is reached.
func (s *Site) find(path, scratch []byte) *entry {
	if bytes.IndexByte(path, '%') >= 0 {
		scratch = scratch[:0]
		for i := 0; i < len(path); i++ {
			c := path[i]
			if c == '%' {
				if i+2 >= len(path) || hex(path[i+1]) < 0 || hex(path[i+2]) < 0 {
					return s.answers[400]
				}
				c = byte(hex(path[i+1])<<4 | hex(path[i+2]))
				i += 2
			}
			scratch = append(scratch, c)
		}
		path = scratch
	}
	if e := s.files[string(path)]; e != nil {
		return e
	}
	return s.answers[404]
}

// condition applies RFC 9110 section 13.2.2 and section 14.
func (o *response) condition(r *request) {
	c, e := &r.cond, o.entry
	switch {
	case c.repeated:
		return
	case c.noneMatch != nil:
		if matches(c.noneMatch, e.etag) {
			o.part = notModified
		}
	case c.modifiedSince != nil && e.modified != "":
		if at, ok := date(c.modifiedSince, e); ok && e.unix <= at {
			o.part = notModified
		}
	}
	if o.part != whole || c.rang == nil || !e.ranges || r.method != methodGet {
		return
	}
	if f := c.ifRange; f != nil && string(f) != e.etag && (e.modified == "" || string(f) != e.modified) {
		return
	}
	o.part, o.from, o.to = span(c.rang, int64(len(e.body)))
}

// matches compares weakly with a list of entity tags or *.
func matches(list []byte, etag string) bool {
	if len(list) == 1 && list[0] == '*' {
		return true
	}
	for len(list) > 0 {
		i := bytes.IndexByte(list, '"')
		if i < 0 {
			return false
		}
		k := bytes.IndexByte(list[i+1:], '"')
		if k < 0 {
			return false
		}
		if string(list[i:i+k+2]) == etag {
			return true
		}
		list = list[i+k+2:]
	}
	return false
}

// date reads an HTTP-date in its three forms (RFC 9110 section 5.6.7).
func date(p []byte, e *entry) (unix int64, ok bool) {
	if string(p) == e.modified {
		return e.unix, true
	}
	for _, layout := range [...]string{imfDate, time.RFC850, time.ANSIC} {
		if t, err := time.Parse(layout, string(p)); err == nil {
			return t.Unix(), true
		}
	}
	return 0, false
}

// imfDate is IMF-fixdate.
const imfDate = "Mon, 02 Jan 2006 15:04:05 GMT"

// span reads a single byte range. What is no such range, several among it, is ignored,
// as RFC 9110 section 14.2 allows.
func span(p []byte, size int64) (kind part, from, to int64) {
	if len(p) < 7 || !is(p[:5], "bytes") || p[5] != '=' {
		return whole, 0, size
	}
	p = p[6:]
	i := bytes.IndexByte(p, '-')
	if i < 0 {
		return whole, 0, size
	}
	first, haveFirst := decimal(p[:i])
	last, haveLast := decimal(p[i+1:])
	switch {
	case i > 0 && !haveFirst, i+1 < len(p) && !haveLast, !haveFirst && !haveLast, haveFirst && haveLast && last < first:
		return whole, 0, size
	case !haveFirst: // the last so many bytes
		if last == 0 || size == 0 {
			return unsatisfiable, 0, 0
		}
		return partial, max(0, size-last), size
	case first >= size:
		return unsatisfiable, 0, 0
	case haveLast && last < size:
		return partial, first, last + 1
	}
	return partial, first, size
}

// status is that of the response.
func (o *response) status() int {
	switch o.part {
	case partial:
		return 206
	case notModified:
		return 304
	case unsatisfiable:
		return 416
	default:
		return o.entry.status
	}
}

// content is the body to send.
func (o *response) content() []byte {
	if o.head || o.part == notModified || o.part == unsatisfiable {
		return nil
	}
	return o.entry.body[o.from:o.to]
}

// appendHead appends the head.
func (o *response) appendHead(dst, now []byte) []byte {
	e := o.entry
	status := o.status()
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(append(append(dst, ' '), phrases[status]...), "\r\nServer: fastsyn\r\nDate: "...)
	dst = append(append(dst, now...), "\r\n"...)
	if o.part == whole || o.part == partial {
		dst = append(dst, e.fields...)
	}
	if o.part == partial || o.part == unsatisfiable {
		dst = append(dst, "Content-Range: bytes "...)
		if o.part == partial {
			dst = append(strconv.AppendInt(dst, o.from, 10), '-')
			dst = strconv.AppendInt(dst, o.to-1, 10)
		} else {
			dst = append(dst, '*')
		}
		dst = append(strconv.AppendInt(append(dst, '/'), int64(len(e.body)), 10), "\r\n"...)
	}
	if e.ranges && o.part != unsatisfiable {
		dst = append(dst, "Accept-Ranges: bytes\r\n"...)
	}
	if e.etag != "" {
		dst = append(append(append(dst, "ETag: "...), e.etag...), "\r\n"...)
	}
	if e.modified != "" {
		dst = append(append(append(dst, "Last-Modified: "...), e.modified...), "\r\n"...)
	}
	if o.part != notModified {
		n := o.to - o.from
		if o.part == unsatisfiable {
			n = 0
		}
		dst = append(strconv.AppendInt(append(dst, "Content-Length: "...), n, 10), "\r\n"...)
	}
	return append(append(dst, connLines[o.conn]...), "\r\n"...)
}
