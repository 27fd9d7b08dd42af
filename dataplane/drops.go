package dataplane

// DropReporter is implemented by ports that lose frames for reasons of their
// own, so that a report can say who lost what. Safe from any goroutine.
type DropReporter interface {
	// Drops returns, for queue i, the frames lost so far by reason, such as
	// "impair_tx_lost". A decorator adds the reasons of the port it wraps.
	// Reasons that can occur are present with 0. The map belongs to the caller.
	Drops(i int) map[string]uint64
}
