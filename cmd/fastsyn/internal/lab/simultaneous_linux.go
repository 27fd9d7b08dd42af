package lab

import (
	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/ladder"
)

// peerPort is the kernel's where there is no server.
const peerPort = 40001

// simultaneous has both ends open to each other: the SYN of each is held until the other has left.
func (p *play) simultaneous() {
	p.world(setup{port: peerPort}, func(w *world) {
		_, before := w.counters()
		a := &app{}
		w.observe()
		w.stepwise()
		w.connect(a, "")
		w.hold(1)
		s := w.dial()
		w.step(2)
		w.last(2)
		w.settle(ladder.Established, ladder.Established)
		w.segments(6)
		if w.err == nil {
			w.fail(s.outcome())
		}
		pic := w.draw()
		pic.Client.Role, pic.Server.Role = "left end", "right end"
		q := p.panel(w, pic, "fastsyn and Linux open to each other", "", "SYN> SYN< SYN-ACK> SYN-ACK< ACK> ACK<", 0)
		q.describe(a.last(), w.ss())
		c, after := w.counters()
		equal(p, "fastsyn counts one simultaneous open", c.SimultaneousOpens, 1)
		equal(p, "Linux counts one connection opened (TcpActiveOpens)", after["TcpActiveOpens"]-before["TcpActiveOpens"], 1)
		equal(p, "and none accepted (TcpPassiveOpens)", after["TcpPassiveOpens"]-before["TcpPassiveOpens"], 0)
	})
}
