package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// socket is one of the kernel's, opened in the peer's namespace. What waits for it ends with ctx.
type socket struct {
	ctx context.Context
	fd  int
}

// patience bounds the wait for what must come, on a machine that may stop for seconds.
const patience = 20 * time.Second

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}

// newSocket opens one in the namespace of the calling thread, bound to at.
func newSocket(ctx context.Context, at netip.AddrPort) (*socket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	s := &socket{ctx, fd}
	if err := errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)); err != nil {
		s.close()
		return nil, fmt.Errorf("socket options: %w", err)
	}
	if err := unix.Bind(fd, sockaddr(at)); err != nil {
		s.close()
		return nil, fmt.Errorf("bind to %v: %w", at, err)
	}
	return s, nil
}

// connect begins to open; how it ends, outcome tells.
func (s *socket) connect(to netip.AddrPort) error {
	if err := unix.Connect(s.fd, sockaddr(to)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return fmt.Errorf("connect to %v: %w", to, err)
	}
	return nil
}

// connectText begins to open with text, by Fast Open if there is a cookie.
func (s *socket) connectText(to netip.AddrPort, text string) error {
	if err := unix.Sendto(s.fd, []byte(text), unix.MSG_FASTOPEN, sockaddr(to)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return fmt.Errorf("sendto to %v with MSG_FASTOPEN: %w", to, err)
	}
	return nil
}

// outcome waits until connect has ended: nil when the connection is open.
func (s *socket) outcome() error {
	ready, err := s.poll(unix.POLLOUT, patience)
	if err != nil {
		return err
	}
	if !ready {
		return errPending
	}
	code, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil || code == 0 {
		return err
	}
	return unix.Errno(code)
}

// errPending says that a connection is neither open nor refused.
var errPending = errors.New("still connecting")

// poll waits for one of events, or an error.
func (s *socket) poll(events int16, wait time.Duration) (bool, error) {
	const slice = 50 * time.Millisecond // how soon the end of ctx is noticed
	p := []unix.PollFd{{Fd: int32(s.fd), Events: events}}
	for end := time.Now().Add(wait); ; {
		left := max(0, time.Until(end))
		n, err := unix.Poll(p, int(min(left, slice).Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil || n > 0 || left == 0:
			return n > 0, err
		case s.ctx.Err() != nil:
			return false, s.ctx.Err()
		}
	}
}

// listen has the socket accept, with room for backlog connections.
func (s *socket) listen(backlog int) error {
	if err := unix.Listen(s.fd, backlog); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return nil
}

// accept waits for a connection.
func (s *socket) accept(wait time.Duration) (*socket, error) {
	if ready, err := s.poll(unix.POLLIN, wait); err != nil || !ready {
		return nil, errors.Join(err, fmt.Errorf("accept: nothing within %v", wait))
	}
	fd, _, err := unix.Accept4(s.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("accept: %w", err)
	}
	return &socket{s.ctx, fd}, nil
}

// read waits for n bytes of text.
func (s *socket) read(n int, wait time.Duration) (string, error) {
	var got []byte
	for end := time.Now().Add(wait); len(got) < n; {
		ready, err := s.poll(unix.POLLIN, time.Until(end))
		if err != nil || !ready {
			return string(got), errors.Join(err, fmt.Errorf("read: %d of %d bytes within %v", len(got), n, wait))
		}
		b := make([]byte, n-len(got))
		m, err := unix.Read(s.fd, b)
		if err != nil || m == 0 {
			return string(got), errors.Join(err, fmt.Errorf("read: the text ended after %d of %d bytes", len(got), n))
		}
		got = append(got, b[:m]...)
	}
	return string(got), nil
}

// write sends text for which the send buffer has room.
func (s *socket) write(text string) error {
	if n, err := unix.Write(s.fd, []byte(text)); err != nil || n != len(text) {
		return errors.Join(err, fmt.Errorf("write: %d of %d bytes", n, len(text)))
	}
	return nil
}

func (s *socket) option(level, name, value int) error {
	return unix.SetsockoptInt(s.fd, level, name, value)
}

// close ends the socket; a connection is closed by FIN.
func (s *socket) close() {
	if s != nil && s.fd >= 0 {
		_ = unix.Close(s.fd)
		s.fd = -1
	}
}
