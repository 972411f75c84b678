package pgtest_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sentryagent/agentidp/internal/pgtest"
)

func TestAClusterKeepsWhatItConfirmed(t *testing.T) {
	primary := pgtest.NewCluster(t)
	url := primary.CreateDatabase("kept")
	run(t, url, "CREATE TABLE kept (id BIGINT)")
	for i, mode := range []string{"fast", "immediate"} {
		run(t, url, "INSERT INTO kept VALUES ($1)", i)
		primary.Restart(mode)
	}
	if n := count(t, url); n != 2 {
		t.Errorf("%d rows after two restarts, want 2", n)
	}
	standby := primary.Standby("second", true)
	run(t, url, "INSERT INTO kept VALUES (2)")
	primary.Stop("immediate")
	standby.Promote()
	run(t, standby.URL("kept"), "INSERT INTO kept VALUES (3)")
	if n := count(t, standby.URL("kept")); n != 4 {
		t.Errorf("%d rows after the failover, want 4", n)
	}
}

func count(t *testing.T, url string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM kept").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
