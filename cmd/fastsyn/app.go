package main

import (
	"fmt"
	"strings"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane/flow"
)

// app is what serve does with the flows it accepts, on all its listeners and workers.
type app interface {
	// callbacks are those of every listener. They run on several workers at a time, and find
	// what belongs to the worker of a flow by the worker's ID.
	callbacks() fastsyn.Callbacks
	// counts are the application's own counters by name, of one worker: called on it, or after
	// the workers have ended and close was called. What workers share is among those of worker 0.
	counts(worker int) map[string]uint64
	// close ends what the application has beyond its flows. The workers have ended.
	close()
}

// allCounts are the counters of all workers, which have ended.
func allCounts(a app, workers int) map[string]uint64 {
	sum := map[string]uint64{}
	for i := range workers {
		for name, n := range a.counts(i) {
			sum[name] += n
		}
	}
	return sum
}

// appSums is an application that checks its counters against those of the streams. It returns
// the first equation that does not close, or "".
type appSums interface {
	sums(c *flow.Counters) string
}

// appSource is an application with work of its own on each worker, such as what is due at a time.
type appSource interface {
	// source returns that of a worker; nil: nothing to do.
	source(worker int) fastsyn.Source
}

// appEnv is where an application runs.
type appEnv struct {
	workers int
	say     func(format string, args ...any) // a line for people
}

// appKind is an application that --app can name.
type appKind struct {
	name  string
	arg   string   // what stands behind "name=", if anything
	about string   // in the help
	flags []string // that are for it alone
	// check looks at the argument and the flags that belong to the application; may be nil.
	check func(o *serveFlags, arg string) error
	open  func(o *serveFlags, arg string, env appEnv) (app, error)
}

// appKinds are all of them, as the help lists them.
func appKinds() []appKind {
	return []appKind{
		{name: "accept", about: "keep the flow until the peer closes it", open: openAccept},
		{name: "discard", about: "the same, text is counted (RFC 863)", open: openDiscard},
		{name: "echo", about: "send all text back (RFC 862)", open: openEcho},
		{name: "echo-once", about: "send the first segment of text back, then close", open: openEchoOnce},
		{name: "http", about: "answer HTTP/1.1 requests with --http-body bytes, or the files of --http-root", flags: []string{"http-body", "http-root", "http-timeout"}, check: checkHTTP, open: openHTTP},
		{name: "proxy", arg: "HOST:PORT", about: "join the flow with a connection of the kernel's to HOST:PORT", flags: []string{"proxy-protocol"}, check: checkProxy, open: openProxy},
	}
}

// title is how the help names the application.
func (k *appKind) title() string {
	if k.arg != "" {
		return k.name + "=" + k.arg
	}
	return k.name
}

// appHelp lists the applications.
func appHelp() string {
	var b strings.Builder
	b.WriteString("Applications:\n")
	for _, k := range appKinds() {
		fmt.Fprintf(&b, "  %-16s %s\n", k.title(), strings.ReplaceAll(k.about, "\n", "\n"+strings.Repeat(" ", 19)))
	}
	return b.String()
}

// appNames lists the titles for the help of --app.
func appNames() string {
	var names []string
	for _, k := range appKinds() {
		names = append(names, k.title())
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// parseApp finds the application of --app and what stands behind its name.
func parseApp(value string) (kind appKind, arg string, err error) {
	name, arg, found := strings.Cut(value, "=")
	var known []string
	for _, k := range appKinds() {
		known = append(known, k.name)
		if k.name != name {
			continue
		}
		switch {
		case k.arg == "" && found:
			return k, "", usagef("--app %s: %s takes no argument; leave out %q", value, name, "="+arg)
		case k.arg != "" && arg == "":
			return k, "", usagef("--app %s: write --app %s", value, k.title())
		}
		return k, arg, nil
	}
	return appKind{}, "", oneOf("app", name, known...)
}

// perWorker is what an application keeps for each worker, by its ID. Each is allocated by
// itself, so that workers do not share cache lines.
type perWorker[T any] []*T

func newPerWorker[T any](n int) perWorker[T] {
	s := make(perWorker[T], n)
	for i := range s {
		s[i] = new(T)
	}
	return s
}

func (s perWorker[T]) of(f *fastsyn.Flow) *T { return s[f.Worker().ID()] }
