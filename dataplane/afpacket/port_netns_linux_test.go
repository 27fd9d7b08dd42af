package afpacket

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

func TestInfo(t *testing.T) {
	l := newLab(t)
	for _, queues := range []int{1, 3} {
		p := l.open(Config{Queues: queues})
		i := p.Info()
		require.Equal(t, "afpacket", i.Driver)
		require.Equal(t, l.If, i.Name)
		require.Equal(t, ourMAC, i.MAC)
		require.Equal(t, 1500, i.MTU)
		require.Equal(t, queues, i.Queues)
		require.True(t, i.Up)
		require.Equal(t, queues > 1, i.RETA != nil)
		require.Equal(t, queues > 1, i.RSSKey != nil)
		c := p.Queue(0).Caps()
		require.Equal(t, 64, c.Burst)
		require.Equal(t, 256, c.ReplyRoom)
		require.GreaterOrEqual(t, c.FrameRoom, 1518)
	}
}

func TestOpenByPortString(t *testing.T) {
	l := newLab(t)
	l.InNS(l.t, func() {
		p, err := dataplane.Open("afpacket:" + l.If + "?queues=2&ring=v3&rx-ring=512K&tx-ring=256K&promisc=on&offloads=off&rss-key=microsoft")
		require.NoError(t, err)
		require.Equal(t, 2, p.Info().Queues)
		cfg := p.(*Port).cfg
		require.Equal(t, RingV3, cfg.Ring)
		require.Equal(t, 512<<10, cfg.RxRing)
		require.Equal(t, 256<<10, cfg.TxRing)
		require.True(t, cfg.Promisc && cfg.OffloadsOff)
		require.NoError(t, p.Close())

		_, err = dataplane.Open("afpacket:nope0")
		require.ErrorIs(t, err, unix.ENODEV)
		require.ErrorContains(t, err, `no interface "nope0"`)
		require.ErrorContains(t, err, l.If)
		_, err = dataplane.Open("afpacket:" + l.If + "?queues=65")
		require.ErrorContains(t, err, "1 to 64")
		_, err = dataplane.Open("afpacket:" + l.If + "?ring=v4")
		require.ErrorContains(t, err, "v2, v3")
	})
}

func TestOpenWithoutRights(t *testing.T) {
	l := newLab(t)
	ns, e := os.Open("/run/netns/" + l.NS)
	require.NoError(t, e)
	defer ns.Close()
	err := make(chan error)
	go func() {
		// This thread gets neither its rights nor its namespace back: it ends
		// with the goroutine, being locked.
		runtime.LockOSThread()
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		e := errors.Join(unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET), unix.Capset(&hdr, &none[0]))
		if e == nil {
			_, e = Open(Config{Interface: l.If})
		}
		err <- e
	}()
	got := <-err
	require.ErrorIs(t, got, unix.EPERM)
	require.ErrorContains(t, got, "setcap cap_net_raw,cap_net_admin=ep")
	require.ErrorContains(t, got, l.If)
}

func TestErrorTexts(t *testing.T) {
	require.ErrorContains(t, socketError("x0", "receive ring of 8 bytes", unix.ENOMEM), "lower rx-ring=")
	require.ErrorContains(t, socketError("x0", "opening", unix.EMFILE), "ulimit -n")
	require.ErrorContains(t, joinError("x0", unix.EINVAL, false), "ip link set x0 up")
	for _, c := range []Config{{}, {Interface: "x", Queues: 65}, {Interface: "x", Queues: -1}, {Interface: "x", RxRing: 1}, {Interface: "x", TxRing: 2 << 30}, {Interface: "x", Ring: 9}} {
		_, err := Open(c)
		require.Error(t, err)
		require.True(t, strings.HasPrefix(err.Error(), "afpacket: "))
	}
}

func TestOpenWhileDown(t *testing.T) {
	for _, queues := range []int{1, 2} {
		l := newLab(t)
		l.ourIP("link", "set", l.If, "down")
		var p *Port
		var err error
		l.InNS(l.t, func() { p, err = Open(Config{Interface: l.If, Queues: queues}) })
		if queues > 1 && errors.Is(err, unix.EINVAL) {
			require.ErrorContains(t, err, "ip link set "+l.If+" up")
			continue // a kernel before 6.13
		}
		require.NoError(t, err)
		defer p.Close()
		require.False(t, p.Info().Up)
		l.ourIP("link", "set", l.If, "up")
		require.True(t, p.Info().Up)
		l.peer(false).send(testFrame(1, 60))
		collect(t, p.Queue(0), 1, isTest)
	}
}

