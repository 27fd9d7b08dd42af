package worker

import (
	"time"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/flow"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// drop is a reason of the worker itself for not using a received frame, or for not
// sending one.
type drop uint8

const (
	dropDeviceChecksum drop = iota // the device says the checksum is wrong
	dropTruncated
	dropForeignMAC
	dropForeignIP
	dropBroadcastSource
	dropTentative // received while nobody may use our addresses yet
	dropARP       // not for us, or malformed in a way only ARP knows
	dropNDP       // likewise
	dropICMP      // neither an echo request nor an error about a flow of ours
	dropICMPMax   // echo above the rate limit
	numRxDrops
)

var rxDropNames = [numRxDrops]string{
	"device_checksum", "truncated", "foreign_mac", "foreign_ip", "broadcast_source", "address_tentative",
	"arp_ignored", "ndp_ignored", "icmp_ignored", "icmp_rate_limited",
}

// Reasons for not sending a segment the engine wanted sent.
const (
	txNoRoute drop = iota
	txNeighborWait
	txNeighborFailed
	txNeighborFull
	numTxDrops
)

var txDropNames = [numTxDrops]string{"tx_no_route", "tx_neighbor_queue_full", "tx_neighbor_unreachable", "tx_neighbor_table_full"}

type counters struct {
	frames   uint64 // received
	segments uint64 // handed to the engine or the raw handler
	control  uint64 // ARP, NDP and ICMP that were used
	parse    [wire.NumReasons]uint64
	rx       [numRxDrops]uint64
	tx       [numTxDrops]uint64
	panics   uint64
	// What was answered by a SYN-ACK or a reset, and those answers; SYN-ACKs sent again.
	unprovenIn, unprovenOut uint64
	overBudget              uint64
	noText                  uint64 // Reply refused: no buffer
	busy                    int64  // ns in rounds that had work
	bursts                  uint64 // rounds that received something
}

// Stats is a snapshot of one worker. Sums that must close are checked by Check.
type Stats struct {
	Worker   int
	Port     dataplane.Stats
	Engine   handshake.Counters
	Streams  flow.Counters // of applications that are not Bare
	Frames   uint64        // received = Segments + Control + sum of RxDrops
	Segments uint64
	Control  uint64
	// RxDrops are frames not used, and TxDrops segments not sent, by reason; zero reasons are absent.
	RxDrops, TxDrops map[string]uint64
	// SegmentDrops are segments the engine dropped, by reason.
	SegmentDrops   map[string]uint64
	CallbackPanics uint64
	// OverBudget counts bursts whose callbacks took longer than Config.CallbackBudget.
	OverBudget uint64
	// UnprovenIn are the bytes of received frames answered by a SYN-ACK, a cookie or a reset;
	// UnprovenOut those of the answers, and of SYN-ACKs sent again: what peers got that had
	// not proved their address (adr 0016).
	UnprovenIn, UnprovenOut uint64
	ReplyNoBuffer           uint64
	// Busy is the time in rounds that received, sent or fired anything, of Ran in
	// all; Bursts are the rounds that received. Frames/Bursts near BatchSize and
	// Busy near Ran say that the worker is what limits.
	Busy, Ran time.Duration
	Bursts    uint64
	// Memory says where the engine's tables live, MemoryBytes how large they are.
	Memory      string
	MemoryBytes int
}

// Check returns the name of the first equation that does not close, or "".
func (s *Stats) Check() string {
	sum := s.Segments + s.Control
	for _, n := range s.RxDrops {
		sum += n
	}
	switch {
	case s.Frames != sum:
		return "frames in = segments + control + dropped"
	case s.Frames != s.Port.RxFrames:
		return "frames in = frames lent by the queue"
	}
	if bad := s.Engine.Check(); bad != "" {
		return bad
	}
	return s.Streams.Check()
}

func (w *Worker) snapshot() Stats {
	c := &w.ctr
	s := Stats{
		Worker: w.cfg.ID, Port: w.cfg.Port.Stats(w.cfg.ID), Engine: w.engine.Counters(),
		Frames: c.frames, Segments: c.segments, Control: c.control,
		RxDrops: map[string]uint64{}, TxDrops: map[string]uint64{}, SegmentDrops: map[string]uint64{},
		OverBudget: c.overBudget, UnprovenIn: c.unprovenIn, UnprovenOut: c.unprovenOut,
		CallbackPanics: c.panics, ReplyNoBuffer: c.noText, Memory: w.engine.Memory(), MemoryBytes: w.engine.MemoryBytes(),
		Busy: time.Duration(c.busy), Ran: time.Duration(w.now - w.started), Bursts: c.bursts,
	}
	if w.streams != nil {
		s.Streams = w.streams.Counters()
	}
	put := func(m map[string]uint64, name string, n uint64) {
		if n != 0 {
			m[name] = n
		}
	}
	for i, n := range c.parse {
		put(s.RxDrops, wire.Reason(i).String(), n)
	}
	for i, n := range c.rx {
		put(s.RxDrops, rxDropNames[i], n)
	}
	for i, n := range c.tx {
		put(s.TxDrops, txDropNames[i], n)
	}
	for i, n := range s.Engine.Outcome {
		if o := handshake.Outcome(i); o.Dropped() {
			put(s.SegmentDrops, o.String(), n)
		}
	}
	return s
}
