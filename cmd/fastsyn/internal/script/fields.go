package script

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// kind says what values a field takes.
type kind uint8

const (
	kindNone   kind = iota // no value: sack
	kindNum                // number, or v4/v6
	kindSeq                // number counted from an ISS, @number, "new" where expected
	kindEcho               // number, first±n, last±n
	kindHex                // bytes
	kindWord               // one of words
	kindOrder              // option names in the order of the wire
	kindTFO                // cookie, other, or bytes
	kindBlocks             // ranges of sequence numbers
)

// spec describes a field.
type spec struct {
	kind          kind
	min, max      int64
	words         []string
	inject, await bool // may be used in --> and in <--
	bare          bool // where expected, the value may be left out
}

const max32 = 1<<32 - 1

// specs are all fields of a segment; docs/scripts.md lists the same (a test checks).
var specs = map[string]spec{
	"seq":  {kind: kindSeq, inject: true, await: true},
	"ack":  {kind: kindSeq, inject: true, await: true},
	"win":  {kind: kindNum, max: 65535, inject: true, await: true},
	"len":  {kind: kindNum, max: 1460, inject: true, await: true},
	"mss":  {kind: kindNum, max: 65535, inject: true, await: true, bare: true},
	"ws":   {kind: kindNum, max: 255, inject: true, await: true, bare: true},
	"sack": {kind: kindNone, inject: true, await: true},
	"ts":   {kind: kindNum, max: max32, inject: true, await: true, bare: true},
	"ecr":  {kind: kindEcho, max: max32, inject: true, await: true},
	"tfo":  {kind: kindTFO, inject: true, await: true, bare: true},
	"nop":  {kind: kindNone, inject: true},

	"blocks": {kind: kindBlocks, inject: true, await: true},
	"eol":    {kind: kindNone, inject: true},
	"opt":    {kind: kindHex, inject: true},

	"sport": {kind: kindNum, max: 65535, inject: true, await: true},
	"dport": {kind: kindNum, max: 65535, inject: true, await: true},
	"src":   {kind: kindWord, words: addrWords, inject: true},
	"dst":   {kind: kindWord, words: addrWords, inject: true},
	"tos":   {kind: kindNum, max: 255, inject: true, await: true},
	"ttl":   {kind: kindNum, max: 255, inject: true, await: true},
	"urg":   {kind: kindNum, max: 65535, inject: true},

	"reserved": {kind: kindNum, max: 7, inject: true},
	"doff":     {kind: kindNum, max: 15, inject: true},
	"sum":      {kind: kindWord, words: []string{"bad", "zero"}, inject: true},
	"ipsum":    {kind: kindWord, words: []string{"bad"}, inject: true},
	"version":  {kind: kindNum, max: 15, inject: true},
	"ihl":      {kind: kindNum, max: 15, inject: true},
	"iplen":    {kind: kindNum, min: -100, max: 100, inject: true},
	"frag":     {kind: kindWord, words: []string{"more", "offset", "reserved"}, inject: true},
	"ipopt":    {kind: kindHex, inject: true},
	"pad":      {kind: kindNum, max: 1500, inject: true},
	"dmac":     {kind: kindWord, words: []string{"broadcast", "multicast", "other"}, inject: true},

	"order":  {kind: kindOrder, await: true},
	"quoted": {kind: kindNum, max: 60, inject: true},
	"mtu":    {kind: kindNum, max: 65535, inject: true},
}

// addrWords are addresses by what they are to the endpoint under test.
var addrWords = []string{
	"peer", "endpoint", "stranger", "loopback", "unspecified", "broadcast", "subnet-broadcast", "subnet-zero", "multicast", "class-e", "mapped",
}

// orderNames are the options that order= knows.
var orderNames = map[byte]string{0: "eol", 1: "nop", 2: "mss", 3: "ws", 4: "sack", 5: "blocks", 8: "ts", 34: "tfo"}

// fieldNames lists what may stand in a direction, for messages.
func fieldNames(await bool) string {
	var names []string
	for _, n := range slices.Sorted(maps.Keys(specs)) {
		if s := specs[n]; await && s.await || !await && s.inject {
			names = append(names, n)
		}
	}
	return strings.Join(names, " ")
}

