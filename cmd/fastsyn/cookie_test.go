package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

const testSecretText = "correct horse battery staple 0123456789"

func secretFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(name, []byte(text+"\n"), 0o600))
	return name
}

// minted is a SYN-ACK by cookie, sent at mintedAt.
type minted struct {
	cookie.Minted
	tuple wire.Tuple // Local is the server
	irs   uint32
}

var mintedAt = time.Date(2024, 2, 29, 12, 0, 20, 0, time.UTC)

func mintCookie(t *testing.T, v6 bool, opts cookie.Opts) minted {
	t.Helper()
	secret, err := cookie.NewSecret([]byte(testSecretText))
	require.NoError(t, err)
	hasher, err := secret.Hasher()
	require.NoError(t, err)
	ring, err := cookie.NewRing(secret, mintedAt, cookie.RingConfig{})
	require.NoError(t, err)
	m := minted{irs: 0x01020304, tuple: wire.Tuple{Local: wire.Addr4(0xc0000201), LocalPort: 80, Remote: wire.Addr4(0xc6336402), RemotePort: 40000}}
	if v6 {
		m.tuple.Local, m.tuple.Remote = wire.Addr{Hi: 0x20010db8 << 32, Lo: 1}, wire.Addr{Hi: 0x20010db8 << 32, Lo: 2}
	}
	sa := synAck{Tuple: m.tuple}
	tuple := sa.hash()
	in := []cookie.Input{{
		Sum: hasher.SumOne(&tuple), IRS: m.irs, TSNow: cookie.TSNow(mintedAt.UnixNano()),
		MSS: 1452, WScale: 7, Opts: opts, V6: v6,
	}}
	var out [1]cookie.Minted
	ring.Load().Mint(out[:], in)
	m.Minted = out[0]
	return m
}

// flags are the arguments that name m by numbers.
func (m *minted) flags() []string {
	side := func(a wire.Addr, port uint16) string {
		if a.Is4() {
			return fmt.Sprintf("%s:%d", a, port)
		}
		return fmt.Sprintf("[%s]:%d", a, port)
	}
	args := []string{
		"--tuple", side(m.tuple.Local, m.tuple.LocalPort) + " > " + side(m.tuple.Remote, m.tuple.RemotePort),
		"--seq", fmt.Sprint(m.ISS), "--ack", fmt.Sprint(m.irs + 1), "--time", "2024-02-29T12:00:20.045Z",
	}
	if m.Opts&cookie.TS != 0 {
		args = append(args, "--tsval", fmt.Sprint(m.TSVal))
	}
	return args
}

func explain(t *testing.T, args ...string) (code int, out, stderr string) {
	t.Helper()
	return fastsynCmd(t, append([]string{"cookie", "explain"}, args...)...)
}

func TestCookieExplainWithSecret(t *testing.T) {
	file := secretFile(t, testSecretText)
	for _, c := range []struct {
		name string
		v6   bool
		opts cookie.Opts
		want []string
	}{
		{"N", false, cookie.HasWScale | cookie.SACK, []string{"N: without", "MAC           verifies", "epoch         28486800, from 2024-02-29T12:00:00Z", "even", "until 2024-02-29T12:02:00Z", "MSS           1440", "window scale  7", "SACK          yes", "ECN           no", "not carried"}},
		{"N v6 bare", true, 0, []string{"MAC           verifies", "MSS           1440", "window scale  not offered", "SACK          no"}},
		{"T", false, cookie.HasWScale | cookie.SACK | cookie.ECN | cookie.TS, []string{"T: with", "MAC           verifies", "MSS           1440", "window scale  7", "SACK          yes", "ECN           yes", "ms at the time given"}},
		{"T v6", true, cookie.SACK | cookie.TS, []string{"T: with", "MAC           verifies", "window scale  not offered", "ECN           no"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := mintCookie(t, c.v6, c.opts)
			code, out, err := explain(t, append(m.flags(), "--secret-file", file)...)
			require.Zero(t, code, err)
			require.Empty(t, err)
			for _, w := range c.want {
				require.Contains(t, out, w)
			}
			t.Setenv(secretEnv, testSecretText)
			_, env, _ := explain(t, m.flags()...)
			require.Equal(t, out, env, "the environment does as well")

			args := append(m.flags(), "--secret-file", file)
			code, out, _ = explain(t, append(args, "--time", "2024-02-29T12:07:20Z")...)
			require.Zero(t, code)
			require.Contains(t, out, "-7 epochs from the time given")
			args[3] = fmt.Sprint(m.ISS + 4096)
			code, out, _ = explain(t, args...)
			require.Zero(t, code)
			require.Contains(t, out, "does not verify")
			require.Contains(t, out, "--cookie-epoch")
		})
	}
}

