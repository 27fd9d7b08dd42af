package dpdk

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A server that was killed leaves its socket file; only a dead one's is removed.
func TestClearSocket(t *testing.T) {
	file := filepath.Join(t.TempDir(), "m.sock")
	device := "net_memif0,role=server,socket=" + file + ",socket-abstract=no"
	require.NoError(t, clearSocket(device), "no file")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: file, Net: "unixpacket"})
	require.NoError(t, err)
	l.SetUnlinkOnClose(false)
	require.NoError(t, clearSocket(device))
	require.FileExists(t, file, "somebody listens")
	require.NoError(t, l.Close())
	for _, other := range []string{
		"net_memif0,role=client,socket=" + file + ",socket-abstract=no", "net_memif0,socket=" + file,
		"net_null0,socket=" + file + ",socket-abstract=no",
	} {
		require.NoError(t, clearSocket(other))
		require.FileExists(t, file, other)
	}
	require.NoError(t, clearSocket(device))
	require.NoFileExists(t, file)
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, clearSocket("net_memif0,socket="+file+",socket-abstract=no")) // no socket at all
	s, err := net.ListenUnix("unix", &net.UnixAddr{Name: file + "2", Net: "unix"})
	require.NoError(t, err)
	defer s.Close()
	require.ErrorContains(t, clearSocket("net_memif0,socket="+file+"2,socket-abstract=no"), "another kind of program")
}
