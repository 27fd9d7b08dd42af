package bench

import (
	"bytes"
	"fmt"
)

// Balance sets a counter of ours beside one that the device keeps of the same thing.
type Balance struct {
	What       string `json:"what"`       // client or server, and what is counted
	Ours       uint64 `json:"ours"`       // frames
	Counter    string `json:"counter"`    // the device's name of its own
	Device     uint64 `json:"device"`     // what it says
	Difference int64  `json:"difference"` // device - ours
	Why        string `json:"why"`        // what the difference is made of; empty if there is none
}

// counterPair is something that both we and a device count, and what it means if the device has more, or less.
type counterPair struct {
	what       string
	name       string // the device's
	ours       func(*traffic) uint64
	more, less string
}

// ofInterfaces are the counters of the kernel's interfaces, ofDPDK the basic ones in the extended statistics of DPDK.
var (
	ofInterfaces = []counterPair{
		{
			"frames received", "rx_packets", func(t *traffic) uint64 { return t.device.RxFrames + t.own.RxMissed },
			"frames for the kernel, or for others, that our socket does not take", "frames that the interface had not counted yet, or not as its own",
		},
		{
			"frames sent", "tx_packets", (*traffic).onDevice,
			"frames that the kernel or others sent", "frames that the driver, or its queue, took from us and did not send, or had not counted yet",
		},
	}
	ofDPDK = []counterPair{
		{
			"frames received", "rx_good_packets", func(t *traffic) uint64 { return t.device.RxFrames },
			"frames that were in the ring when the run ended, or too long for a buffer", "frames that the device had not counted yet",
		},
		{
			"frames sent", "tx_good_packets", (*traffic).onDevice,
			"frames that the device sent on its own", "frames in its ring that were not sent when it was asked, or not counted yet",
		},
	}
)

// onDevice are the frames that the device took, less those it refused then.
func (t *traffic) onDevice() uint64 {
	return t.device.TxFrames - min(t.device.TxErrors, t.device.TxFrames)
}

// reconcile compares what an end has counted with what its device says.
func (t *traffic) reconcile(end string, device map[string]uint64) []Balance {
	var out []Balance
	for _, list := range [][]counterPair{ofInterfaces, ofDPDK} {
		if _, known := device[list[0].name]; !known { // zeros are left out
			if _, known = device[list[1].name]; !known {
				continue
			}
		}
		for _, p := range list {
			b := Balance{What: fmt.Sprintf("%s: %s", end, p.what), Ours: p.ours(t), Counter: p.name, Device: device[p.name]}
			switch b.Difference = int64(b.Device - b.Ours); {
			case b.Difference > 0:
				b.Why = p.more
			case b.Difference < 0:
				b.Why = p.less
			}
			out = append(out, b)
		}
	}
	return out
}

// textReconciled is a line for each counter that the device has otherwise than we.
func (r *Report) textReconciled(b *bytes.Buffer) {
	same := 0
	for i := range r.Reconciled {
		x := &r.Reconciled[i]
		if x.Difference == 0 {
			same++
			continue
		}
		line(b, "reconciled", "%s: %s by our count, %s by %s of the device: %s are %s", x.What, count(x.Ours), count(x.Device), x.Counter,
			count(max(x.Ours, x.Device)-min(x.Ours, x.Device)), x.Why)
	}
	if same > 0 {
		line(b, "reconciled", "%s of the device and ours are the same", plural(same, "counter"))
	}
}
