package dpdk

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/rss"
)

func parse(t *testing.T, port string) (Config, error) {
	t.Helper()
	sp, err := dataplane.ParseSpec(port)
	require.NoError(t, err)
	return ParseParams(sp.Target, dataplane.NewParams(sp.Driver, example, sp.Params))
}

func TestParams(t *testing.T) {
	plain := Config{Queues: 1, RxDesc: DefaultDesc, TxDesc: DefaultDesc, Mbufs: DefaultMbufs, RSSKey: rss.SymmetricKey, EAL: EALConfig{Args: []string{}}}
	for _, tc := range []struct {
		port   string
		change func(c *Config)
	}{
		{"dpdk:net_null0", func(c *Config) { c.Device = "net_null0" }},
		{"dpdk:0000:3b:00.0?queues=4&lcores=2-4,7&socket-mem=512M,1G", func(c *Config) {
			c.Device, c.Queues = "0000:3b:00.0", 4
			c.EAL.LCores, c.EAL.SocketMem = []int{2, 3, 4, 7}, []int64{512 << 20, 1 << 30}
		}},
		{"dpdk:net_memif0,role=client,socket=/run/m.sock?no-huge=on&memory=64M&vdev=net_null0;net_null1,size=9&allow=3b:00.0,3b:00.1&iova=va&single-file=on&huge-dir=/h&file-prefix=x&eal=--a%20b", func(c *Config) {
			c.Device = "net_memif0,role=client,socket=/run/m.sock"
			c.EAL = EALConfig{
				Memory: 64 << 20, NoHuge: true, HugeDir: "/h", FilePrefix: "x", VDevs: []string{"net_null0", "net_null1,size=9"},
				Allow: []string{"3b:00.0", "3b:00.1"}, IOVA: "va", SingleFile: true, Args: []string{"--a%20b"},
			}
		}},
		{"dpdk:x?rss=on&rss-key=microsoft&reta=1,0,0,1&queues=2&steer=off", func(c *Config) {
			c.Device, c.Queues, c.RSS, c.RSSKey, c.RETA, c.TrustRSS = "x", 2, On, rss.DefaultKey, []uint16{1, 0, 0, 1}, true
		}},
		{"dpdk:x?rss=off&rx-csum=off&tx-csum=off&rss-hash=off&vlan-strip=off&promisc=on&mtu=9000&rx-desc=512&tx-desc=256&mbufs=4096", func(c *Config) {
			c.Device, c.RSS, c.MTU, c.RxDesc, c.TxDesc, c.Mbufs = "x", Off, 9000, 512, 256, 4096
			c.NoRxCsum, c.NoTxCsum, c.NoRSSHash, c.NoVLANStrip, c.Promisc = true, true, true, true, true
		}},
	} {
		t.Run(tc.port, func(t *testing.T) {
			want := plain
			tc.change(&want)
			got, err := parse(t, tc.port)
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
}

func TestParamsBad(t *testing.T) {
	for port, want := range map[string]string{
		"dpdk:":                             "no device named",
		"dpdk:x?queues=0":                   "it is a whole number from 1 to 64",
		"dpdk:x?queus=2":                    `did you mean "queues"?`,
		"dpdk:x?lcores=2-":                  "", // 2 alone
		"dpdk:x?lcores=a":                   "it is a list of CPUs such as 2-5,8",
		"dpdk:x?lcores=5-2":                 "it is a list of CPUs such as 2-5,8",
		"dpdk:x?lcores=0-9999":              "it is a list of CPUs such as 2-5,8",
		"dpdk:x?lcores=1,2,1":               "CPU 1 is named twice",
		"dpdk:x?lcores=1&queues=2":          "1 lcores for 2 queues",
		"dpdk:x?reta=0,x":                   "it is a list of queue numbers",
		"dpdk:x?reta=0,1":                   "reta names queue 1, but there are 1 queues",
		"dpdk:x?socket-mem=1,x":             "it is a list of sizes",
		"dpdk:x?memory=64M&socket-mem=64M":  "give one of them",
		"dpdk:x?file-prefix=a/b":            "no slash",
		"dpdk:x?rss=maybe":                  "it is one of auto, on, off",
		"dpdk:x?steer=auto":                 "it is one of on, off",
		"dpdk:x?mbufs=10":                   "it is a whole number from 512",
		"dpdk:x?memory=12":                  "it is a number of bytes",
		"dpdk:x?huge-dir=/h":                "huge-dir=/h without file-prefix",
		"dpdk:x?mtu=100":                    "it is a whole number from 576",
		"dpdk:x?iova=xx":                    "it is one of pa, va",
		"dpdk:x?rss-key=secret&rss-hash=no": "it is one of symmetric, microsoft",
	} {
		t.Run(port, func(t *testing.T) {
			_, err := parse(t, port)
			if want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, want)
		})
	}
}

func TestIsWire(t *testing.T) {
	for port, want := range map[string]bool{
		"dpdk:net_ring": true, "dpdk:net_ring,wire=x": true, "dpdk:net_ring,wire=x?queues=2": true,
		"dpdk:net_ring0": false, "dpdk:net_ring,nodeaction=x": false, "dpdk:net_null0": false, "loop:": false,
	} {
		sp, err := dataplane.ParseSpec(port)
		require.NoError(t, err)
		require.Equal(t, want, dataplane.IsWire(sp), port)
	}
}

func TestArgs(t *testing.T) {
	for _, tc := range []struct {
		name string
		cfg  EALConfig
		want string
	}{
		{"nothing in the file system", EALConfig{}, "--lcores=0@(0,1,2,3) --no-telemetry --in-memory --allow=0000:00:00.0"},
		{"workers' CPUs are left to them", EALConfig{LCores: []int{1, 2}}, "--lcores=0@(0,3) --no-telemetry --in-memory --allow=0000:00:00.0"},
		{"all CPUs are workers'", EALConfig{LCores: []int{0, 1, 2, 3}}, "--lcores=0@(0,1,2,3) --no-telemetry --in-memory --allow=0000:00:00.0"},
		{"no huge pages", EALConfig{NoHuge: true}, "--lcores=0@(0,1,2,3) --no-telemetry --no-shconf --file-prefix=" + ownPrefix() + " --no-huge -m 512 --allow=0000:00:00.0"},
		{"no huge pages, named", EALConfig{NoHuge: true, FilePrefix: "p", Memory: 100<<20 + 1}, "--lcores=0@(0,1,2,3) --no-telemetry --file-prefix=p --no-huge -m 101 --allow=0000:00:00.0"},
		{
			"everything",
			EALConfig{SocketMem: []int64{512 << 20, 0}, HugeDir: "/h", FilePrefix: "p", VDevs: []string{"net_null0", "net_null1"}, Allow: []string{"3b:00.1"}, IOVA: "va", SingleFile: true, Args: []string{"--log-level=8"}},
			"--lcores=0@(0,1,2,3) --no-telemetry --file-prefix=p --socket-mem=512,0 --huge-dir=/h --iova-mode=va --single-file-segments --allow=0000:00:00.0 --allow=3b:00.1 --vdev=net_null0 --vdev=net_null1 --log-level=8",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			require.Equal(t, tc.want, strings.Join(tc.cfg.args([]int{0, 1, 2, 3}), " "))
		})
	}
}

// A later port may repeat how DPDK was started, or leave it out, not contradict it.
func TestAgree(t *testing.T) {
	have := EALConfig{LCores: []int{1}, Memory: 1 << 20, NoHuge: true, HugeDir: "d", FilePrefix: "p", VDevs: []string{"v"}, Allow: []string{"a"}, IOVA: "va", SingleFile: true, Args: []string{"x"}}
	require.NoError(t, have.agree(&EALConfig{}))
	same := have
	require.NoError(t, have.agree(&same))
	for key, later := range map[string]EALConfig{
		"lcores": {LCores: []int{2}}, "memory": {Memory: 2 << 20}, "socket-mem": {SocketMem: []int64{1}}, "huge-dir": {HugeDir: "e"},
		"file-prefix": {FilePrefix: "q"}, "vdev": {VDevs: []string{"w"}}, "allow": {Allow: []string{"b"}}, "iova": {IOVA: "pa"}, "eal": {Args: []string{"y"}},
	} {
		require.ErrorContains(t, have.agree(&later), "dpdk: "+key+"=", key)
	}
	none := EALConfig{}
	require.ErrorContains(t, none.agree(&EALConfig{NoHuge: true}), "no-huge=on, but DPDK was started for an earlier port with no-huge=nothing")
	require.ErrorContains(t, none.agree(&EALConfig{SingleFile: true}), "single-file=on")
}

// What DPDK said, word for word, and what has to be in the sentence made of it.
func TestExplain(t *testing.T) {
	for _, tc := range []struct{ log, want string }{
		{"EAL: Cannot create lock on '/var/run/dpdk/xx/config'. Is another primary process running?\n", "another run uses this file-prefix"},
		{"EAL: Cannot get hugepage information.\n", "sudo fastsyn hugepages reserve"},
		{"EAL: No free 2048 kB hugepages reported on node 0\n", "no huge page is free"},
		{"EAL: FATAL: Cannot use IOVA as 'PA' since physical addresses are not available\n", "iova=va"},
		{"EAL: failed to parse device \"net_foo0\"\n", "no driver of this DPDK takes this name"},
		{"EAL: VFIO group is not viable! Not all devices in IOMMU group bound to VFIO or unbound\n", "bind all devices of the group"},
		{"rte_pmd_init_internals(): net_af_packet0: ioctl failed (SIOCGIFINDEX):No such device\n", "there is no such device"},
		{"EAL: Detected CPU lcores: 2\nsomething new went wrong\n", `DPDK says "something new went wrong"`},
		{"", "DPDK gives no reason"},
	} {
		require.Contains(t, explain(tc.log), tc.want)
	}
}
