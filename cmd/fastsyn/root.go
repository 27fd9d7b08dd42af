package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	measure "github.com/fastsyn/fastsyn/bench"
	"github.com/fastsyn/fastsyn/bench/compare"
	"github.com/fastsyn/fastsyn/dataplane"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1 // the port, the peer or the machine
	exitUsage   = 2 // the command line
	exitInvalid = 3 // a report whose sums do not close
	exitFailIf  = 4 // compare: a condition of --fail-if holds
)

const exitHelp = `
Exit codes: 0 success, 1 failure, 2 wrong usage, 3 a report whose sums do not close.`

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "fastsyn",
		Short: "TCP handshakes: measure, accept, watch",
		Long: `fastsyn is a TCP endpoint in user space whose business is the handshake.

Its addresses must not be addresses of the kernel on the same link: the kernel
would reset connections that it knows nothing of.
` + exitHelp + `
Of compare also 4: a condition of --fail-if holds.`,
		Example: `  # How many handshakes per second can this machine do? No set-up, no root.
  fastsyn bench

  # Accept connections on an interface, behind SYN cookies.
  fastsyn serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :80 --cookies always

  # Watch handshakes.
  fastsyn trace --port afpacket:veth0`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(newBench(), newReport(), newCompare(), newServe(), profiled(newReflect()), newTrace(), newCookie(), newRSS(), newHugepages(), newDevices(), newDoctor(), newLab(), newVersion())
	return root
}

// usageError is a mistake on the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// errInvalid ends a command whose report says itself what is wrong.
var errInvalid = errors.New("the report is invalid")

// report prints err, if any, and returns the exit code for it.
func report(stderr io.Writer, cmd *cobra.Command, err error) int {
	if err == nil {
		return exitOK
	}
	var exit errExit
	if errors.As(err, &exit) {
		return int(exit)
	}
	_, _ = fmt.Fprintf(stderr, "%s: %v\n", cmd.CommandPath(), err)
	var usage *usageError
	var flag *measure.FlagError
	var condition *compare.ConditionError
	switch {
	case errors.As(err, &usage), errors.As(err, &flag), errors.As(err, &condition):
		_, _ = fmt.Fprintf(stderr, "See %q.\n", cmd.CommandPath()+" --help")
		return exitUsage
	case errors.Is(err, errInvalid):
		return exitInvalid
	case errors.Is(err, errFailIf):
		return exitFailIf
	}
	return exitFailure
}

// noCommand says which command an argument of the root was meant to be.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var known []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			known = append(known, c.Name())
		}
	}
	return usagef("unknown command %q%s (known: %s)", args[0], didYouMean(args[0], "", known), strings.Join(known, ", "))
}

// noArgs refuses arguments that are not flags.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		if f := cmd.Flags().Lookup("fastopen"); f != nil && f.Changed && f.NoOptDefVal == f.Value.String() {
			return usagef("unexpected argument %q: write --fastopen=%s, with an equals sign, if it is the number of flows", args[0], args[0])
		}
		var known []string
		for _, c := range cmd.Commands() {
			known = append(known, c.Name())
		}
		return usagef("unexpected argument %q%s: everything is given by flags", args[0], didYouMean(args[0], cmd.Name()+" ", known))
	}
	return nil
}

func didYouMean(word, prefix string, known []string) string {
	if near := measure.Nearest(word, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", prefix+near)
	}
	return ""
}

// flagError makes the errors of the flag parser helpful.
func flagError(cmd *cobra.Command, err error) error {
	var unknown interface{ GetSpecifiedName() string }
	text := err.Error()
	if strings.HasPrefix(text, "unknown flag") && errors.As(err, &unknown) {
		name := unknown.GetSpecifiedName()
		return usagef("unknown flag --%s%s", name, didYouMean(name, "--", flagNames(cmd)))
	}
	return &usageError{err}
}

// oneOf checks an enumerated flag.
func oneOf(flag, value string, known ...string) error {
	for _, k := range known {
		if k == value {
			return nil
		}
	}
	return usagef("--%s %q: unknown value%s (one of: %s)", flag, value, didYouMean(value, "", known), strings.Join(known, ", "))
}

// realPort refuses port strings that lead nowhere outside of this process.
func realPort(port, instead string) error {
	if port == "" {
		return usagef("--port is missing: name the interface, for example --port afpacket:veth0")
	}
	sp, err := dataplane.ParseSpec(port)
	if err != nil {
		return &usageError{err}
	}
	if dataplane.IsWire(sp) {
		return usagef("--port %s: this wire exists inside this process only, so nobody is at its other end; use an interface, such as afpacket:veth0, or %s", port, instead)
	}
	return nil
}
