package bench

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/loop"
	"github.com/fastsyn/fastsyn/handshake"
)

// BenchmarkUnderAttack opens flows at a rate over a loop wire, by the machine's clock,
// while the other user of the wire floods it; one core for each end, which want nothing
// else to do. Give it -benchtime 30000x or so, the number of opens. flood=max is all that the
// client's core can send, which is more than the server takes: the wire loses the rest.
func BenchmarkUnderAttack(b *testing.B) {
	const people = 20_000 // opens a second
	for _, c := range []struct {
		name   string
		policy handshake.CookiePolicy
		flood  float64 // SYNs a second
	}{
		{"flood=0/pressure", handshake.CookiesPressure, 0},
		{"flood=0/always", handshake.CookiesAlways, 0},
		{"flood=1M/pressure", handshake.CookiesPressure, 1e6},
		{"flood=1M/always", handshake.CookiesAlways, 1e6},
		{"flood=1M/never", handshake.CookiesNever, 1e6},
		{"flood=5M/pressure", handshake.CookiesPressure, 5e6},
		{"flood=5M/always", handshake.CookiesAlways, 5e6},
		{"flood=max/pressure", handshake.CookiesPressure, 1e9},
		{"flood=max/always", handshake.CookiesAlways, 1e9},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := newSiege(b, siegeConfig{
				engine:   handshake.Config{MaxFlows: 65536, MaxHalfOpen: 1024, Cookies: c.policy},
				prefixes: 1 << 20, live: true, wire: loop.Config{Ring: 8192, Frames: 16384},
			})
			if c.flood > 0 {
				s.mob.pace = newPace(constant(c.flood), 0, 1, s.mob.clock())
			}
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4)) // workers that never block must not keep this goroutine waiting
			go s.server.Run()
			go s.client.Run()
			time.Sleep(100 * time.Millisecond) // ARP, and the flood is under way
			before := s.server.Stats()
			b.ResetTimer()
			require.NoError(b, s.client.Do(func() { s.people.come(b.N, people, s.people.clock()) }))
			for last, still := uint64(0), time.Now(); time.Since(still) < 2*time.Second; time.Sleep(5 * time.Millisecond) {
				var ctr peopleCounters
				require.NoError(b, s.client.Do(func() { ctr = s.people.ctr }))
				if ctr.begun == uint64(b.N) && ctr.served+ctr.failed == ctr.begun {
					break
				}
				if n := ctr.begun + ctr.served; n != last {
					last, still = n, time.Now()
				}
			}
			b.StopTimer()
			after := s.server.Stats()
			s.server.Stop()
			s.client.Stop()
			<-s.server.Done()
			<-s.client.Done()
			took := b.Elapsed().Seconds()
			p50, p99 := s.people.opened.quantiles()
			n := float64(s.people.ctr.begun)
			b.ReportMetric(float64(s.people.ctr.served)/took, "opens/s")
			b.ReportMetric(100*float64(s.people.ctr.served)/n, "served-%")
			b.ReportMetric(100*s.people.served.within(time.Second, s.people.ctr.begun), "in-1s-%")
			b.ReportMetric(float64(p50)/1e3, "p50-µs")
			b.ReportMetric(float64(p99)/1e3, "p99-µs")
			b.ReportMetric(float64(after.Engine.SynIn-before.Engine.SynIn)/took, "SYNs/s")
			b.ReportMetric(100*float64(s.mob.asked-s.mob.sent)/max(1, float64(s.mob.asked)), "lost-%")
			b.ReportMetric(0, "ns/op")
			if c := after.Check(); c != "" {
				b.Fatal(c)
			}
		})
	}
}
