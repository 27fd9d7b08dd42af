package guest

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// agent is the guest's end of the console: it reads a number and a script in
// base64 from a line, runs it, and answers with three labelled parts. Everything
// is in base64, so that no output can be mistaken for the frame around it.
const agent = `while read -r id text; do
	echo "$text" | base64 -d >"$DIR/script"
	sh "$DIR/script" >"$DIR/out" 2>"$DIR/err" </dev/null
	code=$?
	echo "$id out"; base64 "$DIR/out"
	echo "$id err"; base64 "$DIR/err"
	echo "$id code $code"
done
`

// Result is how a command in the guest ended.
type Result struct {
	Code     int // exit status as of sh(1): 128 and more is death by a signal
	Out, Err string
}

// String shows a result in a failing test.
func (r Result) String() string {
	return fmt.Sprintf("exit status %d\n--- standard output\n%s\n--- standard error\n%s", r.Code, r.Out, r.Err)
}

// console is the host's end.
type console struct {
	w     io.Writer
	lines chan string // closed at the end of the guest's output
	seq   int
}

// errEnded says that the guest is gone: it crashed, or it was ended for its time limit.
var errEnded = errors.New("the guest has ended")

var errNoAnswer = errors.New("no answer in time")

// newConsole closes r at its end.
func newConsole(w io.Writer, r io.ReadCloser) *console {
	c := &console{w: w, lines: make(chan string, 64)}
	go func() {
		defer close(c.lines)
		defer func() { _ = r.Close() }()
		br := bufio.NewReader(r)
		for {
			s, err := br.ReadString('\n')
			if err != nil {
				return
			}
			c.lines <- strings.TrimRight(s, "\r\n")
		}
	}()
	return c
}

// drain unblocks the reader when nobody asks for lines any more.
func (c *console) drain() {
	for range c.lines {
	}
}

func (c *console) line(timer <-chan time.Time) (string, error) {
	select {
	case s, ok := <-c.lines:
		if !ok {
			return "", errEnded
		}
		return s, nil
	case <-timer:
		return "", errNoAnswer
	}
}

// greeting is the agent's first line when it is ready.
const greeting = "ready"

// greeted waits for it, and takes what begins with "error: " as an error.
func (c *console) greeted(limit time.Duration) error {
	t := time.NewTimer(limit)
	defer t.Stop()
	for {
		s, err := c.line(t.C)
		if err != nil {
			return fmt.Errorf("waiting for %q: %w", greeting, err)
		}
		if why, bad := strings.CutPrefix(s, "error: "); bad {
			return errors.New(why)
		}
		if s == greeting {
			return nil
		}
	}
}

// run runs a script of sh and waits for its end.
func (c *console) run(script string, limit time.Duration) (r Result, err error) {
	c.seq++
	id := strconv.Itoa(c.seq)
	if _, err := fmt.Fprintf(c.w, "%s %s\n", id, base64.StdEncoding.EncodeToString([]byte(script))); err != nil {
		return r, fmt.Errorf("%w: %w", errEnded, err)
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	var part *strings.Builder
	var out, errs strings.Builder
	for {
		s, err := c.line(t.C)
		if err != nil {
			return r, err
		}
		label, ours := strings.CutPrefix(s, id+" ")
		code, last := strings.CutPrefix(label, "code ")
		switch {
		case ours && label == "out":
			part = &out
		case ours && label == "err":
			part = &errs
		case ours && last:
			if r.Code, err = strconv.Atoi(code); err != nil {
				return r, fmt.Errorf("line %q: %w", s, err)
			}
			if r.Out, err = decode(&out); err != nil {
				return r, err
			}
			r.Err, err = decode(&errs)
			return r, err
		case part == nil:
			return r, fmt.Errorf("line %q out of turn", s)
		default:
			part.WriteString(s)
		}
	}
}

func decode(b *strings.Builder) (string, error) {
	p, err := base64.StdEncoding.DecodeString(b.String())
	if err != nil {
		return "", fmt.Errorf("an answer of the guest is damaged: %w", err)
	}
	return string(p), nil
}

// quote makes a word of sh.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
