package http1

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// testTime is 1994-11-06 08:49:37 UTC, the example of RFC 9110 section 5.6.7.
const testTime = 784111777

// fake is a Stream with room for so many bytes at a time.
type fake struct {
	out     []byte
	room    int // for Write; statics go whole or, with noStatic, not at all
	static  int // bytes that came by WriteStatic
	held    int
	short   bool // a Write was short
	closed  bool
	aborted bool
	refuse  bool // WriteStatic takes nothing
	value   any
}

func (f *fake) Write(p []byte) int {
	if f.closed || f.aborted {
		return 0
	}
	n := min(len(p), f.room)
	f.room -= n
	f.out = append(f.out, p[:n]...)
	f.short = f.short || n < len(p)
	return n
}

func (f *fake) WriteStatic(p []byte) bool {
	if f.refuse || f.closed || f.aborted {
		return false
	}
	f.out = append(f.out, p...)
	f.static += len(p)
	return true
}
func (f *fake) Close()         { f.closed = true }
func (f *fake) Abort()         { f.aborted = true }
func (f *fake) Hold(n int)     { f.held += n }
func (f *fake) Consumed(n int) { f.held -= n }
func (f *fake) SetValue(v any) { f.value = v }
func (f *fake) Value() any     { return f.value }

func testServer(site *Site) *Server {
	s := NewServer(site, Limits{})
	s.Tick(testTime)
	return s
}

// feed plays a connection: pieces of text, then the peer's FIN when fin is set, then its end.
func feed(t *testing.T, s *Server, f *fake, fin bool, pieces ...[]byte) {
	t.Helper()
	if f.room == 0 {
		f.room = 1 << 30
	}
	for _, p := range pieces {
		p = bytes.Clone(p)
		s.Data(f, p)
		for i := range p { // the frame is the device's again
			p[i] = 0xdb
		}
		if f.aborted {
			return
		}
	}
	if fin {
		s.PeerClosed(f)
	}
}

// end is the end of a connection: nothing is left behind.
func end(t *testing.T, s *Server, f *fake) {
	t.Helper()
	if !f.aborted {
		s.Closed(f)
	}
	require.Nil(t, f.value)
	require.NoError(t, s.Check(0))
	require.Equal(t, 0, inUse(s), "buffers in use")
}

// inUse is how many bytes of buffers are neither free nor unmade.
func inUse(s *Server) int {
	n := s.limits.Memory - s.mem.left
	for _, l := range s.mem.free {
		for _, p := range l {
			n -= cap(p)
		}
	}
	return n
}

// pieces cuts p into pieces of n bytes.
func pieces(p []byte, n int) (out [][]byte) {
	for len(p) > n {
		out, p = append(out, p[:n]), p[n:]
	}
	return append(out, p)
}
