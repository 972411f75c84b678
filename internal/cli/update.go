package cli

import (
	"errors"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

var errNothingToChange = usageError{errors.New("there is nothing to change: give flags, --unset FLAG, or --file FILE")}

// updating is what a command does that changes something which has a revision.
type updating[T any] struct {
	change  func(cl *client.Client, patch object) (*T, error) // what a patch names
	replace func(cl *client.Client, said *T) (*T, error)      // the whole
	now     string                                            // says how to see what somebody else made of it
}

// updated changes what the patch names; with a file it replaces the whole by what the
// file says, and the patch on top.
func updated[T any](std *IO, m *Managing, body *Body, patch object, do updating[T]) (*T, error) {
	if body.File == "" && len(patch) == 0 {
		return nil, errNothingToChange
	}
	cl, err := m.client()
	if err != nil {
		return nil, err
	}
	save := func() (*T, error) { return do.change(cl, patch) }
	if body.File != "" {
		o, err := body.read(std)
		if err != nil {
			return nil, err
		}
		merge(o, patch)
		said, err := as[T](o)
		if err != nil {
			return nil, err
		}
		save = func() (*T, error) { return do.replace(cl, said) }
	}
	saved, err := save()
	if e, ok := errors.AsType[*client.Error](err); ok && e.Code == agentidp.CodePreconditionFailed {
		return nil, hinted{err, "Nothing was changed. " + do.now}
	}
	return saved, err
}

// patched puts the members of a patch over what is there, as JSON says both.
func patched[T any](spec *T, patch object) error {
	o, err := viaJSON(spec)
	if err != nil {
		return err
	}
	merge(o, patch)
	changed, err := as[T](o)
	if err != nil {
		return err
	}
	*spec = *changed
	return nil
}
