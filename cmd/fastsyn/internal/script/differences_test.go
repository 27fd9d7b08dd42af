package script

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// measuredKernels are the series whose answers the scripts hold. Others may
// differ in the newest rules (docs/conformance.md names some), so they are not asked.
var measuredKernels = []string{"6.18."}

// anyKernelEnv has the scripts run on other kernels as well.
const anyKernelEnv = "FASTSYN_SCRIPTS_ANY_KERNEL"

// docs/kernel-differences.md holds every difference that a script allows, and
// nothing else.
func TestDifferencesAreListed(t *testing.T) {
	golden(t, "../../../../docs/kernel-differences.md", differences(load(t)))
}

func differences(scripts []*Script) []byte {
	var b, only bytes.Buffer
	n, same, both := 0, 0, 0
	for _, s := range scripts {
		if s.Only&Kernel == 0 || s.Only&Fastsyn == 0 {
			fmt.Fprintf(&only, "| `%s` | %s | %s | %v | %s |\n", s.File, strings.Join(s.Proves, " "), s.Title, s.Only, s.OnlyWhy)
			continue
		}
		both++
		if len(s.Differs) == 0 {
			same++
		}
		n += len(s.Differs)
	}
	fmt.Fprintf(&b, `<!-- Written by TestDifferencesAreListed from cmd/fastsyn/internal/script/testdata. Do not edit:
go test ./cmd/fastsyn/internal/script -run TestDifferencesAreListed -update -->

# Where fastsyn and Linux differ

Every [segment script](scripts.md) runs against fastsyn and against the TCP of Linux (%s). Of %d scripts, %d have the same answers from
both; the other %d contain the %d differences below, each with the rule that justifies it ([conformance.md](conformance.md)) and the lines of the
script. An undeclared difference fails a test, and so does a declared one that is gone. Scripts run with both kinds of flows of fastsyn; where only
streams, or only flows that are `+"`Bare`"+`, differ from Linux, it says so.

| Rule | What happens | fastsyn | Linux | Why |
|---|---|---|---|---|
`, strings.TrimSuffix(strings.Join(measuredKernels, ", "), "."), both, same, both-same, n)
	for _, s := range scripts {
		for _, d := range s.Differs {
			fmt.Fprintf(&b, "| %s | %s (`%s:%d`) | %s | %s | %s |\n", strings.Join(d.Rules, " "), s.Title, s.File, d.Line,
				own(&d), code(d.Of(Kernel)), d.Why)
		}
	}
	if only.Len() > 0 {
		b.WriteString("\n## Run against one side only\n\n| Script | Rules | What happens | Side | Why |\n|---|---|---|---|---|\n")
		b.Write(only.Bytes())
	}
	return b.Bytes()
}

// own renders what fastsyn does, by kinds of flows where they differ.
func own(d *Difference) string {
	bare, stream, kernel := d.Of(Bare), d.Of(Stream), d.Of(Kernel)
	switch {
	case len(bare) == 0 || slices.Equal(bare, stream):
		return code(stream)
	case len(stream) == 0 || slices.Equal(stream, kernel):
		return "Bare: " + code(bare)
	case slices.Equal(bare, kernel):
		return "streams: " + code(stream)
	}
	return "Bare: " + code(bare) + "<br>streams: " + code(stream)
}

// code renders lines of a script in a table cell.
func code(lines []string) string {
	for i := range lines {
		lines[i] = "`" + strings.ReplaceAll(lines[i], "|", "\\|") + "`"
	}
	return strings.Join(lines, "<br>")
}
