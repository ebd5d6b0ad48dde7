package plot_test

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"testing"

	"roomlink/internal/load/plot"
)

func number(value float64) string { return strconv.FormatFloat(value, 'g', 6, 64) }

func labels(axis plot.Axis) []string {
	var all []string
	for _, tick := range axis.Ticks {
		all = append(all, tick.Label)
	}
	return all
}

func TestValueAxis(t *testing.T) {
	for _, test := range []struct {
		end, minStep float64
		want         []string
	}{
		{0, 0, []string{"0", "0.2", "0.4", "0.6", "0.8", "1"}},
		{0, 1, []string{"0", "1"}},
		{3, 1, []string{"0", "1", "2", "3"}},
		{11, 1, []string{"0", "5", "10", "15"}},
		{11, 0, []string{"0", "2.5", "5", "7.5", "10", "12.5"}},
		{2040, 1, []string{"0", "500", "1000", "1500", "2000", "2500"}},
		{100, 1, []string{"0", "20", "40", "60", "80", "100"}},
		{0.098, 0, []string{"0", "0.02", "0.04", "0.06", "0.08", "0.1"}},
	} {
		axis := plot.ValueAxis(test.end, test.minStep, 5, number)
		if got := labels(axis); !reflect.DeepEqual(got, test.want) {
			t.Errorf("up to %v by %v: got %q, want %q", test.end, test.minStep, got, test.want)
		}
		if last := axis.Ticks[len(axis.Ticks)-1].Value; axis.Max != last {
			t.Errorf("up to %v: got an end at %v, want the last tick %v", test.end, axis.Max, last)
		}
	}
}

func TestTimeAxis(t *testing.T) {
	for _, test := range []struct {
		end, wantMax float64
		want         []string
	}{
		{0, 1, []string{"0", "1"}},
		{5, 5, []string{"0", "1", "2", "3", "4", "5"}},
		{59, 59, []string{"0", "10", "20", "30", "40", "50"}},
		{3599, 3599, []string{"0", "600", "1200", "1800", "2400", "3000"}},
		{20 * 86400, 20 * 86400, []string{"0", "345600", "691200", "1.0368e+06", "1.3824e+06", "1.728e+06"}},
	} {
		axis := plot.TimeAxis(test.end, 6, number)
		if got := labels(axis); !reflect.DeepEqual(got, test.want) || axis.Max != test.wantMax {
			t.Errorf("%v seconds: got %q to %v, want %q to %v", test.end, got, axis.Max, test.want, test.wantMax)
		}
	}
}

func TestPercentileAxis(t *testing.T) {
	for _, test := range []struct {
		count int
		want  []string
	}{
		{0, []string{"50 %", "100 %"}},
		{1, []string{"50 %", "100 %"}},
		{1000, []string{"50 %", "90 %", "99 %", "100 %"}},
		{120_000, []string{"50 %", "90 %", "99 %", "99.9 %", "99.99 %", "100 %"}},
		{10_000_000, []string{"50 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "100 %"}},
	} {
		axis := plot.PercentileAxis(test.count)
		if got := labels(axis); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%d values: got %q, want %q", test.count, got, test.want)
		}
	}
	axis := plot.PercentileAxis(10_000)
	for percentile, want := range map[float64]float64{0: 0, 90: 1, 99: 2, 99.9: 3, 99.99999: 4, 100: 4} {
		if got := axis.AtPercentile(percentile); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v %%: got %v, want %v", percentile, got, want)
		}
	}
}

func TestLayoutKeepsNamesApart(t *testing.T) {
	var lines []plot.Line
	for i := range 6 {
		lines = append(lines, plot.Line{Name: strconv.Itoa(i), Points: []plot.Point{{X: 0, Y: 1}, {X: 1, Y: float64(i % 2)}}})
	}
	chart := plot.Chart{Width: 400, Height: 200, X: plot.Axis{Max: 1}, Y: plot.Axis{Max: 1}, Lines: lines}
	chart.Layout()
	for i, a := range chart.Lines {
		if a.NameY < 0 || a.NameY > chart.Height {
			t.Errorf("name %d: got %v, want a position on the sheet", i, a.NameY)
		}
		for j, b := range chart.Lines[:i] {
			if math.Abs(a.NameY-b.NameY) < 12 {
				t.Errorf("names %d and %d: got %v and %v, want them apart", i, j, a.NameY, b.NameY)
			}
		}
	}
}

func ExampleChart_Layout() {
	gap := math.NaN()
	chart := plot.Chart{
		Width: 300, Height: 138,
		X: plot.TimeAxis(4, 2, func(seconds float64) string { return fmt.Sprint(seconds, " s") }),
		Y: plot.ValueAxis(90, 0, 2, func(ms float64) string { return fmt.Sprint(ms) }),
		Lines: []plot.Line{
			{Name: "half", Points: []plot.Point{{0, 50}, {1, 52}, {2, gap}, {3, 51}, {4, gap}}},
		},
	}
	chart.Layout()
	for _, tick := range chart.Y.Ticks {
		fmt.Println(tick.Label, "at", chart.AtY(tick.Value))
	}
	fmt.Println(chart.Lines[0].Path, chart.Lines[0].Dots)
	// Output:
	// 0 at 112
	// 50 at 62
	// 100 at 12
	// M46.5 62L90.6 60 [{178.6 61}]
}
