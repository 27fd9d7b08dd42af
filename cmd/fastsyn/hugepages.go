package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fastsyn/fastsyn/hugepages"
)

// hugepagesSchema is the form of what hugepages status --json prints.
const hugepagesSchema = "fastsyn.hugepages/v1"

type hugepagesFlags struct {
	size    string
	count   int
	node    int
	mount   string
	compact bool
	stale   bool
	dir     string
	json    string
}

func newHugepages() *cobra.Command {
	var o hugepagesFlags
	cmd := &cobra.Command{
		Use:   "hugepages [status|reserve|release]",
		Short: "Show, reserve and release huge pages",
		Long: `Show the huge pages of this machine, and add pages to its pools or give back what
was added. Without a command it shows.

What reserve adds is remembered in ` + hugepages.StateDir + `, so that release gives back exactly
that: never pages that somebody else reserved, never pages in use.
` + exitHelp,
		Example: `  fastsyn hugepages
  sudo fastsyn hugepages reserve --count 512
  sudo fastsyn hugepages release`,
		Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.status(cmd) },
	}
	o.jsonFlag(cmd)
	cmd.AddCommand(newHugepagesStatus(), newHugepagesReserve(), newHugepagesRelease())
	return cmd
}

// jsonFlag adds --json, which means standard output, and --json=FILE.
func (o *hugepagesFlags) jsonFlag(cmd *cobra.Command) { jsonOrFile(cmd, &o.json) }

func jsonOrFile(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "json", "", "print JSON instead of text; =FILE writes it to a file and prints the text too")
	cmd.Flags().Lookup("json").NoOptDefVal = "-"
}

