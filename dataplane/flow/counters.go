package flow

// Counters are the totals of a Table since New.
type Counters struct {
	// Streams: Opened = Ended + Now.
	Opened, Ended, Now uint64
	// Text in order to the application, and text taken from it.
	BytesIn, BytesOut uint64
	// Segments in with text or FIN, by what became of them; the sum is TextSegments.
	TextSegments, InOrder, Filled, Ahead, Duplicate, NoRoom, Outside, Unread uint64
	// Segments out: SegmentsOut = Acks + with text or FIN (TextOut), of which Resent were sent before.
	SegmentsOut, Acks, TextOut, Resent uint64
	BytesResent                        uint64
	// Recovery: timeouts, probes of the tail, flights in which a loss was found, probes
	// of closed windows, keep-alive probes.
	Timeouts, TailProbes, Recoveries, WindowProbes, KeepAlives     uint64
	DelayedAcks, Challenges                                        uint64
	NoTimestamp, PathMTUs, BlackHoles, SoftErrors, CongestionMarks uint64
	// What the application wanted to write and there was no memory for, in calls.
	WriteNoMemory uint64

	// Gauges: blocks of text in use, the most there were, and all; flows that hold text behind a hole; flows
	// that have something queued or in flight; flows whose timer is armed.
	BlocksInUse, BlocksHigh, Blocks, Holding, Sending, Timers uint64
}

// Counters returns the totals; gauges are as of now.
func (t *Table) Counters() Counters {
	c := t.ctr
	c.BlocksInUse, c.BlocksHigh, c.Blocks = uint64(t.pool.InUse()), uint64(t.pool.HighMark()), uint64(t.pool.Blocks())
	c.Holding, c.Sending = uint64(t.reas.Holding()), uint64(t.senders.inUse())
	c.Timers = uint64(t.wheel.count)
	return c
}

// Add adds o to c, for totals over tables.
func (c *Counters) Add(o *Counters) {
	for _, f := range [...]struct {
		to   *uint64
		from uint64
	}{
		{&c.Opened, o.Opened},
		{&c.Ended, o.Ended},
		{&c.Now, o.Now},
		{&c.BytesIn, o.BytesIn},
		{&c.BytesOut, o.BytesOut},
		{&c.TextSegments, o.TextSegments},
		{&c.InOrder, o.InOrder},
		{&c.Filled, o.Filled},
		{&c.Ahead, o.Ahead},
		{&c.Duplicate, o.Duplicate},
		{&c.NoRoom, o.NoRoom},
		{&c.Outside, o.Outside},
		{&c.Unread, o.Unread},
		{&c.SegmentsOut, o.SegmentsOut},
		{&c.Acks, o.Acks},
		{&c.TextOut, o.TextOut},
		{&c.Resent, o.Resent},
		{&c.BytesResent, o.BytesResent},
		{&c.Timeouts, o.Timeouts},
		{&c.TailProbes, o.TailProbes},
		{&c.Recoveries, o.Recoveries},
		{&c.WindowProbes, o.WindowProbes},
		{&c.KeepAlives, o.KeepAlives},
		{&c.DelayedAcks, o.DelayedAcks},
		{&c.Challenges, o.Challenges},
		{&c.NoTimestamp, o.NoTimestamp},
		{&c.PathMTUs, o.PathMTUs},
		{&c.BlackHoles, o.BlackHoles},
		{&c.SoftErrors, o.SoftErrors},
		{&c.CongestionMarks, o.CongestionMarks},
		{&c.WriteNoMemory, o.WriteNoMemory},

		{&c.BlocksInUse, o.BlocksInUse},
		{&c.BlocksHigh, o.BlocksHigh},
		{&c.Blocks, o.Blocks},
		{&c.Holding, o.Holding},
		{&c.Sending, o.Sending},
		{&c.Timers, o.Timers},
	} {
		*f.to += f.from
	}
}

// Check returns the name of the first equation that does not close, or "".
func (c *Counters) Check() string {
	switch {
	case c.Opened != c.Ended+c.Now:
		return "streams opened = ended + now"
	case c.TextSegments != c.InOrder+c.Filled+c.Ahead+c.Duplicate+c.NoRoom+c.Outside+c.Unread:
		return "segments with text = sum by fate"
	case c.SegmentsOut != c.Acks+c.TextOut:
		return "stream segments out = acks + with text"
	}
	return ""
}
