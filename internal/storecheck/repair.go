package storecheck

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"roomlink/messages"
)

// copySpace is the free space that the copy of a damaged block must leave, in bytes.
const copySpace = 64 << 20

// maxLines bounds the lines of the log about single messages.
const maxLines = 100

// copiesDir is the directory of the copies of damaged blocks, in the data directory.
const copiesDir = "damaged"

// repair is a change of a block: size bytes become an erased record of the stream, or go if they
// are too few for one.
type repair struct {
	block        *block
	offset, size int
	stream       string
	sequence     uint64
	at           int64
	// length is the right length of the record at the offset, if only that is changed.
	length int
	// torn is true for a write that broke off. It goes.
	torn bool
}

// cuts reports whether the repair shortens the block.
func (r repair) cuts() bool { return r.length == 0 && (r.torn || r.size < minRecord) }

// Damaged reports whether a block has other damage than a write that broke off.
func (f *Findings) Damaged() bool {
	return slices.ContainsFunc(f.repairs, func(r repair) bool { return !r.torn })
}

// Repair keeps a copy of each damaged block, writes the damaged messages to the report, and then
// replaces the damaged parts, so that the server keeps all others. A copy or a report that cannot
// be written is left out with a line in the log. Repair returns an error of the disk.
func (f *Findings) Repair(log zerolog.Logger) error {
	f.logTorn(log)
	if !f.Damaged() {
		return f.repair()
	}
	report, err := ReadReport(f.dir)
	if err != nil {
		log.Warn().Err(err).Msg("starting a new report of lost messages")
	}
	if copied := f.copyBlocks(log); copied != "" {
		report.Copies = append(report.Copies, copied)
	}
	report.add(f)
	f.report = &report
	if err := report.write(f.dir); err != nil {
		log.Warn().Err(err).Msg("writing the report of a damaged store failed: it is lost if this start breaks off")
	}
	if err := f.eraseOlder(); err != nil {
		return err
	}
	for _, damage := range f.Damage[:min(len(f.Damage), maxLines)] {
		damage.event(log.Warn()).Msg("the store has a damaged message")
	}
	log.Warn().Int("damaged", len(f.Damage)+f.More).Msg("repairing the store: all other messages stay")
	return f.repair()
}

func (f *Findings) logTorn(log zerolog.Logger) {
	for _, stream := range f.Streams {
		if stream.Torn > 0 {
			log.Warn().Str("stream", stream.Name).Int("bytes", stream.Torn).
				Msg("the last write before the stop broke off: leaving it out; nobody was told that it was stored")
		}
		if stream.Unread != "" {
			log.Warn().Str("stream", stream.Name).Str("reason", stream.Unread).
				Msg("the store was not checked in full: run \"roomlink store check\" while the program is stopped")
		}
	}
}

// event adds what is known of a damaged message to a line of the log.
func (d *Lost) event(line *zerolog.Event) *zerolog.Event {
	line = line.Str("stream", d.Stream)
	if d.Block != "" {
		line = line.Str("block", d.Block).Int("offset", d.Offset)
	}
	if !d.Since.IsZero() {
		line = line.Time("since", d.Since)
	}
	if d.Sequence != 0 {
		line = line.Uint64("sequence", d.Sequence)
	}
	if d.Token != "" {
		line = line.Str("account", d.Account).Str("token", d.Token)
	}
	return line
}

// copyBlocks copies the blocks that a repair changes. It returns the directory of the copies,
// relative to the data directory; "" if there are none.
func (f *Findings) copyBlocks(log zerolog.Logger) string {
	name := filepath.Join(copiesDir, time.Now().UTC().Format("20060102T150405.000000000"))
	copied := ""
	done := map[string]bool{}
	for _, r := range f.repairs {
		if done[r.block.path] || r.length != 0 || r.torn {
			continue
		}
		done[r.block.path] = true
		if err := copyFile(filepath.Join(f.dir, name, r.block.name), r.block.path); err != nil {
			log.Warn().Err(err).Str("block", r.block.name).Msg("keeping no copy of a damaged block")
			continue
		}
		copied = name
	}
	return copied
}

