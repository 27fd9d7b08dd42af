package bench

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/rss"
)

func threeQueues(t testing.TB, ports ...rss.PortRange) (*rss.Picker, rss.RETA) {
	t.Helper()
	reta, err := rss.NewRETA(128, 3)
	require.NoError(t, err)
	picker, err := newPicker(dataplane.Info{Queues: 3, RSSKey: rss.SymmetricKey[:], RETA: reta}, ports...)
	require.NoError(t, err)
	return picker, reta
}

var toeplitz = rss.New(rss.SymmetricKey)

// queueOf is where the answers to a tuple come to.
func queueOf(reta rss.RETA, x *wire.Tuple) uint16 {
	if x.Remote.Is4() {
		return reta.Queue(toeplitz.Hash4(x.Remote.V4(), x.Local.V4(), x.RemotePort, x.LocalPort))
	}
	return reta.Queue(toeplitz.Hash6(x.Remote.Hi, x.Remote.Lo, x.Local.Hi, x.Local.Lo, x.RemotePort, x.LocalPort))
}

func TestTWT_010_TuplesStayOnTheirQueue(t *testing.T) {
	picker, reta := threeQueues(t)
	for _, a := range []struct {
		pool, remote string
		n            uint64
	}{{"198.18.1.0/29", "198.18.0.1:80", 6}, {"2001:2::1:0/125", "[2001:2::1]:80", 7}, {"10.0.0.0/8", "198.18.0.1:80", 1<<24 - 2}, {"2001:2:1::/64", "[2001:2::1]:80", maxSpan - 1}} {
		remote := addrPort(a.remote)
		locals := sources(nil, []string{a.pool}, remote.addr)
		require.Equal(t, a.n, locals.n)
		for q := range 3 {
			tu, err := newTuples(picker, locals, remote.addr, 80, q, 1)
			require.NoError(t, err)
			if tu.crowd != nil {
				require.InEpsilon(t, min(float64(a.n)*(lastPort-firstPort+1)/3, 1<<62), float64(tu.total), 0.02)
			}
			seen := map[wire.Tuple]bool{}
			for range min(tu.total, 10000) {
				x := *tu.next()
				if seen[x] || x.LocalPort < firstPort || queueOf(reta, &x) != uint16(q) {
					t.Fatalf("%v is dealt twice, or not for queue %d", x, q)
				}
				seen[x] = true
			}
		}
	}
}

// All ports of one address, then they begin anew; the seed decides where.
func TestTuplesLap(t *testing.T) {
	picker, err := newPicker(dataplane.Info{Queues: 1})
	require.NoError(t, err)
	remote := wire.Addr4(0xc6120001)
	deal := func(seed uint64) []uint16 {
		tu, err := newTuples(picker, sources([]string{"198.18.1.1/32"}, nil, remote), remote, 80, 0, seed)
		require.NoError(t, err)
		var ports []uint16
		for range 2 * (lastPort - firstPort + 1) {
			ports = append(ports, tu.next().LocalPort)
		}
		require.Equal(t, uint64(1), tu.laps)
		return ports
	}
	one := deal(1)
	seen := map[uint16]int{}
	for _, p := range one {
		seen[p]++
	}
	require.Len(t, seen, lastPort-firstPort+1)
	for p, n := range seen {
		require.Equal(t, 2, n, p)
	}
	require.Equal(t, one, deal(1))
	require.NotEqual(t, one[0], deal(2)[0])
}

// A crowd uses each address once a round, and each tuple once until all were used; all of the pool is reached soon.
func TestTuplesOfACrowd(t *testing.T) {
	picker, reta := threeQueues(t, rss.PortRange{Lo: 5000, Hi: 5004}, rss.PortRange{Lo: 5003, Hi: 5009})
	remote := addrPort("198.18.0.1:80")
	locals := sources([]string{"198.18.7.7/16"}, []string{"198.19.0.0/19", "10.1.2.0/30", "2001:2:1::/64"}, remote.addr)
	require.Equal(t, uint64(1+8190+2), locals.n)
	all := map[wire.Tuple]bool{}
	for q := range 3 {
		tu, err := newTuples(picker, locals, remote.addr, 80, q, 5)
		require.NoError(t, err)
		require.NotNil(t, tu.crowd)
		ports := map[wire.Addr]int{} // of this queue
		for i := range locals.n {
			if n := start(picker, locals.at(i), remote.addr, 80).Count(q); n > 0 {
				ports[locals.at(i)] = n
			}
		}
		used := map[wire.Addr]int{}
		for tu.crowd.round < 10 {
			x := *tu.next()
			if queueOf(reta, &x) != uint16(q) || x.LocalPort < 5000 || x.LocalPort > 5009 {
				t.Fatalf("%v is not for queue %d", x, q)
			}
			if used[x.Local] < ports[x.Local] && all[x] {
				t.Fatalf("%v is dealt twice", x)
			}
			all[x] = true
			if used[x.Local]++; used[x.Local] > int(tu.crowd.round)+1 {
				t.Fatalf("%v comes twice in a round", x.Local)
			}
		}
		require.Len(t, used, len(ports))
		require.InDelta(t, float64(locals.n)*10/3, float64(tu.total), 0.05*float64(locals.n)*10/3)
	}
	require.Len(t, all, int(locals.n)*10, "every port of every address, on one of the queues")

	// After a thousand opens each of a hundred parts of a /8 has had one.
	big := sources(nil, []string{"10.0.0.0/8"}, remote.addr)
	tu, err := newTuples(picker, big, remote.addr, 80, 0, 6)
	require.NoError(t, err)
	parts := map[uint32]bool{}
	for range 1000 {
		parts[(tu.next().Local.V4()&0xffffff)*100>>24] = true
	}
	require.Len(t, parts, 100)
	require.Zero(t, testing.AllocsPerRun(1000, func() { tu.next() }))
}

