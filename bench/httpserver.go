package bench

import (
	"time"

	"github.com/fastsyn/fastsyn/bench/http1"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

// httpServer is our own server of the scenario http: one http1.Server per worker.
type httpServer struct{ of []*http1.Server }

// newHTTPServer serves body on each of n workers.
func newHTTPServer(body []byte, n int) *httpServer {
	site := http1.Fixed("application/octet-stream", body)
	s := &httpServer{}
	for range n {
		s.of = append(s.of, http1.NewServer(site, http1.Limits{}))
	}
	return s
}

func (s *httpServer) at(f *worker.Flow) *http1.Server { return s.of[f.Worker().ID()] }

func (s *httpServer) callbacks() worker.Callbacks {
	return worker.Callbacks{
		Data: func(f *worker.Flow, p []byte) {
			h := s.at(f)
			h.Tick(f.Worker().Now() / int64(time.Second))
			h.Data(f, p)
		},
		Writable:   func(f *worker.Flow) { s.at(f).Writable(f) },
		PeerClosed: func(f *worker.Flow) { s.at(f).PeerClosed(f) },
		Closed:     func(f *worker.Flow, _ handshake.CloseReason) { s.at(f).Closed(f) },
	}
}

// counters are those of all workers, which have ended.
func (s *httpServer) counters() (c http1.Counters) {
	for _, one := range s.of {
		c.Add(&one.Counters)
	}
	return c
}
