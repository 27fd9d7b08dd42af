package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// openTerminal returns both sides of a pseudo-terminal of that size (pty(7)): the one a person looks at, and
// the one that a command has.
func openTerminal(t *testing.T, width, height uint16) (person, command *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}))
	command, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	person = os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() {
		_ = person.Close()
		_ = command.Close()
	})
	return person, command
}

// On a terminal a run is a view, which gives its place to the report.
func TestBenchView(t *testing.T) {
	for name, env := range map[string]string{"xterm": "xterm", "dumb": "dumb"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TERM", env)
			t.Setenv("LC_ALL", "C.UTF-8")
			t.Setenv("NO_COLOR", "")
			person, command := openTerminal(t, 90, 30)
			before, err := unix.IoctlGetTermios(int(command.Fd()), unix.TCGETS)
			require.NoError(t, err)
			var seen said
			go func() {
				b := make([]byte, 4096)
				for {
					n, err := person.Read(b)
					if err != nil {
						return
					}
					_, _ = seen.Write(b[:n])
				}
			}()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			code := make(chan int, 1)
			go func() {
				code <- run(ctx, strings.Fields("bench --duration 1h --rate 1000 --polling adaptive --pin off"), strings.NewReader(""), command, command)
			}()
			want := "limits" // the last line of a view
			if env == "dumb" {
				want = "in flight"
			}
			require.Eventually(t, func() bool { return strings.Count(seen.String(), want) >= 2 }, time.Minute, 10*time.Millisecond)
			cancel()
			require.Zero(t, <-code)
			require.Eventually(t, func() bool { return strings.Contains(seen.String(), "VALID: all sums close") }, time.Minute, 10*time.Millisecond)
			text := seen.String()
			view, report, found := strings.Cut(text, "scenario    handshake")
			require.True(t, found, text)
			require.NotContains(t, report, "\x1b", "the report is plain")
			if env == "dumb" {
				require.NotContains(t, view, "\x1b")
				require.Contains(t, view, "p99")
			} else {
				require.Contains(t, view, "handshakes/s")
				require.Regexp(t, `\x1b\[\d+A`, view, "drawn in place")
				require.True(t, strings.HasSuffix(strings.TrimRight(view, "\r\n"), "\x1b[J"), "and erased: %q", view[max(0, len(view)-200):])
				for _, mode := range []string{"\x1b[?", "\x1b7", "\x1bc"} {
					require.NotContains(t, text, mode, "no mode is changed that could stay so")
				}
			}
			after, err := unix.IoctlGetTermios(int(command.Fd()), unix.TCGETS)
			require.NoError(t, err)
			require.Equal(t, before, after)
		})
	}
}
