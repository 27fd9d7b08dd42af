package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/dataplane/loop"
	"github.com/fastsyn/fastsyn/dataplane/worker"
)

// frameFromTo is a frame of n bytes whose payload counts up.
func frameFromTo(src, dst string, n int) []byte {
	s, _ := net.ParseMAC(src)
	d, _ := net.ParseMAC(dst)
	f := slices.Concat(d, s, []byte{0x88, 0xb5})
	for i := len(f); i < n; i++ {
		f = append(f, byte(i))
	}
	return f[:n]
}

const (
	macA, macB = "02:00:00:00:00:0a", "de:ad:be:ef:00:0b"
	groupMAC   = "01:00:5e:00:00:01"
	everybody  = "ff:ff:ff:ff:ff:ff"
)

func TestReflectorSwapsAddresses(t *testing.T) {
	p := dptest.NewPort(t, dptest.PortConfig{Room: 256})
	r := newReflector(p.Queue(0))
	var want [][]byte
	for _, n := range []int{14, 15, 60, 200, 256} {
		p.Inject(0, frameFromTo(macA, macB, n), dataplane.Meta{})
		want = append(want, frameFromTo(macB, macA, n))
	}
	n, worked, _ := r.turn(0)
	require.Equal(t, 5, n)
	require.True(t, worked)
	require.Equal(t, want, p.Sent(0))
	n, worked, next := r.turn(0)
	require.Zero(t, n)
	require.False(t, worked)
	require.Equal(t, never, next)
}

func TestReflectorDrops(t *testing.T) {
	tag := dataplane.Meta{VLAN: 0x6123, Flags: dataplane.MetaVLAN}
	for _, tc := range []struct {
		name  string
		frame []byte
		meta  dataplane.Meta
		why   reflectDrop
	}{
		{"from broadcast", frameFromTo(everybody, macB, 60), dataplane.Meta{}, groupSource},
		{"from multicast", frameFromTo(groupMAC, macB, 60), dataplane.Meta{}, groupSource},
		{"from and to a group", frameFromTo(groupMAC, everybody, 60), dataplane.Meta{}, groupSource},
		{"to broadcast", frameFromTo(macA, everybody, 60), dataplane.Meta{}, groupDestination},
		{"to multicast, tagged", frameFromTo(macA, groupMAC, 60), tag, groupDestination},
		{"truncated", frameFromTo(macA, macB, 60), dataplane.Meta{Flags: dataplane.MetaTruncated}, reflectTruncated},
		{"no room for the tag", frameFromTo(macA, macB, 253), tag, reflectTruncated},
		{"short", frameFromTo(macA, macB, 13), dataplane.Meta{}, reflectShort},
		{"empty", nil, dataplane.Meta{}, reflectShort},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := dptest.NewPort(t, dptest.PortConfig{Room: 256})
			r := newReflector(p.Queue(0))
			p.Inject(0, tc.frame, tc.meta)
			p.Inject(0, frameFromTo(macA, macB, 60), dataplane.Meta{})
			n, _, _ := r.turn(0)
			require.Equal(t, 2, n)
			require.Equal(t, [][]byte{frameFromTo(macB, macA, 60)}, p.Sent(0), "the frame after it is answered")
			var want [numReflectDrops]uint64
			want[tc.why] = 1
			require.Equal(t, want, r.drops)
			require.Equal(t, uint64(1), r.sent)
		})
	}
}

// A tag that the device took out of the frame goes back in.
func TestReflectorRestoresTag(t *testing.T) {
	p := dptest.NewPort(t, dptest.PortConfig{})
	r := newReflector(p.Queue(0))
	in := frameFromTo(macA, macB, 60)
	p.Inject(0, in, dataplane.Meta{VLAN: 0x6123, Flags: dataplane.MetaVLAN})
	r.turn(0)
	out := frameFromTo(macB, macA, 60)
	require.Equal(t, [][]byte{slices.Concat(out[:12], []byte{0x81, 0x00, 0x61, 0x23}, out[12:])}, p.Sent(0))
}

