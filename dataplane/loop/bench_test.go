package loop

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/fastsyn/fastsyn/dataplane"
)

// BenchmarkLoop floods a wire from one goroutine per queue and side; every
// frame is turned round in place, so each op is one Rx and one Settle of each
// side. With one queue per side this needs two idle cores to mean anything.
func BenchmarkLoop(b *testing.B) {
	for _, queues := range []int{1, 2} {
		for _, flight := range []int{64, 256} {
			b.Run(fmt.Sprintf("queues=%d/flight=%d", queues, flight), func(b *testing.B) {
				if runtime.GOMAXPROCS(0) < 2 {
					b.Skip("needs GOMAXPROCS of 2 or more")
				}
				pa, pb, err := Pair(Config{Queues: queues})
				if err != nil {
					b.Fatal(err)
				}
				stop := make(chan struct{})
				done := make(chan struct{})
				echo := func(q dataplane.Queue) {
					batch := dataplane.NewBatch()
					for i := 0; ; i++ {
						if i&1023 == 0 {
							select {
							case <-stop:
								done <- struct{}{}
								return
							default:
							}
						}
						if n := q.Rx(batch); n > 0 {
							replyAll(batch)
							q.Settle(batch)
						} else if queues > 1 {
							runtime.Gosched()
						}
					}
				}
				for i := range queues {
					go echo(pb.Queue(i))
					if i > 0 {
						go echo(pa.Queue(i))
					}
				}
				q, batch, total, turns := pa.Queue(0), dataplane.NewBatch(), 0, 0
				for sent := 0; sent < flight; {
					n := q.Blank(batch, min(flight-sent, dataplane.BatchSize))
					for i := range n {
						batch.Data[i] = tcp4(batch.Data[i], uint16(sent+i))
					}
					replyAll(batch)
					q.Settle(batch)
					sent += n
				}
				b.ResetTimer()
				for total < b.N {
					n := q.Rx(batch)
					if n == 0 {
						if queues > 1 {
							runtime.Gosched()
						}
						continue
					}
					turns++
					total += n
					replyAll(batch)
					q.Settle(batch)
				}
				b.StopTimer()
				close(stop)
				for range 2*queues - 1 {
					<-done
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(total), "ns/pkt")
				b.ReportMetric(float64(total)/float64(turns), "pkts/burst")
			})
		}
	}
}

// BenchmarkLoopOneGoroutine drives both sides in turn: the cost of the
// instructions without the cache misses. An op is one frame through Rx and
// Settle of both sides.
func BenchmarkLoopOneGoroutine(b *testing.B) {
	for _, queues := range []int{1, 2} {
		for _, burst := range []int{1, 64} {
			b.Run(fmt.Sprintf("queues=%d/burst=%d", queues, burst), func(b *testing.B) {
				pa, pb, err := Pair(Config{Queues: queues})
				if err != nil {
					b.Fatal(err)
				}
				qa, batch := pa.Queue(0), dataplane.NewBatch()
				for i := range qa.Blank(batch, burst) {
					batch.Data[i] = tcp4(batch.Data[i], uint16(i))
				}
				replyAll(batch)
				qa.Settle(batch)
				total := 0
				b.ResetTimer()
				for total < b.N {
					for i := range queues {
						q := pb.Queue(i)
						q.Rx(batch)
						replyAll(batch)
						q.Settle(batch)
					}
					for i := range queues {
						q := pa.Queue(i)
						total += q.Rx(batch)
						replyAll(batch)
						q.Settle(batch)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*total), "ns/pkt")
			})
		}
	}
}

// BenchmarkWakeUp bounces one frame between two sleepers: an op is a round
// trip with a wake-up each way.
func BenchmarkWakeUp(b *testing.B) {
	pa, pb, err := Pair(Config{})
	if err != nil {
		b.Fatal(err)
	}
	echo := func(q dataplane.Queue, bounces int) {
		batch := dataplane.NewBatch()
		for n := 0; n < bounces; {
			if q.Rx(batch) == 0 {
				q.Wait(time.Hour)
				continue
			}
			n++
			replyAll(batch)
			q.Settle(batch)
		}
	}
	batch := dataplane.NewBatch()
	pa.Queue(0).Blank(batch, 1)
	batch.Data[0] = tcp4(batch.Data[0], 1)
	replyAll(batch)
	pa.Queue(0).Settle(batch)
	var wg sync.WaitGroup
	b.ResetTimer()
	wg.Go(func() { echo(pb.Queue(0), b.N) })
	echo(pa.Queue(0), b.N)
	wg.Wait()
}

func BenchmarkBlankDrop(b *testing.B) {
	pa, _, err := Pair(Config{})
	if err != nil {
		b.Fatal(err)
	}
	q, batch := pa.Queue(0), dataplane.NewBatch()
	for b.Loop() {
		q.Blank(batch, dataplane.BatchSize)
		q.Settle(batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*dataplane.BatchSize), "ns/pkt")
}

func replyAll(b *dataplane.Batch) {
	for i := range b.N {
		b.Verdict[i] = dataplane.Reply
	}
}

// tcp4 writes a TCP SYN without checksums into d: only what steering reads.
func tcp4(d []byte, port uint16) []byte {
	d = append(d[:0], 0x02, 0x66, 0x73, 0, 0, 2, 0x02, 0x66, 0x73, 0, 0, 1, 8, 0,
		0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
		byte(port>>8), byte(port), 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0)
	return d
}

// BenchmarkFill writes 64 headers per burst; compare strides of the arena with it.
func BenchmarkFill(b *testing.B) {
	pa, _, err := Pair(Config{})
	if err != nil {
		b.Fatal(err)
	}
	q, batch := pa.Queue(0), dataplane.NewBatch()
	for b.Loop() {
		q.Blank(batch, dataplane.BatchSize)
		for i := range batch.N {
			batch.Data[i] = tcp4(batch.Data[i], uint16(i))
		}
		q.Settle(batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*dataplane.BatchSize), "ns/pkt")
}
