package bench

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// fingerprint names the SYN in an Ethernet frame as p0f does, from its bytes alone.
func fingerprint(t *testing.T, frame []byte) string {
	t.Helper()
	be := binary.BigEndian
	ip := frame[14:]
	ver, ttl, quirks, tcp := "6", int(ip[7]), []string(nil), ip[40:]
	if ip[0]>>4 == 4 {
		ver, ttl, tcp = "4", int(ip[8]), ip[int(ip[0]&15)*4:]
		require.Zero(t, wire.Checksum(ip[:20], 0), "header checksum")
		if df := be.Uint16(ip[6:])&0x4000 != 0; df {
			quirks = append(quirks, "df")
			if be.Uint16(ip[4:]) != 0 {
				quirks = append(quirks, "id+")
			}
		} else if be.Uint16(ip[4:]) == 0 {
			quirks = append(quirks, "id-")
		}
	}
	require.Equal(t, byte(2), tcp[13], "a SYN and nothing else")
	list, mss, ws := tcp[20:int(tcp[12]>>4)*4], 0, 0
	var words []string
	for i := 0; i < len(list); {
		switch kind := list[i]; kind {
		case 0:
			words = append(words, fmt.Sprintf("eol+%d", len(list)-i-1))
			require.Empty(t, bytes.Trim(list[i:], "\x00"), "padding")
			i = len(list)
			continue
		case 1:
			words = append(words, "nop")
			i++
			continue
		case 2:
			words, mss = append(words, "mss"), int(be.Uint16(list[i+2:]))
		case 3:
			words, ws = append(words, "ws"), int(list[i+2])
		case 4:
			words = append(words, "sok")
		case 8:
			words = append(words, "ts")
			require.NotZero(t, be.Uint32(list[i+2:]), "TSval")
			require.Zero(t, be.Uint32(list[i+6:]), "TSecr of a SYN")
		default:
			words = append(words, fmt.Sprintf("?%d", kind))
		}
		i += int(list[i+1])
	}
	return fmt.Sprintf("%s:%d:0:%d:%d,%d:%s:%s:0", ver, ttl, mss, be.Uint16(tcp[14:]), ws, strings.Join(words, ","), strings.Join(quirks, ","))
}

// syns are the SYNs without ACK in the capture file, which is little-endian pcap in nanoseconds or microseconds.
func syns(t *testing.T, file string) (out [][]byte) {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	for b = b[24:]; len(b) >= 16; {
		n := int(binary.LittleEndian.Uint32(b[8:]))
		f := b[16 : 16+n]
		b = b[16+n:]
		var p wire.Packet
		if wire.Parse(f, false, &p) == wire.OK && p.Kind == wire.KindTCP && p.Seg.Flags&(wire.FlagSYN|wire.FlagACK) == wire.FlagSYN {
			out = append(out, f)
		}
	}
	return out
}

