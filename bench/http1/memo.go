package http1

// memo is the last complete head that a Server or a Client has read. Load generators and
// health checks send the same head over and over, and servers answer with one that changes
// with its Date, once a second: what the same bytes say need not be read again. Whoever has
// a memo keeps the outcome beside it, which must follow from these bytes alone.
type memo struct {
	n    int // bytes; 0: none
	text [maxMemo]byte
}

// maxMemo is the longest head that is remembered, with which comparing is still much cheaper than reading.
const maxMemo = 1 << 10

// begins returns the length of the remembered head if p begins with it, else 0. The head
// has its empty line, so it ends there in p, too.
func (m *memo) begins(p []byte) int {
	if m.n == 0 || len(p) < m.n || string(p[:m.n]) != string(m.text[:m.n]) {
		return 0
	}
	return m.n
}

// learn remembers head instead of another one, or nothing when it is too long.
func (m *memo) learn(head []byte) {
	m.n = 0
	if len(head) <= maxMemo {
		m.n = copy(m.text[:], head)
	}
}

// forget is to be called when the outcome beside m is replaced by one that must not be remembered.
func (m *memo) forget() { m.n = 0 }
