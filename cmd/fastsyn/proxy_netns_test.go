//go:build linux

package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// Backends listen in the namespace of fastsyn's side, on its loopback interface: the
// kernel there has no other address.

// serveProxy serves backend, on a port of 127.0.0.1.
func serveProxy(t *testing.T, lab *dptest.Lab, port int, args ...string) *server {
	t.Helper()
	return serve(t, lab, "", append([]string{"--app", "proxy=127.0.0.1:" + strconv.Itoa(port)}, args...)...)
}

// listening waits for a program to listen in fastsyn's namespace.
func listening(t *testing.T, lab *dptest.Lab, port int) {
	t.Helper()
	require.Eventually(t, func() bool {
		out, err := lab.Try(lab.NS, "ss", "-tlnH", "sport", "=", ":"+strconv.Itoa(port))
		return err == nil && strings.Contains(out, "LISTEN")
	}, patience, 20*time.Millisecond, "nobody listens on port %d", port)
}

// backend is a kernel listener of the test's in fastsyn's namespace, with the connections it
// accepts.
func backend(t *testing.T, lab *dptest.Lab, port int) <-chan *net.TCPConn {
	t.Helper()
	var ln net.Listener
	lab.InNS(t, func() {
		var err error
		ln, err = net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		require.NoError(t, err)
	})
	conns := make(chan *net.TCPConn, 64)
	t.Cleanup(func() {
		_ = ln.Close()
		for c := range conns {
			_ = c.Close()
		}
	})
	go func() {
		defer close(conns)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(patience))
			conns <- c.(*net.TCPConn)
		}
	}()
	return conns
}

// idle requires that a proxy has nothing left of the flows that it had.
func idle(t *testing.T, r map[string]any) {
	t.Helper()
	for _, name := range []string{"chunks_from_client_now", "chunks_from_backend_now", "reset_no_memory"} {
		require.Zero(t, num(t, r, "application", name), name)
	}
	for _, name := range []string{"open_now", "blocks_in_use_now", "sending_now", "holding_now"} {
		require.Zero(t, num(t, r, "streams", name), name)
	}
}

// A program that answers only when its input ends: both directions have an end of their own.
func TestInterop_ProxyHalfClose(t *testing.T) {
	interop(t, "ss", "nc", "socat")
	lab := dptest.NewLab(t)
	lab.Start(t, lab.NS, "socat", "-b", "65536", "TCP-LISTEN:7000,bind=127.0.0.1,fork,reuseaddr", "EXEC:sha256sum")
	listening(t, lab, 7000)
	file, sum := bulkFile(t, bulk)
	s := serveProxy(t, lab, 7000)
	out := lab.Exec(t, lab.PeerNS, "sh", "-c", "nc -N "+lab.Addr4.Addr().String()+" 80 <"+file)
	require.Equal(t, sum, strings.Fields(out)[0])
	out = lab.Exec(t, lab.PeerNS, "sh", "-c", "nc -N "+lab.Addr6.Addr().String()+" 80 </dev/null")
	require.Equal(t, fmt.Sprintf("%x", sha256.Sum256(nil)), strings.Fields(out)[0], "no text at all")
	r := stopIdle(t, lab, s)
	require.Equal(t, 2, num(t, r, "application", "done"))
	require.Equal(t, 2, num(t, r, "counters", "done"))
	require.Equal(t, bulk, num(t, r, "application", "bytes_to_backend"))
	require.Equal(t, num(t, r, "application", "bytes_from_backend"), num(t, r, "application", "bytes_to_client"))
	idle(t, r)
}

// A backend that closes first, and a client that goes on for as long as it likes.
func TestInterop_ProxyBackendClosesFirst(t *testing.T) {
	interop(t, "ss")
	lab := dptest.NewLab(t)
	conns := backend(t, lab, 7000)
	s := serveProxy(t, lab, 7000)
	c := dialPeer(t, lab, addr(lab.Addr4, 80))
	b := <-conns
	_, err := b.Write([]byte("greeting"))
	require.NoError(t, err)
	require.NoError(t, b.CloseWrite())
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "greeting", string(got))
	_, err = c.Write([]byte("thanks"))
	require.NoError(t, err)
	require.NoError(t, c.CloseWrite())
	got, err = io.ReadAll(b)
	require.NoError(t, err)
	require.Equal(t, "thanks", string(got))
	r := stopIdle(t, lab, s)
	require.Equal(t, 1, num(t, r, "application", "done"))
	require.Equal(t, 1, num(t, r, "counters", "done"))
	idle(t, r)
}

