package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// columns are lines of a table: the first cell stands left, the others right,
// beneath each other.
type columns [][]string

// page writes tables and lines to a terminal, a blank line between blocks.
type page struct {
	out     *bufio.Writer
	started bool
}

func newPage(w io.Writer) *page { return &page{out: bufio.NewWriter(w)} }

// block begins a block.
func (p *page) block() {
	if p.started {
		p.line("")
	}
	p.started = true
}

// line writes a line; close tells of its errors.
func (p *page) line(parts ...string) {
	for _, part := range parts {
		_, _ = p.out.WriteString(part)
	}
	_ = p.out.WriteByte('\n')
}

// table writes a block of columns.
func (p *page) table(rows columns) {
	p.block()
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				line.WriteString(cell + pad)
				continue
			}
			line.WriteString("  " + pad + cell)
		}
		p.line(strings.TrimRight(line.String(), " "))
	}
}

// close writes what is left, and returns the first error of all.
func (p *page) close() error {
	if err := p.out.Flush(); err != nil {
		return fmt.Errorf("writing a table: %w", err)
	}
	return nil
}
