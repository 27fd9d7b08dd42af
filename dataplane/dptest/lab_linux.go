package dptest

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/netlab"
)

// execLimit bounds a command of Exec, so that a test cannot hang in it.
const execLimit = time.Minute

// NewLab makes a lab and removes it at the end of the test, however that ends.
// It needs "netns" (see Need). Namespaces of test processes that died without
// cleaning up are removed first.
func NewLab(t testing.TB, opts ...LabOption) *Lab {
	t.Helper()
	return newLab(t, opts, netlab.New)
}

// NewTapLab makes the peer's half of a lab; see netlab.NewTap. It needs "netns" and "tun".
func NewTapLab(t testing.TB, opts ...LabOption) *Lab {
	t.Helper()
	Need(t, "netns", "tun")
	return newLab(t, opts, netlab.NewTap)
}

func newLab(t testing.TB, opts []LabOption, make func(netlab.Config) (*netlab.Lab, error)) *Lab {
	t.Helper()
	Need(t, "netns")
	l, err := make(newConfig(opts))
	if err != nil {
		t.Fatalf("dptest: %v", err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("dptest: %v", err)
		}
	})
	return &Lab{Lab: l}
}

// Exec runs a command in a namespace, fails the test if that fails, and returns its output.
func (l *Lab) Exec(t testing.TB, ns string, cmd ...string) string {
	t.Helper()
	out, err := l.Try(ns, cmd...)
	if err != nil {
		t.Fatalf("dptest: in %s: %s: %v\n%s", ns, strings.Join(cmd, " "), err, out)
	}
	return out
}

// Try runs a command in a namespace, for a minute at most, and returns its
// output, standard error included.
func (l *Lab) Try(ns string, cmd ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), execLimit)
	defer cancel()
	path, err := LookTool("ip")
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, path, append([]string{"netns", "exec", ns}, cmd...)...).CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("still running after %v", execLimit)
	}
	return string(out), err
}

// InNS runs f in the namespace of the fastsyn side; see InNetNS.
func (l *Lab) InNS(t testing.TB, f func()) { t.Helper(); InNetNS(t, l.NS, f) }

// InPeerNS runs f in the namespace of the peer; see InNetNS.
func (l *Lab) InPeerNS(t testing.TB, f func()) { t.Helper(); InNetNS(t, l.PeerNS, f) }

// InNetNS runs f on a thread inside a namespace and waits for it. Sockets that
// f opens belong to that namespace for good; goroutines that f starts do not.
// FailNow and a panic in f end the test as usual.
func InNetNS(t testing.TB, ns string, f func()) {
	t.Helper()
	err := netlab.Do(ns, f)
	switch {
	case err == nil:
	case errors.Is(err, netlab.ErrLeft) && t.Skipped():
		t.SkipNow()
	case errors.Is(err, netlab.ErrLeft) && t.Failed():
		t.FailNow()
	default:
		t.Fatalf("dptest: %v", err)
	}
}
