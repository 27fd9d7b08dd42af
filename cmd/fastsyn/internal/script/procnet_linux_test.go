package script

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// procStates are the numbers of /proc/net/tcp (include/net/tcp_states.h).
var procStates = map[string]string{
	"01": "ESTABLISHED", "02": "SYN-SENT", "03": "SYN-RECEIVED", "04": "FIN-WAIT-1", "05": "FIN-WAIT-2", "06": "TIME-WAIT",
	"07": "CLOSED", "08": "CLOSE-WAIT", "09": "LAST-ACK", "0A": "LISTEN", "0B": "CLOSING", "0C": "SYN-RECEIVED",
}

// sockets calls f with each line of /proc/net/tcp of this namespace.
func (k *kernel) sockets(f func(local, remote netip.AddrPort, state string)) error {
	file, err := os.Open("/proc/thread-self/net/" + []string{"tcp", "tcp6"}[k.fam])
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	in := bufio.NewScanner(file)
	for in.Scan() {
		w := strings.Fields(in.Text())
		if len(w) < 4 || w[0] == "sl" {
			continue
		}
		local, e1 := procAddr(w[1])
		remote, e2 := procAddr(w[2])
		if err := errors.Join(e1, e2); err != nil {
			return err
		}
		f(local, remote, procStates[w[3]])
	}
	return in.Err()
}

// procAddr reads an address as %08X words in host order, and a port.
func procAddr(s string) (netip.AddrPort, error) {
	hex, port, _ := strings.Cut(s, ":")
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	var b []byte
	for ; len(hex) >= 8; hex = hex[8:] {
		w, err := strconv.ParseUint(hex[:8], 16, 32)
		if err != nil {
			return netip.AddrPort{}, err
		}
		b = binary.NativeEndian.AppendUint32(b, uint32(w))
	}
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("address %q", s)
	}
	return netip.AddrPortFrom(a, uint16(n)), nil
}

func (k *kernel) State(t wire.Tuple) (string, error) {
	state := "CLOSED"
	err := k.sockets(func(local, remote netip.AddrPort, s string) {
		if local == netip.AddrPortFrom(t.Local.Netip(), t.LocalPort) && remote == netip.AddrPortFrom(t.Remote.Netip(), t.RemotePort) {
			state = s
		}
	})
	return state, err
}

func (k *kernel) HalfOpen() (n int, err error) {
	err = k.sockets(func(_, _ netip.AddrPort, s string) {
		if s == "SYN-RECEIVED" {
			n++
		}
	})
	return n, err
}
