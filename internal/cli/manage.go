package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"

	"github.com/sentryagent/agentidp/client"
)

// Managing is what a command needs that manages a server through its API.
type Managing struct {
	Server string `required:"" env:"AGENTIDP_SERVER" placeholder:"URL" help:"The server's public URL, with /o/SLUG for another organization than the default."`
}

// client authenticates with the access token in AGENTIDP_TOKEN, or in the file that
// AGENTIDP_TOKEN_FILE names; there is no flag for it, because the process list shows
// flags.
func (m *Managing) client() (*client.Client, error) {
	server, err := serverURL(m.Server)
	if err != nil {
		return nil, err
	}
	token, file := os.Getenv("AGENTIDP_TOKEN"), os.Getenv("AGENTIDP_TOKEN_FILE")
	switch {
	case token != "" && file != "":
		return nil, usageError{errors.New("AGENTIDP_TOKEN and AGENTIDP_TOKEN_FILE are both set: unset one")}
	case token != "":
		return &client.Client{BaseURL: server, Token: token}, nil
	case file == "":
		return nil, usageError{errors.New("AGENTIDP_TOKEN is empty: export AGENTIDP_TOKEN=$(agentidp admin token)")}
	}
	source := client.TokenFile(file)
	if _, err := source.Token(context.Background()); err != nil {
		return nil, usageError{fmt.Errorf("AGENTIDP_TOKEN_FILE: %w", err)}
	}
	return &client.Client{BaseURL: server, Tokens: source}, nil
}

// every goes through a list that came whole.
func every[T any](items []T) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		for i := range items {
			if !yield(&items[i], nil) {
				return
			}
		}
	}
}