// iperf3 both ways, with its control connection beside the ones that carry text. Not --bidir: it knows its
// connections by the order in which they come, and a proxy that dials for each as it is accepted keeps none.
func TestInterop_ProxyIperf3(t *testing.T) {
	interop(t, "ss", "iperf3")
	lab := dptest.NewLab(t)
	lab.Start(t, lab.NS, "iperf3", "-s", "-B", "127.0.0.1", "-p", "5201")
	listening(t, lab, 5201)
	s := serveProxy(t, lab, 5201)
	total := 0
	for _, more := range [][]string{nil, {"-R"}, {"-P", "4"}, {"-P", "4", "-R"}} {
		args := append([]string{"iperf3", "-c", lab.Addr4.Addr().String(), "-p", "80", "-J", "-n", "50M"}, more...)
		out := lab.Exec(t, lab.PeerNS, args...)
		var r struct {
			Error string
			End   struct {
				Sent     struct{ Bytes float64 } `json:"sum_sent"`
				Received struct{ Bytes float64 } `json:"sum_received"`
			}
		}
		require.NoError(t, json.Unmarshal([]byte(out), &r), out)
		require.Empty(t, r.Error)
		require.GreaterOrEqual(t, r.End.Sent.Bytes, float64(50<<20), "%v", more)
		t.Logf("%v: %.0f MB sent, %.0f MB received", more, r.End.Sent.Bytes/1e6, r.End.Received.Bytes/1e6)
		total += int(r.End.Received.Bytes) // a client that has sent all does not wait for its arrival
	}
	r := stopIdle(t, lab, s)
	require.GreaterOrEqual(t, num(t, r, "streams", "bytes_in")+num(t, r, "streams", "bytes_out"), total)
	require.Equal(t, num(t, r, "application", "flows"), num(t, r, "application", "backend_connected"))
}

// A session of SSH, whose messages would not survive a byte that is missing, twice or elsewhere.
func TestInterop_ProxySSH(t *testing.T) {
	interop(t, "ss", "ssh", "sshd")
	lab := dptest.NewLab(t)
	dir := t.TempDir()
	key, host, config := filepath.Join(dir, "key"), filepath.Join(dir, "host"), filepath.Join(dir, "sshd_config")
	for _, f := range []string{key, host} {
		lab.Exec(t, lab.NS, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f)
	}
	require.NoError(t, os.MkdirAll("/run/sshd", 0o755)) // for its privilege separation
	require.NoError(t, os.WriteFile(config, []byte(`
Port 2222
ListenAddress 127.0.0.1
HostKey `+host+`
AuthorizedKeysFile `+key+`.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
`), 0o600))
	sshd, err := dptest.LookTool("sshd") // which wants to be called by its whole path
	require.NoError(t, err)
	lab.Start(t, lab.NS, sshd, "-D", "-e", "-f", config)
	listening(t, lab, 2222)
	file, sum := bulkFile(t, 20<<20)
	s := serveProxy(t, lab, 2222)
	ssh := "ssh -F none -p 80 -i " + key + " -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR root@"
	out := lab.Exec(t, lab.PeerNS, "sh", "-c", ssh+lab.Addr4.Addr().String()+" sha256sum <"+file)
	require.Equal(t, sum, strings.Fields(out)[0])
	out = lab.Exec(t, lab.PeerNS, "sh", "-c", ssh+lab.Addr6.Addr().String()+" cat "+file+" </dev/null | sha256sum")
	require.Equal(t, sum, strings.Fields(out)[0])
	r := stopIdle(t, lab, s)
	require.Equal(t, 2, num(t, r, "application", "backend_connected"))
	require.Zero(t, num(t, r, "application", "backend_lost"))
	idle(t, r)
}

