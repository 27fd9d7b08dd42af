package http1

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// kernel serves on the loopback of the kernel: each connection is a stream whose Write has
// room for a few kilobytes at a time, so that large responses block and go on.
type kernel struct {
	mu     sync.Mutex // the worker: one call of s at a time
	s      *Server
	addr   string
	wg     sync.WaitGroup
	blocks int // how often a Write was short
}

type kernelFlow struct {
	k       *kernel
	out     []byte // queued; statics are copied, too
	room    int
	short   bool
	closed  bool
	aborted bool
	held    int
	value   any
}

func (f *kernelFlow) Write(p []byte) int {
	n := min(len(p), f.room)
	f.room -= n
	f.out = append(f.out, p[:n]...)
	if n < len(p) {
		f.short = true
		f.k.blocks++
	}
	return n
}

func (f *kernelFlow) WriteStatic(p []byte) bool {
	if len(p) > f.room {
		return false
	}
	return f.Write(p) == len(p)
}
func (f *kernelFlow) Close()         { f.closed = true }
func (f *kernelFlow) Abort()         { f.aborted = true }
func (f *kernelFlow) Hold(n int)     { f.held += n }
func (f *kernelFlow) Consumed(n int) { f.held -= n }
func (f *kernelFlow) SetValue(v any) { f.value = v }
func (f *kernelFlow) Value() any     { return f.value }

const kernelRoom = 200_000

