package lab

import (
	"time"

	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/ladder"
)

// Schema names the JSON form of a Report.
const Schema = "fastsyn.lab/v1"

// Report is what --json writes.
type Report struct {
	Schema    string   `json:"schema"`
	OK        bool     `json:"ok"`
	Kernel    string   `json:"kernel"` // its release
	RTTMS     float64  `json:"rtt_ms"`
	Scenarios []Result `json:"scenarios"`
}

// Result is one scenario as it was played.
type Result struct {
	Name    string  `json:"name"`
	Title   string  `json:"title"`
	Section string  `json:"section"` // of the chapter
	Text    string  `json:"text"`    // what it shows
	OK      bool    `json:"ok"`
	Error   string  `json:"error"` // why it could not be played to its end; empty: it was
	Plays   int     `json:"plays"` // more than 1: the machine was busy, so it was played again
	Seconds float64 `json:"seconds"`
	Panels  []Panel `json:"panels"`
	Checks  []Check `json:"checks"`
}

// Panel is one connection of a scenario, or the absence of one.
type Panel struct {
	Title    string      `json:"title"`
	Text     string      `json:"text"`
	Client   string      `json:"client"` // name and address
	Server   string      `json:"server"`
	Segments []Segment   `json:"segments"`
	Trace    []TraceLine `json:"trace"` // at fastsyn's end
	Facts    []Fact      `json:"facts"` // what both ends say of it
	Pcap     string      `json:"pcap"`  // file of the capture; empty: none
	diagram  ladder.Diagram
	frames   []frame
}

// Fact is what somebody says of a connection.
type Fact struct {
	From string `json:"from"` // fastsyn, or the kernel's ss or nstat
	Text string `json:"text"`
}

// Segment is one arrow of the diagram.
type Segment struct {
	From          string   `json:"from"`        // client or server
	SentMS        float64  `json:"sent_ms"`     // since the first one left
	ReceivedMS    *float64 `json:"received_ms"` // null: it never arrived
	Flags         string   `json:"flags"`
	Seq           uint32   `json:"seq"`
	Ack           uint32   `json:"ack"` // 0 without ACK
	Length        int      `json:"length"`
	Window        int      `json:"window"` // as on the wire
	Options       []string `json:"options"`
	Again         bool     `json:"again"`          // it repeats an earlier one
	Dropped       bool     `json:"dropped"`        // it arrived, and the receiver took no notice of it
	SenderState   string   `json:"sender_state"`   // that it brings the sender to; empty: none new
	ReceiverState string   `json:"receiver_state"` // and the receiver
}

// TraceLine is a frame as tcpdump prints it, with a remark.
type TraceLine struct {
	Text   string `json:"text"`
	Remark string `json:"remark"`
}

// Check is one thing that was verified.
type Check struct {
	OK    bool   `json:"ok"`
	Panel int    `json:"panel"` // counted from 1; 0: about the whole scenario
	What  string `json:"what"`
	Got   string `json:"got"` // what was found
}

// segments converts those of a diagram.
func segments(d *ladder.Diagram) []Segment {
	out := []Segment{}
	for _, it := range d.Items {
		s := it.Segment
		if s == nil {
			continue
		}
		g := Segment{
			From: "client", SentMS: milliseconds(s.Sent), Flags: s.Name(), Seq: uint32(s.Seq), Ack: uint32(s.Ack), Length: s.Len, Window: s.Window,
			Options: append(append([]string{}, s.Options...), d.SACKText(s)...), Again: s.Again, Dropped: s.Dropped, SenderState: s.SenderState, ReceiverState: s.ReceiverState,
		}
		if s.FromServer {
			g.From = "server"
		}
		if !s.Lost {
			at := milliseconds(s.Received)
			g.ReceivedMS = &at
		}
		out = append(out, g)
	}
	return out
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
