package storecheck

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"roomlink/internal/secret"
)

// reportFile is the report in the data directory.
const reportFile = "lost.json"

// Report says what the store has lost. It lasts until [Accept].
type Report struct {
	// Damaged are the damaged messages of which nobody has decided yet whether they are missing.
	Damaged []Lost `json:"damaged,omitempty"`
	// Missing are the messages that are in no stream any more, and More is the number of those
	// that are not listed.
	Missing []Lost `json:"missing,omitempty"`
	More    int    `json:"more,omitzero"`
	// Copies are the directories with copies of damaged blocks, in the data directory.
	Copies []string `json:"copies,omitempty"`
}

// Count returns the number of missing messages.
func (r *Report) Count() int { return len(r.Missing) + r.More }

// ReadReport reads the report in a data directory; an empty one if there is none.
func ReadReport(dir string) (Report, error) {
	var report Report
	text, err := os.ReadFile(filepath.Join(dir, reportFile))
	if errors.Is(err, fs.ErrNotExist) {
		return report, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &report)
	}
	if err != nil {
		return report, fmt.Errorf("reading the report of lost messages: %w", err)
	}
	return report, nil
}

// Accept deletes the report and the copies of damaged blocks, and returns what the report said.
func Accept(dir string) (Report, error) {
	report, err := ReadReport(dir)
	if err != nil {
		return report, err
	}
	left := report
	left.Missing, left.More, left.Copies = nil, 0, nil
	if err := left.write(dir); err != nil {
		return report, err
	}
	return report, removeCopies(dir, report.Copies)
}

// add adds the damaged messages of an inspection that the report does not have.
func (r *Report) add(f *Findings) {
	for _, lost := range f.Damage {
		known := slices.ContainsFunc(r.Damaged, func(other Lost) bool {
			return other.Block == lost.Block && other.Offset == lost.Offset && other.Token == lost.Token
		})
		if !known {
			r.Damaged = append(r.Damaged, lost)
		}
	}
	r.More += f.More
}

// write writes the report, or deletes an empty one.
func (r *Report) write(dir string) error {
	path := filepath.Join(dir, reportFile)
	if len(r.Damaged) == 0 && r.Count() == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return secret.WriteFile(path, secret.String(text))
}

// removeCopies deletes directories of copies, and their parent once it is empty.
func removeCopies(dir string, copies []string) error {
	var failed error
	for _, name := range copies {
		if filepath.Dir(name) == copiesDir {
			failed = errors.Join(failed, os.RemoveAll(filepath.Join(dir, name)))
		}
	}
	_ = os.Remove(filepath.Join(dir, copiesDir)) // fails while it has others
	return failed
}
