package fastsyn_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
)

// sumServer answers a POST by the checksum of its body, and a GET of /N by N bytes.
func sumServer(t *testing.T, ln net.Listener) (served func() int) {
	t.Helper()
	var mu sync.Mutex
	n := 0
	mux := http.NewServeMux()
	mux.HandleFunc("POST /sum", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		if _, err := io.Copy(sum, r.Body); err != nil {
			t.Error(err)
		}
		fmt.Fprintf(w, "%x", sum.Sum(nil))
	})
	mux.HandleFunc("GET /{seed}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(body(r.PathValue("seed")))
	})
	srv := &http.Server{Handler: mux, ReadTimeout: time.Minute, WriteTimeout: time.Minute, ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			mu.Lock()
			n++
			mu.Unlock()
		}
	}}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	t.Cleanup(func() {
		_ = srv.Close()
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	return func() int { mu.Lock(); defer mu.Unlock(); return n }
}

// body is a megabyte that depends on seed.
func body(seed string) []byte {
	sum := sha256.Sum256([]byte(seed))
	return bytes.Repeat(sum[:], (1<<20)/len(sum))
}

// http.Serve on our listener and http.Transport on our dialer: a megabyte each way,
// many at a time, with connections that are kept.
func TestHTTPBothWays(t *testing.T) {
	for _, queues := range []int{1, 2} {
		t.Run(fmt.Sprintf("queues=%d", queues), func(t *testing.T) {
			w := newWorld(t, fmt.Sprintf("?queues=%d", queues), nil)
			ln := w.listen()
			served := sumServer(t, ln)
			transport := &http.Transport{DialContext: w.client.DialContext, MaxIdleConnsPerHost: 16}
			client := &http.Client{Transport: transport}
			exchange(t, client, "http://"+ln.Addr().String(), 16, 6)
			require.LessOrEqual(t, served(), 16*2, "connections are used again")
			transport.CloseIdleConnections()
			w.quiet()
		})
	}
}

// exchange has n clients each make rounds requests of both kinds.
func exchange(t *testing.T, client *http.Client, url string, n, rounds int) {
	t.Helper()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for k := range rounds {
				seed := fmt.Sprint(i, "-", k)
				want := body(seed)
				sum := sha256.Sum256(want)
				resp, err := client.Post(url+"/sum", "application/octet-stream", bytes.NewReader(want))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || string(got) != hex.EncodeToString(sum[:]) {
					t.Errorf("checksum %s, want %x: %v", got, sum, err)
				}
				if resp, err = client.Get(url + "/" + seed); err != nil {
					t.Error(err)
					return
				}
				got, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes that differ, want %d: %v", len(got), len(want), err)
				}
			}
		})
	}
	all.Wait()
}

// certificate is what a server of host presents, and who trusts it.
func certificate(t *testing.T, ip net.IP) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{ip}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// TLS, and HTTP/2 in it, on top.
func TestHTTPOverTLS(t *testing.T) {
	for _, proto := range []string{"http/1.1", "h2"} {
		t.Run(proto, func(t *testing.T) {
			w := newWorld(t, "", nil)
			ln := w.listen()
			cert, pool := certificate(t, ln.Addr().(*net.TCPAddr).IP)
			config := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{proto}}
			sumServer(t, tls.NewListener(ln, config))
			transport := &http.Transport{
				DialContext: w.client.DialContext, ForceAttemptHTTP2: proto == "h2",
				TLSClientConfig: &tls.Config{RootCAs: pool, NextProtos: []string{proto}},
			}
			client := &http.Client{Transport: transport}
			exchange(t, client, "https://"+ln.Addr().String(), 4, 3)
			resp, err := client.Get("https://" + ln.Addr().String() + "/x")
			require.NoError(t, err)
			require.Equal(t, proto == "h2", resp.ProtoMajor == 2)
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			transport.CloseIdleConnections()
			w.quiet()
		})
	}
}

// A request that its context ends takes its connection with it.
func TestHTTPRequestCanceled(t *testing.T) {
	w := newWorld(t, "", nil)
	ln := w.listen()
	started := make(chan bool)
	srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		started <- true
		<-r.Context().Done() // the server sees the client go
		started <- false
	})}
	go func() { _ = srv.Serve(ln) }()
	defer func() { _ = srv.Close() }()
	transport := &http.Transport{DialContext: w.client.DialContext}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-started
		cancel()
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ln.Addr().String(), nil)
	require.NoError(t, err)
	_, err = transport.RoundTrip(req)
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, <-started)
	w.quiet()
}

// When all is closed no goroutine is left: connections have none, and their timers
// have been stopped.
func TestNoGoroutineStays(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 3 {
		w := newWorld(t, "?queues=2", nil)
		ln := w.listen()
		var open []*fastsyn.Conn
		for range 50 {
			a, d := w.pair(ln)
			require.NoError(t, a.SetDeadline(time.Now().Add(time.Hour)))
			open = append(open, a, d)
		}
		require.Less(t, runtime.NumGoroutine(), before+20, "none for each connection")
		for _, c := range open {
			require.NoError(t, c.Close())
		}
		w.quiet()
		require.NoError(t, ln.Close())
		require.NoError(t, w.client.Close())
		require.NoError(t, w.server.Close())
	}
	for range 10_000 { // not Eventually, which has goroutines of its own
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	buf := make([]byte, 1<<20)
	t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
}
