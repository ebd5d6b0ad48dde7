package load

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/mattn/go-isatty"
)

// plainInterval is the number of seconds between two lines that are not on a terminal.
const plainInterval = 5

// NewProgress returns a function for [Test.Progress] that writes a line about each sample. On a terminal each
// line replaces the one before, and done erases the last. Elsewhere one in five samples gets a line.
func NewProgress(w io.Writer) (progress func(Sample), done func()) {
	file, ok := w.(*os.File)
	terminal := ok && isatty.IsTerminal(file.Fd())
	var failed, width int
	progress = func(s Sample) {
		failed += s.Failed
		queue := strconv.Itoa(s.Queue)
		if s.Queue < 0 {
			queue = "?"
		}
		line := fmt.Sprintf("load %4d s  %5d/s sent  %5d/s accepted  %5d/s linked  %d in flight  %s in the queue  %d errors",
			s.At+1, s.Sent, s.Accepted, s.Linked, s.InFlight, queue, failed)
		switch {
		case terminal:
			fmt.Fprintf(w, "\r%-*s", width, line)
			width = len(line)
		case (s.At+1)%plainInterval == 0:
			fmt.Fprintln(w, line)
		}
	}
	return progress, func() {
		if width > 0 {
			fmt.Fprintf(w, "\r%s\r", strings.Repeat(" ", width))
		}
	}
}