// Who does not read holds up the other side, and text that waits is bounded.
func TestInterop_ProxyBackPressure(t *testing.T) {
	interop(t, "ss")
	lab := dptest.NewLab(t)
	conns := backend(t, lab, 7000)
	s := serveProxy(t, lab, 7000, "--send-buffer", "64K", "--rcv-window", "128K")
	text := randomText(64 << 20)
	for _, way := range []string{"to the backend", "to the client"} {
		t.Run(way, func(t *testing.T) {
			c := dialPeer(t, lab, addr(lab.Addr4, 80))
			from, to := c, <-conns
			if way == "to the client" {
				from, to = to, from
			}
			sent := stall(t, from, text)
			got := make(chan [sha256.Size]byte, 1)
			go func() {
				h := sha256.New()
				_, _ = io.Copy(h, to)
				got <- [sha256.Size]byte(h.Sum(nil))
			}()
			end := min(sent+8<<20, len(text))
			require.NoError(t, from.SetDeadline(time.Now().Add(patience)))
			_, err := from.Write(text[sent:end])
			require.NoError(t, err)
			require.NoError(t, from.CloseWrite())
			require.Equal(t, sha256.Sum256(text[:end]), <-got)
			require.NoError(t, to.Close())
			_, err = from.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
		})
	}
	r := stopIdle(t, lab, s)
	// A window of text, in chunks that were taken before they were full.
	require.LessOrEqual(t, num(t, r, "application", "chunks_from_client_high")*chunkSize, 2*128<<10)
	require.Equal(t, 2, num(t, r, "application", "done"))
	idle(t, r)
}

// Resets pass through, from either side.
func TestInterop_ProxyResets(t *testing.T) {
	interop(t, "ss")
	lab := dptest.NewLab(t)
	conns := backend(t, lab, 7000)
	s := serveProxy(t, lab, 7000)
	text := randomText(1 << 20)
	// Which of them resets, with text on the way to both.
	const n = 5
	for range n {
		for _, client := range []bool{true, false} {
			c := dialPeer(t, lab, addr(lab.Addr4, 80))
			killer, other := c, <-conns
			if !client {
				killer, other = other, killer
			}
			_, err := killer.Write([]byte("ready"))
			require.NoError(t, err)
			_, err = io.ReadFull(other, make([]byte, 5))
			require.NoError(t, err)
			_, err = other.Write(text[:1000])
			require.NoError(t, err)
			_, err = io.ReadFull(killer, make([]byte, 1000))
			require.NoError(t, err)
			require.NoError(t, killer.SetLinger(0))
			require.NoError(t, killer.Close())
			_, err = io.ReadAll(other)
			require.True(t, isReset(err), "client resets: %v: %v", client, err)
		}
	}
	r := stopIdle(t, lab, s)
	require.Equal(t, n, num(t, r, "application", "client_lost"))
	require.Equal(t, n, num(t, r, "application", "backend_lost"))
	require.Equal(t, n, num(t, r, "counters", "reset"))
	require.Equal(t, n, num(t, r, "counters", "aborted"))
	idle(t, r)
}

// Without a backend each client is reset, which is counted, and the reason told once.
func TestInterop_ProxyBackendDown(t *testing.T) {
	interop(t, "ss")
	lab := dptest.NewLab(t)
	s := serveProxy(t, lab, 7000)
	const n = 10
	for range n {
		lab.InPeerNS(t, func() {
			c, err := net.DialTimeout("tcp", addr(lab.Addr4, 80), patience)
			if err == nil { // else the reset came before the program looked at its connection
				_ = c.SetDeadline(time.Now().Add(patience))
				// A socket tells of a reset once: the first call that comes after it.
				if _, err = c.Write([]byte("anybody there?")); err == nil {
					_, err = io.ReadAll(c)
				}
				_ = c.Close()
			}
			require.True(t, isReset(err), "%v", err)
		})
	}
	r := stopIdle(t, lab, s)
	require.Equal(t, n, num(t, r, "application", "flows"))
	require.Equal(t, n, num(t, r, "application", "backend_refused"))
	require.Equal(t, n, num(t, r, "counters", "aborted"))
	require.Equal(t, 1, strings.Count(s.Output(), "connection refused"), s.Output())
	require.Contains(t, s.Output(), "application.backend_refused")
	idle(t, r)
}

