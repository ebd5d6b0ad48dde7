package load_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"roomlink/internal/load"
)

func TestConditions(t *testing.T) {
	r := example()
	for _, test := range []struct {
		expression string
		found      float64
		met        bool
	}{
		{"p50<100ms", 0.06, true},
		{"p90<80ms", 0.08, false},
		{"p90<=80ms", 0.08, true},
		{"p99 < 500ms", 0.09, true},
		{"p999>1s", 0.1, false},
		{"links.p99.9<=0.1s", 0.1, true},
		{"p99.9<=100ms", 0.1, true},
		{"max<200ms", 0.2, false},
		{"mean<200ms", 0.065, true},
		{"links.p99<1ms", 0.09, false},
		{"answer.p99<50ms", 0.004, true},
		{"rate>=500", 500, true},
		{"rate>500", 500, false},
		{"linked>=480.5", 480, false},
		{"refused<=0", 2, false},
		{"unanswered<=1", 1, true},
		{"late<1", 0, true},
		{"deadletters<=0", 3, false},
		{"orphans<=4", 4, true},
		{"drain<20s", 12.5, true},
		{"cpu<=0.3", 0.25, true},
		{"memory<=150MiB", 100e6, true},
		{"memory<100MB", 100e6, false},
		{"load.memory<1GB", 300e6, true},
		{"serve.cpu<0.1", 0.2, false},
	} {
		condition, err := load.ParseCondition(test.expression)
		if err != nil {
			t.Errorf("parsing %q: got %v, want none", test.expression, err)
			continue
		}
		got := condition.Judge(&r)
		if math.Abs(got.Found-test.found) > 1e-9*test.found || got.Met != test.met || got.Unknown {
			t.Errorf("%q: got %+v, want %v found and met %t", test.expression, got, test.found, test.met)
		}
		if want := strings.ReplaceAll(test.expression, " ", ""); got.Expression != want {
			t.Errorf("expression: got %q, want %q", got.Expression, want)
		}
	}
}

func TestUnmeasuredConditionsAreMissed(t *testing.T) {
	for _, expression := range []string{
		"p99<500ms", "answer.p50<1h", "rate<=1", "refused<=0", "drain<1h", "cpu<=1", "memory<=1GiB", "worker.memory<=1GiB",
	} {
		condition, err := load.ParseCondition(expression)
		if err != nil {
			t.Fatalf("parsing %q: got %v, want none", expression, err)
		}
		want := load.Threshold{Expression: expression, Unknown: true}
		if got := condition.Judge(new(load.Result)); got != want {
			t.Errorf("%q of nothing: got %+v, want %+v", expression, got, want)
		}
	}
}

func TestConditionRefuses(t *testing.T) {
	for expression, want := range map[string]string{
		"":                      "not a figure, one of < <= > >=, and a limit",
		"p99":                   "not a figure, one of < <= > >=, and a limit",
		"p99<":                  "not a figure, one of < <= > >=, and a limit",
		"<500ms":                "not a figure, one of < <= > >=, and a limit",
		"p99<500ms and p50<1ms": "not a figure, one of < <= > >=, and a limit",
		"p99==500ms":            "not a figure, one of < <= > >=, and a limit",
		"p99=<500ms":            "not a figure, one of < <= > >=, and a limit",
		"p98<500ms":             `no figure "p98"`,
		"queue.p99<500ms":       `no figure "queue.p99"`,
		"answer<500ms":          `no figure "answer"`,
		"worker.p99<5ms":        `no figure "worker.p99"`,
		"ratio>=0.8":            `no figure "ratio"`,
		"p99<500":               "p99 wants a duration such as 500ms",
		"p99<-5ms":              "p99 wants a duration such as 500ms",
		"rate>=fast":            "rate wants a number such as 500 or 0.8",
		"rate>=NaN":             "rate wants a number such as 500 or 0.8",
		"rate>=1e400":           "rate wants a number such as 500 or 0.8",
		"memory<=150Mb":         "memory wants a size such as 150MiB",
		"memory<=MiB":           "memory wants a size such as 150MiB",
		"memory<=150MiBB":       "memory wants a size such as 150MiB",
		"rate>=Inf":             "rate wants a number such as 500 or 0.8",
	} {
		_, err := load.ParseCondition(expression)
		if !errors.Is(err, load.ErrCondition) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", expression, err, want)
		}
		var kept load.Condition
		if err := kept.UnmarshalText([]byte(expression)); err == nil {
			t.Errorf("%q as a text: got no error, want one", expression)
		}
	}
}

func FuzzParseCondition(f *testing.F) {
	for _, seed := range []string{"p99<500ms", "links.p99.9 <= 1h", "rate>=500", "memory<=150MiB", "serve.cpu<1.4", "p99==x", "\x00<\xff"} {
		f.Add(seed)
	}
	r := example()
	f.Fuzz(func(t *testing.T, expression string) {
		condition, err := load.ParseCondition(expression)
		if err != nil {
			if !errors.Is(err, load.ErrCondition) {
				t.Errorf("got %v, want an ErrCondition", err)
			}
			return
		}
		again, err := load.ParseCondition(condition.String())
		if err != nil || again.Judge(&r) != condition.Judge(&r) {
			t.Errorf("%q read again: got %v and %v, want the same", condition, again, err)
		}
		if judged := condition.Judge(&r); judged.Unknown && judged.Met {
			t.Errorf("%q: got %+v, want the unknown missed", condition, judged)
		}
	})
}
