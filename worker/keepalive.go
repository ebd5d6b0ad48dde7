package worker

import (
	"context"
	"time"

	"roomlink/internal/store"
)

// keepaliveInterval is the interval between two signs of life of a held event. Three fit into the time after which the
// broker would deliver the event again.
const keepaliveInterval = store.AckWait / 3

// keepAlive sends signs of life for all held events until ctx ends.
func (d *deliveries) keepAlive(ctx context.Context) {
	ticker := time.NewTicker(keepaliveInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			d.sendInProgress()
		}
	}
}

func (d *deliveries) sendInProgress() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, j := range d.held {
		// An error means that the event was settled just now, or that the broker is gone. The broker then delivers the
		// event again, and the job of that delivery finds the links.
		_ = j.msg.InProgress()
	}
}
