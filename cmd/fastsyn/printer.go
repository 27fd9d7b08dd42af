package main

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastsyn/fastsyn"
)

// printQueue is how many lines may wait for the terminal.
const printQueue = 4096

// printer writes lines from one goroutine, so that workers never wait for a
// terminal: a flow that finds the queue full gets no line and is counted.
type printer struct {
	w       io.Writer
	lines   chan fastsyn.Info
	dropped atomic.Uint64
	mu      sync.Mutex // w
	done    chan struct{}
	once    sync.Once
}

func newPrinter(w io.Writer, flows bool) *printer {
	p := &printer{w: w, lines: make(chan fastsyn.Info, printQueue), done: make(chan struct{})}
	if !flows {
		close(p.done)
		return p
	}
	go func() {
		defer close(p.done)
		for i := range p.lines {
			p.line("%s", describe(&i))
		}
	}()
	return p
}

func (p *printer) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintf(p.w, format+"\n", args...)
}

// established is a callback: it runs on the worker.
func (p *printer) established(f *fastsyn.Flow) {
	i := f.Info()
	p.queue(&i)
}

func (p *printer) queue(i *fastsyn.Info) {
	select {
	case p.lines <- *i:
	default:
		p.dropped.Add(1)
	}
}

// close prints what is queued. The workers have ended.
func (p *printer) close() {
	p.once.Do(func() { close(p.lines) })
	<-p.done
}

// describe is what a handshake has settled, on one line.
func describe(i *fastsyn.Info) string {
	s := fmt.Sprintf("established %v mss %d", i.Tuple, i.MSS)
	if i.WScale {
		s += fmt.Sprintf(" wscale %d,%d", i.SndShift, i.RcvShift)
	}
	if i.SACK {
		s += " sack"
	}
	if i.Timestamps {
		s += " ts"
	}
	if i.ECN {
		s += " ecn"
	}
	if i.RTT > 0 {
		s += fmt.Sprintf(" rtt %v", i.RTT.Round(time.Microsecond))
	}
	s += fmt.Sprintf(" win %d irs %d iss %d", i.SndWnd, uint32(i.IRS), uint32(i.ISS))
	if i.FastOpen {
		s += " fast open"
	}
	switch {
	case i.Cookie:
		s += " by cookie"
	case i.Retrans:
		s += " after retransmission"
	}
	return s
}
