package config

import "testing"

func TestNoPasswordIsShown(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, given, want string }{
		{"a user's", "postgres://u:hunter2@db/x", "postgres://u:xxxxx@db/x"},
		{"without a user", "postgres://:hunter2@db/x", "postgres://:xxxxx@db/x"},
		{"with an @ that should have been encoded", "postgres://u:hunter@2@db/x", "postgres://u:xxxxx@db/x"},
		{"with a slash that should have been encoded", "postgres://u:hunter/2@db/x", "postgres://u:xxxxx@db/x"},
		{"of several hosts", "postgres://u:hunter2@a:5432,b:5432/x?a=b", "postgres://u:xxxxx@a:5432,b:5432/x?a=b"},
		{"a parameter", "postgres://db/x?password=hunter2&a=b", "postgres://db/x?password=xxxxx&a=b"},
		{"a parameter for a key", "postgres://db/x?a=b&sslpassword=hunter2", "postgres://db/x?a=b&sslpassword=xxxxx"},
		{"none", "postgres://u@db:5432/x?sslmode=verify-full", "postgres://u@db:5432/x?sslmode=verify-full"},
		{"a port and a path with an @", "sqlite:/x/a@b.db", "sqlite:/x/a@b.db"},
	} {
		if got := Masked(tt.given); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