func newHugepagesStatus() *cobra.Command {
	var o hugepagesFlags
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show pools by page size and NUMA node, limits, and what is wrong",
		Example: `  fastsyn hugepages status
  fastsyn hugepages status --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.status(cmd) },
	}
	o.jsonFlag(cmd)
	return cmd
}

func newHugepagesReserve() *cobra.Command {
	var o hugepagesFlags
	cmd := &cobra.Command{
		Use:   "reserve --count N",
		Short: "Add pages to a pool (root)",
		Long: `Add pages to a pool, until they are released or the machine reboots. The kernel may
give fewer than asked for, when memory is fragmented: then what it gave stays
reserved, the reason is printed, and the exit code is 1.
` + exitHelp,
		Example: `  # 1 GiB in pages of 2 MiB.
  sudo fastsyn hugepages reserve --count 512

  # On the node of the NIC, and with a hugetlbfs for DPDK.
  sudo fastsyn hugepages reserve --count 512 --node 1 --mount /dev/hugepages

  # Pages of 1 GiB can be had at run time only while memory is young.
  sudo fastsyn hugepages reserve --size 1G --count 2 --compact`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.reserve(cmd) },
	}
	o.common(cmd, "2M", "page size: 2M, 1G or what status lists", "NUMA node (-1: where the kernel likes)")
	f := cmd.Flags()
	f.IntVar(&o.count, "count", 0, "pages to add")
	f.StringVar(&o.mount, "mount", "", "also mount a hugetlbfs on this directory, until release")
	f.BoolVar(&o.compact, "compact", false, "have the kernel defragment memory first")
	return cmd
}

func newHugepagesRelease() *cobra.Command {
	var o hugepagesFlags
	cmd := &cobra.Command{
		Use:   "release",
		Short: "Give back what reserve added (root)",
		Long: `Give back what "reserve" added, and what processes of fastsyn left behind when they
died: their pages, and their files in hugetlbfs mounts. Pages in use stay, and can be
released later; then the exit code is 1. Pages of running processes stay.
` + exitHelp,
		Example: `  sudo fastsyn hugepages release

  # Only what dead processes left.
  sudo fastsyn hugepages release --stale

  # A part of it.
  sudo fastsyn hugepages release --size 2M --count 128 --node 1`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.release(cmd) },
	}
	o.common(cmd, "", "only pages of this size (default: all sizes)", "only what was reserved for this NUMA node (-1: all)")
	f := cmd.Flags()
	f.IntVar(&o.count, "count", 0, "pages to give back at most (0: all)")
	f.BoolVar(&o.stale, "stale", false, "only what dead processes left")
	return cmd
}

func (o *hugepagesFlags) common(cmd *cobra.Command, size, sizeHelp, nodeHelp string) {
	f := cmd.Flags()
	f.StringVar(&o.size, "size", size, sizeHelp)
	f.IntVar(&o.node, "node", hugepages.AnyNode, nodeHelp)
	f.StringVar(&o.dir, "state-dir", hugepages.StateDir, "where reservations are remembered")
	o.jsonFlag(cmd)
}

// pageSize reads --size, 0 if it is not given.
func (o *hugepagesFlags) pageSize() (uint64, error) {
	if o.size == "" {
		return 0, nil
	}
	n, err := hugepages.ParseBytes(o.size)
	if err != nil {
		return 0, usagef("--size: %w", err)
	}
	if n == 0 || n&(n-1) != 0 {
		return 0, usagef("--size %s: want a power of two, such as 2M or 1G", o.size)
	}
	return n, nil
}

func (o *hugepagesFlags) status(cmd *cobra.Command) error {
	s, err := hugepages.Inspect()
	if err != nil {
		return err
	}
	return o.print(cmd, struct {
		Schema string `json:"schema"`
		*hugepages.State
	}{hugepagesSchema, s}, func(w io.Writer) error { return writeHugepages(w, s) })
}

// print writes v as JSON or text, as --json says.
func (o *hugepagesFlags) print(cmd *cobra.Command, v any, text func(io.Writer) error) error {
	return printResult(cmd, o.json, v, text)
}

type jsonValue struct{ v any }

func (j jsonValue) WriteJSON(w io.Writer) error { return indentJSON(w, j.v) }

func printResult(cmd *cobra.Command, file string, v any, text func(io.Writer) error) error {
	if file != "" {
		if err := writeJSON(file, cmd.OutOrStdout(), jsonValue{v}); err != nil || file == "-" {
			return err
		}
	}
	return text(cmd.OutOrStdout())
}

func (o *hugepagesFlags) reserve(cmd *cobra.Command) error {
	page, err := o.pageSize()
	switch {
	case err != nil:
		return err
	case page == 0:
		return usagef("--size is empty: want a page size, such as 2M or 1G")
	case o.count < 1:
		return usagef("--count %d: say how many pages to add, such as --count 512", o.count)
	case o.node < hugepages.AnyNode:
		return usagef("--node %d: want a NUMA node, or -1 for any", o.node)
	}
	k, err := hugepages.NewKeeper(o.dir)
	if err != nil {
		return err
	}
	r, err := k.Reserve(page, o.count, o.node, hugepages.ReserveOptions{Keep: true, Mount: o.mount, Compact: o.compact})
	if err != nil {
		return err
	}
	err = o.print(cmd, r, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "reserved %v (%s)\n", r, r.ID)
		if r.Mount != nil && err == nil {
			_, err = fmt.Fprintf(w, "mounted hugetlbfs on %s\n", r.Mount.Path)
		}
		return err
	})
	if err == nil && r.Short != "" {
		err = errors.New(r.Short)
	}
	return err
}

// releaseReport is what release --json prints.
type releaseReport struct {
	Schema   string               `json:"schema"`
	Released []hugepages.Released `json:"released"`
	Files    []string             `json:"files_removed"`
}

func (o *hugepagesFlags) release(cmd *cobra.Command) error {
	page, err := o.pageSize()
	switch {
	case err != nil:
		return err
	case o.count < 0:
		return usagef("--count %d: want pages to give back, or 0 for all", o.count)
	case o.node < hugepages.AnyNode:
		return usagef("--node %d: want a NUMA node, or -1 for all", o.node)
	case o.stale && (page != 0 || o.count != 0 || o.node != hugepages.AnyNode):
		return usagef("--stale releases everything that dead processes left: leave out --size, --count and --node")
	}
	k, err := hugepages.NewKeeper(o.dir)
	if err != nil {
		return err
	}
	out := releaseReport{Schema: "fastsyn.hugepages.release/v1", Released: []hugepages.Released{}, Files: []string{}}
	done, files, err := k.ReleaseStale()
	out.Released, out.Files = append(out.Released, done...), append(out.Files, files...)
	if err == nil && !o.stale {
		err = o.releaseKept(k, page, &out)
	}
	err = errors.Join(o.print(cmd, &out, func(w io.Writer) error { return out.writeText(w) }), err)
	var busy uint64
	for _, r := range out.Released {
		busy += r.Busy
	}
	if busy > 0 {
		err = errors.Join(err, fmt.Errorf("%d pages are in use and stay reserved: end the programs that use them, then release again", busy))
	}
	return err
}

// releaseKept releases what was reserved by hand, the latest first.
func (o *hugepagesFlags) releaseKept(k *hugepages.Keeper, page uint64, out *releaseReport) error {
	list, err := k.List()
	if err != nil {
		return err
	}
	left := uint64(o.count)
	for _, r := range slices.Backward(list) {
		if r.Life != hugepages.Kept || page != 0 && r.PageBytes != page || o.node != hugepages.AnyNode && r.Node != o.node {
			continue
		}
		done, err := k.Release(&r, left)
		if err != nil {
			return err
		}
		out.Released = append(out.Released, done)
		if o.count > 0 {
			if left -= min(left, done.Pages+done.Lost); left == 0 {
				break
			}
		}
	}
	return nil
}

func (r *releaseReport) writeText(w io.Writer) error {
	var b strings.Builder
	for _, d := range r.Released {
		switch {
		case d.Gone:
			fmt.Fprintf(&b, "%s: made before the last boot, nothing to give back\n", d.ID)
		default:
			fmt.Fprintf(&b, "%s: released %d pages of %s", d.ID, d.Pages, hugepages.BytesText(d.PageBytes))
			if d.Lost > 0 {
				fmt.Fprintf(&b, ", %d were taken out of the pool by somebody else", d.Lost)
			}
			if d.Busy > 0 {
				fmt.Fprintf(&b, ", %d are in use", d.Busy)
			}
			if d.Unmounted != "" {
				fmt.Fprintf(&b, ", unmounted %s", d.Unmounted)
			}
			b.WriteByte('\n')
		}
	}
	for _, f := range r.Files {
		fmt.Fprintf(&b, "removed %s\n", f)
	}
	if b.Len() == 0 {
		b.WriteString("nothing to release\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeHugepages is the text form of status.
func writeHugepages(w io.Writer, s *hugepages.State) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(t, "pool\tnode\tpages\tfree\tpromised\tsurplus\ton demand\t")
	for _, p := range s.Pools {
		_, _ = fmt.Fprintf(t, "%s\tall\t%d\t%d\t%d\t%d\t%d\t\n", hugepages.BytesText(p.Bytes), p.Total, p.Free, p.Reserved, p.Surplus, p.Overcommit)
		for _, n := range p.Nodes {
			_, _ = fmt.Fprintf(t, "\t%d\t%d\t%d\t\t%d\t\t\n", n.Node, n.Total, n.Free, n.Surplus)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	rows := b.String() // columns without a value leave blanks at the end
	b.Reset()
	for line := range strings.Lines(rows) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	fmt.Fprintf(&b, "\ntransparent  %s, defrag %s, %s in use\n", cmp.Or(s.THP.Mode, "none"), cmp.Or(s.THP.Defrag, "unknown"), hugepages.BytesText(s.THP.InUse))
	memlock := "unlimited"
	if !s.Limits.MemlockUnlimited {
		memlock = hugepages.BytesText(s.Limits.Memlock)
	}
	fmt.Fprintf(&b, "memlock      %s\n", memlock)
	for _, c := range s.Limits.Cgroup {
		fmt.Fprintf(&b, "cgroup       %s: %s of %s in use (%s)\n", c.Group, hugepages.BytesText(c.Current), hugepages.BytesText(c.Max), c.File)
	}
	for _, m := range s.Mounts {
		writable := "writable"
		if !m.Usable {
			writable = "not writable for this user"
		}
		fmt.Fprintf(&b, "hugetlbfs    %s: pages of %s, %s\n", m.Path, hugepages.BytesText(m.Bytes), writable)
	}
	for i := range s.Reservations {
		r := &s.Reservations[i]
		fmt.Fprintf(&b, "reserved     %v: %s, since %s (%s)\n", r, r.Life, r.Since.Format("2006-01-02 15:04:05Z"), r.ID)
	}
	for _, p := range s.Problems {
		fmt.Fprintf(&b, "\n%s: %s\n  costs: %s\n  fix:   %s\n", p.Level, p.What, p.Cost, p.Fix)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
