//go:build linux

package rssprobe

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/afpacket"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/rss"
)

// The kernel's fanout program delivers as the port says it does.
func TestRSS_009_AFPacketIsAsPredicted(t *testing.T) {
	for _, queues := range []int{2, 4, 5} {
		for name, key := range map[string]rss.Key{"symmetric": rss.SymmetricKey, "default": rss.DefaultKey} {
			t.Run(fmt.Sprintf("queues=%d/key=%s", queues, name), func(t *testing.T) {
				l := dptest.NewLab(t)
				tx, rx := openBoth(t, l, afpacket.Config{Queues: queues, RSSKey: key})
				r, err := Ports(tx, rx, Config{Seed: 9, Timeout: 20 * time.Second, Quiet: 5 * time.Second})
				require.NoError(t, err)
				t.Log(r)
				closes(t, r)
				require.Equal(t, Matches, r.Verdict, r)
				require.Equal(t, 512, r.Agree)
				require.False(t, r.TimedOut)

				// And the probe notices when it is told another key.
				other := rss.DefaultKey
				if key == other {
					other = rss.SymmetricKey
				}
				r, err = Ports(tx, rx, Config{Seed: 10, Key: other, Timeout: 20 * time.Second, Quiet: 5 * time.Second})
				require.NoError(t, err)
				closes(t, r)
				require.Equal(t, Differs, r.Verdict, r)
				require.Contains(t, r.Suggestion, "with the "+name+" key")
			})
		}
	}
}

func openBoth(t *testing.T, l *dptest.Lab, c afpacket.Config) (tx, rx dataplane.Port) {
	t.Helper()
	var a, b *afpacket.Port
	var err error
	c.Interface = l.If
	l.InNS(t, func() { b, err = afpacket.Open(c) })
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	l.InPeerNS(t, func() { a, err = afpacket.Open(afpacket.Config{Interface: l.PeerIf}) })
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	return a, b
}
