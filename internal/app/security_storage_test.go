package app

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"os"
	"path/filepath"
	"testing"

	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/jose"
)

// whoever has the data directory but not the master key has no key that signs:
// no private key is in it that is not sealed, and the master key is in its own file
// alone. Tokens are not there either (TestNoTokenIsStored).
func TestA234ADatabaseAloneSignsNothing(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"ES256", "RS256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *config.Config) { c.SigningAlg = alg })
			w.agentWithPolicy(w.admin())
			if _, err := w.app.RotateKeys(t.Context(), w.slug, ""); err != nil {
				t.Fatal(err)
			}
			w.stop()
			master, err := os.ReadFile(w.app.cfg.MasterKeyFile)
			if err != nil {
				t.Fatal(err)
			}
			secrets := map[string][]byte{
				"a private key in PKCS#8": beginOfPKCS8(t, alg), "a private key in PEM": []byte("PRIVATE KEY-----"),
				"a private member of a JWK": []byte(`"d":`), "the master key": bytes.TrimSpace(master),
			}
			files, err := filepath.Glob(filepath.Join(w.app.cfg.DataDir, "*"))
			if err != nil || len(files) < 3 {
				t.Fatalf("%v, %v", files, err)
			}
			for _, file := range files {
				if file == w.app.cfg.MasterKeyFile {
					continue
				}
				content, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				for _, text := range append(decoded(content), content) {
					for what, secret := range secrets {
						if bytes.Contains(text, secret) {
							t.Errorf("%s holds %s", file, what)
						}
					}
				}
			}
		})
	}
}

// base64Runs returns the runs of at least forty letters of base64. All that all servers store
// comes by here, so it is no regular expression.
func base64Runs(content []byte) (runs [][]byte) {
	begin := 0
	for i := 0; i <= len(content); i++ {
		if i < len(content) && isBase64(content[i]) {
			continue
		}
		if i-begin >= 40 {
			runs = append(runs, content[begin:i])
		}
		begin = i + 1
	}
	return runs
}

func isBase64(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '+' || c == '/'
}

// decoded returns what the base64 in a file says, wherever it begins in a run of such
// letters: the columns of binary values hold it.
func decoded(content []byte) (texts [][]byte) {
	for _, run := range base64Runs(content) {
		for skip := range 4 {
			whole := run[skip : skip+(len(run)-skip)/4*4]
			text := make([]byte, base64.StdEncoding.DecodedLen(len(whole)))
			if n, err := base64.StdEncoding.Decode(text, whole); err == nil {
				texts = append(texts, text[:n])
			}
		}
	}
	return texts
}

// beginOfPKCS8 returns what every private key of an algorithm has near its beginning: the
// version and the algorithm (RFC 5208 §5).
func beginOfPKCS8(t *testing.T, alg string) []byte {
	t.Helper()
	key, err := jose.GenerateKey(alg)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	var private struct {
		Version   int
		Algorithm asn1.RawValue
		Key       []byte
	}
	if _, err := asn1.Unmarshal(der, &private); err != nil {
		t.Fatal(err)
	}
	begin := append([]byte{asn1.TagInteger, 1, byte(private.Version)}, private.Algorithm.FullBytes...)
	if !bytes.Contains(der, begin) {
		t.Fatal("a private key does not begin so")
	}
	return begin
}
