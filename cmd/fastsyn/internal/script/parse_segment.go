package script

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// flagLetters are the control bits as scripts write them.
var flagLetters = []struct {
	letter byte
	flag   wire.Flags
}{
	{'S', wire.FlagSYN},
	{'F', wire.FlagFIN},
	{'R', wire.FlagRST},
	{'P', wire.FlagPSH},
	{'A', wire.FlagACK},
	{'U', wire.FlagURG},
	{'E', wire.FlagECE},
	{'C', wire.FlagCWR},
	{'N', wire.FlagAE},
}

func flagString(f wire.Flags) string {
	var b []byte
	for _, l := range flagLetters {
		if f&l.flag != 0 {
			b = append(b, l.letter)
		}
	}
	if len(b) == 0 {
		return "."
	}
	return string(b)
}

func parseFlags(text string) (f wire.Flags, err error) {
	if text == "." {
		return 0, nil
	}
next:
	for i := range len(text) {
		for _, l := range flagLetters {
			if text[i] == l.letter && f&l.flag == 0 {
				f |= l.flag
				continue next
			}
		}
		return 0, fmt.Errorf("flags %q: want letters of SFRPAUECN, each once, or \".\" for none", text)
	}
	if f == 0 {
		return 0, errors.New("no flags; want letters of SFRPAUECN, or \".\" for none")
	}
	return f, nil
}

// parse reads flags and fields.
func (s *Segment) parse(text string, await bool) (err error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return errors.New("no segment; want flags and fields, such as \"SA seq=0 ack=1\"")
	}
	flags := words[0]
	if await {
		flags = strings.Replace(flags, "p", "", 1)
		s.Push = flags != words[0]
	}
	if s.Flags, err = parseFlags(flags); err != nil {
		return err
	}
	if err := s.fields(words[1:], await); err != nil {
		return err
	}
	_, seq := s.find("seq")
	_, ack := s.find("ack")
	switch {
	case !seq && (await || s.Flags&wire.FlagSYN == 0):
		return errors.New("no seq=; only a SYN to send has one of its own (0)")
	case ack != (s.Flags&wire.FlagACK != 0) && (await || !ack):
		return errors.New("ack= and the flag A belong together")
	}
	return nil
}

func (s *Segment) fields(words []string, await bool) error {
	for _, w := range words {
		f, err := parseField(w, await)
		if err != nil {
			return err
		}
		if _, twice := s.find(f.Name); twice && (await || !repeatable(f.Name)) {
			return fmt.Errorf("%s= twice; only options to send may be repeated", f.Name)
		}
		s.Fields = append(s.Fields, f)
	}
	return nil
}

// repeatable reports whether a field is an option, which a segment may carry twice.
func repeatable(name string) bool {
	switch name {
	case "mss", "ws", "sack", "ts", "nop", "eol", "opt", "tfo":
		return true
	}
	return false
}
