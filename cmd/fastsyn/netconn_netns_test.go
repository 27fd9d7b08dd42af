//go:build linux

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// sums answers a GET of /text/N by the first N bytes of text, and anything with content by its
// SHA-256.
func sums(text []byte) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /text/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.PathValue("n"))
		if err != nil || n < 0 || n > len(text) {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text[:n]))
	})
	mux.HandleFunc("/sum", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		if _, err := io.Copy(sum, r.Body); err != nil {
			return
		}
		_, _ = fmt.Fprintf(w, "%x", sum.Sum(nil))
	})
	return mux
}

// large is how much text goes each way: 100 MB, and less where the race detector makes it slow.
func large() int {
	if raceBuild {
		return 10_000_000
	}
	return 100_000_000
}

// nobodyLeft waits until no stream is, and requires that they left nothing behind.
func nobodyLeft(t *testing.T, ep *fastsyn.Endpoint) {
	t.Helper()
	require.Eventually(t, func() bool { return ep.Stats()[0].Streams.Now == 0 }, patience, 20*time.Millisecond)
	s := ep.Stats()[0]
	require.Empty(t, s.Check())
	require.Zero(t, s.CallbackPanics)
	require.Equal(t, []uint64{0, 0, 0}, []uint64{s.Streams.BlocksInUse, s.Streams.Sending, s.Streams.Holding})
}

// http.Serve of the standard library on our listener, with clients that others wrote: 100 MB each way
// over one connection that is kept, and many small ones.
func TestInterop_DAT_014_ServeOnOurListener(t *testing.T) {
	interop(t, "curl", "ab", "wrk")
	size := large()
	text := randomText(size)
	want := fmt.Sprintf("%x", sha256.Sum256(text))
	lab := dptest.NewLab(t)
	ep, _ := openHere(t, lab, "", fastsyn.Config{})
	ln, err := ep.Listen("tcp", ":80")
	require.NoError(t, err)
	srv := &http.Server{Handler: sums(text)}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	defer func() {
		require.NoError(t, srv.Close())
		require.ErrorIs(t, <-served, http.ErrServerClosed)
		nobodyLeft(t, ep)
	}()
	dir := t.TempDir()
	file, got := filepath.Join(dir, "up"), filepath.Join(dir, "down")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	for _, at := range []string{"http://" + lab.Addr4.Addr().String(), "http://[" + lab.Addr6.Addr().String() + "]"} {
		out := lab.Exec(t, lab.PeerNS, "curl", "-gsS", "-m", "50", "-o", got, "-w", "%{num_connects} ", at+"/text/"+strconv.Itoa(size),
			"-:", "-gsS", "-m", "50", "-T", file, "-w", " %{num_connects}", at+"/sum")
		require.Equal(t, "1 "+want+" 0", out, "one connection for both")
		b, err := os.ReadFile(got)
		require.NoError(t, err)
		require.True(t, bytes.Equal(text, b))
	}
	url := "http://" + lab.Addr4.Addr().String() + "/text/1000"
	out := lab.Exec(t, lab.PeerNS, "ab", "-n", "1000", "-c", "10", url)
	require.Regexp(t, `Complete requests: +1000\n`, out)
	require.Regexp(t, `Failed requests: +0\n`, out)
	require.Regexp(t, `HTML transferred: +1000000 bytes`, out)
	out = lab.Exec(t, lab.PeerNS, "wrk", "-t", "1", "-c", "20", "-d", "1s", url)
	require.Regexp(t, `[1-9]\d* requests in`, out)
	require.NotContains(t, out, "Socket errors")
	require.NotContains(t, out, "Non-2xx")
}

