package bench

import (
	"bytes"

	"github.com/fastsyn/fastsyn/bench/http1"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

// httpClient makes HTTP transactions on one worker: it opens a connection, sends a
// request with the ACK of the SYN-ACK, verifies the response, and so on for as many
// requests as the connection is for; then both sides close. Opens and pace are
// those of client.
type httpClient struct {
	client
	http *http1.Client
	want []byte // the content of each response; nil if it is not known
	ex   []exchange

	tally  httpCounters
	window httpWindow // when the sending time ended
	first  *latency   // from the SYN to the first byte of the first response
	reused *latency   // from established to the end of the last response
	total  *latency   // to the end of the transaction
}

// exchange is the state of a transaction, by flow index. The zero value is one whose
// connection is not established.
type exchange struct {
	content  uint64 // bytes of responses, in all
	left     uint32 // responses that are not complete, this one included
	sent     uint32 // requests sent of those
	at       uint32 // bytes of this response's content that came, modulo 2^32: see check
	began    uint32 // age when it was established, in 64 ns
	end      ending
	open     bool // established
	repeated bool // its SYN was
	answered bool // something came
}

// ending is how a transaction ends. Each ends in exactly one of them.
type ending uint8

const (
	endPending  ending = iota // not yet
	endComplete               // all responses verified, both sides closed by FIN
	endConnect                // never established
	endBad                    // a response that is not HTTP, or not the one wanted; aborted by us
	endContent                // likewise, with other content than our server sends
	endShort                  // the peer closed before the end of the last response
	endReset                  // by the peer
	endBroken                 // no answer to what was sent again and again, or an ICMP error
	numEndings
)

type httpCounters struct {
	ends    [numEndings]uint64
	text    uint64 // bytes that came
	content uint64 // of responses in complete transactions
}

// httpWindow is what happened within the sending time.
type httpWindow struct{ complete, responses, content uint64 }

func newHTTP(j *job, id int, t *tuples, flows int) (*httpClient, error) {
	c := &httpClient{client: *newClient(j, id, t), first: newLatency(), reused: newLatency(), total: newLatency(), ex: make([]exchange, flows+1)}
	var err error
	if c.http, err = j.cfg.newHTTPClient(j.cfg.hostField()); err != nil {
		return nil, err
	}
	c.want, c.firstByte = j.content, newLatency()
	c.calls = worker.Callbacks{
		Established: c.established, Data: c.data, Writable: c.writable, PeerClosed: c.peerClosed, Closed: c.closed, AutoClose: true,
	}
	c.windowEnds = func() {
		c.window = httpWindow{c.tally.ends[endComplete], c.http.Done, c.http.Content}
	}
	return c, nil
}

// established sends the first request, or as many as may be under way, with the ACK of the SYN-ACK.
func (c *httpClient) established(f *worker.Flow) {
	age := c.record(f)
	x := &c.ex[f.ID().Index()]
	*x = exchange{open: true, left: uint32(c.job.cfg.HTTPRequests), began: uint32(age / 64), repeated: f.Retransmitted()}
	c.send1(f, x)
}

// send1 sends the requests that are due, as far as there is room for them; writable the others.
func (c *httpClient) send1(f *worker.Flow, x *exchange) {
	switch n := min(x.left, uint32(c.job.cfg.HTTPPipeline)) - x.sent; {
	case n == 1 && x.sent == 0:
		if c.http.Send(f) {
			x.sent = 1
		}
	case n > 0:
		x.sent += uint32(c.http.SendMany(f, int(n)))
	}
}

func (c *httpClient) writable(f *worker.Flow) {
	if x := &c.ex[f.ID().Index()]; x.open && x.left > 0 && x.end == endPending {
		c.send1(f, x)
	}
}

func (c *httpClient) data(f *worker.Flow, p []byte) {
	x := &c.ex[f.ID().Index()]
	c.tally.text += uint64(len(p))
	if !x.answered {
		x.answered = true
		age := int64(f.Age())
		c.first.record(age)
		if !x.repeated {
			c.firstByte.record(age - int64(x.began)*64)
		}
	}
	for len(p) > 0 {
		before := c.http.Content
		k, done, why := c.http.Next(f, p, x.sent > 1)
		n := c.http.Content - before
		x.content += n
		if done && x.sent > 0 {
			x.sent--
		}
		switch {
		case why != http1.OK:
			c.abort(f, x, endBad)
			return
		case c.want != nil && !c.check(x, p[:k], int(n), done):
			c.abort(f, x, endContent)
			return
		case done && !c.response(f, x):
			return
		}
		p = p[k:]
	}
}

// check compares the last n bytes of p, content of a response, with what our server
// sends: those of each segment, all of them.
func (c *httpClient) check(x *exchange, p []byte, n int, done bool) bool {
	at := int(x.at)
	x.at += uint32(n)
	if done {
		x.at = 0
	}
	return at+n <= len(c.want) && bytes.Equal(p[len(p)-n:], c.want[at:at+n])
}

// response has seen the end of a response: the next request goes out, or the connection is
// closed unless the server does it, as it was asked to. It reports whether further responses are under way.
func (c *httpClient) response(f *worker.Flow, x *exchange) (more bool) {
	persists := c.http.Last.Persists
	switch x.left--; {
	case x.left == 0:
		c.reused.record(int64(f.Age()) - int64(x.began)*64)
		if persists {
			f.Close()
		}
	case persists:
		c.send1(f, x)
		return x.sent > 0
	default:
		// The server has announced to close, which it may at any time (RFC 9112 section 9.5).
		c.http.Cut += uint64(x.sent)
		x.sent = 0
		x.end = endShort
		f.Close()
	}
	return false
}

// peerClosed is the end of a response without a length, and else of the connection.
func (c *httpClient) peerClosed(f *worker.Flow) {
	x := &c.ex[f.ID().Index()]
	done, why := c.http.PeerClosed(f)
	if done {
		x.sent--
	}
	switch {
	case done && why == http1.OK:
		c.response(f, x)
	case x.left > 0 && x.end == endPending:
		x.end = endShort
	}
}

// abort resets a flow whose response is of no use.
func (c *httpClient) abort(f *worker.Flow, x *exchange, why ending) {
	c.http.Closed(f, int(x.sent))
	c.ended(f, x, why)
	f.Abort()
}

func (c *httpClient) closed(f *worker.Flow, why handshake.CloseReason) {
	x := &c.ex[f.ID().Index()]
	c.ctr.closed++
	c.http.Closed(f, int(x.sent))
	end := x.end
	switch {
	case !x.open:
		end = endConnect
		c.samples.failed(f.ID(), why)
	case end != endPending:
	case why == handshake.ReasonDone && x.left == 0:
		end = endComplete
		c.complete(f, x)
	case why == handshake.ReasonDone:
		end = endShort
	case why == handshake.ReasonReset:
		end = endReset
	default:
		end = endBroken
	}
	c.ended(f, x, end)
}

func (c *httpClient) complete(f *worker.Flow, x *exchange) {
	age := int64(f.Age())
	c.tally.content += x.content
	c.total.record(age)
	c.respond(f, age)
}

func (c *httpClient) ended(f *worker.Flow, x *exchange, end ending) {
	if end != endComplete {
		c.fail(f)
	}
	*x = exchange{}
	c.tally.ends[end]++
	c.inflight--
}

// awaited is how many requests wait for the end of their response.
func (c *httpClient) awaited() (n uint64) {
	for i := range c.ex {
		if x := &c.ex[i]; x.open {
			n += uint64(x.sent)
		}
	}
	return n
}

// decided and undecided are those of transactions.
func (c *httpClient) decided() *latency {
	if c.times.response != nil {
		return c.times.response
	}
	return c.total
}

func (c *httpClient) undecided(f *worker.Flow) bool {
	return c.client.undecided(f) || f.Active() && c.ex[f.ID().Index()].open
}

func (c *httpClient) progress() (done, failed, inflight uint64, lat *latency) {
	for _, n := range c.tally.ends {
		failed += n
	}
	done = c.tally.ends[endComplete]
	return done, failed - done, uint64(c.inflight), c.total
}
