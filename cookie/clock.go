package cookie

// ISN returns the initial send sequence number of RFC 6528 §3: the keyed base of
// the tuple (Sum.ISN) plus a clock of 64 ns ticks, which is faster than the
// 250 kHz that RFC 9293 §3.4.1 asks for and wraps every 274.9 s, more than
// 2·MSL (ISN-001). For one tuple it grows, modulo 2^32, for any two calls within
// 137 s (ISN-002). nowNS is the clock of the burst in nanoseconds; only its
// steady advance matters, except in a fleet, where it must be the same on all nodes.
func ISN(base uint32, nowNS int64) uint32 { return base + uint32(uint64(nowNS)>>6) }

// TSNow returns the timestamp clock without an offset: 1 ms ticks (TSP-008). It
// feeds Input.TSNow and VerifyInput.TSNow. In a fleet nowNS must come from UTC.
func TSNow(nowNS int64) uint32 { return uint32(uint64(nowNS) / 1e6) }

// TSVal returns the value for the Timestamps option: the 1 ms clock plus the
// offset of the tuple (Sum.TSOff), so that hosts cannot be told apart or their
// uptime read (RFC 7323 §7.1), while one tuple sees one monotone clock.
func TSVal(off uint32, nowNS int64) uint32 { return off + TSNow(nowNS) }
