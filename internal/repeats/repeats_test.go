package repeats_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"roomlink/internal/repeats"
)

func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := zerolog.New(&out)
		var lines repeats.Lines
		for range 130 { // two minutes and ten seconds
			lines.Line(&log, zerolog.WarnLevel, "one").Msg("one")
			<-time.After(time.Second)
		}
		lines.Line(&log, zerolog.InfoLevel, "another").Msg("another")
		want := `{"level":"warn","message":"one"}
{"level":"warn","repeated":59,"message":"one"}
{"level":"warn","repeated":59,"message":"one"}
{"level":"info","message":"another"}`
		if got := strings.TrimSpace(out.String()); got != want {
			t.Errorf("log: got\n%s\nwant\n%s", got, want)
		}
	})
}
