package lab

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/ladder"
	"github.com/fastsyn/fastsyn/handshake"
)

// The texts of requests and responses.
const (
	request  = "GET / HTTP/1.1\r\nHost: lab\r\n\r\n"
	response = "HTTP/1.1 204 No Content\r\n\r\n"
)

// serve answers n requests on each of the next connections of a listener of the kernel's, and
// leaves them open. The function it returns waits for its end.
func (w *world) serve(l *socket, conns, n int) (wait func()) {
	if w.err != nil {
		return func() {}
	}
	var accepted []*socket
	done := make(chan error, 1)
	go func() {
		var err error
		for range conns {
			var s *socket
			if s, err = l.accept(patience); err != nil {
				break
			}
			accepted = append(accepted, s)
			for i := 0; i < n && err == nil; i++ {
				if _, err = s.read(len(request), patience); err == nil {
					err = s.write(response)
				}
			}
		}
		done <- err
	}()
	return func() {
		w.fail(<-done)
		w.sockets = append(w.sockets, accepted...)
	}
}

// latency is the chapter's timeline: a request behind a handshake, and a second one on the same
// connection.
func (p *play) latency() {
	rtt := p.opt.RTT
	p.world(setup{rtt: rtt}, func(w *world) {
		a, l := &app{again: []string{request}}, w.listen(8)
		wait := w.serve(l, 1, 2)
		w.connect(a, request)
		w.until("both responses are here", func() bool { return a.text() == response+response })
		wait()
		pic := w.draw()
		pic.Track()
		var open, asked, answered []time.Duration
		for _, s := range pic.segments() {
			if s.ReceiverState == ladder.Established {
				open = append(open, s.Received)
			}
			switch {
			case s.Len > 0 && !s.FromServer:
				asked = append(asked, s.Sent, s.Received)
			case s.Len > 0:
				answered = append(answered, s.Received)
			}
		}
		p.panel(w, pic, fmt.Sprintf("A round trip of %v, and two requests", rtt), "", "", 0)
		if len(open) != 2 || len(asked) != 4 || len(answered) != 2 {
			p.check(false, "two requests, two responses", "%s", pic.shape())
			return
		}
		p.took("1 RTT: the client is open", open[0], rtt)
		p.took("1 RTT: and sends its request", asked[0], rtt)
		p.took("1.5 RTT: the server is open", open[1], rtt*3/2)
		p.took("1.5 RTT: and has the request", asked[1], rtt*3/2)
		p.took("2 RTT: the client has the response", answered[0], 2*rtt)
		p.took("1 RTT more: the second response, without a handshake", answered[1]-asked[2], rtt)
		p.took("3 RTT: both requests are answered; on a connection each it would take 4", answered[1], 3*rtt)
	})
}

// fastOpenQueue is how many Fast Open connections may wait for their handshake.
const fastOpenQueue = 16

// fastOpen visits a server twice, fastsyn as the client and then Linux.
func (p *play) fastOpen() {
	p.together((*play).fastOpenClient, (*play).fastOpenServer)
}

const (
	firstVisit  = "The SYN asks for a cookie, the SYN-ACK brings it. Otherwise it is a handshake like any: the response takes two round trips."
	secondVisit = "The SYN has the cookie and the request with it. The cookie proves that somebody could receive at this address before, so the server " +
		"does not wait for the last ACK: the response takes one round trip."
)

// visits checks when the response was there, and what the SYNs carried.
func (p *play) visits(pic *picture, second bool) {
	segs := pic.segments()
	if len(segs) < 4 {
		p.check(false, "a handshake, a request and a response", "%s", pic.shape())
		return
	}
	var answered time.Duration
	for _, s := range segs {
		if s.FromServer && s.Len > 0 && answered == 0 {
			answered = s.Received
		}
	}
	syn, synAck := segs[0], segs[1]
	if second {
		p.check(option("tfo cookie ")(syn), "the SYN has the cookie", "")
		equal(p, "and so many bytes of the request", syn.Len, len(request))
		equal(p, "the SYN-ACK acknowledges them too, which is C plus", int(synAck.Ack-syn.Seq), 1+len(request))
		p.took("1 RTT: the client has the response", answered, p.opt.RTT)
		return
	}
	p.check(option("tfo cookiereq")(syn), "the SYN asks for a cookie", "")
	equal(p, "and has no text", syn.Len, 0)
	p.check(option("tfo cookie ")(synAck), "the SYN-ACK has one", "")
	p.took("2 RTT: the client has the response", answered, 2*p.opt.RTT)
}

func (p *play) fastOpenClient() {
	p.world(setup{
		rtt: p.opt.RTT, engine: handshake.Config{FastOpenCache: 64}, sysctls: [][2]string{{"net.ipv4.tcp_fastopen", "3"}},
	}, func(w *world) {
		a, l := &app{}, w.listen(8)
		if w.err == nil {
			w.fail(l.option(unix.IPPROTO_TCP, unix.TCP_FASTOPEN, fastOpenQueue))
		}
		wait := w.serve(l, 2, 1)
		want := ""
		for i, title := range []string{"First visit: fastsyn asks Linux for a cookie", "Repeat visit: fastsyn sends its request with the SYN"} {
			w.fast = addrPortOf(w.fast, clientPort+uint16(i))
			want += response
			w.connect(a, request)
			w.until("the response is here", func() bool { return a.text() == want })
			w.settle(ladder.Established, ladder.Established)
			pic := w.draw()
			q := p.panel(w, pic, title, []string{firstVisit, secondVisit}[i], "", 0)
			q.describe(a.last(), w.ss())
			p.visits(pic, i == 1)
		}
		wait()
		c, k := w.counters()
		equal(p, "fastsyn counts one cookie asked for and one text taken", fmt.Sprint(c.FastOpen.Asked, c.FastOpen.Taken), "1 1")
		equal(p, "Linux counts one Fast Open accepted (TCPFastOpenPassive)", k["TcpExtTCPFastOpenPassive"], 1)
	})
}

func (p *play) fastOpenServer() {
	a := &app{reply: response, fastOpen: fastOpenQueue}
	p.world(setup{listen: a, rtt: p.opt.RTT, sysctls: [][2]string{{"net.ipv4.tcp_fastopen", "3"}}}, func(w *world) {
		for i, title := range []string{"First visit: Linux asks fastsyn for a cookie", "Repeat visit: Linux sends its request with the SYN"} {
			w.kernel = addrPortOf(w.kernel, clientPort+uint16(i))
			s := w.socket()
			if w.err == nil {
				w.fail(s.connectText(w.fast, request))
			}
			if w.err == nil && i == 0 { // without a cookie the text is not taken: it follows the handshake
				w.fail(errors.Join(s.outcome(), s.write(request)))
			}
			if w.err == nil {
				_, err := s.read(len(response), patience)
				w.fail(err)
			}
			w.settle(ladder.Established, ladder.Established)
			pic := w.draw()
			q := p.panel(w, pic, title, "", "", 0)
			q.describe(a.last(), w.ss())
			p.visits(pic, i == 1)
		}
		c, k := w.counters()
		equal(p, "fastsyn counts one cookie given and one text accepted", fmt.Sprint(c.FastOpen.Requests, c.FastOpen.Accepted), "1 1")
		equal(p, "Linux counts one Fast Open (TCPFastOpenActive)", k["TcpExtTCPFastOpenActive"], 1)
	})
}
