package handshake

// FastOpenCounters are the totals of Fast Open (RFC 7413), part of Counters.
type FastOpenCounters struct {
	// SYNs to listeners with Fast Open: Requests got a cookie, BadCookies got the right
	// one, Full found no place and were answered as any other (TFO-008).
	Requests, BadCookies, Full uint64
	// Flows handed over by their SYN, counted in Counters.Accepted as well:
	// Accepted = Confirmed + Failed + Pending. Confirmed ones were acknowledged by the
	// peer, Failed ones ended before.
	Accepted, Confirmed, Failed uint64

	// SYNs of ours: Asked for a cookie; Sent carried text: Sent = Taken + Declined +
	// Unanswered + Sending. Taken was acknowledged at least in part, Declined
	// was not and went out again, Unanswered ended with its attempt.
	Asked, Sent, Taken, Declined, Unanswered uint64
	// Learned are cookies that servers gave us; BlackHoles the times that Fast Open was
	// suspended (TFO-018), Suspended the opens with text that went without meanwhile.
	Learned, BlackHoles, Suspended uint64

	// Gauges.
	Pending, Sending uint64
}

func (c *FastOpenCounters) add(o *FastOpenCounters) {
	c.Requests += o.Requests
	c.BadCookies += o.BadCookies
	c.Full += o.Full
	c.Accepted += o.Accepted
	c.Confirmed += o.Confirmed
	c.Failed += o.Failed
	c.Asked += o.Asked
	c.Sent += o.Sent
	c.Taken += o.Taken
	c.Declined += o.Declined
	c.Unanswered += o.Unanswered
	c.Learned += o.Learned
	c.BlackHoles += o.BlackHoles
	c.Suspended += o.Suspended
	c.Pending += o.Pending
	c.Sending += o.Sending
}

func (c *FastOpenCounters) check() string {
	switch {
	case c.Accepted != c.Confirmed+c.Failed+c.Pending:
		return "fast open accepted = confirmed + failed + pending"
	case c.Sent != c.Taken+c.Declined+c.Unanswered+c.Sending:
		return "fast open sent = taken + declined + unanswered + sending"
	}
	return ""
}
