package dpdk

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
)

// memifArgs are what matters here of the arguments of a memif device.
type memifArgs struct {
	client bool
	file   string // of the socket; "" for an abstract one
}

func parseMemif(device string) (a memifArgs, ok bool) {
	name, rest, _ := strings.Cut(device, ",")
	if !strings.HasPrefix(name, "net_memif") {
		return a, false
	}
	abstract := true
	for arg := range strings.SplitSeq(rest, ",") {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "role":
			a.client = value == "client" || value == "slave"
		case "socket":
			a.file = value
		case "socket-abstract":
			abstract = value != "no"
		}
	}
	if abstract {
		a.file = ""
	}
	return a, true
}

// clearSocket removes the socket file of a memif server that has died, which
// its successor could not bind to. A socket that somebody listens on is an error.
func clearSocket(device string) error {
	a, ok := parseMemif(device)
	if !ok || a.client || a.file == "" {
		return nil
	}
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: a.file, Net: "unixpacket"})
	switch {
	case err == nil:
		// Several interfaces of one process share a socket and differ by id=, so
		// the file of a live server is only wrong if it is not ours.
		_ = c.Close()
		return nil
	case errors.Is(err, syscall.ECONNREFUSED):
		if err := os.Remove(a.file); err != nil {
			return fmt.Errorf("dpdk: %s: the socket file of a server that has ended is in the way: %w", device, err)
		}
		return nil
	case errors.Is(err, os.ErrNotExist):
		return nil
	case errors.Is(err, syscall.EPROTOTYPE):
		return fmt.Errorf("dpdk: %s: %s belongs to another kind of program: choose another socket=", device, a.file)
	}
	return nil // DPDK says what is wrong
}
