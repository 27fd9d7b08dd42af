//go:build linux

package main

import (
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// What curl gets at --metrics is what the peer's kernel did.
func TestServeMetricsOfAKernelPeer(t *testing.T) {
	interop(t, "curl")
	lab := dptest.NewLab(t)
	s := serve(t, lab, "", "--app", "echo-once", "--metrics", "127.0.0.1:0", "--quiet")
	url := ""
	for line := range strings.Lines(s.Output()) {
		if rest, ok := strings.CutPrefix(line, "metrics on "); ok {
			url = strings.TrimSpace(rest)
		}
	}
	require.NotEmpty(t, url, s.Output())
	const n = 5
	for i := range n {
		to := lab.Addr4
		if i%2 == 1 {
			to = lab.Addr6
		}
		echo(t, lab, addr(to, 80), nil)
	}
	// Nobody listens there: a segment more, answered by a reset.
	lab.Exec(t, lab.PeerNS, "sh", "-c", "curl -s -m 20 http://"+lab.Addr4.Addr().String()+":81/ || test $? = 7")
	lab.Exec(t, lab.NS, "ip", "link", "set", "lo", "up")
	var m map[string]*dto.MetricFamily
	require.Eventually(t, func() bool {
		parser := expfmt.NewTextParser(model.UTF8Validation)
		var err error
		m, err = parser.TextToMetricFamilies(strings.NewReader(lab.Exec(t, lab.NS, "curl", "-sS", "-m", "20", url)))
		require.NoError(t, err)
		return total(m["fastsyn_flows_closed_total"]) == n && total(m["fastsyn_resets_sent_total"]) == 1
	}, patience, patience/1000)
	require.EqualValues(t, n, total(m["fastsyn_syns_total"]))
	require.EqualValues(t, n, total(m["fastsyn_syn_answers_total"]))
	require.EqualValues(t, n, total(m["fastsyn_accepts_total"]))
	require.EqualValues(t, n*len("three-way"), total(m["fastsyn_stream_receive_bytes_total"]))
	require.EqualValues(t, n, total(m["fastsyn_serve_handshake_rtt_seconds"]))
	require.EqualValues(t, n, num(t, s.stop(t), "handshakes", "accepted"))
}