// sleeps checks that Wait blocks instead of spinning. Some early returns are
// allowed: the news that the link went down, and signals of the Go scheduler.
func sleeps(t *testing.T, q dataplane.Queue) {
	t.Helper()
	slept := 0
	for range 8 {
		start := time.Now()
		q.Wait(5 * time.Millisecond)
		if time.Since(start) >= 5*time.Millisecond {
			slept++
		}
	}
	require.GreaterOrEqual(t, slept, 4)
}

func TestDownAndUp(t *testing.T) {
	for _, side := range []string{"our", "peer"} { // peer: no carrier
		rings(t, func(t *testing.T, r Ring) {
			l := newLab(t)
			p := l.open(Config{Ring: r})
			q, peer := p.Queue(0), l.peer(false)
			ns, ifc := l.NS, l.If
			if side == "peer" {
				ns, ifc = l.PeerNS, l.PeerIf
			}
			out := testFrame(1, 60)
			copy(out, peerMAC)
			for round := range 3 {
				before := p.Stats(0)
				l.Exec(t, ns, "ip", "link", "set", ifc, "down")
				require.False(t, p.Info().Up)
				sleeps(t, q)
				require.Zero(t, q.Rx(dataplane.NewBatch()))
				require.Equal(t, 70, say(t, q, repeat(out, 70)...))
				for end := time.Now().Add(deadline); side == "peer" && p.Stats(0).TxErrors < before.TxErrors+70 && time.Now().Before(end); {
					q.Wait(10 * time.Millisecond) // a lost carrier is told late
				}
				s := p.Stats(0)
				require.EqualValues(t, 70, s.TxErrors-before.TxErrors)
				require.EqualValues(t, 70, s.TxFrames-before.TxFrames)
				require.NoError(t, q.Err())

				l.Exec(t, ns, "ip", "link", "set", ifc, "up")
				require.True(t, p.Info().Up)
				_, _ = unix.GetsockoptInt(peer.fd, unix.SOL_SOCKET, unix.SO_ERROR) // ENETDOWN of the test's own socket
				require.Equal(t, 1, say(t, q, out))
				require.Equal(t, s.TxErrors, p.Stats(0).TxErrors)
				for { // neighbour discovery and the like may come first
					if f, _ := peer.recv(); isTest(f) {
						require.Equal(t, out, f, "round %d: none of those sent while down", round)
						break
					}
				}
				peer.send(testFrame(2, 60))
				collect(t, q, 1, isTest)
			}
		})
	}
}

func repeat(f []byte, n int) (fs [][]byte) {
	for range n {
		fs = append(fs, f)
	}
	return fs
}

func TestInterfaceGone(t *testing.T) {
	for _, how := range []string{"deleted", "moved", "deleted while down", "deleted while polling"} {
		t.Run(how, func(t *testing.T) {
			rings(t, func(t *testing.T, r Ring) {
				l := newLab(t)
				p := l.open(Config{Ring: r, Queues: 2, OffloadsOff: true})
				b := dataplane.NewBatch()
				switch how {
				case "moved":
					l.ourIP("link", "set", l.If, "netns", l.PeerNS)
				case "deleted while down":
					l.ourIP("link", "set", l.If, "down")
					for i := range 2 {
						sleeps(t, p.Queue(i))
					}
					fallthrough
				default:
					l.ourIP("link", "del", l.If)
				}
				for i := range 2 {
					q := p.Queue(i)
					for end := time.Now().Add(deadline); q.Err() == nil && time.Now().Before(end); {
						if how != "deleted while polling" {
							q.Wait(time.Millisecond)
						}
						require.Zero(t, q.Rx(b))
					}
					require.ErrorIs(t, q.Err(), ErrInterfaceGone)
					require.ErrorContains(t, q.Err(), l.If)
					sleeps(t, q)
					before := p.Stats(i)
					say(t, q, testFrame(0, 60))
					require.EqualValues(t, 1, p.Stats(i).TxErrors-before.TxErrors)
				}
				require.False(t, p.Info().Up)
				require.NoError(t, p.Close())
			})
		})
	}
}

// The first to notice may be a send.
func TestInterfaceGoneSeenBySettle(t *testing.T) {
	l := newLab(t)
	p := l.open(Config{})
	l.ourIP("link", "del", l.If)
	q := p.Queue(0)
	require.Equal(t, 3, say(t, q, repeat(testFrame(0, 60), 3)...))
	require.ErrorIs(t, q.Err(), ErrInterfaceGone)
	require.EqualValues(t, 3, p.Stats(0).TxErrors)
}

