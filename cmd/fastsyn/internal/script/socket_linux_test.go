package script

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

func (k *kernel) socket() (int, error) {
	fd, err := unix.Socket([]int{unix.AF_INET, unix.AF_INET6}[k.fam], unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	k.fds = append(k.fds, fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return -1, err
	}
	if k.set.MSS > 0 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG, k.set.MSS); err != nil {
			return -1, fmt.Errorf("TCP_MAXSEG: %w", err)
		}
	}
	return fd, nil
}

func (k *kernel) sockaddr(a wire.Addr, port uint16) unix.Sockaddr {
	if k.fam == V4 {
		return &unix.SockaddrInet4{Port: int(port), Addr: a.Netip().As4()}
	}
	return &unix.SockaddrInet6{Port: int(port), Addr: a.As16()}
}

func (k *kernel) Listen(port uint16) (err error) {
	if k.listener, err = k.socket(); err != nil {
		return err
	}
	k.listeners[port] = k.listener
	if err := unix.Bind(k.listener, k.sockaddr(k.link.Endpoint[k.fam], port)); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if k.set.FastOpen {
		if err := unix.SetsockoptInt(k.listener, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 16); err != nil {
			return fmt.Errorf("TCP_FASTOPEN: %w", err)
		}
	}
	return unix.Listen(k.listener, 64)
}

func (k *kernel) Unlisten(port uint16) error {
	fd, ok := k.listeners[port]
	if !ok {
		return fmt.Errorf("nobody listens on port %d", port)
	}
	delete(k.listeners, port)
	return k.close(fd)
}

// close closes a socket of the list, once.
func (k *kernel) close(fd int) error {
	for i := range k.fds {
		if k.fds[i] == fd {
			k.fds[i] = -1
		}
	}
	return unix.Close(fd)
}

func (k *kernel) Connect(local, remote uint16) error {
	fd, err := k.socket()
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, k.sockaddr(k.link.Endpoint[k.fam], local)); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := unix.Connect(fd, k.sockaddr(k.link.Peer[k.fam], remote)); !errors.Is(err, unix.EINPROGRESS) {
		return fmt.Errorf("connect: want %w, got %w", unix.EINPROGRESS, err)
	}
	k.fd, k.err = fd, ""
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
}

func (k *kernel) Accept() (bool, error) {
	fd, _, err := unix.Accept4(k.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if errors.Is(err, unix.EAGAIN) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("accept: %w", err)
	}
	k.fds = append(k.fds, fd)
	k.fd, k.err = fd, ""
	return true, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
}

func (k *kernel) Progress() (string, error) {
	if k.fd < 0 {
		return "", errNoFlow
	}
	if k.err != "" {
		return k.err, nil
	}
	got, err := poll(k.fd, unix.POLLOUT|unix.POLLIN, 0)
	if err != nil {
		return "", err
	}
	if got&unix.POLLERR != 0 { // else SO_ERROR would tell soft errors, such as ICMP's, that end nothing
		code, err := unix.GetsockoptInt(k.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil {
			return "", err
		}
		if code != 0 {
			k.err = errnoName(unix.Errno(code))
			return k.err, nil
		}
	}
	if got&(unix.POLLOUT|unix.POLLHUP) == 0 {
		return Connecting, nil
	}
	n, _, err := unix.Recvfrom(k.fd, k.buf[:1], unix.MSG_PEEK)
	switch {
	case errors.Is(err, unix.EAGAIN) || err == nil && n > 0:
		return Open, nil
	case err == nil:
		return EOF, nil
	}
	if code, ok := err.(unix.Errno); ok { //nolint:errorlint // a system call returns the number itself
		k.err = errnoName(code)
	}
	return k.err, nil
}

func errnoName(e unix.Errno) string {
	switch e {
	case unix.ECONNREFUSED:
		return ErrRefused
	case unix.ECONNRESET, unix.EPIPE:
		return ErrReset
	case unix.ETIMEDOUT:
		return ErrTimedOut
	case unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ENOPROTOOPT, unix.EPROTO, unix.EACCES:
		return ErrUnreachable
	default:
		return unix.ErrnoName(e)
	}
}

func (k *kernel) Send(p []byte) error {
	if k.fd < 0 {
		return errNoFlow
	}
	n, err := unix.Write(k.fd, p)
	if err == nil && n != len(p) {
		err = fmt.Errorf("%d of %d bytes", n, len(p))
	}
	return err
}

func (k *kernel) Read(n int) ([]byte, error) {
	if k.fd < 0 {
		return nil, errNoFlow
	}
	p := make([]byte, n)
	n, err := unix.Read(k.fd, p)
	if errors.Is(err, unix.EAGAIN) {
		return nil, nil
	}
	return p[:max(n, 0)], err
}

// Hold does nothing: the kernel holds what nobody reads.
func (k *kernel) Hold() error { return nil }

func (k *kernel) KeepAlive() error {
	for _, o := range []int{unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL, unix.TCP_KEEPCNT} {
		v := 1
		if o == unix.TCP_KEEPCNT {
			v = 3
		}
		if err := unix.SetsockoptInt(k.fd, unix.IPPROTO_TCP, o, v); err != nil {
			return err
		}
	}
	return unix.SetsockoptInt(k.fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
}

func (k *kernel) UserTimeout(d time.Duration) error {
	return unix.SetsockoptInt(k.fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
}

func (k *kernel) Nagle() error {
	return unix.SetsockoptInt(k.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 0)
}

func (k *kernel) Close() error {
	if k.fd < 0 {
		return errNoFlow
	}
	fd := k.fd
	k.fd = -1
	return k.close(fd)
}

func (k *kernel) Shutdown() error { return unix.Shutdown(k.fd, unix.SHUT_WR) }

func (k *kernel) Abort() error {
	if err := unix.SetsockoptLinger(k.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return err
	}
	return k.Close()
}