// peerServer serves handler in the peer's namespace, with the kernel's TCP; with TLS if config is there.
func peerServer(t *testing.T, lab *dptest.Lab, handler http.Handler, config *tls.Config) (at string) {
	t.Helper()
	var ln net.Listener
	lab.InPeerNS(t, func() {
		var err error
		ln, err = net.Listen("tcp", addr(lab.PeerAddr4, 0))
		require.NoError(t, err)
	})
	srv := &http.Server{Handler: handler, TLSConfig: config}
	done := make(chan error, 1)
	go func() {
		if config != nil {
			done <- srv.ServeTLS(ln, "", "")
		} else {
			done <- srv.Serve(ln)
		}
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// selfSigned is a certificate for ip, and who trusts it.
func selfSigned(t *testing.T, ip net.IP) (tls.Certificate, *x509.CertPool) {
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

// get returns the body of a 200.
func get(t *testing.T, c *http.Client, url string) []byte {
	t.Helper()
	resp, err := c.Get(url)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Equal(t, 200, resp.StatusCode)
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return b
}

// http.Transport of the standard library on our dialer, with nginx and with package net on
// the other side, TLS and HTTP/2 among it.
func TestInterop_DAT_014_TransportOnOurDialer(t *testing.T) {
	interop(t, "nginx", "nc")
	size := large()
	text := randomText(size)
	want := fmt.Sprintf("%x", sha256.Sum256(text))
	small := text[:1000]
	// many gets something small from many goroutines.
	many := func(t *testing.T, c *http.Client, url string) {
		t.Helper()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				for range 25 {
					resp, err := c.Get(url)
					if err != nil {
						t.Error(err)
						return
					}
					b, err := io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					if err != nil || !bytes.Equal(small, b) {
						t.Errorf("%d bytes that differ: %v", len(b), err)
						return
					}
				}
			})
		}
		all.Wait()
	}
	t.Run("nginx", func(t *testing.T) {
		lab := dptest.NewLab(t)
		root, err := os.MkdirTemp("/tmp", "fastsyn-nginx-") //nolint:usetesting // the workers of nginx have another user, who cannot enter t.TempDir
		require.NoError(t, err)
		defer func() { require.NoError(t, os.RemoveAll(root)) }()
		require.NoError(t, os.Chmod(root, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(root, "large"), text, 0o644))
		require.NoError(t, os.WriteFile(filepath.Join(root, "small"), small, 0o644))
		nginx(t, lab, "root "+root+"; keepalive_requests 10;")
		ep, _ := openHere(t, lab, "", fastsyn.Config{})
		transport := &http.Transport{DialContext: ep.DialContext, MaxIdleConnsPerHost: 20}
		c := &http.Client{Transport: transport, Timeout: time.Minute}
		for _, at := range []string{addr(lab.PeerAddr4, 80), addr(lab.PeerAddr6, 80)} {
			require.True(t, bytes.Equal(text, get(t, c, "http://"+at+"/large")))
			many(t, c, "http://"+at+"/small") // nginx closes every tenth time, a connection is dialled anew
		}
		transport.CloseIdleConnections()
		nobodyLeft(t, ep)
		require.Greater(t, ep.Stats()[0].Streams.Opened, uint64(50))
	})
	for _, proto := range []string{"", "http/1.1", "h2"} {
		name := "net/http"
		if proto != "" {
			name += " over TLS, " + proto
		}
		t.Run(name, func(t *testing.T) {
			lab := dptest.NewLab(t)
			ep, _ := openHere(t, lab, "", fastsyn.Config{})
			transport := &http.Transport{DialContext: ep.DialContext, MaxIdleConnsPerHost: 20}
			c := &http.Client{Transport: transport, Timeout: time.Minute}
			url := "http://"
			var config *tls.Config
			if proto != "" {
				cert, pool := selfSigned(t, lab.PeerAddr4.Addr().AsSlice())
				config = &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{proto}, MinVersion: tls.VersionTLS13}
				transport.TLSClientConfig = &tls.Config{RootCAs: pool, NextProtos: []string{proto}, MinVersion: tls.VersionTLS13}
				transport.ForceAttemptHTTP2 = proto == "h2"
				url = "https://"
			}
			url += peerServer(t, lab, sums(text), config)
			require.True(t, bytes.Equal(text, get(t, c, url+"/text/"+strconv.Itoa(size))), "down")
			resp, err := c.Post(url+"/sum", "application/octet-stream", bytes.NewReader(text))
			require.NoError(t, err)
			require.Equal(t, proto == "h2", resp.ProtoMajor == 2)
			b, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, want, string(b), "up")
			many(t, c, url+"/text/1000")
			transport.CloseIdleConnections()
			nobodyLeft(t, ep)
		})
	}
}
