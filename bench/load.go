package bench

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bounds of a load.
const (
	maxStageTime = 24 * time.Hour
	maxPieces    = 1 << 16
	sinePieces   = 64 // of a period: the rate is off by 0.12 % of the amplitude at most, the opens of a period by nothing
)

// stageForm is one kind of stage: how it is written, and what it adds to a schedule.
type stageForm struct {
	name, form, example string
	add                 func(s *schedule, args string) error
}

// stageForms are all of them, but for the rate alone. docs/load.md describes them.
var stageForms = []stageForm{
	{"const", "const:RATE/TIME", "const:10k/30s", addConst},
	{"ramp", "ramp:FROM..TO/TIME", "ramp:1k..50k/30s", addRamp},
	{"step", "step:FROM+MORE/TIME*COUNT", "step:10k+10k/5s*6", addStep},
	{"spike", "spike:BASE^PEAK@TIME/LENGTH", "spike:1k^50k@5s/1s", addSpike},
	{"sine", "sine:LOW..HIGH/PERIOD*COUNT", "sine:1k..5k/10s*3", addSine},
	{"hold", "hold:TIME", "hold:10s", addHold},
}

// LoadForms are the kinds of stages of a load, for people.
func LoadForms() []string {
	var out []string
	for _, f := range stageForms {
		out = append(out, f.form)
	}
	return out
}

// parseLoad reads a load: stages with commas between them. Errors are FlagErrors.
func parseLoad(text string) (*schedule, error) {
	s := &schedule{text: text}
	for i, stage := range strings.Split(text, ",") {
		stage = strings.TrimSpace(stage)
		f, args, err := formOf(stage)
		switch {
		case err != nil:
		case len(s.pieces) > 0 && math.IsInf(s.end().to, 1):
			err = fmt.Errorf("it never begins, as the stage before it has no end")
			f = stageForms[0]
		default:
			err = f.add(s, args)
		}
		if err != nil {
			fix := "write " + f.form + ", such as " + f.example
			if f.name == "" {
				fix = "the kinds of stages are " + strings.Join(LoadForms(), ", ")
			}
			return nil, flagError("load", stage, fmt.Sprintf("stage %d: %v", i+1, err), fix)
		}
		if len(s.pieces) > maxPieces {
			return nil, flagError("load", stage, fmt.Sprintf("stage %d: more than %d pieces in all", i+1, maxPieces), "repeat less often")
		}
	}
	if s.end().last == 0 {
		return nil, flagError("load", text, "the rate is 0 all the time", "give a stage a rate, such as ramp:0..10k/30s")
	}
	return s, nil
}

// formOf finds the kind of a stage. A rate alone, with or without a time, is constant.
func formOf(stage string) (f stageForm, args string, err error) {
	name, args, given := strings.Cut(stage, ":")
	if !given && name != "hold" {
		f = stageForms[0]
		rate, _, _ := strings.Cut(stage, "/")
		if _, e := parseRate(rate); e == nil {
			return f, stage, nil
		}
	}
	var names []string
	for _, f := range stageForms {
		if f.name == name {
			return f, args, nil
		}
		names = append(names, f.name)
	}
	if near := Nearest(name, names); near != "" {
		return stageForm{}, "", fmt.Errorf("unknown kind %q: did you mean %q?", name, near)
	}
	return stageForm{}, "", fmt.Errorf("unknown kind %q", name)
}

func addConst(s *schedule, args string) error {
	rate, length, bounded := strings.Cut(args, "/")
	r, err := parseRate(rate)
	if err != nil {
		return err
	}
	ns := math.Inf(1)
	if bounded {
		ns, err = parseTime(length)
	}
	if err == nil {
		s.add(r, r, ns)
	}
	return err
}

func addRamp(s *schedule, args string) error {
	rates, length, _ := strings.Cut(args, "/")
	from, to, err := parseRates(rates)
	if err != nil {
		return err
	}
	ns, err := parseTime(length)
	if err == nil {
		s.add(from, to, ns)
	}
	return err
}

func addStep(s *schedule, args string) error {
	args, n, err := cutCount(args)
	if err != nil {
		return err
	}
	rates, length, _ := strings.Cut(args, "/")
	from, more, found := strings.Cut(rates, "+")
	sign := 1.0
	if !found {
		from, more, found = strings.Cut(rates, "-")
		sign = -1
	}
	if !found {
		return fmt.Errorf("no + or - between the first rate and the height of a step in %q", rates)
	}
	rate, err := parseRate(from)
	if err != nil {
		return err
	}
	height, err := parseRate(more)
	if err != nil {
		return err
	}
	ns, err := parseTime(length)
	if err != nil {
		return err
	}
	if last := rate + sign*height*float64(n-1); last < 0 || last > maxRate {
		return fmt.Errorf("the last step has a rate of %s: want 0 to 1e9 per second", strconv.FormatFloat(last, 'g', -1, 64))
	}
	for i := range n {
		r := rate + sign*height*float64(i)
		s.add(r, r, ns)
	}
	return nil
}

