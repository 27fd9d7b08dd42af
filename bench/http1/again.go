package http1

// A peer that sends one message over and over sends the same head each time, and so do most
// peers of a load test. What a head says depends on its bytes alone, so one that is equal to the
// head before it is not read again.

// maxAgain is the longest head that is kept for comparison.
const maxAgain = 1 << 10

// again is the last head that was read.
type again struct {
	head []byte
	read bool // its meaning is at hand, and refers to nothing but head
}

// equal reports that p begins with that head.
func (a *again) equal(p []byte) bool {
	n := len(a.head)
	return n > 0 && len(p) >= n && string(p[:n]) == string(a.head)
}

// keep takes a head that was read from elsewhere; n is 0 if there is none.
func (a *again) keep(p []byte, n int) {
	if a.read = false; n > maxAgain {
		n = 0
	}
	a.head = append(a.head[:0], p[:n]...)
}

// parse is request.parse of p into s.req.
func (s *Server) parse(p []byte) (n int, why Reason) {
	a := &s.again
	switch {
	case !a.equal(p):
		n, why = s.req.parse(p)
		a.keep(p, n)
	case a.read:
		n = len(a.head)
	default: // the second time: from what is kept, which stays
		n, why = s.req.parse(a.head)
		a.read = true
	}
	return n, why
}

// parse is answer.parse of p into c.answer, which refers to nothing.
func (c *Client) parse(p []byte) (n int, why Reason) {
	a := &c.again
	if a.equal(p) {
		return len(a.head), OK
	}
	n, why = c.answer.parse(p)
	if why != OK {
		a.keep(nil, 0)
	} else {
		a.keep(p, n)
	}
	return n, why
}
