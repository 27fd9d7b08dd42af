package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// flagGroup is a heading in the help of a command, and the flags below it.
type flagGroup struct {
	title string
	flags []string
}

// groupFlags has the help of cmd list its flags by groups, in their order. A flag that is
// in none would not be listed; a test sees to it that there is none.
func groupFlags(cmd *cobra.Command, groups ...flagGroup) {
	groups = append(groups, flagGroup{"Other", []string{"cpuprofile", "help"}})
	cmd.SetUsageFunc(func(c *cobra.Command) error {
		if c != cmd { // a command below it, which has flags of its own
			return new(cobra.Command).UsageFunc()(c)
		}
		w := c.OutOrStderr()
		use := c.UseLine()
		for _, sub := range c.Commands() {
			use += "\n  " + sub.UseLine()
		}
		_, err := fmt.Fprintf(w, "Usage:\n  %s\n\nExamples:\n%s\n", use, c.Example)
		for _, g := range groups {
			set := (&cobra.Command{}).Flags()
			set.SortFlags = false
			for _, name := range g.flags {
				set.AddFlag(c.Flags().Lookup(name))
			}
			if err == nil {
				_, err = fmt.Fprintf(w, "\n%s:\n%s", g.title, set.FlagUsages())
			}
		}
		return err
	})
}
