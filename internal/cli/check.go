package cli

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sentryagent/agentidp/internal/config"
)

// byDefault is where a value comes from that nobody gave.
const byDefault = "default"

// source says what gave a setting its value: the flag, the variable, a line of the
// file, or nothing.
func (s *settings) source(k *kong.Context, flag *kong.Flag) string {
	for _, p := range k.Path {
		if p.Flag == flag && !p.Resolved {
			return "--" + flag.Name
		}
	}
	if _, set := os.LookupEnv(flag.Envs[0]); set {
		return flag.Envs[0]
	}
	if _, ok := s.file.Lookup(flag.Name); ok {
		return s.file.Where(flag.Name)
	}
	return byDefault
}

// of returns the settings of the command that was chosen.
func (s *settings) of(k *kong.Context) []*kong.Flag {
	var flags []*kong.Flag
	for _, f := range k.Selected().Flags {
		if s.known[f.Value] {
			flags = append(flags, f)
		}
	}
	return flags
}

// settingName is how an error about a setting begins.
var settingName = regexp.MustCompile(`^([a-z0-9-]+) \(AGENTIDP_[A-Z0-9_]+\): `)

// check says all that is wrong with the settings of a command, one a line: in the
// environment, in the file, with each value, and with what they are together. Each
// line tells where it has to be mended.
func (s *settings) check(k *kong.Context) error {
	if k.Selected() == nil || configOf(k.Selected()) == nil {
		return nil
	}
	told := map[string]bool{}
	errs := []error{checkEnvironment(k.Model.Node, os.Environ()), s.fileErr, s.checkValues(k, told)}
	if s.fileErr == nil || s.file != nil { // else what it would have said cannot be known
		errs = append(errs, s.complete(k, told))
	}
	return errors.Join(errs...)
}

// checkValues says which values of the command's settings cannot be read, and notes
// the settings.
func (s *settings) checkValues(k *kong.Context, told map[string]bool) error {
	var errs []error
	for _, f := range s.of(k) {
		source := s.source(k, f)
		wrong := func(format string, args ...any) {
			told[f.Name] = true
			errs = append(errs, fmt.Errorf("%s (%s): %s", f.Name, f.Envs[0], fmt.Sprintf(format, args...)))
		}
		for _, m := range s.malformed {
			if m.setting == f.Value && m.given == source {
				wrong("%s (from %s)", m.wrong, source)
			}
		}
		if _, ok := s.file.Lookup(f.Name); ok && source == f.Envs[0] && os.Getenv(source) == "" {
			wrong("the variable is empty, and %s has a value; unset the variable, or give it a value", s.file.Where(f.Name))
		}
	}
	return errors.Join(errs...)
}

// complete lets the command fill and check its settings, but for those that were told
// of, and adds to what it says where each value comes from.
func (s *settings) complete(k *kong.Context, told map[string]bool) error {
	command, ok := k.Selected().Target.Addr().Interface().(interface{ Complete() error })
	if !ok {
		return nil
	}
	err := command.Complete()
	if err == nil {
		return nil
	}
	sources := map[string]string{}
	for _, f := range s.of(k) {
		sources[f.Name] = s.source(k, f)
	}
	var errs []error
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimRight(line, "\n")
		if name := settingName.FindStringSubmatch(line); name != nil {
			if told[name[1]] {
				continue
			}
			if source := sources[name[1]]; source != "" && source != byDefault {
				line += " (from " + source + ")"
			}
		}
		errs = append(errs, errors.New(line))
	}
	return errors.Join(errs...)
}

// print shows every setting as it is, and what made it so. Passwords in URLs are left
// out, and so is the master key.
func (s *settings) print(std *IO, k *kong.Context) error {
	var rows [][]string
	for _, f := range s.of(k) {
		value := fmt.Sprint(f.Target.Interface())
		if d, ok := f.Target.Interface().(time.Duration); ok {
			value = durationText(d)
		}
		if list, ok := f.Target.Interface().([]string); ok {
			value = strings.Join(list, ",")
		}
		rows = append(rows, []string{f.Name, cmp.Or(printable(config.Masked(value)), "-"), printable(s.source(k, f))})
	}
	if _, set := os.LookupEnv("AGENTIDP_MASTER_KEY"); set {
		rows = append(rows, []string{"master-key", "(not shown)", "AGENTIDP_MASTER_KEY"})
	}
	return writeTable(std, 0, []string{"SETTING", "VALUE", "FROM"}, rows)
}
