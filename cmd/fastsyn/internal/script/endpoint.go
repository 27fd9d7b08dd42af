package script

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/flow"
	"github.com/fastsyn/fastsyn/dataplane/loop"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

// Endpoint is fastsyn as a Subject: one worker at one end of a loop wire, whose
// rounds the caller drives on a virtual clock. Frames are whole: encoded, sent,
// parsed and summed. It starts at the same instant each time, so a run repeats exactly.
type Endpoint struct {
	w        *worker.Worker
	now      int64
	ring     *cookie.Ring
	own, far dataplane.Port
	rx, tx   *dataplane.Batch
	waiting  [][]byte
	app      uint16
	link     Link
	fam      Family
	side     Side // Bare or Stream
	hold     bool
	flows    map[handshake.FlowID]*appFlow
	accepted []*appFlow
	cur      *appFlow
}

// appFlow is what the application knows of a flow.
type appFlow struct {
	id         handshake.FlowID
	text       []byte
	up, closed bool // established; ended
	peerClosed bool
	why        handshake.CloseReason
}

var _ Subject = (*Endpoint)(nil)

// start is 10 s before the millisecond clock of timestamps and timers wraps,
// so that every script meets that.
const start = int64(400<<32-10_000) * 1e6

// NewEndpoint makes a fastsyn endpoint with the settings of a script, whose flows are
// Bare or streams.
func NewEndpoint(c Settings, side Side, fam Family, link Link) (*Endpoint, error) {
	e := &Endpoint{
		now: start, link: link, fam: fam, side: side, flows: map[handshake.FlowID]*appFlow{},
		rx: dataplane.NewBatch(), tx: dataplane.NewBatch(),
	}
	cfg := handshake.Config{
		MaxFlows: 64, NoTimestamps: c.NoTimestamps, NoSACK: c.NoSACK, NoWScale: c.NoWScale, MSS: c.MSS, MTU: c.MTU, RcvWindow: c.Window,
	}
	if c.Cookies != "" {
		p, err := handshake.ParseCookiePolicy(c.Cookies)
		if err != nil {
			return nil, err
		}
		cfg.Cookies = p
	}
	if c.ECN != "" {
		m, err := handshake.ParseECNMode(c.ECN)
		if err != nil {
			return nil, err
		}
		cfg.ECN = m
	}
	secret, err := cookie.NewSecret([]byte("the scripts' secret, always same"))
	if err != nil {
		return nil, err
	}
	hasher, err := secret.Hasher()
	if err != nil {
		return nil, err
	}
	if e.ring, err = cookie.NewRing(secret, time.Unix(0, e.now), cookie.RingConfig{}); err != nil {
		return nil, err
	}
	bits := [2]int{24, 64}[fam]
	nw, err := worker.NewNet(link.EndpointMAC, []netip.Prefix{netip.PrefixFrom(link.Endpoint[fam].Netip(), bits)}, nil, nil)
	if err != nil {
		return nil, err
	}
	if e.own, e.far, err = loop.Pair(loop.Config{Frames: 128, Ring: 128}); err != nil {
		return nil, err
	}
	e.w, err = worker.New(worker.Config{
		Port: e.own, Net: nw, Engine: cfg, Flow: flowConfig(c), Hasher: hasher, Ring: e.ring, CPU: -1, Clock: func() int64 { return e.now },
	})
	if err != nil {
		return nil, errors.Join(err, e.own.Close(), e.far.Close())
	}
	cb := e.callbacks()
	if c.FastOpen {
		cb.FastOpen = 16
	}
	if e.app, err = e.w.AddApp(cb); err != nil {
		return nil, errors.Join(err, e.Free())
	}
	return e, nil
}

// flowConfig is how streams are set up: as the kernel's are in its namespace, where a flow
// that is young has its text acknowledged at once.
func flowConfig(c Settings) flow.Config {
	f := flow.Config{
		Memory: 8 << 20, AckDelay: -1,
		KeepAliveIdle: time.Second, KeepAliveInterval: time.Second, KeepAliveProbes: 3,
	}
	if c.AckDelay {
		f.AckDelay = 0
	}
	return f
}

