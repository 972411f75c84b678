package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const (
	maxPolicyFile  = 1 << 20 // bytes
	maxPolicyFiles = 10_000
	maxPolicyBytes = 64 << 20 // in all files together
)

// policyFile is a file of policies.
type policyFile struct {
	name string // as people find it
	data []byte
}

// policyFiles are the files of policies that somebody named, in a fixed order. Of a
// directory they are all whose names end in .yaml, .yml or .json, with those of the
// directories in it; what begins with a dot is passed over. A link is followed to a file
// within the directory and to nothing else, and whatever cannot be read is an error: a
// file that is not seen would be a policy that is pruned.
type policyFiles struct {
	in    io.Reader
	files []policyFile
	size  int
}

func findPolicyFiles(std *IO, names []string) ([]policyFile, error) {
	found := &policyFiles{in: std.In}
	var errs []error
	for _, name := range names {
		if err := found.find(name); err != nil {
			errs = append(errs, usageError{fmt.Errorf("--file: %w", err)})
		}
	}
	return found.files, errors.Join(errs...)
}

func (p *policyFiles) find(name string) error {
	if name == "-" {
		return p.add("standard input", p.in)
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return p.findIn(filepath.Clean(name))
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return p.add(filepath.Clean(name), f)
}

func (p *policyFiles) findIn(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		shown := filepath.Join(dir, filepath.FromSlash(name))
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", shown, err)
		case name == ".":
			return nil
		case strings.HasPrefix(entry.Name(), "."):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			return nil
		}
		info, err := root.Stat(name) // of what a link leads to, within the directory
		switch {
		case err != nil:
			return fmt.Errorf("%s: it cannot be followed within %s: %w", shown, dir, err)
		case info.IsDir():
			return fmt.Errorf("%s: it is a link to a directory, which is not followed; name that with another -f", shown)
		case !slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(name)):
			return nil
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s: it is no file", shown)
		}
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		return p.add(shown, f)
	})
}

// add reads a file, once however often it was named.
func (p *policyFiles) add(name string, in io.Reader) error {
	if slices.ContainsFunc(p.files, func(f policyFile) bool { return f.name == name }) {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(in, maxPolicyFile+1))
	p.size += len(data)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	case len(data) > maxPolicyFile:
		return fmt.Errorf("%s: it is larger than %d KiB; divide it", name, maxPolicyFile>>10)
	case len(p.files) == maxPolicyFiles:
		return fmt.Errorf("there are more than %d files", maxPolicyFiles)
	case p.size > maxPolicyBytes:
		return fmt.Errorf("the files are larger than %d MiB together", maxPolicyBytes>>20)
	}
	p.files = append(p.files, policyFile{name, data})
	return nil
}
