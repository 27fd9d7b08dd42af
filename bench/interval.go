package bench

// Interval is what happened in one second of a run, or in what was left of one; in a run of more
// than half an hour in 2, 4, 8, ... seconds. Counts are of the client's end. Together the
// intervals have all that the totals have.
type Interval struct {
	AtS      float64 `json:"at_s"`     // its end, since the first SYN
	LengthS  float64 `json:"length_s"` // about 1
	Draining bool    `json:"draining"` // after the sending time
	Intended uint64  `json:"intended"` // opens that the schedule wanted; 0 without one
	// Attempted = Done + Failed + the change of InFlight. What is done, and what failed, is for the scenario to say.
	Attempted     uint64            `json:"attempted"`
	Done          uint64            `json:"done"`
	Failed        int64             `json:"failed"`    // below 0 where what was presumed lost came after all
	InFlight      uint64            `json:"in_flight"` // at its end
	Retransmitted uint64            `json:"retransmitted"`
	PerS          float64           `json:"per_s"`       // done, by length_s
	Workers       []uint64          `json:"workers"`     // done, by worker
	Drops         map[string]uint64 `json:"drops"`       // both ends, by reason
	Latency       Latency           `json:"latency_ns"`  // of what is done: in http the whole transaction
	Response      Latency           `json:"response_ns"` // from the intended time; empty without a schedule
	// Heat is the distribution behind Latency, in buckets a quarter of an octave wide; empty ones are left out.
	Heat []HeatCell `json:"heat"`
}

// HeatCell counts latencies up to NS, and above that of the bucket before it.
type HeatCell struct {
	NS int64  `json:"ns"`
	N  uint64 `json:"n"`
}
