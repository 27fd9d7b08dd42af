//go:build linux

package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// The applications of serve against kernels and the programs people have.

// bulk is how much text goes through one flow.
const bulk = 100 << 20

// bulkFile is a file of n random bytes and the sum that sha256sum prints for it.
func bulkFile(t *testing.T, n int) (name, sum string) {
	t.Helper()
	text := randomText(n)
	name = filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(name, text, 0o600))
	return name, fmt.Sprintf("%x", sha256.Sum256(text))
}

// dialPeer opens a connection from the peer's kernel.
func dialPeer(t *testing.T, lab *dptest.Lab, to string) *net.TCPConn {
	t.Helper()
	var c net.Conn
	lab.InPeerNS(t, func() {
		var err error
		c, err = net.DialTimeout("tcp", to, patience)
		require.NoError(t, err)
	})
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	return c.(*net.TCPConn)
}

// stopIdle stops a server whose clients have all they wanted, when their flows are over and it has
// seen their last segments: what it answers afterwards, on each queue, says so.
func stopIdle(t *testing.T, lab *dptest.Lab, s *server) map[string]any {
	t.Helper()
	require.Eventually(t, func() bool {
		return strings.TrimSpace(lab.Exec(t, lab.PeerNS, "ss", "-tanH", "exclude", "time-wait", "dport", "=", ":80")) == ""
	}, patience, 10*time.Millisecond, "a flow does not end")
	lab.InPeerNS(t, func() {
		for range 64 { // source ports, and so queues, differ
			_, err := net.DialTimeout("tcp", addr(lab.Addr4, 81), patience)
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
		}
	})
	return s.stop(t)
}

// stall writes text to c until nothing has gone for a while, as its reader does not read, and
// returns how much did.
func stall(t *testing.T, c *net.TCPConn, text []byte) int {
	t.Helper()
	sent := 0
	for {
		require.Less(t, sent, len(text), "somebody takes all of it and gives nothing back")
		require.NoError(t, c.SetWriteDeadline(time.Now().Add(500*time.Millisecond)))
		n, err := c.Write(text[sent:])
		sent += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if n == 0 {
				require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
				return sent
			}
			continue
		}
		require.NoError(t, err)
	}
}

// 100 MB there and back with half-close, by programs that know when all has come.
func TestInterop_EchoBulk(t *testing.T) {
	interop(t, "ss", "nc", "socat")
	lab := dptest.NewLab(t)
	file, sum := bulkFile(t, bulk)
	s := serve(t, lab, "", "--app", "echo")
	for name, cmd := range map[string]string{
		"nc v4":    "nc -N " + lab.Addr4.Addr().String() + " 80",
		"socat v6": "socat -t 30 -b 65536 - TCP6:[" + lab.Addr6.Addr().String() + "]:80",
	} {
		t.Run(name, func(t *testing.T) {
			out := lab.Exec(t, lab.PeerNS, "sh", "-c", cmd+" <"+file+" | sha256sum")
			require.Equal(t, sum, strings.Fields(out)[0])
		})
	}
	r := stopIdle(t, lab, s)
	require.Equal(t, 2, num(t, r, "handshakes", "accepted"))
	require.Equal(t, 2, num(t, r, "counters", "done"))
	require.Equal(t, 2*bulk, num(t, r, "application", "bytes"))
	require.Equal(t, 2*bulk, num(t, r, "streams", "bytes_in"))
	require.Equal(t, 2*bulk, num(t, r, "streams", "bytes_out"))
	require.Zero(t, num(t, r, "streams", "open_now"))
	require.Zero(t, num(t, r, "streams", "blocks_in_use_now"))
	require.Zero(t, num(t, r, "application", "backlog_chunks_now"))
}

// Lines through the shell's own sockets.
func TestInterop_EchoLines(t *testing.T) {
	interop(t, "ss")
	lab := dptest.NewLab(t)
	s := serve(t, lab, "", "--app", "echo", "--nagle")
	out := lab.Exec(t, lab.PeerNS, "bash", "-c", `
exec 3<>/dev/tcp/`+lab.Addr4.Addr().String()+`/80
for i in $(seq 100); do echo "line $i" >&3; read -r back <&3; [ "$back" = "line $i" ] || echo "$i: $back"; done
echo done`)
	require.Equal(t, "done\n", out)
	r := stopIdle(t, lab, s)
	require.Equal(t, 1, num(t, r, "counters", "done"))
	require.Equal(t, num(t, r, "streams", "bytes_in"), num(t, r, "streams", "bytes_out"))
}

func TestInterop_DiscardBulk(t *testing.T) {
	interop(t, "ss", "nc")
	lab := dptest.NewLab(t)
	file, _ := bulkFile(t, bulk)
	s := serve(t, lab, "", "--app", "discard")
	for _, to := range []netip.Prefix{lab.Addr4, lab.Addr6} {
		out := lab.Exec(t, lab.PeerNS, "sh", "-c", "nc -N "+to.Addr().String()+" 80 <"+file)
		require.Empty(t, out)
	}
	r := stopIdle(t, lab, s)
	require.Equal(t, 2*bulk, num(t, r, "application", "bytes"))
	require.Equal(t, 2, num(t, r, "counters", "done"))
	require.Zero(t, num(t, r, "streams", "bytes_out"))
}

