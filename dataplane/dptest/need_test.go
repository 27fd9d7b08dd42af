package dptest

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/dpdk"
)

// recorder is a testing.TB whose verdict can be looked at.
type recorder struct {
	testing.TB
	failed, skipped bool
	text            string
	cleanups        []func()
}

func (r *recorder) Helper()                   {}
func (r *recorder) Name() string              { return "recorder" }
func (r *recorder) Failed() bool              { return r.failed }
func (r *recorder) Skipped() bool             { return r.skipped }
func (r *recorder) Cleanup(f func())          { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Logf(f string, a ...any)   { r.text += fmt.Sprintf(f, a...) + "\n" }
func (r *recorder) Errorf(f string, a ...any) { r.Logf(f, a...); r.failed = true }
func (r *recorder) FailNow()                  { r.failed = true; runtime.Goexit() }
func (r *recorder) SkipNow()                  { r.skipped = true; runtime.Goexit() }
func (r *recorder) Fatal(a ...any)            { r.Logf("%s", fmt.Sprint(a...)); r.FailNow() }
func (r *recorder) Fatalf(f string, a ...any) { r.Logf(f, a...); r.FailNow() }
func (r *recorder) Skipf(f string, a ...any)  { r.Logf(f, a...); r.SkipNow() }

// record runs f as a test would be run.
func record(f func(t testing.TB)) *recorder {
	r, done := new(recorder), make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for i := len(r.cleanups) - 1; i >= 0; i-- {
				r.cleanups[i]()
			}
		}()
		f(r)
	}()
	<-done
	return r
}

func TestNeed(t *testing.T) {
	needs["test-has"] = need{func() error { return nil }, "nothing"}
	needs["test-lacks"] = need{func() error { return errors.New("it is not there") }, "apt install it"}
	t.Cleanup(func() { delete(needs, "test-has"); delete(needs, "test-lacks"); short = testing.Short })
	short = func() bool { return true }
	r := record(func(t testing.TB) { Need(t, "test-has") })
	require.True(t, r.skipped, "with -short even what is there is left out")
	short = func() bool { return false }
	for _, c := range []struct {
		env             string
		what            []string
		failed, skipped bool
		text            []string
	}{
		{"", nil, false, false, nil},
		{"", []string{"test-has"}, false, false, nil},
		{"", []string{"test-has", "test-lacks"}, false, true, []string{"needs test-lacks: it is not there", "to run this test: apt install it"}},
		{"root, test-lacks", []string{"test-lacks"}, true, false, []string{"which FASTSYN_REQUIRE requires", "it is not there", "apt install it"}},
		{"all", []string{"test-lacks"}, true, false, []string{"requires"}},
		{"root", []string{"test-lacks"}, false, true, nil},
		{"", []string{"tcpdmup"}, true, false, []string{`need "tcpdmup" is not known`, "tcpdump"}},
		{"netsn", []string{"test-has"}, true, false, []string{`FASTSYN_REQUIRE lists "netsn"`, "netns"}},
	} {
		t.Run(fmt.Sprint(c.env, c.what), func(t *testing.T) {
			t.Setenv(RequireEnv, c.env)
			r := record(func(t testing.TB) { Need(t, c.what...) })
			require.Equal(t, c.failed, r.failed, r.text)
			require.Equal(t, c.skipped, r.skipped, r.text)
			for _, w := range c.text {
				require.Contains(t, r.text, w)
			}
		})
	}
}

func TestEveryNeedHasARemedy(t *testing.T) {
	for _, w := range []string{
		"root", "netns", "afpacket", "cap_net_raw", "tcpdump", "tshark", "iptables", "nft",
		"conntrack", "curl", "nc", "nginx", "wrk", "ab", "ping", "python3", "ethtool", "ss", "hugepages", "tun", "dpdk", "qemu", "busybox", "guestkernel",
	} {
		require.Contains(t, needs, w)
	}
	for w, n := range needs {
		require.NotEmpty(t, n.remedy, w)
		_ = n.check() // whatever it says, it does not panic
	}
}

// This package does not import the driver, but must say the same of it.
func TestNeedDPDK(t *testing.T) {
	require.Equal(t, dpdk.Available() == nil, needs["dpdk"].check() == nil)
}

func TestLookTool(t *testing.T) {
	_, err := LookTool("no-such-program-of-any-kind")
	require.ErrorContains(t, err, "program no-such-program-of-any-kind: ")
	if os.Getenv("PATH") != "" {
		t.Setenv("PATH", t.TempDir())
	}
	_, err = LookTool("no-such-program-of-any-kind")
	require.Error(t, err)
}
