package client

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestATokenFileIsReadAnewForEveryRequest(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	n := &network{fates: []fate{{status: 200, body: `{"items":[]}`}}}
	c := n.client()
	c.Token, c.Tokens = "", TokenFile(file)
	for _, want := range []string{"first", "second"} {
		if err := os.WriteFile(file, []byte("\n"+want+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := listAgents(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if got := n.header[len(n.header)-1].Get("Authorization"); got != "Bearer "+want {
			t.Errorf("sent %s, want %s", got, want)
		}
	}
	c.Token = "the-admin-token"
	if err := listAgents(t.Context(), c); err != nil || n.header[2].Get("Authorization") != "Bearer the-admin-token" {
		t.Errorf("Client.Token does not come first: %v", err)
	}
}

func TestAnIntrospectionHasTheAuthorityOfTheSource(t *testing.T) {
	t.Parallel()
	n := &network{fates: []fate{{status: 200, body: `{"active":true}`}}}
	c := n.client()
	c.Token, c.Tokens = "", StaticToken("own")
	if is, err := c.Introspect(t.Context(), "at"); err != nil || !is.Active || n.header[0].Get("Authorization") != "Bearer own" || n.bodies[0] != "token=at" {
		t.Errorf("got %+v, %v; sent %v %s", is, err, n.header[0], n.bodies[0])
	}
}

func TestATokenFileIsRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		content string
		mode    os.FileMode
		want    string
	}{
		{"that the group can read", "secret", 0o640, "can be read by others (mode 0640); run: chmod 600 "},
		{"that all can read", "secret", 0o604, "can be read by others (mode 0604)"},
		{"that is empty", " \n", 0o600, "is empty"},
		{"that is too large for a token", "secret" + strings.Repeat("x", maxTokenFile), 0o600, "is larger than 64 KiB"},
		{"with more in it than a token", "secret\nsecret", 0o600, "a character that is in no token"},
		{"that is a folder", "", os.ModeDir | 0o700, "is no regular file"},
		{"that is not there", "", 0, "no such file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "token")
			var err error
			switch {
			case test.mode.IsDir():
				err = os.Mkdir(file, test.mode.Perm())
			case test.mode != 0:
				err = os.WriteFile(file, []byte(test.content), test.mode)
			}
			if err != nil {
				t.Fatal(err)
			}
			n := &network{fates: []fate{fine}}
			c := n.client()
			c.Token, c.Tokens = "", TokenFile(file)
			err = listAgents(t.Context(), c)
			if err == nil || !strings.Contains(err.Error(), test.want) || len(n.times) != 0 {
				t.Fatalf("got %v, want an error with %q and no request", err, test.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error repeats the file: %v", err)
			}
		})
	}
}

func TestATokenIsNotPrinted(t *testing.T) {
	t.Parallel()
	type holder struct{ Tokens TokenSource }
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if got := fmt.Sprintf(format, holder{StaticToken("secret")}); strings.Contains(got, "secret") {
			t.Errorf("%s prints %s", format, got)
		}
	}
}

// A token that a source gave is taken out of what the server says, like Client.Token.
func TestARefusalDoesNotRepeatTheTokenOfASource(t *testing.T) {
	t.Parallel()
	c := &Client{BaseURL: "https://idp.example.com", Tokens: StaticToken("secret"), HTTP: &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		return problem(req, 401, `{"code":"invalid_token","message":"Not secret."}`), nil
	})}}
	if err := listAgents(t.Context(), c); err == nil || !strings.Contains(err.Error(), "Not [token].") {
		t.Errorf("got %v", err)
	}
}
