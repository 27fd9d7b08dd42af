package dpdk

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/rss"
)

// Bounds and defaults of Config.
const (
	MaxQueues    = 64
	DefaultDesc  = 1024
	DefaultMbufs = 8192
	minMbufs     = 512
	maxMbufs     = 1 << 22
	minMTU       = 576
	maxMTU       = 9600
	maxCPUs      = 1024
)

// Mode says whether to use what a device offers.
type Mode uint8

// The modes.
const (
	Auto Mode = iota // if the device can
	On               // or fail
	Off
)

// Config says what Open opens. The zero value of every field but Device is its default.
type Config struct {
	// Device is a device argument of DPDK ("0000:3b:00.0", "net_null0,size=64"),
	// or "net_ring,wire=NAME".
	Device string
	Queues int // 1..MaxQueues; 0 is 1
	RxDesc int // descriptors of each receive ring; 0 is DefaultDesc, adjusted to what the device takes
	TxDesc int
	MTU    int // 0: as the device has it
	Mbufs  int // frames of each queue; 0 is DefaultMbufs
	RSS    Mode
	RSSKey rss.Key  // zero is rss.SymmetricKey
	RETA   []uint16 // a pattern, repeated to the size of the device's table; nil: queues in turn
	// TrustRSS leaves frames on the queue they came to. Otherwise a port with
	// several queues looks where each flow belongs, and moves what came to another queue.
	TrustRSS bool
	// NoRxCsum, NoTxCsum, NoRSSHash and NoVLANStrip leave offloads of the device unused.
	NoRxCsum, NoTxCsum, NoRSSHash, NoVLANStrip bool
	Promisc                                    bool
	EAL                                        EALConfig
}

// EALConfig is how DPDK's environment abstraction layer is started, once in a
// process. The zero value suits one port of any kind on a machine with huge pages.
type EALConfig struct {
	LCores     []int    // CPUs of the workers
	Memory     int64    // bytes reserved at start; 0: as needed
	SocketMem  []int64  // the same by NUMA node; excludes Memory
	NoHuge     bool     // ordinary memory
	HugeDir    string   // hugetlbfs mount
	FilePrefix string   // "": nothing in the file system
	VDevs      []string // further virtual devices
	Allow      []string // further PCI devices
	IOVA       string   // "pa", "va" or "": DPDK decides
	SingleFile bool     // one file per memory area
	Args       []string // further arguments
}

func (c *Config) normalize() error {
	if c.Device == "" {
		return errors.New("dpdk: no device named: write it after the colon, as in dpdk:0000:3b:00.0 or dpdk:net_null0; fastsyn devices lists what there is")
	}
	for _, n := range []struct {
		name        string
		v           *int
		def, lo, hi int
	}{
		{"queues", &c.Queues, 1, 1, MaxQueues},
		{"rx-desc", &c.RxDesc, DefaultDesc, 32, 32768},
		{"tx-desc", &c.TxDesc, DefaultDesc, 32, 32768},
		{"mbufs", &c.Mbufs, DefaultMbufs, minMbufs, maxMbufs},
	} {
		if *n.v == 0 {
			*n.v = n.def
		}
		if *n.v < n.lo || *n.v > n.hi {
			return fmt.Errorf("dpdk: %s: %s=%d: want %d to %d", c.Device, n.name, *n.v, n.lo, n.hi)
		}
	}
	if c.MTU != 0 && (c.MTU < minMTU || c.MTU > maxMTU) {
		return fmt.Errorf("dpdk: %s: mtu=%d: want %d to %d bytes of L3", c.Device, c.MTU, minMTU, maxMTU)
	}
	for _, q := range c.RETA {
		if int(q) >= c.Queues {
			return fmt.Errorf("dpdk: %s: reta names queue %d, but there are %d queues (0 to %d)", c.Device, q, c.Queues, c.Queues-1)
		}
	}
	if n := len(c.EAL.LCores); n != 0 && n < c.Queues {
		return fmt.Errorf("dpdk: %s: %d lcores for %d queues: each queue has a worker of its own, so name as many CPUs, or fewer queues", c.Device, n, c.Queues)
	}
	if c.EAL.HugeDir != "" && c.EAL.FilePrefix == "" && !c.EAL.NoHuge {
		return fmt.Errorf("dpdk: %s: huge-dir=%s without file-prefix: huge pages then come from no mount; add file-prefix=NAME, or leave huge-dir out", c.Device, c.EAL.HugeDir)
	}
	if c.RSSKey == (rss.Key{}) {
		c.RSSKey = rss.SymmetricKey
	}
	return nil
}

const example = "dpdk:net_memif0,role=client,socket=/run/m.sock?queues=1"

func init() {
	dataplane.Register("dpdk", dataplane.Driver{Open: openParams, Example: example, Wire: isWire})
}

// isWire reports whether a device is one end of a wire within the process.
func isWire(target string) bool {
	_, ok := wireName(target)
	return ok
}