func serveKernel(t *testing.T, s *Server) *kernel {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	k := &kernel{s: s, addr: l.Addr().String()}
	k.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			k.wg.Go(func() { k.serve(c.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		k.wg.Wait()
		require.NoError(t, s.Check(0))
		require.Equal(t, 0, inUse(s))
	})
	return k
}

func (k *kernel) serve(c *net.TCPConn) {
	f := &kernelFlow{k: k, room: kernelRoom}
	defer func() {
		if f.aborted {
			_ = c.SetLinger(0)
		} else {
			k.call(func() { k.s.Closed(f) })
		}
		_ = c.Close()
	}()
	in := make([]byte, 1460)
	for closed, ends := false, false; ; {
		for len(f.out) > 0 || f.short {
			if _, err := c.Write(f.out); err != nil {
				return
			}
			f.out, f.room = f.out[:0], kernelRoom
			if f.short {
				f.short = false
				k.call(func() { k.s.Writable(f) })
			}
		}
		if f.aborted {
			return
		}
		if f.closed && !closed {
			closed = true
			_ = c.CloseWrite()
		}
		if ends {
			return
		}
		n, err := c.Read(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return
		}
		k.call(func() {
			k.s.Tick(time.Now().Unix())
			if n > 0 {
				k.s.Data(f, in[:n])
			}
			if err != nil && !f.aborted {
				ends = true
				k.s.PeerClosed(f)
			}
		})
	}
}

func (k *kernel) call(do func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	do()
}

// program runs a client with a limit of its own.
func program(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := dptest.LookTool(name)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	require.NoError(t, err, "%s %s\n%s", name, strings.Join(args, " "), out)
	return string(out)
}

func sum(t *testing.T, file string) string {
	t.Helper()
	p, err := os.ReadFile(file)
	require.NoError(t, err)
	h := sha256.Sum256(p)
	return fmt.Sprintf("%x", h)
}

// TestCurl: 100 MB both ways with checksums that are equal, a transfer that is continued,
// conditions, redirects, several files on one connection, methods and errors.
func TestCurl(t *testing.T) {
	dptest.Need(t, "curl")
	const size = 100_000_000
	dir := t.TempDir()
	large, got := filepath.Join(dir, "large"), filepath.Join(dir, "got")
	text := FixedText(size)
	require.NoError(t, os.WriteFile(large, text, 0o600))
	want := sum(t, large)

	up := sha256.New()
	s := NewServer(Fixed("text/plain", text), Limits{})
	s.Content = func(p []byte) { up.Write(p) }
	k := serveKernel(t, s)
	curl := func(args ...string) string {
		return program(t, "curl", append([]string{"-sS", "-m", "50", "-g"}, args...)...)
	}
	url := "http://" + k.addr + "/x"
	curl("-o", got, url)
	require.Equal(t, want, sum(t, got), "down")
	require.Positive(t, k.blocks, "responses did not fit at once")
	code := curl("-o", os.DevNull, "-w", "%{http_code} %{size_upload} %{size_download}", "-T", large, url)
	require.Equal(t, fmt.Sprintf("200 %d %d", size, size), code)
	require.Equal(t, want, fmt.Sprintf("%x", up.Sum(nil)), "up, with length and Expect")
	require.Positive(t, s.Continues, "curl waits for 100 Continue with large files")
	up.Reset()
	code = curl("-o", os.DevNull, "-w", "%{http_code}", "-T", large, "-H", "Transfer-Encoding: chunked", "-r", "0-0", url)
	require.Equal(t, "200", code)
	require.Equal(t, want, fmt.Sprintf("%x", up.Sum(nil)), "up, chunked")

	site, err := Files(os.DirFS(dir), size*3)
	require.NoError(t, err)
	k = serveKernel(t, NewServer(site, Limits{}))
	url = "http://" + k.addr
	require.NoError(t, os.WriteFile(got, text[:size-12345], 0o600))
	curl("-C", "-", "-o", got, url+"/large")
	require.Equal(t, want, sum(t, got), "continued")
	require.Equal(t, string(text[:10])+string(text[20:25]), curl("-r", "0-9", url+"/large", "--next", "-sS", "-r", "20-24", url+"/large"))
	etag := filepath.Join(t.TempDir(), "etag")
	require.Equal(t, "200", curl("-o", os.DevNull, "-w", "%{http_code}", "--etag-save", etag, url+"/large"))
	require.Equal(t, "304", curl("-o", os.DevNull, "-w", "%{http_code}", "--etag-compare", etag, url+"/large"))
	require.Equal(t, "304", curl("-o", os.DevNull, "-w", "%{http_code}", "-z", large, url+"/large"))
	require.Equal(t, "404", curl("-o", os.DevNull, "-w", "%{http_code}", url+"/nothing"))
	require.Equal(t, "405 1 405 0 200 0", curl("-o", os.DevNull, "-w", "%{http_code} %{num_connects} ", "-X", "DELETE", url, "-o", os.DevNull, url+"/nothing",
		"-X", "DELETE", "--next", "-sS", "-I", "-o", os.DevNull, "-w", "%{http_code} %{num_connects}", url+"/large"))
}

// TestWrk and TestAb: load generators see no error, on connections that persist and, by ab, that do not.
func TestWrk(t *testing.T) {
	dptest.Need(t, "wrk")
	s := NewServer(Fixed("text/plain", FixedText(1024)), Limits{})
	k := serveKernel(t, s)
	out := program(t, "wrk", "-t", "1", "-c", "20", "-d", "1s", "http://"+k.addr+"/")
	require.Regexp(t, `[1-9]\d* requests in`, out)
	require.NotContains(t, out, "Socket errors")
	require.NotContains(t, out, "Non-2xx")
}

func TestAb(t *testing.T) {
	dptest.Need(t, "ab")
	for _, keep := range []bool{false, true} {
		s := NewServer(Fixed("text/plain", FixedText(10_000)), Limits{})
		k := serveKernel(t, s)
		args := []string{"-n", "2000", "-c", "10", "-l", "http://" + k.addr + "/"}
		if keep {
			args = append([]string{"-k"}, args...)
		}
		out := program(t, "ab", args...)
		require.Regexp(t, `Complete requests: +2000\n`, out)
		require.Regexp(t, `Failed requests: +0\n`, out)
		require.Regexp(t, `HTML transferred: +20000000 bytes`, out)
		if keep {
			require.Regexp(t, regexp.MustCompile(`Keep-Alive requests: +2000\n`), out)
		}
		k.call(func() { require.Equal(t, uint64(2000), s.Responses) })
	}
}

// TestGoClient: http.Transport with uploads in chunks, on connections that it keeps.
func TestGoClient(t *testing.T) {
	if testing.Short() {
		t.Skip("opens sockets")
	}
	var up int64
	s := NewServer(Fixed("text/plain", FixedText(300_000)), Limits{})
	s.Content = func(p []byte) { up += int64(len(p)) }
	k := serveKernel(t, s)
	tr := &http.Transport{MaxIdleConnsPerHost: 4}
	client := &http.Client{Transport: tr, Timeout: time.Minute}
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for range 8 {
		wg.Go(func() {
			for range 20 {
				r, err := client.Post("http://"+k.addr+"/", "text/plain", io.LimitReader(zeros{}, 50_000))
				if err == nil {
					var n int64
					n, err = io.Copy(io.Discard, r.Body)
					_ = r.Body.Close()
					if err == nil && (n != 300_000 || r.StatusCode != 200) {
						err = fmt.Errorf("status %s, %d bytes", r.Status, n)
					}
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	tr.CloseIdleConnections()
	k.call(func() {
		require.Equal(t, uint64(160), s.Responses)
		require.Equal(t, int64(8*20*50_000), up)
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestGoServer: the client reads what net/http serves: with a length, in chunks, up to the close.
func TestGoServer(t *testing.T) {
	if testing.Short() {
		t.Skip("opens sockets")
	}
	text := FixedText(20_000)
	mux := http.NewServeMux()
	mux.HandleFunc("/length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "20000")
		_, _ = w.Write(text)
	})
	mux.HandleFunc("/chunks", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		for _, p := range pieces(text, 3000) {
			_, _ = w.Write(p)
			w.(http.Flusher).Flush()
		}
		w.Header().Set("X-Sum", "1")
	})
	mux.HandleFunc("/hints", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = w.Write(text)
	})
	mux.HandleFunc("/close", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.Header().Set("Transfer-Encoding", "identity")
		_, _ = w.Write(text)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(l) })
	t.Cleanup(func() { _ = srv.Close(); wg.Wait() })
	for _, path := range []string{"/length", "/chunks", "/hints", "/close"} {
		for _, keep := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/keep=%v", path, keep), func(t *testing.T) {
				c, err := NewClient("GET", l.Addr().String(), path, keep, 200, 20_000)
				require.NoError(t, err)
				conn, err := net.Dial("tcp", l.Addr().String())
				require.NoError(t, err)
				defer func() { _ = conn.Close() }()
				require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
				f, in := &fake{}, make([]byte, 700)
				persists := keep && path != "/close"
				for range 3 {
					require.True(t, c.Send(f))
					_, err = conn.Write(f.out)
					require.NoError(t, err)
					f.out = nil
					for done := false; !done; {
						var why Reason
						n, err := conn.Read(in)
						if errors.Is(err, io.EOF) {
							done, why = c.PeerClosed(f)
						} else {
							require.NoError(t, err)
							done, why = c.Data(f, in[:n])
						}
						require.Equal(t, OK, why)
					}
					require.Equal(t, Result{200, 20_000, persists}, c.Last)
					if !persists {
						break
					}
				}
				require.NoError(t, c.Check(0))
			})
		}
	}
}