func TestCookieExplainWithoutSecret(t *testing.T) {
	m := mintCookie(t, false, cookie.HasWScale|cookie.SACK)
	code, out, err := explain(t, m.flags()...)
	require.Zero(t, code, err)
	for _, w := range []string{"N: without", "an even number", "MSS           1440", "window scale  7", "SACK          yes", "cannot be known", "whether", "--secret-file"} {
		require.Contains(t, out, w)
	}
	require.NotContains(t, out, "verif")
	m = mintCookie(t, true, cookie.HasWScale|cookie.SACK|cookie.TS)
	_, out, _ = explain(t, m.flags()...)
	for _, w := range []string{"T: with", "MSS           1440", "options       window scale, SACK and ECN are in TSval"} {
		require.Contains(t, out, w)
	}
	require.NotContains(t, out, "window scale  7")
}

// The ISS of a stored handshake is told apart.
func TestCookieExplainStatefulISN(t *testing.T) {
	m := mintCookie(t, false, 0)
	secret, err := cookie.NewSecret([]byte(testSecretText))
	require.NoError(t, err)
	hasher, err := secret.Hasher()
	require.NoError(t, err)
	sa := synAck{Tuple: m.tuple}
	tuple := sa.hash()
	m.ISS = cookie.ISN(hasher.SumOne(&tuple).ISN, mintedAt.UnixNano())
	_, out, _ := explain(t, append(m.flags(), "--secret-file", secretFile(t, testSecretText))...)
	require.Contains(t, out, "that of a stored handshake")
}

func TestCookieExplainCapture(t *testing.T) {
	m := mintCookie(t, false, cookie.HasWScale|cookie.SACK|cookie.TS)
	b := make([]byte, 128)
	n := wire.PutLink(b, &wire.Link{Dst: [6]byte{2, 0, 0, 0, 0, 1}, Src: [6]byte{2, 0, 0, 0, 0, 2}}, wire.EtherTypeIPv4)
	n += wire.PutTCP(b[n:], &wire.Segment{
		Tuple: m.tuple, Seq: wire.Seq(m.ISS), Ack: wire.Seq(m.irs + 1), Flags: wire.FlagSYN | wire.FlagACK, Win: 65535,
		Opt: wire.Options{Has: wire.HasMSS | wire.HasTimestamps, MSS: 1460, TSVal: m.TSVal},
	}, nil)
	b[n-1] ^= 0xff // a checksum that the device would have filled in must not matter
	frames := append(handshakeFrames()[:1], b[:n])
	name := filepath.Join(t.TempDir(), "c.pcap")
	f, err := os.Create(name)
	require.NoError(t, err)
	w := pcapgo.NewWriter(f)
	require.NoError(t, w.WriteFileHeader(65535, layers.LinkTypeEthernet))
	for _, b := range frames {
		require.NoError(t, w.WritePacket(gopacket.CaptureInfo{Timestamp: mintedAt, CaptureLength: len(b), Length: len(b)}, b))
	}
	require.NoError(t, f.Close())
	file := secretFile(t, testSecretText)
	for _, frame := range []string{"0", "2"} {
		code, out, stderr := explain(t, "--read", name, "--frame", frame, "--secret-file", file)
		require.Zero(t, code, stderr)
		require.Contains(t, out, "192.0.2.1 port 80 to 198.51.100.2 port 40000")
		require.Contains(t, out, "MAC           verifies")
		require.Contains(t, out, "2024-02-29T12:00:20Z")
	}
	for frame, want := range map[string]string{"1": "not a SYN-ACK; fastsyn trace", "3": "has 2 frames"} {
		code, _, stderr := explain(t, "--read", name, "--frame", frame)
		require.Equal(t, exitFailure, code)
		require.Contains(t, stderr, want)
	}
	writePcap(t, name, handshakeFrames()[:1])
	code, _, stderr := explain(t, "--read", name)
	require.Equal(t, exitFailure, code)
	require.Contains(t, stderr, "no SYN-ACK among its 1 frames")
}

