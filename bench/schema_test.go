package bench

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/docs/schema"
)

// object keeps the order of its members, as the fields of a struct have it.
type object []member

type member struct {
	key   string
	value any
}

func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		for j, v := range []any{m.key, m.value} {
			var part bytes.Buffer
			e := json.NewEncoder(&part)
			e.SetEscapeHTML(false)
			if err := e.Encode(v); err != nil {
				return nil, err
			}
			if j > 0 {
				b.WriteByte(':')
			}
			b.Write(bytes.TrimSpace(part.Bytes()))
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// schemaWriter makes a JSON Schema of a type. Structs become definitions, described as at the
// first path that leads to them.
type schemaWriter struct {
	meaning map[string]string // of docs/report.md, by path
	defs    object
	known   map[reflect.Type]bool
}

func (w *schemaWriter) of(path string, t reflect.Type) object {
	switch t.Kind() {
	case reflect.Pointer:
		return object{{"anyOf", []object{w.of(path, t.Elem()), {{"type", "null"}}}}}
	case reflect.Slice:
		return object{{"type", "array"}, {"items", w.of(path+"[]", t.Elem())}}
	case reflect.Map:
		o := object{{"type", "object"}}
		if t.Elem().Kind() == reflect.Interface {
			return o
		}
		return append(o, member{"additionalProperties", w.of(path+"{}", t.Elem())})
	case reflect.Struct:
		if !w.known[t] {
			w.known[t] = true
			at := len(w.defs)
			w.defs = append(w.defs, member{t.Name(), nil})
			w.defs[at].value = w.fields(path, t)
		}
		return object{{"$ref", "#/$defs/" + t.Name()}}
	case reflect.String:
		return object{{"type", "string"}}
	case reflect.Bool:
		return object{{"type", "boolean"}}
	case reflect.Float64:
		return object{{"type", "number"}}
	case reflect.Uint64:
		return object{{"type", "integer"}, {"minimum", 0}}
	default:
		return object{{"type", "integer"}}
	}
}

func (w *schemaWriter) fields(path string, t reflect.Type) object {
	var properties object
	var required []string
	for i := range t.NumField() {
		name := jsonName(t.Field(i))
		if name == "-" {
			continue
		}
		at := joinPath(path, name)
		one := w.of(at, t.Field(i).Type)
		switch at {
		case "schema":
			one = object{{"const", Schema}}
		case "scenario":
			one = append(one, member{"enum", scenarioNames()})
		}
		meaning := w.meaning[at]
		if meaning == "" {
			meaning = w.meaning[t.Name()+" "+name]
		}
		if meaning != "" {
			one = append(one, member{"description", meaning})
		}
		properties = append(properties, member{name, one})
		if !strings.Contains(t.Field(i).Tag.Get("json"), ",omitempty") {
			required = append(required, name)
		}
	}
	return object{{"type", "object"}, {"properties", properties}, {"required", required}, {"additionalProperties", false}}
}

// meanings reads the tables of docs/report.md.
func meanings(doc string) map[string]string {
	out := map[string]string{}
	read := func(section, prefix, row string) {
		for _, m := range regexp.MustCompile(row).FindAllStringSubmatch(section, -1) {
			out[prefix+m[1]] = strings.ReplaceAll(strings.TrimSpace(m[2]), "`", "")
		}
	}
	_, section, _ := strings.Cut(doc, "\n## `"+Schema+"`")
	section, _, _ = strings.Cut(section, "\n## ")
	table, _, _ := strings.Cut(section, "\n### ")
	read(table, "", "(?m)^\\| `([^`]+)` \\| \\w+ \\|(.*)\\|$")
	for heading, t := range map[string]reflect.Type{"latency": reflect.TypeFor[Latency](), "quantile": reflect.TypeFor[Quantile]()} {
		_, own, _ := strings.Cut(section, "\n### `"+heading+"`")
		own, _, _ = strings.Cut(own, "\n#")
		read(own, t.Name()+" ", "(?m)^\\| `([^`]+)` \\|(.*)\\|$")
	}
	return out
}

func makeSchema(t *testing.T) []byte {
	doc, err := os.ReadFile("../docs/report.md")
	require.NoError(t, err)
	w := &schemaWriter{meaning: meanings(string(doc)), known: map[reflect.Type]bool{}}
	root := object{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"$id", "https://github.com/fastsyn/fastsyn/docs/schema/report.v1.json"},
		{"title", Schema},
		{"description", "The outcome of a run of fastsyn bench; docs/report.md says more. Generated from the Go types."},
	}
	root = append(root, w.fields("", reflect.TypeFor[Report]())...)
	root = append(root, member{"$defs", w.defs})
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	require.NoError(t, e.Encode(root))
	return b.Bytes()
}

const schemaFile = "../docs/schema/report.v1.json"

// docs/schema/report.v1.json is what the Go types and docs/report.md say.
func TestSchemaIsGenerated(t *testing.T) {
	got := makeSchema(t)
	if *update {
		require.NoError(t, os.WriteFile(schemaFile, got, 0o644))
	}
	want, err := os.ReadFile(schemaFile)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "go test ./bench -run Schema -update rewrites it")
	if !*update {
		require.Equal(t, want, schema.Report)
	}
}

// compiled is the schema that programs get.
var compiled = sync.OnceValues(func() (*jsonschema.Schema, error) {
	raw, err := os.ReadFile(schemaFile) // the embedded one may be about to change
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("report.v1.json", doc); err != nil {
		return nil, err
	}
	return c.Compile("report.v1.json")
})

// conforms checks that r, as JSON, is what the schema says.
func conforms(t testing.TB, r *Report) {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, r.WriteJSON(&b))
	s, err := compiled()
	require.NoError(t, err)
	doc, err := jsonschema.UnmarshalJSON(&b)
	require.NoError(t, err)
	require.NoError(t, s.Validate(doc))
}

// The schema refuses what is no report of this version.
func TestSchemaRefuses(t *testing.T) {
	conforms(t, sample())
	conforms(t, &Report{Schema: Schema, Scenario: ScenarioEcho})
	s, err := compiled()
	require.NoError(t, err)
	for name, change := range map[string]func(m map[string]any){
		"another schema":    func(m map[string]any) { m["schema"] = "fastsyn.report/v2" },
		"unknown field":     func(m map[string]any) { m["colour"] = "red" },
		"unknown, nested":   func(m map[string]any) { m["handshakes"].(map[string]any)["lucky"] = 1 },
		"missing":           func(m map[string]any) { delete(m, "limiter") },
		"missing, nested":   func(m map[string]any) { delete(m["host"].(map[string]any), "commit") },
		"negative count":    func(m map[string]any) { m["handshakes"].(map[string]any)["refused"] = -1 },
		"fraction":          func(m map[string]any) { m["workers"] = 1.5 },
		"text":              func(m map[string]any) { m["valid"] = "yes" },
		"null list":         func(m map[string]any) { m["intervals"] = nil },
		"unknown scenario":  func(m map[string]any) { m["scenario"] = "tea" },
		"counter of a text": func(m map[string]any) { m["drops"] = map[string]any{"arp_ignored": "2"} },
	} {
		var b bytes.Buffer
		require.NoError(t, sample().WriteJSON(&b))
		var m map[string]any
		require.NoError(t, json.Unmarshal(b.Bytes(), &m))
		change(m)
		raw, err := json.Marshal(m)
		require.NoError(t, err)
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		require.NoError(t, err)
		require.Error(t, s.Validate(doc), name)
	}
}