// nginx as a backend that wants the header: it logs who the client is.
func TestInterop_ProxyProtocolNginx(t *testing.T) {
	interop(t, "ss", "nginx", "curl")
	lab := dptest.NewLab(t)
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	conf, log := filepath.Join(dir, "nginx.conf"), filepath.Join(dir, "access.log")
	require.NoError(t, os.WriteFile(conf, []byte(`
daemon off; master_process off; pid `+dir+`/pid; error_log `+dir+`/error.log info;
events {}
http {
  log_format who '$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port $request_uri $status';
  access_log `+log+` who;
  client_body_temp_path `+dir+`; proxy_temp_path `+dir+`; fastcgi_temp_path `+dir+`; uwsgi_temp_path `+dir+`; scgi_temp_path `+dir+`;
  server { listen 127.0.0.1:8080 proxy_protocol; location / { return 200 "hello $proxy_protocol_addr\n"; } }
}
`), 0o644))
	lab.Start(t, lab.NS, "nginx", "-p", dir, "-c", conf)
	listening(t, lab, 8080)
	s := serveProxy(t, lab, 8080, "--proxy-protocol", "v2")
	var want []string
	for _, six := range []bool{false, true} {
		from, to, host := lab.PeerAddr4.Addr().String(), lab.Addr4.Addr().String(), lab.Addr4.Addr().String()
		if six {
			from, to = lab.PeerAddr6.Addr().String(), lab.Addr6.Addr().String()
			host = "[" + to + "]"
		}
		out := lab.Exec(t, lab.PeerNS, "curl", "-gsS", "-m", "20", "-w", "%{local_port}", "http://"+host+"/page")
		hello, port, _ := strings.Cut(out, "\n")
		require.Equal(t, "hello "+from, hello)
		want = append(want, fmt.Sprintf("%s %s %s 80 /page 200", from, port, to))
	}
	got, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Equal(t, want, strings.Split(strings.TrimSpace(string(got)), "\n"))
	r := stopIdle(t, lab, s)
	require.Equal(t, 2, num(t, r, "application", "done"))
}

