package telemetry

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"roomlink/internal/secret"
)

// checkWithin bounds all checks of one question about health.
const checkWithin = 3 * time.Second

// Check is one thing that health depends on.
type Check struct {
	Name string
	// Run returns nil, or what is wrong. It must not name a secret.
	Run func(context.Context) error
}

// Operations are the endpoints for the operator.
type Operations struct {
	// Live are the checks whose failure a restart would mend.
	Live []Check
	// Ready are the checks whose failure keeps this process from its work.
	Ready    []Check
	Gatherer prometheus.Gatherer
	// Open leaves the profiles to everybody, as on loopback.
	Open bool
	// Token opens the profiles if Open is false; if it is empty nobody may.
	Token secret.String
}

// Handler returns the endpoints /livez, /readyz, /metrics and /debug/pprof/.
func (o Operations) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", answerChecks(o.Live))
	mux.HandleFunc("GET /readyz", answerChecks(append(o.Live, o.Ready...)))
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Gatherer, promhttp.HandlerOpts{Timeout: 10 * time.Second}))
	profiles := http.NewServeMux()
	profiles.HandleFunc("GET /debug/pprof/", pprof.Index)
	profiles.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	profiles.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	profiles.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	profiles.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.Handle("/debug/pprof/", o.guarded(profiles))
	return mux
}

// guarded wants the operator's token as a bearer token.
func (o Operations) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		good := subtle.ConstantTimeCompare([]byte(token), []byte(o.Token.Reveal())) == 1
		if !o.Open && (o.Token == "" || !good) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="roomlink operations"`)
			http.Error(w, "the operator's token is wanted (ROOMLINK_OPS_TOKEN)", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// answerChecks runs checks and answers 200 if all are well, else 503, with a
// line for each.
func answerChecks(checks []Check) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), checkWithin)
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

// IsLoopback reports whether only this machine reaches a listener's address.
func IsLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