func TestReflectorCountsFullRing(t *testing.T) {
	p := dptest.NewPort(t, dptest.PortConfig{})
	r := newReflector(p.Queue(0))
	p.Refuse(0, 3)
	for range 10 {
		p.Inject(0, frameFromTo(macA, macB, 60), dataplane.Meta{})
	}
	r.turn(0)
	require.Equal(t, uint64(3), r.sent)
	require.Equal(t, uint64(7), r.full)
}

func TestReflectorDoesNotAllocate(t *testing.T) {
	r, other := reflectorOnWire(t)
	b := dataplane.NewBatch()
	require.Zero(t, testing.AllocsPerRun(200, func() {
		bounce(t, r, other, b)
	}))
	require.NotZero(t, r.sent)
}

func reflectorOnWire(t testing.TB) (*reflector, dataplane.Queue) {
	a, b, err := loop.Pair(loop.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return newReflector(a.Queue(0)), b.Queue(0)
}

// bounce has r reflect a full burst from q.
func bounce(t testing.TB, r *reflector, q dataplane.Queue, b *dataplane.Batch) {
	q.Blank(b, dataplane.BatchSize)
	for i := range b.N {
		d := b.Data[i][:60]
		copy(d, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5})
		b.Data[i], b.Verdict[i] = d, dataplane.Reply
	}
	q.Settle(b)
	r.turn(0)
	if q.Rx(b) != dataplane.BatchSize || b.Data[0][5] != 2 || b.Data[63][11] != 1 {
		t.Fatal("not reflected")
	}
	q.Settle(b)
}

// BenchmarkReflector is the cost of the reflector without its wire.
func BenchmarkReflector(b *testing.B) {
	r := newReflector(nil)
	frames := blank(dataplane.BatchSize)
	for i := range frames.N {
		frames.Data[i] = frames.Data[i][:60]
		frames.Data[i][0], frames.Data[i][6] = 2, 2
	}
	r.b = frames
	for b.Loop() {
		r.swap()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/dataplane.BatchSize, "ns/pkt")
}

// Two queues, each with a thread of its own, until the context ends.
func TestReflect(t *testing.T) {
	p := dptest.NewPort(t, dptest.PortConfig{Queues: 2})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready := make(chan dataplane.Info, 1)
	var rep *ReflectReport
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		rep, err = Reflect(ctx, ReflectConfig{Port: "test", Device: p, Pin: "off", Polling: "adaptive", Ready: func(i dataplane.Info) { ready <- i }}, nil)
	}()
	require.Equal(t, 2, (<-ready).Queues)
	for q := range 2 {
		for range 3 + q {
			p.Inject(q, frameFromTo(macA, macB, 60), dataplane.Meta{})
		}
		p.Inject(q, frameFromTo(everybody, macB, 60), dataplane.Meta{})
	}
	var sent [2]int
	for end := time.Now().Add(time.Minute); sent != [2]int{3, 4}; time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(end), "reflected %v", sent)
		sent[0] += len(p.Sent(0))
		sent[1] += len(p.Sent(1))
	}
	cancel()
	<-done
	require.NoError(t, err)
	require.True(t, rep.Valid, rep.InvalidReason)
	require.True(t, p.Closed())
	require.Equal(t, [4]uint64{9, 7, 0, 2}, [4]uint64{rep.Received, rep.Reflected, rep.NotSent, rep.Dropped})
	require.Equal(t, []uint64{4, 5}, rep.PerQueue)
	require.Equal(t, uint64(2), rep.Drops["group_source"])
	require.Equal(t, "02:66:73:00:00:09", rep.MAC)

	var b bytes.Buffer
	require.NoError(t, rep.WriteText(&b))
	require.Contains(t, b.String(), "9 received = 7 reflected + 0 not sent + 2 dropped")
	require.Contains(t, b.String(), "4 + 5")
	require.Contains(t, b.String(), "VALID: all sums close")
	b.Reset()
	require.NoError(t, rep.WriteJSON(&b))
	var m map[string]any
	require.NoError(t, json.Unmarshal(b.Bytes(), &m))
	require.Equal(t, ReflectSchema, m["schema"])
	require.Equal(t, true, m["valid"])

	rep.Equations[0].Holds = false
	rep.Valid, rep.InvalidReason = judge(rep.Equations)
	require.False(t, rep.Valid)
}

