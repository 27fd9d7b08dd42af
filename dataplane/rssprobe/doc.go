// Package rssprobe measures on which queue of a port test frames really arrive
// and compares that with what Toeplitz, key and RETA predict (RSS-009). Drivers
// ask it at start, before flows depend on the answer: source ports are chosen
// by the same prediction (RSS-006).
//
// The frames are TCP SYNs without options between the two halves of the
// networks set apart for benchmarks, 198.18.0.0/15 (RFC 2544) and 2001:2::/48
// (RFC 5180), with a TTL of 1, so that no router, and no kernel that forwards, passes
// them on. A probe belongs to one goroutine, which for its time owns the queues it
// polls and sends on. It ends after a bounded time and number of frames.
package rssprobe
