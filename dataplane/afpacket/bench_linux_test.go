package afpacket

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane"
)

func BenchmarkTx(b *testing.B) {
	for _, size := range []int{64, 1514} {
		b.Run(map[int]string{64: "size=64", 1514: "size=1514"}[size], func(b *testing.B) {
			l := newLab(b)
			q := l.open(Config{}).Queue(0)
			batch := dataplane.NewBatch()
			f := testFrame(0, size)
			copy(f, peerMAC)
			sent := 0
			start := time.Now()
			for b.Loop() {
				for i := range q.Blank(batch, dataplane.BatchSize) {
					batch.Data[i] = append(batch.Data[i], f...)
					batch.Verdict[i] = dataplane.Reply
				}
				sent += q.Settle(batch)
			}
			s := q.(*queue).st
			b.ReportMetric(float64(sent)/time.Since(start).Seconds(), "pkts/s")
			b.ReportMetric(float64(time.Since(start).Nanoseconds())/float64(sent), "ns/pkt")
			b.ReportMetric(float64(s.TxFull)/float64(b.N), "full/op")
		})
	}
}

// BenchmarkPingPong is the latency of a round trip that waits on our side, the
// shape of a handshake: a peer's packet socket sends, we turn the frame round.
func BenchmarkPingPong(b *testing.B) {
	for _, r := range []Ring{RingV2, RingV3} {
		for _, spin := range []bool{false, true} {
			name := "ring=" + r.String() + "/wait=poll"
			if spin {
				name = "ring=" + r.String() + "/wait=spin"
			}
			b.Run(name, func(b *testing.B) {
				l := newLab(b)
				q := l.open(Config{Ring: r}).Queue(0)
				peer := l.peer(false)
				stop, done := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(done)
					echo(q, spin, stop)
				}()
				defer func() { close(stop); <-done }() // before the port closes
				f := testFrame(0, 64)
				buf := make([]byte, 2048)
				for b.Loop() {
					peer.send(f)
					_, err := unix.Read(peer.fd, buf)
					for err == unix.EINTR { // a receive timeout makes reads interruptible
						_, err = unix.Read(peer.fd, buf)
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func echo(q dataplane.Queue, spin bool, stop chan struct{}) {
	b := dataplane.NewBatch()
	for {
		select {
		case <-stop:
			return
		default:
		}
		if !spin {
			q.Wait(20 * time.Millisecond)
		}
		for i := range q.Rx(b) {
			f := b.Data[i]
			copy(f, peerMAC)
			copy(f[6:], ourMAC)
			b.Verdict[i] = dataplane.Reply
		}
		q.Settle(b)
	}
}

// BenchmarkRx is our side's time per frame at full rate: received and dropped,
// or rewritten in place and replied. A port on the peer's side floods; its time
// does not count.
func BenchmarkRx(b *testing.B) {
	for _, r := range []Ring{RingV2, RingV3} {
		for _, v := range []dataplane.Verdict{dataplane.Drop, dataplane.Reply} {
			b.Run("ring="+r.String()+map[dataplane.Verdict]string{dataplane.Drop: "/verdict=drop", dataplane.Reply: "/verdict=reply"}[v], func(b *testing.B) {
				l := newLab(b)
				p := l.open(Config{Ring: r})
				q, gen := p.Queue(0), l.generator()
				batch, gb := dataplane.NewBatch(), dataplane.NewBatch()
				f := testFrame(0, 64)
				got := 0
				var ours time.Duration
				for b.Loop() {
					for range 4 {
						for i := range gen.Blank(gb, dataplane.BatchSize) {
							gb.Data[i] = append(gb.Data[i], f...)
							gb.Verdict[i] = dataplane.Reply
						}
						gen.Settle(gb)
					}
					start := time.Now()
					for q.Rx(batch) > 0 {
						for i := range batch.N {
							copy(batch.Data[i], peerMAC)
							copy(batch.Data[i][6:], ourMAC)
							batch.Verdict[i] = v
						}
						got += batch.N
						q.Settle(batch)
					}
					ours += time.Since(start)
				}
				b.ReportMetric(float64(ours.Nanoseconds())/float64(max(got, 1)), "ns/pkt")
				b.ReportMetric(float64(got)/ours.Seconds(), "pkts/s")
				b.ReportMetric(float64(p.Stats(0).TxFull+p.Stats(0).RxMissed)/float64(max(got, 1)), "drops/pkt")
			})
		}
	}
}

// generator is a port on the peer's end.
func (l *lab) generator() dataplane.Queue {
	var p *Port
	var err error
	l.InPeerNS(l.t, func() { p, err = Open(Config{Interface: l.PeerIf}) })
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = p.Close() })
	return p.Queue(0)
}
