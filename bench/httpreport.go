package bench

import (
	"bytes"
	"fmt"
	"time"

	"github.com/fastsyn/fastsyn/bench/http1"
)

// HTTP is the outcome of that scenario. A transaction is a connection with all its requests:
// attempted = complete + not_connected + bad_response + short + reset + broken + pending.
type HTTP struct {
	Body     int    `json:"body"`     // wanted bytes of content in a response; -1: any
	Requests int    `json:"requests"` // per connection
	Pipeline int    `json:"pipeline"` // requests of a connection under way at once
	Path     string `json:"path"`

	Attempted    uint64 `json:"attempted"`
	Complete     uint64 `json:"complete"`      // all responses verified, both sides closed by FIN
	NotConnected uint64 `json:"not_connected"` // see Handshakes
	BadResponse  uint64 `json:"bad_response"`  // not HTTP, or not the response wanted
	Short        uint64 `json:"short"`         // the peer closed before the end of the last response
	Reset        uint64 `json:"reset"`         // by the peer
	Broken       uint64 `json:"broken"`        // no answer to what was sent again and again, or an ICMP error
	Pending      uint64 `json:"pending"`

	// Requests sent = responses + failed + awaited.
	RequestsSent uint64            `json:"requests_sent"`
	Responses    uint64            `json:"responses"` // complete and as wanted
	Failed       map[string]uint64 `json:"failed"`    // requests by what became of them
	Awaited      uint64            `json:"awaited"`   // when the run ended
	ContentBytes uint64            `json:"content_bytes"`
	TextBytes    uint64            `json:"text_bytes"` // heads included

	FirstByte Latency `json:"first_byte_ns"` // from the SYN to the first byte of the first response
	Exchange  Latency `json:"exchange_ns"`   // from established to the end of the last response
	Total     Latency `json:"total_ns"`      // to the end of a complete transaction
	Reuse     Reuse   `json:"reuse"`
}

// Reuse is what several requests on a connection save, beside one connection for each of them.
type Reuse struct {
	// Responses = Connections + HandshakesAvoided, of complete transactions.
	Responses         uint64 `json:"responses"`
	Connections       uint64 `json:"connections"`
	HandshakesAvoided uint64 `json:"handshakes_avoided"`
	// Means of complete transactions: of a connect, of a request with its share of the connect, and
	// what that share is smaller than a whole one. A connection for each request would have cost RequestNS + SavedNS.
	ConnectNS float64 `json:"connect_ns"`
	RequestNS float64 `json:"request_ns"`
	SavedNS   float64 `json:"saved_ns"`
}

// reuse has what connections of n requests took: connect and exchange are means, in ns.
func reuse(connections, n uint64, connect, exchange float64) Reuse {
	r := Reuse{Responses: connections * n, Connections: connections, HandshakesAvoided: connections * (n - 1)}
	if connections > 0 {
		r.ConnectNS, r.RequestNS, r.SavedNS = connect, (connect+exchange)/float64(n), connect*float64(n-1)/float64(n)
	}
	return r
}

func (r *run) reportHTTP(rep *Report) {
	r.reportClients(rep)
	h := &rep.HTTP
	h.Body, h.Requests, h.Pipeline, h.Path, h.Failed = r.cfg.bodyLen(), r.cfg.HTTPRequests, r.cfg.HTTPPipeline, r.cfg.HTTPPath, map[string]uint64{}
	first, exchange, total := newLatency().h, newLatency().h, newLatency().h
	var ends [numEndings]uint64
	var content uint64 // of complete transactions
	var all http1.ClientCounters
	var window httpWindow
	for _, g := range r.gens {
		c := g.(interface{ web() *httpClient }).web()
		c.first.copyTo(first)
		c.reused.copyTo(exchange)
		c.total.copyTo(total)
		for i, n := range c.tally.ends {
			ends[i] += n
		}
		content += c.tally.content
		h.TextBytes += c.tally.text
		h.Pending += uint64(c.inflight)
		h.Awaited += c.awaited()
		all.Add(&c.http.ClientCounters)
		window.complete += c.window.complete
		window.responses += c.window.responses
		window.content += c.window.content
	}
	h.Attempted = rep.Handshakes.Attempted
	h.Complete, h.NotConnected, h.BadResponse = ends[endComplete], ends[endConnect], ends[endBad]+ends[endContent]
	h.Short, h.Reset, h.Broken = ends[endShort], ends[endReset], ends[endBroken]
	h.RequestsSent, h.Responses, h.ContentBytes = all.Sent, all.Done, all.Content
	failed := uint64(0)
	put := func(why string, n uint64) {
		if failed += n; n > 0 {
			h.Failed[why] = n
		}
	}
	put("cut", all.Cut)
	for why, n := range all.Failed {
		put(http1.Reason(why).String(), n)
	}
	rep.Rate.TransactionsPerS = r.perSecond(window.complete)
	rep.Rate.ResponsesPerS = r.perSecond(window.responses)
	rep.Rate.ContentBytesPerS = r.perSecond(window.content)
	h.FirstByte, h.Exchange, h.Total = rep.latency("http.first_byte", first), rep.latency("http.exchange", exchange), rep.latency("http.total", total)
	h.Reuse = reuse(h.Complete, uint64(h.Requests), rep.Latency.Mean, h.Exchange.Mean)

	rep.equation("transactions attempted = complete + not connected + bad response + short + reset + broken + pending",
		h.Attempted, h.Complete+h.NotConnected+h.BadResponse+h.Short+h.Reset+h.Broken+h.Pending)
	rep.equation("requests sent = responses + failed + awaited", h.RequestsSent, h.Responses+failed+h.Awaited)
	client := &rep.Client.Streams
	rep.equation("streams opened = established", client.Opened, rep.Handshakes.Established)
	rep.equation("text from the streams = text to the generator", client.BytesIn, h.TextBytes)
	rep.equation("samples of the total = transactions complete", uint64(total.TotalCount()), h.Complete)
	if body := r.cfg.bodyLen(); body >= 0 {
		rep.equation("content of complete transactions = transactions x requests x body", content, h.Complete*uint64(h.Requests)*uint64(body))
	}
	if rep.Server != nil {
		r.checkHTTPServer(rep)
	}
}