func TestTxRingFullIsCountedAndRecovers(t *testing.T) {
	l := newLab(t)
	p := l.open(Config{TxRing: minRing})
	q, peer := p.queues[0], l.peer(false)
	// Sent frames whose slots the device has not released yet.
	for i := range q.tx.n {
		storeStatus(q.tx.mem, q.tx.at(i), unix.TP_STATUS_SENDING)
	}
	storeStatus(q.tx.mem, q.tx.at(0), unix.TP_STATUS_AVAILABLE)
	storeStatus(q.tx.mem, q.tx.at(1), unix.TP_STATUS_AVAILABLE)
	out := testFrame(1, 60)
	copy(out, peerMAC)
	require.Equal(t, 2, say(t, q, repeat(out, 5)...))
	require.Equal(t, dataplane.Stats{TxFrames: 2, TxBytes: 120, TxFull: 3}, p.Stats(0))
	require.Len(t, q.pool.free, poolBytes/q.pool.size, "what was not sent is free too")
	for i := range q.tx.n {
		storeStatus(q.tx.mem, q.tx.at(i), unix.TP_STATUS_AVAILABLE)
	}
	for range 3 * q.tx.n / 10 { // three times round
		require.Equal(t, 10, say(t, q, repeat(out, 10)...))
	}
	for range 2 + 3*q.tx.n/10*10 {
		f, _ := peer.recv()
		require.Equal(t, out, f)
	}
	require.EqualValues(t, 3, p.Stats(0).TxFull)
}

// Frames that the kernel could not take stay in order for the next kick.
func TestTxPendingIsSentLater(t *testing.T) {
	l := newLab(t)
	q, peer := l.open(Config{}).queues[0], l.peer(false)
	var meta dataplane.Meta
	for n := range 5 {
		f := testFrame(n, 60)
		copy(f, peerMAC)
		require.True(t, q.tx.put(f, &meta))
	}
	require.Equal(t, 5, q.tx.waiting())
	if len(q.pool.free)%2 == 0 {
		q.Rx(dataplane.NewBatch())
	} else {
		q.Wait(0)
	}
	require.Zero(t, q.tx.pending)
	for n := range 5 {
		f, _ := peer.recv()
		require.Equal(t, testFrame(n, 60)[14:], f[14:])
	}
}

// A slot the kernel finds fault with is dropped and counted, the others go out.
func TestTxRefusedFrames(t *testing.T) {
	for name, bad := range map[string][]int{"first": {0}, "middle": {2}, "last": {4}, "some": {1, 2, 4}, "all": {0, 1, 2, 3, 4}} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			q, peer := l.open(Config{TxRing: minRing}).queues[0], l.peer(false)
			var meta dataplane.Meta
			q.tx.head = 0
			for round := range 2 {
				isBad := map[int]bool{}
				for _, n := range bad {
					isBad[n] = true
				}
				for n := range 5 {
					f := testFrame(10*round+n, 60)
					copy(f, peerMAC)
					off := q.tx.at(q.tx.head)
					require.True(t, q.tx.put(f, &meta))
					if isBad[n] {
						q.tx.mem[off+5] = 0xff // tp_len beyond the slot
					}
				}
				q.kick()
				require.Zero(t, q.tx.pending)
				require.EqualValues(t, len(bad)*(round+1), q.st.TxErrors)
				for n := range 5 {
					if !isBad[n] {
						f, _ := peer.recv()
						require.Equal(t, testFrame(10*round+n, 60)[14:], f[14:])
					}
				}
			}
		})
	}
}

func TestTxLengths(t *testing.T) {
	l := newLab(t)
	p := l.open(Config{})
	q := p.Queue(0)
	b := dataplane.NewBatch()
	for n, f := range [][]byte{nil, make([]byte, 13), make([]byte, 1515), make([]byte, 5000)} {
		require.Equal(t, 1, q.Blank(b, 1))
		b.Data[0], b.Verdict[0] = append(b.Data[0], f...), dataplane.Reply
		require.Equal(t, 1, q.Settle(b))
		s := p.Stats(0)
		require.EqualValues(t, n+1, s.TxErrors)
		require.EqualValues(t, n+1, s.TxFrames)
	}
	peer := l.peer(false)
	full := testFrame(1, 1514)
	copy(full, peerMAC)
	tagged := ether(peerMAC, ourMAC, etherTest, full[14:], 5)
	require.Equal(t, 2, say(t, q, full, tagged))
	f, _ := peer.recv()
	require.Equal(t, full, f)
	_, tci := peer.recv()
	require.Equal(t, 5, tci)
}

func ethtoolK(t *testing.T, l *lab) string {
	dptest.Need(t, "ethtool")
	return l.Exec(t, l.NS, "ethtool", "-k", l.If)
}

