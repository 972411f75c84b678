package api

import (
	"flag"
	"net/http"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write api/openapi.json")

const committed = "../../api/openapi.json"

func TestTheCommittedOpenAPIDocumentIsTheCode(t *testing.T) {
	doc, err := New(http.NewServeMux(), Config{Version: "1"}).Document()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(committed, doc, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(committed)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(doc)); diff != "" {
		t.Errorf("api/openapi.json is not what the code says; run: make openapi\n%s", diff)
	}
}
