package bench

import (
	"encoding/json"
	"io"
	"maps"
	"reflect"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/flow"
	"github.com/fastsyn/fastsyn/handshake"
)

// Schema names the JSON form of Report; docs/report.md describes each field, and
// docs/schema/report.v1.json says the same to programs.
const Schema = schemaName + "/v1"

const schemaName = "fastsyn.report"

// Report is the outcome of a run.
type Report struct {
	Schema        string `json:"schema"`
	Valid         bool   `json:"valid"`
	InvalidReason string `json:"invalid_reason"` // the first equation that does not close
	RunID         string `json:"run_id"`         // random: the same in the lines of --ndjson and --csv

	Scenario    string  `json:"scenario"`
	Port        string  `json:"port"`
	Connect     string  `json:"connect"`  // empty: our own server
	PeerMAC     string  `json:"peer_mac"` // of the reflector, in an echo; empty: our own
	Workers     int     `json:"workers"`  // client workers
	Concurrency int     `json:"concurrency"`
	TargetRate  float64 `json:"target_rate"` // opens per second, the mean of a load; 0: as fast as possible
	Load        string  `json:"load"`        // as given; empty: one rate, or none
	Intended    uint64  `json:"intended"`    // opens that the schedule wanted in the sending time; 0 without one
	DurationS   float64 `json:"duration_s"`  // sending time
	DrainS      float64 `json:"drain_s"`
	Seed        uint64  `json:"seed"`
	Close       string  `json:"close"`
	TimeWaitS   float64 `json:"time_wait_s"` // of the end that closes first; 0: skipped
	FastOpen    bool    `json:"fast_open"`   // opens with text
	Cookies     string  `json:"cookies"`     // policy of our server; empty with Connect
	Profile     string  `json:"profile"`     // of the client's SYNs; empty: our own
	// SYNSignature is what p0f calls such a SYN; empty without a profile.
	SYNSignature string `json:"syn_signature"`
	Polling      string `json:"polling"`
	Pinned       bool   `json:"pinned"`

	Handshakes      Handshakes      `json:"handshakes"`
	Flows           Flows           `json:"flows"`
	HTTP            HTTP            `json:"http"`
	Held            Held            `json:"held"`
	Churn           Churn           `json:"churn"`
	Timeout         Timeout         `json:"timeout"`
	SYNFlood        SYNFlood        `json:"syn_flood"`
	Mixed           Mixed           `json:"mixed"`
	Visits          Visits          `json:"visits"`
	CookieServer    CookieServer    `json:"cookie_server"`
	Echo            Echo            `json:"echo"`
	Rate            Rate            `json:"rate"`
	Retransmissions Retransmissions `json:"retransmissions"`
	Latency         Latency         `json:"latency_ns"`
	Response        Latency         `json:"response_ns"`      // from the intended time; empty without a rate
	Retransmitted   Latency         `json:"retransmitted_ns"` // of the established whose SYN was repeated
	Phases          Phases          `json:"phases_ns"`
	Population      Population      `json:"population_ns"` // from the intended time, or from the SYN without a schedule
	// Histograms are those behind the latencies, by the names of their fields without _ns
	// (latency, response, phases.wait, ...), as HdrHistogram V2 in base64, compressed: any library of it merges them.
	Histograms map[string]string `json:"histograms"`
	Intervals  []Interval        `json:"intervals"`
	Samples    []Sample          `json:"samples"`
	Path       []Stage           `json:"path"` // where frames were lost
	// Reconciled are the counters of devices beside ours; empty where a device has none.
	Reconciled []Balance `json:"reconciled"`
	Search     *Search   `json:"search"` // null: none was asked for
	// Config is what was asked for, by the names of flags, with the seed that was used. --replay runs it again.
	Config map[string]any `json:"config"`

	Frames  FrameCount        `json:"frames"` // of the client's port
	Drops   map[string]uint64 `json:"drops"`  // both sides together
	Limiter string            `json:"limiter"`
	// CPUSeconds is the processor time of the whole process during the sending
	// time. Far below DurationS times the busy-polling workers of both ends,
	// other processes (or a hypervisor) had the processors. 0: unknown.
	CPUSeconds float64 `json:"cpu_s"`

	Client Side  `json:"client"`
	Server *Side `json:"server"` // null with Connect and PeerMAC

	Equations []Equation `json:"equations"`
	Host      Host       `json:"host"`
}

// Handshakes are the attempts of the client:
// attempted = established + refused + timed_out + unreachable + reset + pending.
type Handshakes struct {
	Attempted   uint64 `json:"attempted"`
	Established uint64 `json:"established"`
	Refused     uint64 `json:"refused"`     // RST in answer to the SYN
	TimedOut    uint64 `json:"timed_out"`   // all retries unanswered
	Unreachable uint64 `json:"unreachable"` // ICMP error
	Reset       uint64 `json:"reset"`       // ended in another way before it was established
	Pending     uint64 `json:"pending"`     // undecided when the run ended
	// How often no tuple, or no entry of the flow table, was free for an open.
	PortPoolExhausted uint64 `json:"port_pool_exhausted"`
	TableFull         uint64 `json:"table_full"`
	// Unsent are opens that the schedule of a rate wanted within the sending time.
	Unsent uint64 `json:"unsent"`
}

