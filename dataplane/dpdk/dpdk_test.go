//go:build dpdk && cgo && linux

package dpdk

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/rssprobe"
)

// The EAL starts once in a process, so all tests use the same: ordinary memory.
var testEAL = EALConfig{NoHuge: true, Memory: 1 << 30}

// open opens a device and checks, when the test ends, that all its frames came home.
func open(t *testing.T, cfg Config) *Port {
	t.Helper()
	cfg.EAL = testEAL
	p, err := Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

// pair opens both ends of a wire of rings.
func pair(t *testing.T, cfg Config) (a, b *Port) {
	t.Helper()
	cfg.Device = "net_ring,wire=" + t.Name()
	return open(t, cfg), open(t, cfg)
}

// send sends frames from queue q of p and returns how many were taken.
func send(t *testing.T, q dataplane.Queue, frames ...[]byte) int {
	t.Helper()
	b := dataplane.NewBatch()
	require.Equal(t, len(frames), q.Blank(b, len(frames)))
	for i, f := range frames {
		b.Data[i] = append(b.Data[i], f...)
		b.Verdict[i] = dataplane.Reply
	}
	return q.Settle(b)
}

func frame(p *Port, n byte) []byte {
	f := make([]byte, 60)
	copy(f, p.info.MAC)
	copy(f[6:], []byte{2, 0, 0, 0, 0, 1})
	f[12], f[13], f[14] = 0x88, 0xb5, n // an EtherType for experiments
	return f
}

func TestWireCarriesFramesBothWays(t *testing.T) {
	a, b := pair(t, Config{})
	require.NotEqual(t, a.Info().MAC, b.Info().MAC)
	require.True(t, a.Info().Up)
	batch := dataplane.NewBatch()
	for i := range 100 {
		require.Equal(t, 2, send(t, a.Queue(0), frame(b, byte(i)), frame(b, byte(i+1))))
		require.Equal(t, 2, b.Queue(0).Rx(batch))
		require.Equal(t, frame(b, byte(i)), batch.Data[0])
		require.Equal(t, frame(b, byte(i+1)), batch.Data[1])
		batch.Verdict[1] = dataplane.Reply
		batch.Data[1] = batch.Data[1][:54]
		require.Equal(t, 1, b.Queue(0).Settle(batch))
		require.Equal(t, 1, a.Queue(0).Rx(batch))
		require.Equal(t, frame(b, byte(i+1))[:54], batch.Data[0])
		a.Queue(0).Settle(batch)
	}
	require.Equal(t, dataplane.Stats{RxFrames: 100, RxBytes: 5400, TxFrames: 200, TxBytes: 12000}, a.Stats(0))
	require.Equal(t, dataplane.Stats{RxFrames: 200, RxBytes: 12000, TxFrames: 100, TxBytes: 5400}, b.Stats(0))
}

func TestSteersWhereTheDeviceCannot(t *testing.T) {
	for _, n := range []int{2, 3, 4} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			a, b := pair(t, Config{Queues: n})
			r, err := rssprobe.Ports(a, b, rssprobe.Config{Timeout: 30 * time.Second, Quiet: 5 * time.Second})
			require.NoError(t, err)
			require.Equal(t, rssprobe.Matches, r.Verdict, "%v", r)
			c := b.Counters()
			require.EqualValues(t, r.Sent, c["rss_checked"])
			require.Positive(t, c["steered"]) // all came to queue 0
			require.NotContains(t, c, "wrong_queue")
		})
	}
}

// null opens a device that receives without end and swallows what it is sent.
func null(t *testing.T, cfg Config, args string) *Port {
	t.Helper()
	cfg.Device = "net_null_" + t.Name() + args
	return open(t, cfg)
}