// copyFile copies a file if its disk keeps enough space.
func copyFile(to, from string) (err error) {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	free, err := FreeSpace(filepath.Dir(to))
	if err != nil {
		return err
	}
	if free < info.Size()+copySpace {
		return fmt.Errorf("only %d bytes are free on its disk", free)
	}
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	if err == nil {
		err = target.Sync()
	}
	return errors.Join(err, target.Close())
}

// repair changes the blocks. The server's index goes first: it would not fit any more.
func (f *Findings) repair() error {
	for _, r := range f.repairs {
		index := filepath.Join(filepath.Dir(r.block.path), "index.db")
		if err := os.Remove(index); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("repairing the store: %w", err)
		}
	}
	for _, r := range f.repairs {
		if r.cuts() {
			continue
		}
		if err := r.apply(); err != nil {
			return fmt.Errorf("repairing block %q: %w", r.block.name, err)
		}
	}
	// From behind, so that the other offsets stay.
	slices.SortFunc(f.repairs, func(a, b repair) int { return b.offset - a.offset })
	for _, r := range f.repairs {
		if !r.cuts() {
			continue
		}
		if err := r.cut(); err != nil {
			return fmt.Errorf("repairing block %q: %w", r.block.name, err)
		}
	}
	return nil
}

// apply changes bytes in place. That needs no space, and a change that breaks off is damage, as
// before.
func (r repair) apply() error {
	file, err := os.OpenFile(r.block.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	written := make([]byte, 4)
	if r.length == 0 {
		digest, err := newDigest(r.stream, r.block)
		if err != nil {
			return err
		}
		written = erasure(digest, r.size, r.sequence, r.at)
	} else {
		if _, err := file.ReadAt(written, int64(r.offset)); err != nil {
			return err
		}
		flag := binary.LittleEndian.Uint32(written) & headerFlag
		binary.LittleEndian.PutUint32(written, uint32(r.length)|flag)
	}
	if _, err := file.WriteAt(written, int64(r.offset)); err != nil {
		return err
	}
	return file.Sync()
}

// cut removes bytes from a block.
func (r repair) cut() error {
	content, err := os.ReadFile(r.block.path)
	if err != nil {
		return err
	}
	if r.offset+r.size == len(content) {
		return os.Truncate(r.block.path, int64(r.offset))
	}
	file, err := os.CreateTemp(filepath.Dir(r.block.path), "repair-")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // does nothing after the rename
	_, err = file.Write(slices.Delete(content, r.offset, r.offset+r.size))
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), r.block.path)
}

// eraseOlder adds the erasure of the messages that a damaged one had replaced. They would come
// back otherwise: revoked links would open again.
func (f *Findings) eraseOlder() error {
	damaged := map[string]map[string]Lost{} // by stream and subject
	for _, lost := range f.Damage {
		prefix, ok := subjects[lost.Stream]
		if !ok || lost.Token == "" || lost.Stream == messages.ConversationsStream { // an event replaces nothing
			continue
		}
		if damaged[lost.Stream] == nil {
			damaged[lost.Stream] = map[string]Lost{}
		}
		damaged[lost.Stream][prefix+lost.Account+"."+lost.Token] = lost
	}
	for stream, bySubject := range damaged {
		var msgs string
		for _, lost := range bySubject {
			msgs = filepath.Join(f.dir, filepath.Dir(lost.Block)) // the same for all
		}
		blocks, err := listBlocks(f.dir, msgs)
		if err != nil {
			return err
		}
		for i := range blocks {
			if err := f.eraseOlderIn(stream, &blocks[i], bySubject); err != nil {
				return err
			}
		}
	}
	return nil
}

// eraseOlderIn does the work of eraseOlder in one block.
func (f *Findings) eraseOlderIn(stream string, b *block, damaged map[string]Lost) error {
	buf, err := readBlock(b.path)
	if err != nil {
		return err
	}
	digest, err := newDigest(stream, b)
	if err != nil {
		return err
	}
	r := reader{digest: digest, gap: func(gap) {}, found: func(r record) {
		lost, ok := damaged[string(r.subject)]
		if ok && r.kind == message && r.sequence < lost.below {
			f.repairs = append(f.repairs, repair{
				stream: stream, block: b, offset: r.offset, size: r.size, sequence: r.sequence, at: r.at,
			})
		}
	}}
	r.read(buf, false)
	return nil
}
