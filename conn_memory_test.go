package fastsyn_test

import (
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
)

// received is the text that the server's workers have given to Conns.
func (w *world) received() (n uint64) {
	for _, s := range w.server.Stats() {
		n += s.Streams.BytesIn
	}
	return n
}

// steady waits until nothing more is received, and returns how much was.
func (w *world) steady() uint64 {
	n := w.received()
	for calm := 0; calm < 20; calm++ {
		time.Sleep(5 * time.Millisecond)
		if k := w.received(); k != n {
			n, calm = k, 0
		}
	}
	return n
}

// fill has c write until nothing is taken any more.
func fill(t *testing.T, c *fastsyn.Conn) (total int) {
	t.Helper()
	for {
		require.NoError(t, c.SetWriteDeadline(time.Now().Add(100*time.Millisecond)))
		n, err := c.Write(make([]byte, 1<<20))
		total += n
		if err != nil {
			requireOp(t, err, "write", c, os.ErrDeadlineExceeded)
			if n == 0 {
				return total
			}
		}
	}
}

// Who does not read holds a window of text and no more, and its peer waits. When it
// reads, all comes.
func TestConnSlowReaderHoldsAWindow(t *testing.T) {
	const window = 100_000
	w := newWorld(t, "", func(server, client *fastsyn.Config) {
		server.Engine.RcvWindow = window
		client.Flow.SendBuffer = 64 << 10
	})
	a, d := w.pair(w.listen())
	for range 3 {
		total := fill(t, d)
		before := w.steady()
		require.NoError(t, d.SetWriteDeadline(time.Time{}))
		got := 0
		for p := make([]byte, 7000); got < total; {
			n, err := a.Read(p)
			require.NoError(t, err)
			got += n
			// What is unread never exceeds the window, rounded as its scale has it.
			require.LessOrEqual(t, int(w.received())-int(before)-got, 2*window)
		}
		require.Equal(t, total, got)
	}
	n := fill(t, d)
	require.LessOrEqual(t, n, window+64<<10+64<<10+8192, "a window, and two send buffers")
	require.GreaterOrEqual(t, n, window)
	require.NoError(t, a.Close())
	require.NoError(t, d.Close())
	w.quiet()
}

// readAll reads n bytes.
func readAll(t *testing.T, c *fastsyn.Conn, n int) {
	t.Helper()
	k, err := io.CopyN(io.Discard, struct{ io.Reader }{c}, int64(n))
	require.NoError(t, err)
	require.EqualValues(t, n, k)
}

// Who has read nothing yet is sent the first window only, and who has is sent no more than that
// while others hold too much that is unread. All comes in the end.
func TestConnReadMemory(t *testing.T) {
	const memory, first = 200_000, 64 << 10
	w := newWorld(t, "", func(server, _ *fastsyn.Config) { server.ReadMemory = memory })
	ln := w.listen()
	// stuffed is how much comes while a does not read, all of which it reads then.
	stuffed := func(a, d *fastsyn.Conn) int {
		before := w.steady()
		total := fill(t, d)
		n := int(w.steady() - before)
		readAll(t, a, total)
		return n
	}
	idle, toIdle := w.pair(ln)
	require.LessOrEqual(t, stuffed(idle, toIdle), first)
	a, d := w.pair(ln)
	require.LessOrEqual(t, stuffed(a, d), first)
	require.Greater(t, stuffed(a, d), 3*first)

	left := fill(t, toIdle)
	require.Greater(t, w.steady(), uint64(memory))
	for range 3 {
		stuffed(a, d) // what was promised before may come
		require.LessOrEqual(t, stuffed(a, d), first)
	}
	readAll(t, idle, left)
	stuffed(a, d)
	require.Greater(t, stuffed(a, d), 3*first)
	for _, c := range []*fastsyn.Conn{a, d, idle, toIdle} {
		require.NoError(t, c.Close())
	}
	w.quiet()
}

// Reading and writing allocate nothing once warm, on either side.
func TestConnZeroAllocs(t *testing.T) {
	w := newWorld(t, "", nil)
	a, d := w.pair(w.listen())
	done := make(chan error, 1)
	go func() {
		p := make([]byte, 4000)
		for {
			_, err := io.ReadFull(a, p)
			if err == nil {
				_, err = a.Write(p)
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	p := make([]byte, 4000)
	there := func() {
		_, err := d.Write(p)
		require.NoError(t, err)
		_, err = io.ReadFull(d, p)
		require.NoError(t, err)
		require.NoError(t, d.SetDeadline(time.Now().Add(time.Minute)))
	}
	for range 100 {
		there()
	}
	if got := testing.AllocsPerRun(500, there); !raceEnabled {
		require.Zero(t, got)
	}
	require.NoError(t, d.Close())
	require.Equal(t, io.EOF, <-done)
	require.NoError(t, a.Close())
	w.quiet()
}
