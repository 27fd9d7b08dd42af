package fastsyn

import (
	"net"
	"sync"
	"sync/atomic"
)

// conns is what an Endpoint keeps for its net.Conns and net.Listeners.
type conns struct {
	cores   []*core // by worker
	backlog int
	counter atomic.Uint32 // spreads dials over workers, and chosen ports
	ports   func() (*sourcePorts, error)

	mu        sync.Mutex
	listeners map[*listener]struct{}
	ended     bool
}

func (ep *Endpoint) newConns(cfg Config) *conns {
	c := &conns{backlog: cfg.Backlog, listeners: map[*listener]struct{}{}}
	if c.backlog == 0 {
		c.backlog = defaultBacklog
	}
	info := ep.port.Info()
	// A millisecond and some 100 KiB, for those who dial.
	c.ports = sync.OnceValues(func() (*sourcePorts, error) { return newSourcePorts(info) })
	for _, w := range ep.workers {
		c.cores = append(c.cores, newCore(w, cfg))
	}
	return c
}

// add notes a listener, unless a worker has ended.
func (c *conns) add(l *listener) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.listeners[l] = struct{}{}
	}
	return !c.ended
}

func (c *conns) remove(l *listener) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.listeners, l)
}

// watch waits for the end of a worker, which its Conns and all listeners share.
func (c *conns) watch(k *core) {
	<-k.w.Done()
	err := k.w.Err()
	if err == nil {
		err = net.ErrClosed
	}
	c.mu.Lock()
	c.ended = true
	all := c.listeners
	c.listeners = map[*listener]struct{}{}
	c.mu.Unlock()
	for l := range all {
		l.shut(err)
	}
	k.orphan(err)
}
