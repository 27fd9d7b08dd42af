package loop

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/rss"
)

// pair opens a poisoned wire and checks at the end of the test that no frame is missing.
func pair(t testing.TB, c Config) (a, b *port) {
	t.Helper()
	c.Poison = true
	pa, pb, err := Pair(c)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := Audit(pa)
		require.NoError(t, err)
	})
	return pa.(*port), pb.(*port)
}

// send lends blanks, fills each with fill and sends them; it returns what Settle said.
func send(t testing.TB, q dataplane.Queue, n int, fill func(i int, d []byte) []byte) int {
	b := dataplane.NewBatch()
	require.Equal(t, n, q.Blank(b, n))
	for i := range n {
		require.Empty(t, b.Data[i])
		b.Data[i] = fill(i, b.Data[i])
	}
	replyAll(b)
	return q.Settle(b)
}

func syn(i int, d []byte) []byte { return tcp4(d, uint16(i)) }

func dropAll(p *port, b *dataplane.Batch) (n int) {
	for _, q := range p.queues {
		for q.Rx(b) > 0 {
			n += b.N
			q.Settle(b)
		}
	}
	return n
}

func TestFrameCrossesInPlace(t *testing.T) {
	pa, pb := pair(t, Config{})
	a, b, batch := pa.Queue(0), pb.Queue(0), dataplane.NewBatch()

	require.Equal(t, 0, b.Rx(batch))
	require.Equal(t, 2, send(t, a, 2, syn))
	require.Equal(t, 2, b.Rx(batch), "visible at once")
	for i := range 2 {
		require.Equal(t, syn(i, nil), batch.Data[i])
		require.GreaterOrEqual(t, cap(batch.Data[i]), b.Caps().ReplyRoom)
		require.Equal(t, dataplane.Drop, batch.Verdict[i])
		require.Zero(t, batch.Meta[i])
	}
	// The answer is rewritten in place, resliced longer, and comes back in the same memory.
	where := &batch.Data[0][0]
	batch.Data[0] = append(batch.Data[0], "tail"...)
	batch.Verdict[0] = dataplane.Reply
	require.Equal(t, 1, b.Settle(batch))
	require.Zero(t, batch.N)

	require.Equal(t, 1, a.Rx(batch))
	require.Same(t, where, &batch.Data[0][0])
	require.Equal(t, append(syn(0, nil), "tail"...), batch.Data[0])
	a.Settle(batch)

	require.Equal(t, dataplane.Stats{TxFrames: 2, TxBytes: 108, RxFrames: 1, RxBytes: 58}, pa.Stats(0))
	require.Equal(t, dataplane.Stats{TxFrames: 1, TxBytes: 58, RxFrames: 2, RxBytes: 108}, pb.Stats(0))
}

func TestReslicedFromTheFront(t *testing.T) {
	pa, pb := pair(t, Config{})
	batch := dataplane.NewBatch()
	send(t, pa.Queue(0), 1, func(_ int, d []byte) []byte {
		return append(append(d, "VLAN"...), syn(7, nil)...)[4:]
	})
	require.Equal(t, 1, pb.Queue(0).Rx(batch))
	require.Equal(t, syn(7, nil), batch.Data[0])
	require.Equal(t, slotSize, cap(batch.Data[0]))
	pb.Queue(0).Settle(batch)
}

func TestInfoAndCaps(t *testing.T) {
	pa, pb := pair(t, Config{Queues: 3})
	require.Equal(t, "02:66:73:00:00:01", pa.Info().MAC.String())
	require.Equal(t, "02:66:73:00:00:02", pb.Info().MAC.String())
	require.Equal(t, 1500, pa.Info().MTU)
	require.Equal(t, 3, pa.Info().Queues)
	require.True(t, pa.Info().Up)
	require.Equal(t, rss.SymmetricKey[:], pa.Info().RSSKey)
	require.Len(t, pa.Info().RETA, 128)
	require.True(t, pa.Queue(0).Caps().RxHash)

	one, _ := pair(t, Config{})
	require.Empty(t, one.Info().RSSKey)
	require.False(t, one.Queue(0).Caps().RxHash)
}