func addSpike(s *schedule, args string) error {
	args, n, err := cutCount(args)
	if err != nil {
		return err
	}
	rates, times, _ := strings.Cut(args, "@")
	low, high, found := strings.Cut(rates, "^")
	if !found {
		return fmt.Errorf("no ^ between base and peak in %q", rates)
	}
	base, err := parseRate(low)
	if err != nil {
		return err
	}
	peak, err := parseRate(high)
	if err != nil {
		return err
	}
	at, length, _ := strings.Cut(times, "/")
	before, err := parseTime(at)
	if err != nil {
		return err
	}
	width, err := parseTime(length)
	if err != nil {
		return err
	}
	for range n {
		s.add(base, base, before)
		s.add(peak, peak, width)
		s.add(base, base, before)
	}
	return nil
}

// addSine approximates the rate by chords; it begins and ends at the low rate.
func addSine(s *schedule, args string) error {
	args, n, err := cutCount(args)
	if err != nil {
		return err
	}
	rates, period, _ := strings.Cut(args, "/")
	low, high, err := parseRates(rates)
	if err != nil {
		return err
	}
	ns, err := parseTime(period)
	if err != nil {
		return err
	}
	if n*sinePieces > maxPieces {
		return fmt.Errorf("%d periods: want at most %d", n, maxPieces/sinePieces)
	}
	at := func(i int) float64 {
		return max(0, (low+high)/2-(high-low)/2*math.Cos(2*math.Pi*float64(i)/sinePieces))
	}
	for i := range n * sinePieces {
		s.add(at(i), at(i+1), ns/sinePieces)
	}
	return nil
}

func addHold(s *schedule, args string) error {
	if len(s.pieces) == 0 {
		return fmt.Errorf("no stage before it has a rate to hold")
	}
	last := s.end()
	rate := last.rate
	if last.slope != 0 {
		rate = max(0, rate+last.slope*(last.to-last.from))
	}
	ns := math.Inf(1)
	var err error
	if args != "" {
		ns, err = parseTime(args)
	}
	if err == nil {
		s.add(rate*1e9, rate*1e9, ns)
	}
	return err
}

// cutCount takes a *COUNT off the end; without one it is 1.
func cutCount(args string) (rest string, n int, err error) {
	rest, count, found := strings.Cut(args, "*")
	if !found {
		return rest, 1, nil
	}
	n, err = strconv.Atoi(count)
	if err != nil || n < 1 || n > maxPieces {
		return rest, 0, fmt.Errorf("%q is no count: want 1 to %d after *", count, maxPieces)
	}
	return rest, n, nil
}

func parseRates(text string) (from, to float64, err error) {
	a, b, found := strings.Cut(text, "..")
	if !found {
		return 0, 0, fmt.Errorf("no .. between two rates in %q", text)
	}
	if from, err = parseRate(a); err == nil {
		to, err = parseRate(b)
	}
	return from, to, err
}

// parseRate reads a rate per second such as 500, 2.5k or 1M.
func parseRate(text string) (float64, error) {
	number, unit := text, 1.0
	if n := len(text); n > 0 {
		switch text[n-1] {
		case 'k', 'K':
			number, unit = text[:n-1], 1e3
		case 'M':
			number, unit = text[:n-1], 1e6
		case 'G':
			number, unit = text[:n-1], 1e9
		}
	}
	f, err := strconv.ParseFloat(number, 64)
	if text == "" {
		return 0, fmt.Errorf("a rate is missing")
	}
	if err != nil || math.IsNaN(f) || f < 0 || f*unit > maxRate {
		return 0, fmt.Errorf("%q is no rate: want 0 to 1e9 per second, such as 500, 2.5k or 1M", text)
	}
	return f * unit, nil
}

// parseTime reads the length of a stage, in ns.
func parseTime(text string) (float64, error) {
	if text == "" {
		return 0, fmt.Errorf("it has no time")
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > maxStageTime {
		return 0, fmt.Errorf("%q is no time: want more than 0, to 24h, such as 500ms or 30s", text)
	}
	return float64(d), nil
}