// Flows are what became of the established flows of the client:
// established = done + aborted + reset + broken + open.
type Flows struct {
	Done    uint64 `json:"done"`    // both sides closed by FIN
	Aborted uint64 `json:"aborted"` // reset by the client
	Reset   uint64 `json:"reset"`   // reset by the peer
	Broken  uint64 `json:"broken"`  // FIN never acknowledged
	Open    uint64 `json:"open"`
}

// Retransmissions are segments sent again: SYNs and FINs of the client, SYN-ACKs of our server.
type Retransmissions struct {
	SYN    uint64 `json:"syn"`
	SYNACK uint64 `json:"syn_ack"`
	FIN    uint64 `json:"fin"`
	Stream uint64 `json:"stream"` // segments of streams with text or FIN, of both ends that are ours
}

// SYNFlood is the outcome of that scenario: sent = answered + reset + unanswered.
type SYNFlood struct {
	Sent       uint64 `json:"sent"`
	Answered   uint64 `json:"answered"` // by a SYN-ACK that acknowledges the right number, once each
	Reset      uint64 `json:"reset"`
	Unanswered uint64 `json:"unanswered"`
	Repeated   uint64 `json:"repeated"` // further answers to a SYN already answered
	Late       uint64 `json:"late"`     // verified answers too late to say whether they are the first
	Bad        uint64 `json:"bad"`      // segments that verify for no SYN
	Stalls     uint64 `json:"stalls"`   // times without any answer for 100 ms
	Unsent     uint64 `json:"unsent"`   // as of Handshakes
}

// Echo is the outcome of that scenario: sent = returned + lost + in_flight.
type Echo struct {
	Sent     uint64 `json:"sent"`
	Returned uint64 `json:"returned"` // unchanged but for the swapped addresses, once each
	Lost     uint64 `json:"lost"`     // a later frame of the flow came first, or nothing came for 100 ms
	InFlight uint64 `json:"in_flight"`
	// Reordered are returned frames that later ones of their flow had overtaken.
	Reordered uint64 `json:"reordered"`
	Repeated  uint64 `json:"repeated"`  // further copies
	Late      uint64 `json:"late"`      // so late that it is not known whether they are the first copy; among the lost
	Bad       uint64 `json:"bad"`       // changed on the way; among the lost
	Elsewhere uint64 `json:"elsewhere"` // came to another queue than the port says; among the lost
	Foreign   uint64 `json:"foreign"`   // frames of others
	Stalls    uint64 `json:"stalls"`
	Unsent    uint64 `json:"unsent"` // as of Handshakes
}

// Rate is per second of the sending time.
type Rate struct {
	HandshakesPerS   float64 `json:"handshakes_per_s"`
	SYNsPerS         float64 `json:"syns_per_s"`
	TransactionsPerS float64 `json:"transactions_per_s"`  // http, as the next two
	ResponsesPerS    float64 `json:"responses_per_s"`     // complete ones
	ContentBytesPerS float64 `json:"content_bytes_per_s"` // in responses, whole or not
	RefusedPerS      float64 `json:"refused_per_s"`       // refused
	AnsweredPerS     float64 `json:"answered_per_s"`      // syn-flood
	VisitsPerS       float64 `json:"visits_per_s"`        // fastopen, answered
	FramesPerS       float64 `json:"frames_per_s"`        // echo, sent
	ReturnedPerS     float64 `json:"returned_per_s"`      // echo
}

// FrameCount counts frames.
type FrameCount struct {
	RX uint64 `json:"rx"`
	TX uint64 `json:"tx"`
}

// Side is one end of the wire, all workers together.
type Side struct {
	Workers int `json:"workers"`
	// Busy is the share of the sending time in which the busiest worker had work,
	// from 0 to 1; Burst the mean number of frames received at once, up to 64.
	Busy     float64           `json:"busy"`
	Burst    float64           `json:"burst"`
	Port     dataplane.Stats   `json:"-"`
	PortJSON map[string]uint64 `json:"port"`
	Drops    map[string]uint64 `json:"drops"`
	// Device is what the device counts itself, by its own names; zero counters are left out.
	Device   map[string]uint64  `json:"device"`
	Engine   handshake.Counters `json:"-"`
	Counters map[string]uint64  `json:"engine"`
	// StreamCounters are those of established flows with text; empty if there are none.
	Streams        flow.Counters     `json:"-"`
	StreamCounters map[string]uint64 `json:"streams"`
	Memory         string            `json:"memory"`
	PerWorker      []Share           `json:"per_worker"`
}

