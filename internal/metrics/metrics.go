// Package metrics is what a node tells Prometheus about itself: the names, what each
// means, and which labels there are. It is the only package that knows Prometheus.
//
// It does not own what is counted: packages that do the work count for themselves or
// call a function that they were handed, and internal/app connects both. Nor does it
// listen.
//
// Every label has few values, whatever strangers send: no repository, agent, key id,
// organization or path is one, because each value would be a series for ever and what
// a scraper may read. Names of providers and hosts of issuers are administrators'
// choice, and all the same not more than maxNames are told apart.
package metrics

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sentryagent/agentidp"
)

// The buckets of durations, in seconds. An exchange takes some milliseconds, or as
// long as storage or an issuer lets it wait.
var (
	requestBuckets = []float64{.005, .025, .1, .5, 1, 2.5, 10}
	commitBuckets  = []float64{.001, .0025, .005, .01, .025, .1, .5, 2.5, 10}
	sizeBuckets    = []float64{1, 2, 4, 8, 16, 32, 64}
)

// Metrics are the metrics of one node. All methods may be called by many goroutines.
type Metrics struct {
	registry *prometheus.Registry

	providers    names
	exchanges    *prometheus.CounterVec
	exchangeTime *prometheus.HistogramVec
	requestTime  *prometheus.HistogramVec
	inFlight     prometheus.Gauge
	unproven     prometheus.Counter
	turnedAway   *prometheus.CounterVec
	commitTime   prometheus.Histogram
	commitSize   prometheus.Histogram
}

// New returns metrics at zero, those of the Go run-time and of the process among them.
func New(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		exchanges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "agentidp_exchanges_total",
			Help: "Exchanges by outcome (allowed, denied, error, canceled), the answer's code, its reason, the provider, the mode (agent, bootstrap), and the grant (token_exchange, jwt_bearer, client_credentials).",
		}, []string{"outcome", "code", "reason", "provider", "mode", "grant"}),
		exchangeTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "agentidp_exchange_duration_seconds", Buckets: requestBuckets,
			Help: "How long exchanges took once the request was read, by outcome.",
		}, []string{"outcome"}),
		requestTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "agentidp_http_request_duration_seconds", Buckets: requestBuckets,
			Help: "How long requests took, with reading and writing, by route and class of status.",
		}, []string{"route", "status"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "agentidp_http_requests_in_flight", Help: "Requests that are being answered.",
		}),
		unproven: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "agentidp_requests_unproven_total", Help: "Requests that proved nothing, such as a wrong token or secret: failures of their addresses.",
		}),
		turnedAway: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "agentidp_requests_turned_away_total", Help: "Requests that were turned away before any work, by the answer's code.",
		}, []string{"code"}),
		commitTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "agentidp_commit_duration_seconds", Buckets: commitBuckets,
			Help: "How long the commits of exchanges took, tries that lost a race included.",
		}),
		commitSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "agentidp_commit_records", Buckets: sizeBuckets,
			Help: "How many exchanges shared a commit.",
		}),
	}
	for _, code := range []string{agentidp.CodeRateLimited, agentidp.CodeTemporarilyUnavailable, agentidp.CodeCrossSiteRequest} {
		m.turnedAway.WithLabelValues(code) // so that the first is a rise
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "agentidp_build_info", Help: "Always 1; the labels say which version this is, and which Go built it.",
	}, []string{"version", "goversion"})
	build.WithLabelValues(version, runtime.Version()).Set(1)
	m.registry.MustRegister(m.exchanges, m.exchangeTime, m.requestTime, m.inFlight, m.unproven, m.turnedAway, m.commitTime, m.commitSize, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Exchange is one exchange as it is counted.
type Exchange struct {
	Outcome  string // allowed, denied, error or canceled
	Code     string // of the error; empty: there was none
	Reason   string
	Provider string // empty: it got not so far
	Mode     string
	Grant    string
	Took     time.Duration
}

// Exchanged counts an exchange.
func (m *Metrics) Exchanged(x Exchange) {
	m.exchanges.WithLabelValues(x.Outcome, x.Code, x.Reason, m.providers.bounded(x.Provider), x.Mode, x.Grant).Inc()
	m.exchangeTime.WithLabelValues(x.Outcome).Observe(x.Took.Seconds())
}

// Begun counts a request that is being answered, until Ended is called.
func (m *Metrics) Begun() { m.inFlight.Inc() }

// Ended ends what Begun began.
func (m *Metrics) Ended() { m.inFlight.Dec() }

// Unproven counts a request that proved nothing.
func (m *Metrics) Unproven() { m.unproven.Inc() }

// TurnedAway counts a request that was turned away before any work, with this code.
func (m *Metrics) TurnedAway(code string) { m.turnedAway.WithLabelValues(code).Inc() }

// Answered counts an answer. The route is a pattern of the mux, never a path; empty:
// none matched.
func (m *Metrics) Answered(route string, status int, took time.Duration) {
	if route == "" {
		route = "none"
	}
	m.requestTime.WithLabelValues(route, class(status)).Observe(took.Seconds())
}

var classes = [...]string{1: "1xx", "2xx", "3xx", "4xx", "5xx"}

// class names the hundred that a status belongs to: 2xx.
func class(status int) string {
	if status < 100 || status > 599 {
		return "none" // the connection broke before there was an answer
	}
	return classes[status/100]
}

// Committed counts a commit of exchanges.
func (m *Metrics) Committed(records int, took time.Duration) {
	m.commitSize.Observe(float64(records))
	m.commitTime.Observe(took.Seconds())
}

// Handler answers a scrape, in the format that the scraper asks for. A number that
// cannot be had is left out, and the others are told.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4})
}

// Gatherer gives the numbers to those who do not scrape.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }
