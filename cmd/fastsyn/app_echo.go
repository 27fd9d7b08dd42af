package main

import (
	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane/flow"
)

// echoApp sends all text back (RFC 862). What a peer does not read stays in the send buffer of its
// flow, and then in a backlog that its receive window bounds: the peer can send no
// more until it reads. Flows without a backlog cost nothing here.
type echoApp struct{ cores perWorker[echoCore] }

// echoCore is the echo of one worker.
type echoCore struct {
	pool  chunkPool
	free  *backlog
	bytes uint64
	held  uint64 // times a flow began a backlog
	full  uint64 // flows reset, for there was no chunk left
}

// backlog is the value of a flow whose send buffer was full.
type backlog struct {
	text chunkList
	eof  bool // the peer's FIN is behind it
	next *backlog
}

func openEcho(o *serveFlags, _ string, env appEnv) (app, error) {
	a := &echoApp{newPerWorker[echoCore](env.workers)}
	for _, c := range a.cores {
		c.pool.limit = chunksFor(&o.cfg.Flow)
	}
	return a, nil
}

// chunksFor is how many chunks a worker may have: as much text as its streams.
func chunksFor(c *flow.Config) int {
	memory := c.Memory
	if memory == 0 {
		memory = flow.DefaultMemory
	}
	return memory / chunkSize
}

func (a *echoApp) callbacks() fastsyn.Callbacks {
	return fastsyn.Callbacks{Data: a.data, Writable: a.writable, PeerClosed: a.peerClosed, Closed: a.closed}
}

func (a *echoApp) data(f *fastsyn.Flow, p []byte) {
	c := a.cores.of(f)
	c.bytes += uint64(len(p))
	b, _ := f.Value().(*backlog)
	if b == nil {
		n := f.Write(p)
		if n == len(p) {
			return
		}
		p = p[n:]
		b = c.begin()
		f.SetValue(b)
	}
	if !b.text.add(&c.pool, p) {
		c.full++
		c.end(b)
		f.Abort()
		return
	}
	f.Hold(len(p))
}

func (a *echoApp) writable(f *fastsyn.Flow) {
	c := a.cores.of(f)
	b, _ := f.Value().(*backlog)
	if b == nil {
		return
	}
	sent := 0
	for p := b.text.front(); len(p) > 0; p = b.text.front() {
		n := f.Write(p)
		sent += n
		b.text.drop(&c.pool, n)
		if n < len(p) {
			break
		}
	}
	if len(b.text.front()) == 0 {
		if b.eof {
			f.Close()
		}
		f.SetValue(nil)
		c.end(b)
	}
	f.Consumed(sent)
}

func (a *echoApp) peerClosed(f *fastsyn.Flow) {
	if b, _ := f.Value().(*backlog); b != nil {
		b.eof = true
		return
	}
	f.Close()
}

func (a *echoApp) closed(f *fastsyn.Flow, _ fastsyn.CloseReason) {
	if b, _ := f.Value().(*backlog); b != nil {
		a.cores.of(f).end(b)
	}
}

func (c *echoCore) begin() *backlog {
	c.held++
	b := c.free
	if b == nil {
		return new(backlog)
	}
	c.free, b.next = b.next, nil
	return b
}

func (c *echoCore) end(b *backlog) {
	b.text.clear(&c.pool)
	b.eof = false
	b.next = c.free
	c.free = b
}

func (a *echoApp) counts(worker int) map[string]uint64 {
	c := a.cores[worker]
	return map[string]uint64{
		"bytes": c.bytes, "backlogs": c.held, "reset_no_memory": c.full,
		"backlog_chunks_high": uint64(c.pool.high), "backlog_chunks_now": uint64(c.pool.used),
	}
}

func (a *echoApp) close() {}
