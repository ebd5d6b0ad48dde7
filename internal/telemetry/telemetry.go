// Package telemetry is how an operator sees roomlink: the log, the metrics, and
// the HTTP endpoints for health, metrics and profiles, on an address of their own.
//
// Liveness fails when a restart would help, readiness while this process cannot
// take on work. Neither asks auvious: while auvious is down the queue does its
// work exactly because we are up.
package telemetry

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/rs/zerolog"
)

// The formats of the log.
const (
	FormatJSON    = "json"
	FormatConsole = "console"
)

// NewLogger returns a logger that writes lines of a format from a level on:
// trace, debug, info, warn or error. It returns an error for another one.
func NewLogger(out io.Writer, level, format string) (zerolog.Logger, error) {
	parsed, err := zerolog.ParseLevel(level)
	if err != nil || parsed > zerolog.ErrorLevel {
		return zerolog.Nop(), fmt.Errorf("log level %q: want trace, debug, info, warn or error", level)
	}
	switch format {
	case FormatJSON:
	case FormatConsole:
		out = zerolog.ConsoleWriter{Out: out, TimeFormat: time.TimeOnly, NoColor: !isTerminal(out)}
	default:
		return zerolog.Nop(), fmt.Errorf("log format %q: want %s or %s", format, FormatJSON, FormatConsole)
	}
	return zerolog.New(zerolog.SyncWriter(out)).Level(parsed).With().Timestamp().Logger(), nil
}

// isTerminal reports whether somebody watches the output.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && isatty.IsTerminal(file.Fd())
}

// NewRegistry returns a registry with the metrics of the process itself.
func NewRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	promauto.With(registry).NewGauge(prometheus.GaugeOpts{
		Name:        "roomlink_build_info",
		Help:        "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": Version(), "go": goVersion()},
	}).Set(1)
	return registry
}

// Version is that of the program, as the Go toolchain wrote it down.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func goVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.GoVersion
	}
	return ""
}
