package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/ladder"
	"github.com/fastsyn/fastsyn/handshake"
)

// refused knocks at ports where nobody listens.
func (p *play) refused() {
	const shape = "SYN> RST-ACK<"
	p.world(setup{port: closedPort}, func(w *world) {
		_, before := w.counters()
		a := &app{}
		w.stepwise()
		w.connect(a, "")
		w.step(1)
		w.last(1)
		w.until("the attempt has ended", func() bool { why, _ := a.end(); return why != 0 })
		w.settle(ladder.Closed, ladder.Closed)
		pic := w.draw()
		why, at := a.end()
		pic.note(at, false, "", "fastsyn: connection refused")
		p.panel(w, pic, "fastsyn knocks at a closed port of Linux", "", shape, 0)
		equal(p, "fastsyn tells the application", why, handshake.ReasonRefused)
		c, after := w.counters()
		equal(p, "and counts one attempt refused", c.Refused, 1)
		equal(p, "Linux counts one reset sent (TcpOutRsts)", after["TcpOutRsts"]-before["TcpOutRsts"], 1)
	})
	p.world(setup{server: true, port: closedPort}, func(w *world) {
		w.stepwise()
		s := w.dial()
		w.step(1)
		w.last(1)
		var err error
		if w.err == nil {
			err = s.outcome()
		}
		at := time.Now()
		w.settle(ladder.Closed, ladder.Closed)
		pic := w.draw()
		pic.note(at, false, "", "Linux: connect() = ECONNREFUSED")
		p.panel(w, pic, "Linux knocks at a closed port of fastsyn", "", shape, 0)
		p.check(errors.Is(err, unix.ECONNREFUSED), "Linux tells the application", "%v", err)
		c, _ := w.counters()
		equal(p, "fastsyn counts one reset sent", c.Outcome[handshake.AnsweredReset], 1)
	})
}

// nowhere is an address that nobody has (RFC 5737).
var nowhere = netip.MustParseAddr("192.0.2.1")

// synRetries is how often both ends send a SYN again into the black hole.
const synRetries = 3

// timeout sends SYNs where nobody is, from both ends at the same time, each in a lab of its own.
func (p *play) timeout() { p.together((*play).timeoutFast, (*play).timeoutLinux) }

func (p *play) timeoutFast() {
	p.world(setup{remote: nowhere, engine: handshake.Config{InitialRTO: p.opt.InitialRTO, SYNRetries: synRetries}}, func(w *world) {
		_, before := w.counters()
		a := &app{}
		w.connect(a, "")
		w.segments(1)
		w.observe()
		w.within(patience+20*p.opt.InitialRTO, "the attempt has ended", func() bool { why, _ := a.end(); return why != 0 })
		pic := w.draw()
		pic.Server = ladder.Party{Name: "nobody", Addr: w.kernel.String()}
		lost(pic)
		why, at := a.end()
		pic.note(at, false, ladder.Closed, "fastsyn gives up: timed out")
		p.panel(w, pic, "fastsyn and a black hole", fmt.Sprintf("The SYN reaches a router that knows no way to %v and says nothing. fastsyn waits %v, then twice as long "+
			"each time (RFC 6298): SYNs at 0, 1, 3 and 7 times that, and the end at 15. --initial-rto makes it faster than the 1 s of the standard; by default fastsyn sends 6 again, "+
			"and gives up after 127 s.", nowhere, p.opt.InitialRTO), "SYN> SYN> SYN> SYN>", synRetries)
		p.schedule(pic, at, []int{0, 1, 3, 7, 15}, p.opt.InitialRTO)
		equal(p, "fastsyn tells the application", why, handshake.ReasonTimedOut)
		c, after := w.counters()
		equal(p, "and counts the SYNs sent again", c.SynRetrans, synRetries)
		equal(p, "the router dropped each of the SYNs (IpInAddrErrors)", after["IpInAddrErrors"]-before["IpInAddrErrors"], synRetries+1)
	})
}

// timeoutLinux has Linux double its timeouts from the first, as all did before 6.5.
func (p *play) timeoutLinux() {
	const retries = 2
	sysctls := [][2]string{{"net.ipv4.tcp_syn_retries", fmt.Sprint(retries)}}
	if _, err := os.Stat("/proc/sys/net/ipv4/tcp_syn_linear_timeouts"); err == nil {
		sysctls = append(sysctls, [2]string{"net.ipv4.tcp_syn_linear_timeouts", "0"})
	}
	p.world(setup{remote: nowhere, server: true, sysctls: sysctls}, func(w *world) {
		w.ip("-n", w.lab.PeerNS, "route", "add", nowhere.String(), "via", w.lab.Addr4.Addr().String())
		s := w.dial()
		w.segments(1)
		w.observe()
		var err error
		if w.err == nil {
			err = s.outcome()
		}
		at := time.Now()
		pic := w.draw()
		pic.Server = ladder.Party{Name: "nobody", Addr: w.fast.String()}
		lost(pic)
		pic.note(at, false, ladder.Closed, "Linux: connect() = ETIMEDOUT")
		p.panel(w, pic, "Linux and a black hole", fmt.Sprintf("The same with net.ipv4.tcp_syn_retries=%d, which makes it end after 7 s. The default is 6, and since Linux 6.5 four "+
			"more before the timeout begins to double (tcp_syn_linear_timeouts, 0 here).", retries), "SYN> SYN> SYN>", retries)
		p.schedule(pic, at, []int{0, 1, 3, 7}, time.Second)
		p.check(errors.Is(err, unix.ETIMEDOUT), "Linux tells the application", "%v", err)
	})
}

// lost marks all segments as such.
func lost(pic *picture) {
	for _, s := range pic.segments() {
		s.Lost = true
	}
}

// schedule checks when SYNs were sent and when the attempt ended, in units since the first.
func (p *play) schedule(pic *picture, end time.Time, want []int, unit time.Duration) {
	segs := pic.segments()
	if len(segs) != len(want)-1 {
		return // the shape has been found wrong
	}
	for i, s := range segs[1:] {
		p.took(fmt.Sprintf("SYN %d leaves at", i+2), s.Sent, time.Duration(want[i+1])*unit)
	}
	p.took("the attempt ends at", end.Sub(pic.begin), time.Duration(want[len(want)-1])*unit)
}
