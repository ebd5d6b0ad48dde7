package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// ErrDirectory says that the data directory cannot be used, and what to do.
var ErrDirectory = errors.New("the data directory cannot be used")

// probeStart is how much space a start wants, in bytes.
const probeStart = 64 << 10

// PrepareDirectory makes the data directory, and sees to it that it can be written
// to. It returns an error that wraps [ErrDirectory] and says what to do.
func PrepareDirectory(dir string) error {
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = probe(dir, probeStart)
	}
	var remedy string
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		remedy = "give this user the rights to it"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		remedy = "free some space on its disk"
	case errors.Is(err, syscall.EROFS):
		remedy = "its file system is read-only"
	case errors.Is(err, syscall.ENOTDIR):
		remedy = "there is a file in its place"
	default:
		remedy = "check its disk"
	}
	return fmt.Errorf("%w: %s, or choose another with ROOMLINK_DATA_DIR: %w", ErrDirectory, remedy, err)
}

// probe writes some bytes to the disk of a directory, and removes them.
func probe(dir string, size int) error {
	file, err := os.CreateTemp(dir, "probe-")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(make([]byte, size))
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}