// checkHTTPServer compares both ends. When everything was decided and nothing went wrong, what
// one has written the other has read, whatever the wire did.
func (r *run) checkHTTPServer(rep *Report) {
	h, c := &rep.HTTP, r.web.counters()
	if h.Complete != h.Attempted {
		return
	}
	rep.equation("requests sent = responses of our server", h.RequestsSent, c.Responses)
	rep.equation("requests sent = requests to our server", h.RequestsSent, c.Requests)
	rep.equation("text sent by the client = text received by our server", rep.Client.Streams.BytesOut, rep.Server.Streams.BytesIn)
	rep.equation("text sent by our server = text received by the client", rep.Server.Streams.BytesOut, rep.Client.Streams.BytesIn)
}

func (r *Report) textHTTP(b *bytes.Buffer) {
	line(b, "rate", "%s transactions/s, %s responses/s, %s/s of content", number(r.Rate.TransactionsPerS), number(r.Rate.ResponsesPerS), bytesText(r.Rate.ContentBytesPerS))
	r.textTransactions(b)
	r.textHandshakeCounts(b)
	if n := r.Retransmissions.Stream; n > 0 {
		line(b, "resent", "%s segments of streams", count(n))
	}
}

// textTransactions says what became of transactions and requests.
func (r *Report) textTransactions(b *bytes.Buffer) {
	h := &r.HTTP
	line(b, "http", "%s attempted = %s complete + %s not connected + %s bad response + %s short + %s reset + %s broken + %s pending",
		count(h.Attempted), count(h.Complete), count(h.NotConnected), count(h.BadResponse), count(h.Short), count(h.Reset), count(h.Broken), count(h.Pending))
	failed := ""
	for _, n := range h.Failed {
		if n > 0 {
			failed = ", " + nonZero(h.Failed)
			break
		}
	}
	line(b, "requests", "%s sent, %s answered by %s of content%s", count(h.RequestsSent), count(h.Responses), bytesText(float64(h.ContentBytes)), failed)
	if u := &h.Reuse; h.Requests > 1 && u.Connections > 0 {
		d := func(ns float64) string { return shortDuration(time.Duration(ns)) }
		how := ""
		if h.Pipeline > 1 {
			how = fmt.Sprintf(", %d at once", h.Pipeline)
		}
		line(b, "reuse", "%d requests on a connection%s: %s handshakes avoided, %s of %s per request saved (connect %s)", h.Requests, how,
			count(u.HandshakesAvoided), d(u.SavedNS), d(u.RequestNS+u.SavedNS), d(u.ConnectNS))
	}
}

// bytesText prints bytes by the powers of ten.
func bytesText(n float64) string {
	unit := 0
	for n >= 1000 && unit < 4 {
		n /= 1000
		unit++
	}
	return fmt.Sprintf("%.3g %s", n, [...]string{"B", "kB", "MB", "GB", "TB"}[unit])
}

// setupHTTP is what a set-up line says of the requests.
func (r *Report) setupHTTP() string {
	body := "of any length"
	if r.HTTP.Body >= 0 {
		body = fmt.Sprintf("of %s bytes", count(uint64(r.HTTP.Body)))
	}
	s := fmt.Sprintf(", GET %s, %s per connection, responses %s, ", r.HTTP.Path, plural(r.HTTP.Requests, "request"), body)
	if r.TimeWaitS > 0 {
		return s + "TIME-WAIT of " + number(r.TimeWaitS) + " s"
	}
	return s + "no TIME-WAIT"
}
