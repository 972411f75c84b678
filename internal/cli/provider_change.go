package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/alecthomas/kong"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

// providerFields are what an administrator says of a provider and may change later.
type providerFields struct {
	Audience           []string `member:"audiences" sep:"none" placeholder:"TEXT" help:"An audience that is accepted beside the organization's issuer. Repeatable."`
	Algorithm          []string `member:"algorithms" sep:"none" placeholder:"ALG" help:"A signature algorithm that is accepted, such as ES256. Repeatable (default: those of the kind)."`
	JWKSURI            string   `name:"jwks-uri" member:"jwksUri" placeholder:"URL" help:"Where the keys are (default: where the kind has them, or the issuer's discovery document)."`
	JWKSFile           string   `name:"jwks-file" member:"jwks" placeholder:"FILE" help:"The keys themselves: a JWK set of public keys."`
	MaxTokenAgeSeconds int      `member:"maxTokenAgeSeconds" placeholder:"N" help:"Longest life of a token, 60 to 86400 (default: the kind's)."`
	Replay             string   `member:"replay" enum:",reject,allow" default:"" placeholder:"RULE" help:"reject (the default): a token is good for one exchange; or allow."`
}

// given is what the command line says, with the keys in place of their file.
func (f *providerFields) given(k *kong.Context, unset []string) (object, error) {
	patch, err := given(k, unset)
	if err != nil || f.JWKSFile == "" {
		return patch, err
	}
	patch["jwks"], err = readKeySet(f.JWKSFile)
	return patch, err
}

// readKeySet reads the file of --jwks-file. Nothing of it is repeated in an error: it may
// be the wrong one, with a private key in it.
func readKeySet(file string) (object, error) {
	in, err := os.Open(file)
	if err != nil {
		return nil, usageError{fmt.Errorf("--jwks-file: %w", err)}
	}
	defer in.Close()
	set, err := readObject("--jwks-file", file, in)
	if err != nil {
		return nil, hinted{err, `A JWK set is {"keys": [...]}, each key an object (RFC 7517); a key in PEM has to be converted.`}
	}
	return set, nil
}

type providerCreateCmd struct {
	Managing `embed:""`
	Printing `embed:""`
	Body     `embed:""`

	Name           string `member:"name" placeholder:"NAME" help:"What policies name it by: lower-case letters, digits and inner hyphens."`
	Kind           string `member:"kind" placeholder:"KIND" help:"What its tokens look like: github, for GitHub Enterprise Server, enterprise slugs and ghe.com, or oidc (the default)."`
	Issuer         string `member:"issuer" placeholder:"URL" help:"The tokens' iss, byte for byte."`
	providerFields `embed:""`
}

// Help is shown by provider create --help.
func (*providerCreateCmd) Help() string {
	return `A provider gives nobody anything: trust policies that name it do. AGENTIDP_TOKEN holds
the access token; one without admin takes the issuer as it describes itself.

Examples:
  agentidp provider create --name ghes --kind github \
    --issuer https://github.example.com/_services/token
  agentidp provider create --name cluster --issuer https://kubernetes.default.svc.cluster.local \
    --jwks-file jwks.json
  agentidp provider create -f provider.yaml`
}

// Run creates.
func (c *providerCreateCmd) Run(ctx context.Context, std *IO, k *kong.Context) error {
	flags, err := c.given(k, nil)
	if err != nil {
		return err
	}
	p, err := createdFrom[agentidp.RegisteredProvider](std, k, &c.Body, flags)
	if err != nil {
		return err
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	p, err = cl.CreateProvider(ctx, p.ProviderSpec)
	if err != nil {
		return err
	}
	return printProvider(std, &c.Printing, p)
}

type providerUpdateCmd struct {
	Managing  `embed:""`
	Printing  `embed:""`
	Body      `embed:""`
	Unsetting `embed:""`

	ProviderName   string `arg:"" name:"name" help:"Name of the provider."`
	providerFields `embed:""`
}

// Help is shown by provider update --help.
func (*providerUpdateCmd) Help() string {
	return `Flags change what they name, and all else stays; of --jwks-uri and --jwks-file one
takes the other's place, and --unset jwks-uri asks the issuer again where its keys
are. With --file the provider becomes what the file says, and what it leaves out goes
back to its default. Who changes what somebody else has changed meanwhile is told so,
and nothing is changed. Name, kind and issuer never change. AGENTIDP_TOKEN holds the
access token.

Examples:
  agentidp provider update ghes --max-token-age-seconds 600
  agentidp provider update cluster --jwks-file jwks.json`
}

// Run changes.
func (c *providerUpdateCmd) Run(ctx context.Context, std *IO, k *kong.Context) error {
	patch, err := c.given(k, c.Unset)
	if err != nil {
		return err
	}
	p, err := updated(std, &c.Managing, &c.Body, patch, updating[agentidp.RegisteredProvider]{
		change: func(cl *client.Client, patch object) (*agentidp.RegisteredProvider, error) {
			return c.change(ctx, cl, patch)
		},
		replace: func(cl *client.Client, said *agentidp.RegisteredProvider) (*agentidp.RegisteredProvider, error) {
			return c.replace(ctx, cl, said)
		},
		now: "agentidp provider get " + c.ProviderName + " shows the provider as it is now.",
	})
	if err != nil {
		return err
	}
	return printProvider(std, &c.Printing, p)
}

// change changes what the patch names.
func (c *providerUpdateCmd) change(ctx context.Context, cl *client.Client, patch object) (*agentidp.RegisteredProvider, error) {
	return cl.ChangeProvider(ctx, c.ProviderName, func(spec *agentidp.ProviderSpec) error {
		// Keys and where to fetch them: one takes the other's place.
		for name, other := range map[string]string{"jwks": "jwksUri", "jwksUri": "jwks"} {
			if _, said := patch[other]; !said && patch[name] != nil {
				patch[other] = nil
			}
		}
		return patched(spec, patch)
	})
}

// replace makes the provider what a file says of it, whole. A file that names a
// revision replaces that one alone.
func (c *providerUpdateCmd) replace(ctx context.Context, cl *client.Client, said *agentidp.RegisteredProvider) (*agentidp.RegisteredProvider, error) {
	revision := said.Revision
	if revision == 0 {
		now, err := cl.GetProvider(ctx, c.ProviderName)
		if err != nil {
			return nil, err
		}
		revision = now.Revision
	}
	return cl.ReplaceProvider(ctx, c.ProviderName, revision, said.ProviderSpec)
}
