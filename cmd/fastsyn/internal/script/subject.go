package script

import (
	"time"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// How a flow or an attempt stands for the application: Subject.Progress.
const (
	Connecting     = "connecting"
	Open           = "open"
	EOF            = "eof" // the peer closed and everything was read
	ErrRefused     = "refused"
	ErrReset       = "reset"
	ErrTimedOut    = "timed-out"
	ErrUnreachable = "unreachable"
)

// States are the names that the step "state" takes: those of RFC 9293 §3.3.2.
var States = []string{
	"CLOSED", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2",
	"CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT",
}

// Subject is an endpoint under test at the other end of a Link, with one family
// and one application. It belongs to one goroutine. Whatever an injected frame
// causes at once has happened when Inject returns.
type Subject interface {
	// Side says which lines of a script are for it.
	Side() Side
	// WallClock says that time passes by itself: answers may need patience, and
	// a retransmission can come without having been waited for.
	WallClock() bool
	// Inject hands it one Ethernet frame.
	Inject(frame []byte) error
	// Receive returns the next frame it sent, nil when there is none within patience.
	Receive(patience time.Duration) ([]byte, error)
	// Pass lets d go by on the clock of the subject, if that can be done.
	Pass(d time.Duration) error

	// Listen has the application accept on a port.
	Listen(port uint16) error
	// Unlisten has it accept no more there.
	Unlisten(port uint16) error
	// Connect starts an open from port local to port remote of the peer; that is the current flow.
	Connect(local, remote uint16) error
	// Accept makes the next accepted flow the current one, false if there is none.
	Accept() (bool, error)
	// Progress is how the current flow stands: a constant above.
	Progress() (string, error)
	// Send writes text.
	Send(p []byte) error
	// Read takes at most n bytes of text, without waiting.
	Read(n int) ([]byte, error)
	// Hold has the application be slow from now on: what comes stays in its receive
	// buffer until it is read.
	Hold() error
	// KeepAlive has the current flow probed when its peer is silent: after a second, three
	// times, a second apart.
	KeepAlive() error
	// UserTimeout bounds how long text goes without an answer.
	UserTimeout(d time.Duration) error
	// Nagle holds back what does not fill a segment while something is in flight. Without
	// this nothing is held back.
	Nagle() error
	// Close closes both directions, Shutdown ours alone, Abort resets.
	Close() error
	Shutdown() error
	Abort() error

	// State returns the state of a tuple, seen from the subject.
	State(t wire.Tuple) (string, error)
	// HalfOpen counts passive opens not completed.
	HalfOpen() (int, error)
	// Outcomes are counters by what became of a received segment; nil: it has none.
	Outcomes() map[string]uint64
	// Check looks for what must hold at the end of any run.
	Check() error
}
