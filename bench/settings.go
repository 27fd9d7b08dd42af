package bench

import (
	"reflect"
	"strings"
	"time"
)

// Settings returns what c says beside the defaults, by the names of flags: strings, booleans,
// numbers and lists of strings, times as time.Duration prints them. The flags of the command read it back.
func (c Config) Settings() map[string]any {
	m := map[string]any{}
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		tag, ok := v.Type().Field(i).Tag.Lookup("flag")
		if !ok || v.Field(i).IsZero() {
			continue
		}
		name, negative, _ := strings.Cut(tag, ",")
		value := v.Field(i).Interface()
		switch x := value.(type) {
		case time.Duration:
			value = x.String()
			if x < 0 {
				value = "0s"
			}
		case int:
			if x < 0 { // none, where 0 is the default
				value = 0
			}
		}
		if negative != "" && v.Field(i).Int() < 0 {
			name, value = negative, true
		}
		m[name] = value
	}
	return m
}
