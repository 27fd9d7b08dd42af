package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// crowdEnv makes the test binary a crowd of clients of an echo server, for a test that
// runs it in a peer's namespace: it has the crowd as JSON.
const crowdEnv = "FASTSYN_TEST_CROWD"

// crowd are clients. They connect, say "connected", wait for SIGUSR1, and talk: either each sends
// Pieces of text of up to Piece bytes, waits for the exact echo of each, and pauses for up to
// Pause before and within it; or they Pour: send and read without an end, as fast as they
// can, and say "flowing" when each has had Piece bytes back.
type crowd struct {
	To            []string // the next client connects to the next of them
	Clients       int
	Pieces, Piece int
	Pause         time.Duration
	Pour          bool
}

// crowdEnds are what became of a crowd, its last line.
type crowdEnds struct {
	Done  int   // all echoes were right, and FIN came after FIN
	Reset int   // by the server
	Bytes int64 // of echoes
	Wrong []string
}

// crowdText is what all of them send, from different places in it.
var crowdText = sync.OnceValue(func() []byte { return randomText(1 << 20) })

func runCrowd(config string) int {
	var c crowd
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		fmt.Println(err)
		return 1
	}
	start := make(chan os.Signal, 1)
	signal.Notify(start, syscall.SIGUSR1)
	conns, err := c.connect()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("connected")
	<-start
	var end crowdEnds
	var mu sync.Mutex
	var all sync.WaitGroup
	var had atomic.Int64 // clients of Pour that had Piece bytes
	for i, conn := range conns {
		all.Go(func() {
			var n int64
			var err error
			if c.Pour {
				n, err = c.pour(i, conn, func() {
					if had.Add(1) == int64(c.Clients) {
						fmt.Println("flowing")
					}
				})
			} else {
				n, err = c.talk(i, conn)
			}
			_ = conn.Close()
			mu.Lock()
			defer mu.Unlock()
			end.Bytes += n
			switch {
			case err == nil:
				end.Done++
			case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
				end.Reset++
			case len(end.Wrong) < 10:
				end.Wrong = append(end.Wrong, fmt.Sprintf("client %d from %v: %v", i, conn.LocalAddr(), err))
			}
		})
	}
	all.Wait()
	b, _ := json.Marshal(end)
	fmt.Printf("ended %s\n", b)
	return 0
}

// connect opens all connections, some at a time.
func (c *crowd) connect() ([]*net.TCPConn, error) {
	conns := make([]*net.TCPConn, c.Clients)
	errs := make([]error, c.Clients)
	slots := make(chan struct{}, 200)
	var all sync.WaitGroup
	for i := range conns {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			conn, err := net.DialTimeout("tcp", c.To[i%len(c.To)], patience)
			if err != nil {
				errs[i] = fmt.Errorf("client %d: %w", i, err)
				return
			}
			conns[i] = conn.(*net.TCPConn)
			errs[i] = conn.SetDeadline(time.Now().Add(2 * time.Minute))
		})
	}
	all.Wait()
	return conns, errors.Join(errs...)
}

// talk is a slow client.
func (c *crowd) talk(i int, conn *net.TCPConn) (n int64, err error) {
	r := rand.New(rand.NewPCG(uint64(i), 1))
	pause := func() { time.Sleep(time.Duration(r.Int64N(int64(c.Pause)))) }
	got := make([]byte, c.Piece)
	for range c.Pieces {
		pause()
		size := 1 + r.IntN(c.Piece)
		at := r.IntN(len(crowdText()) - size)
		text := crowdText()[at : at+size]
		cut := r.IntN(size)
		if _, err := conn.Write(text[:cut]); err != nil {
			return n, err
		}
		pause()
		if _, err := conn.Write(text[cut:]); err != nil {
			return n, err
		}
		if _, err := io.ReadFull(conn, got[:size]); err != nil {
			return n, err
		}
		if !bytes.Equal(text, got[:size]) {
			return n, errors.New("another text came back")
		}
		n += int64(size)
	}
	if err := conn.CloseWrite(); err != nil {
		return n, err
	}
	if k, err := conn.Read(got); k != 0 || !errors.Is(err, io.EOF) {
		return n, fmt.Errorf("after FIN: %d bytes, %w", k, err)
	}
	return n, nil
}

// pour sends and reads until the connection breaks, and calls enough once.
func (c *crowd) pour(i int, conn *net.TCPConn, enough func()) (n int64, err error) {
	text := crowdText()
	begin := i * 997 % len(text)
	wrote := make(chan error, 1)
	go func() {
		for at := begin; ; at = 0 {
			if _, err := conn.Write(text[at:]); err != nil {
				wrote <- err
				return
			}
		}
	}()
	got := make([]byte, 16<<10)
	for at := begin; ; {
		k, err := conn.Read(got)
		for p := got[:k]; len(p) > 0; {
			m := min(len(p), len(text)-at)
			if !bytes.Equal(p[:m], text[at:at+m]) {
				return n, fmt.Errorf("another text came back at %d", n)
			}
			p, at = p[m:], (at+m)%len(text)
		}
		if n < int64(c.Piece) && n+int64(k) >= int64(c.Piece) {
			enough()
		}
		n += int64(k)
		if errors.Is(err, io.EOF) { // the kernel tells of a reset once, to the reader or to the writer
			err = <-wrote
		}
		if err != nil {
			return n, err
		}
	}
}
