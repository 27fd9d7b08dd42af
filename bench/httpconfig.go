package bench

import (
	"fmt"
	"net/netip"

	"github.com/fastsyn/fastsyn/bench/http1"
)

// noHTTP refuses settings of requests where there are none.
func (c *Config) noHTTP() error {
	if c.transacts() {
		return nil
	}
	for flag, given := range map[string]bool{"http-body": c.HTTPBody != 0, "http-requests": c.HTTPRequests != 0, "http-pipeline": c.HTTPPipeline != 0, "http-path": c.HTTPPath != ""} {
		if given {
			return flagError(flag, "", "a "+c.Scenario+" has no requests", "leave it out, or use --scenario http")
		}
	}
	return nil
}

// httpSettings checks what only the scenario http has, and fills in its defaults.
func (c *Config) httpSettings() error {
	if c.HTTPRequests == 0 {
		c.HTTPRequests = 1
	}
	if c.HTTPPipeline == 0 {
		c.HTTPPipeline = 1
	}
	if c.HTTPPath == "" {
		c.HTTPPath = "/"
	}
	if c.HTTPBody == 0 && c.Connect == "" {
		c.HTTPBody = DefaultHTTPBody
	}
	switch {
	case c.Close != CloseFIN:
		return flagError("close", c.Close, "HTTP connections are closed by FIN", "leave it out")
	case c.HTTPBody > maxHTTPBody:
		return flagError("http-body", c.HTTPBody, "want at most 1 GiB", "leave it out for 1024 bytes")
	case c.HTTPRequests < 1 || c.HTTPRequests > maxRequests:
		return flagError("http-requests", c.HTTPRequests, fmt.Sprintf("want 1 to %d requests on a connection", maxRequests), "leave it out for 1")
	case c.HTTPPipeline < 1 || c.HTTPPipeline > c.HTTPRequests:
		return flagError("http-pipeline", c.HTTPPipeline, fmt.Sprintf("of the %d requests of a connection so many cannot be under way at once", c.HTTPRequests),
			"give more --http-requests, or leave it out for 1")
	}
	if _, err := c.newHTTPClient("host"); err != nil {
		return flagError("http-path", c.HTTPPath, err.Error(), "give a path such as /index.html")
	}
	return nil
}

// bodyLen is the length that the content of a response must have, http1.AnyLength for any.
func (c *Config) bodyLen() int {
	switch {
	case c.HTTPBody < 0:
		return 0
	case c.HTTPBody == 0:
		return http1.AnyLength
	}
	return c.HTTPBody
}

// keepAlive reports whether requests leave the connection open, so that it is for the
// client to close.
func (c *Config) keepAlive() bool { return c.HTTPRequests > 1 }

// newHTTPClient makes the requests of one worker.
func (c *Config) newHTTPClient(host string) (*http1.Client, error) {
	return http1.NewClient("GET", host, c.HTTPPath, c.keepAlive(), 200, int64(c.bodyLen()))
}

// hostField is the Host of requests to c.Connect (RFC 9110 section 7.2).
func (c *Config) hostField() string {
	ap, err := netip.ParseAddrPort(c.Connect)
	if err != nil {
		return c.Connect // normalize has checked it
	}
	if ap.Port() != 80 {
		return ap.String()
	}
	if ap.Addr().Is6() {
		return "[" + ap.Addr().String() + "]"
	}
	return ap.Addr().String()
}

// inFlight is how many flows with three frames each would have as many frames on the wire as there
// may be: a longer body brings a flow more of them.
func (c *Config) inFlight() int {
	if !c.transacts() {
		return c.attempts()
	}
	const segment, window = 1220, 64 << 10 // little text each; what is under way of one flow, most of the time
	frames := 3 + min(max(c.bodyLen(), 0)*max(c.HTTPPipeline, 1), window)/segment
	return c.Concurrency * frames / 3
}