// A flood of frames: kept ones stay intact while others come and go, the pool runs
// dry without harm, and at the end every frame is at home.
func TestPoolExhausted(t *testing.T) {
	p := null(t, Config{Mbufs: minMbufs}, ",size=60,copy=1")
	q := p.Queue(0)
	type kept struct {
		data   []byte
		handle uint64
	}
	var held []kept
	b := dataplane.NewBatch()
	for range 1000 {
		n := q.Rx(b)
		for i := range n {
			b.Data[i][0] = byte(len(held))
			held = append(held, kept{b.Data[i], b.Handle[i]})
			b.Verdict[i] = dataplane.Keep
		}
		q.Settle(b)
	}
	free, all := p.Mbufs()
	require.Equal(t, minMbufs+jumboCount, all)
	require.Less(t, free-jumboCount, 64, "the rest waits in the stock and in the drivers' hands")
	require.Greater(t, len(held), minMbufs-200)
	require.Zero(t, q.Rx(b), "nothing is left to receive into")
	require.EqualValues(t, len(held), p.Stats(0).RxFrames)
	// The stock, then nothing.
	lent := []kept{}
	for range 10 {
		for i := range q.Blank(b, 64) {
			lent = append(lent, kept{b.Data[i], b.Handle[i]})
			b.Verdict[i] = dataplane.Keep
		}
		q.Settle(b)
	}
	require.LessOrEqual(t, len(lent), dataplane.BatchSize)
	require.Positive(t, p.Stats(0).NoBlank)
	for i, k := range held {
		require.Equal(t, byte(i), k.data[0])
	}
	// All go home, and all is as before.
	for _, list := range [][]kept{held, lent} {
		for len(list) > 0 {
			b.N = min(len(list), dataplane.BatchSize)
			for i := range b.N {
				b.Data[i], b.Handle[i], b.Verdict[i], b.Meta[i] = list[i].data, list[i].handle, dataplane.Drop, dataplane.Meta{}
			}
			list = list[b.N:]
			require.Zero(t, q.Settle(b))
		}
	}
	require.Equal(t, dataplane.BatchSize, q.Rx(b))
	q.Settle(b)
	q.(*queue).release()
	free, all = p.Mbufs()
	require.Equal(t, all, free, "every frame came home")
}

// What cannot be sent is refused by name and leaks nothing.
func TestSettleRefuses(t *testing.T) {
	a, b := pair(t, Config{})
	q, batch := a.Queue(0), dataplane.NewBatch()
	require.Equal(t, 4, q.Blank(batch, 4))
	batch.Data[0] = batch.Data[0][:13]               // no Ethernet header
	batch.Data[1] = batch.Data[1][:1500+14+4+1]      // longer than the MTU
	batch.Data[2] = append([]byte{}, frame(b, 1)...) // somebody else's memory
	batch.Data[3] = append(batch.Data[3], frame(b, 2)...)
	for i := range 4 {
		batch.Verdict[i] = dataplane.Reply
	}
	require.Equal(t, 4, q.Settle(batch), "the ring was not full")
	require.EqualValues(t, 3, a.Stats(0).TxErrors)
	require.EqualValues(t, 60, a.Stats(0).TxBytes)
	require.Equal(t, 1, b.Queue(0).Rx(batch))
	require.Equal(t, frame(b, 2), batch.Data[0])
	b.Queue(0).Settle(batch)
}

// A full transmit ring frees and counts, and the sums close.
func TestTxFull(t *testing.T) {
	a, b := pair(t, Config{RxDesc: 64, TxDesc: 64})
	sent := 0
	for range 10 {
		sent += send(t, a.Queue(0), frame(b, 1), frame(b, 2), frame(b, 3), frame(b, 4), frame(b, 5), frame(b, 6), frame(b, 7), frame(b, 8))
	}
	require.Equal(t, 63, sent) // a ring of 64 holds 63
	s := a.Stats(0)
	require.EqualValues(t, 63, s.TxFrames)
	require.EqualValues(t, 17, s.TxFull)
	require.EqualValues(t, 63*60, s.TxBytes)
	batch := dataplane.NewBatch()
	require.Equal(t, 63, b.Queue(0).Rx(batch))
	b.Queue(0).Settle(batch)
}

// A frame that is resliced from the front leaves from there.
func TestResliced(t *testing.T) {
	a, b := pair(t, Config{})
	q, batch := a.Queue(0), dataplane.NewBatch()
	q.Blank(batch, 1)
	batch.Data[0] = append(batch.Data[0], "front"...)
	batch.Data[0] = append(batch.Data[0], frame(b, 9)...)[5:]
	batch.Verdict[0] = dataplane.Reply
	require.Equal(t, 1, q.Settle(batch))
	b.Queue(0).Rx(batch)
	require.Equal(t, frame(b, 9), batch.Data[0])
	b.Queue(0).Settle(batch)
}

// A frame that came with a tag, which the device has stripped, leaves with it; one
// that was given a tag meanwhile is left alone.
func TestVLANTagIsPutBack(t *testing.T) {
	a, b := pair(t, Config{})
	q, batch := a.Queue(0), dataplane.NewBatch()
	plain := frame(b, 7)
	tagged := append(append(append([]byte{}, plain[:12]...), 0x81, 0, 0x20, 5), plain[12:]...)
	require.Equal(t, 3, q.Blank(batch, 3))
	for i, f := range [][]byte{plain, tagged, plain} {
		batch.Data[i], batch.Verdict[i] = append(batch.Data[i], f...), dataplane.Reply
		batch.Meta[i] = dataplane.Meta{VLAN: 0x2005, Flags: dataplane.MetaVLAN}
	}
	batch.Meta[2] = dataplane.Meta{VLAN: 9}
	require.Equal(t, 3, q.Settle(batch))
	require.EqualValues(t, 64+64+60, a.Stats(0).TxBytes)
	require.Equal(t, 3, b.Queue(0).Rx(batch))
	require.Equal(t, tagged, batch.Data[0])
	require.Equal(t, tagged, batch.Data[1])
	require.Equal(t, plain, batch.Data[2])
	b.Queue(0).Settle(batch)
	require.Zero(t, a.Stats(0).TxErrors)
}

