package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sentryagent/agentidp/internal/store"
)

// Settings that tell programs beside the server how it issues, and other servers of the
// installation how they should.
const (
	publicURLSetting   = "public_url"
	signingAlgSetting  = "signing_alg"
	keyRotationSetting = "key_rotation"
)

// shared are the settings that all servers of an installation have alike, each under the
// name under which it is stored. (The master key is another: without the right one, no
// server starts.)
func (a *App) shared() map[string]sharedSetting {
	return map[string]sharedSetting{
		publicURLSetting:   {"public-url (AGENTIDP_PUBLIC_URL)", a.cfg.PublicURL},
		signingAlgSetting:  {"signing-alg (AGENTIDP_SIGNING_ALG)", a.cfg.SigningAlg},
		keyRotationSetting: {"key-rotation (AGENTIDP_KEY_ROTATION)", a.cfg.KeyRotation.String()},
	}
}

type sharedSetting struct{ name, value string }

// announce stores them where they are others than at the last start, of this server or of
// another. That is no reason to stop: it is how a setting is changed.
func (a *App) announce(ctx context.Context) error {
	for name, here := range a.shared() {
		known, err := a.db.Setting(ctx, name)
		if err == nil && known == here.value {
			continue
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err == nil {
			a.logger.Warn("a setting that all servers of an installation have alike is another than at the last start of one: start the others with it too, or this one with theirs",
				"setting", here.name, "was", known, "is", here.value)
		}
		if err := a.db.Write(ctx, func(tx *store.Tx) error { return tx.SetSetting(ctx, name, here.value) }); err != nil {
			return err
		}
	}
	return nil
}

// compareSettings says once, for each value, that another server was started with it since
// this one, which has another.
func (a *App) compareSettings(ctx context.Context) error {
	shared, told := a.shared(), a.follow.differ
	for _, name := range slices.Sorted(maps.Keys(shared)) {
		there, err := a.db.Setting(ctx, name)
		if err != nil {
			return fmt.Errorf("compare settings with other servers: %w", err)
		}
		here := shared[name]
		if there != here.value && there != told[name] {
			a.logger.Error("another server of this installation was started with another value of a setting that all have alike: what one issues may be refused by the other; give both the same and start them again",
				"setting", here.name, "here", here.value, "there", there)
		}
		told[name] = there
	}
	return nil
}
