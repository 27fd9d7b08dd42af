package bench

import (
	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/bench/http1"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

// httpServer is our own server of the scenario http: one http1.Server per worker, which
// is its Source too, because that is who tells it the time.
type httpServer struct{ of []*httpStation }

type httpStation struct{ *http1.Server }

// newHTTPServer serves body on each of n workers.
func newHTTPServer(body []byte, n int) *httpServer {
	site := http1.Fixed("application/octet-stream", body)
	s := &httpServer{}
	for range n {
		s.of = append(s.of, &httpStation{http1.NewServer(site, http1.Limits{})})
	}
	return s
}

func (s *httpServer) at(f *worker.Flow) *http1.Server { return s.of[f.Worker().ID()].Server }

func (s *httpServer) callbacks() worker.Callbacks {
	return worker.Callbacks{
		Data:       func(f *worker.Flow, p []byte) { s.at(f).Data(f, p) },
		Writable:   func(f *worker.Flow) { s.at(f).Writable(f) },
		PeerClosed: func(f *worker.Flow) { s.at(f).PeerClosed(f) },
		Closed:     func(f *worker.Flow, _ handshake.CloseReason) { s.at(f).Closed(f) },
	}
}

// source has worker i tick.
func (s *httpServer) source(i int) fastsyn.Source { return s.of[i] }

// Poll implements worker.Source: the date of responses is that of the burst before.
func (s *httpStation) Poll(_ *worker.Worker, now int64) int64 {
	s.Tick(now / 1e9)
	return worker.Never
}

// counters are those of all workers, which have ended.
func (s *httpServer) counters() (c http1.Counters) {
	for _, one := range s.of {
		c.Add(&one.Counters)
	}
	return c
}
