package http1

import (
	"bytes"
	"fmt"
	"time"
)

// Limits bound what peers can make a Server hold. Zero members are the defaults.
type Limits struct {
	// Head is the most bytes of a request's head: 8 KiB. Longer ones are answered 431 or 414.
	Head int
	// Memory is the most bytes for heads that came in pieces and for requests that wait
	// until earlier responses are out, over all connections of the server: 64 MiB.
	Memory int
	// Linger is how many bytes of text are read and discarded after we closed, so that
	// the response reaches a peer that still sends (RFC 9112 section 9.6): 1 MiB. A
	// peer that sends more is reset.
	Linger int
}

// Counters of a Server. Each of Requests ends as one of Responses or Cut.
type Counters struct {
	Requests  uint64 // heads read, and those refused with an answer
	Responses uint64 // of which all bytes are with the stream
	Cut       uint64 // the connection ended before that
	Continues uint64 // 100 Continue
	Content   uint64 // bytes of content in requests
	Refused   [numReasons]uint64
	Status    [6]uint64 // Responses and refusals chosen, by hundreds
}

// Add adds d to c.
func (c *Counters) Add(d *Counters) {
	c.Requests += d.Requests
	c.Responses += d.Responses
	c.Cut += d.Cut
	c.Continues += d.Continues
	c.Content += d.Content
	for i, n := range d.Refused {
		c.Refused[i] += n
	}
	for i, n := range d.Status {
		c.Status[i] += n
	}
}

// Server serves a Site on the streams of one worker. It is not for several goroutines.
type Server struct {
	Counters
	// Content, if not nil, gets the content of requests piece by piece, to be read and not kept.
	Content func(p []byte)

	site   *Site
	limits Limits
	mem    buffers
	conns  []*Conn // free ones
	req    request
	memo   memo               // of a head that led to plan
	plan   plan               // for the last complete head
	path   []byte             // decoded
	fixed  [numConns]rendered // of a fixed site
	ready  [numConns]rendered // of anything else
	out    []byte             // any other response
	now    [len(imfDate)]byte
	then   [len(imfDate)]byte // the date of a response that is half out
	unix   int64
}

// rendered is a whole response as it goes out, as long as its date is right. That of a fixed site is sent
// from where it lies and may be on its way for long, so each second has one of its own.
type rendered struct {
	entry *entry
	unix  int64
	head  int // bytes
	text  []byte
}

// joined is the longest body that is sent in one piece with its head.
const joined = 4 << 10

// NewServer returns a server of site. It does not know the time before Tick.
func NewServer(site *Site, l Limits) *Server {
	l.Head, l.Memory, l.Linger = orDefault(l.Head, defaultHead), orDefault(l.Memory, 64<<20), orDefault(l.Linger, 1<<20)
	s := &Server{site: site, limits: l, mem: buffers{left: l.Memory}, path: make([]byte, 0, l.Head), unix: -1}
	s.Tick(0)
	return s
}

func orDefault(n, d int) int {
	if n > 0 {
		return n
	}
	return d
}

// Tick sets the time of the Date field, in seconds since 1970. It costs nothing while the second is the same.
func (s *Server) Tick(unix int64) {
	if unix != s.unix {
		s.unix = unix
		time.Unix(unix, 0).UTC().AppendFormat(s.now[:0], imfDate)
	}
}

// Conn is the state of one connection: 120 bytes, and a buffer when a head came in
// pieces or requests wait. It is lent by Get; between two requests none is needed.
type Conn struct {
	in    []byte // the beginning of a head; in replying, text that waits
	resp  response
	sent  int64 // bytes of the response
	left  int64 // bytes that Response returned last
	unix  int64 // its Date
	body  int64 // bytes of content that are to come; in closing, that were discarded
	chunk chunks
	state state
	ends  bool // the peer sent FIN
}

type state uint8

const (
	reading  state = iota // a head
	content               // of known length
	chunked               //
	replying              // the response is chosen; nothing is read
	closing               // we closed: what comes is discarded
)

// lingering stands for each connection that we closed and whose peer has sent nothing since. It is shared and not written to.
var lingering = &Conn{state: closing}

// Get lends a Conn for a connection that has none.
func (s *Server) Get() *Conn {
	if n := len(s.conns); n > 0 {
		c := s.conns[n-1]
		s.conns = s.conns[:n-1]
		return c
	}
	return new(Conn)
}

// Put takes c back, when it is idle or its connection is gone. A request that was not answered is counted as
// Cut, half a request as Truncated.
func (s *Server) Put(c *Conn) {
	s.mem.put(c.in)
	switch {
	case c.state == content || c.state == chunked:
		s.Cut++
		s.Refused[Truncated]++
	case c.state == replying:
		s.Cut++
	case c.state == reading && len(c.in) > 0:
		s.Refused[Truncated]++
	}
	*c = Conn{}
	s.conns = append(s.conns, c)
}

