package guest

import (
	"fmt"
	"testing"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

func TestLoop(t *testing.T) {
	for i := range 25 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			lab := dptest.NewTapLab(t, dptest.LabQueues(2))
			var m Image
			start := time.Now()
			Boot(t, lab, Config{Image: &m, NIC: "virtio-net-pci,disable-legacy=on,mq=on,rss=on,vectors=6", Driver: UIO, HugePages: 96, Limit: 40 * time.Second})
			t.Logf("booted in %v", time.Since(start))
		})
	}
}
