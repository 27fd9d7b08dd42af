package lab

import (
	"sync"
	"time"

	"github.com/fastsyn/fastsyn"
)

// app is what fastsyn's end of the connections does: it answers each text by reply, if that
// is not empty, and remembers what happened.
type app struct {
	reply    string
	again    []string // sent after each text that comes, in turn
	fastOpen int

	id         uint16 // once registered
	registered bool

	mu     sync.Mutex
	infos  []fastsyn.Info
	flows  []fastsyn.FlowID
	closed []fastsyn.CloseReason
	ended  time.Time // the last Closed
	texts  []arrival
}

// arrival is text that came.
type arrival struct {
	at   time.Time
	text string
}

func (a *app) callbacks() fastsyn.Callbacks {
	return fastsyn.Callbacks{
		FastOpen: a.fastOpen,
		Established: func(f *fastsyn.Flow) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.infos, a.flows = append(a.infos, f.Info()), append(a.flows, f.ID())
		},
		Data: func(f *fastsyn.Flow, p []byte) {
			a.mu.Lock()
			a.texts = append(a.texts, arrival{time.Now(), string(p)})
			answer := a.reply
			if len(a.again) > 0 {
				answer, a.again = a.again[0], a.again[1:]
			}
			a.mu.Unlock()
			if answer != "" {
				f.Write([]byte(answer))
			}
		},
		Closed: func(_ *fastsyn.Flow, why fastsyn.CloseReason) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.closed, a.ended = append(a.closed, why), time.Now()
		},
	}
}

// open is how many connections were established.
func (a *app) open() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.infos)
}

// last returns the facts of the latest handshake; zero if there is none.
func (a *app) last() (i fastsyn.Info) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.infos); n > 0 {
		i = a.infos[n-1]
	}
	return i
}

// flow names the latest connection.
func (a *app) flow() (id fastsyn.FlowID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.flows); n > 0 {
		id = a.flows[n-1]
	}
	return id
}

// end returns how the latest flow or attempt ended.
func (a *app) end() (why fastsyn.CloseReason, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.closed); n > 0 {
		why = a.closed[n-1]
	}
	return why, a.ended
}

// text returns the text that has come, in one piece.
func (a *app) text() (s string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.texts {
		s += t.text
	}
	return s
}
