package script

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// step reads a line of the body.
func (p *parser) step(side Side, line string) error {
	st := Step{Line: p.line, Text: line, Side: side}
	word, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	var err error
	switch word {
	case "-->":
		st.Op = OpInject
		if kind, fields, _ := strings.Cut(rest, " "); kind == "icmp" {
			st.Op = OpICMP
			st.Word, fields, _ = strings.Cut(strings.TrimSpace(fields), " ")
			if _, ok := icmpKinds[st.Word]; !ok {
				return fmt.Errorf("icmp %q: want one of: %s", st.Word, icmpNames())
			}
			err = st.Seg.fields(strings.Fields(fields), false)
			break
		}
		err = st.Seg.parse(rest, false)
	case "<--":
		st.Op = OpExpect
		err = st.Seg.parse(rest, true)
	case "wait":
		st.Op = OpPass
		st.D, err = time.ParseDuration(rest)
		if err != nil || st.D <= 0 || st.D > 24*time.Hour {
			return fmt.Errorf("wait %q: want a duration such as 1100ms, up to 24h", rest)
		}
	default:
		err = st.action(word, rest)
	}
	if err != nil {
		return err
	}
	p.s.Steps = append(p.s.Steps, st)
	return nil
}

// actions are the steps that are words, and what follows them.
var actions = map[string]struct {
	op    Op
	takes byte // 0: nothing, 'n': a number, 'p': a port, 'w': one of words
	words []string
}{
	"silence":    {op: OpSilence},
	"space":      {op: OpSpace},
	"listen":     {op: OpListen, takes: 'p'},
	"unlisten":   {op: OpUnlisten, takes: 'p'},
	"connect":    {op: OpConnect},
	"accept":     {op: OpAccept},
	"no-accept":  {op: OpNoAccept},
	"connected":  {op: OpConnected},
	"connecting": {op: OpConnecting},
	"open":       {op: OpOpen},
	"error":      {op: OpError, takes: 'w', words: []string{ErrRefused, ErrReset, ErrTimedOut, ErrUnreachable}},
	"send":       {op: OpSend, takes: 'n'},
	"read":       {op: OpRead, takes: 'n'},
	"eof":        {op: OpEOF},
	"close":      {op: OpClose},
	"abort":      {op: OpAbort},
	"shutdown":   {op: OpShutdown},
	"state":      {op: OpState, takes: 'w', words: States},
	"half-open":  {op: OpHalfOpen, takes: 'n'},
	"hold":       {op: OpHold},
	"keep-alive": {op: OpKeepAlive},
	"nagle":      {op: OpNagle},

	"user-timeout": {op: OpUserTimeout, takes: 'n'},
	"outcome":      {op: OpOutcome, takes: 'o'},
}

var outcomeName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func (st *Step) action(word, rest string) error {
	a, ok := actions[word]
	if !ok {
		return fmt.Errorf("unknown step %q; want -->, <--, wait or one of: %s", word, actionNames())
	}
	st.Op = a.op
	switch a.takes {
	case 0:
		if rest != "" {
			return fmt.Errorf("%s takes nothing behind it; drop %q", word, rest)
		}
	case 'w':
		st.Word = rest
		if !slices.Contains(a.words, rest) {
			return fmt.Errorf("%s %q: want one of: %s", word, rest, strings.Join(a.words, " "))
		}
	case 'o':
		st.Word = rest
		if !outcomeName.MatchString(rest) {
			return fmt.Errorf("outcome %q: want the name of a counter, such as answered_challenge", rest)
		}
	default:
		lo, hi := 0, 65535
		if a.takes == 'p' {
			lo = 1
			if rest == "" {
				rest = strconv.Itoa(EndpointPort)
			}
		}
		n, err := strconv.Atoi(rest)
		if err != nil || n < lo || n > hi {
			return fmt.Errorf("%s %q: want a number from %d to %d", word, rest, lo, hi)
		}
		st.N = n
	}
	return nil
}

func actionNames() string {
	var names []string
	for n := range actions {
		names = append(names, n)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}
