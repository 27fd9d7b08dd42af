package impair

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/fastsyn/fastsyn/dataplane"
)

// Port decorates a port. Its queues follow the contract of dataplane.Queue.
type Port struct {
	inner  dataplane.Port
	c      Config
	start  time.Time
	queues []*queue
	cap    *capture // nil: no capture
	closed bool
}

var (
	_ dataplane.Port         = (*Port)(nil)
	_ dataplane.DropReporter = (*Port)(nil)
)

// New puts c in front of inner, which it owns from then on: Close closes it.
// On an error inner is left as it is.
func New(inner dataplane.Port, c Config) (*Port, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	p := &Port{inner: inner, c: c, start: c.Now()}
	if c.Pcap != "" {
		var err error
		if p.cap, err = newCapture(c.Pcap); err != nil {
			return nil, err
		}
	}
	for i := range inner.Info().Queues {
		p.queues = append(p.queues, newQueue(p, i))
	}
	return p, nil
}

// Info implements dataplane.Port: that of the decorated port.
func (p *Port) Info() dataplane.Info { return p.inner.Info() }

// Queue implements dataplane.Port.
func (p *Port) Queue(i int) dataplane.Queue { return p.queues[i] }

// Unwrap returns the decorated port, for its counters and its driver's own methods.
func (p *Port) Unwrap() dataplane.Port { return p.inner }

// Stats implements dataplane.Port; the package comment says how impaired frames count.
func (p *Port) Stats(i int) dataplane.Stats {
	below, own := p.inner.Stats(i), &p.queues[i].pub
	return dataplane.Stats{
		RxFrames: own.rxFrames.Load(),
		RxBytes:  own.rxBytes.Load(),
		TxFrames: own.txFrames.Load(),
		TxBytes:  own.txBytes.Load(),
		TxFull:   own.txFull.Load(),
		TxErrors: below.TxErrors,
		RxMissed: below.RxMissed,
		NoBlank:  own.noBlank.Load(),
	}
}

// Impaired returns what was done to the frames of queue i, as last published
// (once per burst). Safe from any goroutine.
func (p *Port) Impaired(i int) Counts {
	var c Counts
	if l := p.queues[i].tx; l != nil {
		c.Tx = l.pub.load()
	}
	if l := p.queues[i].rx; l != nil {
		c.Rx = l.pub.load()
	}
	return c
}

// LinkUps implements dataplane.LinkCounter: those of the decorated port.
func (p *Port) LinkUps() uint64 {
	if l, ok := p.inner.(dataplane.LinkCounter); ok {
		return l.LinkUps()
	}
	return 0
}

// Drops implements dataplane.DropReporter. Nested decorators of this kind add up.
func (p *Port) Drops(i int) map[string]uint64 {
	m := map[string]uint64{}
	if d, ok := p.inner.(dataplane.DropReporter); ok {
		maps.Copy(m, d.Drops(i))
	}
	c := p.Impaired(i)
	m["impair_tx_lost"] += c.Tx.Lost
	m["impair_tx_store_full"] += c.Tx.StoreFull
	m["impair_tx_unsent"] += c.Tx.Unsent
	m["impair_rx_lost"] += c.Rx.Lost
	m["impair_rx_store_full"] += c.Rx.StoreFull
	m["impair_rx_unsent"] += c.Rx.Unsent
	return m
}

// CaptureErr returns why the capture ended early, nil if it did not. Safe from any goroutine.
func (p *Port) CaptureErr() error {
	if p.cap == nil {
		return nil
	}
	return p.cap.failure()
}

// Close implements dataplane.Port: it discards held frames (Unsent), finishes
// the capture and closes the decorated port. It also reports a failed capture.
func (p *Port) Close() error {
	if p.closed {
		return nil
	}
	p.closed = true
	for _, q := range p.queues {
		q.close()
	}
	var err error
	if p.cap != nil {
		err = p.cap.close()
	}
	if e := p.inner.Close(); e != nil {
		err = errors.Join(err, fmt.Errorf("impair: closing the port below: %w", e))
	}
	return err
}

// now is ns since the port was made, by its clock.
func (p *Port) now() int64 { return int64(p.c.Now().Sub(p.start)) }

func (p *Port) flush() {
	if p.cap != nil {
		p.cap.flush()
	}
}

// capture records the first n frames of b; of transmitted ones those with verdict Reply.
func (p *Port) capture(b *dataplane.Batch, n int, tx bool) {
	if p.cap != nil && n > 0 {
		p.cap.write(b, n, tx, p.c.Now())
	}
}
