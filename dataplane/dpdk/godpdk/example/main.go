// Example runs an echo server on a port that go-dpdk has set up, as a program
// that uses go-dpdk already would:
//
//	go run -tags dpdk ./example -no-huge -addr 192.0.2.1/24 -listen :7 net_memif0,role=server,socket=/run/m.sock
//
// The device is what DPDK calls a device argument: a virtual device with its
// arguments, or the PCI address of a NIC bound to vfio-pci. To try the above,
// in another shell:
//
//	fastsyn bench --port 'dpdk:net_memif0,role=client,socket=/run/m.sock?no-huge=on' --addr 192.0.2.2/24 --connect 192.0.2.1:7
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"strings"
	"syscall"

	"github.com/yerden/go-dpdk/eal"
	"github.com/yerden/go-dpdk/ethdev"
	"github.com/yerden/go-dpdk/mempool"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane/dpdk/godpdk"
	"github.com/fastsyn/fastsyn/dataplane/worker"
)

type options struct {
	device       string
	addr, listen string
	queues       int
	noHuge       bool
	busy         bool
	ealArgs      string
}

func main() {
	var o options
	flag.StringVar(&o.addr, "addr", "192.0.2.1/24", "own address with the prefix length of the link")
	flag.StringVar(&o.listen, "listen", ":7", "where to accept, as :PORT or IP:PORT")
	flag.IntVar(&o.queues, "queues", 1, "receive and transmit queues, each with a worker")
	flag.BoolVar(&o.noHuge, "no-huge", false, "ordinary memory instead of huge pages")
	flag.BoolVar(&o.busy, "busy", false, "poll without pause")
	flag.StringVar(&o.ealArgs, "eal", "", "more arguments for the EAL, separated by spaces")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: %s [flags] DEVICE\n", os.Args[0])
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	o.device = flag.Arg(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, &o); err != nil {
		log.Fatal(err)
	}
}

// run is in the order that matters: what was made last goes first.
func run(ctx context.Context, o *options) (err error) {
	if _, err := eal.Init(o.args()); err != nil {
		return fmt.Errorf("starting the EAL: %w (its log says more)", err)
	}
	defer eal.Cleanup()
	defer eal.StopLcores()

	ports := ethdev.ValidPorts()
	if len(ports) != 1 {
		return fmt.Errorf("%s: DPDK has found %d ports, want one: is the device bound to vfio-pci?", o.device, len(ports))
	}
	pid := ports[0]
	var info ethdev.DevInfo
	if err := pid.InfoGet(&info); err != nil {
		return fmt.Errorf("reading the device: %w", err)
	}
	if most := int(min(info.MaxRxQueues(), info.MaxTxQueues())); o.queues < 1 || o.queues > most {
		return fmt.Errorf("-queues %d: %s has 1 to %d", o.queues, info.DriverName(), most)
	}
	// A pool for each queue, which is polled on a thread of its own. The operations are
	// those for threads that the kernel may interrupt; on isolated CPUs leave them out.
	var pools []*mempool.Mempool
	for q := range o.queues {
		pool, err := mempool.CreateMbufPool(fmt.Sprint("frames", q), 8191, godpdk.RoomSize,
			mempool.OptCacheSize(256), mempool.OptOpsName("ring_mt_rts"))
		if err != nil {
			return fmt.Errorf("making the frames of queue %d: %w", q, err)
		}
		defer pool.Free()
		pools = append(pools, pool)
	}
	if err := setUp(pid, &info, pools); err != nil {
		return err
	}
	defer pid.Close()
	defer pid.Stop()

	// From here to ep.Close the queues are fastsyn's.
	port, err := godpdk.Port(pid, o.queues, pools...)
	if err != nil {
		return err
	}
	cfg := fastsyn.Config{
		Device: port, Addrs: []string{o.addr},
		Listeners: []fastsyn.Listener{{Addr: o.listen, Callbacks: fastsyn.Callbacks{
			Bare: true,
			Data: func(f *fastsyn.Flow, p []byte) { f.Reply(p, true) },
		}}},
	}
	if o.busy {
		cfg.Polling = worker.Busy
	}
	ep, err := fastsyn.Open(cfg)
	if err != nil {
		return err // Open has closed port
	}
	fmt.Printf("echo on %s at %s, %s with %d queues\n", o.listen, o.addr, ep.Info().Name, o.queues)
	err = ep.Wait(ctx)
	ep.Stop()
	report(ep)
	if e := ep.Close(); err == nil {
		err = e
	}
	// The port runs on, and is the program's again.
	for q, pool := range pools {
		fmt.Printf("pool %d: %d frames at home, %d with the device\n", q, pool.AvailCount(), pool.InUseCount())
	}
	return err
}

var pciAddress = regexp.MustCompile(`^(?:[0-9a-fA-F]{4}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]`)

// args are those of rte_eal_init: one lcore for DPDK itself, which sleeps;
// fastsyn's workers bring their own threads.
func (o *options) args() []string {
	a := []string{os.Args[0], fmt.Sprintf("--lcores=0@(0-%d)", runtime.NumCPU()-1)}
	if o.noHuge {
		a = append(a, "--no-huge", "-m", "512", "--no-shconf", "--no-telemetry", "--file-prefix=godpdk-example")
	} else {
		a = append(a, "--in-memory", "--no-telemetry")
	}
	if pciAddress.MatchString(o.device) {
		a = append(a, "--allow="+o.device)
	} else {
		a = append(a, "--no-pci", "--vdev="+o.device)
	}
	return append(a, strings.Fields(o.ealArgs)...)
}

// What go-dpdk takes as numbers, from rte_ethdev.h.
const (
	mqRxRSS = 1 << 0       // RTE_ETH_MQ_RX_RSS
	rssTCP  = 1<<4 | 1<<10 // RTE_ETH_RSS_NONFRAG_IPV4_TCP, RTE_ETH_RSS_NONFRAG_IPV6_TCP
)

// setUp configures and starts a port. A device that can spread flows over its queues
// is asked to hash TCP; fastsyn reads key and table back, and moves frames to their
// workers where there is no RSS.
func setUp(pid ethdev.Port, info *ethdev.DevInfo, pools []*mempool.Mempool) error {
	n := uint16(len(pools))
	var opts []ethdev.Option
	if n > 1 && info.RetaSize() > 0 {
		opts = append(opts, ethdev.OptRxMode(ethdev.RxMode{MqMode: mqRxRSS}), ethdev.OptRss(ethdev.RssConf{Hf: rssTCP}))
	}
	if err := pid.DevConfigure(n, n, opts...); err != nil {
		return fmt.Errorf("configuring the device: %w", err)
	}
	for q := range n {
		if err := pid.RxqSetup(q, 1024, pools[q]); err != nil {
			return fmt.Errorf("receive queue %d: %w", q, err)
		}
		if err := pid.TxqSetup(q, 1024); err != nil {
			return fmt.Errorf("transmit queue %d: %w", q, err)
		}
	}
	if err := pid.Start(); err != nil {
		return fmt.Errorf("starting the device: %w", err)
	}
	// IPv6 neighbours ask by multicast, which go-dpdk cannot let through alone.
	if err := pid.PromiscEnable(); err != nil && !errors.Is(err, syscall.ENOTSUP) {
		return fmt.Errorf("letting multicast through: %w", err)
	}
	return nil
}

// report says what the workers counted.
func report(ep *fastsyn.Endpoint) {
	for _, s := range ep.Stats() {
		fmt.Printf("worker %d: %d accepted, %d frames received, %d sent\n", s.Worker, s.Engine.Accepted, s.Port.RxFrames, s.Port.TxFrames)
	}
}
