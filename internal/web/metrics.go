package web

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

const (
	// noRoute is the route of a request to an unknown address, and otherStatus a status that is not in statuses.
	noRoute     = "none"
	otherStatus = "other"
)

// statuses are the statuses that the metric has from the start.
var statuses = []int{200, 202, 302, 303, 304, 400, 401, 404, 405, 408, 410, 413, 415, 429, 500, 502, 503, 504}

// Requests counts the requests of the public HTTP.
type Requests struct {
	counter *prometheus.CounterVec
	// parts are the parts by route.
	parts map[string]string
}

// NewRequests registers the metric.
func NewRequests(registerer prometheus.Registerer) *Requests {
	r := &Requests{
		counter: promauto.With(registerer).NewCounterVec(prometheus.CounterOpts{
			Name: "roomlink_http_requests_total",
			Help: "Requests to the public HTTP by part (webhook, viewer, openapi), route and HTTP status. An unknown address has " +
				"the route \"none\", an unusual status is \"other\". Sum over processes.",
		}, []string{"part", "route", "status"}),
		parts: map[string]string{},
	}
	r.add("", noRoute)
	return r
}

// Add notes the routes of a part. Call it before the server starts.
func (r *Requests) Add(part string, routes func(chi.Router)) error {
	router := chi.NewRouter()
	routes(router)
	return chi.Walk(router, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		r.add(part, method+" "+strings.TrimSuffix(route, "/*"))
		return nil
	})
}

func (r *Requests) add(part, route string) {
	r.parts[route] = part
	for _, status := range statuses {
		r.counter.WithLabelValues(part, route, strconv.Itoa(status))
	}
	r.counter.WithLabelValues(part, route, otherStatus)
}

// Count is a middleware that counts requests.
func (r *Requests) Count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		recorder := middleware.NewWrapResponseWriter(w, request.ProtoMajor)
		defer func() { r.count(request, recorder.Status()) }()
		next.ServeHTTP(recorder, request)
	})
}

func (r *Requests) count(request *http.Request, status int) {
	route := noRoute
	if context := chi.RouteContext(request.Context()); context != nil {
		route = request.Method + " " + context.RoutePattern()
	}
	part, known := r.parts[route]
	if !known {
		part, route = "", noRoute
	}
	text := otherStatus
	if status == 0 {
		status = http.StatusOK // as net/http writes
	}
	if slices.Contains(statuses, status) {
		text = strconv.Itoa(status)
	}
	r.counter.WithLabelValues(part, route, text).Inc()
}