// Share is what one worker of a Side did. Counts are of the whole run: those of all workers are the totals. Busy
// and Burst are of the sending time, as those of the Side.
type Share struct {
	CPU      int     `json:"cpu"`  // that it was pinned to; -1: none
	Done     uint64  `json:"done"` // of the client: as in Interval; of the server: accepted, or reflected
	RxFrames uint64  `json:"rx_frames"`
	TxFrames uint64  `json:"tx_frames"`
	Busy     float64 `json:"busy"`
	Burst    float64 `json:"burst"`
}

// Equation is a sum that must close: Left = Right.
type Equation struct {
	Name  string `json:"name"`
	Left  uint64 `json:"left"`
	Right uint64 `json:"right"`
	Holds bool   `json:"holds"`
}

// WriteJSON writes the report, indented. Lists and maps that are nil become empty ones.
func (r *Report) WriteJSON(w io.Writer) error {
	complete(reflect.ValueOf(r))
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

func portMap(s *dataplane.Stats) map[string]uint64 {
	return map[string]uint64{
		"rx_frames": s.RxFrames, "rx_bytes": s.RxBytes, "tx_frames": s.TxFrames, "tx_bytes": s.TxBytes,
		"tx_full": s.TxFull, "tx_errors": s.TxErrors, "rx_missed": s.RxMissed, "no_blank": s.NoBlank,
	}
}

// CounterMap names the counters of an engine for reports. Outcomes of segments
// carry the prefix "segments_".
func CounterMap(c *handshake.Counters) map[string]uint64 {
	m := map[string]uint64{
		"segments": c.Segments,
		"syn_in":   c.SynIn, "syn_acks": c.SynAcks, "cookies_sent": c.Cookies, "syn_dropped": c.SynDropped,
		"syn_repeats": c.SynRepeats, "syn_repeats_limited": c.SynRepeatsLimited, "cookies_ok": c.CookiesOK, "cookies_bad": c.CookiesBad,
		"accepted": c.Accepted, "half_open_reset": c.HalfOpenReset, "half_open_timed_out": c.HalfOpenTimedOut,
		"half_open_replaced": c.HalfOpenReplaced, "half_open_closed": c.HalfOpenClosed, "cookie_no_room": c.CookieNoRoom,
		"half_open_evicted": c.HalfOpenEvicted, "half_open_overflow": c.HalfOpenOverflow, "cookie_limited": c.CookieLimited,
		"syn_acks_held": c.SynAckHeld, "probes": c.Probes, "source_cookies": c.SourceCookies, "under_pressure_now": c.UnderPressure, "queued_now": c.Queued,
		"attempted": c.Attempted, "connected": c.Connected, "refused": c.Refused, "timed_out": c.TimedOut,
		"unreachable": c.Unreachable, "attempt_aborted": c.AttemptAborted,
		"done": c.Done, "reset": c.Reset, "broken": c.Broken, "aborted": c.Aborted, "exported": c.Exported, "imported": c.Imported,
		"simultaneous_opens": c.SimultaneousOpens, "syn_retransmissions": c.SynRetrans,
		"syn_ack_retransmissions": c.SynAckRetrans, "data_retransmissions": c.DataRetrans,
		"resets_sent": c.ResetsSent, "time_waits": c.TimeWaits, "time_wait_recycled": c.TimeWaitRecycled, "time_wait_reused": c.TimeWaitReused,
		"cookie_mode_entered": c.CookieModeEntered, "soft_errors": c.SoftErrors, "path_mtus": c.PathMTUs,
		"wscale_clamped": c.WScaleClamped, "no_timestamp": c.NoTimestamp,
		"payload_bytes": c.PayloadBytes,
		"half_open_now": c.HalfOpen, "opening_now": c.Opening, "flows_now": c.Flows, "established_now": c.EstablishedNow,
	}
	f := &c.FastOpen
	maps.Copy(m, map[string]uint64{
		"fast_open_requests": f.Requests, "fast_open_bad_cookies": f.BadCookies, "fast_open_full": f.Full,
		"fast_open_accepted": f.Accepted, "fast_open_confirmed": f.Confirmed, "fast_open_failed": f.Failed,
		"fast_open_asked": f.Asked, "fast_open_sent": f.Sent, "fast_open_taken": f.Taken, "fast_open_declined": f.Declined,
		"fast_open_unanswered": f.Unanswered, "fast_open_learned": f.Learned, "fast_open_black_holes": f.BlackHoles,
		"fast_open_suspended": f.Suspended, "fast_open_pending_now": f.Pending, "fast_open_sending_now": f.Sending,
	})
	for i, n := range c.Outcome {
		m["segments_"+handshake.Outcome(i).String()] = n
	}
	return m
}
