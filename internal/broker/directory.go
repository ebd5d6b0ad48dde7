package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/gofrs/flock"
)

// ErrDirectory means that the data directory cannot be used. The error says what to do.
var ErrDirectory = errors.New("the data directory cannot be used")

// minStartSpace is the free space that a start needs, in bytes.
const minStartSpace = 64 << 10

// PrepareDirectory makes the data directory and checks that it is writable. It returns an
// error that wraps [ErrDirectory] and says what to do.
func PrepareDirectory(dir string) error {
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = probe(dir, minStartSpace)
	}
	var remedy string
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		remedy = "give this user write permission"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		remedy = "free some space on its disk"
	case errors.Is(err, syscall.EROFS):
		remedy = "its file system is read-only"
	case errors.Is(err, syscall.ENOTDIR):
		remedy = "a file has its name"
	default:
		remedy = "check its disk"
	}
	return fmt.Errorf("%w: %s, or choose another with ROOMLINK_DATA_DIR: %w", ErrDirectory, remedy, err)
}

// LockDirectory locks the data directory for this process. It returns an error that wraps
// [ErrLocked] if another process uses it.
func LockDirectory(dir string) (*flock.Flock, error) {
	lock := flock.New(filepath.Join(dir, "lock"))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("locking the data directory %q: %w", dir, err)
	}
	if !locked {
		return nil, fmt.Errorf("%w %q: stop it, or choose another with ROOMLINK_DATA_DIR", ErrLocked, dir)
	}
	return lock, nil
}

// probe writes a temporary file of the given size, in bytes.
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
