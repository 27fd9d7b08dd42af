package bench

// Search is the outcome of a search for the highest rate at a target.
type Search struct {
	Target string `json:"target"` // as given
	// RatePerS is the highest offered rate that met the target, 0 if none did. The report around
	// it is of the last trial there.
	RatePerS float64 `json:"rate_per_s"`
	// ThroughputPerS is what succeeded of it per second: the conditional throughput of RFC 9971, of
	// the better half of the trials there.
	ThroughputPerS float64 `json:"throughput_per_s"`
	Low            float64 `json:"low"`  // the lower end of what is left to search: RatePerS, or 0
	High           float64 `json:"high"` // the lowest rate above it that did not meet the target; 0: none
	// Converged: Low and High are neighbours at the precision asked for, both by a majority of full trials, or
	// there was nothing to search beyond a bound of the range. Why says what ended the search.
	Converged bool    `json:"converged"`
	Why       string  `json:"why"`
	TookS     float64 `json:"took_s"`
	Trials    []Trial `json:"trials"` // in order of time
}

// Trial is a run of a Search.
type Trial struct {
	RatePerS  float64 `json:"rate_per_s"` // offered
	DurationS float64 `json:"duration_s"`
	DoneS     float64 `json:"done_per_s"`
	Loss      float64 `json:"loss"` // share of the intended attempts that did not succeed
	P99NS     int64   `json:"p99_ns"`
	Met       bool    `json:"met"`
	Why       string  `json:"why"` // it was not met
}
