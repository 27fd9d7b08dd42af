package bench

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/worker"
)

// ReflectSchema names the JSON form of ReflectReport; docs/report.md describes it.
const ReflectSchema = "fastsyn.reflect/v1"

// ReflectConfig describes a reflector: every queue of a port answers each frame
// with itself, Ethernet addresses swapped. Field comments name the flag of the command.
type ReflectConfig struct {
	Port    string         // port string. --port
	Device  dataplane.Port // an opened port, in place of Port; Reflect closes it
	Pin     string         // as in Config. --pin
	Polling string         // as in Config. --polling
	// Ready, if not nil, is called once frames are answered.
	Ready func(dataplane.Info)
}

// ReflectProgress is the state of a reflector, once a second.
type ReflectProgress struct {
	Elapsed    time.Duration
	ReceivedPS float64 // frames per second since the last one
	Received   uint64
	Reflected  uint64
	NotSent    uint64
	Dropped    uint64
}

// ReflectReport is the outcome of Reflect: received = reflected + not_sent + dropped.
type ReflectReport struct {
	Schema        string  `json:"schema"`
	Valid         bool    `json:"valid"`
	InvalidReason string  `json:"invalid_reason"`
	Port          string  `json:"port"`
	MAC           string  `json:"mac"`
	Queues        int     `json:"queues"`
	Polling       string  `json:"polling"`
	Pinned        bool    `json:"pinned"`
	DurationS     float64 `json:"duration_s"`

	Received  uint64 `json:"received"`
	Reflected uint64 `json:"reflected"`
	NotSent   uint64 `json:"not_sent"` // the transmit ring was full, or the device refused it
	Dropped   uint64 `json:"dropped"`  // not answered, by reason in Drops
	// MeanPerS is Reflected by DurationS, BestPerS the most in a whole second.
	MeanPerS float64 `json:"mean_per_s"`
	BestPerS float64 `json:"best_per_s"`
	// Burst is the mean number of frames received at once, up to 64.
	Burst    float64           `json:"burst"`
	PerQueue []uint64          `json:"received_per_queue"`
	PortJSON map[string]uint64 `json:"counters"`
	Drops    map[string]uint64 `json:"drops"`
	Device   map[string]uint64 `json:"device"`

	Equations []Equation `json:"equations"`
	Host      Host       `json:"host"`
}

// Reflect answers frames until ctx ends or the device fails. progress, if not
// nil, is called once a second from this goroutine. An error comes without a
// report when there was nothing to report.
func Reflect(ctx context.Context, cfg ReflectConfig, progress func(ReflectProgress)) (*ReflectReport, error) {
	cfg.Pin, cfg.Polling = cmp.Or(cfg.Pin, "auto"), cmp.Or(cfg.Polling, "auto")
	if err := errors.Join(choice("pin", cfg.Pin, "auto", "off"), choice("polling", cfg.Polling, "auto", "busy", "adaptive")); err != nil {
		return nil, err
	}
	port := cfg.Device
	if port == nil {
		var err error
		if port, err = dataplane.Open(cfg.Port); err != nil {
			return nil, fmt.Errorf("bench: %w", err)
		}
	}
	info := port.Info()
	allowed := worker.AllowedCPUs()
	free := slices.Clone(allowed)
	slices.Reverse(free) // the first one has the interrupts
	at := place(&Config{Pin: cfg.Pin, Polling: cfg.Polling}, [][]int{info.CPUs}, free, info.Queues)
	rep := &ReflectReport{
		Schema: ReflectSchema, Port: cfg.Port, MAC: info.MAC.String(), Queues: info.Queues, Polling: "adaptive", Pinned: at.pinned,
		Host: thisHost(allowed),
	}
	rep.Host.NIC = nicOf(port)
	if at.busy {
		rep.Polling = "busy"
	}
	// Threads that never block must not take the processors of the others.
	if n := runtime.GOMAXPROCS(0); n < info.Queues+2 {
		runtime.GOMAXPROCS(info.Queues + 2)
		defer runtime.GOMAXPROCS(n)
	}
	refl, p := startReflectors("reflector", port, at.on[0], at.busy)
	if cfg.Ready != nil {
		cfg.Ready(info)
	}
	rep.watch(ctx, refl, p, progress)
	p.Stop()
	rep.fill(refl, p)
	return rep, errors.Join(p.Err(), p.Close())
}

