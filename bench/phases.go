package bench

// Phases split the time of established flows as the timeline of a handshake does.
// Flows whose SYN was repeated are not in it: see Report.Retransmitted.
type Phases struct {
	Wait      Latency `json:"wait"`       // from the intended time to the SYN; empty without a schedule
	SYNACK    Latency `json:"syn_ack"`    // from the SYN to the SYN-ACK
	ACK       Latency `json:"ack"`        // from the SYN-ACK to the ACK handed to the device, within our end
	FirstByte Latency `json:"first_byte"` // from the ACK to the first byte of the peer; empty where nothing is sent
}

// Population is the latency of all attempts, with those that failed in it. One that timed out, was
// refused or was pending is censored: it took at least as long as is known of it.
type Population struct {
	Count    uint64   `json:"count"`
	Censored uint64   `json:"censored"`
	P50      Quantile `json:"p50"`
	P90      Quantile `json:"p90"`
	P99      Quantile `json:"p99"`
	P999     Quantile `json:"p999"`
}

// Quantile of a Population. With AtLeast it falls among the censored: the true value is NS ns or more, or there is none.
type Quantile struct {
	NS      int64 `json:"ns"`
	AtLeast bool  `json:"at_least"`
}
