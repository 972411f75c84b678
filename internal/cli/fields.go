package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// memberTag is the tag of a flag that stands for a member of what is sent, under the
// API's name.
const memberTag = "member"

// Unsetting is for commands that change some members and leave the others.
type Unsetting struct {
	Unset []string `sep:"none" placeholder:"FLAG" help:"Take away what --FLAG has set: --unset description. Repeatable; of several named values one alone is --unset label.team."`
}

// given returns the members that the command line itself sets or takes away, as a
// merge patch (RFC 7396).
func given(k *kong.Context, unset []string) (object, error) {
	patch := object{}
	for _, path := range k.Path {
		if f := path.Flag; f != nil && !path.Resolved && f.Tag.Has(memberTag) {
			patch[f.Tag.Get(memberTag)] = f.Target.Interface()
		}
	}
	patch, err := viaJSON(patch)
	if err != nil {
		return nil, err
	}
	names := memberFlags(k.Selected())
	for _, name := range unset {
		flag, key, one := strings.Cut(name, ".")
		member, known := names[flag]
		if !known {
			return nil, usageError{fmt.Errorf("--unset: %q is none of %s", name, strings.Join(slices.Sorted(maps.Keys(names)), ", "))}
		}
		named, _ := patch[member].(object)
		if _, both := patch[member]; both && (!one || named[key] != nil) {
			return nil, usageError{fmt.Errorf("--unset %s and --%s contradict each other; leave one out", name, flag)}
		}
		if one {
			merge(patch, object{member: object{key: nil}})
			continue
		}
		patch[member] = nil
	}
	return patch, nil
}

// memberFlags are the flags of a command that stand for members.
func memberFlags(node *kong.Node) map[string]string {
	names := map[string]string{}
	for _, f := range node.Flags {
		if f.Tag.Has(memberTag) {
			names[f.Name] = f.Tag.Get(memberTag)
		}
	}
	return names
}

// merge puts the members of a merge patch (RFC 7396) over those of an object, which may
// be such a patch itself: null stays null.
func merge(o, patch object) {
	for name, value := range patch {
		from, isObject := value.(object)
		to, both := o[name].(object)
		if isObject && both {
			merge(to, from)
			continue
		}
		o[name] = value
	}
}

// withoutNulls takes the members away of which an object says null.
func withoutNulls(o object) {
	for name, value := range o {
		switch value := value.(type) {
		case nil:
			delete(o, name)
		case object:
			withoutNulls(value)
		}
	}
}

// viaJSON returns v as its JSON says it.
func viaJSON(v any) (object, error) {
	doc, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	o := object{}
	return o, json.Unmarshal(doc, &o)
}

// created returns the object that a command line asks to create: what the file says,
// and the flags on top.
func created[T any](std *IO, k *kong.Context, body *Body) (*T, error) {
	flags, err := given(k, nil)
	if err != nil {
		return nil, err
	}
	return createdFrom[T](std, k, body, flags)
}

func createdFrom[T any](std *IO, k *kong.Context, body *Body, flags object) (*T, error) {
	o, err := body.read(std)
	if err != nil {
		return nil, err
	}
	if merge(o, flags); len(o) == 0 {
		return nil, usageError{errors.New("there is nothing to create: give flags, or --file FILE")}
	}
	v, err := as[T](o)
	if err != nil {
		return nil, err
	}
	return v, checkRequired[T](o, body, memberFlags(k.Selected()))
}

// checkRequired refuses an object without a member that it must have, which would be
// sent as an empty text.
func checkRequired[T any](o object, body *Body, flags map[string]string) error {
	var errs []error
	for _, flag := range slices.Sorted(maps.Keys(flags)) {
		switch member := flags[flag]; {
		case !slices.Contains(requiredMembers(reflect.TypeFor[T]()), member) || o[member] != nil && o[member] != "":
		case body.File != "":
			errs = append(errs, fmt.Errorf("%s is required: say it in the file, or give --%s", member, flag))
		default:
			errs = append(errs, fmt.Errorf("--%s is required", flag))
		}
	}
	if len(errs) > 0 {
		return usageError{errors.Join(errs...)}
	}
	return nil
}
