package http1

import (
	"fmt"
	"strings"
)

// ClientCounters of a Client. Each of Sent ends as one of Done, Failed or Cut.
type ClientCounters struct {
	Sent    uint64             // requests
	Done    uint64             // complete responses, as wanted
	Cut     uint64             // the connection ended before the peer closed it
	Content uint64             // bytes in responses, whole or not
	Failed  [numReasons]uint64 // by why
}

// Add adds d to c.
func (c *ClientCounters) Add(d *ClientCounters) {
	c.Sent += d.Sent
	c.Done += d.Done
	c.Cut += d.Cut
	c.Content += d.Content
	for i, n := range d.Failed {
		c.Failed[i] += n
	}
}

// Check verifies that the sums close. open is how many requests are under way.
func (c *ClientCounters) Check(open uint64) error {
	n := c.Done + c.Cut + open
	for _, k := range c.Failed {
		n += k
	}
	if n != c.Sent {
		return fmt.Errorf("http1: %d requests sent, but %d done, %d cut, %d open and the rest failed make %d", c.Sent, c.Done, c.Cut, open, n)
	}
	return nil
}

// Result is what came for a request.
type Result struct {
	Status   int
	Length   int64 // bytes of content
	Persists bool  // another request may be sent
}

// Client sends one request over and over, on the streams of one worker, and reads the
// responses. It is not for several goroutines. The value of the stream is the client's: a mark,
// or an Exchange while a response came in part. How many requests are under way on a stream is
// for the caller to know, who may send more than one before a response came (pipelining, RFC 9112 section 9.3.2).
type Client struct {
	ClientCounters
	// Last is the result behind the last call that returned done.
	Last Result

	request []byte
	batch   []byte // several of them
	head    bool
	status  int
	length  int64
	mem     buffers
	free    []*Exchange
	answer  answer // of the last head, as far as it was read
	memo    memo   // of a head that said answer
}

// Values of a stream: a request is sent and nothing came; its response is complete, or of no use.
var (
	waiting  = &Exchange{}
	complete = &Exchange{state: closing}
)

// NewClient returns a client for GET, or HEAD, of target at host (with a port unless it
// is 80). Without keepAlive each request asks for the connection to be closed. Responses with
// another status than wanted, or another length unless that is -1, count as failed.
func NewClient(method, host, target string, keepAlive bool, status int, length int64) (*Client, error) {
	c := &Client{head: method == "HEAD", status: status, length: length, mem: buffers{left: 64 << 20}}
	if method != "GET" && method != "HEAD" {
		return nil, fmt.Errorf("http1: method %q: want GET or HEAD", method)
	}
	if strings.ContainsAny(host+target, " \t\r\n") {
		return nil, fmt.Errorf("http1: target %q at host %q makes no request: blanks or line ends in it", target, host)
	}
	c.request = fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: fastsyn\r\nAccept: */*\r\n", method, target, host)
	if !keepAlive {
		c.request = append(c.request, connLines[connCloses]...)
	}
	c.request = append(c.request, "\r\n"...)
	var r request
	if _, why := r.parse(c.request); why != OK {
		return nil, fmt.Errorf("http1: target %q at host %q makes no request: %s", target, host, why)
	}
	return c, nil
}

// Request is what is sent.
func (c *Client) Request() []byte { return c.request }

// Send sends the request, the first one of f or the next after a result that Persists.
// It reports false when the stream has no room, which a new one has.
func (c *Client) Send(f Stream) bool {
	if !f.WriteStatic(c.request) {
		return false
	}
	f.SetValue(waiting)
	c.Sent++
	return true
}

// SendMany sends n requests in one piece, as far as a batch holds them, and returns how many: 0 when the
// stream has no room. Other requests may be under way on f.
func (c *Client) SendMany(f Stream, n int) int {
	for len(c.batch) < n*len(c.request) && len(c.batch) < maxBatch {
		c.batch = append(c.batch[:len(c.batch):len(c.batch)], c.request...) // a new one: the old may be on its way still
	}
	n = min(n, len(c.batch)/len(c.request))
	if !f.WriteStatic(c.batch[:n*len(c.request)]) {
		return 0
	}
	if f.Value() == nil || f.Value() == any(complete) {
		f.SetValue(waiting)
	}
	c.Sent += uint64(n)
	return n
}

// maxBatch is about how long a batch of requests may be, in bytes.
const maxBatch = 16 << 10

// Next is Data for streams with several requests under way: it reads up to the end of one response and
// returns how much of p that took. more is that further responses are to come behind it; they do if Last.Persists.
func (c *Client) Next(f Stream, p []byte, more bool) (n int, done bool, why Reason) {
	x, _ := f.Value().(*Exchange)
	if x == nil || x == complete {
		return 0, true, Unexpected
	}
	first := x == waiting
	if first {
		x = c.get()
	}
	before := x.length
	n, done, why = x.feed(c, p)
	c.Content += uint64(x.length - before)
	if !done {
		if first {
			f.SetValue(x)
		}
		return n, false, OK
	}
	if why == OK && n < len(p) && !more {
		why = Unexpected
	}
	if why = c.finish(f, x, why); why == OK && more && c.Last.Persists {
		f.SetValue(waiting)
	}
	return n, true, why
}

// Data is to be called with text that came. done is that the response is complete, and as wanted when why is OK;
// else the connection is of no use any more. Last has what it was. Text that no request asked for is Unexpected,
// and counted only where it comes together with the response.
func (c *Client) Data(f Stream, p []byte) (done bool, why Reason) {
	_, done, why = c.Next(f, p, false)
	return done, why
}

// PeerClosed is to be called when the peer sends no more. It is the end of a response without a length
// (RFC 9112 section 8), of others the failure.
func (c *Client) PeerClosed(f Stream) (done bool, why Reason) {
	x, _ := f.Value().(*Exchange)
	switch x {
	case nil, complete:
		return false, OK
	case waiting:
		x = c.get()
	}
	if x.state != content || x.left >= 0 {
		why = Truncated
	}
	return true, c.finish(f, x, why)
}

// Closed is to be called when the connection is gone, by whatever end, with the number of requests under way: those that
// were sent and have neither a complete response nor one that failed.
func (c *Client) Closed(f Stream, awaited int) {
	c.Cut += uint64(awaited)
	x, _ := f.Value().(*Exchange)
	f.SetValue(complete)
	if x != nil && x != complete && x != waiting {
		c.put(x)
	}
}

// finish counts the response and returns what is wrong with it.
func (c *Client) finish(f Stream, x *Exchange, why Reason) Reason {
	c.Last = Result{Status: int(x.status), Length: x.length, Persists: x.persists && why == OK}
	c.put(x)
	f.SetValue(complete)
	switch {
	case why != OK:
	case c.Last.Status != c.status:
		why = WrongStatus
	case c.length >= 0 && c.Last.Length != c.length && !c.head:
		why = WrongLength
	default:
		c.Done++
		return OK
	}
	c.Failed[why]++
	return why
}

func (c *Client) get() *Exchange {
	if n := len(c.free); n > 0 {
		x := c.free[n-1]
		c.free = c.free[:n-1]
		return x
	}
	return new(Exchange)
}

func (c *Client) put(x *Exchange) {
	c.mem.put(x.in)
	*x = Exchange{}
	c.free = append(c.free, x)
}

// AnyLength is a length that every response has.
const AnyLength = -1
