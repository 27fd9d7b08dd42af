package main

import (
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/rss"
)

func TestRSS_001_CommandGivesMicrosoftsResults(t *testing.T) {
	for _, c := range []struct{ src, dst, ports, addrs string }{
		{"66.9.149.187:2794", "161.142.100.80:1766", "0x51ccc178", "0x323e8fc2"},
		{"[3ffe:2501:200:1fff::7]:2794", "[3ffe:2501:200:3::1]:1766", "0x40207d3d", "0x2cc18cd5"},
	} {
		for _, ipOnly := range []bool{false, true} {
			args := []string{"rss", "--src", c.src, "--dst", c.dst, "--json"}
			want := c.ports
			if ipOnly {
				args, want = append(args, "--ip-only"), c.addrs
			}
			code, out, err := fastsynCmd(t, args...)
			require.Zero(t, code, err)
			var a rssTuple
			require.NoError(t, json.Unmarshal([]byte(out), &a))
			require.Equal(t, want, a.Segment.Hash)
			require.Equal(t, ipOnly, a.IPOnly)
			require.Equal(t, c.src, a.Segment.Src)
			require.Equal(t, c.src, a.Reverse.Dst)
			require.Equal(t, rssSchema, a.Schema)
			require.Empty(t, a.Warning)
		}
	}
	// Mapped addresses are IPv4 on the wire.
	_, out, _ := fastsynCmd(t, "rss", "--src", "[::ffff:66.9.149.187]:2794", "--dst", "161.142.100.80:1766")
	require.Contains(t, out, "0x51ccc178")
	require.Contains(t, out, "RETA entry 120 (hash & 127), queue 0")
	require.Contains(t, out, "reverse  161.142.100.80:1766 > 66.9.149.187:2794")
}

func TestRSS_005_CommandWarns(t *testing.T) {
	tuple := []string{"rss", "--src", "66.9.149.187:2794", "--dst", "161.142.100.80:1766", "--key"}
	repeating := strings.TrimSuffix(strings.Repeat("12:34:", 20), ":")
	for key, symmetric := range map[string]bool{
		"symmetric": true, repeating: true, "default": false,
		hex.EncodeToString(rss.SymmetricKey[:]): true, hex.EncodeToString(rss.DefaultKey[:]): false,
	} {
		code, out, err := fastsynCmd(t, append(tuple, key)...)
		require.Zero(t, code, err)
		require.Equal(t, symmetric, strings.Contains(out, "RSS-005"), out)
		if symmetric {
			require.Contains(t, out, "both directions meet on one queue\n")
		}
		if key == repeating {
			require.Contains(t, out, "key as given")
			require.NotContains(t, out, "1234", "a key of one's own is not printed")
		}
	}
}

func TestRSS_006_CommandPicks(t *testing.T) {
	// CONFORMANCE VEC "Port choice".
	base := []string{"rss", "--pick", "--local", "192.0.2.1", "--remote", "198.51.100.2:80", "--range", "32768-60999", "--json"}
	for queue, first := range []uint16{32768, 32780, 32772, 32776} {
		q := string(rune('0' + queue))
		code, out, err := fastsynCmd(t, append(base, "--queue", q, "--count", "0")...)
		require.Zero(t, code, err)
		var a rssPorts
		require.NoError(t, json.Unmarshal([]byte(out), &a))
		require.Contains(t, a.Ports, first)
		require.Len(t, a.Ports, a.Available)
		require.Equal(t, 28232, a.PerQueue[0]+a.PerQueue[1]+a.PerQueue[2]+a.PerQueue[3])
		require.Equal(t, a.Available, a.PerQueue[queue])
		h := rss.New(rss.DefaultKey)
		for _, p := range a.Ports {
			require.EqualValues(t, queue, h.Hash4(0xc6336402, 0xc0000201, 80, p)&127%4)
		}
	}
	code, out, err := fastsynCmd(t, "rss", "--pick", "--local", "2001:db8::1", "--remote", "[2001:db8::2]:443", "--queue", "1", "--queues", "3", "--count", "4")
	require.Zero(t, code, err)
	require.Contains(t, out, "[2001:db8::2]:443 > [2001:db8::1]:PORT to queue 1")
	require.Contains(t, out, ", 4 shown")

	// Exhaustion is said, with what there is.
	found := 0
	for _, q := range []string{"0", "1", "2", "3"} {
		code, _, err := fastsynCmd(t, "rss", "--pick", "--local", "192.0.2.1", "--remote", "198.51.100.2:80", "--queue", q, "--range", "40000-40000")
		if code == exitOK {
			found++
			continue
		}
		require.Equal(t, exitFailure, code)
		require.Contains(t, err, "no source port of 40000-40000")
		require.Contains(t, err, "widen --range")
	}
	require.Equal(t, 1, found)
}

func TestRSSWrongUsage(t *testing.T) {
	const tuple, pick = "rss --src 192.0.2.1:1 --dst 192.0.2.2:2", "rss --pick --local 192.0.2.1 --remote 192.0.2.2:80"
	for args, want := range map[string]string{
		"rss":                                                  "--src is missing",
		"rss --src 192.0.2.1:1":                                "--dst is missing",
		"rss --pick":                                           "--local is missing",
		"rss --pick --local 192.0.2.1":                         "--remote is missing",
		"rss --src 192.0.2.1 --dst 1.2.3.4":                    "write 192.0.2.1:80",
		"rss --src 2001:db8::1 --dst [::1]:2":                  "write [2001:db8::1]:80",
		"rss --src example.com:80 --dst 192.0.2.2:2":           "numeric address",
		"rss --src [fe80::1%eth0]:80 --dst [::1]:2":            "leave out the zone %eth0",
		"rss --src 192.0.2.1:1 --dst [2001:db8::1]:2":          "of one family",
		"rss --pick --local 192.0.2.1 --remote [::]:1":         "of one family",
		tuple + " --key symetric":                              `did you mean "symmetric"?`,
		tuple + " --key 6d5a":                                  "2 bytes: want 40 to 52",
		tuple + " --reta 100":                                  "power of two",
		tuple + " --queues 0":                                  "want 1 to 128 queues",
		tuple + " --queue 1":                                   "add --pick",
		tuple + " --count 1":                                   "add --pick",
		tuple + " --qeues 1":                                   `did you mean "--queues"?`,
		pick + " --ip-only":                                    "leave it out with --pick",
		pick + " --src 192.0.2.1:1":                            "leave it out with --pick",
		pick + " --queue 4":                                    "want 0 to 3",
		pick + " --queue -1":                                   "want 0 to 3",
		pick + " --count -1":                                   "0 for all",
		pick + " --range 80":                                   "LOW-HIGH",
		pick + " --range 2-1":                                  "LOW-HIGH",
		pick + " --range 0-65536":                              "LOW-HIGH",
		"rss --pick --local 192.0.2.1:5 --remote 192.0.2.2:80": "an address without a port",
		"rss 192.0.2.1:1":                                      "everything is given by flags",
	} {
		code, out, err := fastsynCmd(t, strings.Fields(args)...)
		require.Equal(t, exitUsage, code, "%s: %s", args, err)
		require.Contains(t, err, want, args)
		require.Empty(t, out)
	}
	// A mistyped key is not printed.
	_, _, err := fastsynCmd(t, append(strings.Fields(tuple), "--key", "cafebabecafebabeg")...)
	require.NotContains(t, err, "cafe")
}