// CONFORMANCE section 24.
func TestCookieExplainLinux(t *testing.T) {
	keys := ""
	for i := range 32 {
		keys += hex.EncodeToString([]byte{byte(i)})
	}
	args := []string{
		"--codec", "linux", "--count", "1001", "--tuple", "192.0.2.1:80>198.51.100.2:40000", "--seq", "0x7c730b04", "--irs", "0x01020304",
	}
	code, out, err := explain(t, args...)
	require.Zero(t, code, err)
	require.Contains(t, out, "nothing of a Linux cookie can be read")
	args = append(args, "--secret-file", secretFile(t, keys))
	_, out, _ = explain(t, args...)
	require.Contains(t, out, "MAC           verifies")
	require.Contains(t, out, "MSS           1460")
	_, out, _ = explain(t, append(args, "--tsval", "999959", "--ts-offset", "0")...)
	require.Contains(t, out, "window scale  7")
	require.Contains(t, out, "not covered by the MAC")
	_, out, _ = explain(t, append(args, "--count", "1002")...)
	require.Contains(t, out, "does not verify")
	code, _, err = explain(t, append(args, "--secret-file", secretFile(t, keys[2:]))...)
	require.Equal(t, exitFailure, code)
	require.Contains(t, err, "64 hexadecimal digits")
	require.NotContains(t, err, keys[2:20])
}

func TestCookieExplainUsage(t *testing.T) {
	tuple := []string{"--tuple", "192.0.2.1:80>198.51.100.2:40000"}
	for want, args := range map[string][]string{
		"give --read FILE, or --tuple":         nil,
		"give a capture or numbers":            append(tuple, "--read", "x"),
		"--seq is missing":                     tuple,
		"--ack is missing":                     append(tuple, "--seq", "1"),
		"--ack is --irs plus 1":                append(tuple, "--seq", "1", "--ack", "1", "--irs", "2"),
		"0 to 4294967295":                      append(tuple, "--seq", "4294967296"),
		"--tsval \"x\"":                        append(tuple, "--seq", "1", "--ack", "1", "--tsval", "x"),
		"in quotes":                            {"--tuple", "192.0.2.1:80"},
		"want 192.0.2.1:80":                    {"--tuple", "192.0.2.1>198.51.100.2:1"},
		"the other IPv6":                       {"--tuple", "192.0.2.1:80>[::1]:1"},
		"want RFC 3339":                        append(tuple, "--seq", "1", "--ack", "1", "--time", "noon"),
		"did you mean \"linux\"":               append(tuple, "--codec", "linus"),
		"needs --read":                         append(tuple, "--frame", "2"),
		"frames count from 1":                  {"--read", "x", "--frame", "-1"},
		"known: explain":                       nil,
		"--cookie-epoch: cookie: new ring: ep": append(tuple, "--seq", "1", "--ack", "1", "--secret-file", secretFile(t, testSecretText), "--cookie-epoch", "1ms"),
	} {
		var code int
		var err string
		if want == "known: explain" {
			code, _, err = fastsynCmd(t, "cookie", "explai")
		} else {
			code, _, err = explain(t, args...)
		}
		require.Equal(t, exitUsage, code, "%v: %s", args, err)
		require.Contains(t, err, want)
		require.Contains(t, err, "--help")
	}
	code, out, _ := explain(t, "--help")
	require.Zero(t, code)
	require.Contains(t, out, "Examples:")
	require.Contains(t, out, secretEnv)
}