// A client that sends and does not read is stopped by our window, with no more in memory than both
// buffers; when it reads at last, and slowly, nothing is missing.
func TestInterop_EchoSlowReader(t *testing.T) {
	interop(t, "ss")
	lab := dptest.NewLab(t)
	s := serve(t, lab, "", "--app", "echo", "--send-buffer", "64K", "--rcv-window", "128K")
	c := dialPeer(t, lab, addr(lab.Addr4, 80))
	text := randomText(64 << 20)
	sent := stall(t, c, text)
	type result struct {
		sum [sha256.Size]byte
		n   int64
		err error
	}
	got := make(chan result, 1)
	go func() {
		h := sha256.New()
		var r result
		// In bites, with a pause after each as long as anything can be in the way.
		for range 50 {
			n, err := io.CopyN(h, c, 10_000)
			r.n += n
			if r.err = err; err != nil {
				got <- r
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		n, err := io.Copy(h, c)
		r.n, r.err = r.n+n, err
		h.Sum(r.sum[:0])
		got <- r
	}()
	end := min(sent+8<<20, len(text))
	_, err := c.Write(text[sent:end])
	require.NoError(t, err)
	require.NoError(t, c.CloseWrite())
	r := <-got
	require.NoError(t, r.err)
	require.EqualValues(t, end, r.n)
	require.Equal(t, sha256.Sum256(text[:end]), r.sum)
	rep := stopIdle(t, lab, s)
	require.NotZero(t, num(t, rep, "application", "backlogs"))
	require.LessOrEqual(t, num(t, rep, "application", "backlog_chunks_high")*chunkSize, 128<<10+2*chunkSize)
	require.Zero(t, num(t, rep, "application", "backlog_chunks_now"))
	require.Equal(t, 1, num(t, rep, "counters", "done"))
}

// Clients that vanish by RST amid a transfer leave nothing behind, and the others go on.
func TestInterop_EchoResets(t *testing.T) {
	interop(t, "ss")
	lab := dptest.NewLab(t)
	s := serve(t, lab, "", "--app", "echo", "--send-buffer", "16K", "--rcv-window", "64K")
	text := randomText(16 << 20)
	const n = 20
	for range n {
		c := dialPeer(t, lab, addr(lab.Addr4, 80))
		require.NoError(t, c.SetDeadline(time.Now().Add(50*time.Millisecond)))
		_, err := c.Write(text)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NoError(t, c.SetLinger(0))
		require.NoError(t, c.Close())
	}
	c := dialPeer(t, lab, addr(lab.Addr4, 80))
	_, err := c.Write([]byte("still there?"))
	require.NoError(t, err)
	require.NoError(t, c.CloseWrite())
	b, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "still there?", string(b))
	r := stopIdle(t, lab, s)
	require.Equal(t, n, num(t, r, "counters", "reset"))
	require.Equal(t, 1, num(t, r, "counters", "done"))
	require.Zero(t, num(t, r, "streams", "open_now"))
	require.Zero(t, num(t, r, "streams", "blocks_in_use_now"))
	require.Zero(t, num(t, r, "streams", "sending_now"))
	require.Zero(t, num(t, r, "application", "backlog_chunks_now"))
}

// 10,000 bytes from a client that writes one at a time.
func TestInterop_EchoSlowWriter(t *testing.T) {
	interop(t, "ss")
	lab := dptest.NewLab(t)
	s := serve(t, lab, "", "--app", "echo")
	c := dialPeer(t, lab, addr(lab.Addr6, 80))
	text := randomText(10_000)
	got := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(c)
		got <- b
	}()
	for i := range text {
		_, err := c.Write(text[i : i+1])
		require.NoError(t, err)
	}
	require.NoError(t, c.CloseWrite())
	require.True(t, bytes.Equal(text, <-got))
	r := stopIdle(t, lab, s)
	require.Equal(t, len(text), num(t, r, "streams", "bytes_out"))
}

// The files of a directory, and text of a size, for curl.
func TestInterop_ServeHTTP(t *testing.T) {
	interop(t, "ss", "curl")
	lab := dptest.NewLab(t)
	root := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(root, "page.html"), []byte("<p>hello\n"), 0o600))
	s := serve(t, lab, "", "--app", "http", "--http-root", root)
	url := "http://" + lab.Addr4.Addr().String() + "/"
	out := lab.Exec(t, lab.PeerNS, "curl", "-sS", "-m", "20", "-w", "%{http_code} %{content_type}", url+"page.html")
	require.Equal(t, "<p>hello\n200 text/html; charset=utf-8", out)
	out = lab.Exec(t, lab.PeerNS, "curl", "-sS", "-m", "20", "-o", os.DevNull, "-w", "%{http_code}", url+"other")
	require.Equal(t, "404", out)
	r := stopIdle(t, lab, s)
	require.Equal(t, 2, num(t, r, "application", "responses"))
	require.Equal(t, 1, num(t, r, "application", "status_2xx"))
	require.Equal(t, 1, num(t, r, "application", "status_4xx"))

	s = serve(t, lab, "", "--app", "http", "--http-body", "1M")
	out = lab.Exec(t, lab.PeerNS, "curl", "-sS", "-m", "20", "-o", os.DevNull, "-w", "%{http_code} %{size_download}", url, "-o", os.DevNull, url+"again")
	require.Equal(t, "200 1048576200 1048576", out)
	r = stopIdle(t, lab, s)
	require.Equal(t, 1, num(t, r, "handshakes", "accepted"), "the connection is kept")
	require.Equal(t, 2, num(t, r, "application", "requests"))
	require.Equal(t, 1, num(t, r, "counters", "done"))
}

// isReset reports whether an error of a connection is a reset by its peer.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