func TestKeepThenReplyOrDrop(t *testing.T) {
	pa, pb := pair(t, Config{})
	a, b, batch, later := pa.Queue(0), pb.Queue(0), dataplane.NewBatch(), dataplane.NewBatch()
	send(t, a, 3, syn)
	require.Equal(t, 3, b.Rx(batch))
	for i := range 2 {
		batch.Verdict[i] = dataplane.Keep
		later.Data[i], later.Handle[i] = batch.Data[i], batch.Handle[i]
	}
	require.Equal(t, 0, b.Settle(batch))
	c, err := Audit(pa)
	require.NoError(t, err)
	require.Equal(t, 2, c.Lent)

	// Other traffic passes, the kept frames stay as they are.
	send(t, a, 5, syn)
	dropAll(pb, batch)
	require.Equal(t, syn(0, nil), later.Data[0])

	later.N = 2
	later.Verdict[0], later.Verdict[1] = dataplane.Reply, dataplane.Drop
	require.Equal(t, 1, b.Settle(later))
	require.Equal(t, 1, a.Rx(batch))
	require.Equal(t, syn(0, nil), batch.Data[0])
	a.Settle(batch)
	c, err = Audit(pa)
	require.NoError(t, err)
	require.Equal(t, c.Total, c.Home)
}

func TestPoisonAfterSettle(t *testing.T) {
	pa, pb, err := Pair(Config{Poison: true}) // no audit: the test breaks it
	require.NoError(t, err)
	a, b, batch := pa.Queue(0), pb.Queue(0), dataplane.NewBatch()
	send(t, a, 1, syn)
	b.Rx(batch)
	stale := batch.Data[0]
	b.Settle(batch)
	require.Nil(t, batch.Data[0])
	require.Equal(t, byte(poisonByte), stale[0])
	require.Equal(t, byte(poisonByte), stale[:cap(stale)][slotSize-1])

	// Settling what is not held is a mistake in the program and found at once.
	batch.N, batch.Verdict[0] = 1, dataplane.Drop
	require.PanicsWithValue(t, `loop: "pair": frame 0 was settled twice, or never lent`, func() { b.Settle(batch) })
	b.Blank(batch, 2)
	batch.Handle[1] = batch.Handle[0]
	require.Panics(t, func() { b.Settle(batch) })
}

func TestRingFull(t *testing.T) {
	pa, pb := pair(t, Config{Frames: 128, Ring: 64})
	a, b, batch := pa.Queue(0), pb.Queue(0), dataplane.NewBatch()
	require.Equal(t, 60, send(t, a, 60, syn))
	require.Equal(t, 4, send(t, a, 30, syn), "what does not fit is returned")
	st := pa.Stats(0)
	require.Equal(t, uint64(64), st.TxFrames)
	require.Equal(t, uint64(26), st.TxFull)
	require.Equal(t, 64, b.Rx(batch))
	require.Equal(t, syn(3, nil), batch.Data[63], "in order")
	require.Equal(t, 64, send(t, a, 64, syn), "Rx makes room")

	// All frames are out now: 64 lent to b, 64 on the wire.
	out := dataplane.NewBatch()
	require.Equal(t, 0, a.Blank(out, 10))
	require.Equal(t, uint64(10), pa.Stats(0).NoBlank)
	b.Settle(batch) // they go home through the return ring
	require.Equal(t, 10, a.Blank(out, 10))
	a.Settle(out)
	require.Equal(t, uint64(0), pb.Stats(0).RxMissed)
}

func TestBlankBounds(t *testing.T) {
	pa, _ := pair(t, Config{})
	q, batch := pa.Queue(0), dataplane.NewBatch()
	require.Equal(t, 0, q.Blank(batch, -1))
	require.Equal(t, 0, q.Blank(batch, 0))
	require.Equal(t, dataplane.BatchSize, q.Blank(batch, 1000))
	require.GreaterOrEqual(t, cap(batch.Data[0]), q.Caps().FrameRoom)
	batch.Verdict[0] = 99 // what is no verdict is a Drop
	require.Equal(t, 0, q.Settle(batch))
	require.Zero(t, pa.Stats(0))
}

