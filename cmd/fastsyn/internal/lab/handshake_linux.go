package lab

import (
	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/ladder"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// plain is a handshake without incidents.
const plain = "SYN> SYN-ACK< ACK>"

func (p *play) open() {
	p.world(setup{}, func(w *world) {
		_, before := w.counters()
		a, l := &app{}, w.listen(8)
		w.observe()
		w.stepwise()
		w.connect(a, "")
		w.step(1)
		w.step(1)
		w.last(1)
		w.settle(ladder.Established, ladder.Established)
		w.accept(l)
		q := p.panel(w, w.draw(), "fastsyn opens, Linux listens", "", plain, 0)
		q.describe(a.last(), w.ss())
		c, after := w.counters()
		equal(p, "fastsyn counts one connection opened", c.Connected, 1)
		equal(p, "Linux counts one connection accepted (TcpPassiveOpens)", after["TcpPassiveOpens"]-before["TcpPassiveOpens"], 1)
	})
}

func (p *play) accept() {
	a := &app{}
	p.world(setup{listen: a}, func(w *world) {
		_, before := w.counters()
		w.observe()
		w.stepwise()
		s := w.dial()
		w.step(1)
		w.step(1)
		w.last(1)
		w.settle(ladder.Established, ladder.Established)
		if w.err == nil {
			w.fail(s.outcome())
		}
		q := p.panel(w, w.draw(), "Linux opens, fastsyn listens", "", plain, 0)
		q.describe(a.last(), w.ss())
		c, after := w.counters()
		equal(p, "fastsyn counts one connection accepted", c.Accepted, 1)
		equal(p, "Linux counts one connection opened (TcpActiveOpens)", after["TcpActiveOpens"]-before["TcpActiveOpens"], 1)
	})
}

// lostACK has the last segment of the handshake lost, and then the same with text behind it.
func (p *play) lostACK() {
	loseACK := func() func(out bool, q *wire.Packet) fate {
		lost := false
		return func(out bool, q *wire.Packet) fate {
			if out || lost || q.Seg.Flags != wire.FlagACK || q.Seg.Len > 0 {
				return pass
			}
			lost = true
			return lose
		}
	}
	a := &app{}
	p.world(setup{listen: a, engine: handshake.Config{InitialRTO: p.opt.InitialRTO}}, func(w *world) {
		w.tap.setRule(loseACK())
		w.dial()
		w.settle(ladder.SynReceived, ladder.Established)
		w.settle(ladder.Established, ladder.Established)
		w.segments(5)
		pic := w.draw()
		q := p.panel(w, pic, "The ACK is lost: the server asks again", "Linux believes the connection open and fastsyn does not: here they disagree, as in the two-way "+
			"handshake, but the server knows that it waits.", "SYN> SYN-ACK< ACK> SYN-ACK< ACK>", 1)
		q.describe(a.last(), w.ss())
		for _, s := range pic.segments() {
			if s.Again {
				p.took("fastsyn waits for its timeout before it asks again", s.After, p.opt.InitialRTO)
			}
		}
		c, _ := w.counters()
		equal(p, "fastsyn counts one SYN-ACK sent again", c.SynAckRetrans, 1)
		equal(p, "and one connection accepted", c.Accepted, 1)
	})
	b := &app{}
	p.world(setup{listen: b}, func(w *world) {
		w.tap.setRule(loseACK())
		s := w.dial()
		w.settle(ladder.SynReceived, ladder.Established)
		if w.err == nil {
			w.fail(s.write("hello"))
		}
		w.settle(ladder.Established, ladder.Established)
		w.segments(5)
		q := p.panel(w, w.draw(), "The ACK is lost, and text follows", "Each segment after the SYN carries the acknowledgement again, so the first text opens the connection as well.",
			"SYN> SYN-ACK< ACK> PSH-ACK> ACK<", 0)
		q.describe(b.last(), w.ss())
		equal(p, "fastsyn has the text", b.text(), "hello")
	})
}
