package lab

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/ladder"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// offer is one way for an option to be offered by fastsyn and answered by Linux.
type offer struct {
	title, text    string
	engine         handshake.Config
	sysctls        [][2]string
	maxSeg         int  // TCP_MAXSEG of the kernel's listener; 0: none
	asked, granted bool // whether SYN and SYN-ACK have the option
	// more checks what else there is, on the handshake, fastsyn's facts and ss's.
	more func(p *play, pic *picture, i fastsyn.Info, ss string)
}

// offers plays each of them. The option is known by has in segments, by fast in fastsyn's facts
// and by its word in ss; empty: ss has none.
func (p *play) offers(name string, has func(s *ladder.Segment) bool, fast func(i *fastsyn.Info) bool, word string, all ...offer) {
	for _, o := range all {
		p.world(setup{engine: o.engine, sysctls: o.sysctls}, func(w *world) {
			a, l := &app{}, w.listen(8)
			if w.err == nil && o.maxSeg > 0 {
				w.fail(l.option(unix.IPPROTO_TCP, unix.TCP_MAXSEG, o.maxSeg))
			}
			w.connect(a, "")
			w.settle(ladder.Established, ladder.Established)
			w.accept(l)
			pic, ss := w.draw(), w.ss()
			q := p.panel(w, pic, o.title, o.text, cmp.Or(p.shape, plain), 0)
			i := a.last()
			q.describe(i, ss)
			if segs := pic.segments(); len(segs) > 1 {
				equal(p, "the SYN has "+name, has(segs[0]), o.asked)
				equal(p, "the SYN-ACK has "+name, has(segs[1]), o.granted)
			}
			both := o.asked && o.granted
			equal(p, "fastsyn uses it", fast(&i), both)
			if word != "" {
				equal(p, "Linux uses it (ss: "+word+")", slices.ContainsFunc(strings.Fields(ss), func(f string) bool {
					return f == word || strings.HasPrefix(f, word+":")
				}), both)
			}
			if o.more != nil && len(pic.segments()) == 3 {
				o.more(p, pic, i, ss)
			}
		})
	}
}

// option reports whether a segment has one whose text begins so.
func option(prefix string) func(*ladder.Segment) bool {
	return func(s *ladder.Segment) bool {
		return slices.ContainsFunc(s.Options, func(o string) bool { return strings.HasPrefix(o, prefix) })
	}
}

// ssNumber is a value of ss, -1 if it has none of that name.
func ssNumber(ss, name string) int {
	m := regexp.MustCompile(`\b` + name + `:(\d+)`).FindStringSubmatch(ss)
	if m == nil {
		return -1
	}
	n, _ := strconv.Atoi(m[1]) // digits
	return n
}

// stamped is what timestamps take from each segment of text.
const stamped = 12

func (p *play) mss() {
	want := func(fastSends, linuxSends int) func(*play, *picture, fastsyn.Info, string) {
		return func(p *play, _ *picture, i fastsyn.Info, ss string) {
			equal(p, "fastsyn sends segments of at most", int(i.MSS), fastSends)
			equal(p, fmt.Sprintf("Linux sends so much text in a segment (ss: mss), %d bytes less for timestamps", stamped), ssNumber(ss, "mss"), linuxSends-stamped)
		}
	}
	const used = "Each end sends no more at once than the other has announced, and no more than it could receive itself: both use the smaller of the two. "
	p.offers("an MSS", option("mss "), func(i *fastsyn.Info) bool { return i.MSS > 0 }, "", []offer{
		{title: "Ethernet at both ends: 1500 - 20 - 20 = 1460", asked: true, granted: true, more: want(1460, 1460)},
		{title: "The client announces 1200, as behind a tunnel", text: used, engine: handshake.Config{MSS: 1200}, asked: true, granted: true, more: want(1200, 1200)},
		{title: "The server announces 1000", maxSeg: 1000, asked: true, granted: true, more: want(1000, 1000)},
	}...)
}