func TestOffloadsOffAndRestored(t *testing.T) {
	l := newLab(t)
	// One thing is off already and must stay so.
	l.Exec(t, l.NS, "ethtool", "-K", l.If, "tso", "off", "gro", "on")
	before := ethtoolK(t, l)
	require.Contains(t, before, "tcp-segmentation-offload: off")
	require.Contains(t, before, "generic-receive-offload: on")
	p := l.open(Config{OffloadsOff: true})
	during := ethtoolK(t, l)
	for _, f := range []string{"rx-checksumming", "tx-checksumming", "tcp-segmentation-offload", "generic-segmentation-offload", "generic-receive-offload", "large-receive-offload"} {
		require.Contains(t, during, f+": off")
	}
	require.NoError(t, p.Close())
	require.Equal(t, before, ethtoolK(t, l))

	p = l.open(Config{}) // keep
	require.Equal(t, before, ethtoolK(t, l))
	require.NoError(t, p.Close())

	// A rename does not lose the interface.
	p = l.open(Config{OffloadsOff: true})
	l.ourIP("link", "set", l.If, "down")
	l.ourIP("link", "set", l.If, "name", "renamed0")
	l.ourIP("link", "set", "renamed0", "up")
	require.True(t, p.Info().Up)
	require.NoError(t, p.Close())
	l.ourIP("link", "set", "renamed0", "down")
	l.ourIP("link", "set", "renamed0", "name", l.If)
	l.ourIP("link", "set", l.If, "up")
	require.Equal(t, before, ethtoolK(t, l))
}

func count(t *testing.T, path, what string) int {
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return strings.Count(string(b), what)
}

func TestCloseLeaksNothing(t *testing.T) {
	l := newLab(t)
	fds := func() int {
		d, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		n := 0
		for _, e := range d {
			to, _ := os.Readlink("/proc/self/fd/" + e.Name())
			if strings.HasPrefix(to, "socket:") || to == "anon_inode:[eventfd]" {
				n++
			}
		}
		return n
	}
	before := ethtoolK(t, l)
	sockets, maps := fds(), count(t, "/proc/self/maps", "socket:")
	for range 2 {
		p := l.open(Config{Queues: 3, OffloadsOff: true})
		require.Equal(t, sockets+11, fds())
		require.Equal(t, maps+6, count(t, "/proc/self/maps", "socket:"))
		require.NoError(t, p.Close())
		require.NoError(t, p.Close(), "twice")
		require.False(t, p.Info().Up)
		// A queue used after Close is a mistake, but a harmless one.
		q, b := p.Queue(0), dataplane.NewBatch()
		require.Zero(t, q.Rx(b))
		q.Wait(time.Hour)
		say(t, q, testFrame(0, 60))
		require.Error(t, q.Err())

		// Open that fails half way: every stage of the queues, then the offloads.
		var lim, low unix.Rlimit
		require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &lim))
		low = lim
		failed := 0
		l.InNS(l.t, func() {
			for extra := range uint64(27) {
				low.Cur = uint64(sockets) + extra
				require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &low))
				p, err := Open(Config{Interface: l.If, Queues: 3, OffloadsOff: true, RxRing: minRing, TxRing: minRing})
				require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &lim))
				if err != nil {
					require.ErrorIs(t, err, unix.EMFILE)
					failed++
					continue
				}
				require.NoError(t, p.Close())
			}
		})
		require.GreaterOrEqual(t, failed, 10)
		require.Equal(t, sockets, fds())
		require.Equal(t, maps, count(t, "/proc/self/maps", "socket:"))
	}
	require.Equal(t, before, ethtoolK(t, l))
}

func TestKeptFrameOutlivesClose(t *testing.T) {
	l := newLab(t)
	p := l.open(Config{})
	q, peer := p.Queue(0), l.peer(false)
	peer.send(testFrame(7, 60))
	b := dataplane.NewBatch()
	var kept []byte
	for end := time.Now().Add(deadline); kept == nil && time.Now().Before(end); {
		q.Wait(deadline)
		for i := range q.Rx(b) {
			if isTest(b.Data[i]) {
				b.Verdict[i], kept = dataplane.Keep, b.Data[i]
			}
		}
		q.Settle(b)
	}
	require.NoError(t, p.Close())
	require.Equal(t, testFrame(7, 60), kept)
}

// A port seen from a namespace where it does not exist keeps its own.
func TestInfoFromAnotherNamespace(t *testing.T) {
	l := newLab(t)
	p := l.open(Config{})
	l.InPeerNS(l.t, func() { require.True(t, p.Info().Up) })
}

func TestJumboMTU(t *testing.T) {
	rings(t, func(t *testing.T, r Ring) {
		l := newLab(t, dptest.LabMTU(9000))
		p := l.open(Config{Ring: r})
		require.Equal(t, 9000, p.Info().MTU)
		q, peer := p.Queue(0), l.peer(false)
		f := testFrame(1, 9014)
		peer.send(f)
		got, _ := collect(t, q, 1, isTest)
		requireFrames(t, [][]byte{f}, got)
		copy(f, peerMAC)
		require.Equal(t, 1, say(t, q, f))
		back, _ := peer.recv()
		requireFrames(t, [][]byte{f}, [][]byte{back})
	})
}
