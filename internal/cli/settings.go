package cli

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"

	"github.com/alecthomas/kong"

	"github.com/sentryagent/agentidp/internal/config"
)

// settings are the flags of a command that may come from the environment and from
// the configuration file too: those of serve, and of every command that works on the
// database. A flag comes before the environment, that before the file, that before
// the default.
//
// kong ends at the first value that it cannot read. Here such values are kept until
// all is read, so that all that is wrong is said at once.
type settings struct {
	keys      []config.Key // what may stand in a file, whichever command reads it
	known     map[*kong.Value]bool
	reading   func(*kong.Value) string // names the place that is being read
	malformed []malformed
	file      *config.File
	fileErr   error
	opened    bool
}

// malformed is a value that is not of its setting's type.
type malformed struct {
	setting *kong.Value
	wrong   string
	given   string
}

// configFlag marks a command that has settings.
const configFlag = "config"

func newSettings() *settings {
	return &settings{known: map[*kong.Value]bool{}, reading: func(v *kong.Value) string { return "--" + v.Name }}
}

// options let kong read the file too, and tell what it reads.
func (s *settings) options() kong.Option {
	reads := func(place func(*kong.Value) string) func() error {
		return func() error {
			s.reading = place
			return nil
		}
	}
	return kong.OptionFunc(func(k *kong.Kong) error {
		return errors.Join(
			kong.Bind(s).Apply(k),
			kong.Resolvers(s).Apply(k),
			kong.WithBeforeReset(reads(func(v *kong.Value) string { return v.Tag.Envs[0] })).Apply(k),
			kong.WithBeforeResolve(reads(func(v *kong.Value) string { return s.file.Where(v.Name) })).Apply(k),
		)
	})
}

// take finds the settings of a command and of those below it.
func (s *settings) take(node *kong.Node) {
	if configOf(node) != nil {
		for _, f := range node.Flags {
			if len(f.Envs) == 0 || slices.Contains(notFlags, f.Envs[0]) {
				continue
			}
			s.known[f.Value] = true
			f.Mapper = &lenient{f.Mapper, s}
			if f.Name != configFlag && !slices.ContainsFunc(s.keys, func(k config.Key) bool { return k.Name == f.Name }) {
				s.keys = append(s.keys, config.Key{Name: f.Name, Sep: separator(f)})
			}
		}
	}
	for _, child := range node.Children {
		s.take(child)
	}
}

func separator(f *kong.Flag) string {
	if !f.IsSlice() || f.Tag.Sep < 0 {
		return ""
	}
	return string(f.Tag.Sep)
}

// configOf returns the flag that names the file, nil for a command without settings.
func configOf(node *kong.Node) *kong.Flag {
	for _, f := range node.Flags {
		if f.Name == configFlag {
			return f
		}
	}
	return nil
}

// lenient keeps what cannot be read, and reads on.
type lenient struct {
	kong.Mapper
	settings *settings
}

// Decode reads a value of a setting.
func (l *lenient) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	token := ctx.Scan.Peek()
	err := l.Mapper.Decode(ctx, target)
	if err == nil || !token.IsValue() {
		return err
	}
	wrong := err.Error()
	switch target.Kind() {
	case reflect.Bool:
		wrong = fmt.Sprintf("%q is neither true nor false", token)
	case reflect.Int, reflect.Uint:
		wrong = fmt.Sprintf("%q is not a whole number", token)
	}
	l.settings.malformed = append(l.settings.malformed, malformed{ctx.Value, wrong, l.settings.reading(ctx.Value)})
	target.SetZero()
	return nil
}

// Validate is for kong; check does it.
func (*settings) Validate(*kong.Application) error { return nil }

// Resolve gives kong the file's value of a flag that stands neither on the command
// line nor in the environment.
func (s *settings) Resolve(k *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if !s.known[flag.Value] || flag.Name == configFlag {
		return nil, nil
	}
	s.open(k)
	text, ok := s.file.Lookup(flag.Name)
	if _, set := os.LookupEnv(flag.Envs[0]); set || !ok {
		return nil, nil
	}
	return text, nil
}

// open reads the file, once.
func (s *settings) open(k *kong.Context) {
	flag := configOf(k.Selected())
	if s.opened || flag == nil {
		return
	}
	s.opened = true
	if path, _ := k.FlagValue(flag).(string); path != "" {
		s.file, s.fileErr = config.ReadFile(path, s.keys)
	}
}
