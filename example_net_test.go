package fastsyn_test

import (
	"fmt"
	"io"
	"log"
	"net/http"

	"github.com/fastsyn/fastsyn"
)

// The servers and clients of package net/http over two endpoints, at the two ends of an
// in-memory wire.
func ExampleEndpoint_Listen() {
	server, err := fastsyn.Open(fastsyn.Config{Port: "loop:web", Addrs: []string{"192.0.2.1/24"}})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ln, err := server.Listen("tcp", ":80")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		_ = http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "hello, you asked for %s", r.URL.Path)
		}))
	}()

	client, err := fastsyn.Open(fastsyn.Config{Port: "loop:web", Addrs: []string{"192.0.2.2/24"}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	web := http.Client{Transport: &http.Transport{DialContext: client.DialContext}}
	resp, err := web.Get("http://192.0.2.1/index")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	fmt.Println(resp.Status, string(text), err)
	// Output: 200 OK hello, you asked for /index <nil>
}
