package dnstest_test

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/sentryagent/agentidp/internal/dnstest"
)

func TestNamesLeadWhereTheTableSays(t *testing.T) {
	t.Parallel()
	names := dnstest.New(dnstest.Table(map[string][]string{"ci.example": {"192.0.2.1", "2001:db8::1", "192.0.2.2"}}))
	got, err := names.Resolver().LookupNetIP(t.Context(), "ip", "ci.example")
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, netip.Addr.Compare)
	if want := dnstest.Table(map[string][]string{"": {"192.0.2.1", "192.0.2.2", "2001:db8::1"}})(""); !slices.Equal(got, want) {
		t.Errorf("got %s", got)
	}
	if names.Asked() != 2 {
		t.Errorf("%d questions", names.Asked())
	}
	_, err = names.Resolver().LookupNetIP(t.Context(), "ip", "other.example.")
	if e, ok := errors.AsType[*net.DNSError](err); !ok || !e.IsNotFound {
		t.Errorf("a name of nobody: %v", err)
	}
}
