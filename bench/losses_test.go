package bench

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane"
)

// stageOf is a stage of a report's path.
func stageOf(t testing.TB, r *Report, name string) Stage {
	t.Helper()
	for _, s := range r.Path {
		if s.Name == name {
			return s
		}
	}
	require.Fail(t, "no stage "+name)
	return Stage{}
}

func pathText(r *Report) string {
	var b bytes.Buffer
	r.textPath(&b)
	return b.String()
}

// Nothing is lost on a good wire: each frame is followed from one end to the other.
func TestPathWithoutLoss(t *testing.T) {
	for _, scenario := range []string{ScenarioHandshake, ScenarioHTTP, ScenarioSYNFlood, ScenarioEcho} {
		t.Run(scenario, func(t *testing.T) {
			r := measure(t, Config{Scenario: scenario, Count: 2000, Workers: 2, InitialRTO: time.Minute})
			require.Len(t, r.Path, 7)
			for _, s := range r.Path {
				require.True(t, s.Seen, s.Name)
				if r.SYNFlood.Stalls+r.Echo.Stalls == 0 {
					require.Empty(t, s.Lost, s.Name)
				}
				require.Empty(t, s.Added, s.Name)
			}
			require.Equal(t, r.Frames.TX, stageOf(t, r, "sent").In)
			require.Equal(t, r.Frames.TX, stageOf(t, r, "peer").In, "all that was sent arrived")
			require.Equal(t, r.Frames.RX, stageOf(t, r, "ring").Out)
			if scenario == ScenarioHandshake {
				require.Regexp(t, `^path        [\d,]+ frames out, [\d,]+ back, none lost\n$`, pathText(r))
			}
		})
	}
}

// What an impairment does is found at the stage where it was done, to the frame.
func TestPathNamesTheStage(t *testing.T) {
	for name, tc := range map[string]struct {
		impair string
		stages map[string][]string // and what each lost
		added  []string
	}{
		"sending":   {"impair(loss=5%,seed=3)", map[string][]string{"wire": {"impair_tx_lost"}, "return": {"impair_tx_lost"}}, nil},
		"receiving": {"impair(loss=5%,seed=3,dir=rx)", map[string][]string{"wire": {"impair_rx_lost"}, "return": {"impair_rx_lost"}}, nil},
		"corrupt":   {"impair(corrupt=5%,seed=3)", map[string][]string{"peer": {"bad_tcp_checksum"}, "parse": {"bad_tcp_checksum"}}, nil},
		"copies":    {"impair(dup=5%,seed=3)", nil, []string{"wire", "return"}},
		"nested":    {"impair(loss=2%,seed=3):impair(loss=2%,dup=2%,seed=4)", map[string][]string{"wire": {"impair_tx_lost"}}, []string{"wire"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := measure(t, Config{
				Port: tc.impair + ":loop:", Count: 2000, InitialRTO: 5 * time.Millisecond, SYNRetries: 20, Drain: time.Minute, Close: CloseFIN,
			})
			for stage, reasons := range tc.stages {
				for _, reason := range reasons {
					require.NotZero(t, stageOf(t, r, stage).Lost[reason], "%s: %s", stage, reason)
					require.Contains(t, pathText(r), reason)
				}
			}
			for _, stage := range tc.added {
				require.NotZero(t, stageOf(t, r, stage).Added["impair_tx_duplicated"], stage)
			}
			var lost uint64
			for _, stage := range []string{"wire", "return"} {
				lost += stageOf(t, r, stage).Lost["impair_tx_lost"] + stageOf(t, r, stage).Lost["impair_rx_lost"]
			}
			require.Equal(t, r.Drops["impair_tx_lost"]+r.Drops["impair_rx_lost"], lost)
		})
	}
}

// With a peer that is not ours, what is beyond our device is bounded by the answers that did not come.
func TestPathToAForeignPeer(t *testing.T) {
	peer(t, t.Name(), fastsyn.Config{Raw: func(int) fastsyn.Raw { return deaf{} }})
	c := toPeer(t.Name())
	c.Count, c.Concurrency, c.InitialRTO, c.SYNRetries = 100, 50, 2*time.Millisecond, 3
	r := measure(t, c)
	p := stageOf(t, r, "peer")
	require.False(t, p.Seen)
	require.Equal(t, map[string]uint64{"syns_repeated": 300, "timed_out": 100}, p.Lost)
	require.False(t, stageOf(t, r, "wire").Seen)
	require.False(t, stageOf(t, r, "return").Seen)
	require.True(t, stageOf(t, r, "sent").Seen)
	require.True(t, stageOf(t, r, "ring").Seen)
	require.Contains(t, pathText(r), "peer    not ours to see; at most: syns_repeated 300, timed_out 100")

	peer(t, t.Name()+"/well", fastsyn.Config{Listeners: []fastsyn.Listener{{Addr: ":80", Callbacks: fastsyn.Callbacks{Bare: true, AutoClose: true}}}})
	c = toPeer(t.Name() + "/well")
	c.Count, c.InitialRTO = 100, time.Minute
	r = measure(t, c)
	require.Contains(t, pathText(r), "none lost at our end, and nothing unanswered")
}

// A count that does not close is an invalid report, whichever stage it is of.
func TestPathMustClose(t *testing.T) {
	r := sample()
	r.Path = []Stage{{Name: "ring", In: 10, Out: 8, Lost: map[string]uint64{"rx_missed": 2}, Seen: true}, {Name: "peer", In: 7, Out: 5}}
	r.closePath()
	r.judge()
	require.True(t, r.Valid)
	r.Equations = r.Equations[:0]
	r.Path[0].Out++
	r.closePath()
	r.judge()
	require.Equal(t, "path, ring: in + added = out + lost: 10 is not 11", r.InvalidReason)
}

func TestReconcile(t *testing.T) {
	tr := &traffic{device: dataplane.Stats{RxFrames: 95, TxFrames: 50, TxErrors: 2}, own: dataplane.Stats{RxMissed: 5}}
	got := tr.reconcile("client", map[string]uint64{"rx_packets": 103, "tx_packets": 48})
	require.Equal(t, []Balance{
		{"client: frames received", 100, "rx_packets", 103, 3, "frames for the kernel, or for others, that our socket does not take"},
		{"client: frames sent", 48, "tx_packets", 48, 0, ""},
	}, got)
	got = tr.reconcile("server", map[string]uint64{"rx_good_packets": 95, "tx_good_packets": 40})
	require.Equal(t, []Balance{
		{"server: frames received", 95, "rx_good_packets", 95, 0, ""},
		{"server: frames sent", 48, "tx_good_packets", 40, -8, "frames in its ring that were not sent when it was asked, or not counted yet"},
	}, got)
	require.Equal(t, int64(-48), tr.reconcile("client", map[string]uint64{"rx_packets": 1})[1].Difference, "zeros are left out of what a device says")
	require.Empty(t, tr.reconcile("client", map[string]uint64{"link_up": 1}))

	r := &Report{Reconciled: got}
	var b bytes.Buffer
	r.textReconciled(&b)
	require.Equal(t, "reconciled  server: frames sent: 48 by our count, 40 by tx_good_packets of the device: 8 are frames in its ring that were not sent when it was asked, or not counted yet\n"+
		"reconciled  1 counter of the device and ours are the same\n", b.String())
}
