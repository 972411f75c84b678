// Package actionscore_test runs the real @actions/core against the emulator.
package actionscore_test

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"

	"github.com/sentryagent/agentidp/internal/emulator"
)

func TestGetIDToken(t *testing.T) {
	if _, err := os.Stat("node_modules/@actions/core"); err != nil {
		t.Skip("the toolkit is not installed: run npm ci in test/actionscore")
	}
	for _, format := range []emulator.SubFormat{emulator.SubClassic, emulator.SubImmutable, emulator.SubCustom} {
		t.Run(string(format), func(t *testing.T) {
			server := httptest.NewUnstartedServer(nil)
			e, err := emulator.New(emulator.Config{
				Issuer: "http://" + server.Listener.Addr().String(),
				Run:    emulator.Run{Repository: "acme/deploy", SubFormat: format},
			})
			if err != nil {
				t.Fatal(err)
			}
			server.Config.Handler = e.Handler()
			server.Start()
			defer server.Close()

			cmd := exec.CommandContext(t.Context(), "npm", "test")
			cmd.Env = append(os.Environ(),
				"ACTIONS_ID_TOKEN_REQUEST_URL="+e.RequestURL(), "ACTIONS_ID_TOKEN_REQUEST_TOKEN="+e.RequestToken())
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("npm test: %v\n%s", err, out)
			}
		})
	}
}
