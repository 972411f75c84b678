package metrics

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sentryagent/agentidp"
)

// Sample is what a node knows when it is scraped. What others count stays theirs.
type Sample struct {
	Ready bool

	// Events counts the events of the audit log that this process wrote.
	Events map[agentidp.EventType]int64
	// CommitFailures and CommitWaits count the commits that failed, and the times
	// that an exchange waited because a row it rests on was about to change.
	CommitFailures, CommitWaits int64

	// KeyFetches and KeyFailures count requests for the key sets of issuers.
	KeyFetches, KeyFailures uint64
	Issuers                 []Issuer

	// ClockSlow and ClockFast count authentic tokens that were refused as if the clock
	// here were slow, or fast.
	ClockSlow, ClockFast uint64

	// SigningKeyAge is how long the oldest of the keys that sign has signed.
	SigningKeyAge time.Duration
	// DatabaseBytes are the sizes of the files of an embedded database, by what they
	// are.
	DatabaseBytes map[string]int64
	// LogLinesDropped counts the lines of the log that nobody read.
	LogLinesDropped int64
}

// Issuer is a key set that is fetched, of the host that it comes from.
type Issuer struct {
	Host      string
	Reachable bool          // the latest attempt to fetch it did not fail
	Age       time.Duration // since it was fetched; negative: it is not known
	Ignored   int           // keys for signatures that are not used
}

// Read registers the metrics that are read at each scrape. take must return soon.
func (m *Metrics) Read(take func() Sample) {
	m.registry.MustRegister(&sampled{take: take})
}

// sampled turns samples into metrics.
type sampled struct {
	take  func() Sample
	hosts names
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("agentidp_"+name, help, labels, nil)
}

var (
	readyDesc      = desc("ready", "1 if an exchange could be decided, signed and recorded, as /readyz has it; else 0.")
	eventsDesc     = desc("events_total", "Events of the audit log that this process wrote, by type.", "type")
	failuresDesc   = desc("commit_failures_total", "Commits of exchanges that failed, or whose outcome is not known.")
	waitsDesc      = desc("commit_waits_total", "Times that an exchange waited because what it rests on was about to change.")
	fetchesDesc    = desc("issuer_key_fetches_total", "Requests for key sets of issuers, by result (ok, error).", "result")
	reachableDesc  = desc("issuer_keys_reachable", "1 if the latest attempt to fetch a key set from this host did not fail; else 0.", "host")
	issuerAgeDesc  = desc("issuer_keys_age_seconds", "Time since the key set of this host was fetched, of the oldest where there are several.", "host")
	ignoredDesc    = desc("issuer_keys_ignored", "Keys for signatures in the key sets of this host that are not used: weak, malformed, or of an algorithm that is not supported.", "host")
	clockDesc      = desc("clock_skew_suspected_total", "Authentic tokens that were refused as if the clock here were slow (not valid yet) or fast (expired a few minutes ago).", "clock")
	signingAgeDesc = desc("signing_key_age_seconds", "How long the oldest signing key that still signs has signed, of the organizations that this process has served.")
	databaseDesc   = desc("database_size_bytes", "Size of the SQLite database by file (database, wal); absent with PostgreSQL.", "file")
	linesDesc      = desc("log_lines_dropped_total", "Lines of the log that were dropped, because nobody read it or it could not be written.")
)

// Describe is part of prometheus.Collector.
func (s *sampled) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{readyDesc, eventsDesc, failuresDesc, waitsDesc, fetchesDesc, reachableDesc, issuerAgeDesc, ignoredDesc, clockDesc, signingAgeDesc, databaseDesc, linesDesc} {
		ch <- d
	}
}

// Collect is part of prometheus.Collector.
func (s *sampled) Collect(ch chan<- prometheus.Metric) {
	now := s.take()
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	send(readyDesc, prometheus.GaugeValue, truth(now.Ready))
	for _, typ := range agentidp.EventTypes { // at zero from the start, or a first one would be no increase
		send(eventsDesc, prometheus.CounterValue, float64(now.Events[typ]), string(typ))
	}
	send(failuresDesc, prometheus.CounterValue, float64(now.CommitFailures))
	send(waitsDesc, prometheus.CounterValue, float64(now.CommitWaits))
	send(fetchesDesc, prometheus.CounterValue, float64(now.KeyFetches-now.KeyFailures), "ok")
	send(fetchesDesc, prometheus.CounterValue, float64(now.KeyFailures), "error")
	for host, of := range s.byHost(now.Issuers) {
		send(reachableDesc, prometheus.GaugeValue, truth(of.Reachable), host)
		send(ignoredDesc, prometheus.GaugeValue, float64(of.Ignored), host)
		if of.Age >= 0 {
			send(issuerAgeDesc, prometheus.GaugeValue, of.Age.Seconds(), host)
		}
	}
	send(clockDesc, prometheus.CounterValue, float64(now.ClockSlow), "slow")
	send(clockDesc, prometheus.CounterValue, float64(now.ClockFast), "fast")
	send(signingAgeDesc, prometheus.GaugeValue, math.Max(0, now.SigningKeyAge.Seconds()))
	send(linesDesc, prometheus.CounterValue, float64(now.LogLinesDropped))
	for file, size := range now.DatabaseBytes {
		send(databaseDesc, prometheus.GaugeValue, float64(size), file)
	}
}

// byHost puts together the key sets of one host: the worst of them counts, and what is
// ignored in all of them.
func (s *sampled) byHost(issuers []Issuer) map[string]Issuer {
	hosts := make(map[string]Issuer)
	for _, i := range issuers {
		host := s.hosts.bounded(i.Host)
		if of, more := hosts[host]; more {
			i.Reachable = i.Reachable && of.Reachable
			i.Age = max(i.Age, of.Age)
			i.Ignored += of.Ignored
		}
		hosts[host] = i
	}
	return hosts
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
