package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/fastsyn/fastsyn/dataplane"
)

// FileError is a file that cannot be used.
type FileError struct {
	File   string // "-" is standard input
	At     string // line and column, or the path of a field; may be empty
	Reason string
	Fix    string
}

// Error implements error.
func (e *FileError) Error() string {
	s := e.File
	if e.File == "-" {
		s = "standard input"
	}
	if e.At != "" {
		s += ":" + e.At
	}
	return s + ": " + e.Reason + "; " + e.Fix
}

// OpenReport reads a report from a file, or from stdin for "-". See ReadReport.
func OpenReport(file string, stdin io.Reader) (*Report, error) {
	if file == "-" {
		return ReadReport(stdin, file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	return ReadReport(f, file)
}

// ReadReport reads what WriteJSON wrote, and judges it anew (Recheck). name is for errors, which are
// *FileError. Fields that this version does not know are passed over: within a schema version they are only added.
func ReadReport(in io.Reader, name string) (*Report, error) {
	b, err := io.ReadAll(in)
	if err != nil {
		return nil, fmt.Errorf("bench: %s: %w", name, err)
	}
	const again = "name a file that fastsyn bench --json wrote"
	bad := func(at, reason, fix string) error { return &FileError{File: name, At: at, Reason: reason, Fix: fix} }
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, bad("", "the file is empty", again)
	}
	var head struct {
		Schema *string `json:"schema"`
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&head); err != nil {
		return nil, jsonError(b, name, err, again)
	}
	if rest := bytes.TrimLeft(b[d.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return nil, bad(position(b, len(b)-len(rest)), "more than one JSON value", "give each report a file of its own, and all files on the command line")
	}
	switch {
	case head.Schema == nil:
		return nil, bad("", `no field "schema": this is not a report of fastsyn`, again)
	case *head.Schema == Schema:
	case strings.HasPrefix(*head.Schema, schemaName+"/v"):
		return nil, bad("schema", fmt.Sprintf("%q was written by another version; this one reads %q", *head.Schema, Schema), "use a fastsyn as new as the report")
	default:
		return nil, bad("schema", fmt.Sprintf("%q is something else; want %q", *head.Schema, Schema), again)
	}
	r := new(Report)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, jsonError(b, name, err, "write it again, or correct the field")
	}
	if scenarioOf(r.Scenario) == nil {
		fix := "use a fastsyn as new as the report (this one knows " + strings.Join(scenarioNames(), ", ") + ")"
		if near := Nearest(r.Scenario, scenarioNames()); near != "" {
			fix = fmt.Sprintf("did you mean %q? else %s", near, fix)
		}
		return nil, bad("scenario", fmt.Sprintf("unknown scenario %q", r.Scenario), fix)
	}
	r.Client.restore()
	if r.Server != nil {
		r.Server.restore()
	}
	r.Recheck()
	return r, nil
}

// jsonError says where in b the decoder failed.
func jsonError(b []byte, name string, err error, fix string) error {
	e := &FileError{File: name, Reason: "not JSON: " + err.Error(), Fix: fix}
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		e.At = position(b, int(syntax.Offset)-1)
		if int(syntax.Offset) >= len(b) {
			e.Reason = "not JSON: it ends too early"
		}
	case errors.As(err, &typ):
		e.At = position(b, int(typ.Offset)-1)
		e.Reason = fmt.Sprintf("%s: a JSON %s where %s is wanted", cmpField(typ.Field), typ.Value, wanted(typ.Type))
	case errors.Is(err, io.ErrUnexpectedEOF):
		e.At, e.Reason = position(b, len(b)), "not JSON: it ends too early"
	}
	return e
}

func cmpField(field string) string {
	if field == "" {
		return "the report"
	}
	return field
}

// wanted names a type as the schema does.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "a boolean"
	case reflect.Float64:
		return "a number"
	case reflect.Uint64, reflect.Uint32:
		return "an integer from 0"
	case reflect.Int, reflect.Int64:
		return "an integer"
	case reflect.Slice:
		return "an array"
	default:
		return "an object"
	}
}

// position is line:column of b[at], both from 1.
func position(b []byte, at int) string {
	at = min(max(at, 0), len(b))
	return fmt.Sprintf("%d:%d", 1+bytes.Count(b[:at], []byte{'\n'}), at-bytes.LastIndexByte(b[:at], '\n'))
}

// restore fills in what the JSON has in another form.
func (s *Side) restore() {
	m := s.PortJSON
	s.Port = dataplane.Stats{
		RxFrames: m["rx_frames"], RxBytes: m["rx_bytes"], TxFrames: m["tx_frames"], TxBytes: m["tx_bytes"],
		TxFull: m["tx_full"], TxErrors: m["tx_errors"], RxMissed: m["rx_missed"], NoBlank: m["no_blank"],
	}
}

// Recheck judges a report by what it says itself: each equation, and the sums of its fields. What
// was invalid stays so; what was changed since becomes so.
func (r *Report) Recheck() {
	for i := range r.Equations {
		e := &r.Equations[i]
		e.Holds = e.Holds && e.Left == e.Right
	}
	for _, e := range r.sums() {
		if !e.Holds {
			e.Name += " (the fields of the file)"
			r.Equations = append(r.Equations, e)
		}
	}
	was, why := r.Valid, r.InvalidReason
	if r.judge(); r.Valid && !was {
		r.Valid, r.InvalidReason = false, why
		if why == "" {
			r.InvalidReason = "the file says so, and not why"
		}
	}
}

// complete makes empty lists and maps of those that are nil: the JSON has no null where a list is meant.
func complete(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			complete(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Tag.Get("json") != "-" {
				complete(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.IsNil() {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
		for i := range v.Len() {
			complete(v.Index(i))
		}
	case reflect.Map:
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
	default:
	}
}
