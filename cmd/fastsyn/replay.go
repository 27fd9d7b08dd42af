package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	measure "github.com/fastsyn/fastsyn/bench"
)

// maxReport bounds a report that is read.
const maxReport = 1 << 30

// replayed gives cmd the flag --replay: the settings of a report.
func replayed(cmd *cobra.Command) *cobra.Command {
	file := cmd.Flags().String("replay", "", "run what a report (`FILE`, JSON) was made with: the settings and the seed; flags given here win")
	return settled(cmd, file, func(cmd *cobra.Command) (*settings, error) {
		if cmd.Flags().Changed("config") {
			return nil, usagef("--replay and --config: give one of them; flags change single settings of either")
		}
		return reportSettings(*file, cmd)
	})
}

// reportSettings are those that the report in a file was made with.
func reportSettings(file string, cmd *cobra.Command) (*settings, error) {
	text, err := openReport(file, cmd)
	if err != nil {
		return nil, err
	}
	s := &settings{file: file}
	var r struct {
		Schema string
		Config map[string]any
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // a seed has 53 bits, a count 64
	if err := d.Decode(&r); err != nil {
		return nil, s.errorf(0, "not a report: %v", err)
	}
	if r.Schema != measure.Schema {
		return nil, s.errorf(0, "schema %q: want %s, which \"fastsyn bench --json\" writes", r.Schema, measure.Schema)
	}
	if len(r.Config) == 0 {
		return nil, s.errorf(0, "has no config: it was written by a version that did not keep it")
	}
	for _, key := range slices.Sorted(maps.Keys(r.Config)) {
		one := setting{key: key}
		items := []any{r.Config[key]}
		if list, ok := r.Config[key].([]any); ok {
			one.list, items = true, list
		}
		for _, v := range items {
			switch v.(type) {
			case string, bool, json.Number:
				one.values = append(one.values, fmt.Sprint(v))
			default:
				return nil, s.errorf(0, "config: %s: want a value or a list of them", key)
			}
		}
		s.keys = append(s.keys, one)
	}
	return s, nil
}

func openReport(file string, cmd *cobra.Command) ([]byte, error) {
	f, err := openFile("replay", file, cmd.InOrStdin())
	if err != nil {
		return nil, err
	}
	text, err := readUpTo("replay", file, f, maxReport)
	return text, errors.Join(err, f.Close())
}
