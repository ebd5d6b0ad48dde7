// Package telemetry provides the log, the metrics, and the HTTP endpoints for health, metrics
// and profiles. The endpoints have an address of their own.
//
// Liveness fails if a restart would help. Readiness fails while the process cannot accept
// work. Neither depends on auvious, because the queue must run while auvious is down.
package telemetry

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/rs/zerolog"
)

// NewLogger returns a logger with the given format, json or console, and minimum level: trace,
// debug, info, warn or error. The level may be changed later. It returns an error for any other format or level.
func NewLogger(out io.Writer, level, format string) (zerolog.Logger, *Level, error) {
	adjustable := &Level{}
	if err := adjustable.Set(level); err != nil {
		return zerolog.Nop(), nil, err
	}
	switch format {
	case "json":
	case "console":
		out = zerolog.ConsoleWriter{Out: out, TimeFormat: time.TimeOnly, NoColor: !isTerminal(out)}
	default:
		return zerolog.Nop(), nil, fmt.Errorf("log format %q: want json or console", format)
	}
	return zerolog.New(zerolog.SyncWriter(out)).Sample(adjustable).With().Timestamp().Logger(), adjustable, nil
}

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && isatty.IsTerminal(file.Fd())
}

// NewRegistry returns a registry with the metrics of the process.
func NewRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	promauto.With(registry).NewGauge(prometheus.GaugeOpts{
		Name:        "roomlink_build_info",
		Help:        "Always 1. The labels contain the versions of the program and of Go. Count it to count processes.",
		ConstLabels: prometheus.Labels{"version": Version(), "go": runtime.Version()},
	}).Set(1)
	return registry
}

// Version returns the version of the program from the build information.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
