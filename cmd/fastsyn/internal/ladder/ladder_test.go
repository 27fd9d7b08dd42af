package ladder

import (
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

var update = flag.Bool("update", false, "write the golden diagrams")

const (
	us     = time.Microsecond
	fin    = wire.FlagFIN
	syn    = wire.FlagSYN
	rst    = wire.FlagRST
	psh    = wire.FlagPSH
	ack    = wire.FlagACK
	synAck = syn | ack
)

var options = []string{"mss 1460", "sackOK", "TS 4294967295/4294967295", "wscale 10"}

// diagram is one of two named hosts.
func diagram(client, server string, segs ...Segment) *Diagram {
	d := &Diagram{Client: Party{Name: "fastsyn", Addr: "10.71.0.1:40000", State: client}, Server: Party{Name: "Linux", Addr: "10.71.0.2:80", State: server}}
	for i := range segs {
		d.Items = append(d.Items, Item{Segment: &segs[i]})
	}
	d.Relate()
	return d
}

func to(at, took time.Duration, f wire.Flags, seq, acked wire.Seq, n int) Segment {
	return Segment{Sent: at, Received: at + took, Flags: f, Seq: seq, Ack: acked, Len: n, Window: 64240}
}

func from(at, took time.Duration, f wire.Flags, seq, acked wire.Seq, n int) Segment {
	s := to(at, took, f, seq, acked, n)
	s.FromServer = true
	return s
}

// with has options.
func with(s Segment, o ...string) Segment { s.Options = o; return s }

func diagrams() map[string]*Diagram {
	lost := to(2_000_000*us, 0, psh|ack, 101, 301, 9)
	lost.Lost = true
	gone := from(2_000_100*us, 0, ack, 301, 101, 0)
	gone.Lost = true
	dropped := to(0, 50*us, syn, 100, 0, 0)
	dropped.Dropped = true
	hole := from(3_000_500*us, 40*us, ack, 301, 110, 0)
	hole.SACK = []wire.SACKBlock{{Left: 120, Right: 130}, {Left: 140, Right: 150}}
	out := map[string]*Diagram{
		"handshake": diagram(Closed, Listen,
			with(to(0, 50*us, syn, 100, 0, 0), options...),
			with(from(60*us, 40*us, synAck, 300, 101, 0), options...),
			to(110*us, 40*us, ack, 101, 301, 0)),
		"loss": diagram(Closed, Listen,
			dropped,
			to(1_000_000*us, 50*us, syn, 100, 0, 0),
			from(1_000_060*us, 40*us, synAck, 300, 101, 0),
			to(1_000_110*us, 40*us, ack, 101, 301, 0),
			lost, gone,
			to(3_000_000*us, 50*us, psh|ack, 101, 301, 9),
			hole),
		"crossing": diagram(Closed, Closed,
			from(0, 50*us, syn, 4294967295, 0, 0),
			to(2*us, 50*us, syn, 100, 0, 0),
			to(60*us, 50*us, synAck, 100, 0, 0),
			from(61*us, 50*us, synAck, 4294967295, 101, 0),
			to(120*us, 50*us, psh|ack, 101, 0, 1448),
			from(121*us, 50*us, psh|ack, 0, 101, 1448)),
		"refused": diagram(Closed, Closed, to(0, 50*us, syn, 100, 0, 0), from(60*us, 40*us, rst|ack, 0, 101, 0)),
	}
	d := out["refused"]
	d.Items = append([]Item{{Note: "before: a note that is so long that it needs two lines of its own", At: -5 * us}}, d.Items...)
	d.Items = append(d.Items, Item{Note: "connection refused", At: 120 * us}, Item{Note: "a note of the server's", At: 130 * us, FromServer: true, State: Listen})
	return out
}

// The pictures are as they were, and no line is too long.
func TestRender(t *testing.T) {
	for name, d := range diagrams() {
		t.Run(name, func(t *testing.T) {
			d.Track()
			got := d.Render(Style{})
			file := filepath.Join("testdata", name+".golden")
			if *update {
				require.NoError(t, os.MkdirAll("testdata", 0o755))
				require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), got, "run with -update if that is how it should be")
			plain := d.Render(Style{ASCII: true})
			require.Equal(t, len(plain), utf8.RuneCountInString(plain), "ASCII alone")
			require.Equal(t, utf8.RuneCountInString(got), len(plain), "one character for one")
			colour := d.Render(Style{Color: true})
			require.Contains(t, colour, "\x1b[")
			for _, c := range []string{dim, cyan, yellow, green, red, reset} {
				colour = strings.ReplaceAll(colour, c, "")
			}
			require.Equal(t, strings.Fields(got), strings.Fields(colour), "colours change no text")
		})
	}
}

