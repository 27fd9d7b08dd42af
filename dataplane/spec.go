package dataplane

import (
	"fmt"
	"strings"
)

// maxSpec bounds the length of a port string in bytes.
const maxSpec = 4096

// Param is one key=value of a port string. Value is unescaped.
type Param struct{ Key, Value string }

// Decoration is one "name(key=value,…)" in front of a driver.
type Decoration struct {
	Name   string
	Params []Param
}

// Spec is a parsed port string:
//
//	spec      = *( name "(" [ param *( "," param ) ] ")" ":" ) driver ":" target [ "?" param *( "&" param ) ]
//	param     = key "=" value
//
// Driver and decorator names are a-z, 0-9, "_" and "-"; keys also take capitals
// and ".". The target ends at the first "?", so colons, commas, equals signs and
// parentheses are plain there. A backslash makes the next byte plain anywhere in
// a target or a value ("\?", "\&", "\,", "\)", "\\").
type Spec struct {
	Decorators []Decoration // outermost first, as written
	Driver     string
	Target     string
	Params     []Param // in the order written, keys are unique
}

// ParseSpec splits a port string. It checks the shape only; whether the driver,
// the decorators and their parameters exist is for Open to say.
func ParseSpec(s string) (Spec, error) {
	var sp Spec
	if len(s) > maxSpec {
		return sp, fmt.Errorf("dataplane: port string is %d bytes long, at most %d are taken", len(s), maxSpec)
	}
	rest := s
	for {
		n := 0
		for n < len(rest) && isNameByte(rest[n]) {
			n++
		}
		name := rest[:n]
		switch {
		case n == 0:
			return sp, specError(s, len(s)-len(rest), "a driver or decorator name is missing")
		case n == len(rest):
			return sp, specError(s, len(s), fmt.Sprintf("%q lacks the colon after the driver name; write %q", name, s+":"))
		case rest[n] == ':':
			sp.Driver = name
			return sp, sp.parseTarget(s, len(s)-len(rest)+n+1)
		case rest[n] != '(':
			return sp, specError(s, len(s)-len(rest)+n, fmt.Sprintf("%q cannot be part of a driver or decorator name", rest[n:n+1]))
		}
		open := len(s) - len(rest) + n
		end := indexPlain(s, open+1, ')')
		if end < 0 {
			return sp, specError(s, open, fmt.Sprintf("the parenthesis of %s( is not closed", name))
		}
		ps, err := parseParams(s, open+1, end, ',')
		if err != nil {
			return sp, err
		}
		sp.Decorators = append(sp.Decorators, Decoration{name, ps})
		if end+1 == len(s) || s[end+1] != ':' {
			return sp, specError(s, end+1, fmt.Sprintf("%s(…) must be followed by a colon and the port it decorates", name))
		}
		rest = s[end+2:]
	}
}

// parseTarget reads "target?params", which starts at byte at of the port string s.
func (sp *Spec) parseTarget(s string, at int) (err error) {
	end := indexPlain(s, at, '?')
	if end < 0 {
		sp.Target, err = unescape(s, at, len(s))
		return err
	}
	if sp.Target, err = unescape(s, at, end); err != nil {
		return err
	}
	sp.Params, err = parseParams(s, end+1, len(s), '&')
	return err
}

// parseParams reads key=value pairs from s[from:to]; an empty range is no parameters.
func parseParams(s string, from, to int, sep byte) ([]Param, error) {
	if from == to {
		return nil, nil
	}
	var ps []Param
	for at := from; ; {
		for at < to && s[at] == ' ' { // people write a space after the comma
			at++
		}
		end := indexPlain(s[:to], at, sep)
		if end < 0 {
			end = to
		}
		k := at
		for k < end && isKeyByte(s[k]) {
			k++
		}
		switch {
		case at == end:
			return nil, specError(s, at, "a key=value parameter is missing")
		case k == end:
			return nil, specError(s, at, fmt.Sprintf("parameter %q has no value; write %s=…", s[at:k], s[at:k]))
		case k == at || s[k] != '=':
			return nil, specError(s, k, fmt.Sprintf("%q cannot be part of a parameter name", s[k:k+1]))
		}
		p := Param{Key: s[at:k]}
		for _, q := range ps {
			if q.Key == p.Key {
				return nil, specError(s, at, fmt.Sprintf("parameter %q is given twice", p.Key))
			}
		}
		var err error
		if p.Value, err = unescape(s, k+1, end); err != nil {
			return nil, err
		}
		ps = append(ps, p)
		if end == to {
			return ps, nil
		}
		at = end + 1
	}
}

// String returns the port string; ParseSpec of it gives s back.
func (sp Spec) String() string {
	var b strings.Builder
	for _, d := range sp.Decorators {
		b.WriteString(d.Name)
		b.WriteByte('(')
		writeParams(&b, d.Params, ',', `\,)`)
		b.WriteString("):")
	}
	b.WriteString(sp.Driver)
	b.WriteByte(':')
	writeEscaped(&b, sp.Target, `\?`)
	if len(sp.Params) > 0 {
		b.WriteByte('?')
		writeParams(&b, sp.Params, '&', `\&`)
	}
	return b.String()
}

func writeParams(b *strings.Builder, ps []Param, sep byte, special string) {
	for i, p := range ps {
		if i > 0 {
			b.WriteByte(sep)
		}
		b.WriteString(p.Key)
		b.WriteByte('=')
		writeEscaped(b, p.Value, special)
	}
}

func writeEscaped(b *strings.Builder, s, special string) {
	for i := range len(s) {
		if strings.IndexByte(special, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
}

// indexPlain returns the first c in s at or after from that no backslash protects, or -1.
func indexPlain(s string, from int, c byte) int {
	for i := from; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case c:
			return i
		}
	}
	return -1
}

func unescape(s string, from, to int) (string, error) {
	v := s[from:to]
	if strings.IndexByte(v, '\\') < 0 {
		return v, nil
	}
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		if v[i] == '\\' {
			if i++; i == len(v) {
				return "", specError(s, to, `a backslash protects the byte after it, but nothing follows; write \\ for a backslash`)
			}
		}
		b.WriteByte(v[i])
	}
	return b.String(), nil
}

func specError(s string, at int, why string) error {
	return fmt.Errorf("dataplane: port string %q, byte %d: %s (examples: %s)", s, at, why, specExamples)
}

const specExamples = "loop:demo, afpacket:veth0?queues=2, impair(loss=1%,seed=7):loop:demo"

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

func isKeyByte(c byte) bool { return isNameByte(c) || c >= 'A' && c <= 'Z' || c == '.' }
