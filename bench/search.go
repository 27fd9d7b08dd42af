package bench

// Search is the outcome of a search for the highest rate at a target.
type Search struct {
	Target   string  `json:"target"` // as given
	RatePerS float64 `json:"rate_per_s"`
	Low      float64 `json:"low"`  // the highest rate that met the target
	High     float64 `json:"high"` // the lowest that did not; 0: none
	Trials   []Trial `json:"trials"`
}

// Trial is a run of a Search.
type Trial struct {
	RatePerS  float64 `json:"rate_per_s"` // offered
	DurationS float64 `json:"duration_s"`
	DoneS     float64 `json:"done_per_s"`
	Loss      float64 `json:"loss"` // share of the attempts that failed
	P99NS     int64   `json:"p99_ns"`
	Met       bool    `json:"met"`
	Why       string  `json:"why"` // it was not met
}
