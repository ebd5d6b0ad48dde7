package simulator_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"roomlink/internal/simulator"
)

func TestParseLatency(t *testing.T) {
	for _, test := range []struct {
		text, want string
		low, high  time.Duration
	}{
		{"", "0s", 0, 0},
		{"0", "0s", 0, 0},
		{" 50ms ", "50ms", 50 * time.Millisecond, 50 * time.Millisecond},
		{"1h", "1h0m0s", simulator.MaxLatency, simulator.MaxLatency},
		{"uniform:20ms, 80ms", "uniform:20ms,80ms", 20 * time.Millisecond, 80 * time.Millisecond},
		{"uniform:1s,1s", "uniform:1s,1s", time.Second, time.Second},
		{"uniform:0s,2562047h", "uniform:0s,2562047h0m0s", 0, simulator.MaxLatency},
		{"lognormal:50ms,0.5", "lognormal:50ms,0.5", 0, simulator.MaxLatency},
		{"lognormal:50ms,0", "lognormal:50ms,0", 50 * time.Millisecond, 50 * time.Millisecond},
		{"lognormal:50ms,1e300", "lognormal:50ms,1e+300", 0, simulator.MaxLatency},
	} {
		latency, err := simulator.ParseLatency(test.text)
		if err != nil {
			t.Errorf("%q: got %v, want no error", test.text, err)
			continue
		}
		if got := latency.String(); got != test.want {
			t.Errorf("%q: got %q, want %q", test.text, got, test.want)
		}
		for range 100 {
			if got := latency.Sample(); got < test.low || got > test.high {
				t.Fatalf("%q: got sample %v, want %v to %v", test.text, got, test.low, test.high)
			}
		}
	}
}

func TestParseLatencyRefuses(t *testing.T) {
	for _, text := range []string{
		"50", "-1ms", "soon", "uniform:", "uniform:20ms", "uniform:80ms,20ms", "uniform:1ms,2ms,3ms",
		"lognormal:50ms", "lognormal:50ms,-1", "lognormal:50ms,NaN", "lognormal:50ms,Inf", "normal:50ms,1", ":1ms,2ms",
	} {
		if got, err := simulator.ParseLatency(text); !errors.Is(err, simulator.ErrLatency) {
			t.Errorf("%q: got %v, %v, want ErrLatency", text, got, err)
		}
	}
}

func TestLogNormalMedian(t *testing.T) {
	latency, err := simulator.ParseLatency("lognormal:50ms,0.5")
	if err != nil {
		t.Fatal(err)
	}
	samples := make([]time.Duration, 10_001)
	for i := range samples {
		samples[i] = latency.Sample()
	}
	slices.Sort(samples)
	if got := samples[len(samples)/2]; got < 45*time.Millisecond || got > 55*time.Millisecond {
		t.Errorf("got median %v, want about 50ms", got)
	}
}

func FuzzParseLatency(f *testing.F) {
	for _, text := range []string{"", "50ms", "uniform:20ms,80ms", "lognormal:50ms,0.5", "uniform:0,9e9h"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		latency, err := simulator.ParseLatency(text)
		if err != nil {
			return
		}
		if got := latency.Sample(); got < 0 || got > simulator.MaxLatency {
			t.Errorf("%q: got sample %v, want 0 to %v", text, got, simulator.MaxLatency)
		}
		written, err := latency.MarshalText()
		if err != nil {
			t.Fatalf("%q: MarshalText: %v", text, err)
		}
		var again simulator.Latency
		if err := again.UnmarshalText(written); err != nil || again != latency {
			t.Errorf("%q: got %v, %v from %q, want %v", text, again, err, written, latency)
		}
	})
}
