package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fastsyn/fastsyn/handshake"
)

var longFlag = regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z0-9-]+)`)

// flagNames lists the flags of a command, as its usage does.
func flagNames(cmd *cobra.Command) []string {
	var names []string
	for _, m := range longFlag.FindAllStringSubmatch(cmd.Flags().FlagUsages(), -1) {
		names = append(names, m[1])
	}
	return names
}

// optionFlags adds the switches for TCP options.
func optionFlags(cmd *cobra.Command, ts, sack, ws *bool) {
	f := cmd.Flags()
	f.BoolVar(ts, "no-timestamps", false, "leave out the timestamps option (RFC 7323)")
	f.BoolVar(sack, "no-sack", false, "leave out SACK-permitted (RFC 2018)")
	f.BoolVar(ws, "no-wscale", false, "leave out window scaling (RFC 7323)")
}

// handshakeFlags adds what else decides how a handshake goes.
func handshakeFlags(cmd *cobra.Command, retry, ecn *string) {
	f := cmd.Flags()
	f.StringVar(retry, "retry", handshake.RetryLinux.String(), "when SYNs and SYN-ACKs are sent again: "+strings.Join(handshake.RetryPresets(), ", ")+
		", or the wait after each copy, such as 1s,2s,4s")
	f.StringVar(ecn, "ecn", handshake.ECNPassive.String(), "ECN (RFC 3168): passive (when the peer asks), on (ask as well) or off")
}

// dadFlag adds the duration of duplicate address detection; given says what a
// configuration wants to hear.
func dadFlag(cmd *cobra.Command, d *time.Duration) {
	cmd.Flags().DurationVar(d, "dad", time.Second, "how long another host that has one of our addresses may say so, before they are used (0: it is not asked)")
}

func dadGiven(d time.Duration) (time.Duration, error) {
	switch {
	case d < 0:
		return 0, usagef("--dad %v: want a time, 0 for not at all", d)
	case d == 0:
		return -1, nil
	}
	return d, nil
}

// writeJSON writes v to a file, or to stdout for "-".
func writeJSON(file string, stdout io.Writer, v interface{ WriteJSON(w io.Writer) error }) error {
	return writeFile("json", file, stdout, v.WriteJSON)
}

// writeFile has write write to the file that a flag names, or to stdout for "-".
func writeFile(flag, file string, stdout io.Writer, write func(io.Writer) error) (err error) {
	if file == "-" {
		return write(stdout)
	}
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("--%s: %w", flag, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return write(f)
}

func indentJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
