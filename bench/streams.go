package bench

import "github.com/fastsyn/fastsyn/dataplane/flow"

// StreamMap returns the counters of streams by name, as reports have them.
func StreamMap(c *flow.Counters) map[string]uint64 {
	return map[string]uint64{
		"opened": c.Opened, "ended": c.Ended, "open_now": c.Now, "bytes_in": c.BytesIn, "bytes_out": c.BytesOut,
		"text_segments_in": c.TextSegments, "in_order": c.InOrder, "filled": c.Filled, "ahead": c.Ahead, "duplicate": c.Duplicate,
		"no_room": c.NoRoom, "outside": c.Outside, "unread": c.Unread,
		"segments_out": c.SegmentsOut, "acks_out": c.Acks, "text_segments_out": c.TextOut, "resent": c.Resent, "bytes_resent": c.BytesResent,
		"timeouts": c.Timeouts, "tail_probes": c.TailProbes, "recoveries": c.Recoveries, "window_probes": c.WindowProbes, "keep_alives": c.KeepAlives,
		"delayed_acks": c.DelayedAcks, "challenges": c.Challenges, "no_timestamp": c.NoTimestamp, "path_mtus": c.PathMTUs,
		"black_holes": c.BlackHoles, "soft_errors": c.SoftErrors, "congestion_marks": c.CongestionMarks,
		"write_no_memory":   c.WriteNoMemory,
		"blocks_in_use_now": c.BlocksInUse, "blocks_high": c.BlocksHigh, "blocks": c.Blocks, "holding_now": c.Holding, "sending_now": c.Sending, "timers_now": c.Timers,
	}
}