// Whatever the segments, lines have a width and lifelines are where they are.
func TestRenderFits(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var segs []Segment
		at := time.Duration(0)
		for range 1 + rng.IntN(8) {
			at += time.Duration(rng.IntN(400)) * time.Millisecond
			s := to(at, time.Duration(rng.IntN(300))*time.Millisecond, wire.Flags(rng.Uint32())&0x1ff, wire.Seq(rng.Uint32()), wire.Seq(rng.Uint32()), rng.IntN(2)*rng.IntN(65536))
			s.FromServer, s.Lost, s.Dropped, s.Window = rng.IntN(2) == 0, rng.IntN(5) == 0, rng.IntN(5) == 0, rng.IntN(65536)
			s.Options = options[:rng.IntN(len(options)+1)]
			segs = append(segs, s)
		}
		d := diagram(Closed, Listen, segs...)
		d.Track()
		for i, line := range strings.Split(strings.TrimSuffix(d.Render(Style{}), "\n"), "\n") {
			r := []rune(line)
			require.LessOrEqual(t, len(r), Width, line)
			if i < 3 && !strings.ContainsAny(line, "│┊") {
				continue // the head
			}
			for _, rail := range []int{timeWidth + 1 + stateWidth + 1, timeWidth + 1 + stateWidth + 2 + bodyWidth} {
				require.Contains(t, "│┊", string(r[rail]), line)
			}
		}
	}
}

// The states follow from the segments.
func TestTrack(t *testing.T) {
	open := []Segment{to(0, 1, syn, 100, 0, 0), from(2, 1, synAck, 300, 101, 0), to(4, 1, ack, 101, 301, 0)}
	then := func(more ...Segment) []Segment { return append(append([]Segment{}, open...), more...) }
	gone := open[2]
	gone.Lost = true
	for name, c := range map[string]struct {
		segs           []Segment
		client, server string
	}{
		"nothing":             {nil, Closed, Listen},
		"asked":               {open[:1], SynSent, SynReceived},
		"answered":            {open[:2], Established, SynReceived},
		"open":                {open, Established, Established},
		"last ACK lost":       {[]Segment{open[0], open[1], gone}, Established, SynReceived},
		"text opens":          {[]Segment{open[0], open[1], gone, to(6, 1, psh|ack, 101, 301, 5)}, Established, Established},
		"refused":             {[]Segment{open[0], from(2, 1, rst|ack, 0, 101, 0)}, Closed, Closed},
		"reset for another":   {[]Segment{open[0], from(2, 1, rst|ack, 0, 100, 0)}, SynSent, Closed},
		"wrong SYN-ACK":       {[]Segment{open[0], from(2, 1, synAck, 300, 100, 0)}, SynSent, SynReceived},
		"client resets":       {then(to(6, 1, rst|ack, 101, 301, 0)), Closed, Closed},
		"client closes":       {then(to(6, 1, fin|ack, 101, 301, 0)), FinWait1, CloseWait},
		"and is acknowledged": {then(to(6, 1, fin|ack, 101, 301, 0), from(8, 1, ack, 301, 102, 0)), FinWait2, CloseWait},
		"both in turn": {
			then(to(6, 1, fin|ack, 101, 301, 0), from(8, 1, ack, 301, 102, 0), from(10, 1, fin|ack, 301, 102, 0), to(12, 1, ack, 102, 302, 0)),
			TimeWait, Closed,
		},
		"both in three": {then(from(6, 1, fin|ack, 301, 101, 0), to(8, 1, fin|ack, 101, 302, 0), from(10, 1, ack, 302, 102, 0)), Closed, TimeWait},
		"both at once":  {then(to(6, 3, fin|ack, 101, 301, 0), from(7, 3, fin|ack, 301, 101, 0)), Closing, Closing},
		"and acknowledged": {
			then(to(6, 3, fin|ack, 101, 301, 0), from(7, 3, fin|ack, 301, 101, 0), to(11, 2, ack, 102, 302, 0), from(12, 2, ack, 302, 102, 0)),
			TimeWait, TimeWait,
		},
		"Fast Open": {
			[]Segment{to(0, 1, syn, 100, 0, 29), from(2, 1, synAck, 300, 130, 0), from(3, 1, psh|ack, 301, 130, 27), to(6, 1, ack, 130, 301, 0)},
			Established, Established,
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := diagram(Closed, Listen, c.segs...)
			client, server := d.Track()
			require.Equal(t, []string{c.client, c.server}, []string{client, server})
			client, server = d.StateAt(time.Hour)
			require.Equal(t, []string{c.client, c.server}, []string{client, server}, "and so says StateAt")
			client, server = d.StateAt(-1)
			require.Equal(t, []string{Closed, Listen}, []string{client, server})
		})
	}
	d := diagrams()["crossing"]
	d.Track()
	for at, want := range map[time.Duration]string{1 * us: Closed, 3 * us: SynSent, 55 * us: SynReceived, 115 * us: Established} {
		client, _ := d.StateAt(at)
		require.Equal(t, want, client, at)
	}
	d = diagram(Closed, Listen, open...)
	d.Server.Stateless = true
	d.Track()
	_, server := d.StateAt(3)
	require.Equal(t, Listen, server, "a cookie is no state")
	_, server = d.StateAt(5)
	require.Equal(t, Established, server)
}