func TestFrameSizes(t *testing.T) {
	pa, pb := pair(t, Config{})
	sizes := []int{0, minFrame - 1, minFrame, maxFrame, maxFrame + 1, slotSize}
	n := send(t, pa.Queue(0), len(sizes), func(i int, d []byte) []byte { return d[:sizes[i]] })
	require.Equal(t, 6, n)
	require.Equal(t, uint64(4), pa.Stats(0).TxErrors)
	require.Equal(t, 2, dropAll(pb, dataplane.NewBatch()))
}

func TestOpenAndCloseOrders(t *testing.T) {
	open := func(spec string) dataplane.Port {
		p, err := dataplane.Open(spec)
		require.NoError(t, err)
		return p
	}
	refused := func(spec, why string) {
		p, err := dataplane.Open(spec)
		require.Nil(t, p)
		require.ErrorContains(t, err, why)
	}
	batch := dataplane.NewBatch()
	a := open("loop:orders?queues=1&frames=128&ring=64")
	require.Equal(t, byte(1), a.Info().MAC[5])
	require.False(t, a.Info().Up)
	require.NoError(t, a.Queue(0).Err(), "not opened yet is not a failure")
	require.Equal(t, 1, send(t, a.Queue(0), 1, syn), "waits for the other side")

	refused("loop:orders?queues=2", "queues=2, but the side opened first has queues=1")
	refused("loop:orders?frames=256", "frames=256")
	b := open("loop:orders?queues=1")
	require.Equal(t, byte(2), b.Info().MAC[5])
	require.True(t, a.Info().Up)
	require.True(t, b.Info().Up)
	require.Equal(t, 1, b.Queue(0).Rx(batch))
	b.Queue(0).Settle(batch)
	refused("loop:orders", "both ends are in use")

	require.Equal(t, 1, send(t, a.Queue(0), 1, syn))
	require.NoError(t, a.Close())
	require.NoError(t, a.Close(), "twice is fine")
	refused("loop:orders", "one end is closed and the other still open")
	err := b.Queue(0).Err()
	require.ErrorIs(t, err, ErrPeerClosed)
	require.ErrorContains(t, err, `loop: "orders" queue 0`)
	require.False(t, b.Info().Up)
	require.Equal(t, 1, b.Queue(0).Rx(batch), "what was sent before is received")
	batch.Verdict[0] = dataplane.Reply
	b.Queue(0).Settle(batch)
	st := b.Stats(0)
	require.Equal(t, uint64(1), st.TxErrors)
	require.Equal(t, uint64(1), st.TxFrames)
	c, err := Audit(b)
	require.NoError(t, err)
	require.Equal(t, c.Total, c.Home)
	require.NoError(t, b.Close())

	// The name is free, also after a side that stayed alone.
	c2 := open("loop:orders?queues=2")
	require.Equal(t, byte(1), c2.Info().MAC[5])
	require.NoError(t, c2.Close())
	d := open("loop:orders")
	require.Equal(t, 1, d.Info().Queues)
	require.NoError(t, d.Close())
}

func TestOpenBadParameters(t *testing.T) {
	for spec, why := range map[string]string{
		"loop:bad?queues=0":               "queues",
		"loop:bad?queues=17":              "whole number from 1 to 16",
		"loop:bad?frames=100":             "power of two",
		"loop:bad?ring=3":                 "power of two",
		"loop:bad?queue=2":                `did you mean "queues"?`,
		"loop:bad?queues=16&frames=32768": "at most 524288 frames; use frames=16384",
	} {
		_, err := dataplane.Open(spec)
		require.ErrorContains(t, err, why, spec)
	}
	_, _, err := Pair(Config{Frames: 3})
	require.ErrorContains(t, err, "power of two")
	_, err = Audit(nil)
	require.Error(t, err)
}

