package bench

import (
	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/fastsyn/fastsyn/dataplane/worker"
)

// Phases split the time of established flows as the timeline of a handshake does.
// Flows whose SYN was repeated are not in it: see Report.Retransmitted.
type Phases struct {
	Wait      Latency `json:"wait"`       // from the intended time to the SYN; empty without a schedule
	SYNACK    Latency `json:"syn_ack"`    // from the SYN to the SYN-ACK
	ACK       Latency `json:"ack"`        // from the SYN-ACK to the ACK handed to the device, within our end
	FirstByte Latency `json:"first_byte"` // from the ACK to the first byte of the peer; empty where nothing is sent
}

// times are the latencies that one worker records of its flows. What the phase syn_ack has is not among
// them: it is service without resent.
type times struct {
	service   *latency // from the SYN to established
	response  *latency // from the intended time to done; nil without a schedule, as wait
	resent    *latency // of service, those whose SYN was repeated
	wait      *latency
	ack       *latency
	firstByte *latency // nil where nothing is sent
	failed    *latency // how long those were tried that are not done

	handed uint64 // established when Poll was called last
	repeat int64  // resent then
	skip   int    // bursts until ack is sampled
}

func newTimes() times {
	return times{service: newLatency(), resent: newLatency(), ack: newLatency(), failed: newLatency()}
}

// ackSampling is of how many bursts with SYN-ACKs one is timed: reading the clock takes about as long as a tenth of a
// handshake.
const ackSampling = 16

// handedOver is called behind a burst with SYN-ACKs, when the ACKs are with the device. The clock of the
// burst was read before it was received.
func (c *client) handedOver(w *worker.Worker, now int64) {
	n, resent := c.ctr.established-c.handed, c.resent.count()-c.repeat
	c.handed, c.repeat = c.ctr.established, c.resent.count()
	if c.skip--; c.skip > 0 {
		return
	}
	c.skip = ackSampling
	c.ack.recordN(w.Clock()-now, int64(n)-resent)
}

// phases are those of all clients, and what else is told of their flows.
func (rep *Report) phases(all []*times) {
	sum := func(of func(*times) *latency) *hdrhistogram.Histogram {
		h := newLatency().h
		for _, t := range all {
			if l := of(t); l != nil {
				l.copyTo(h)
			}
		}
		return h
	}
	service, resent := sum(func(t *times) *latency { return t.service }), sum(func(t *times) *latency { return t.resent })
	rep.Latency = rep.latency("latency", service)
	rep.Response = rep.latency("response", sum(func(t *times) *latency { return t.response }))
	rep.Retransmitted = rep.latency("retransmitted", resent)
	rep.Phases = Phases{
		Wait:      rep.latency("phases.wait", sum(func(t *times) *latency { return t.wait })),
		SYNACK:    rep.latency("phases.syn_ack", since(service, resent)),
		ACK:       rep.latency("phases.ack", sum(func(t *times) *latency { return t.ack })),
		FirstByte: rep.latency("phases.first_byte", sum(func(t *times) *latency { return t.firstByte })),
	}
}
