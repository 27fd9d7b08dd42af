package ladder

import (
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
	Name  string // "fastsyn", "Linux"
	Addr  string // "10.71.0.1:40000"
	State string // before the first item
	// Stateless ends keep nothing of a SYN, as a server that answers by cookies: they stay in
	// LISTEN until the handshake is over.
	Stateless bool
}

// Item is a segment, or a note if Segment is nil.
type Item struct {
	*Segment
	Note string
	At   time.Duration // of a note
}

// Segment is one segment on its way. Times are since the start of the diagram.
type Segment struct {
	FromServer     bool
	Sent, Received time.Duration // by clocks that agree; Received means nothing if Lost
	Lost           bool          // it never arrived
	Again          bool          // it repeats an earlier one
	Flags          wire.Flags
	Seq, Ack       wire.Seq
	Len            int
	Options        []string // as tcpdump has them: "mss 1460", "sackOK"; no padding

	// What Track finds: the state of the sender when it has sent, of the receiver when
	// it has received; empty if it is what it was before.
	SenderState, ReceiverState string
}

// begin is when an item begins.
func (i *Item) begin() time.Duration {
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
	return i.begin()
}

// Name is the segment's flags as people call them: SYN-ACK, RST, FIN-ACK, SYN+ECE+CWR.
func (s *Segment) Name() string {
	var b strings.Builder
	for _, f := range [...]struct {
		f    wire.Flags
		name string
	}{
		{wire.FlagSYN, "SYN"}, {wire.FlagFIN, "FIN"}, {wire.FlagRST, "RST"}, {wire.FlagPSH, "PSH"}, {wire.FlagURG, "URG"}, {wire.FlagACK, "ACK"},
		{wire.FlagECE, "+ECE"}, {wire.FlagCWR, "+CWR"}, {wire.FlagAE, "+AE"},
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
		if it.FromServer && !hasServer {
			server, hasServer = it.Seq, true
		} else if !it.FromServer && !hasClient {
			client, hasClient = it.Seq, true
		}
	}
	return client, server, hasClient, hasServer
}

// crosses reports whether the two segments meet on the way: each is sent before the other arrives.
func crosses(a, b *Segment) bool {
	return a != nil && b != nil && a.FromServer != b.FromServer && !a.Lost && !b.Lost && a.Sent < b.Received && b.Sent < a.Received
}
