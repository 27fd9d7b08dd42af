package lab

// Scenarios are those of the chapter, in its order.
func Scenarios() []Scenario {
	return []Scenario{
		{
			Name: "open", Title: "the three-way handshake, fastsyn as the client", Section: "The Three Steps",
			Text: "Three segments open a connection: SYN, SYN-ACK, ACK. Each end picks a random initial sequence number, C and S, and learns that " +
				"the other has it when it comes back plus one, for a SYN counts as one byte. The client is open after one round trip, the server after one and " +
				"a half. The states beside the lifelines are no theory: each segment was held on the wire until both ends had been asked for theirs, so the " +
				"times here are those of the lab, not of the wire.",
			play: (*play).open,
		},
		{
			Name: "accept", Title: "the three-way handshake, fastsyn as the server", Section: "State Changes During Handshake",
			Text: "The other way round: Linux calls connect(), fastsyn is in LISTEN, goes through SYN-RECEIVED, and has the connection once the last " +
				"ACK is there. Not before: until then nobody has proved to be at the client's address.",
			play: (*play).accept,
		},
		{
			Name: "lost-ack", Title: "why three messages: the last one is lost", Section: "Why Three Messages?",
			Text: "A server that believed a connection open as soon as it had answered would wait for ever for a client that never heard of it. With a third " +
				"message it knows what it does not know, and asks again.",
			play: (*play).lostACK,
		},
		{
			Name: "mss", Title: "option: maximum segment size", Section: "Options Negotiated in Handshake",
			Text: "\"The largest segment I can receive\": what the link carries, less the headers of IP and TCP. It is said once, in the SYN or the SYN-ACK.",
			play: (*play).mss,
		},
		{
			Name: "window-scale", Title: "option: window scaling", Section: "Options Negotiated in Handshake",
			Text: "A window is how much the other end may have under way. Without scaling that is at most 65535 bytes: at 100 ms no more than 5 Mbit/s.",
			play: (*play).windowScale,
		},
		{
			Name: "sack", Title: "option: selective acknowledgement", Section: "Options Negotiated in Handshake",
			Text: "An ACK is one number: all before it is here. With SACK it also has blocks of what lies behind a hole, so that only the hole is sent again.",
			play: (*play).sack,
		},
		{
			Name: "timestamps", Title: "option: timestamps", Section: "Options Negotiated in Handshake",
			Text: "Clocks ride on segments and come back: for measuring round trips, and against old duplicates.",
			play: (*play).timestamps,
		},
		{
			Name: "ecn", Title: "explicit congestion notification", Section: "Options Negotiated in Handshake",
			Text: "The chapter names the options; ECN is negotiated in the same two segments, by flags.",
			play: (*play).ecn,
		},
		{
			Name: "latency", Title: "what a handshake costs: the timeline", Section: "Connection Latency",
			Text: "Each segment takes half a round trip. The client can send after one, the server after one and a half, and the first response is there after two. A second " +
				"request on the same connection takes one: that is why connections are reused.",
			play: (*play).latency,
		},
		{
			Name: "fast-open", Title: "TCP Fast Open, first visit and repeat visit", Section: "TCP Fast Open (TFO)",
			Text: "Who has been here before brings a cookie, and its request with the SYN. It saves one round trip. The SYN may come twice, so the request must bear to be read twice.",
			play: (*play).fastOpen,
		},
		{
			Name: "refused", Title: "nobody listens: connection refused", Section: "Connection Refused",
			Text: "A SYN to a port without a listener is answered at once by a reset. It acknowledges the SYN, so that nobody who has not seen it can refuse in " +
				"the server's name.",
			play: (*play).refused,
		},
		{
			Name: "timeout", Title: "a black hole: the SYN is sent again and again", Section: "Connection Timeout",
			Text: "No answer means that the SYN was lost, or the answer, or that there is nobody. The client cannot tell, so it tries again, and waits longer each time.",
			play: (*play).timeout,
		},
		{
			Name: "syn-flood", Title: "a SYN flood, and no defence", Section: "SYN Flood Attack",
			Text: "An attacker sends SYNs from addresses that are not its own. Each takes a place in the queue of half-open connections until fastsyn gives up waiting for " +
				"its ACK, seconds to a minute later. When the queue is full a client's SYN is dropped, and it believes that nobody is there. The attacker has paid for 256 small packets.",
			play: (*play).flooded,
		},
		{
			Name: "syn-cookies", Title: "the same flood against SYN cookies", Section: "SYN Flood Attack: SYN cookies",
			Text: "Under pressure nothing is stored: what has to be remembered is in the sequence number and the timestamp of the SYN-ACK, signed. The client brings it back in its ACK. " +
				"The server stays in LISTEN until then, and window scale, SACK and timestamps survive.",
			play: (*play).cookies,
		},
		{
			Name: "rate-limit", Title: "the same flood against a limit of SYNs per second", Section: "SYN Flood Attack: rate limiting",
			Text: "The queue never fills, as no more is taken in than the limit allows. But it does not tell friend from foe: the client's SYN is dropped like the rest, and is " +
				"lucky when it comes again a second later, after the flood.",
			play: (*play).rateLimit,
		},
		{
			Name: "larger-queue", Title: "the same flood against a larger queue", Section: "SYN Flood Attack: larger SYN queues",
			Text: "There is room for the flood and for the client. It costs memory (64 bytes each here), and the attacker a larger flood.",
			play: (*play).largerQueue,
		},
		{
			Name: "evict-oldest", Title: "the same flood, and the oldest give way", Section: "SYN Flood Attack",
			Text: "When the queue is full the half-open connection that has waited longest is given up. The client is through before its turn comes, unless the flood turns the " +
				"whole queue over within its round trip.",
			play: (*play).evict,
		},
		{
			Name: "source-limit", Title: "a flood from one network against a limit for each network", Section: "SYN Flood Attack: rate limiting",
			Text: "A limit for each source network leaves clients elsewhere alone. Against addresses invented all over the world it does nothing.",
			play: (*play).sourceLimit,
		},
		{
			Name: "simultaneous-open", Title: "both ends send a SYN at the same time", Section: "Simultaneous Open (Rare)",
			Text: "Nobody listens here. Each end is in SYN-SENT when the SYN of the other comes, goes to SYN-RECEIVED and acknowledges it in a SYN-ACK, which " +
				"repeats its own SYN. One connection comes of it, not two. The SYNs were held on the wire so that they cross.",
			play: (*play).simultaneous,
		},
	}
}
