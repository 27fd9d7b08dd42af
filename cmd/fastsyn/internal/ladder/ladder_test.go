package ladder

import (
	"fmt"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"testing"
	"time"
)

func TestX(t *testing.T) {
	d := Diagram{Client: Party{Name: "fastsyn", Addr: "10.71.0.1:40000", State: Closed}, Server: Party{Name: "Linux", Addr: "10.71.0.2:80", State: Listen}}
	us := time.Microsecond
	opts := []string{"mss 1460", "sackOK", "TS val 747462269 ecr 0", "wscale 10"}
	add := func(s Segment) { d.Items = append(d.Items, Item{Segment: &s}) }
	add(Segment{Sent: 0, Received: 50 * us, Flags: wire.FlagSYN, Seq: 100, Options: opts})
	add(Segment{FromServer: true, Sent: 60 * us, Received: 99 * us, Flags: wire.FlagSYN | wire.FlagACK, Seq: 300, Ack: 101, Options: opts})
	add(Segment{Sent: 100 * us, Received: 150 * us, Flags: wire.FlagACK, Seq: 101, Ack: 301})
	d.Items = append(d.Items, Item{Note: "connect() returns", At: 150 * us})
	add(Segment{Sent: 1000100 * us, Lost: true, Flags: wire.FlagACK | wire.FlagPSH, Seq: 101, Ack: 301, Len: 9})
	add(Segment{Sent: 1000200 * us, Received: 1000250 * us, Flags: wire.FlagACK | wire.FlagPSH, Seq: 101, Ack: 301, Len: 9})
	add(Segment{FromServer: true, Sent: 1000210 * us, Received: 1000290 * us, Flags: wire.FlagACK, Seq: 301, Ack: 101})
	d.Relate()
	fmt.Println(d.Track())
	fmt.Print(d.Render(Style{}))
	fmt.Print(d.Render(Style{ASCII: true}))
}
