package dataplane

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseSpec(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Spec
	}{
		{"loop:", Spec{Driver: "loop"}},
		{"loop:demo", Spec{Driver: "loop", Target: "demo"}},
		{"afpacket:veth0?queues=2", Spec{Driver: "afpacket", Target: "veth0", Params: []Param{{"queues", "2"}}}},
		{"dpdk:net_memif0,role=client,socket=/tmp/m.sock", Spec{Driver: "dpdk", Target: "net_memif0,role=client,socket=/tmp/m.sock"}},
		{"dpdk:0000:3b:00.0?queues=4&mtu=9000", Spec{Driver: "dpdk", Target: "0000:3b:00.0", Params: []Param{{"queues", "4"}, {"mtu", "9000"}}}},
		{"pcap:a(b).pcap", Spec{Driver: "pcap", Target: "a(b).pcap"}},
		{`pcap:what\?.pcap?x=a\&b=c`, Spec{Driver: "pcap", Target: "what?.pcap", Params: []Param{{"x", "a&b=c"}}}},
		{"pcap:x?y=a?b", Spec{Driver: "pcap", Target: "x", Params: []Param{{"y", "a?b"}}}},
		{
			"impair(loss=1%,reorder=2%,seed=7):afpacket:veth0",
			Spec{
				Decorators: []Decoration{{"impair", []Param{{"loss", "1%"}, {"reorder", "2%"}, {"seed", "7"}}}},
				Driver:     "afpacket", Target: "veth0",
			},
		},
		{
			`trace():impair(loss=1%, pcap=a\,b\).pcap):loop:x?queues=2`,
			Spec{
				Decorators: []Decoration{{"trace", nil}, {"impair", []Param{{"loss", "1%"}, {"pcap", "a,b).pcap"}}}},
				Driver:     "loop", Target: "x", Params: []Param{{"queues", "2"}},
			},
		},
		{"loop:x?", Spec{Driver: "loop", Target: "x"}},
		{"loop:x?a=", Spec{Driver: "loop", Target: "x", Params: []Param{{"a", ""}}}},
	} {
		t.Run(c.in, func(t *testing.T) {
			got, err := ParseSpec(c.in)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
			again, err := ParseSpec(got.String())
			require.NoError(t, err)
			require.Equal(t, got, again)
		})
	}
}

func TestParseSpecErrors(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "byte 0: a driver or decorator name is missing"},
		{"loop", `write "loop:"`},
		{":x", "name is missing"},
		{"Loop:x", "name is missing"},
		{"lo op:x", `" " cannot be part of a driver or decorator name`},
		{"impair(loss=1%:loop:x", "parenthesis of impair( is not closed"},
		{"impair(loss=1%)loop:x", "must be followed by a colon"},
		{"impair(loss=1%)", "must be followed by a colon"},
		{"impair(loss=1%):", "name is missing"},
		{"impair(loss):loop:x", `parameter "loss" has no value; write loss=…`},
		{"impair(,):loop:x", "a key=value parameter is missing"},
		{"loop:x?queues", `parameter "queues" has no value`},
		{"loop:x?queues=1&", "a key=value parameter is missing"},
		{"loop:x?=1", `"=" cannot be part of a parameter name`},
		{"loop:x?a b=1", `" " cannot be part of a parameter name`},
		{"loop:x?a=1&a=2", `parameter "a" is given twice`},
		{`loop:x\`, "a backslash protects the byte after it"},
		{`loop:x?a=\`, "a backslash protects the byte after it"},
		{"loop:" + strings.Repeat("x", maxSpec), "at most 4096"},
	} {
		t.Run(c.in[:min(len(c.in), 40)], func(t *testing.T) {
			_, err := ParseSpec(c.in)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "dataplane: ")
		})
	}
}

func FuzzParseSpec(f *testing.F) {
	for _, s := range []string{
		"loop:", "loop:demo?queues=2&ring=64", "dpdk:0000:3b:00.0?queues=4",
		"impair(loss=1%,reorder=2%,seed=7):afpacket:veth0",
		`a():b(c=\),d=\,):e:\?\\?f=\&&g=`, "a( b=c):d:", `x:\`, "x:?a=b=c", "x(a=b&c):y:z,w",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		sp, err := ParseSpec(in)
		if err != nil {
			return
		}
		out := sp.String()
		if len(out) > maxSpec {
			return // an escape may be added to a target of the longest size
		}
		again, err := ParseSpec(out)
		require.NoError(t, err, "String gave %q", out)
		require.Equal(t, sp, again)
		require.Equal(t, out, again.String())
	})
}
