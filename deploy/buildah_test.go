package deploy_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The image is built from the Dockerfile as it stands, with this machine's Go in the
// place of the image that has it; and it is run.
func TestTheImage(t *testing.T) {
	t.Parallel()
	needs(t, "buildah")
	if os.Getuid() != 0 {
		t.Skip("buildah mounts images for root alone")
	}
	b := buildah{t, folder(t)}
	b.build("localhost/agentidp")
	container := b.run("from", "--pull-never", "localhost/agentidp")
	root := b.run("mount", container)
	defer b.run("umount", container)

	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, strings.TrimPrefix(path, root))
		}
		return err
	})
	if want := []string{"/agentidp", "/etc/ssl/certs/ca-certificates.crt"}; err != nil || !slices.Equal(files, want) {
		t.Errorf("the image holds %v, %v, want %v", files, err, want)
	}
	var image struct {
		Docker struct {
			Config struct {
				User            string
				Entrypoint, Cmd []string
				Healthcheck     struct{ Test []string }
			}
		}
	}
	if err := json.Unmarshal([]byte(b.run("inspect", "--type", "image", "localhost/agentidp")), &image); err != nil {
		t.Fatal(err)
	}
	if c := image.Docker.Config; c.User != "65532:65532" || !slices.Equal(c.Entrypoint, []string{"/agentidp"}) || !slices.Equal(c.Cmd, []string{"serve"}) ||
		!slices.Equal(c.Healthcheck.Test, []string{"CMD", "/agentidp", "health"}) {
		t.Errorf("the image is run as %+v", c)
	}
	servesIn(t, root)
}

// buildah builds images without a daemon and without namespaces, in a storage of the
// test's own.
type buildah struct {
	t       *testing.T
	storage string
}

func (b *buildah) run(args ...string) string {
	b.t.Helper()
	cmd := exec.Command("buildah", append([]string{"--storage-driver", "vfs", "--root", filepath.Join(b.storage, "root"), "--runroot", filepath.Join(b.storage, "run")}, args...)...)
	cmd.Env = append(os.Environ(), "BUILDAH_ISOLATION=chroot", "BUILDAH_FORMAT=docker") // in the other format there is no HEALTHCHECK
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		var failed *exec.ExitError
		errors.As(err, &failed)
		b.t.Fatalf("buildah %s: %v\n%s", strings.Join(args, " "), err, failed.Stderr)
	}
	return strings.TrimSpace(string(out))
}

// build builds the image of the Dockerfile. No registry is asked for an image: the one
// that builds has nothing but this machine's Go, whose caches it shares.
func (b *buildah) build(name string) {
	b.t.Helper()
	var env map[string]string
	if err := json.Unmarshal([]byte(run(b.t, exec.Command("go", "env", "-json"))), &env); err != nil {
		b.t.Fatal(err)
	}
	const goRoot, goPath, goCache = "/usr/local/go", "/go", "/cache"
	builder := b.run("from", "scratch")
	config := []string{"config", "--env", "PATH=" + goRoot + "/bin", "--env", "HOME=/tmp", "--env", "GOPATH=" + goPath, "--env", "GOCACHE=" + goCache,
		"--env", "GOTOOLCHAIN=local", "--env", "GOFLAGS=-buildvcs=false"} // there is no git in it
	for _, name := range []string{"GOPROXY", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GOINSECURE", "GOPRIVATE"} {
		config = append(config, "--env", name+"="+env[name])
	}
	b.run(append(config, builder)...)
	b.run("copy", builder, folder(b.t), "/tmp")
	b.run("copy", builder, filepath.Join(env["GOROOT"], "bin"), goRoot+"/bin") // programs are looked for before the volumes are there
	b.run("copy", builder, "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/ca-certificates.crt")
	b.run("commit", "--rm", builder, "localhost/go")
	b.run("build", "--pull-never", "--file", "deploy/Dockerfile", "--tag", name, "--build-arg", "BUILDER=localhost/go",
		"--volume", env["GOROOT"]+":"+goRoot+":ro", "--volume", env["GOMODCACHE"]+":"+goPath+"/pkg/mod", "--volume", env["GOCACHE"]+":"+goCache, ".")
}
