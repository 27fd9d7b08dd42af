package fastsyn_test

import (
	"fmt"
	"log"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// dialOnce is a Source that opens one flow as soon as the peer is resolved.
type dialOnce struct {
	to     wire.Tuple
	cb     fastsyn.Callbacks
	opened bool
}

func (d *dialOnce) Poll(w *fastsyn.Worker, now int64) (next int64) {
	if d.opened {
		return now + 1e9
	}
	if known, _, err := w.Resolve(d.to.Remote); !known || err != nil {
		return now + 1e6
	}
	app, err := w.AddApp(d.cb)
	if err != nil {
		log.Fatal(err)
	}
	_, err = w.Connect(&d.to, app)
	d.opened = err == nil
	return now
}

// Two endpoints at the two ends of an in-memory wire: one accepts and answers
// one request, the other opens a flow and asks.
func Example() {
	server, err := fastsyn.Open(fastsyn.Config{Port: "loop:example", Addrs: []string{"192.0.2.1/24"}})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	err = server.Handle(":7", fastsyn.Callbacks{
		Established: func(f *fastsyn.Flow) { fmt.Println("server: proved", f.Info().Tuple.Remote) },
		Data:        func(f *fastsyn.Flow, p []byte) { f.Reply(p, true) },
	})
	if err != nil {
		log.Fatal(err)
	}

	done := make(chan struct{})
	client, err := fastsyn.Open(fastsyn.Config{
		Port: "loop:example", Addrs: []string{"192.0.2.2/24"},
		Source: func(int) fastsyn.Source {
			return &dialOnce{
				to: wire.Tuple{
					Remote: wire.Addr4(0xc0000201), RemotePort: 7,
					Local: wire.Addr4(0xc0000202), LocalPort: 40000,
				},
				cb: fastsyn.Callbacks{
					Established: func(f *fastsyn.Flow) { f.Reply([]byte("hello"), false) },
					Data:        func(_ *fastsyn.Flow, p []byte) { fmt.Printf("client: %s\n", p) },
					Closed:      func(_ *fastsyn.Flow, why fastsyn.CloseReason) { fmt.Println("client:", why); close(done) },
				},
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	<-done
	// Output:
	// server: proved 192.0.2.2
	// client: hello
	// client: done
}
