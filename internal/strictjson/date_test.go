package strictjson_test

import (
	"testing"

	"github.com/sentryagent/agentidp/internal/strictjson"
)

func TestDate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, value string
		want        int64
		ok          bool
	}{
		{"the first second", `0`, 0, true},
		{"a second of 2026", `1795334400`, 1795334400, true},
		{"a fraction is dropped", `1795334400.999`, 1795334400, true},
		{"less than a second", `0.5`, 0, true},
		{"an exponent", `1.7953344e9`, 1795334400, true},
		{"the last second of the year 9999", `253402300799`, 253402300799, true},
		{"A-084 the second after it", `253402300800`, 0, false},
		{"A-084 more than an int64 holds", `1e30`, 0, false},
		{"A-084 more than a float64 holds", `1e400`, 0, false},
		{"A-084 a string", `"1795334400"`, 0, false},
		{"before 1970", `-1`, 0, false},
		{"zero with a sign", `-0`, 0, false},
		{"nothing", ``, 0, false},
		{"null", `null`, 0, false},
		{"an object", `{}`, 0, false},
		{"hexadecimal", `0x6a`, 0, false},
		{"infinity", `inf`, 0, false},
		{"a leading zero", `01`, 0, false},
		{"two numbers", `1 2`, 0, false},
		{"white space", `1 `, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got, ok := strictjson.Date([]byte(tt.value)); got != tt.want || ok != tt.ok {
				t.Errorf("Date(%s) = %d, %t; want %d, %t", tt.value, got, ok, tt.want, tt.ok)
			}
		})
	}
}
