package bench

// Stage is a place on the way of the frames from the generator to the peer and back, in
// order: how many came in, went on, and were lost there: In + Added = Out + Lost. A stage that is
// not ours to see has Seen false; what it lost is a bound derived from the answers that did not come.
type Stage struct {
	Name  string            `json:"name"` // sent, wire, peer, return, ring, parse, state
	In    uint64            `json:"in"`
	Out   uint64            `json:"out"`
	Lost  map[string]uint64 `json:"lost"`  // by reason
	Added map[string]uint64 `json:"added"` // by reason: copies that an impairment made
	Seen  bool              `json:"seen"`
}

// Sample is a handshake whose segments were recorded, for a ladder diagram.
type Sample struct {
	Why      string    `json:"why"` // which one it is: first, slowest, retransmitted, refused, timed out, unreachable, pending
	Client   string    `json:"client"`
	Server   string    `json:"server"`
	Segments []Segment `json:"segments"`
}

// Segment is one segment of a Sample, as the client's end saw it.
type Segment struct {
	AtNS    int64  `json:"at_ns"`  // since the first one
	Out     bool   `json:"out"`    // from the client
	Flags   string `json:"flags"`  // as tcpdump has them: S, S., .
	Text    string `json:"text"`   // the rest of tcpdump's line, relative numbers
	Length  int    `json:"length"` // of text, in bytes
	StateIs string `json:"state"`  // of the client after it
}
