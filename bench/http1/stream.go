package http1

// Stream is what a Server needs of a flow of this worker: *worker.Flow is one.
type Stream interface {
	// Write copies what there is room for and returns how much that is. After less than all, Server.Writable is to be called when there is room again.
	Write(p []byte) int
	// WriteStatic takes all of p, which never changes, or nothing.
	WriteStatic(p []byte) bool
	// Close sends FIN after what is queued; text of the peer still comes.
	Close()
	// Abort sends RST. Server.Closed is not called after it.
	Abort()
	// Hold says that n bytes that came stay in memory: the receive window closes by as much until they are Consumed.
	Hold(n int)
	Consumed(n int)
	SetValue(v any)
	Value() any
}

// staticPiece and copyPiece are tried in turn when the stream does not take a body as a whole.
const (
	staticPiece = 1 << 20
	copyPiece   = 64 << 10
)

// Data is to be called with text that came. It answers each request in it. While
// a response does not fit the stream, text that came after its request is held.
func (s *Server) Data(f Stream, p []byte) {
	c, had := f.Value().(*Conn)
	if !had {
		c = s.Get()
	} else if c == lingering {
		c, had = s.Get(), false
		c.state = closing
	}
	rest, alive := p, true
	if c.state != replying { // else Writable is due, and what is held comes first
		rest, alive = s.run(f, c, p)
	}
	if !alive {
		return
	}
	if len(rest) > 0 {
		f.Hold(len(rest))
		var ok bool
		if c.in, ok = s.mem.add(c.in, rest); !ok {
			s.Refused[HeldTooMuch]++
			s.abort(f, c)
			return
		}
	}
	switch {
	case c.Idle():
		if had {
			f.SetValue(nil)
		}
		s.Put(c)
	case c.state == closing && c.body == 0 && !c.ends:
		f.SetValue(lingering)
		s.Put(c)
	case !had:
		f.SetValue(c)
	}
}

// Writable is to be called when there is room again after a Write that was short.
func (s *Server) Writable(f Stream) {
	c, ok := f.Value().(*Conn)
	if !ok || c.state != replying || !s.flush(f, c) {
		return
	}
	held := c.in
	c.in = nil
	rest, alive := s.run(f, c, held)
	if !alive {
		s.mem.put(held)
		return
	}
	if n := len(held) - len(rest); n > 0 {
		f.Consumed(n)
	}
	if len(rest) > 0 {
		c.in = held[:copy(held, rest)]
	} else {
		s.mem.put(held)
	}
	s.ended(f, c)
}

// PeerClosed is to be called when the peer will send no more. Responses still go out.
func (s *Server) PeerClosed(f Stream) {
	c, ok := f.Value().(*Conn)
	switch {
	case !ok:
		f.Close()
	case c == lingering:
		f.SetValue(nil)
	default:
		c.ends = true
		s.ended(f, c)
	}
}

// ended forgets a connection with nothing to do, and closes it when the peer has closed.
func (s *Server) ended(f Stream, c *Conn) {
	switch {
	case c.state == replying:
	case c.ends: // half a request is one that never comes
		f.SetValue(nil)
		closed := c.state == closing
		s.Put(c)
		if !closed {
			f.Close()
		}
	case c.Idle():
		f.SetValue(nil)
		s.Put(c)
	}
}

// Closed is to be called when the flow is gone, unless this server aborted it.
func (s *Server) Closed(f Stream) {
	if c, ok := f.Value().(*Conn); ok {
		f.SetValue(nil)
		if c != lingering {
			s.Put(c)
		}
	}
}

func (s *Server) abort(f Stream, c *Conn) {
	f.SetValue(nil)
	s.Put(c)
	f.Abort()
}

// run feeds p and answers, up to a response that does not fit: rest is what came
// after its request. When alive is false, the flow is reset and c is gone.
func (s *Server) run(f Stream, c *Conn, p []byte) (rest []byte, alive bool) {
	for {
		if c.state == replying && !s.flush(f, c) {
			return p, true
		}
		if len(p) == 0 {
			return nil, true
		}
		n, act := s.Feed(c, p)
		p = p[n:]
		switch act {
		case Continue:
			// Without room the client does without, as it has to be able to (RFC 9110 section 10.1.1).
			f.WriteStatic(ContinueLine)
		case Abort:
			s.abort(f, c)
			return nil, false
		case More, Respond:
		}
	}
}

// flush hands the response to the stream, and reports whether that took all of it.
func (s *Server) flush(f Stream, c *Conn) bool {
	text, static := s.Response(c)
	n := len(text)
	if n > 0 {
		n = f.Write(text)
	}
	if n == len(text) {
		n += write(f, static)
	}
	done, closes := s.Sent(c, n)
	if closes {
		f.Close()
	}
	return done
}

// write hands p over as a whole, or in pieces, or copies it: a Write that is short is what brings Writable.
func write(f Stream, p []byte) (n int) {
	for n < len(p) {
		rest := p[n:]
		if f.WriteStatic(rest) {
			return len(p)
		}
		if len(rest) > staticPiece && f.WriteStatic(rest[:staticPiece]) {
			n += staticPiece
			continue
		}
		piece := rest[:min(len(rest), copyPiece)]
		k := f.Write(piece)
		n += k
		if k < len(piece) {
			break
		}
	}
	return n
}
