package verify

import (
	"context"
	"net"
	"net/http"
)

// SetTransport replaces what requests are sent with, and thereby the guard on the
// addresses that hosts lead to; what an address says is still checked.
func (c *Config) SetTransport(t http.RoundTripper) { c.transport = t }

// SetDial replaces what connects, under the same transport.
func (c *Config) SetDial(dial func(ctx context.Context, network, addr string) (net.Conn, error)) {
	c.dial = dial
}
