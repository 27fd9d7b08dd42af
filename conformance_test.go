package fastsyn_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite docs/conformance.md")

const (
	rulesFile       = "docs/conformance.tsv" // written by hand
	conformanceFile = "docs/conformance.md"  // written by TestConformance

	// todoAllowed says whether a rule may lack both a test and a reason.
	todoAllowed = false
)

// section is a group of rules, and specRule one of them: a line of rulesFile.
type section struct {
	name, title string
	rules       []specRule
}

// specRule is a testable statement about what goes over the wire.
type specRule struct {
	id, tier, text, source, kinds string

	// status is "n/a" for a rule that does not apply, "open" for one that comes
	// with a later part of the project, and empty for one that a test holds. The
	// first two say why; an open rule may have tests for what there is already, and
	// a rule that is held may have a remark.
	status, why string
}

// readRules parses rulesFile: "## SECTION title" and tab-separated columns.
func readRules(t *testing.T, text string) (sections []section) {
	t.Helper()
	seen := map[string]bool{}
	for i, line := range strings.Split(text, "\n") {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			name, title, _ := strings.Cut(title, " ")
			sections = append(sections, section{name: name, title: title})
			continue
		}
		if line == "" || line[0] == '#' {
			continue
		}
		c := append(strings.Split(line, "\t"), "", "")
		require.GreaterOrEqual(t, len(c), 7, "%s:%d: wants id, tier, requirement, source, kinds, and maybe status and why, with tabs between", rulesFile, i+1)
		r := specRule{c[0], c[1], c[2], c[3], c[4], c[5], c[6]}
		require.NotEmpty(t, sections, "%s:%d: a rule before the first section", rulesFile, i+1)
		s := &sections[len(sections)-1]
		require.Regexp(t, `^`+s.name+`-\d{3}$`, r.id, "%s:%d", rulesFile, i+1)
		require.False(t, seen[r.id], "%s:%d: %s is there twice", rulesFile, i+1, r.id)
		require.Contains(t, []string{"1", "2"}, r.tier, "%s:%d", rulesFile, i+1)
		require.Contains(t, []string{"", "n/a", "open"}, r.status, "%s:%d: %s", rulesFile, i+1, r.id)
		require.False(t, r.status != "" && r.why == "", "%s:%d: %s: n/a and open want a reason", rulesFile, i+1, r.id)
		seen[r.id] = true
		s.rules = append(s.rules, r)
	}
	return sections
}

const conformanceHead = `<!-- Written by TestConformance from conformance.tsv and the names of the tests. Do not edit: go test -run TestConformance -update . -->

# Conformance

What fastsyn promises about the wire, one testable statement a row, and the tests that hold it. A test belongs to a row if its name has the ID, or the
name of one of its subtests begins with it, and a segment script if it says so. [testing.md](testing.md#how-tests-are-written) says how to add one.

**Segments:** S SYN, SA SYN+ACK, A ACK, R RST, RA RST+ACK, F FIN, FA FIN+ACK, PA data+ACK; seq, ack and win are fields of the segment, capitals are the
state variables of RFC 9293. Silent: no frame out, no change of state, one counter up. ° marks a row of the second tier.

**Source:** 9293§3.1 is an RFC and its section; L f() a function of Linux 6.12; M was measured by injecting segments into a live
Linux 6.18 kernel with default sysctls unless named; PROJ is a requirement of this project. Where RFC and Linux differ, the row
names the winner after →. §VEC stands for vectors, which are in the tests.

**Kind of test:** U unit, C crafted segments into one endpoint, P two endpoints under a virtual clock with loss and reordering, K a
kernel as the peer, in a network namespace.

| Default | Value | From |
|---|---|---|
| initial RTO / min / max | 1 s / 200 ms (RFC: 1 s) / 120 s | 6298§2, L TCP_RTO_MIN |
| SYN retries / SYN-ACK retries | 6 / 5 | tcp_syn_retries, tcp_synack_retries |
| linear SYN timeouts | 0 (Linux since 6.5: 4) | tcp_syn_linear_timeouts |
| RTO after a handshake without RTT sample | 3 s | 6298§5.7 |
| spacing of duplicate and challenge ACKs of a connection | 500 ms | tcp_invalid_ratelimit |
| TIME-WAIT, FIN-WAIT-2 without owner | 60 s, 60 s | TCP_TIMEWAIT_LEN, tcp_fin_timeout |
| cookie epoch / accepted epochs | 60 s / 2 | L TCP_SYNCOOKIE_PERIOD, MAX_SYNCOOKIE_AGE |
| timestamp tick, ISN tick | 1 ms, 64 ns (RFC: 4 µs) | L seq_scale() M |
| delayed ACK, initial window, least send MSS, largest shift | ≤40–200 ms, 10 segments, 48, 14 | L, 6928, 7323 |

`

