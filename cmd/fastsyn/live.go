package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	measure "github.com/fastsyn/fastsyn/bench"
	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/metrics"
	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/screen"
)

// The values of --view.
const (
	viewAuto  = "auto"
	viewTUI   = "tui"
	viewLines = "lines"
	viewNone  = "none"
)

// liveFlags are the flags of what can be seen of a command while it runs; docs/live.md.
type liveFlags struct {
	view    string
	quiet   bool
	metrics string
	pprof   bool
}

// liveFlagNames are those of a group in the help.
var liveFlagNames = []string{"view", "quiet", "metrics", "pprof"}

func (o *liveFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.view, "view", viewAuto, "what is shown on standard error while it runs: tui (a view that is redrawn), lines (one a second), none,\nor auto (tui on a terminal, else lines)")
	f.BoolVar(&o.quiet, "quiet", false, "the same as --view none")
	f.StringVar(&o.metrics, "metrics", "", "answer Prometheus, or curl, at http://`ADDRESS`/metrics; port 0 is any that is free, and is printed")
	f.BoolVar(&o.pprof, "pprof", false, "answer go tool pprof at /debug/pprof/ of the --metrics address")
}

func (o *liveFlags) check() error {
	o.view = cmp.Or(o.view, viewAuto)
	if err := oneOf("view", o.view, viewAuto, viewTUI, viewLines, viewNone); err != nil {
		return err
	}
	if o.quiet {
		if o.view != viewAuto && o.view != viewNone {
			return usagef("--quiet: --view %s says what is shown; leave one of them out", o.view)
		}
		o.view = viewNone
	}
	if o.pprof && o.metrics == "" {
		return usagef("--pprof: there is no address to answer at; add --metrics 127.0.0.1:9464")
	}
	if o.metrics != "" {
		if _, port, err := net.SplitHostPort(o.metrics); err != nil || port == "" {
			return &measure.FlagError{Flag: "metrics", Value: o.metrics, Reason: "want HOST:PORT", Fix: "for example 127.0.0.1:9464, or :9464 for every address of this machine"}
		}
	}
	return nil
}

// watched is what shows a command while it runs.
type watched struct {
	line   func(measure.Progress) string
	stderr io.Writer
	screen *screen.Terminal // nil: lines or nothing
	server *metrics.Server  // nil: no --metrics
	view   string
}

// watch starts what the flags ask for: it shows what live reads. lines says that standard output
// will have lines of its own, which a view would be drawn over.
func (o *liveFlags) watch(cmd *cobra.Command, live *measure.Live, line func(measure.Progress) string, lines bool) (*watched, error) {
	w := &watched{line: line, stderr: cmd.ErrOrStderr(), view: o.view}
	window, able := screen.Of(w.stderr, os.Getenv)
	switch {
	case w.view == viewTUI && !able:
		return nil, &measure.FlagError{Flag: "view", Value: viewTUI, Reason: "standard error is no terminal that can be drawn on", Fix: "use --view auto or lines, or set TERM"}
	case w.view == viewTUI && lines:
		return nil, &measure.FlagError{Flag: "view", Value: viewTUI, Reason: "--print has lines of its own", Fix: "leave one of them out"}
	case w.view == viewAuto && able && !lines:
		w.view = viewTUI
	case w.view == viewAuto:
		w.view = viewLines
	}
	if o.metrics != "" {
		var err error
		if w.server, err = metrics.Serve(o.metrics, metrics.NewCollector(cmd.Name(), live.Read), o.pprof); err != nil {
			return nil, metricsError(o.metrics, err)
		}
		text := w.server.URL() + "/metrics"
		if o.pprof {
			text += ", profiles on " + w.server.URL() + "/debug/pprof/"
		}
		_, _ = fmt.Fprintln(w.stderr, "metrics on", text)
	}
	if w.view == viewTUI {
		w.screen = screen.New(window, screen.StyleOf(os.Getenv))
		w.stderr = w.screen
	}
	return w, nil
}

// metricsError says why --metrics cannot be listened on, and what to do.
func metricsError(addr string, err error) error {
	e := &measure.FlagError{Flag: "metrics", Value: addr, Reason: err.Error(), Fix: "give an address of this machine and a port, such as 127.0.0.1:9464"}
	var dns *net.DNSError
	var bad *net.AddrError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		e.Reason, e.Fix = "another program listens there", "choose another port, or 0 for any that is free"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		e.Reason = "not an address of the kernel on this machine (those of --addr are not)"
	case errors.Is(err, syscall.EACCES):
		e.Reason, e.Fix = "not allowed to listen there", "choose a port from 1024 on"
	case errors.As(err, &dns):
		e.Reason = "no such host"
	case errors.As(err, &bad):
		e.Reason = bad.Err
	}
	return e
}

// progress shows p, once a second. Nil if nothing is to be shown.
func (w *watched) progress() func(measure.Progress) {
	switch w.view {
	case viewTUI:
		return func(p measure.Progress) { w.screen.Show(screen.State{Progress: p}) }
	case viewLines:
		return func(p measure.Progress) {
			if s := w.line(p); s != "" {
				_, _ = fmt.Fprintln(w.stderr, s)
			}
		}
	}
	return nil
}

// measures reports whether somebody sees more than counters.
func (w *watched) measures() bool { return w.server != nil || w.screen != nil }

// clear removes the view, so that a report can be printed in its place.
func (w *watched) clear() {
	if w.screen != nil {
		w.screen.Close()
		w.screen = nil
	}
}

// close ends what watch began. It may be called again.
func (w *watched) close() error {
	w.clear()
	var err error
	if w.server != nil {
		err = w.server.Close()
		w.server = nil
	}
	return err
}
