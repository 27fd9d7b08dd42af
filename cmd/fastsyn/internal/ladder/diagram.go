package ladder

import (
	"cmp"
	"strings"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// Diagram is what is drawn.
type Diagram struct {
	Client, Server Party
	Items          []Item // in the order of the time they begin
}

// Party is one end.
type Party struct {
	Role  string // "" is client on the left, server on the right
	Name  string // "fastsyn", "Linux"
	Addr  string // "10.71.0.1:40000"
	State string // before the first item
	// Stateless ends keep nothing of a SYN, as a server that answers by cookies: they stay in
	// LISTEN until the handshake is over.
	Stateless bool
}

// roles are what both ends are called.
func (d *Diagram) roles() (left, right string) {
	return cmp.Or(d.Client.Role, "client"), cmp.Or(d.Server.Role, "server")
}

// Item is a segment, or a note if Segment is nil.
type Item struct {
	*Segment
	Note       string
	At         time.Duration // of a note
	FromServer bool          // whose note it is
	State      string        // that this end is in from then on, as after a timeout; empty: the one it was in
}

// Segment is one segment on its way. Times are since the start of the diagram.
type Segment struct {
	FromServer     bool
	Sent, Received time.Duration // by clocks that agree; Received means nothing if Lost
	Lost           bool          // it never arrived
	Dropped        bool          // it arrived, and the receiver took no notice of it
	Flags          wire.Flags
	Seq, Ack       wire.Seq
	Len            int
	Window         int // as on the wire, unscaled
	// Options but for SACK blocks, in short: "mss 1460", "sackOK", "TS VAL/ECR", no padding.
	Options []string
	SACK    []wire.SACKBlock

	// What Relate finds: it repeats an earlier one, sent After before it.
	Again bool
	After time.Duration
	// What Track finds: the state of the sender when it has sent, of the receiver when
	// it has received; empty if it is what it was before.
	SenderState, ReceiverState string
}

// Begin is when an item begins.
func (i *Item) Begin() time.Duration {
	if i.Segment != nil {
		return i.Sent
	}
	return i.At
}

// end is when nothing of the item is under way any more.
func (i *Item) end() time.Duration {
	if i.Segment != nil && !i.Lost {
		return max(i.Sent, i.Received)
	}
	return i.Begin()
}

// Name is the segment's flags as people call them: SYN-ACK, RST, FIN-ACK, SYN+ECE+CWR.
func (s *Segment) Name() string {
	var b strings.Builder
	for _, f := range [...]struct {
		f    wire.Flags
		name string
	}{
		{wire.FlagSYN, "SYN"},
		{wire.FlagFIN, "FIN"},
		{wire.FlagRST, "RST"},
		{wire.FlagPSH, "PSH"},
		{wire.FlagURG, "URG"},
		{wire.FlagACK, "ACK"},
		{wire.FlagECE, "+ECE"},
		{wire.FlagCWR, "+CWR"},
		{wire.FlagAE, "+AE"},
	} {
		if s.Flags&f.f == 0 {
			continue
		}
		if b.Len() > 0 && f.name[0] != '+' {
			b.WriteByte('-')
		}
		b.WriteString(f.name)
	}
	if b.Len() == 0 {
		return "no flags"
	}
	return strings.TrimPrefix(b.String(), "+")
}

// isns returns the initial sequence numbers that the SYNs of both ends have.
func (d *Diagram) isns() (client, server wire.Seq, hasClient, hasServer bool) {
	for _, it := range d.Items {
		if it.Segment == nil || it.Flags&wire.FlagSYN == 0 {
			continue
		}
		if it.Segment.FromServer && !hasServer {
			server, hasServer = it.Seq, true
		} else if !it.Segment.FromServer && !hasClient {
			client, hasClient = it.Seq, true
		}
	}
	return client, server, hasClient, hasServer
}

// Crosses reports whether two segments meet on the way: each is sent before the other arrives.
func (s *Segment) Crosses(b *Segment) bool {
	return b != nil && s.FromServer != b.FromServer && !s.Lost && !b.Lost && s.Sent < b.Received && b.Sent < s.Received
}

// Relate marks the segments that repeat earlier ones. Items are in order.
func (d *Diagram) Relate() {
	for i := range d.Items {
		s := d.Items[i].Segment
		if s == nil || s.Flags&(wire.FlagSYN|wire.FlagFIN) == 0 && s.Len == 0 {
			continue // a bare ACK says what is known now, as often as it likes
		}
		for j := i - 1; j >= 0 && !s.Again; j-- {
			if e := d.Items[j].Segment; e != nil && s.repeats(e) {
				s.Again, s.After = true, s.Sent-e.Sent
			}
		}
	}
}

func (s *Segment) repeats(e *Segment) bool {
	const what = wire.FlagSYN | wire.FlagFIN | wire.FlagRST
	return s.FromServer == e.FromServer && s.Seq == e.Seq && s.Len == e.Len && s.Flags&what == e.Flags&what &&
		s.Flags&(wire.FlagSYN|wire.FlagACK) == e.Flags&(wire.FlagSYN|wire.FlagACK)
}

// StateAt returns the states of both ends at a moment, as Track found them.
func (d *Diagram) StateAt(at time.Duration) (client, server string) {
	states := [2]string{d.Client.State, d.Server.State}
	var since [2]time.Duration
	enter := func(server bool, state string, t time.Duration) {
		if i := index(server); state != "" && t <= at && t >= since[i] {
			states[i], since[i] = state, t
		}
	}
	for _, it := range d.Items {
		if s := it.Segment; s != nil {
			enter(s.FromServer, s.SenderState, s.Sent)
			enter(!s.FromServer, s.ReceiverState, s.Received)
		} else {
			enter(it.FromServer, it.State, it.At)
		}
	}
	return states[0], states[1]
}
