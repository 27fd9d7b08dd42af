//go:build linux

package main

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// FLD-008, as far as one veth pair on a shared machine carries it: a flood from
// invented sources against a table of 64 half-opens, and a kernel that opens one
// connection after the other beside it. Without a defence nearly none succeeds.
func TestFLD_008_KernelClientsUnderAttack(t *testing.T) {
	interop(t)
	notOver(t, "the flood is sent through an AF_PACKET socket beside it", "net_af_packet", "net_af_xdp")
	for _, c := range []struct {
		name   string
		args   []string
		served bool
	}{
		{"cookies under pressure", []string{"--cookies", "pressure"}, true},
		{"cookies by source prefix", []string{"--cookies", "pressure", "--source-limit", "10/10", "--source-over", "cookie"}, true},
		{"no defence", []string{"--cookies", "never"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			lab := dptest.NewLab(t)
			s := serve(t, lab, "", append([]string{"--app", "echo-once", "--max-half-open", "64", "--min-stay", "10s"}, c.args...)...)
			flood := lab.Start(t, lab.PeerNS, command(t), "bench", "--scenario", "syn-flood", "--port", "afpacket:"+lab.PeerIf, "--addr", "10.71.0.77/24",
				"--pool", "198.18.0.0/16", "--connect", addr(lab.Addr4, 80), "--rate", "20000", "--concurrency", "1000",
				"--duration", "2m", "--quiet", "--pin", "off", "--i-own-this-network", "--dad", "200ms")
			time.Sleep(time.Second)
			// A second has no room for the retransmission of a SYN. A client that is served
			// gets more, so that a busy machine fails no test.
			ok, tried, late := 0, 0, 0
			limit, enough := time.Second, 5
			if c.served {
				limit, enough = patience, 200
			}
			var longest time.Duration
			lab.InPeerNS(t, func() {
				for ; tried < enough; tried++ {
					at := time.Now()
					conn, err := net.DialTimeout("tcp", addr(lab.Addr4, 80), limit)
					if err != nil {
						continue
					}
					b := make([]byte, 1)
					require.NoError(t, conn.SetDeadline(time.Now().Add(limit)))
					_, err = conn.Write([]byte("x"))
					if err == nil {
						_, err = conn.Read(b)
					}
					if err == nil {
						ok++
						took := time.Since(at)
						if longest = max(longest, took); took > time.Second {
							late++
						}
					}
					require.NoError(t, conn.Close())
				}
			})
			flooding := flood.Signal(0) == nil
			_ = flood.Signal(9)
			_ = flood.Wait()
			require.True(t, flooding, "the flood had ended: %s", flood.Output())
			r := s.stop(t)
			t.Logf("%d of %d open, %d of them after more than 1 s, the longest took %v; %d SYNs", ok, tried, late, longest, num(t, r, "handshakes", "syns"))
			require.Greater(t, num(t, r, "handshakes", "syns"), 1000, "%s", strconv.Quote(flood.Output()))
			if c.served {
				require.Equal(t, tried, ok)
				require.LessOrEqual(t, late, tried/10)
				require.LessOrEqual(t, num(t, r, "unproven", "bytes_out"), num(t, r, "unproven", "bytes_in"))
				return
			}
			require.Less(t, 2*ok, tried)
		})
	}
}
