package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/keys"
)

// CheckFiles looks at the files that the settings name, and returns all that would
// stop a start. It makes and changes nothing, and opens no database: whether the
// master key is the database's own shows at the start.
func CheckFiles(cfg config.Config) error {
	master := masterKeySource(&cfg, !cfg.PostgreSQL())
	errs := []error{checkFolder(cfg.DataDir), master.Check()}
	if cfg.TLSCertFile != "" && cfg.TLSKeyFile != "" {
		_, err := readPair(cfg.TLSCertFile, cfg.TLSKeyFile)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func masterKeySource(cfg *config.Config, create bool) keys.MasterKeySource {
	return keys.MasterKeySource{Value: cfg.MasterKey, File: cfg.MasterKeyFile, MayCreate: create}
}

// listenRemedy says what to do where an address cannot be had.
func listenRemedy(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "ports below 1024 need the capability cap_net_bind_service; or give another address"
	}
	return "stop whatever has it, or give another address"
}

// dataFolder makes the data directory.
func dataFolder(dir string) error {
	err := os.MkdirAll(dir, 0o700)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("data-dir (AGENTIDP_DATA_DIR): %w; make it for this user: sudo install -d -m 700 -o USER %s", err, dir)
	}
	if err != nil {
		return fmt.Errorf("data-dir (AGENTIDP_DATA_DIR): %w", err)
	}
	return checkFolder(dir)
}

// checkFolder refuses a data directory that others can write to: whoever can, may put
// a database of their own there. One that is not there yet is made at the start.
func checkFolder(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("data-dir (AGENTIDP_DATA_DIR): %w", err)
	case !info.IsDir():
		return fmt.Errorf("data-dir (AGENTIDP_DATA_DIR): %s is a file; give a folder", dir)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("data-dir (AGENTIDP_DATA_DIR): %s can be written by others (mode %04o); run: chmod go-w %[1]s", dir, info.Mode().Perm())
	}
	return nil
}
