package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTFO_019_ServeFlags(t *testing.T) {
	cmd := newServe()
	require.Equal(t, "0", cmd.Flags().Lookup("fastopen").DefValue, "off by default")
	require.Contains(t, cmd.Flags().Lookup("fastopen").Usage, "may come twice")
	require.NoError(t, cmd.ParseFlags([]string{"--fastopen"}))
	require.Equal(t, "256", cmd.Flags().Lookup("fastopen").Value.String())

	o := serveFlags{cookies: "never", fastOpen: 7, app: "echo-once"}
	require.NoError(t, o.flags())
	require.Nil(t, o.cfg.FastOpen, "from the secret")
	require.Equal(t, 7, o.callbacks(echoOnceApp{}, nil, new(serveState)).FastOpen)

	file := filepath.Join(t.TempDir(), "key")
	const key = "a0bf63f7-ed803d81-cd641d30-cebc4a90"
	flags := func() error {
		o = serveFlags{cookies: "never", fastOpen: 7, fastKey: file}
		return o.flags()
	}
	require.ErrorContains(t, flags(), "--fastopen-key-file: open")
	require.NoError(t, os.WriteFile(file, []byte(key+"\n"), 0o600))
	require.NoError(t, flags())
	require.NotNil(t, o.cfg.FastOpen)
	require.NoError(t, os.Chmod(file, 0o644))
	require.ErrorContains(t, flags(), "chmod 600")
	require.NoError(t, os.Chmod(file, 0o600))
	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(key, "-", ":")), 0o600))
	err := flags()
	require.ErrorContains(t, err, "tcp_fastopen_key")
	require.NotContains(t, err.Error(), "a0bf63f7")
}

// Both roles over the wire in memory: all but the first opens have their text on the SYN.
func TestTFO_003_Bench(t *testing.T) {
	for _, args := range []string{"--close rst", "--close fin --ipv6", "--port impair(loss=2%):loop: --initial-rto 20ms --close fin"} {
		code, out, err := fastsynCmd(t, append(strings.Fields("bench --fastopen --count 2000 --concurrency 8 --quiet --json - --polling adaptive --pin off"), strings.Fields(args)...)...)
		require.Zero(t, code, err)
		r := decode(t, out)
		require.Equal(t, true, r["fast_open"])
		require.Equal(t, 2000, num(t, r, "handshakes", "established"))
		c := func(side, name string) int { return num(t, r, side, "engine", "fast_open_"+name) }
		require.GreaterOrEqual(t, c("client", "sent"), 1980)
		require.Equal(t, c("client", "sent"), c("client", "taken")+c("client", "declined"))
		require.Equal(t, c("client", "taken"), c("server", "accepted"))
		require.Equal(t, c("server", "accepted"), c("server", "confirmed")+c("server", "failed")+c("server", "pending_now"))
		if strings.Contains(args, "fin") {
			require.Equal(t, 2000*64, num(t, r, "server", "engine", "payload_bytes"), "each text once")
		}
		if !strings.Contains(args, "loss") {
			require.Equal(t, c("client", "sent"), c("client", "taken"))
		}
	}
}
