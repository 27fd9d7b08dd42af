package bench

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

// DefaultVisits is how many visits of a fastopen run are under way, per worker: few, since it is about time.
const DefaultVisits = 4

// A visit opens a connection, sends text, waits for the first byte of an answer and closes. The three
// kinds differ in when the text may go.
const (
	visitFirst    = iota // a Fast Open cookie is asked for, and the text goes with the handshake's ACK
	visitRepeat          // the text is on the SYN
	visitOrdinary        // without Fast Open: the text goes with the handshake's ACK
	numVisits
)

// visitor makes visits on one worker, from one address: a round of each kind after the other, with as many visits as
// may be under way. A round begins when the one before has ended, so that the cookie that a first visit
// brought is there for the repeat visits, and those of all kinds meet the same server.
type visitor struct {
	client
	kind  int
	left  int     // visits of the round that are not opened yet
	of    []uint8 // kind by flow index
	state []uint8 // by flow index, as follows
	tally [numVisits]visitTally
	reply *latency // from the SYN to the first byte, of all
	own   bool     // the server is ours: it sends back what it got
}

// What a visit has behind it.
const (
	visitUp      = 1 << iota // established
	visitReplied             // the first byte came
)

// visitTally: attempted = replied + failed + undecided.
type visitTally struct {
	attempted, established, replied, failed, taken, bad uint64
	connect, firstByte                                  *latency // from the SYN
}

func newVisitor(j *job, id int, t *tuples, flows int, own bool) *visitor {
	v := &visitor{client: *newClient(j, id, t), kind: visitOrdinary, of: make([]uint8, flows+1), state: make([]uint8, flows+1), reply: newLatency(), own: own}
	for i := range v.tally {
		v.tally[i].connect, v.tally[i].firstByte = newLatency(), newLatency()
	}
	v.firstByte = newLatency()
	v.calls = worker.Callbacks{Bare: true, Established: v.established, Data: v.data, Closed: v.closed, AutoClose: true}
	v.opens = v.visit
	return v
}

// visit opens up to n visits of the round.
func (v *visitor) visit(w *worker.Worker, now int64, n int) (next int64) {
	if v.left == 0 {
		if v.inflight > 0 {
			return worker.Never
		}
		v.kind, v.left = (v.kind+1)%numVisits, v.limit
	}
	n = min(n, v.left)
	for tries := n * portTries; n > 0 && tries > 0; tries-- {
		t := v.tuples.next()
		var id handshake.FlowID
		var err error
		switch v.kind {
		case visitFirst:
			w.ForgetFastOpen(t)
			id, err = w.ConnectText(t, v.app, fastText)
		case visitRepeat:
			id, err = w.ConnectText(t, v.app, fastText)
		case visitOrdinary:
			id, err = w.Connect(t, v.app)
		}
		switch {
		case err == nil:
			v.of[id.Index()], v.state[id.Index()] = uint8(v.kind), 0
			v.tally[v.kind].attempted++
			v.opened(now, id)
			v.left--
			n--
		case errors.Is(err, handshake.ErrTupleInUse):
			v.misses++
		case errors.Is(err, handshake.ErrOutputFull):
			return now
		case errors.Is(err, handshake.ErrTableFull), errors.Is(err, worker.ErrNoText):
			v.ctr.tableFull++
			return now + poolRetry
		default:
			v.abandon(fmt.Errorf("bench: connect to %v port %d: %w", v.job.remote, v.job.port, err), now)
			return worker.Never
		}
	}
	return v.lapped(now)
}

func (v *visitor) established(f *worker.Flow) {
	i := f.ID().Index()
	t := &v.tally[v.of[i]]
	v.state[i] |= visitUp
	t.established++
	t.connect.record(v.record(f))
	if f.Info().FastOpen {
		t.taken++
	}
	if v.of[i] == visitOrdinary {
		f.Reply(fastText, false)
	}
}

// data is the answer: its first byte ends the visit.
func (v *visitor) data(f *worker.Flow, p []byte) {
	i := f.ID().Index()
	if v.state[i]&visitReplied != 0 {
		return
	}
	v.state[i] |= visitReplied
	t, age := &v.tally[v.of[i]], int64(f.Age())
	if v.own && !bytes.Equal(p, fastText) {
		t.bad++
	}
	t.replied++
	t.firstByte.record(age)
	v.reply.record(age)
	f.Close()
}

func (v *visitor) closed(f *worker.Flow, _ handshake.CloseReason) {
	i := f.ID().Index()
	v.inflight--
	v.ctr.closed++
	if v.state[i]&visitReplied == 0 {
		v.tally[v.of[i]].failed++
		v.fail(f)
	}
	v.state[i] = 0
}

func (v *visitor) progress() (done, failed, inflight uint64, lat *latency) {
	var attempted uint64
	for i := range v.tally {
		t := &v.tally[i]
		attempted, done, failed = attempted+t.attempted, done+t.replied, failed+t.failed
	}
	return done, failed, attempted - done - failed, v.reply
}

func (v *visitor) decided() *latency { return v.reply }

func (v *visitor) undecided(f *worker.Flow) bool {
	i := f.ID().Index()
	return v.client.undecided(f) || f.Active() && v.state[i] == visitUp
}

func (v *visitor) latencies(put func(name string, l *latency)) {
	put("first_byte", v.reply)
	v.client.latencies(put)
}

func (r *run) makeVisitors(c *fastsyn.Config, info dataplane.Info) error {
	picker, err := newPicker(info, r.cfg.portRanges...)
	if err != nil {
		return err
	}
	c.Engine.FastOpenCache = 16 // one address of ours, one of the server's
	for i := range r.cfg.Workers {
		t, err := newTuples(picker, sources(r.cfg.Addrs, r.cfg.Pools, r.job.remote).one(), r.job.remote, r.job.port, i, r.cfg.Seed)
		if err != nil {
			return err
		}
		r.gens = append(r.gens, newVisitor(r.job, i, t, c.Engine.MaxFlows, r.server != nil))
	}
	c.Source = func(i int) fastsyn.Source { return r.gens[i].(*visitor) }
	return nil
}

// serveVisits is our server: it sends back what came, and closes.
func (r *run) serveVisits(c *fastsyn.Config) fastsyn.Callbacks {
	r.timeWait(c)
	return fastsyn.Callbacks{
		Bare: true, AutoClose: false, FastOpen: min(handshake.MaxFastOpen, c.Engine.MaxFlows),
		Data:       func(f *fastsyn.Flow, p []byte) { f.Reply(p[:min(len(p), f.Room())], true) },
		PeerClosed: func(f *fastsyn.Flow) { f.Close() },
	}
}

// visitSettings checks what only a fastopen run has.
func (c *Config) visitSettings() error {
	switch {
	case c.Close != CloseFIN:
		return flagError("close", c.Close, "visits are closed by FIN", "leave it out")
	case c.Rate != 0 || c.Load != "":
		flag, value := "rate", any(c.Rate)
		if c.Load != "" {
			flag, value = "load", c.Load
		}
		return flagError(flag, value, "visits come in rounds: first, repeat, ordinary, each when the one before has ended", "use --concurrency, or leave it out")
	case c.Cookies == "always" && c.Connect == "":
		return flagError("cookies", c.Cookies, "who keeps nothing of a SYN takes no text from it", "use pressure or never")
	}
	return nil
}