// TestRSS_003_SteeringMatchesPrediction: the queue a frame arrives on, and its hash, are
// what package rss says of its tuple (RSS-002, RSS-003).
func TestRSS_003_SteeringMatchesPrediction(t *testing.T) {
	const queues = 4
	pa, pb := pair(t, Config{Queues: queues, Ring: 4096})
	toeplitz := rss.New(rss.SymmetricKey)
	info := pb.Info()
	rng := rand.New(rand.NewPCG(1, 2))
	want := map[string]int{} // frame -> queue
	hash := map[string]uint32{}
	for i := range 2000 {
		frame := syn(i, nil)
		if i%2 == 1 {
			frame = tcp6()
		}
		if i%5 == 0 { // tagged
			frame = append(append(append([]byte(nil), frame[:12]...), 0x81, 0, 0, 5), frame[12:]...)
		}
		l3 := 14
		if i%5 == 0 {
			l3 = 18
		}
		var h uint32
		if i%2 == 0 {
			addrs, ports := frame[l3+12:l3+20], frame[l3+20:l3+24]
			randomise(rng, addrs, ports)
			h = toeplitz.Hash4(binary.BigEndian.Uint32(addrs), binary.BigEndian.Uint32(addrs[4:]),
				binary.BigEndian.Uint16(ports), binary.BigEndian.Uint16(ports[2:]))
		} else {
			addrs, ports := frame[l3+8:l3+40], frame[l3+40:l3+44]
			randomise(rng, addrs, ports)
			u := binary.BigEndian.Uint64
			h = toeplitz.Hash6(u(addrs), u(addrs[8:]), u(addrs[16:]), u(addrs[24:]),
				binary.BigEndian.Uint16(ports), binary.BigEndian.Uint16(ports[2:]))
		}
		want[string(frame)] = int(info.RETA[h&uint32(len(info.RETA)-1)])
		hash[string(frame)] = h
		send(t, pa.Queue(i%queues), 1, func(_ int, d []byte) []byte { return append(d, frame...) })
	}
	batch, got := dataplane.NewBatch(), 0
	for i := range queues {
		q := pb.Queue(i)
		for q.Rx(batch) > 0 {
			for j := range batch.N {
				require.Equal(t, want[string(batch.Data[j])], i)
				require.Equal(t, dataplane.Meta{Hash: hash[string(batch.Data[j])], Flags: dataplane.MetaHash}, batch.Meta[j])
				got++
			}
			q.Settle(batch)
		}
		require.NotZero(t, pb.Stats(i).RxFrames, "all queues are used")
	}
	require.Equal(t, 2000, got)
}

// An ICMP error arrives where the segments of its flow do, with their hash.
func TestRSS_003_010_ErrorsFollowTheirFlow(t *testing.T) {
	pa, pb := pair(t, Config{Queues: 4})
	batch := dataplane.NewBatch()
	used := map[int]bool{}
	for n := range 64 {
		segment := tcp4(nil, uint16(n))
		quote := tcp4(nil, uint16(n))[14:42] // of the other direction: turn it round
		for _, f := range [][2]int{{12, 16}, {13, 17}, {14, 18}, {15, 19}, {20, 22}, {21, 23}} {
			quote[f[0]], quote[f[1]] = quote[f[1]], quote[f[0]]
		}
		icmp := append(tcp4(nil, 0)[:34], 3, 1, 0, 0, 0, 0, 0, 0)
		icmp[23], icmp[17], icmp[29] = 1, byte(20+8+len(quote)), 77 // by a router elsewhere
		icmp = append(icmp, quote...)
		for _, f := range [][]byte{segment, icmp} {
			send(t, pa.Queue(n%4), 1, func(_ int, d []byte) []byte { return append(d, f...) })
		}
		to, hash, ok := pa.w.steer.Frame(segment)
		require.True(t, ok)
		used[int(to)] = true
		require.Equal(t, 2, pb.Queue(int(to)).Rx(batch))
		require.Equal(t, []dataplane.Meta{{Hash: hash, Flags: dataplane.MetaHash}, {Hash: hash, Flags: dataplane.MetaHash}}, batch.Meta[:2])
		pb.Queue(int(to)).Settle(batch)
	}
	require.Len(t, used, 4)
}

