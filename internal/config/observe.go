package config

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// Off is the value of MetricsListen that disables it.
const Off = "off"

var (
	logFormats = []string{"auto", "text", "json"}
	logLevels  = []string{"debug", "info", "warn", "error"}
)

// completeMetrics checks the listener that is not for clients. Nothing set means that
// there is none: only the program's own default opens it.
func (c *Config) completeMetrics() error {
	if c.MetricsListen == "" {
		c.MetricsListen = Off
	}
	const metrics, pprof = "metrics-listen (AGENTIDP_METRICS_LISTEN)", "pprof (AGENTIDP_PPROF)"
	host, port, err := net.SplitHostPort(c.MetricsListen)
	switch {
	case c.MetricsListen == Off && c.Pprof:
		return fmt.Errorf("%s: profiles are served by the metrics listener, which is off; give metrics-listen (AGENTIDP_METRICS_LISTEN) an address on loopback", pprof)
	case c.MetricsListen == Off:
		return nil
	case err != nil || !isPort(port):
		return fmt.Errorf("%s: %q is not host:port, for example 127.0.0.1:9090; off disables it", metrics, c.MetricsListen)
	case c.MetricsListen == c.Listen && port != "0":
		return fmt.Errorf("%s: %q is the address that clients use; give it another, or off", metrics, c.MetricsListen)
	case c.Pprof && !IsLoopback(host):
		return fmt.Errorf("%s: refused with metrics-listen %q, which is not on loopback; profiles tell of the inside of the process, and whoever takes one slows it down", pprof, c.MetricsListen)
	}
	return nil
}

func (c *Config) completeLog() error {
	var errs []error
	if c.LogFormat == "" {
		c.LogFormat = "auto"
	}
	if c.LogLevel == "" {
		c.LogLevel = "info"
	}
	if !slices.Contains(logFormats, c.LogFormat) {
		errs = append(errs, fmt.Errorf("log-format (AGENTIDP_LOG_FORMAT): %q is none of %s", c.LogFormat, strings.Join(logFormats, ", ")))
	}
	if !slices.Contains(logLevels, c.LogLevel) {
		errs = append(errs, fmt.Errorf("log-level (AGENTIDP_LOG_LEVEL): %q is none of %s", c.LogLevel, strings.Join(logLevels, ", ")))
	}
	return errors.Join(errs...)
}
