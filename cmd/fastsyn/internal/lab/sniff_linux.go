package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// sniffer records what passes an interface, with the kernel's timestamps (packet(7)).
type sniffer struct {
	fd   int
	done chan struct{}
	stop func() // ends the capture

	mu     sync.Mutex
	frames []frame
}

// sniffBuffer has room for all frames of a scenario, so that none is lost when we are slow.
const sniffBuffer = 16 << 20

// newSniffer begins; the caller's thread is in the namespace of the interface.
func newSniffer(iface string) (*sniffer, error) {
	i, err := net.InterfaceByName(iface)
	if err != nil {
		return nil, fmt.Errorf("capture at %s: %w", iface, err)
	}
	proto := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL)) // htons
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("capture at %s: packet socket: %w", iface, err)
	}
	tick := unix.NsecToTimeval(int64(50 * time.Millisecond)) // how soon close is noticed
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tick),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: i.Index}),
	)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("capture at %s: %w", iface, err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, sniffBuffer) != nil {
		// Without root's rights over the machine there is less, which does for what is sent here.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, sniffBuffer)
	}
	s := &sniffer{fd: fd, done: make(chan struct{})}
	quit := make(chan struct{})
	go s.run(quit)
	s.stop = sync.OnceFunc(func() { close(quit); <-s.done; _ = unix.Close(fd) })
	return s, nil
}

func (s *sniffer) run(quit <-chan struct{}) {
	defer close(s.done)
	buf, oob := make([]byte, 65536), make([]byte, 256)
	for {
		n, nc, _, from, err := unix.Recvmsg(s.fd, buf, oob, 0)
		if err != nil {
			select {
			case <-quit:
				return
			default:
			}
			if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENETDOWN) {
				continue
			}
			return
		}
		at := time.Now()
		if msgs, err := unix.ParseSocketControlMessage(oob[:nc]); err == nil {
			for _, m := range msgs {
				if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
					at = time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
				}
			}
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		f := newFrame(at, ok && ll.Pkttype == unix.PACKET_OUTGOING, buf[:n])
		s.mu.Lock()
		s.frames = append(s.frames, f)
		s.mu.Unlock()
	}
}

func (s *sniffer) snapshot() []frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.frames)
}
