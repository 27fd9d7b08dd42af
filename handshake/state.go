package handshake

// State is a connection state of RFC 9293 §3.3.2. LISTEN and CLOSED have no
// record, so they only appear in reports.
type State uint8

// The states. The zero value is invalid: a record that was never used.
const (
	StateInvalid State = iota
	Closed
	Listen
	SynSent
	SynRcvd
	Established
	FinWait1
	FinWait2
	CloseWait
	Closing
	LastAck
	TimeWait
	numStates
)

var stateNames = [numStates]string{
	"INVALID", "CLOSED", "LISTEN", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED",
	"FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT",
}

// String returns the RFC's name of the state.
func (s State) String() string {
	if s < numStates {
		return stateNames[s]
	}
	return "INVALID"
}
