package page

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/fastsyn/fastsyn/bench"
)

// Bounds of a page. A report is untrusted, and a long run has thousands of intervals.
const (
	maxText    = 400 // characters of a text of the report
	maxColumns = 240 // of a plot over time
	maxRows    = 400 // of a table
	maxSamples = 8
	maxSteps   = 40 // segments of a ladder
)

// clip makes a text of the report fit to be shown: not too long, and without
// characters that are invisible or turn the direction of others. Escaping is the
// template's business.
func clip(s string) string {
	// At most four bytes a rune: the rest of a very long text is not looked at.
	if len(s) > 4*maxText {
		s = s[:4*maxText] + "…"
	}
	s = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if hidden(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
	if r := []rune(s); len(r) > maxText {
		s = string(r[:maxText]) + "…"
	}
	return s
}

// hidden reports whether a character is none that one sees.
func hidden(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp)
}

// head returns the first n of list, and how many are left out.
func head[T any](list []T, n int) ([]T, int) {
	if len(list) <= n {
		return list, 0
	}
	return list[:n], len(list) - n
}

func count(n uint64) string { return bench.FormatCount(n) }

func signed(n int64) string {
	if n < 0 {
		return "−" + count(-uint64(n))
	}
	return count(uint64(n))
}

// number prints a rate. A hand-made report may hold any number.
func number(f float64) string {
	switch {
	case f < 0:
		return "−" + number(-f)
	case f >= 1e18:
		return strconv.FormatFloat(f, 'g', 3, 64)
	}
	return bench.FormatRate(f)
}

func duration(ns int64) string {
	if ns < 0 {
		return "−" + duration(-max(ns, -math.MaxInt64))
	}
	return bench.FormatDuration(time.Duration(ns))
}

// tickSeconds prints seconds of an axis, without the noise of binary fractions.
func tickSeconds(s float64) string { return strconv.FormatFloat(s, 'g', 6, 64) + "s" }

// tickDuration prints a round number of nanoseconds: 1µs, 200ms, 50s.
func tickDuration(ns float64) string {
	units := []string{"ns", "µs", "ms", "s"}
	i := 0
	for ns >= 1000 && i < len(units)-1 {
		ns /= 1000
		i++
	}
	return strconv.FormatFloat(ns, 'g', 4, 64) + units[i]
}

// short prints a round number: 4M, 500k.
func short(f float64) string {
	units := []string{"", "k", "M", "G", "T"}
	i := 0
	for math.Abs(f) >= 1000 && i < len(units)-1 {
		f /= 1000
		i++
	}
	return strconv.FormatFloat(f, 'g', 4, 64) + units[i]
}

// share prints part of all in percent, with as many digits as tell it from none and from all.
func share(part, all uint64) string {
	switch {
	case all == 0:
		return "–"
	case part == 0:
		return "0 %"
	case part >= all:
		return "100 %"
	}
	return percent(float64(part) / float64(all))
}

// percent prints a fraction in percent.
func percent(f float64) string {
	p := 100 * f
	switch {
	case p == 0 || p >= 100:
		return strconv.FormatFloat(p, 'f', 0, 64) + " %"
	case p > 90:
		// 99.97 %: as many nines as there are, and a digit more.
		digits := max(1, int(math.Ceil(-math.Log10(1-f)-1e-9))-2)
		if digits > 6 {
			return "> 99.999999 %"
		}
		return strconv.FormatFloat(p, 'f', digits, 64) + " %"
	case p < 0.001:
		return "< 0.001 %"
	}
	return strconv.FormatFloat(p, 'g', 3, 64) + " %"
}

// at prints a fraction as a coordinate in percent of the plot.
func at(f float64) string {
	return trim(100*clamp(f), 2) + "%"
}

// coord prints a fraction as a coordinate of a stretched drawing, which is 1000 wide and high.
func coord(f float64) string { return trim(1000*clamp(f), 1) }

func clamp(f float64) float64 {
	if !(f > 0) { // NaN too
		return 0
	}
	return min(f, 1)
}

func trim(f float64, digits int) string {
	s := strconv.FormatFloat(f, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return count(uint64(max(0, n))) + " " + what + "s"
}
