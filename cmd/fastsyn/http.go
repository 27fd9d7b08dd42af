package main

import (
	"fmt"
	"os"
	"time"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/bench/http1"
	"github.com/fastsyn/fastsyn/handshake"
)

// maxFiles is how much of a directory is read into memory.
const maxFiles = 1 << 30

// httpSite returns what is served: the files under root, or without one size bytes for every path.
func httpSite(root string, size int) (*http1.Site, error) {
	if root == "" {
		return http1.Fixed("text/plain", http1.FixedText(size)), nil
	}
	dir, err := os.OpenRoot(root) // links do not lead outside
	if err != nil {
		return nil, err
	}
	site, err := http1.Files(dir.FS(), maxFiles)
	if closing := dir.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", root, err)
	}
	return site, nil
}

// httpApp serves a site over HTTP/1.1, with a server for each worker.
type httpApp struct {
	servers []*http1.Server
	idle    []*httpIdle // of each worker; nil: flows may be idle for ever
}

func newHTTPApp(site *http1.Site, workers int, l http1.Limits) *httpApp {
	a := &httpApp{}
	for range workers {
		a.servers = append(a.servers, http1.NewServer(site, l))
	}
	return a
}

// watch ends flows that are idle for after.
func (a *httpApp) watch(after time.Duration) {
	for _, s := range a.servers {
		a.idle = append(a.idle, &httpIdle{idleList: newIdleList(after), server: s})
	}
}

func (a *httpApp) callbacks() fastsyn.Callbacks {
	if a.idle == nil {
		return fastsyn.Callbacks{
			Data:       func(f *fastsyn.Flow, p []byte) { a.of(f).Data(f, p) },
			Writable:   func(f *fastsyn.Flow) { a.of(f).Writable(f) },
			PeerClosed: func(f *fastsyn.Flow) { a.of(f).PeerClosed(f) },
			Closed:     func(f *fastsyn.Flow, _ handshake.CloseReason) { a.of(f).Closed(f) },
		}
	}
	return fastsyn.Callbacks{
		Established: func(f *fastsyn.Flow) { a.idle[f.Worker().ID()].add(f.ID(), f.Worker().Now()) },
		Data:        a.data,
		Writable: func(f *fastsyn.Flow) {
			a.of(f).Writable(f)
			a.idle[f.Worker().ID()].touch(f.ID(), f.Worker().Now())
		},
		PeerClosed: func(f *fastsyn.Flow) { a.of(f).PeerClosed(f) },
		Closed: func(f *fastsyn.Flow, _ handshake.CloseReason) {
			a.of(f).Closed(f)
			a.idle[f.Worker().ID()].forget(f.ID())
		},
	}
}

// data serves. The end of a head and a piece of content are progress; a piece of a head is none, or a
// peer could take for ever to send one.
func (a *httpApp) data(f *fastsyn.Flow, p []byte) {
	s := a.of(f)
	n := s.Requests
	s.Data(f, p)
	c, ok := f.Value().(*http1.Conn)
	if s.Requests != n || ok && c.InContent() {
		w := f.Worker()
		a.idle[w.ID()].touch(f.ID(), w.Now())
	}
}

// of returns the server of f's worker, with its clock set.
func (a *httpApp) of(f *fastsyn.Flow) *http1.Server {
	w := f.Worker()
	s := a.servers[w.ID()]
	s.Tick(w.Now() / int64(time.Second))
	return s
}

// counters adds up what the servers counted. Only when the workers have ended.
func (a *httpApp) counters() (c http1.Counters) {
	for _, s := range a.servers {
		c.Add(&s.Counters)
	}
	return c
}
