package lab

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/ladder"
	"github.com/fastsyn/fastsyn/dataplane/netlab"
)

// procStates are the numbers of /proc/net/tcp (include/net/tcp_states.h).
var procStates = map[string]string{
	"01": ladder.Established, "02": ladder.SynSent, "03": ladder.SynReceived, "04": ladder.FinWait1, "05": ladder.FinWait2,
	"06": ladder.TimeWait, "07": ladder.Closed, "08": ladder.CloseWait, "09": ladder.LastAck, "0A": ladder.Listen,
	"0B": ladder.Closing, "0C": ladder.SynReceived,
}

// procSocket is a line of /proc/net/tcp.
type procSocket struct {
	local, remote netip.AddrPort
	state         string
}

// procSockets lists the TCP sockets of the calling thread's namespace.
func procSockets() (out []procSocket, err error) {
	b, err := os.ReadFile("/proc/thread-self/net/tcp")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		w := strings.Fields(line)
		if len(w) < 4 || w[0] == "sl" {
			continue
		}
		local, err := procAddr(w[1])
		if err != nil {
			return nil, err
		}
		remote, err := procAddr(w[2])
		if err != nil {
			return nil, err
		}
		out = append(out, procSocket{local, remote, procStates[w[3]]})
	}
	return out, nil
}

// procAddr reads an address as a %08X word in host order, and a port.
func procAddr(s string) (netip.AddrPort, error) {
	hex, port, _ := strings.Cut(s, ":")
	a, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("/proc/net/tcp: address %q: %w", s, err)
	}
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("/proc/net/tcp: port %q: %w", s, err)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(binary.NativeEndian.AppendUint32(nil, uint32(a)))), uint16(p)), nil
}

// kernelState is what the kernel's side of a connection is in: if there is none but somebody
// listens, LISTEN.
func kernelState(sockets []procSocket, local, remote netip.AddrPort) string {
	state := ladder.Closed
	for _, s := range sockets {
		if s.local == local && s.remote == remote {
			return s.state
		}
		if s.state == ladder.Listen && s.local.Port() == local.Port() {
			state = ladder.Listen
		}
	}
	return state
}

// kernelCounters are those of the calling thread's namespace under the names of nstat.
func kernelCounters() (map[string]uint64, error) {
	m := map[string]uint64{}
	for _, file := range []string{"snmp", "netstat"} {
		b, err := os.ReadFile("/proc/thread-self/net/" + file)
		if err != nil {
			return nil, err
		}
		var names []string
		for line := range strings.Lines(string(b)) {
			w := strings.Fields(line)
			if names == nil {
				names = w
				continue
			}
			for i := 1; i < min(len(w), len(names)); i++ {
				n, _ := strconv.ParseUint(w[i], 10, 64) // some are -1
				m[strings.TrimSuffix(w[0], ":")+names[i]] = n
			}
			names = nil
		}
	}
	return m, nil
}

// socketStatistics is what ss says of the connection between two ports, in the calling thread's namespace.
func socketStatistics(local, remote uint16) (string, error) {
	ss, err := netlab.LookTool("ss")
	if err != nil {
		return "", fmt.Errorf("%w; it comes with ip (apt install iproute2)", err)
	}
	out, err := exec.Command(ss, "-tinoH", "sport", "=", ":"+strconv.Itoa(int(local)), "and", "dport", "=", ":"+strconv.Itoa(int(remote))).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ss: %w: %s", err, out)
	}
	return string(out), nil
}
