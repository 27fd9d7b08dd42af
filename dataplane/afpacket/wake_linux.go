package afpacket

import (
	"encoding/binary"
	"sync"

	"golang.org/x/sys/unix"
)

// waker ends the sleep of the owner of a queue: an eventfd(2), which Wait polls
// beside the receiving socket. It stays readable until clear, so a wake that
// comes before the poll is not lost.
type waker struct {
	// mu keeps the descriptor open while another goroutine writes to it: once
	// closed, its number may be somebody else's. The owner reads fd without it.
	mu  sync.Mutex
	fd  int // -1 when closed
	buf [8]byte
}

// one is what a wake adds to the counter.
var one = binary.NativeEndian.AppendUint64(nil, 1)

func (w *waker) open() (err error) {
	w.fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	return err
}

// wake makes the descriptor readable. Any goroutine.
func (w *waker) wake() {
	w.mu.Lock()
	if w.fd >= 0 {
		_, _ = unix.Write(w.fd, one) // fails only when the counter is full, and so readable
	}
	w.mu.Unlock()
}

// clear takes all wakes so far.
func (w *waker) clear() { _, _ = unix.Read(w.fd, w.buf[:]) }

// close is for the owner, like all but wake.
func (w *waker) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fd < 0 {
		return nil
	}
	err := unix.Close(w.fd)
	w.fd = -1
	return err
}
