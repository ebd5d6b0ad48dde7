package app

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"roomlink/internal/storecheck"
)

// lossRefuses is the value of [EmbeddedSettings.OnLoss] that refuses to start.
const lossRefuses = "refuse"

// settleLoss finds out what the store has lost, before any part changes the streams, and keeps
// the mark from then on.
func (a *App) settleLoss(settings *EmbeddedSettings) error {
	js := a.provisioner
	report, err := storecheck.Settle(a.ctx, js, a.broker.Findings(), a.log)
	if err != nil && settings.OnLoss == lossRefuses {
		return err
	}
	if err != nil {
		a.log.Error().Err(err).Msg("it is not known what the store has lost: the next start tries again")
	}
	if count := report.Count(); count > 0 && settings.OnLoss == lossRefuses {
		return fmt.Errorf("the store has lost %d messages, and ROOMLINK_ON_LOSS is %q: \"roomlink store check\" names them, "+
			"and \"roomlink store check --accept-loss\" lets the next start go on", count, settings.OnLoss)
	}
	a.registry.MustRegister(storecheck.Metric{Dir: settings.DataDir})
	promauto.With(a.registry).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "roomlink_disk_free_bytes",
		Help: "Free space on the disk of the data directory in bytes; 0 if it is unknown. Each process has its own disk.",
	}, func() float64 {
		free, err := storecheck.FreeSpace(settings.DataDir)
		if err != nil {
			return 0
		}
		return float64(free)
	})
	marker := storecheck.NewMarker(settings.DataDir, js, a.log)
	a.closers = append(a.closers, marker.Close)
	a.run(marker.Run)
	return nil
}
