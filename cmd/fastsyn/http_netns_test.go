//go:build linux

package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/bench/http1"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// serveHTTP serves site on lab's interface, in this process, until the test ends.
func serveHTTP(t *testing.T, lab *dptest.Lab, site *http1.Site, content func(p []byte)) (app *httpApp, stop func()) {
	t.Helper()
	app = newHTTPApp(site, 1, http1.Limits{})
	app.servers[0].Content = content
	_, stop = inProcess(t, lab, "", fastsyn.Config{}, app.callbacks())
	return app, stop
}

// inProcess opens an endpoint on lab's interface, in this process, until stop or the end of
// the test; decorators go before its port. Streams to port 80 are those of cb.
func inProcess(t *testing.T, lab *dptest.Lab, decorators string, cfg fastsyn.Config, cb fastsyn.Callbacks) (ep *fastsyn.Endpoint, stop func()) {
	t.Helper()
	cfg.Listeners = []fastsyn.Listener{{Addr: ":80", Callbacks: cb}}
	return openHere(t, lab, decorators, cfg)
}

// openHere is inProcess with the listeners of cfg.
func openHere(t *testing.T, lab *dptest.Lab, decorators string, cfg fastsyn.Config) (ep *fastsyn.Endpoint, stop func()) {
	t.Helper()
	notOver(t, "the port is opened here", "net_af_packet", "net_af_xdp")
	cfg.Port = decorators + portOf(t, lab, 1)
	lab.InNS(t, func() {
		var err error
		cfg.Device, err = dataplane.Open(cfg.Port)
		require.NoError(t, err)
	})
	cfg.Addrs = []string{lab.Addr4.String(), lab.Addr6.String()}
	cfg.DAD = -1
	ep, err := fastsyn.Open(cfg)
	require.NoError(t, err)
	stop = sync.OnceFunc(func() { require.NoError(t, ep.Close()) })
	t.Cleanup(stop)
	return ep, stop
}

// TestHTTP_DAT_014: curl gets and puts 100 MB over our TCP, with checksums that are equal, and
// wrk and ab see no error.
func TestHTTP_DAT_014(t *testing.T) {
	interop(t, "curl", "ab", "wrk")
	const size = 100_000_000
	text := http1.FixedText(size)
	want := fmt.Sprintf("%x", sha256.Sum256(text))
	dir := t.TempDir()
	file := filepath.Join(dir, "large")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "small"), text[:1024], 0o600))

	t.Run("curl", func(t *testing.T) {
		lab := dptest.NewLab(t)
		up := sha256.New()
		app, stop := serveHTTP(t, lab, http1.Fixed("text/plain", text), func(p []byte) { up.Write(p) })
		url := "http://" + lab.Addr4.Addr().String() + "/"
		got := filepath.Join(t.TempDir(), "got")
		lab.Exec(t, lab.PeerNS, "curl", "-sS", "-m", "100", "-o", got, url)
		p, err := os.ReadFile(got)
		require.NoError(t, err)
		require.Equal(t, want, fmt.Sprintf("%x", sha256.Sum256(p)), "down")
		out := lab.Exec(t, lab.PeerNS, "curl", "-gsS", "-m", "100", "-r", "0-0", "-o", os.DevNull, "-w", "%{http_code} %{size_upload}",
			"-T", file, "http://["+lab.Addr6.Addr().String()+"]/")
		require.Equal(t, fmt.Sprintf("200 %d", size), out)
		stop()
		require.Equal(t, want, fmt.Sprintf("%x", up.Sum(nil)), "up")
		c := app.counters()
		require.NoError(t, c.Check(0))
		require.Equal(t, uint64(2), c.Responses)
		require.Equal(t, uint64(size), c.Content)
	})
	t.Run("ab and wrk", func(t *testing.T) {
		lab := dptest.NewLab(t)
		site, err := httpSite(dir, 0)
		require.NoError(t, err)
		app, stop := serveHTTP(t, lab, site, nil)
		url := "http://" + lab.Addr4.Addr().String() + "/small"
		for _, keep := range []string{"", "-k"} {
			args := []string{"ab", "-n", "1000", "-c", "10", "-l"}
			if keep != "" {
				args = append(args, keep)
			}
			out := lab.Exec(t, lab.PeerNS, append(args, url)...)
			require.Regexp(t, `Complete requests: +1000\n`, out)
			require.Regexp(t, `Failed requests: +0\n`, out)
			require.Regexp(t, `HTML transferred: +1024000 bytes`, out)
		}
		out := lab.Exec(t, lab.PeerNS, "wrk", "-t", "1", "-c", "20", "-d", "1s", url)
		require.Regexp(t, `[1-9]\d* requests in`, out)
		require.NotContains(t, out, "Socket errors")
		require.NotContains(t, out, "Non-2xx")
		stop()
		c := app.counters()
		require.Greater(t, c.Responses, uint64(2000))
		for why, n := range c.Refused {
			if http1.Reason(why) != http1.Truncated { // what wrk was sending when its time was over
				require.Zero(t, n, http1.Reason(why).String())
			}
		}
	})
}