// The path of a burst does not allocate.
func TestNoAllocations(t *testing.T) {
	for _, queues := range []int{1, 2} {
		t.Run(fmt.Sprint(queues), func(t *testing.T) {
			a, b := pair(t, Config{Queues: queues})
			in, out := dataplane.NewBatch(), dataplane.NewBatch()
			syn := frame(b, 0)
			syn = append(syn[:12], 0x08, 0x00, 0x45)
			syn = append(syn, make([]byte, 60)...)
			syn[23] = 6
			require.Zero(t, testing.AllocsPerRun(200, func() {
				n := a.Queue(0).Blank(out, 64)
				for i := range n {
					syn[27]++ // another source, another queue
					out.Data[i], out.Verdict[i] = append(out.Data[i], syn...), dataplane.Reply
				}
				a.Queue(0).Settle(out)
				for q := range queues {
					for b.Queue(q).Rx(in) > 0 {
						b.Queue(q).Settle(in)
					}
				}
			}))
			require.Positive(t, b.Stats(queues-1).RxFrames)
		})
	}
}

func TestOpenErrors(t *testing.T) {
	for device, want := range map[string]string{
		"net_foo0":                       "no driver of this DPDK takes this name",
		"net_memif_x,role=bar":           "Unknown role",
		"net_pcap_x,rx_pcap=/no/such":    "such file",
		"net_af_packet_x,iface=no-such0": "there is no such device",
		"9999:3b:00.0":                   "there is no such PCI device",
	} {
		_, err := Open(Config{Device: device, EAL: testEAL})
		require.ErrorContains(t, err, want, device)
	}
	_, err := Open(Config{Device: "net_null_e", Mbufs: maxMbufs, EAL: testEAL})
	require.ErrorContains(t, err, "no memory for 4194304 frames")
	require.ErrorContains(t, err, "mbufs=2097152")
	open(t, Config{Device: "net_null_e"}) // and it was given back
	_, err = Open(Config{Device: "net_null_f", EAL: EALConfig{NoHuge: true, FilePrefix: "other"}})
	require.ErrorContains(t, err, "file-prefix=other, but DPDK was started")
}

func TestWireNames(t *testing.T) {
	cfg := Config{Device: "net_ring,wire=names", EAL: testEAL}
	a, b := open(t, cfg), open(t, cfg)
	_, err := Open(cfg)
	require.ErrorContains(t, err, "both ends of the wire are in use")
	require.NoError(t, a.Close())
	_, err = Open(cfg)
	require.ErrorContains(t, err, "both ends of the wire are in use")
	require.NoError(t, b.Close())
	require.NoError(t, b.Close(), "closing again does nothing")
	require.ErrorContains(t, b.Queue(0).Err(), "closed")
	batch := dataplane.NewBatch()
	require.Zero(t, b.Queue(0).Rx(batch))
	require.Zero(t, b.Queue(0).Blank(batch, 1))
	c := open(t, cfg)
	cfg.Queues = 2
	_, err = Open(cfg)
	require.ErrorContains(t, err, "queues=2, but the end opened first has queues=1")
	require.NoError(t, c.Close())
}

func TestDevices(t *testing.T) {
	list, err := Devices(testEAL, "net_null_dev0", "net_null_dev1,size=128")
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, "net_null", list[0].Driver)
	require.Equal(t, "net_null_dev1", list[1].Name)
	require.Equal(t, "vdev", list[0].Bus)
	require.Positive(t, list[0].MaxQueues)
	again, err := Devices(testEAL, "net_null_dev0")
	require.NoError(t, err, "it was given back")
	require.Equal(t, list[0].MaxMTU, again[0].MaxMTU)
	_, err = Devices(testEAL, "net_foo1")
	require.ErrorContains(t, err, "net_foo1")
	require.Contains(t, Version(), "DPDK")
	require.NoError(t, Available())
}

func TestAttach(t *testing.T) {
	p := null(t, Config{}, "")
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		q := p.Queue(0).(dataplane.Attacher)
		err := q.Attach()
		b := dataplane.NewBatch()
		for range 100 {
			p.Queue(0).Rx(b)
			p.Queue(0).Settle(b)
		}
		q.Detach()
		done <- err
	}()
	require.NoError(t, <-done)
}