func TestRemarks(t *testing.T) {
	for name, want := range map[string][]string{
		"handshake": {"wants to connect; it numbers its bytes from C = 100", "agrees: it has C, expects C+1 next, and begins at S = 300", "confirms: it has S and expects S+1 next; the connection is open"},
		"loss": {
			"dropped where it arrives", "the same SYN again, 1.00 s after the last", "agrees", "confirms", "9 bytes of text; it is lost", "lost on the way",
			"the same text again, 999.9 ms", "what lies behind the hole: sack {C+20:C+30}, sack {C+40:C+50}",
		},
		"crossing": {"wants to connect", "wants to connect", "acknowledges the SYN that crossed", "acknowledges the SYN that crossed", "1448 bytes", "1448 bytes"},
		"refused":  {"wants to connect", "refuses: there is nobody at this port; what it refuses is the SYN with number C"},
	} {
		d := diagrams()[name]
		d.Track()
		i := 0
		for _, it := range d.Items {
			if it.Segment == nil {
				continue
			}
			if name == "loss" && i == 6 {
				require.True(t, it.Segment.Again)
				i++
				continue // the time is that of the lost one: 1 s
			}
			require.Contains(t, d.Remark(it.Segment), want[i], name)
			i++
		}
		require.Len(t, want, i)
	}
	twice := from(10, 1, ack, 301, 101, 0)
	twice.SACK = []wire.SACKBlock{{Left: 100, Right: 101}}
	d := diagram(Closed, Listen, to(0, 1, syn, 100, 0, 0), from(2, 1, synAck, 300, 101, 0), twice)
	d.Track()
	require.Contains(t, d.Remark(d.Items[2].Segment), "{C:C+1} before: a duplicate (D-SACK")
}

func TestName(t *testing.T) {
	for f, want := range map[wire.Flags]string{
		syn: "SYN", synAck: "SYN-ACK", ack: "ACK", rst | ack: "RST-ACK", fin | ack: "FIN-ACK", psh | ack: "PSH-ACK", 0: "no flags",
		syn | wire.FlagECE | wire.FlagCWR: "SYN+ECE+CWR", synAck | wire.FlagECE: "SYN-ACK+ECE", wire.FlagCWR: "CWR",
	} {
		require.Equal(t, want, (&Segment{Flags: f}).Name())
	}
}
