package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	measure "github.com/fastsyn/fastsyn/bench"
)

// settings are flags given by a file: a YAML mapping whose keys are the names of flags. A
// value is read by the flag itself, so that a file and a command line cannot disagree; the command line wins.
type settings struct {
	file string
	keys []setting
}

// setting is one key with its values, of which only repeatable flags may have several.
type setting struct {
	key    string
	line   int // 0: unknown
	list   bool
	values []string
}

// onlyFlags are not settings of a run: they say where settings come from, or what to do instead.
var onlyFlags = []string{"config", "replay", "help"}

// fileError is a mistake in a settings file.
type fileError struct {
	file string
	line int
	text string
}

func (e *fileError) Error() string {
	if e.line > 0 {
		return e.file + ":" + strconv.Itoa(e.line) + ": " + e.text
	}
	return e.file + ": " + e.text
}

func (s *settings) errorf(line int, format string, args ...any) error {
	return &usageError{&fileError{s.file, line, fmt.Sprintf(format, args...)}}
}

// maxSettings bounds a settings file.
const maxSettings = 1 << 20

// openSettings reads the file of that name, standard input for "-".
func openSettings(flag, name string, stdin io.Reader) ([]byte, error) {
	f, err := openFile(flag, name, stdin)
	if err != nil {
		return nil, err
	}
	text, err := readUpTo(flag, name, f, maxSettings)
	return text, errors.Join(err, f.Close())
}

// openFile opens a file that a flag names, standard input for "-".
func openFile(flag, name string, stdin io.Reader) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(stdin), nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, usagef("--%s: %w", flag, err)
	}
	return f, nil
}

func readUpTo(flag, name string, r io.Reader, most int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, usagef("--%s %s: %w", flag, name, err)
	}
	if int64(len(b)) > most {
		return nil, usagef("--%s %s: longer than %d bytes: not a file of this kind", flag, name, most)
	}
	return b, nil
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// parseSettings reads YAML.
func parseSettings(file string, text []byte) (*settings, error) {
	s := &settings{file: file}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, s.errorf(0, "empty: want settings such as \"scenario: http\"")
	case err != nil:
		m := yamlLine.FindStringSubmatch(err.Error())
		line := 0
		if m != nil {
			line, _ = strconv.Atoi(m[1])
			err = errors.New(strings.TrimPrefix(err.Error(), m[0]))
		}
		return nil, s.errorf(line, "not YAML: %v", err)
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, s.errorf(more.Line, "a second document: want one set of settings in a file")
	}
	root := resolve(doc.Content[0])
	if root.Kind != yaml.MappingNode {
		return nil, s.errorf(root.Line, "want lines such as \"scenario: http\", each the name of a flag and its value")
	}
	seen := map[string]int{}
	for i := 0; i < len(root.Content); i += 2 {
		k, v := root.Content[i], resolve(root.Content[i+1])
		if k.Kind != yaml.ScalarNode {
			return nil, s.errorf(k.Line, "a key must be the name of a flag")
		}
		if first, ok := seen[k.Value]; ok {
			return nil, s.errorf(k.Line, "%s: given twice, first in line %d; leave one out", k.Value, first)
		}
		seen[k.Value] = k.Line
		one := setting{key: k.Value, line: k.Line}
		items := []*yaml.Node{v}
		if v.Kind == yaml.SequenceNode {
			one.list, items = true, v.Content
		}
		for _, item := range items {
			item = resolve(item)
			switch {
			case item.Kind != yaml.ScalarNode:
				return nil, s.errorf(item.Line, "%s: want a value or a list of values, not more structure", k.Value)
			case item.Tag == "!!null":
				return nil, s.errorf(k.Line, "%s: has no value; give one, or leave the key out", k.Value)
			}
			one.values = append(one.values, item.Value)
		}
		s.keys = append(s.keys, one)
	}
	return s, nil
}

