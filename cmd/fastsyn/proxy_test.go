package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// echoBackend echoes on loopback until the test ends, and returns its address.
func echoBackend(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return ln.Addr().String()
}

// eventually steps the pair, whose backend has a clock of its own, until done.
func (p *appPair) eventually(what string, done func() bool) {
	p.t.Helper()
	for end := time.Now().Add(time.Minute); !done(); p.step() {
		require.True(p.t, time.Now().Before(end), "%s: not within a minute", what)
	}
}

func (p *appPair) noProxied() bool {
	m := p.app.counts(0)
	return p.server.Snapshot().Streams.Now == 0 && m["chunks_from_client_now"]+m["chunks_from_backend_now"] == 0 &&
		m["backend_connected"] == m["done"]+m["client_lost"]+m["backend_lost"]
}

// Many flows with more text than the windows, through a worker, goroutines and the kernel; under
// the race detector this is the test of what they share.
func TestProxy_EveryByteComesBack(t *testing.T) {
	p := newAppPair(t, "--app", "proxy="+echoBackend(t), "--send-buffer", "32K", "--rcv-window", "48K")
	const n = 8
	var all []*talker
	for i := range n {
		k := &talker{text: randomText(400_000 + i*1111)}
		all = append(all, k)
	}
	// Each of them takes the place of the one dialled before it.
	p.dial(fastsyn.Callbacks{
		Established: func(f *fastsyn.Flow) {
			k := all[f.Tuple().LocalPort-5000]
			f.SetValue(k)
			k.callbacks().Established(f)
		},
		Writable:   func(f *fastsyn.Flow) { f.Value().(*talker).write(f) },
		Data:       func(f *fastsyn.Flow, b []byte) { f.Value().(*talker).got.Write(b) },
		PeerClosed: func(f *fastsyn.Flow) { f.Value().(*talker).eof = true },
		Closed:     func(f *fastsyn.Flow, why fastsyn.CloseReason) { k := f.Value().(*talker); k.over, k.why = true, why },
	}, n)
	for i, k := range all {
		p.eventually(fmt.Sprintf("the end of flow %d", i), func() bool { return k.over })
		require.Equal(t, handshake.ReasonDone, k.why)
		require.True(t, bytes.Equal(k.text, k.got.Bytes()), "flow %d got %d of %d bytes", i, k.got.Len(), len(k.text))
	}
	p.eventually("rest", p.noProxied)
	p.check()
	p.app.close()
	s := p.server.Snapshot().Streams
	require.Empty(t, p.app.(appSums).sums(&s))
	require.EqualValues(t, n, p.app.counts(0)["done"])
	s.BytesIn++
	require.NotEmpty(t, p.app.(appSums).sums(&s))
}

// A client that is gone takes its backend with it, wherever the text of both is.
func TestProxy_ClientAborts(t *testing.T) {
	p := newAppPair(t, "--app", "proxy="+echoBackend(t), "--send-buffer", "4096", "--rcv-window", "16K")
	k := &talker{text: randomText(64 << 20), deaf: true}
	p.dial(k.callbacks(), 1)
	p.eventually("text that waits for the client", func() bool { return p.app.counts(0)["chunks_from_backend_now"] >= maxAhead })
	p.client.Flow(k.id).Abort()
	p.eventually("rest", p.noProxied)
	require.EqualValues(t, 1, p.app.counts(0)["client_lost"])
	require.EqualValues(t, 1, p.server.Snapshot().Engine.Reset)
	p.check()
}

func TestProxy_BackendRefuses(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	to := ln.Addr().String()
	require.NoError(t, ln.Close())
	p := newAppPair(t, "--app", "proxy="+to)
	k := &talker{text: []byte("anybody there?"), keepOpen: true}
	p.dial(k.callbacks(), 1)
	p.eventually("the reset", func() bool { return k.over })
	require.Equal(t, handshake.ReasonReset, k.why)
	p.eventually("rest", p.noProxied)
	require.EqualValues(t, 1, p.app.counts(0)["backend_refused"])
	p.check()
}

// The end of serve is the end of what goes on with backends.
func TestProxy_CloseAmidTransfer(t *testing.T) {
	p := newAppPair(t, "--app", "proxy="+echoBackend(t))
	k := &talker{text: randomText(64 << 20)}
	p.dial(k.callbacks(), 1)
	p.eventually("text", func() bool { return k.got.Len() > 1<<20 })
	p.app.close()
	s := p.server.Snapshot().Streams
	require.Empty(t, p.app.(appSums).sums(&s))
	require.EqualValues(t, 1, p.app.counts(0)["client_lost"])
}

