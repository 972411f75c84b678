package cli

import (
	"encoding/json"
	"errors"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/sentryagent/agentidp/internal/nearest"
)

// as returns an object as the type whose JSON it is, or all that is wrong with it.
// Members that the type does not have are refused, and so are those that its JSON
// leaves out: a condition with a typing error must not be a condition less, nor a list
// of no events the list of all.
func as[T any](o object) (*T, error) {
	v, errs := typed[T](o)
	if len(errs) > 0 {
		return nil, usageError{errors.Join(errs...)}
	}
	return v, nil
}

// memberError is what is wrong with a member of an object.
type memberError struct {
	name   string
	reason error
}

func (e memberError) Error() string { return e.name + ": " + e.reason.Error() }

func (e memberError) Unwrap() error { return e.reason }

// typed is as, with an error for each member that is wrong.
func typed[T any](o object) (*T, []error) {
	var out T
	var errs []error
	withoutNulls(o)
	known := members(reflect.TypeFor[T]())
	for _, name := range sortedKeys(o) {
		if !slices.Contains(known, name) {
			errs = append(errs, noMember(name, known))
			continue
		}
		doc, err := json.Marshal(object{name: o[name]})
		if err != nil {
			return nil, []error{err}
		}
		if err := json.Unmarshal(doc, &out); err != nil {
			errs = append(errs, wrongType(name, err))
		}
	}
	if len(errs) == 0 {
		errs = lost(o, out)
	}
	return &out, errs
}

// lost refuses what an object says and its type does not say again.
func lost(o object, typed any) []error {
	said, err := viaJSON(typed)
	if err != nil {
		return []error{err}
	}
	var errs []error
	for _, name := range sortedKeys(o) {
		if _, kept := said[name]; !kept && o[name] != false {
			errs = append(errs, memberError{name, errors.New("it is empty or zero, which would be taken for the default; leave it out, or give a value")})
		}
	}
	return errs
}

func noMember(name string, known []string) error {
	remedy := "there are " + strings.Join(known, ", ")
	if n, ok := nearest.Name(name, known); ok {
		remedy = "did you mean " + n + "?"
	}
	return memberError{name, errors.New("there is no such member; " + remedy)}
}

func wrongType(name string, err error) error {
	if _, ok := errors.AsType[*time.ParseError](err); ok {
		return memberError{name, errors.New("it must be an instant such as 2026-11-21T12:00:00Z")}
	}
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return memberError{name, err} // our own, which repeats nothing
	}
	want := map[reflect.Kind]string{
		reflect.String: "text; put it in quotes", reflect.Bool: "true or false",
		reflect.Int: "a whole number", reflect.Int64: "a whole number",
		reflect.Slice: "a list", reflect.Map: "an object", reflect.Struct: "an object",
	}[wrong.Type.Kind()]
	return memberError{name, errors.New("it must be " + want)}
}

// members are the JSON names of a struct's fields, in their order, and of those that
// it embeds.
func members(t reflect.Type) []string {
	var names []string
	for field := range jsonFields(t) {
		names = append(names, memberName(&field))
	}
	return names
}

// requiredMembers are those of them that a caller says and cannot leave out.
func requiredMembers(t reflect.Type) []string {
	var names []string
	for field := range jsonFields(t) {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if options == "" && field.Tag.Get("readOnly") == "" {
			names = append(names, name)
		}
	}
	return names
}

// jsonFields are the fields that have a JSON name, and those of what is embedded.
func jsonFields(t reflect.Type) iter.Seq[reflect.StructField] {
	return func(yield func(reflect.StructField) bool) {
		for _, field := range reflect.VisibleFields(t) {
			name := memberName(&field)
			embedded := field.Anonymous && name == ""
			if name != "-" && !embedded && !yield(field) {
				return
			}
		}
	}
}

// memberName is what JSON calls a field.
func memberName(field *reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return name
}

func sortedKeys(o object) []string { return slices.Sorted(maps.Keys(o)) }
