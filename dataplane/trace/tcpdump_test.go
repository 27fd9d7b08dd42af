package trace

import (
	"bytes"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// corpus is a set of frames on which Format and tcpdump agree.
func corpus(t testing.TB) (fs [][]byte) {
	add := func(f []byte) { fs = append(fs, f) }
	for _, ip := range [][2]string{{"198.51.100.2", "192.0.2.1"}, {"192.0.2.9", "198.51.100.200"}, {"2001:db8::2", "2001:db8::1"}, {"fe80::1", "2001:db8:0:0:1::f"}} {
		var iss, irs wire.Seq = 0xfffffff0, 5000
		c, s := ip[0], ip[1]
		from := func(flags wire.Flags, seq, ack wire.Seq, o wire.Options, extra []byte, text string) {
			add(frame(seg(c, s, flags, seq, ack, o), extra, text))
		}
		to := func(flags wire.Flags, seq, ack wire.Seq, o wire.Options, extra []byte, text string) {
			add(frame(back(seg(c, s, flags, seq, ack, o)), extra, text))
		}
		sack := make([]byte, 28)
		blocks := []wire.SACKBlock{{Left: irs + 101, Right: irs + 201}, {Left: irs + 301, Right: irs + 401}}
		sack = sack[:wire.PutSACK(sack, blocks, 28)]
		reply := full
		reply.TSEcr = full.TSVal
		from(wire.FlagSYN, iss, 0, full, nil, "")
		from(wire.FlagSYN|wire.FlagECE|wire.FlagCWR, iss, 0, full, nil, "")
		to(wire.FlagSYN|wire.FlagACK, irs, iss+1, reply, nil, "")
		to(wire.FlagSYN|wire.FlagACK|wire.FlagECE, irs, iss+1, reply, nil, "")
		from(wire.FlagACK, iss+1, irs+1, ts, nil, "")
		from(wire.FlagACK|wire.FlagPSH, iss+1, irs+1, ts, nil, strings.Repeat("q", 40))
		to(wire.FlagACK, irs+1, iss+41, ts, nil, "answer")
		from(wire.FlagACK, iss+41, irs+7, ts, sack, "")
		from(wire.FlagACK, iss, irs+7, ts, nil, "k") // keepalive with an old byte
		to(wire.FlagACK|wire.FlagFIN|wire.FlagPSH, irs+7, iss+41, wire.Options{}, nil, "bye")
		from(wire.FlagACK|wire.FlagFIN, iss+41, irs+11, wire.Options{}, nil, "")
		to(wire.FlagRST, irs+11, 0, wire.Options{}, nil, "")
		to(wire.FlagRST|wire.FlagACK, irs+11, iss+42, wire.Options{}, nil, "")
		from(wire.FlagURG|wire.FlagACK, iss+42, 0, wire.Options{}, nil, "")
		from(wire.FlagFIN|wire.FlagPSH|wire.FlagURG, 7, 0, wire.Options{}, nil, "")
		// The tuple again.
		from(wire.FlagSYN, 77, 0, full, nil, "")
		to(wire.FlagRST|wire.FlagACK, 0, 78, wire.Options{}, nil, "")
	}
	for _, o := range []string{
		"020405b4", "020405b4010303060101080a3b9aca000000000004020000", "020405b40103030801010402",
		"22020101", "220a01020304050607080101", "fe04f989", "fe0cf9890102030405060708", "fe04aabb",
		"1d100001020304050607080a0b0c0d0e", "fd04bbbb", "63020101", "0006aabb", "2207aabbccddee01",
	} {
		add(rawOptions(t, o))
	}

	b := make([]byte, 128)
	l := wire.Link{Dst: macB, Src: macA}
	put := func(n int) { add(append([]byte(nil), b[:n]...)) }
	a1, a2 := addrOf("198.51.100.2"), addrOf("192.0.2.1")
	put(wire.PutARP(b, &l, wire.ARPRequest, macA, a1, [6]byte{}, a2))
	put(wire.PutARP(b, &l, wire.ARPRequest, macA, a1, macB, a2))
	put(wire.PutARP(b, &l, wire.ARPRequest, macA, wire.Addr4(0), [6]byte{}, a2))
	put(wire.PutARP(b, &l, wire.ARPReply, macA, a1, macB, a2) + 18)
	v6a, v6b := addrOf("2001:db8::2"), addrOf("2001:db8::1")
	put(wire.PutNeighborSolicit(b, &l, v6a, wire.SolicitedNode(v6b), v6b))
	put(wire.PutNeighborSolicit(b, &l, wire.Addr{}, wire.SolicitedNode(v6b), v6b))
	put(wire.PutNeighborAdvert(b, &l, v6b, v6a, v6b, wire.NDPSolicited))

	q := frame(back(seg("198.51.100.2", "192.0.2.1", wire.FlagACK, 1, 2, ts)), nil, "")[14:]
	add(icmp4Frame(wire.ICMPEcho, 0, 7<<16|1, []byte("abcdefgh")))
	add(icmp4Frame(wire.ICMPEchoReply, 0, 7<<16|1, []byte("abcdefgh")))
	for code := range uint8(17) {
		if code != 8 {
			add(icmp4Frame(wire.ICMPUnreachable, code, 1400, q))
		}
	}
	add(icmp4Frame(wire.ICMPUnreachable, wire.ICMPFragNeeded, 0, q))
	add(icmp4Frame(wire.ICMPUnreachable, 3, 0, q[:28]))
	add(icmp4Frame(wire.ICMPSourceQuench, 0, 0, q))
	for code := range uint8(3) {
		add(icmp4Frame(wire.ICMPTimeExceeded, code, 0, q))
	}
	add(icmp4Frame(wire.ICMPParamProblem, 0, 9<<24, q))
	add(icmp4Frame(40, 0, 0, q))

	q = frame(back(seg("2001:db8::2", "2001:db8::1", wire.FlagACK, 1, 2, ts)), nil, "")[14:]
	add(icmp6Frame(wire.ICMPv6Echo, 0, 7<<16|1, []byte("abc")))
	add(icmp6Frame(wire.ICMPv6EchoReply, 0, 7<<16|1, []byte("abc")))
	add(icmp6Frame(wire.ICMPv6PacketTooBig, 0, 1280, q))
	for code := range uint8(5) {
		add(icmp6Frame(wire.ICMPv6Unreachable, code, 0, q))
	}
	add(icmp6Frame(wire.ICMPv6TimeExceeded, 0, 0, q))
	add(icmp6Frame(wire.ICMPv6TimeExceeded, 1, 0, q))
	for code := range uint8(3) {
		add(icmp6Frame(wire.ICMPv6ParamProblem, code, 6, q))
	}
	add(icmp6Frame(wire.ICMPv6RouterSolicit, 0, 0, nil))
	add(icmp6Frame(wire.ICMPv6RouterAdvert, 0, 64<<24, make([]byte, 8)))
	add(ip4(17, unhex(t, "15b3 1a0a 000c 0000 01020304")))
	add(ip6(17, 64, unhex(t, "15b3 1a0a 000c 0000 01020304")))

	// A tag, in front of what has none so far.
	f := fs[0]
	add(append(append(append([]byte(nil), f[:12]...), 0x81, 0x00, 0x60, 0x64), f[12:]...))
	return fs
}

// conversations is random traffic between a few endpoints.
func conversations(n int) (fs [][]byte) {
	rng := rand.New(rand.NewPCG(7, 8))
	hosts := []string{"198.51.100.2", "192.0.2.1", "192.0.2.2", "2001:db8::2", "2001:db8::1"}
	for range n {
		a, b := hosts[rng.IntN(3)], hosts[rng.IntN(3)]
		if rng.IntN(3) == 0 {
			a, b = hosts[3+rng.IntN(2)], hosts[3+rng.IntN(2)]
		}
		flags := wire.Flags(rng.Uint32()) & 0x7f &^ wire.FlagURG
		text := strings.Repeat("z", rng.IntN(3)*rng.IntN(20))
		if flags&wire.FlagRST != 0 {
			text = "" // tcpdump prints the text of a reset
		}
		s := seg(a, b, flags, wire.Seq(rng.Uint32()), wire.Seq(rng.Uint32()), []wire.Options{{}, ts, full}[rng.IntN(3)])
		s.LocalPort, s.RemotePort = 20000+uint16(rng.IntN(3)), 20000+uint16(rng.IntN(3))
		fs = append(fs, frame(s, nil, text))
	}
	return fs
}

// TestAgainstTcpdump compares our lines with those of tcpdump -nn.
func TestAgainstTcpdump(t *testing.T) {
	dptest.Need(t, "tcpdump")
	frames := append(corpus(t), conversations(500)...)
	var file bytes.Buffer
	w := pcapgo.NewWriter(&file)
	require.NoError(t, w.WriteFileHeader(65535, layers.LinkTypeEthernet))
	stamp := func(i int) time.Time { return time.Unix(1700000000+int64(i), int64(i)*1000).UTC() }
	for i, f := range frames {
		require.NoError(t, w.WritePacket(gopacket.CaptureInfo{Timestamp: stamp(i), CaptureLength: len(f), Length: len(f)}, f))
	}
	cmd := exec.Command("tcpdump", "-nn", "-r", "-")
	cmd.Stdin = &file
	cmd.Env = append(cmd.Environ(), "TZ=UTC", "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	want := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	require.Len(t, want, len(frames))

	// What we say beyond tcpdump, and the double blanks of its version 4.99.
	ours := regexp.MustCompile(`vlan \d+, p \d, | \([a-z0-9_]+\)$`)
	theirs := regexp.MustCompile(`  +`)
	tr := NewTracker(1000)
	for i, f := range frames {
		got := ours.ReplaceAllString(string(Format(nil, stamp(i), f, tr)), "")
		require.Equal(t, theirs.ReplaceAllString(want[i], " "), got, "frame %d: %x", i, f)
	}
}
