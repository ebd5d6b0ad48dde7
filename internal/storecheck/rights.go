package storecheck

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrRights means that this user may not use a part of the store. The error names the file and
// says what to do.
var ErrRights = errors.New("this user may not use the store")

// CheckRights returns an error that wraps [ErrRights] unless this user may read and write every
// file of the store in a data directory.
func CheckRights(dir string) error {
	root := filepath.Join(dir, "jetstream")
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if path == root && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			err = access(path, entry.IsDir())
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // the walk is not atomic
		case errors.Is(err, fs.ErrPermission):
			return fmt.Errorf("%w: %s", ErrRights, remedy(root, path))
		}
		return err
	})
}

// remedy names the file, its owner and what to do.
func remedy(root, path string) string {
	info, err := os.Lstat(path)
	if err != nil { // its directory is the reason
		return fmt.Sprintf("%q cannot be opened by user %d: run \"chown -R %d %s\" as root", path, os.Getuid(), os.Getuid(), root)
	}
	if owner, ok := ownerOf(info); ok && owner != os.Getuid() {
		return fmt.Sprintf("%q belongs to user %d, and this is user %d: run \"chown -R %d %s\" as root",
			path, owner, os.Getuid(), os.Getuid(), root)
	}
	return fmt.Sprintf("%q has the mode %v: run \"chmod -R u+rwX %s\"", path, info.Mode().Perm(), root)
}
