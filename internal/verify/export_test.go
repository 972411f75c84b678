package verify

import "net/http"

// SetTransport replaces what requests are sent with, and thereby the guard on the
// addresses that hosts lead to; what an address says is still checked.
func (c *Config) SetTransport(t http.RoundTripper) { c.transport = t }
