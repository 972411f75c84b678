package strictjson_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp/internal/strictjson"
)

// claims is an object of the shape and size of a CI token's claims.
func claims(n int) []byte {
	var b strings.Builder
	b.WriteString(`{"iss":"https://token.actions.githubusercontent.com"`)
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, `,"claim_number_%d":"acme/deploy/.github/workflows/release.yml@refs/heads/main"`, i)
	}
	b.WriteString("}")
	return []byte(b.String())
}

func BenchmarkMembers2KB(b *testing.B) {
	data := claims(2000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := strictjson.Members(data, 16, func(string, []byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodingJSON2KB(b *testing.B) {
	data := claims(2000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		var members map[string]json.RawMessage
		if err := json.Unmarshal(data, &members); err != nil {
			b.Fatal(err)
		}
	}
}

// An object of names alone is the most work per byte.
func BenchmarkMembersManyNames(b *testing.B) {
	var s strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&s, `,"%d":0`, i)
	}
	data := []byte("{" + s.String()[1:] + "}")
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := strictjson.Valid(data, 16); err != nil {
			b.Fatal(err)
		}
	}
}