func wireName(device string) (string, bool) {
	if device == "net_ring" {
		return "", true
	}
	return strings.CutPrefix(device, "net_ring,wire=")
}

// ParseParams reads the parameters of a port string.
func ParseParams(target string, p *dataplane.Params) (Config, error) {
	cfg := Config{
		Device: target,
		Queues: p.Int("queues", 1, 1, MaxQueues),
		RxDesc: p.Int("rx-desc", DefaultDesc, 32, 32768),
		TxDesc: p.Int("tx-desc", DefaultDesc, 32, 32768),
		MTU:    p.Int("mtu", 0, minMTU, maxMTU),
		Mbufs:  p.Int("mbufs", DefaultMbufs, minMbufs, maxMbufs),

		TrustRSS:    p.Enum("steer", "on", "on", "off") == "off",
		NoRxCsum:    p.Enum("rx-csum", "auto", "auto", "off") == "off",
		NoTxCsum:    p.Enum("tx-csum", "auto", "auto", "off") == "off",
		NoRSSHash:   p.Enum("rss-hash", "auto", "auto", "off") == "off",
		NoVLANStrip: p.Enum("vlan-strip", "auto", "auto", "off") == "off",
		Promisc:     p.Bool("promisc", false),
		EAL: EALConfig{
			LCores:     cpuList(p, "lcores"),
			Memory:     p.Size("memory", 0, 1<<20, 1<<42),
			SocketMem:  sizeList(p, "socket-mem"),
			NoHuge:     p.Bool("no-huge", false),
			HugeDir:    p.String("huge-dir", ""),
			FilePrefix: p.String("file-prefix", ""),
			VDevs:      list(p, "vdev", ";"),
			Allow:      list(p, "allow", ","),
			IOVA:       p.Enum("iova", "", "pa", "va"),
			SingleFile: p.Bool("single-file", false),
			Args:       strings.Fields(p.String("eal", "")),
		},
	}
	switch p.Enum("rss", "auto", "auto", "on", "off") {
	case "on":
		cfg.RSS = On
	case "off":
		cfg.RSS = Off
	}
	if p.Enum("rss-key", "symmetric", "symmetric", "microsoft") == "microsoft" {
		cfg.RSSKey = rss.DefaultKey
	}
	for _, s := range list(p, "reta", ",") {
		n, err := strconv.ParseUint(s, 10, 8)
		if err != nil || n >= MaxQueues {
			p.Fail("reta", fmt.Sprintf("it is a list of queue numbers such as 0,1,1,0, each below %d", MaxQueues))
			break
		}
		cfg.RETA = append(cfg.RETA, uint16(n))
	}
	if cfg.EAL.Memory != 0 && cfg.EAL.SocketMem != nil {
		p.Fail("socket-mem", "memory= says the same for all nodes together; give one of them")
	}
	if strings.ContainsAny(cfg.EAL.FilePrefix, "/ ") {
		p.Fail("file-prefix", "it becomes part of file names: no slash, no space")
	}
	if err := p.Err(); err != nil {
		return cfg, err
	}
	return cfg, cfg.normalize()
}

func openParams(target string, p *dataplane.Params) (dataplane.Port, error) {
	cfg, err := ParseParams(target, p)
	if err != nil {
		return nil, err
	}
	port, err := Open(cfg)
	if err != nil {
		return nil, err
	}
	return port, nil
}

// list splits a value; nil if the key is absent or empty.
func list(p *dataplane.Params, key, sep string) []string {
	v := p.String(key, "")
	if v == "" {
		return nil
	}
	return strings.Split(v, sep)
}

// cpuList reads a list such as 2-5,8 (cpuset(7)).
func cpuList(p *dataplane.Params, key string) []int {
	var out []int
	seen := map[int]bool{}
	for _, s := range list(p, key, ",") {
		lo, hi, _ := strings.Cut(s, "-")
		if hi == "" {
			hi = lo
		}
		a, err1 := strconv.Atoi(lo)
		b, err2 := strconv.Atoi(hi)
		if err1 != nil || err2 != nil || a < 0 || b < a || b >= maxCPUs {
			p.Fail(key, "it is a list of CPUs such as 2-5,8")
			return nil
		}
		for c := a; c <= b; c++ {
			if seen[c] {
				p.Fail(key, fmt.Sprintf("CPU %d is named twice", c))
				return nil
			}
			seen[c] = true
			out = append(out, c)
		}
	}
	return out
}

// sizeList reads a list of sizes such as 512M,0.
func sizeList(p *dataplane.Params, key string) []int64 {
	var out []int64
	for _, s := range list(p, key, ",") {
		one := dataplane.NewParams("dpdk", example, []dataplane.Param{{Key: key, Value: s}})
		n := one.Size(key, 0, 0, 1<<42)
		if one.Err() != nil {
			p.Fail(key, "it is a list of sizes, one for each NUMA node, such as 512M,512M")
			return nil
		}
		out = append(out, n)
	}
	return out
}
