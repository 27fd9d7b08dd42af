package compare

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fastsyn/fastsyn/bench"
)

// Condition is something that must not be, such as "p99>+10%".
//
//	METRIC COMPARISON THRESHOLD ["anyway"]
//
// The comparison is one of > >= < <=. A threshold with a sign is about the change from A to B: +10% of A's value, +200us, +0.1pp of
// the attempts. Without one it is about B: 2ms, 0.1% of the attempts, 5 of them. A change is held against a run only if it is
// beyond noise; with "anyway" it always is.
type Condition struct {
	Text   string
	metric string
	op     string
	change bool // of B from A
	amount float64
	unit   string
	anyway bool
}

// Verdict is what became of a Condition.
type Verdict struct {
	Condition string     `json:"condition"`
	Failed    bool       `json:"failed"` // it holds
	Why       string     `json:"why"`
	Of        Difference `json:"of"`
}

// ConditionError is a condition that cannot be.
type ConditionError struct {
	Text, Reason, Fix string
}

// Error implements error.
func (e *ConditionError) Error() string {
	return fmt.Sprintf("--fail-if %q: %s; %s", e.Text, e.Reason, e.Fix)
}

var conditionForm = regexp.MustCompile(`^\s*([A-Za-z][A-Za-z0-9_.]*)\s*(>=|<=|>|<)\s*([+-]?)\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([^\s\d]*)(\s+\S+)?\s*$`)

// nanoseconds are the units of times.
var nanoseconds = map[string]float64{"ns": 1, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9}

// ParseCondition reads a condition. Whether there is such a metric depends on the reports. Errors are *ConditionError.
func ParseCondition(s string) (Condition, error) {
	bad := func(reason, fix string) (Condition, error) { return Condition{}, &ConditionError{s, reason, fix} }
	m := conditionForm.FindStringSubmatch(s)
	if m == nil {
		return bad("want METRIC, one of > >= < <=, and a threshold", "for example p99>+10%, rate<-5% or failed>0")
	}
	c := Condition{Text: strings.TrimSpace(s), metric: m[1], op: m[2], change: m[3] != "", unit: m[5]}
	c.amount, _ = strconv.ParseFloat(m[4], 64) // its form is checked
	if m[3] == "-" {
		c.amount = -c.amount
	}
	switch word := strings.TrimSpace(m[6]); word {
	case "":
	case "anyway":
		c.anyway = true
	default:
		return bad(fmt.Sprintf("unknown word %q", word), `the only one is "anyway": whether it is noise or not`)
	}
	if _, isTime := nanoseconds[c.unit]; !isTime && !slices.Contains([]string{"", "%", "pp"}, c.unit) {
		return bad(fmt.Sprintf("unknown unit %q", c.unit), "use ns, us, ms, s, % or pp (points of a percent), or none")
	}
	if c.anyway && !c.change {
		return bad("\"anyway\" is about changes, and this is a value of B", "leave it out, or give the threshold a sign")
	}
	return c, nil
}

// judge finds out whether the condition holds.
func (c *Condition) judge(a, b Side, confidence float64) (Verdict, error) {
	all := slices.Concat(a.Reports, b.Reports)
	bad := func(reason, fix string) (Verdict, error) { return Verdict{}, &ConditionError{c.Text, reason, fix} }
	if lookup(c.metric, all) == nil {
		fix := "known are " + strings.Join(names(all[0]), ", ")
		if near := bench.Nearest(c.metric, names(all[0])); near != "" {
			fix = fmt.Sprintf("did you mean %q? (%s)", near, fix)
		}
		return bad(fmt.Sprintf("unknown metric %q", c.metric), fix)
	}
	d, ok := compare(c.metric, a, b, confidence)
	if !ok {
		return bad(fmt.Sprintf("not all reports have %q", c.metric), "use a metric of this scenario, or write the reports again with this version")
	}
	v := Verdict{Condition: c.Text, Of: d}
	got, limit, err := c.sides(&d)
	if err != "" {
		return bad(err, fmt.Sprintf("%s is in %s; write for example %s%s%s", c.metric, d.inWords(), c.metric, c.op, d.example(c.change)))
	}
	v.Failed = map[string]bool{">": got > limit, ">=": got >= limit, "<": got < limit, "<=": got <= limit}[c.op]
	v.Why = d.valueText(c)
	switch {
	case !v.Failed || !c.change || c.anyway:
	case d.Method == MethodNone:
		v.Why += ", of which nothing tells the noise"
	case !d.Significant:
		v.Failed = false
		v.Why += ", which is within noise"
	default:
		v.Why += ", beyond noise"
	}
	return v, nil
}

// sides are what is compared and with what, in the same unit; or why they cannot be.
func (c *Condition) sides(d *Difference) (got, limit float64, wrong string) {
	scale, isTime := nanoseconds[c.unit]
	switch {
	case c.unit == "%" && c.change:
		if d.Ratio != nil {
			return d.Ratio.Value, c.amount / 100, ""
		}
		if d.A.Value == 0 && d.B.Value != 0 { // any share of nothing
			return math.Inf(1), c.amount / 100, ""
		}
		if d.A.Value == 0 {
			return 0, c.amount / 100, ""
		}
		return d.B.Value/d.A.Value - 1, c.amount / 100, ""
	case d.Unit == string(share) && c.unit == "":
		if c.change {
			return float64(d.countB) - float64(d.countA), c.amount, ""
		}
		return float64(d.countB), c.amount, ""
	case d.Unit == string(share) && (c.unit == "pp") == c.change && !isTime:
		if c.change {
			return d.Change.Value, c.amount / 100, ""
		}
		return d.B.Value, c.amount / 100, ""
	case d.Unit == string(nanosecond) && isTime, d.Unit == string(perSecond) && c.unit == "":
		if !isTime {
			scale = 1
		}
		if c.change {
			return d.Change.Value, c.amount * scale, ""
		}
		return d.B.Value, c.amount * scale, ""
	}
	return 0, 0, fmt.Sprintf("the unit %q does not suit %s", c.unit, c.metric)
}

func (d *Difference) inWords() string {
	return map[unit]string{perSecond: "events per second", nanosecond: "units of time", share: "shares of the attempts"}[unit(d.Unit)]
}

func (d *Difference) example(change bool) string {
	e := map[unit][2]string{perSecond: {"100000", "+5%"}, nanosecond: {"2ms", "+10%"}, share: {"0.1%", "+0.1pp"}}[unit(d.Unit)]
	if change {
		return e[1]
	}
	return e[0]
}
