package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sentryagent/agentidp"
)

// rotationInterval is how often it is looked for keys whose time is over.
const rotationInterval = 10 * time.Minute

// rotateAlways gives keys a successor when their time is over.
func (a *App) rotateAlways(ctx context.Context) {
	ticker := time.NewTicker(rotationInterval)
	defer ticker.Stop()
	for {
		if err := a.rotateDue(ctx); err != nil && ctx.Err() == nil {
			a.logger.Warn("keys whose time is over could not be given successors; trying again", "after", rotationInterval, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// rotateDue gives each organization's key a successor that has signed for as long as a
// key may. Of several servers one makes it.
func (a *App) rotateDue(ctx context.Context) error {
	if a.cfg.KeyRotation == 0 {
		return nil
	}
	orgs, err := a.db.Organizations(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for i := range orgs {
		if orgs[i].Status != agentidp.OrganizationActive {
			continue
		}
		rotation, err := a.ring.RotateDue(ctx, &orgs[i], a.cfg.KeyRotation)
		if err != nil {
			errs = append(errs, fmt.Errorf("organization %s: %w", orgs[i].Slug, err))
			continue
		}
		if rotation != nil && rotation.Next != nil {
			a.logger.Info("a signing key gets a successor, as scheduled", "organization", orgs[i].Slug,
				"kid", rotation.Signing.ID, "next", rotation.Next.ID, "signs_from", rotation.Next.SignsFrom.Format(time.RFC3339))
		}
	}
	return errors.Join(errs...)
}
