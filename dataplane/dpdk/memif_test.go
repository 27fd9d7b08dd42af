//go:build dpdk && cgo && linux

package dpdk

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
)

const patience = 30 * time.Second

// eventually polls for what other threads and processes do.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

var memifs int

// memif names one end of a shared-memory link over a socket.
func memif(role, socket string) string {
	memifs++
	return fmt.Sprintf("net_memif%d,role=%s,socket=%s,socket-abstract=no", memifs, role, socket)
}

// exchange sends a frame from a to b and back until both have arrived.
func exchange(t *testing.T, a, b *Port, size int) {
	t.Helper()
	batch := dataplane.NewBatch()
	for _, way := range [][2]*Port{{a, b}, {b, a}} {
		f := append(frame(way[1], 1), bytes.Repeat([]byte{0xa5}, size-60)...)
		f[15] = byte(size)
		eventually(t, fmt.Sprintf("a frame of %d bytes crosses", size), func() bool {
			send(t, way[0].Queue(0), f)
			found := false
			for way[1].Queue(0).Rx(batch) > 0 {
				for _, d := range batch.Data[:batch.N] {
					found = found || bytes.Equal(d, f)
				}
				way[1].Queue(0).Settle(batch)
			}
			return found
		})
	}
}

// Either end may be there first, which is seen as a link that is down, and the
// client may come back. (That a client waits for its server needs two processes, for
// DPDK has one socket of a name in each: TestMemifPeerKilled.)
func TestMemif(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "m.sock")
	a := open(t, Config{Device: memif("server", socket)})
	require.False(t, a.Info().Up)
	batch := dataplane.NewBatch()
	require.Zero(t, a.Queue(0).Rx(batch), "a link that is down is no failure")
	require.Zero(t, send(t, a.Queue(0), make([]byte, 60)))
	require.EqualValues(t, 1, a.Stats(0).TxFull)
	require.NoError(t, a.Queue(0).Err())
	for range 2 {
		b := open(t, Config{Device: memif("client", socket)})
		eventually(t, "the link comes up", func() bool { return a.Info().Up && b.Info().Up })
		exchange(t, a, b, 60)
		exchange(t, a, b, 1514)
		require.NoError(t, b.Close())
		eventually(t, "the link goes down", func() bool { return !a.Info().Up })
	}
}

// peerEnv makes this test program the other process of TestMemifPeerKilled.
const peerEnv = "FASTSYN_TEST_MEMIF_PEER"

func TestMain(m *testing.M) {
	if device := os.Getenv(peerEnv); device != "" {
		reflect(device)
	}
	code := m.Run()
	if err := Shutdown(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// reflect sends back what comes until the process is killed.
func reflect(device string) {
	p, err := Open(Config{Device: device, EAL: EALConfig{NoHuge: true}})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	b := dataplane.NewBatch()
	for os.Getppid() != 1 {
		for i := range p.Queue(0).Rx(b) {
			b.Verdict[i] = dataplane.Reply
		}
		p.Queue(0).Settle(b)
	}
	os.Exit(0)
}

// A peer that is killed in the middle of a burst takes its memory with it: no
// crash, no leak, and its successor is connected to.
func TestMemifPeerKilled(t *testing.T) {
	for _, role := range []string{"client", "server"} {
		t.Run("peer is "+role, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "m.sock")
			mine := map[string]string{"client": "server", "server": "client"}[role]
			p := open(t, Config{Device: memif(mine, socket)})
			q, b := p.Queue(0), dataplane.NewBatch()
			rounds := 6
			for round := range rounds {
				peer := exec.Command(os.Args[0])
				peer.Env = append(os.Environ(), peerEnv+"=net_memif0,role="+role+",socket="+socket+",socket-abstract=no")
				peer.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
				var out bytes.Buffer
				peer.Stdout, peer.Stderr = &out, &out
				require.NoError(t, peer.Start())
				t.Cleanup(func() {
					_ = peer.Process.Kill()
					_ = peer.Wait()
					if t.Failed() {
						t.Logf("round %d: the peer said %q; link %v, runs %v, %+v, %v", round, out.String(), p.up.Load(), p.running, p.Stats(0), p.Counters())
					}
				})
				turn := func() (back int) {
					for i := range q.Blank(b, 32) {
						b.Data[i], b.Verdict[i] = append(b.Data[i], frame(p, byte(i))...), dataplane.Reply
					}
					q.Settle(b)
					back = q.Rx(b)
					q.Settle(b)
					return back
				}
				got := 0
				eventually(t, "round "+strconv.Itoa(round)+": frames come back", func() bool {
					for range 1000 {
						got += turn()
					}
					return got > 10_000
				})
				// Kill it while the burst goes on, and go on until the link is down.
				require.NoError(t, peer.Process.Kill())
				eventually(t, "the link goes down", func() bool {
					for range 1000 {
						turn()
					}
					return !p.up.Load()
				})
				_ = peer.Wait()
			}
			for q.Rx(b) > 0 {
				q.Settle(b)
			}
			q.(*queue).release()
			free, all := p.Mbufs()
			require.Equal(t, all, free, "every frame came home")
			if mine == "client" {
				require.GreaterOrEqual(t, p.Counters()["restarts"], uint64(rounds-1))
			}
		})
	}
}
