package wycheproof_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"slices"
	"testing"

	"github.com/c2sp/wycheproof"
)

// vector is one token, and what Wycheproof says of it.
type vector struct {
	file    string
	id      int
	comment string
	keys    []byte // the key set that an issuer with its key would publish
	token   string
	valid   bool

	encrypted bool // a JWE, or what was made of one
}

// vectorsOf reads a file of vectors. Where it has no public key the private one is
// published, as it stands: that is a symmetric key.
func vectorsOf(t *testing.T, file string) []vector {
	t.Helper()
	data, err := fs.ReadFile(wycheproof.TestVectors, file)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		NumberOfTests int
		TestGroups    []struct {
			Public, Private json.RawMessage
			Tests           []struct {
				TcID     int
				Comment  string
				JWS, JWE json.RawMessage
				Result   string
			}
		}
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	for _, g := range doc.TestGroups {
		published := g.Public
		if published == nil {
			published = g.Private
		}
		for _, test := range g.Tests {
			if test.Result != "valid" && test.Result != "invalid" {
				t.Fatalf("%s, tcId %d: the result is %q", file, test.TcID, test.Result)
			}
			v := vector{file: file, id: test.TcID, comment: test.Comment, keys: keySet(published), valid: test.Result == "valid", encrypted: test.JWE != nil}
			v.token = tokenOf(slices.Concat(test.JWS, test.JWE))
			vectors = append(vectors, v)
		}
	}
	if len(vectors) != doc.NumberOfTests {
		t.Fatalf("%s says that it has %d vectors, and %d were read", file, doc.NumberOfTests, len(vectors))
	}
	return vectors
}

// keySet returns a key set as it is, and a key as a set of one.
func keySet(published []byte) []byte {
	var set struct{ Keys json.RawMessage }
	if err := json.Unmarshal(published, &set); err == nil && set.Keys != nil {
		return published
	}
	return bytes.Join([][]byte{[]byte(`{"keys":[`), published, []byte(`]}`)}, nil)
}

// tokenOf returns the text that a client would send: what is not a string, but an object
// (the JSON serialization), is sent as it stands.
func tokenOf(value json.RawMessage) string {
	var s string
	if err := json.Unmarshal(value, &s); err != nil {
		return string(value)
	}
	return s
}
