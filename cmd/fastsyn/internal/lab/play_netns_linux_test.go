package lab

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

func TestPlay(t *testing.T) {
	dptest.Need(t, "netns", "ss")
	for _, s := range Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			r := Play(context.Background(), s.Name, Options{RTT: 20 * time.Millisecond, InitialRTO: 100 * time.Millisecond, Pcap: t.TempDir()})
			r.WriteText(os.Stdout, Style{})
			if !r.OK {
				t.Fail()
			}
		})
	}
}