// However large the pool, nothing is kept for its addresses.
func TestLargePoolsTakeNoMemory(t *testing.T) {
	picker, _ := threeQueues(t)
	for _, p := range []struct{ pool, remote string }{{"10.0.0.0/8", "198.18.0.1:80"}, {"::/0", "[2001:2::1]:80"}} {
		remote := addrPort(p.remote)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		locals := sources(nil, []string{p.pool}, remote.addr)
		_, err := newTuples(picker, locals, remote.addr, 80, 0, 1)
		require.NoError(t, err)
		runtime.ReadMemStats(&after)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<10), p.pool)
	}
}

func TestTuplesWithoutPorts(t *testing.T) {
	// One port: its answers come to one of three queues, which one depends on the address.
	picker, _ := threeQueues(t, rss.PortRange{Lo: 4000, Hi: 4000})
	remote := addrPort("198.18.0.1:80")
	failed := 0
	for q := range 3 {
		if _, err := newTuples(picker, sources([]string{"198.18.1.1/16"}, nil, remote.addr), remote.addr, 80, q, 1); err != nil {
			require.ErrorContains(t, err, "use fewer workers, or more ports (--ports)")
			failed++
		}
		_, err := newTuples(picker, sources(nil, []string{"10.0.0.0/8"}, remote.addr), remote.addr, 80, q, 1)
		require.NoError(t, err, "others have it")
	}
	require.Equal(t, 2, failed)
}

func TestInvented(t *testing.T) {
	remote := addrPort("198.18.0.1:80").addr
	p, err := invented([]string{"198.18.1.1/16"}, []string{"2001:2::/64", "198.19.7.9/16", "10.0.0.4/31", "10.0.0.9/32"}, remote)
	require.NoError(t, err)
	require.Equal(t, uint64(65534+2+1), p.n)
	require.Equal(t, []string{"198.19.0.1", "198.19.255.254", "10.0.0.4", "10.0.0.5", "10.0.0.9"},
		[]string{p.at(0).String(), p.at(65533).String(), p.at(65534).String(), p.at(65535).String(), p.at(65536).String()})
	p, err = invented([]string{"198.18.1.1/16"}, nil, remote)
	require.NoError(t, err)
	require.Equal(t, "198.18.1.1", p.at(0).String())
	require.Equal(t, uint64(1), p.n)
	_, err = invented([]string{"2001:2::1/64"}, nil, remote)
	require.Error(t, err)
}

func TestParsePorts(t *testing.T) {
	for text, want := range map[string][]rss.PortRange{
		"":                {{Lo: 1024, Hi: 65535}},
		"80":              {{Lo: 80, Hi: 80}},
		"4000, 5000-5999": {{Lo: 4000, Hi: 4000}, {Lo: 5000, Hi: 5999}},
	} {
		got, err := parsePorts(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, bad := range []string{"0", "5-4", "1-65536", "a", "1-", "-5", ",", "1..5"} {
		require.ErrorContains(t, Config{Ports: bad}.Validate(), "want a port or a range of them, from 1 to 65535", bad)
	}
	require.ErrorContains(t, Config{Scenario: ScenarioEcho, Ports: "80"}.Validate(), "--ports 80: an echo knows no IP addresses")
}

// A pool that has the peer in it would make its address ours.
func TestPoolWithThePeer(t *testing.T) {
	c := Config{Port: "afpacket:veth0", Connect: "10.71.0.2:80", Addrs: []string{"10.71.0.1/24"}, Pools: []string{"10.128.0.0/10"}}
	require.NoError(t, c.Validate())
	c.Pools = []string{"10.64.0.0/10"}
	require.ErrorContains(t, c.Validate(), "--pool 10.64.0.0/10: the peer, 10.71.0.2, is in it")
}

// Ports that were asked for are those that come, from pools of any size, in a flood as well.
func TestPortsOfARun(t *testing.T) {
	for _, name := range []string{ScenarioHandshake, ScenarioSYNFlood} {
		for _, v6 := range []bool{false, true} {
			r := measure(t, Config{Scenario: name, Ports: "2000-2999,4000", Count: 3000, Workers: 3, Concurrency: 64, IPv6: v6})
			require.Equal(t, uint64(3000), r.Handshakes.Established+r.SYNFlood.Answered)
		}
	}
}