func TestISN_003_SecretFromEnvironment(t *testing.T) {
	_, found, err := loadSecret("")
	require.NoError(t, err)
	require.False(t, found)
	t.Setenv(secretEnv, "tooshort")
	_, _, err = loadSecret("")
	require.ErrorIs(t, err, cookie.ErrSecret)
	require.ErrorContains(t, err, secretEnv)
	require.NotContains(t, err.Error(), "tooshort")
	t.Setenv(secretEnv, "")
	_, _, err = loadSecret("")
	require.Error(t, err, "set but empty is a mistake, not a wish for a random one")

	t.Setenv(secretEnv, testSecretText)
	s, found, err := loadSecret("")
	require.NoError(t, err)
	require.True(t, found && s.IsSet())
	o := serveFlags{cookies: "always", polling: "adaptive"}
	require.NoError(t, o.flags())
	require.True(t, o.cfg.Secret.IsSet())
	require.True(t, o.cfg.Engine.CookieFleet)
}

// Whatever a command prints, the secret is not in it, in any spelling.
func TestISN_003_NoOutputHoldsTheSecret(t *testing.T) {
	good := secretFile(t, testSecretText)
	open := secretFile(t, testSecretText)
	require.NoError(t, os.Chmod(open, 0o644))
	m := mintCookie(t, false, cookie.HasWScale|cookie.SACK|cookie.TS)
	broken := append(m.flags(), "--seq", "1")
	runs := map[string][]string{
		"help":           {"--help"},
		"version":        {"version"},
		"serve help":     {"serve", "--help"},
		"explain help":   {"cookie", "explain", "--help"},
		"explain":        append([]string{"cookie", "explain", "--secret-file", good}, m.flags()...),
		"explain env":    append([]string{"cookie", "explain"}, m.flags()...),
		"explain bad":    append([]string{"cookie", "explain", "--secret-file", good}, broken...),
		"explain linux":  append([]string{"cookie", "explain", "--codec", "linux", "--secret-file", good}, m.flags()...),
		"explain open":   append([]string{"cookie", "explain", "--secret-file", open}, m.flags()...),
		"explain nofile": append([]string{"cookie", "explain", "--secret-file", good + "x"}, m.flags()...),
		"serve":          {"serve", "--port", "afpacket:nonexistent0", "--addr", "10.0.0.2/24", "--listen", ":80", "--secret-file", good},
		"serve env":      {"serve", "--port", "afpacket:nonexistent0", "--addr", "10.0.0.2/24", "--listen", ":80"},
		"serve open":     {"serve", "--port", "afpacket:nonexistent0", "--addr", "10.0.0.2/24", "--listen", ":80", "--secret-file", open},
		"bench":          {"bench", "--count", "100", "--json", "-", "--cookies", "always", "--pin", "off", "--polling", "adaptive"},
		"unknown flag":   {"serve", "--secret", testSecretText[:3]},
	}
	t.Setenv(secretEnv, testSecretText)
	for name, args := range runs {
		_, out, stderr := fastsynCmd(t, args...)
		all := strings.ToLower(out + stderr)
		require.NotEmpty(t, all, name)
		for off := 0; off+8 <= len(testSecretText); off++ {
			part := testSecretText[off : off+8]
			for _, leak := range []string{part, hex.EncodeToString([]byte(part)), strings.Trim(fmt.Sprint([]byte(part)), "[]")} {
				require.NotContains(t, all, strings.ToLower(leak), name)
			}
		}
		if name == "explain open" && runtime.GOOS != "windows" {
			require.Contains(t, stderr, "chmod 600")
		}
	}
}