func TestProxy_ErrorsAreCountedByKind(t *testing.T) {
	op := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, tc := range []struct {
		err  error
		want dialError
	}{
		{op(os.NewSyscallError("connect", syscall.ECONNREFUSED)), dialRefused},
		{op(os.NewSyscallError("connect", syscall.ETIMEDOUT)), dialTimedOut},
		{op(os.ErrDeadlineExceeded), dialTimedOut},
		{op(context.DeadlineExceeded), dialTimedOut},
		{op(os.NewSyscallError("connect", syscall.ENETUNREACH)), dialUnreachable},
		{op(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), dialUnreachable},
		{op(&net.DNSError{Err: "no such host", Name: "x.invalid", IsNotFound: true}), dialUnknownHost},
		{op(&net.DNSError{Err: "timeout", Name: "x.invalid", IsTimeout: true}), dialTimedOut},
		{op(os.NewSyscallError("connect", syscall.EACCES)), dialOther},
	} {
		var said []string
		a := &proxyApp{say: func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }}
		a.dialFailed(tc.err)
		a.dialFailed(tc.err)
		for i := range a.ctr.dial {
			want := 0
			if dialError(i) == tc.want {
				want = 2
			}
			require.EqualValues(t, want, a.ctr.dial[i].Load(), "%v: %s", tc.err, dialErrorNames[i])
		}
		require.Len(t, said, 1, "told once")
		require.Contains(t, said[0], tc.err.Error())
		require.Contains(t, said[0], "application."+dialErrorNames[tc.want])
	}
}

func TestProxyFlags(t *testing.T) {
	for _, ok := range []string{"proxy=127.0.0.1:80", "proxy=[::1]:22", "proxy=backend.example:8080"} {
		o := &serveFlags{app: ok, appFlags: appFlags{proxyProtocol: "off"}}
		require.NoError(t, o.checkApp(), ok)
	}
	for _, tc := range []struct{ app, header, want string }{
		{"proxy", "off", "write --app proxy=HOST:PORT"},
		{"proxy=", "off", "write --app proxy=HOST:PORT"},
		{"proxy=host", "off", "missing port"},
		{"proxy=:80", "off", "the host is missing"},
		{"proxy=h:0", "off", "want a port from 1 to 65535"},
		{"proxy=h:http", "off", "want a port from 1 to 65535"},
		{"proxy=h:80", "v1", "--proxy-protocol"},
		{"echo=x", "off", "echo takes no argument"},
		{"proxi=h:80", "off", `did you mean "proxy"?`},
	} {
		o := &serveFlags{app: tc.app, appFlags: appFlags{proxyProtocol: tc.header}}
		err := o.checkApp()
		require.ErrorContains(t, err, tc.want, tc.app)
		var usage *usageError
		require.True(t, errors.As(err, &usage))
	}
}

// The header byte by byte, as docs/serve.md has it.
func TestProxyHeader(t *testing.T) {
	i := &fastsyn.Info{
		Tuple: wire.Tuple{Remote: wire.Addr4(0xc0000201), RemotePort: 4660, Local: wire.Addr4(0xc6336401), LocalPort: 443},
		ISS:   0x11223344, IRS: 0xaabbccdd, RTT: 1500 * time.Microsecond, MSS: 1400, OwnMSS: 1460,
		SndShift: 7, RcvShift: 3, SndWnd: 64240, WScale: true, SACK: true, Timestamps: true, ECN: true, Cookie: true, FastOpen: true, Retrans: true,
	}
	const signature = "0d0a0d0a000d0a515549540a"
	require.Equal(t, signature+"21"+"11"+"0036"+ // PROXY, TCP over IPv4, 54 bytes
		"c0000201"+"c6336401"+"1234"+"01bb"+
		"e00004"+"000005dc"+
		"e10004"+"057805b4"+
		"e20002"+"0703"+
		"e30002"+"003f"+
		"e40008"+"aabbccdd11223344"+
		"e50004"+"0000faf0", strings.ToLower(hex.EncodeToString(proxyHeader(i))))
	six := &fastsyn.Info{
		Tuple: wire.Tuple{Remote: wire.Addr{Hi: 0x20010db8 << 32, Lo: 1}, RemotePort: 1, Local: wire.Addr{Hi: 0x20010db8 << 32, Lo: 2}, LocalPort: 80},
		MSS:   536, OwnMSS: 1440, SACK: true, SndWnd: 5,
	}
	require.Equal(t, signature+"21"+"21"+"0042"+
		"20010db8000000000000000000000001"+"20010db8000000000000000000000002"+"0001"+"0050"+
		"e10004"+"021805a0"+ // no sample of the round trip
		"e30002"+"0001"+
		"e40008"+"0000000000000000"+
		"e50004"+"00000005", hex.EncodeToString(proxyHeader(six)))
}
