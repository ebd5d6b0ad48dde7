package telemetry

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"

	"roomlink/internal/secret"
	"roomlink/internal/web"
)

// checkTimeout bounds all checks of one request.
const checkTimeout = 3 * time.Second

// Check is a health check.
type Check struct {
	Name string
	// Run returns nil if the check passes. Its error must not contain a secret.
	Run func(context.Context) error
}

// Operations serves the endpoints for operators.
type Operations struct {
	// Live lists the checks of failures that a restart repairs.
	Live []Check
	// Ready lists the checks of failures that stop the process from accepting work.
	Ready    []Check
	Gatherer prometheus.Gatherer
	// Open serves the profiles and the log level without a token. Use it on loopback only: requests with a Host header of
	// another place are then refused, so that no page of another site reaches them by DNS rebinding.
	Open bool
	// Token is the bearer token for both if Open is false. If it is empty, nobody has
	// access.
	Token secret.String
	// Level is the level of the log; nil for one that nobody may change. Logger logs its changes.
	Level  *Level
	Logger zerolog.Logger
}

// Handler returns the endpoints /livez, /readyz, /metrics, /loglevel and /debug/pprof/.
func (o Operations) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", answerChecks(o.Live))
	mux.HandleFunc("GET /readyz", answerChecks(slices.Concat(o.Live, o.Ready)))
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Gatherer, promhttp.HandlerOpts{Timeout: 10 * time.Second}))
	profiles := http.NewServeMux()
	profiles.HandleFunc("GET /debug/pprof/", pprof.Index)
	profiles.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	profiles.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	profiles.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	profiles.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.Handle("/debug/pprof/", o.requireToken(profiles))
	if o.Level != nil {
		mux.Handle("GET /loglevel", o.requireToken(http.HandlerFunc(o.answerLevel)))
		mux.Handle("PUT /loglevel", o.requireToken(http.HandlerFunc(o.answerLevel)))
	}
	return o.checkHost(mux)
}

// checkHost refuses requests to another host than loopback, if only loopback is served.
func (o Operations) checkHost(next http.Handler) http.Handler {
	if !o.Open {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if !web.IsLoopback(net.JoinHostPort(strings.Trim(host, "[]"), "0")) {
			http.Error(w, "the Host header names another machine: use localhost or 127.0.0.1", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// requireToken refuses requests without the operator's bearer token.
func (o Operations) requireToken(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		valid := subtle.ConstantTimeCompare([]byte(token), []byte(o.Token.Reveal())) == 1
		if !o.Open && (o.Token == "" || !valid) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="roomlink operations"`)
			http.Error(w, "send the operator's token (ROOMLINK_OPS_TOKEN) as a bearer token", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// answerChecks runs checks and answers with a line for each. The status is 200 if all pass,
// else 503.
func answerChecks(checks []Check) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
		defer cancel()
		status := http.StatusOK
		var lines strings.Builder
		for _, check := range checks {
			if err := check.Run(ctx); err != nil {
				status = http.StatusServiceUnavailable
				fmt.Fprintf(&lines, "[-] %s: %v\n", check.Name, err)
				continue
			}
			fmt.Fprintf(&lines, "[+] %s\n", check.Name)
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		fmt.Fprint(w, lines.String())
	}
}
