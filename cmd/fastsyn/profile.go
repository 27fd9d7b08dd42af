package main

import (
	"fmt"
	"os"
	"runtime/pprof"

	"github.com/spf13/cobra"
)

// profiled gives cmd the flag --cpuprofile: a pprof profile of the whole run,
// for people who want to know where the time goes, and for make pgo.
func profiled(cmd *cobra.Command) *cobra.Command {
	file := cmd.Flags().String("cpuprofile", "", "write a CPU profile of the run to `FILE`, for go tool pprof")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if *file == "" {
			return run(cmd, args)
		}
		f, err := os.Create(*file)
		if err != nil {
			return fmt.Errorf("--cpuprofile: %w", err)
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			_ = f.Close()
			return fmt.Errorf("--cpuprofile %s: %w", *file, err)
		}
		defer func() {
			pprof.StopCPUProfile()
			if e := f.Close(); err == nil && e != nil {
				err = fmt.Errorf("--cpuprofile: %w", e)
			}
		}()
		return run(cmd, args)
	}
	return cmd
}