func (e *Endpoint) callbacks() worker.Callbacks {
	return worker.Callbacks{
		Bare: e.side == Bare,
		Established: func(f *worker.Flow) {
			a := e.flows[f.ID()]
			if a == nil {
				a = &appFlow{id: f.ID()}
				e.flows[f.ID()] = a
				e.accepted = append(e.accepted, a)
			}
			a.up = true
		},
		Data: func(f *worker.Flow, p []byte) {
			a := e.flows[f.ID()]
			a.text = append(a.text, p...)
			if e.hold {
				f.Hold(len(p))
			}
		},
		PeerClosed: func(f *worker.Flow) { e.flows[f.ID()].peerClosed = true },
		Closed: func(f *worker.Flow, why handshake.CloseReason) {
			a := e.flows[f.ID()]
			a.closed, a.why = true, why
		},
	}
}

// Free returns the memory and the ports.
func (e *Endpoint) Free() error { return errors.Join(e.w.Free(), e.own.Close(), e.far.Close()) }

// Side implements Subject.
func (e *Endpoint) Side() Side { return e.side }

// WallClock implements Subject.
func (e *Endpoint) WallClock() bool { return false }

// settle runs rounds until nothing happens any more, and takes what was sent. A
// round without segments may still have asked for a neighbour, so it takes a few of them.
func (e *Endpoint) settle() error {
	idle := 0
	for range 100 {
		if idle++; e.w.Step() {
			idle = 0
		}
		q := e.far.Queue(0)
		for i := range q.Rx(e.rx) {
			e.waiting = append(e.waiting, append([]byte(nil), e.rx.Data[i]...))
		}
		q.Settle(e.rx)
		if idle == 3 {
			return nil
		}
	}
	return errors.New("the worker is still busy after 100 rounds")
}

// Inject implements Subject.
func (e *Endpoint) Inject(frame []byte) error {
	e.advance(time.Millisecond)
	q := e.far.Queue(0)
	if q.Blank(e.tx, 1) != 1 {
		return errors.New("no frame free on the wire")
	}
	e.tx.Data[0] = append(e.tx.Data[0], frame...)
	e.tx.Verdict[0] = dataplane.Reply
	if q.Settle(e.tx) != 1 {
		return errors.New("the wire did not take the frame")
	}
	return e.settle()
}

// Receive implements Subject. It never waits: what there is was sent already.
func (e *Endpoint) Receive(time.Duration) ([]byte, error) {
	if len(e.waiting) == 0 {
		return nil, nil
	}
	f := e.waiting[0]
	e.waiting = e.waiting[1:]
	return f, nil
}

func (e *Endpoint) advance(d time.Duration) {
	e.now += int64(d)
	e.ring.Advance(time.Unix(0, e.now))
}

// Pass implements Subject, in steps so small that timers fire in their order.
func (e *Endpoint) Pass(d time.Duration) error {
	for d > 0 {
		step := min(d, 10*time.Millisecond)
		d -= step
		e.advance(step)
		if err := e.settle(); err != nil {
			return err
		}
	}
	return nil
}

// State implements Subject.
func (e *Endpoint) State(t wire.Tuple) (string, error) { return e.w.StateOf(&t).String(), nil }

// HalfOpen implements Subject.
func (e *Endpoint) HalfOpen() (int, error) { return int(e.w.Snapshot().Engine.HalfOpen), nil }

// Outcomes implements Subject: what the engine did with segments, and why frames
// did not get so far.
func (e *Endpoint) Outcomes() map[string]uint64 {
	s := e.w.Snapshot()
	m := s.RxDrops
	for i, n := range s.Engine.Outcome {
		if n > 0 {
			m[handshake.Outcome(i).String()] = n
		}
	}
	return m
}

// Check implements Subject: all sums close, nothing panicked and no frame is lost.
func (e *Endpoint) Check() error {
	s := e.w.Snapshot()
	if why := s.Check(); why != "" {
		return fmt.Errorf("does not close: %s", why)
	}
	if s.CallbackPanics > 0 || s.ReplyNoBuffer > 0 || s.Port.NoBlank > 0 || s.Port.TxFull > 0 {
		return fmt.Errorf("panics %d, replies without buffer %d, no blank frames %d, transmit ring full %d",
			s.CallbackPanics, s.ReplyNoBuffer, s.Port.NoBlank, s.Port.TxFull)
	}
	return nil
}