// parseField reads one field of a segment; errors say what is wrong and what to write.
func parseField(text string, await bool) (Field, error) {
	name, val, has := strings.Cut(text, "=")
	f := Field{Bare: !has}
	if name, f.Absent = strings.CutPrefix(name, "!"); f.Absent {
		if !await || has {
			return f, fmt.Errorf("%q: \"!name\", without a value, is for segments expected back; leave the field out instead", text)
		}
		switch name {
		case "mss", "ws", "sack", "ts", "tfo", "blocks":
		default:
			return f, fmt.Errorf("%q: only the options mss, ws, sack, ts, tfo and blocks can be absent", text)
		}
	}
	f.Name = name
	s, ok := specs[name]
	if !ok || await && !s.await || !await && !s.inject {
		return f, fmt.Errorf("unknown field %q here; want one of: %s", name, fieldNames(await))
	}
	if f.Absent {
		return f, nil
	}
	if s.kind == kindNone {
		if has {
			return f, fmt.Errorf("%s takes no value; write just %q", name, name)
		}
		return f, nil
	}
	if !has {
		// Expected options may be named without a value: any will do.
		if s.bare && (await || s.kind == kindTFO) {
			return f, nil
		}
		return f, fmt.Errorf("%s needs a value; write %s=…", name, name)
	}
	return f, f.set(s, val, await)
}

func (f *Field) set(s spec, val string, await bool) error {
	switch s.kind {
	case kindHex:
		b, err := hex.DecodeString(strings.ReplaceAll(val, "_", ""))
		if err != nil || len(b) == 0 || len(b) > 40 || f.Name == "ipopt" && len(b)%4 != 0 {
			return fmt.Errorf("%s=%s: want 1 to 40 bytes in hex, such as 1e04beef%s", f.Name, val, map[bool]string{true: ", a multiple of 4"}[f.Name == "ipopt"])
		}
		f.Bytes = b
		return nil
	case kindTFO:
		f.Word = val
		switch {
		case val == "cookie" || val == "other" && !await:
			return nil
		case await:
			return fmt.Errorf("tfo=%s: want cookie, or no value", val)
		}
		b, err := hex.DecodeString(val)
		if err != nil || len(b) == 0 || len(b) > 18 {
			return fmt.Errorf("tfo=%s: want cookie, other, or bytes in hex, at most 18", val)
		}
		f.Word, f.Bytes = "", b
		return nil
	case kindBlocks:
		return f.ranges(val)
	case kindWord:
		if !slices.Contains(s.words, val) {
			return fmt.Errorf("%s=%s: want one of: %s", f.Name, val, strings.Join(s.words, " "))
		}
		f.Word = val
		return nil
	case kindOrder:
		known := append(slices.Sorted(maps.Values(orderNames)), "none")
		for o := range strings.SplitSeq(val, ",") {
			if !slices.Contains(known, o) {
				return fmt.Errorf("%s=%s: unknown option %q; want none, or names of %v with commas between", f.Name, val, o, known)
			}
		}
		f.Word = val
		return nil
	case kindSeq:
		if await && val == "new" && f.Name == "seq" {
			f.Word = val
			return nil
		}
		val, f.Abs = strings.CutPrefix(val, "@")
		lo := int64(-max32)
		if f.Abs {
			lo = 0
		}
		return f.numbers(val, lo, max32)
	case kindEcho:
		for _, base := range []string{"first", "last"} {
			if rest, ok := strings.CutPrefix(val, base); ok {
				f.Base = base
				if rest == "" {
					return nil
				}
				return f.numbers(rest, -max32, max32)
			}
		}
	case kindNum:
		if await {
			val, f.Above = strings.CutPrefix(val, ">")
		}
	case kindNone:
	}
	return f.numbers(val, s.min, s.max)
}

// ranges reads "11-21,31-41": SACK blocks, counted as seq is.
func (f *Field) ranges(val string) error {
	for text := range strings.SplitSeq(val, ",") {
		left, right, ok := strings.Cut(text, "-")
		l, e1 := strconv.ParseUint(left, 10, 31)
		r, e2 := strconv.ParseUint(right, 10, 31)
		if !ok || e1 != nil || e2 != nil || len(f.Blocks) == 4 {
			return fmt.Errorf("%s=%s: want one to four ranges such as 11-21,31-41", f.Name, val)
		}
		f.Blocks = append(f.Blocks, [2]int64{int64(l), int64(r)})
	}
	return nil
}

// numbers reads "n" or "n/m" for IPv4 and IPv6.
func (f *Field) numbers(val string, lo, hi int64) error {
	parts := strings.Split(val, "/")
	if len(parts) > 2 {
		return fmt.Errorf("%s=%s: want one number, or two (IPv4/IPv6)", f.Name, val)
	}
	for i, p := range parts {
		n, err := strconv.ParseInt(p, 0, 64)
		if err != nil || n < lo || n > hi {
			return fmt.Errorf("%s=%s: want a number from %d to %d", f.Name, p, lo, hi)
		}
		f.V[i] = n
		if i == 0 {
			f.V[1] = n
		}
	}
	return nil
}