func randomise(rng *rand.Rand, parts ...[]byte) {
	for _, p := range parts {
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
	}
}

func TestSteerOthersToQueueZero(t *testing.T) {
	pa, pb := pair(t, Config{Queues: 4})
	v4 := func(edit func(d []byte)) []byte {
		d := tcp4(nil, 4711)
		edit(d)
		return d
	}
	frames := map[string][]byte{
		"arp":            v4(func(d []byte) { d[13] = 6 }),
		"icmp":           v4(func(d []byte) { d[23] = 1 }),
		"first fragment": v4(func(d []byte) { d[20] = 0x20 }),
		"last fragment":  v4(func(d []byte) { d[21] = 1 }),
		"short ihl":      v4(func(d []byte) { d[14] = 0x44 }),
		"long ihl":       v4(func(d []byte) { d[14] = 0x4f }),
		"version":        v4(func(d []byte) { d[14] = 0x65 }),
		"cut in ports":   tcp4(nil, 1)[:14+20+3],
		"cut in ip":      tcp4(nil, 1)[:14+19],
		"cut in tag":     {12: 0x81, 13: 0, 14: 0, 15: 1, 16: 8},
		"ether only":     tcp4(nil, 1)[:14],
		"v6 extension":   func() []byte { d := tcp6(); d[20] = 0; return d }(),
		"v6 cut":         tcp6()[:14+43],
		"v6 version":     func() []byte { d := tcp6(); d[14] = 0x40; return d }(),
	}
	batch := dataplane.NewBatch()
	for name, f := range frames {
		send(t, pa.Queue(2), 1, func(_ int, d []byte) []byte { return append(d, f...) })
		require.Equal(t, 1, pb.Queue(0).Rx(batch), name)
		require.Zero(t, batch.Meta[0], name)
		pb.Queue(0).Settle(batch)
	}
}

// tcp6 is a TCP SYN over IPv6, without checksums.
func tcp6() []byte {
	d := make([]byte, 14+40+20)
	d[12], d[13], d[14], d[20], d[21] = 0x86, 0xdd, 0x60, 6, 64
	return d
}

func TestNoAllocation(t *testing.T) {
	for _, queues := range []int{1, 2} {
		t.Run(fmt.Sprintf("queues=%d", queues), func(t *testing.T) {
			pa, pb, err := Pair(Config{Queues: queues})
			require.NoError(t, err)
			batch := dataplane.NewBatch()
			turn := func() {
				pa.Queue(0).Blank(batch, 64)
				for i := range batch.N {
					batch.Data[i] = syn(i, batch.Data[i])
				}
				replyAll(batch)
				pa.Queue(0).Settle(batch)
				for i := range queues {
					pb.Queue(i).Rx(batch)
					replyAll(batch)
					pb.Queue(i).Settle(batch)
				}
				for i := range queues {
					pa.Queue(i).Rx(batch)
					pa.Queue(i).Settle(batch)
					pa.Queue(i).Wait(1)
				}
			}
			turn() // Wait makes its timer once
			require.Zero(t, testing.AllocsPerRun(100, turn))
		})
	}
}

func TestAuditFindsLoss(t *testing.T) {
	pa, _, err := Pair(Config{Frames: 128})
	require.NoError(t, err)
	q := pa.(*port).queues[0]
	q.free = q.free[1:]
	_, err = Audit(pa)
	require.ErrorContains(t, err, "256 frames, but 255 home")
	q.free = append(q.free, q.free[0])
	_, err = Audit(pa)
	require.ErrorContains(t, err, "1 seen twice")
	require.False(t, errors.Is(err, ErrPeerClosed))
}
