package http1

// answer is what the head of a response says.
type answer struct {
	minor  byte
	status int
	framing
}

// parse reads the head that p begins with; n is its length with the empty line, 0 while it is not complete.
func (a *answer) parse(p []byte) (n int, why Reason) {
	*a = answer{framing: framing{length: -1}}
	text, n, why := line(p)
	if n == 0 {
		for i := range min(len(p), len("HTTP/1.")) {
			if p[i] != "HTTP/1."[i] {
				return 0, BadStatusLine
			}
		}
		return 0, why
	}
	if why = a.line(text); why != OK {
		return 0, why
	}
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
			why = a.take(name, value)
		}
		if why != OK {
			return 0, why
		}
	}
	return n, a.check(a.minor)
}

// line reads the status line (RFC 9112 section 4). The space before a reason phrase that is empty may be missing: it often is.
func (a *answer) line(p []byte) (why Reason) {
	if len(p) < len("HTTP/1.1 200") || p[8] != ' ' {
		return BadStatusLine
	}
	if a.minor, why = version(p[:8]); why != OK {
		return BadStatusLine
	}
	code, ok := decimal(p[9:12])
	if !ok || code < 100 || code > 599 || len(p) > 12 && p[12] != ' ' || !printable(p[12:]) {
		return BadStatusLine
	}
	a.status = int(code)
	return OK
}

// Exchange is the state of a response that is read: 88 bytes, and a buffer when its head came in pieces.
type Exchange struct {
	in       []byte
	left     int64 // of the content; -1: up to the end of the connection
	length   int64 // of content that came
	chunk    chunks
	status   uint16
	state    state // reading, content, chunked, or closing when it is complete
	interims uint8
	persists bool
}

// feed reads p; n was taken. done is that the response is complete, or that why is not OK.
func (x *Exchange) feed(c *Client, p []byte) (n int, done bool, why Reason) {
	for n < len(p) {
		switch x.state {
		case reading:
			var k int
			k, done, why = x.head(c, p[n:])
			n += k
		case content:
			k := len(p) - n
			if x.left >= 0 {
				k = int(min(x.left, int64(k)))
				x.left -= int64(k)
				done = x.left == 0
			}
			n += k
			x.length += int64(k)
		case chunked:
			k, text, w := x.chunk.next(p[n:])
			n += k
			x.length += int64(len(text))
			why = w
			done = why != OK || x.chunk.at == chunkDone
		case replying, closing:
			return n, true, Unexpected
		}
		if done {
			x.state = closing
			break
		}
	}
	return n, done, why
}

func (x *Exchange) head(c *Client, p []byte) (n int, done bool, why Reason) {
	old := len(x.in)
	if old == 0 {
		if n = c.memo.begins(p); n > 0 {
			done, why = x.begin(c)
			return n, done, why
		}
	}
	p = p[:min(len(p), maxAnswer-old)]
	text := p
	if old > 0 {
		if why = x.keep(c, p); why != OK {
			return 0, true, why
		}
		text = x.in
	}
	c.memo.forget()
	k, why := c.answer.parse(text)
	switch {
	case why != OK:
		return 0, true, why
	case k > 0:
		c.memo.learn(text[:k])
		c.mem.put(x.in)
		x.in = nil
		done, why = x.begin(c)
		return k - old, done, why
	case len(text) >= maxAnswer:
		return 0, true, HeadTooLong
	case old == 0:
		why = x.keep(c, p)
	}
	return len(p), why != OK, why
}

func (x *Exchange) keep(c *Client, p []byte) Reason {
	var ok bool
	if x.in, ok = c.mem.add(x.in, p); !ok {
		return NoMemory
	}
	return OK
}

// maxAnswer is the longest head of a response: what nginx takes from its backends, and more.
const maxAnswer = 16 << 10

// begin says where the content ends (RFC 9112 section 6.3).
func (x *Exchange) begin(c *Client) (done bool, why Reason) {
	a := &c.answer
	if a.status < 200 {
		if x.interims++; a.status == 101 || x.interims > maxInterims {
			return true, BadInterim
		}
		return false, OK
	}
	x.status, x.persists = uint16(a.status), a.persists(a.minor)
	switch {
	case c.head || a.status == 204 || a.status == 304:
		return true, OK
	case a.chunked:
		x.state, x.chunk = chunked, chunks{}
		return false, OK
	}
	x.state, x.left = content, a.length
	if a.length < 0 {
		x.persists = false
	}
	return a.length == 0, OK
}