// A device that fails ends the reflector with its error, and what it did is told.
func TestReflectDeviceFails(t *testing.T) {
	p := dptest.NewPort(t, dptest.PortConfig{})
	gone := errors.New("unplugged")
	rep, err := Reflect(t.Context(), ReflectConfig{Device: p, Pin: "off", Polling: "adaptive", Ready: func(dataplane.Info) { p.Fail(0, gone) }}, nil)
	require.ErrorIs(t, err, gone)
	require.NotNil(t, rep)
	require.True(t, p.Closed())

	_, err = Reflect(t.Context(), ReflectConfig{Port: "loop", Polling: "bussy"}, nil)
	var fe *FlagError
	require.ErrorAs(t, err, &fe)
	require.Equal(t, "polling", fe.Flag)
}

// attaching is a queue whose driver keeps state per thread.
type attaching struct {
	*dptest.Queue
	log []string
	err error
}

func (a *attaching) Attach() error {
	a.log = append(a.log, "attach")
	return a.err
}
func (a *attaching) Detach() { a.log = append(a.log, "detach") }

type attachPort struct {
	*dptest.Port
	q *attaching
}

func (p attachPort) Queue(int) dataplane.Queue { return p.q }

// The thread is attached before the first poll and detached after the last; when
// that fails nothing is polled.
func TestPollerAttaches(t *testing.T) {
	inner := dptest.NewPort(t, dptest.PortConfig{})
	p := attachPort{inner, &attaching{Queue: inner.Queue(0).(*dptest.Queue)}}
	turns := 0
	st := stationFunc(func() { turns++; require.Equal(t, []string{"attach"}, p.q.log) })
	all := startPollers("test", p, nil, false, func(int) station { return st })
	require.NoError(t, all.Do(0, func() {}))
	all.Stop()
	require.Equal(t, []string{"attach", "detach"}, p.q.log)
	require.NotZero(t, turns)
	require.NoError(t, all.Err())

	turns, p.q.log, p.q.err = 0, nil, errors.New("no lcore left")
	all = startPollers("test", p, nil, false, func(int) station { return st })
	require.ErrorIs(t, all.Wait(t.Context()), p.q.err)
	require.ErrorIs(t, all.Do(0, func() {}), worker.ErrStopped)
	require.ErrorIs(t, all.Err(), p.q.err)
	require.Zero(t, turns)
	require.Equal(t, []string{"attach"}, p.q.log)
	require.NoError(t, all.Close())
}

type stationFunc func()

func (f stationFunc) turn(now int64) (int, bool, int64) { f(); return 0, false, now + 1e6 }
func (stationFunc) stats(*worker.Stats)                 {}

// counting is a port whose device keeps counters.
type counting struct{ dataplane.Port }

func (counting) Counters() map[string]uint64 {
	return map[string]uint64{"rx_good_packets": 7, "rx_crc_errors": 0}
}

type wrapping struct{ dataplane.Port }

func (w wrapping) Unwrap() dataplane.Port { return w.Port }

func TestDeviceCounters(t *testing.T) {
	p := dptest.NewPort(t, dptest.PortConfig{})
	require.Equal(t, map[string]uint64{}, DeviceCounters(p))
	want := map[string]uint64{"rx_good_packets": 7}
	require.Equal(t, want, DeviceCounters(counting{p}))
	require.Equal(t, want, DeviceCounters(wrapping{wrapping{counting{p}}}))
}