// The facts of the handshake in the header are those that the client's kernel has.
func TestInterop_ProxyProtocolFacts(t *testing.T) {
	interop(t, "ss")
	for _, policy := range []string{"never", "always"} {
		t.Run("cookies="+policy, func(t *testing.T) {
			lab := dptest.NewLab(t)
			conns := backend(t, lab, 7000)
			s := serveProxy(t, lab, 7000, "--proxy-protocol", "v2", "--cookies", policy, "--print")
			for _, plain := range []bool{false, true} {
				lab.Exec(t, lab.PeerNS, "sysctl", "-q", "net.ipv4.tcp_timestamps="+onOff(!plain), "net.ipv4.tcp_sack="+onOff(!plain), "net.ipv4.tcp_window_scaling="+onOff(!plain))
				c := dialPeer(t, lab, addr(lab.Addr4, 80))
				b := <-conns
				_, err := c.Write([]byte("text"))
				require.NoError(t, err)
				r := bufio.NewReader(b)
				h, err := proxyproto.Read(r)
				require.NoError(t, err)
				text := make([]byte, 4)
				_, err = io.ReadFull(r, text)
				require.NoError(t, err)
				require.Equal(t, "text", string(text), "right behind the header")
				require.Equal(t, c.LocalAddr().String(), h.SourceAddr.String())
				require.Equal(t, c.RemoteAddr().String(), h.DestinationAddr.String())
				tlvs, err := h.TLVs()
				require.NoError(t, err)
				facts := map[byte][]byte{}
				for _, v := range tlvs {
					facts[byte(v.Type)] = v.Value
				}
				ss := lab.Exec(t, lab.PeerNS, "ss", "-tinoH", "sport", "=", ":"+strconv.Itoa(c.LocalAddr().(*net.TCPAddr).Port))
				require.Equal(t, []byte{0x05, 0xb4, 0x05, 0xb4}, facts[0xe1], "1460 both ways")
				flags := uint16(facts[0xe3][0])<<8 | uint16(facts[0xe3][1])
				require.Equal(t, !plain, flags&1 != 0, "SACK")
				require.Equal(t, !plain, flags&2 != 0, "timestamps")
				require.Equal(t, policy == "always", flags&8 != 0, "cookie")
				require.Zero(t, flags&^0b1011)
				if m := regexp.MustCompile(`wscale:(\d+),(\d+)`).FindStringSubmatch(ss); plain {
					require.Nil(t, m)
					require.NotContains(t, facts, byte(0xe2))
				} else {
					require.Equal(t, m[1:], []string{strconv.Itoa(int(facts[0xe2][1])), strconv.Itoa(int(facts[0xe2][0]))}, "from the other side: %s", ss)
				}
				if policy == "never" {
					rtt := uint32(facts[0xe0][0])<<24 | uint32(facts[0xe0][1])<<16 | uint32(facts[0xe0][2])<<8 | uint32(facts[0xe0][3])
					require.NotZero(t, rtt)
					require.Less(t, rtt, uint32(patience.Microseconds()))
				}
				// --print has the same from the handshake itself.
				port := c.LocalAddr().(*net.TCPAddr).Port
				s.WaitFor(t, fmt.Sprintf(":%d >", port), patience)
				line := regexp.MustCompile(fmt.Sprintf(`established [^\n]*:%d > [^\n]* win (\d+) irs (\d+) iss (\d+)`, port)).FindStringSubmatch(s.Output())
				require.NotNil(t, line, s.Output())
				be32 := func(b []byte) string {
					return strconv.FormatUint(uint64(b[0])<<24|uint64(b[1])<<16|uint64(b[2])<<8|uint64(b[3]), 10)
				}
				require.Equal(t, line[1:], []string{be32(facts[0xe5]), be32(facts[0xe4][:4]), be32(facts[0xe4][4:])})
				require.NoError(t, b.Close())
				_, err = io.ReadAll(c)
				require.NoError(t, err)
				require.NoError(t, c.Close())
			}
			r := stopIdle(t, lab, s)
			require.Equal(t, 2, num(t, r, "application", "backend_connected"))
		})
	}
}

// Many clients at once, on two workers.
func TestInterop_ProxyManyClients(t *testing.T) {
	notOver(t, "it wants combined queues, and those of veth are separate ones", "net_af_xdp")
	interop(t, "ss")
	lab := dptest.NewLab(t, dptest.LabQueues(2))
	conns := backend(t, lab, 7000)
	go func() {
		for c := range conns {
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.CloseWrite()
			}()
		}
	}()
	s := serve(t, lab, portOf(t, lab, 2), "--app", "proxy=127.0.0.1:7000")
	const n, size = 100, 300_000
	text := randomText(size)
	done := make(chan error, n)
	for i := range n {
		to := lab.Addr4
		if i%2 == 1 {
			to = lab.Addr6
		}
		c := dialPeer(t, lab, addr(to, 80))
		go func() {
			go func() {
				_, _ = c.Write(text)
				_ = c.CloseWrite()
			}()
			b, err := io.ReadAll(c)
			if err == nil && !bytes.Equal(b, text) {
				err = fmt.Errorf("%d bytes come back, and not those sent", len(b))
			}
			done <- err
		}()
	}
	for range n {
		require.NoError(t, <-done)
	}
	r := stopIdle(t, lab, s)
	require.Equal(t, n, num(t, r, "application", "done"))
	require.Equal(t, n, num(t, r, "counters", "done"))
	require.Equal(t, n*size, num(t, r, "streams", "bytes_out"))
	per := r["accepted_per_worker"].([]any)
	require.Len(t, per, 2)
	require.NotZero(t, per[0])
	require.NotZero(t, per[1])
	idle(t, r)
}
