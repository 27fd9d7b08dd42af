package metrics

import "strings"

// family is where a counter of the report goes: a metric, and the value of its label, if it has one.
type family struct {
	name, help   string
	label, value string
	gauge        bool
}

// engineFamilies are the counters of bench.CounterMap that are not simply "fastsyn_" and their name:
// those that divide a sum share a name. A counter that is missing here is exported all the same.
var engineFamilies = group(
	one("syn_in", "fastsyn_syns_total", "SYNs received that ask for a new connection."),
	many("fastsyn_syn_answers_total", "What those SYNs got.", "answer",
		"syn_acks", "syn_ack", "cookies_sent", "cookie", "syn_dropped", "none"),
	one("syn_repeats", "fastsyn_syn_repeats_total", "SYNs received again for a half-open connection."),
	many("fastsyn_cookies_checked_total", "ACKs checked for a SYN cookie.", "result", "cookies_ok", "good", "cookies_bad", "bad"),
	many("fastsyn_accepts_total", "Passive opens that came to an end.", "outcome",
		"accepted", "accepted", "half_open_reset", "reset", "half_open_timed_out", "timed_out", "half_open_replaced", "replaced",
		"half_open_closed", "listener_closed", "half_open_evicted", "evicted", "half_open_overflow", "overflow",
		"cookie_no_room", "no_room", "cookie_limited", "limited"),
	one("half_open_now", "fastsyn_half_open", "Half-open connections."),
	one("attempted", "fastsyn_opens_started_total", "Active opens begun."),
	many("fastsyn_opens_total", "Active opens that came to an end.", "outcome",
		"connected", "established", "refused", "refused", "timed_out", "timed_out", "unreachable", "unreachable", "attempt_aborted", "reset"),
	one("opening_now", "fastsyn_opening", "Active opens that are not decided yet."),
	many("fastsyn_flows_closed_total", "Established flows that ended here.", "outcome",
		"done", "done", "reset", "reset", "broken", "broken", "aborted", "aborted", "exported", "exported"),
	one("imported", "fastsyn_flows_imported_total", "Established flows taken over from another engine."),
	one("established_now", "fastsyn_established_flows", "Established flows."),
	one("flows_now", "fastsyn_flow_records", "Records in the flow table, TIME-WAIT included."),
	one("queued_now", "fastsyn_accept_queue_flows", "Flows established that the application has not taken yet."),
	one("under_pressure_now", "fastsyn_under_pressure", "1 while SYN cookies are sent because the half-open table fills."),
	one("cookie_mode_entered", "fastsyn_pressure_entered_total", "Times that began."),
	many("fastsyn_handshake_retransmissions_total", "Segments sent again.", "segment",
		"syn_retransmissions", "syn", "syn_ack_retransmissions", "syn_ack", "data_retransmissions", "text"),
	one("resets_sent", "fastsyn_resets_sent_total", "Resets sent."),
	one("payload_bytes", "fastsyn_payload_bytes_total", "Text delivered in order by the engine, of flows without a stream."),
	one("simultaneous_opens", "fastsyn_simultaneous_opens_total", "Opens that met one of the peer's (RFC 9293 section 3.5)."),
	one("soft_errors", "fastsyn_soft_errors_total", "ICMP errors noted for a timeout."),
	one("path_mtus", "fastsyn_path_mtus_total", "ICMP errors that lowered what a flow sends."),
	one("source_cookies", "fastsyn_source_cookies_total", "Cookies sent because a source prefix asks too often."),
	one("syn_acks_held", "fastsyn_syn_acks_held_total", "SYN-ACKs due again and not sent."),
)

// streamFamilies are the same for bench.StreamMap; what is missing is "fastsyn_stream_" and its name.
var streamFamilies = group(
	one("bytes_in", "fastsyn_stream_receive_bytes_total", "Text delivered in order."),
	one("bytes_out", "fastsyn_stream_transmit_bytes_total", "Text taken from the application."),
	many("fastsyn_stream_text_segments_total", "Segments received with text or FIN, by what became of them.", "fate",
		"in_order", "in_order", "filled", "filled", "ahead", "ahead", "duplicate", "duplicate", "no_room", "no_room", "outside", "outside", "unread", "unread"),
	many("fastsyn_stream_segments_sent_total", "Segments sent.", "kind", "acks_out", "ack", "text_segments_out", "text"),
	one("resent", "fastsyn_stream_resent_segments_total", "Segments with text or FIN sent again."),
	one("bytes_resent", "fastsyn_stream_resent_bytes_total", "Text sent again."),
	one("open_now", "fastsyn_stream_open", "Streams."),
	one("blocks", "fastsyn_stream_blocks", "Blocks of text that there are."),
	one("blocks_high", "fastsyn_stream_blocks_high", "The most that were in use."),
	one("blocks_in_use_now", "fastsyn_stream_blocks_used", "Blocks of text in use."),
)

// sums are counters that others add up to.
var sums = map[string]bool{"segments": true, "text_segments_in": true, "segments_out": true}

type entry struct {
	key string
	family
}

func one(key, name, help string) []entry {
	return []entry{{key, family{name: name, help: help, gauge: !strings.HasSuffix(name, "_total")}}}
}

// many gives keys, each with the value of a label.
func many(name, help, label string, keysAndValues ...string) (out []entry) {
	for i := 0; i < len(keysAndValues); i += 2 {
		out = append(out, entry{keysAndValues[i], family{name: name, help: help, label: label, value: keysAndValues[i+1]}})
	}
	return out
}

func group(lists ...[]entry) map[string]family {
	m := map[string]family{}
	for _, list := range lists {
		for _, e := range list {
			m[e.key] = e.family
		}
	}
	return m
}

// find returns the family of a counter, which is named after it unless known says otherwise.
func find(known map[string]family, prefix, what, key string) family {
	if f, ok := known[key]; ok {
		return f
	}
	return plain(prefix, what, key)
}

// plain is the family of a counter that is named after it. "_now" marks what can fall, "_high" the most there was.
func plain(prefix, what, key string) family {
	name, now := strings.CutSuffix(key, "_now")
	f := family{name: prefix + name, help: what + " " + strings.ReplaceAll(name, "_", " ") + ", as in the report.", gauge: now || strings.HasSuffix(key, "_high")}
	if !f.gauge {
		f.name += "_total"
	}
	return f
}
