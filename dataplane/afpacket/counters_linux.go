package afpacket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane"
)

var _ dataplane.CounterReporter = (*Port)(nil)

// linkCounters are the fields of struct rtnl_link_stats64 (linux/if_link.h) in their order, by the names
// they have in /sys/class/net/IFACE/statistics.
var linkCounters = []string{
	"rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_errors", "tx_errors", "rx_dropped", "tx_dropped", "multicast", "collisions",
	"rx_length_errors", "rx_over_errors", "rx_crc_errors", "rx_frame_errors", "rx_fifo_errors", "rx_missed_errors",
	"tx_aborted_errors", "tx_carrier_errors", "tx_fifo_errors", "tx_heartbeat_errors", "tx_window_errors",
	"rx_compressed", "tx_compressed", "rx_nohandler",
}

// Counters implements dataplane.CounterReporter: what the interface has counted since it was opened, for all who
// use it: the kernel and other processes too. Some drivers bring them up to date once a second or so. Empty
// if the kernel did not say.
func (p *Port) Counters() map[string]uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, err := p.linkStats()
	if err != nil {
		return map[string]uint64{}
	}
	m := make(map[string]uint64, len(now))
	for i, name := range linkCounters[:min(len(now), len(p.before), len(linkCounters))] {
		m[name] = now[i] - p.before[i] // wraps as the counters do
	}
	return m
}

// openStats notes what the interface has counted so far. That it cannot be asked is no failure.
func (p *Port) openStats() {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return
	}
	p.nl = fd
	if unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}) != nil {
		return
	}
	p.before, _ = p.linkStats()
}

// closeStats releases the socket. p.mu is held.
func (p *Port) closeStats() error {
	fd := p.nl
	if p.nl = -1; fd < 0 {
		return nil
	}
	return unix.Close(fd)
}

// linkStats asks for the counters of the interface by RTM_GETLINK (rtnetlink(7)), on a socket in its namespace. p.mu is held.
func (p *Port) linkStats() ([]uint64, error) {
	if p.nl < 0 {
		return nil, unix.EBADF
	}
	const size = unix.SizeofNlMsghdr + unix.SizeofIfInfomsg
	p.nlSeq++
	e, req := binary.NativeEndian, make([]byte, size)
	e.PutUint32(req[0:], size)
	e.PutUint16(req[4:], unix.RTM_GETLINK)
	e.PutUint16(req[6:], unix.NLM_F_REQUEST)
	e.PutUint32(req[8:], p.nlSeq)
	e.PutUint32(req[unix.SizeofNlMsghdr+4:], uint32(p.ifindex))
	if err := unix.Sendto(p.nl, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	buf := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(p.nl, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		msgs, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return nil, err
		}
		for i := range msgs {
			if msgs[i].Header.Seq == p.nlSeq { // else the answer to a question whose time was out
				return parseLink(&msgs[i])
			}
		}
	}
}

// parseLink reads the counters in an answer.
func parseLink(m *syscall.NetlinkMessage) ([]uint64, error) {
	if m.Header.Type != unix.RTM_NEWLINK {
		return nil, fmt.Errorf("afpacket: netlink message %d for a link", m.Header.Type)
	}
	attrs, err := syscall.ParseNetlinkRouteAttr(m)
	if err != nil {
		return nil, err
	}
	for _, a := range attrs {
		if a.Attr.Type == unix.IFLA_STATS64 {
			out := make([]uint64, len(a.Value)/8)
			for i := range out {
				out[i] = binary.NativeEndian.Uint64(a.Value[8*i:])
			}
			return out, nil
		}
	}
	return nil, errors.New("afpacket: the kernel sent no counters of the link")
}
