package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/fastsyn/fastsyn/bench/http1"
	"github.com/fastsyn/fastsyn/dataplane/flow"
)

// defaultBody is the size of a response without --http-root and --http-body, in bytes.
const defaultBody = 1024

func checkHTTP(o *serveFlags, _ string) error {
	if o.httpBody > maxFiles {
		return usagef("--http-body %d: want 0 to %d bytes", o.httpBody, maxFiles)
	}
	if d := o.httpTimeout; d != 0 && (d < time.Second || d > 24*time.Hour) {
		return usagef("--http-timeout %v: want 1s to 24h, or 0 for never", d)
	}
	if o.httpRoot != "" && o.httpBody >= 0 {
		return usagef("--http-body: --http-root %s says what is served; leave one of them out", o.httpRoot)
	}
	return nil
}

func openHTTP(o *serveFlags, _ string, env appEnv) (app, error) {
	size := o.httpBody
	if size < 0 {
		size = defaultBody
	}
	site, err := httpSite(o.httpRoot, size)
	if err != nil {
		return nil, fmt.Errorf("--http-root: %w", err)
	}
	a := newHTTPApp(site, env.workers, http1.Limits{Memory: chunksFor(&o.cfg.Flow) * chunkSize})
	if o.httpTimeout > 0 {
		a.watch(o.httpTimeout)
	}
	return a, nil
}

func (a *httpApp) counts(worker int) map[string]uint64 {
	c := &a.servers[worker].Counters
	m := map[string]uint64{
		"requests": c.Requests, "responses": c.Responses, "cut": c.Cut, "continues": c.Continues, "content_bytes": c.Content,
	}
	for i := 1; i < len(c.Status); i++ {
		m[fmt.Sprintf("status_%dxx", i)] = c.Status[i]
	}
	for i, n := range c.Refused {
		if n > 0 {
			m["refused_"+strings.ReplaceAll(strings.ToLower(http1.Reason(i).String()), " ", "_")] = n
		}
	}
	if worker < len(a.idle) {
		m["idle_closed"], m["stuck_reset"] = a.idle[worker].closed, a.idle[worker].reset
	}
	return m
}

// sums holds requests against responses; each open flow may be amid one.
func (a *httpApp) sums(s *flow.Counters) string {
	c := a.counters()
	if open := c.Requests - c.Responses - c.Cut; open > s.Now {
		return "HTTP requests = responses + cut + open"
	}
	return ""
}

func (a *httpApp) close() {}