// conformance renders the table and returns the rules that have neither a test
// nor a reason for having none.
func conformance(sections []section, named map[string][]string) (text string, todo []string) {
	var body strings.Builder
	count := map[string]int{}
	for _, s := range sections {
		fmt.Fprintf(&body, "## %s: %s\n\n| ID | Statement | Source | Kind | Tests | Status |\n|---|---|---|---|---|---|\n", s.name, s.title)
		for _, r := range s.rules {
			status, tests := "done", named[r.id]
			switch {
			case r.status == "n/a":
				status = "not applicable"
			case r.status != "":
				status = r.status
			case len(tests) == 0:
				status = "todo"
				todo = append(todo, r.id)
			}
			count[status]++
			if r.why != "" {
				status += ": " + r.why
			}
			id := r.id
			if r.tier == "2" {
				id += "°"
			}
			fmt.Fprintf(&body, "| %s | %s | %s | %s | %s | %s |\n", id, r.text, r.source, r.kinds, strings.Join(tests, "<br>"), status)
		}
		body.WriteByte('\n')
	}
	var sum []string
	for _, status := range []string{"done", "not applicable", "open", "todo"} {
		if n := count[status]; n > 0 {
			sum = append(sum, fmt.Sprintf("%d %s", n, status))
		}
	}
	return conformanceHead + strings.Join(sum, ", ") + ".\n\n" + strings.TrimRight(body.String(), "\n") + "\n", todo
}

// Every rule has a test that names it, or a reason for having none, and what a
// test names is a rule.
func TestConformance(t *testing.T) {
	in, err := os.ReadFile(rulesFile)
	require.NoError(t, err)
	sections := readRules(t, string(in))
	named := namedRules(t, ".")

	known, prefix := map[string]specRule{}, map[string]bool{}
	for _, s := range sections {
		prefix[s.name] = true
		for _, r := range s.rules {
			known[r.id] = r
		}
	}
	for _, id := range slices.Sorted(maps.Keys(named)) {
		r, ok := known[id]
		name, _, _ := strings.Cut(id, "-")
		asTest := func(test string) bool { return strings.Contains(test, name+"_") || strings.HasPrefix(test, "script ") }
		switch {
		case !prefix[name] && !slices.ContainsFunc(named[id], asTest): // a string that only looks like a rule
		case !ok:
			t.Errorf("%v: there is no rule %s in %s", named[id], id, rulesFile)
		case r.status == "n/a":
			t.Errorf("%v: tests %s, which does not apply says %s: %s", named[id], id, rulesFile, r.why)
		}
	}

	text, todo := conformance(sections, named)
	if len(todo) > 0 {
		msg := fmt.Sprintf("%d of %d rules have neither a test that names them nor a status in %s: %s", len(todo), len(known), rulesFile, strings.Join(todo, " "))
		require.True(t, todoAllowed, msg)
		t.Log(msg)
	}
	if *update {
		require.NoError(t, os.WriteFile(conformanceFile, []byte(text), 0o644))
		return
	}
	have, err := os.ReadFile(conformanceFile)
	require.NoError(t, err)
	require.True(t, string(have) == text, "%s is stale: go test -run TestConformance -update .", conformanceFile)
}

func TestConformanceNotices(t *testing.T) {
	sections := readRules(t, "# x\n## VAL a title\nVAL-001\t1\ta\tb\tU\nVAL-002\t2\ta\tb\tU\tn/a\tno such thing\nVAL-003\t1\ta\tb\tU\nVAL-004\t1\ta\tb\tU\topen\tlater\n")
	text, todo := conformance(sections, map[string][]string{"VAL-001": {"x.TestA", "x.TestB"}, "VAL-004": {"x.TestC"}})
	require.Equal(t, []string{"VAL-003"}, todo)
	for _, want := range []string{
		"\n1 done, 1 not applicable, 1 open, 1 todo.\n",
		"\n| VAL-001 | a | b | U | x.TestA<br>x.TestB | done |\n",
		"\n| VAL-002° | a | b | U |  | not applicable: no such thing |\n",
		"\n| VAL-003 | a | b | U |  | todo |\n",
		"\n| VAL-004 | a | b | U | x.TestC | open: later |\n",
	} {
		require.Contains(t, text, want)
	}
}
