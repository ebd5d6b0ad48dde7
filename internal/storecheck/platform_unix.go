//go:build unix

package storecheck

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// access returns an error unless this user may read and write a file, or enter a directory.
func access(path string, isDir bool) error {
	mode := uint32(unix.R_OK | unix.W_OK)
	if isDir {
		mode |= unix.X_OK
	}
	return unix.Access(path, mode)
}

// ownerOf returns the user id of a file's owner.
func ownerOf(info fs.FileInfo) (int, bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}

// FreeSpace returns the free space on the disk of a directory, in bytes.
func FreeSpace(dir string) (int64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return 0, err
	}
	return int64(stat.Bavail) * int64(stat.Bsize), nil //nolint:unconvert // its type differs by system
}