// startReflectors runs a reflector on each queue of port.
func startReflectors(role string, port dataplane.Port, cpus []int, busy bool) ([]*reflector, *pollers) {
	all := make([]*reflector, port.Info().Queues)
	p := startPollers(role, port, cpus, busy, func(i int) station {
		all[i] = newReflector(port.Queue(i))
		return all[i]
	})
	return all, p
}

// watch waits for the end and takes the time.
func (rep *ReflectReport) watch(ctx context.Context, refl []*reflector, p *pollers, progress func(ReflectProgress)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_ = p.Wait(ctx) // the error is asked for when all have stopped
		cancel()
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	begin := time.Now()
	var last ReflectProgress
	for {
		select {
		case <-ctx.Done():
			rep.DurationS = time.Since(begin).Seconds()
			return
		case <-tick.C:
			now := ReflectProgress{Elapsed: time.Since(begin)}
			for i, r := range refl {
				_ = p.Do(i, func() {
					now.Received += p.all[i].frames
					now.Reflected += r.sent
					now.NotSent += r.full
					for _, n := range r.drops {
						now.Dropped += n
					}
				})
			}
			if d := (now.Elapsed - last.Elapsed).Seconds(); d > 0 && now.Received >= last.Received {
				now.ReceivedPS = float64(now.Received-last.Received) / d
				rep.BestPerS = max(rep.BestPerS, float64(now.Reflected-last.Reflected)/d)
			}
			last = now
			if progress != nil {
				progress(now)
			}
		}
	}
}

// fill reads the counters of pollers that have ended.
func (rep *ReflectReport) fill(refl []*reflector, p *pollers) {
	s := newSide(p.Stats(), p.port)
	rep.PortJSON, rep.Drops, rep.Device = portMap(&s.Port), s.Drops, s.Device
	var bursts uint64
	for i, r := range refl {
		one := p.all[i]
		rep.Received += one.frames
		rep.PerQueue = append(rep.PerQueue, one.frames)
		bursts += one.bursts
		rep.Reflected += r.sent
		rep.NotSent += r.full
		for _, n := range r.drops {
			rep.Dropped += n
		}
	}
	if bursts > 0 {
		rep.Burst = float64(rep.Received) / float64(bursts)
	}
	if rep.DurationS > 0 {
		rep.MeanPerS = float64(rep.Reflected) / rep.DurationS
	}
	eq := func(name string, left, right uint64) {
		rep.Equations = append(rep.Equations, Equation{name, left, right, left == right})
	}
	eq("received = reflected + not sent + dropped", rep.Received, rep.Reflected+rep.NotSent+rep.Dropped)
	eq("received = lent by the port", rep.Received, s.Port.RxFrames)
	eq("reflected = sent by the port", rep.Reflected, s.Port.TxFrames)
	eq("reflected + not sent = sent by the port + transmit ring full + refused by the device", rep.Reflected+rep.NotSent, settled(&s.Port, rep.Reflected+rep.NotSent))
	rep.Valid, rep.InvalidReason = judge(rep.Equations)
}

// WriteJSON writes the report, indented.
func (rep *ReflectReport) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(rep)
}

// WriteText writes the report for people.
func (rep *ReflectReport) WriteText(w io.Writer) error {
	var b bytes.Buffer
	line(&b, "port", "%s (%s), %s, %s polling", rep.Port, rep.MAC, plural(rep.Queues, "queue"), rep.Polling)
	line(&b, "time", "%.1f s", rep.DurationS)
	line(&b, "rate", "%s frames/s on average, %s in the best second", number(rep.MeanPerS), number(rep.BestPerS))
	line(&b, "frames", "%s received = %s reflected + %s not sent + %s dropped", count(rep.Received), count(rep.Reflected), count(rep.NotSent), count(rep.Dropped))
	if rep.Queues > 1 {
		line(&b, "queues", "%s", counts(rep.PerQueue))
	}
	line(&b, "bursts", "of %.1f", rep.Burst)
	line(&b, "drops", "%s", cmp.Or(nonZero(rep.Drops), "none"))
	if s := nonZero(rep.Device); s != "" {
		line(&b, "device", "%s", s)
	}
	writeVerdict(&b, rep.Equations, rep.Valid, rep.InvalidReason)
	_, err := w.Write(b.Bytes())
	return err
}

// String is the line of a progress display.
func (p ReflectProgress) String() string {
	return fmt.Sprintf("%6.1fs  %12s/s  received %-14s reflected %-14s not sent %-9s dropped %s", p.Elapsed.Seconds(), number(p.ReceivedPS),
		count(p.Received), count(p.Reflected), count(p.NotSent), count(p.Dropped))
}