// The SYNs of a profile look like those of the hosts it is named after, to whoever looks at their bytes.
// The strings are signatures of p0f.fp 3.09b with the values that the comment at profiles says.
func TestProfiles(t *testing.T) {
	for i, c := range []struct {
		config Config
		want   string
	}{
		{Config{Profile: "linux"}, "4:64:0:1460:64240,7:mss,sok,ts,nop,ws:df,id+:0"},
		{Config{Profile: "windows"}, "4:128:0:1460:64240,8:mss,nop,ws,nop,nop,sok:df,id+:0"},
		{Config{Profile: "macos"}, "4:64:0:1460:65535,6:mss,nop,ws,nop,nop,ts,sok,eol+1:df,id+:0"},
		{Config{Profile: "minimal"}, "4:255:0:536:2144,0:mss::0"},
		{Config{Profile: "linux", IPv6: true}, "6:64:0:1440:64800,7:mss,sok,ts,nop,ws::0"},
		{Config{Profile: "macos", IPv6: true}, "6:64:0:1440:65535,6:mss,nop,ws,nop,nop,ts,sok,eol+1::0"},
		{Config{SYNOptions: "nop,wscale=0,mss=1200,ts,nop,nop", TTL: 17, SYNWindow: 4000}, "4:17:0:1200:4000,0:nop,ws,mss,ts,nop,nop:df,id+:0"},
		{Config{Profile: "custom", SYNOptions: "mss=1331,eol+18", SYNWindow: 1337, TTL: 192, NoDF: true}, "4:192:0:1331:1337,0:mss,eol+19::0"},
		{Config{SYNOptions: "ts,sackok,mss,wscale"}, "4:64:0:1460:64240,3:ts,sok,mss,ws,eol+0:df,id+:0"},
	} {
		for _, scenario := range []string{ScenarioHandshake, ScenarioSYNFlood, ScenarioHTTP} {
			t.Run(fmt.Sprintf("%s/%d", scenario, i), func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "wire.pcap")
				c := c
				c.config.Scenario, c.config.Count, c.config.Port = scenario, 20, "impair(pcap="+file+"):loop:"
				r := measure(t, c.config)
				got := syns(t, file)
				require.GreaterOrEqual(t, len(got), 20)
				for _, f := range got {
					require.Equal(t, c.want, fingerprint(t, f))
				}
				if !strings.Contains(c.want, "eol") { // ours leaves out what pads the last word
					require.Equal(t, c.want, r.SYNSignature)
				}
				if scenario == ScenarioSYNFlood {
					require.Equal(t, uint64(20), r.SYNFlood.Answered)
					return
				}
				require.Equal(t, uint64(20), r.Handshakes.Established)
				require.Equal(t, uint64(20), r.Server.Engine.Accepted)
			})
		}
	}
}

// Without a profile nothing is as it was not: the layout of Linux, and IPv4 packets without identification.
func TestNoProfile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "wire.pcap")
	r := measure(t, Config{Count: 20, Port: "impair(pcap=" + file + "):loop:"})
	require.Empty(t, r.SYNSignature)
	for _, f := range syns(t, file) {
		require.Equal(t, "4:64:0:1460:65160,3:mss,sok,ts,nop,ws:df:0", fingerprint(t, f))
	}
}

// SYNs of a profile byte by byte. Those of linux were written by a Linux 6.18 kernel, of windows by Windows 10 (the
// TCP header of a published capture: fa f0, 02 04 05 b4 01 03 03 08 01 01 04 02), but for ports, numbers and stamps.
func TestProfileBytes(t *testing.T) {
	for name, want := range map[string]string{
		"linux":   "a002faf0XXXX0000" + "020405b4" + "0402080a" + "11223344" + "00000000" + "01030307",
		"windows": "8002faf0XXXX0000" + "020405b4" + "01030308" + "01010402",
		"macos":   "b002ffffXXXX0000" + "020405b4" + "01030306" + "0101080a" + "11223344" + "00000000" + "04020000",
		"minimal": "60020860XXXX0000" + "02040218",
	} {
		c := Config{Profile: name}
		s, err := c.shape()
		require.NoError(t, err)
		r := run{cfg: c, job: &job{remote: wire.Addr4(1)}}
		f := &flood{shape: s}
		require.NoError(t, r.profiled(&fastsyn.Config{}, 1500))
		seg := wire.Segment{Tuple: wire.Tuple{Remote: wire.Addr4(1), Local: wire.Addr4(2)}, Flags: wire.FlagSYN, Win: uint16(r.shape.window)}
		seg.Opt = wire.Options{Has: wire.HasMSS, MSS: uint16(r.shape.mss), WScale: uint8(max(0, r.shape.scale)), TSVal: 0x11223344}
		for _, offload := range []bool{false, true} {
			b := make([]byte, floodMost)
			n := f.shape.PutSYN(b, &seg, nil, offload)
			got := []byte(hex.EncodeToString(b[32:n]))
			copy(got[8:], "XXXX")
			require.Equal(t, want, string(got), name)
			require.Equal(t, offload, wire.Checksum(b[20:n], wire.PseudoSum(seg.Local, seg.Remote, wire.ProtoTCP, uint32(n-20))) != 0)
		}
	}
}
