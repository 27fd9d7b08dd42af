package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// How long the server has patience.
const (
	headTime     = 5 * time.Second
	scrapeTime   = 5 * time.Second
	writeTime    = 30 * time.Second
	profileTime  = 10 * time.Minute // the longest profile
	shutdownTime = time.Second
	maxScrapes   = 8 // at a time
)

// Server answers /metrics, and /debug/pprof if asked to.
type Server struct {
	http http.Server
	ln   net.Listener
	done chan struct{}
}

// Serve listens on addr, HOST:PORT or :PORT, and answers until Close. Port 0 is any that is free.
func Serve(addr string, c *Collector, profiles bool) (*Server, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &Server{ln: ln, done: make(chan struct{})}
	s.http = http.Server{
		Handler: handler(c, profiles), ReadHeaderTimeout: headTime, ReadTimeout: headTime, WriteTimeout: writeTime, IdleTimeout: time.Minute,
		MaxHeaderBytes: 1 << 14,
	}
	if profiles {
		s.http.WriteTimeout = profileTime
	}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(ln) // ends by Close
	}()
	return s, nil
}

// Registry has c and the metrics of the process.
func Registry(c *Collector) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(c, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

func handler(c *Collector, profiles bool) http.Handler {
	reg := Registry(c)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		Registry: reg, EnableOpenMetrics: true, EnableOpenMetricsTextCreatedSamples: true, MaxRequestsInFlight: maxScrapes, Timeout: scrapeTime,
	}))
	index := "fastsyn " + c.command + "\n\n/metrics\n"
	if profiles {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
		index += "/debug/pprof/\n"
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, index)
	})
	return mux
}

// URL is where the server is, without a path.
func (s *Server) URL() string { return fmt.Sprintf("http://%s", s.ln.Addr()) }

// Close ends the server: scrapes that have begun are answered, if they take a second at most.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	<-s.done
	return err
}
