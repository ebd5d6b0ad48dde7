package report

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// columns are the rows of a table. The first column is aligned left, the others right.
type columns [][]string

// lines returns the rows as lines of text.
func (c columns) lines() []string {
	var widths []int
	for _, row := range c {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var lines []string
	for _, row := range c {
		cells := []string{fmt.Sprintf("%-*s", widths[0], row[0])}
		for i, cell := range row[1:] {
			cells = append(cells, fmt.Sprintf("%*s", widths[i+1], cell))
		}
		lines = append(lines, strings.TrimRight(strings.Join(cells, "  "), " "))
	}
	return lines
}

// write writes blocks of lines with a blank line between two blocks. It leaves out empty blocks.
func write(w io.Writer, blocks ...[]string) error {
	var texts []string
	for _, lines := range blocks {
		if len(lines) > 0 {
			texts = append(texts, strings.Join(lines, "\n")+"\n")
		}
	}
	if _, err := io.WriteString(w, strings.Join(texts, "\n")); err != nil {
		return fmt.Errorf("writing a table: %w", err)
	}
	return nil
}