// Idle reports that c has nothing to remember.
func (c *Conn) Idle() bool { return c.state == reading && len(c.in) == 0 && !c.ends }

// InContent reports that the next text is content of a request.
func (c *Conn) InContent() bool { return c.state == content || c.state == chunked }

// Action is what the caller has to do after Feed.
type Action uint8

// Actions.
const (
	More     Action = iota // nothing: everything was taken
	Continue               // send ContinueLine, feed on
	Respond                // send the response, then Sent, then feed on
	Abort                  // reset: the peer sends and sends after the close
)

// ContinueLine is the interim response to Expect: 100-continue (RFC 9110 section 10.1.1).
var ContinueLine = []byte("HTTP/1.1 100 Continue\r\n\r\n")

// Feed reads p, the next text of the stream, and returns how much of it was taken. After More, that is all.
// A response that is chosen must be sent before anything else is taken.
func (s *Server) Feed(c *Conn, p []byte) (n int, act Action) {
	for n < len(p) {
		var k int
		switch c.state {
		case reading:
			k, act = s.head(c, p[n:])
		case content:
			k = int(min(c.body, int64(len(p)-n)))
			s.take(p[n : n+k])
			if c.body -= int64(k); c.body == 0 {
				act = s.reply(c)
			}
		case chunked:
			k, act = s.chunks(c, p[n:])
		case replying:
			return n, Respond
		case closing:
			k = len(p) - n
			if c.body += int64(k); c.body > int64(s.limits.Linger) {
				s.Refused[Flooded]++
				act = Abort
			}
		}
		n += k
		if act == Continue && n < len(p) {
			act = More // the content is there already
		}
		if act != More {
			break
		}
	}
	if act == Continue {
		s.Continues++
	}
	return n, act
}

func (s *Server) take(p []byte) {
	s.Counters.Content += uint64(len(p))
	if s.Content != nil {
		s.Content(p)
	}
}

func (s *Server) chunks(c *Conn, p []byte) (n int, act Action) {
	n, text, why := c.chunk.next(p)
	s.take(text)
	switch {
	case why != OK:
		return n, s.refuse(c, why)
	case c.chunk.at == chunkDone:
		return n, s.reply(c)
	}
	return n, More
}

// head reads a head that begins with what is kept of it and goes on with p.
func (s *Server) head(c *Conn, p []byte) (n int, act Action) {
	if len(c.in) == 0 {
		if n = s.memo.begins(p); n > 0 {
			return n, s.begin(c)
		}
		// Empty lines before the request (RFC 9112 section 2.2).
		for len(p) > n+1 && p[n] == '\r' && p[n+1] == '\n' {
			n += 2
		}
		if p = p[n:]; len(p) == 0 {
			return n, More
		}
		if len(p) == 1 && p[0] == '\r' {
			return n + 1, s.keep(c, p)
		}
		k, why := s.req.parse(p[:min(len(p), s.limits.Head)])
		switch {
		case why != OK:
			return n, s.refuse(c, why)
		case k > 0:
			s.decide(p[:k])
			return n + k, s.begin(c)
		case len(p) >= s.limits.Head:
			return n, s.refuse(c, s.tooLong())
		}
		return n + len(p), s.keep(c, p)
	}
	if len(c.in) == 1 && c.in[0] == '\r' && p[0] == '\n' {
		s.drop(c)
		return 1, More
	}
	old := len(c.in)
	p = p[:min(len(p), s.limits.Head-old)]
	if act = s.keep(c, p); act != More {
		return 0, act
	}
	// Reading anew is for new lines, and for the first one.
	if bytes.IndexByte(p, '\n') < 0 && len(c.in) > 2*maxMethod && len(c.in) < s.limits.Head {
		return len(p), More
	}
	k, why := s.req.parse(c.in)
	switch {
	case why != OK:
	case k > 0:
		s.decide(c.in[:k])
		act = s.begin(c)
		s.drop(c)
		return k - old, act
	case len(c.in) >= s.limits.Head:
		why = s.tooLong()
	default:
		return len(p), More
	}
	s.drop(c)
	return 0, s.refuse(c, why)
}

func (s *Server) keep(c *Conn, p []byte) Action {
	var ok bool
	if c.in, ok = s.mem.add(c.in, p); !ok {
		s.drop(c)
		return s.refuse(c, NoMemory)
	}
	return More
}

func (s *Server) drop(c *Conn) {
	s.mem.put(c.in)
	c.in = nil
}

func (s *Server) tooLong() Reason {
	if s.req.lined {
		return HeadTooLong
	}
	return TargetTooLong
}

// plan is what follows a head. It depends on the bytes of the head and the site alone, so that it may be used again.
type plan struct {
	resp   response
	length int64 // of the content
	next   state // content, chunked, or replying at once
	expect bool  // 100 Continue is due before the content
}