// resolve follows an alias.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// apply sets the flags of cmd that the command line did not.
func (s *settings) apply(cmd *cobra.Command) error {
	for _, one := range s.keys {
		f := cmd.Flags().Lookup(one.key)
		if f == nil || slices.Contains(onlyFlags, one.key) {
			known := slices.DeleteFunc(flagNames(cmd), func(n string) bool { return slices.Contains(onlyFlags, n) })
			return s.errorf(one.line, "unknown key %q%s (keys are the flags of %q)", one.key, didYouMean(one.key, "", known), cmd.CommandPath()+" --help")
		}
		if f.Changed {
			continue
		}
		many, repeatable := f.Value.(pflag.SliceValue)
		switch {
		case repeatable:
			if err := many.Replace(one.values); err != nil {
				return s.errorf(one.line, "%s: %v", one.key, err)
			}
			f.Changed = true
			continue
		case one.list:
			return s.errorf(one.line, "%s: want one value, not a list", one.key)
		}
		if err := cmd.Flags().Set(one.key, one.values[0]); err != nil {
			return s.errorf(one.line, "%s %q: %s", one.key, one.values[0], cause(err))
		}
	}
	return nil
}

// cause is why a flag did not take a value, without the name and the value, which the caller knows.
func cause(err error) string {
	var bad *pflag.InvalidValueError
	if errors.As(err, &bad) {
		err = bad.Unwrap()
	}
	var num *strconv.NumError
	if errors.As(err, &num) {
		return num.Err.Error()
	}
	return err.Error()
}

var namedFlag = regexp.MustCompile(`^--([a-z0-9-]+)`)

// blame puts the place in the file before an error about a setting that came from there.
func (s *settings) blame(cmd *cobra.Command, err error) error {
	if s == nil || err == nil {
		return err
	}
	var usage *usageError
	var flag *measure.FlagError
	if !errors.As(err, &usage) && !errors.As(err, &flag) {
		return err
	}
	m := namedFlag.FindStringSubmatch(err.Error())
	if m == nil {
		return err
	}
	i := slices.IndexFunc(s.keys, func(k setting) bool { return k.key == m[1] })
	if i < 0 { // what is missing has no line, but the file is where it is missing
		if f := cmd.Flags().Lookup(m[1]); f != nil && !f.Changed {
			return s.errorf(0, "%s", err)
		}
		return err
	}
	return s.errorf(s.keys[i].line, "%s", strings.TrimPrefix(err.Error(), "--"))
}

// configured gives cmd the flag --config, a file of settings.
func configured(cmd *cobra.Command) *cobra.Command {
	file := cmd.Flags().String("config", "", "read settings from a YAML `FILE` whose keys are the names of these flags; flags given here win")
	return settled(cmd, file, func(cmd *cobra.Command) (*settings, error) {
		text, err := openSettings("config", *file, cmd.InOrStdin())
		if err != nil {
			return nil, err
		}
		return parseSettings(*file, text)
	})
}

// settled runs cmd with the settings of a file, if one is named.
func settled(cmd *cobra.Command, file *string, read func(*cobra.Command) (*settings, error)) *cobra.Command {
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *file == "" {
			return run(cmd, args)
		}
		s, err := read(cmd)
		if err != nil {
			return err
		}
		if err := s.apply(cmd); err != nil {
			return err
		}
		return s.blame(cmd, run(cmd, args))
	}
	return cmd
}

// newCheck is the command that checks files of settings for a command, of which fresh makes one with all
// its flags and what checks them.
func newCheck(parent string, fresh func() (cmd *cobra.Command, check func() error)) *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE...",
		Short: "Check files of settings without running them",
		Long: `Check files of settings for "fastsyn ` + parent + ` --config" without running them: each key must
be a flag, each value what the flag takes, and all together something that can be
run. Devices are not opened and nothing is sent.
` + exitHelp,
		Example: "  fastsyn " + parent + " check scenario.yaml",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("name the files to check, such as scenario.yaml")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var wrong error
			for _, file := range args {
				err := checkFile(cmd, file, fresh)
				if err == nil {
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: ok\n", file)
				}
				wrong = errors.Join(wrong, err)
			}
			return wrong
		},
	}
}

func checkFile(cmd *cobra.Command, file string, fresh func() (*cobra.Command, func() error)) error {
	text, err := openSettings("config", file, cmd.InOrStdin())
	if err != nil {
		return err
	}
	s, err := parseSettings(file, text)
	if err != nil {
		return err
	}
	checked, check := fresh()
	if err := s.apply(checked); err != nil {
		return err
	}
	return s.blame(checked, check())
}
