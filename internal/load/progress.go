package load

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/mattn/go-isatty"
)

// everyPlain is how many seconds lie between two lines where they stay.
const everyPlain = 5

// NewProgress returns a function that writes a line for each second of a test: one
// that is written over on a terminal, and elsewhere one in five that stays. done
// ends the last one.
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
			fmt.Fprintf(w, "\r%s%s", line, strings.Repeat(" ", max(width-len(line), 0)))
			width = len(line)
		case (s.At+1)%everyPlain == 0:
			fmt.Fprintln(w, line)
		}
	}
	return progress, func() {
		if width > 0 {
			fmt.Fprintf(w, "\r%s\r", strings.Repeat(" ", width))
		}
	}
}