func (p *play) windowScale() {
	// The window of fastsyn, as Linux knows it once the handshake is over.
	const window = handshake.DefaultRcvWindow
	scaled := func(p *play, pic *picture, i fastsyn.Info, ss string) {
		ack := pic.segments()[2]
		equal(p, fmt.Sprintf("the window of the ACK is %d << %d", ack.Window, i.RcvShift), ack.Window<<i.RcvShift, window)
		equal(p, "Linux may have so much under way (ss: snd_wnd)", ssNumber(ss, "snd_wnd"), window)
	}
	plainly := func(p *play, pic *picture, _ fastsyn.Info, ss string) {
		equal(p, "Linux takes the window of the ACK as it is (ss: snd_wnd)", ssNumber(ss, "snd_wnd"), pic.segments()[2].Window)
	}
	p.offers("a window scale", option("wscale "), func(i *fastsyn.Info) bool { return i.WScale }, "wscale", []offer{
		{
			title: "Both ends scale", text: "The field has 16 bits. The shift of each end, said once, applies to all windows it announces later, but not to those of the SYN and the SYN-ACK.",
			asked: true, granted: true, more: scaled,
		},
		{title: "The client does not offer it", text: "Then the server must not either, and no window is above 65535.", engine: handshake.Config{NoWScale: true}, more: plainly},
		{
			title: "The server does not take it up", text: "The client has offered, but without a shift from the server both ends count in bytes.",
			sysctls: [][2]string{{"net.ipv4.tcp_window_scaling", "0"}}, asked: true, more: plainly,
		},
	}...)
}

func (p *play) timestamps() {
	echo := func(p *play, pic *picture, i fastsyn.Info, _ string) {
		var stamps [3][2]uint32
		for n, s := range pic.segments() {
			for _, o := range s.Options {
				_, _ = fmt.Sscanf(o, "TS %d/%d", &stamps[n][0], &stamps[n][1])
			}
		}
		equal(p, "the SYN echoes nothing yet", stamps[0][1], 0)
		p.check(stamps[1][1] == stamps[0][0], "the SYN-ACK echoes the timestamp of the SYN", "%d", stamps[1][1])
		p.check(stamps[2][1] == stamps[1][0], "the ACK echoes that of the SYN-ACK", "%d", stamps[2][1])
		p.check(i.RTT > 0, "fastsyn has measured a round trip", "%v", i.RTT)
	}
	p.offers("timestamps", option("TS "), func(i *fastsyn.Info) bool { return i.Timestamps }, "ts", []offer{
		{
			title: "Both ends send timestamps", text: "TS VAL/ECR: VAL is the sender's clock, of which it tells nobody the zero; ECR echoes the last one of the other end. From an echo its owner " +
				"knows how long the way there and back took, and a segment with an old one is an old duplicate (PAWS).",
			asked: true, granted: true, more: echo,
		},
		{title: "The client does not offer them", text: "12 bytes of each segment are free for text.", engine: handshake.Config{NoTimestamps: true}},
		{title: "The server does not take them up", text: "The client must not send any then.", sysctls: [][2]string{{"net.ipv4.tcp_timestamps", "0"}}, asked: true},
	}...)
}

func (p *play) ecn() {
	has := func(s *ladder.Segment) bool {
		if s.Flags&wire.FlagACK == 0 {
			return s.Flags&(wire.FlagECE|wire.FlagCWR) == wire.FlagECE|wire.FlagCWR
		}
		return s.Flags&(wire.FlagECE|wire.FlagCWR) == wire.FlagECE
	}
	shape := map[bool]string{true: "SYN+ECE+CWR", false: "SYN"}
	on := handshake.Config{ECN: handshake.ECNOn}
	all := []offer{
		{
			title: "Both ends agree", text: "ECN has no option: the SYN asks by the flags ECE and CWR, the SYN-ACK agrees by ECE alone. From then on routers may mark packets of the " +
				"connection where they would have dropped them (RFC 3168).",
			engine: on, asked: true, granted: true,
		},
		{title: "The client does not ask", text: "Which is the default, of Linux as well (tcp_ecn=2): it agrees, but does not ask."},
		{title: "The server does not agree", text: "A plain SYN-ACK.", engine: on, sysctls: [][2]string{{"net.ipv4.tcp_ecn", "0"}}, asked: true},
	}
	for _, o := range all {
		p.shape = shape[o.asked] + "> " + map[bool]string{true: "SYN-ACK+ECE", false: "SYN-ACK"}[o.granted] + "< ACK>"
		p.offers("the flags that ask for ECN, or agree", has, func(i *fastsyn.Info) bool { return i.ECN }, "ecn", o)
	}
}

