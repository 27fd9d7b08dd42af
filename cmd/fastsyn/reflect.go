package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	measure "github.com/fastsyn/fastsyn/bench"
	"github.com/fastsyn/fastsyn/dataplane"
)

type reflectFlags struct {
	cfg      measure.ReflectConfig
	json     string
	quiet    bool
	duration time.Duration
}

func newReflect() *cobra.Command {
	var o reflectFlags
	cmd := &cobra.Command{
		Use:   "reflect",
		Short: "Answer every frame with itself, to measure a driver",
		Long: `Answer every frame with itself, Ethernet addresses swapped, on every queue of a
port, until SIGINT or SIGTERM, and print final counters whose sums are checked.

Nothing is done with the frames, so the rate is that of the driver and the device:
no application on the same port can be faster. bench --scenario echo sends to
it from the other end; so can any other generator that names a MAC address, as
dpdk-testpmd does with --forward-mode=flowgen. It answers frames for any unicast
address that the device lets through, and nothing else: on a network with
other hosts, mind whose traffic that is.

Frames from or to a group address (broadcast, multicast) are dropped and
counted. Once frames are answered, a line "reflecting on ..." is printed.
` + exitHelp,
		Example: `  # One end of a memif pair (a build with DPDK).
  fastsyn reflect --port dpdk:net_memif0,role=server,socket=/run/m.sock

  # An interface, two queues, for ten seconds, counters as JSON.
  fastsyn reflect --port 'afpacket:veth0?queues=2' --duration 10s --json -`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&o.cfg.Port, "port", "", "port to use: afpacket:IFACE, afpacket:IFACE?queues=N, impair(...):PORT")
	f.StringVar(&o.cfg.Pin, "pin", "auto", "pin threads to CPUs from the last down: auto (if there are enough) or off")
	f.StringVar(&o.cfg.Polling, "polling", "auto", "busy, adaptive or auto (busy if there are enough CPUs)")
	f.BoolVar(&o.quiet, "quiet", false, "no rates while running")
	f.StringVar(&o.json, "json", "", "write the final counters as JSON to a file, or - for standard output (and no text)")
	f.DurationVar(&o.duration, "duration", 0, "end after this time (0: on SIGINT or SIGTERM)")
	return cmd
}

func (o *reflectFlags) run(cmd *cobra.Command) error {
	if err := realPort(o.cfg.Port, "bench --scenario echo, which has both ends"); err != nil {
		return err
	}
	if o.duration < 0 {
		return usagef("--duration %v: want a time; 0 for no bound", o.duration)
	}
	return o.reflect(cmd)
}

func (o *reflectFlags) reflect(cmd *cobra.Command) error {
	ctx := cmd.Context()
	if o.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.duration)
		defer cancel()
	}
	stdout, stderr := cmd.OutOrStdout(), cmd.ErrOrStderr()
	if o.json == "-" {
		stdout = stderr
	}
	o.cfg.Ready = func(info dataplane.Info) {
		_, _ = fmt.Fprintf(stdout, "reflecting on %s, MAC %s, queues %d\n", o.cfg.Port, info.MAC, info.Queues)
	}
	progress := func(p measure.ReflectProgress) { _, _ = fmt.Fprintln(stderr, p) }
	if o.quiet {
		progress = nil
	}
	r, err := measure.Reflect(ctx, o.cfg, progress)
	if r == nil {
		return err
	}
	if o.json != "" {
		err = errors.Join(err, writeJSON(o.json, cmd.OutOrStdout(), r))
	}
	if o.json != "-" {
		err = errors.Join(err, r.WriteText(stdout))
	}
	if err == nil && !r.Valid {
		err = fmt.Errorf("%w: %s", errInvalid, r.InvalidReason)
	}
	return err
}