// decide makes the plan for the request that was read from head.
func (s *Server) decide(head []byte) {
	r, d := &s.req, &s.plan
	d.resp = s.site.choose(r, s.path)
	status := d.resp.status()
	// A client that was promised no 100 may or may not send its content: nobody knows where the next request begins.
	refused := r.expect && status >= 400 && (r.length > 0 || r.chunked)
	switch {
	case !r.persists(r.minor) || r.method == methodConnect || refused || status == 400:
		d.resp.conn = connCloses
	case r.minor == 0:
		d.resp.conn = connKeeps
	default:
		d.resp.conn = connStays
	}
	d.next, d.length, d.expect = replying, r.length, r.expect
	switch {
	case refused:
	case r.chunked:
		d.next = chunked
	case r.length > 0:
		d.next = content
	}
	if r.secret {
		s.memo.forget()
	} else {
		s.memo.learn(head)
	}
}

// begin enters upon the plan: the response is due when the content is here.
func (s *Server) begin(c *Conn) Action {
	d := &s.plan
	s.Requests++
	c.resp, c.state = d.resp, d.next
	switch d.next {
	case content:
		c.body = d.length
	case chunked:
		c.chunk = chunks{}
	case reading, replying, closing:
		return s.reply(c)
	}
	if d.expect {
		return Continue
	}
	return More
}

func (s *Server) reply(c *Conn) Action {
	s.Status[c.resp.status()/100]++
	c.state, c.sent, c.unix = replying, 0, s.unix
	return Respond
}

// refuse answers what is no request, and closes.
func (s *Server) refuse(c *Conn, why Reason) Action {
	if c.state == reading {
		s.Requests++
	}
	s.Refused[why]++
	e := s.site.answers[why.status()]
	c.resp = response{entry: e, to: int64(len(e.body)), conn: connCloses}
	return s.reply(c)
}

// Response returns the bytes of the response that are still to be sent: text, which is
// valid until the next call on s and must be copied, and then static, which never changes. Report progress with Sent.
func (s *Server) Response(c *Conn) (text, static []byte) {
	text, lasts := s.render(c)
	body := c.resp.content()
	if c.resp.part == whole && len(body) <= joined {
		body = nil // in text
	}
	if k := c.sent - int64(len(text)); k < 0 {
		text = text[c.sent:]
	} else {
		text, body = nil, body[k:]
	}
	c.left = int64(len(text) + len(body))
	if lasts && len(body) == 0 {
		return nil, text
	}
	return text, body
}

// render returns the head, with the body if that is short. When it lasts, it never changes.
func (s *Server) render(c *Conn) (text []byte, lasts bool) {
	o, now := &c.resp, s.now[:]
	if c.sent == 0 {
		c.unix = s.unix
	} else if c.unix != s.unix { // half of it is out with another date
		now = time.Unix(c.unix, 0).UTC().AppendFormat(s.then[:0], imfDate)
	}
	if o.part != whole || c.unix != s.unix {
		s.out = o.appendHead(s.out[:0], now)
		if body := o.content(); o.part == whole && len(body) <= joined {
			s.out = append(s.out, body...)
		}
		return s.out, false
	}
	r := &s.ready[o.conn]
	if lasts = o.entry == s.site.fixed; lasts {
		r = &s.fixed[o.conn]
	}
	if r.entry != o.entry || r.unix != s.unix {
		if lasts {
			r.text = make([]byte, 0, cap(r.text)) // the old one may be in flight
		}
		r.text = o.appendHead(r.text[:0], now)
		r.head, r.entry, r.unix = len(r.text), o.entry, s.unix
		if body := o.entry.body; len(body) <= joined {
			r.text = append(r.text, body...)
		}
	}
	if o.head {
		return r.text[:r.head], lasts
	}
	return r.text, lasts
}

// Sent reports that n bytes of what Response returned are with the stream. Done is that all are; closes, that the caller
// has to close its side then. It goes on reading and feeding, which discards, until the peer closed too.
func (s *Server) Sent(c *Conn, n int) (done, closes bool) {
	c.sent += int64(n)
	if c.left -= int64(n); c.left > 0 {
		return false, false
	}
	s.Responses++
	closes = c.resp.conn == connCloses
	c.resp, c.body = response{}, 0
	c.state = reading
	if closes {
		c.state = closing
	}
	return true, closes
}

// Check verifies that the sums close. open is how many connections are within a request or response.
func (c *Counters) Check(open uint64) error {
	if got := c.Responses + c.Cut + open; got != c.Requests {
		return fmt.Errorf("http1: %d requests, but %d responses, %d cut and %d open", c.Requests, c.Responses, c.Cut, open)
	}
	return nil
}