// sack loses one of four segments of text, with the option and without.
func (p *play) sack() {
	const (
		segment = 1448 // what fits behind timestamps
		text    = 4 * segment
	)
	for _, c := range []struct {
		title, text string
		engine      handshake.Config
		sysctls     [][2]string
		on, asked   bool
	}{
		{
			title: "Both ends know SACK, and the second of four segments is lost",
			text:  "Linux goes on to acknowledge what it has in one piece, and says in each ACK which blocks lie behind the hole. fastsyn sends the hole again, and nothing else.",
			on:    true, asked: true,
		},
		{
			title:  "The client does not offer it, and the same segment is lost",
			text:   "The ACKs say where the hole begins and not what lies behind it, and two that say the same are too few to be sure of a loss (RFC 5681 wants three): a timer has to end the wait.",
			engine: handshake.Config{NoSACK: true},
		},
		{title: "The server does not take it up", text: "The same as if it had not been offered.", sysctls: [][2]string{{"net.ipv4.tcp_sack", "0"}}, asked: true},
	} {
		p.world(setup{engine: c.engine, sysctls: c.sysctls}, func(w *world) {
			a, l := &app{}, w.listen(8)
			w.connect(a, "")
			w.settle(ladder.Established, ladder.Established)
			s := w.accept(l)
			var hole wire.Seq
			lost := false
			w.tap.setRule(func(out bool, q *wire.Packet) fate {
				if out && !lost && q.Seg.Len > 0 && q.Seg.Seq == a.last().ISS+1+segment {
					lost, hole = true, q.Seg.Seq
					return lose
				}
				return pass
			})
			w.worker(func(fw *fastsyn.Worker) error {
				if n := fw.Flow(a.flow()).Write([]byte(strings.Repeat("x", text))); n != text {
					return fmt.Errorf("only %d of %d bytes were taken", n, text)
				}
				return nil
			})
			if w.err == nil {
				got, err := s.read(text, patience)
				w.fail(err)
				equal(p, "Linux reads all of the text", len(got), text)
			}
			w.until("all text is acknowledged", func() (done bool) {
				w.worker(func(fw *fastsyn.Worker) error { done = fw.Flow(a.flow()).Unacked() == 0; return nil })
				return done
			})
			pic := w.draw()
			q := p.panel(w, pic, c.title, c.text, "", -1)
			q.describe(a.last(), w.ss())
			if segs := pic.segments(); len(segs) > 3 {
				equal(p, "the SYN has sackOK", option("sackOK")(segs[0]), c.asked)
				equal(p, "the SYN-ACK has sackOK", option("sackOK")(segs[1]), c.on)
			}
			blocks, again, others := 0, 0, 0
			for _, s := range pic.segments() {
				if s.FromServer && len(s.SACK) > 0 && hole.Less(s.SACK[0].Left) {
					blocks++
				}
				if s.Again && s.Seq == hole {
					again++
				} else if s.Again {
					others++
				}
			}
			equal(p, "ACKs of Linux have SACK blocks", blocks > 0, c.on)
			equal(p, "the lost segment is sent again, so many times", again, 1)
			if c.on {
				equal(p, "and no other is", others, 0)
			}
			p.busy = p.busy || again != 1 || c.on && others > 0
		})
	}
}
