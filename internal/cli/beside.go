package cli

import (
	"context"
	"errors"
	"os"

	"github.com/alecthomas/kong"

	"github.com/sentryagent/agentidp/internal/app"
	"github.com/sentryagent/agentidp/internal/config"
)

// Beside is what a command needs that works on a server's database and keys, beside
// the server while it runs or without one.
type Beside struct {
	config.Storage `embed:""`
}

// Issuing is Beside for commands that need to know the issuer.
type Issuing struct {
	Beside `embed:""`

	PublicURL string `env:"AGENTIDP_PUBLIC_URL" placeholder:"URL" help:"The server's public URL (default: what the server was last started with)."`
}

// Complete fills what depends on other settings, and checks them.
func (b *Issuing) Complete() error {
	err := b.Storage.Complete()
	if b.PublicURL != "" {
		err = errors.Join(err, config.CheckPublicURL(b.PublicURL))
	}
	return err
}

func (b *Beside) run(ctx context.Context, std *IO, k *kong.Context, do func(*app.App) error) error {
	return (&Issuing{Beside: *b}).run(ctx, std, k, do)
}

// run lets do work, with settings that were checked.
func (b *Issuing) run(ctx context.Context, std *IO, _ *kong.Context, do func(*app.App) error) error {
	b.MasterKey = os.Getenv("AGENTIDP_MASTER_KEY")
	return app.Beside(ctx, config.Config{Storage: b.Storage, PublicURL: b.PublicURL}, warnings(std), do)
}
