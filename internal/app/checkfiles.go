package app

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"roomlink/internal/broker"
	"roomlink/internal/storecheck"
)

// readByOthers are the rights of users who are neither the owner of a file nor in its group.
const readByOthers fs.FileMode = 0o006

// checkFiles checks that the files of secrets and certificates can be read, and by whom.
func (c *checker) checkFiles() {
	secrets := c.secretFiles()
	good := 0
	for _, path := range secrets {
		if c.checkFile(path, true) {
			good++
		}
	}
	others := []string{c.Accounts, c.TLSCert, c.NATSCA, c.NATSCert}
	for _, path := range others {
		if path != "" && c.checkFile(path, false) {
			good++
		}
	}
	if good > 0 {
		c.okf("file", "files that can be read, secrets by nobody else: %d", good)
	}
}

// secretFiles returns the files of secrets that the settings name or that the data directory has.
func (c *checker) secretFiles() []string {
	found := slices.DeleteFunc(slices.Clone(c.reader.files), func(path string) bool { return path == c.Accounts })
	found = append(found, c.NATSCreds, c.NATSProvisionCreds, c.NATSKey)
	for _, name := range []string{LinkKey, NATSPassword, NATSProvision, OpsToken} {
		found = append(found, c.env.secretFile(name))
	}
	if c.isPublic() {
		found = append(found, c.TLSKey)
	}
	if c.isEmbedded() {
		for _, pattern := range []string{keyFile, urlFile, "*.password", filepath.Join("subscribers", "*")} {
			kept, _ := filepath.Glob(filepath.Join(c.DataDir, pattern)) // the patterns are good
			found = append(found, kept...)
		}
	}
	slices.Sort(found)
	return slices.DeleteFunc(slices.Compact(found), func(path string) bool { return path == "" })
}

// checkFile reports a file that cannot be read, and a secret that others can read. It returns true if there is nothing
// to report.
func (c *checker) checkFile(path string, secret bool) bool {
	file, err := os.Open(path)
	if err != nil {
		c.fail("file", fmt.Sprintf("let user %d read it", os.Getuid()), err)
		return false
	}
	info, err := file.Stat()
	_ = file.Close() // it was only read
	if err != nil {
		c.fail("file", "", err)
		return false
	}
	if secret && info.Mode()&readByOthers != 0 && runtime.GOOS != "windows" {
		c.warnf("file", fmt.Sprintf("run \"chmod o= %s\"", path), "%s has a secret, and every user of this machine may read or write it", path)
		return false
	}
	return true
}

// checkData checks the data directory. It returns true if it exists and can be used.
func (c *checker) checkData() bool {
	if _, err := os.Stat(c.DataDir); errors.Is(err, fs.ErrNotExist) {
		parent := existingParent(c.DataDir)
		if err := broker.PrepareDirectory(parent); err != nil {
			c.fail("data", "", err)
			return false
		}
		c.warnf("data", "", "%s is not there yet: the first start makes it", c.DataDir)
		c.checkSpace(parent)
		return false
	}
	err := broker.PrepareDirectory(c.DataDir)
	if err == nil {
		err = storecheck.CheckRights(c.DataDir)
	}
	if err != nil {
		c.fail("data", "", err)
		return false
	}
	c.checkSpace(c.DataDir)
	return true
}

// existingParent returns the closest parent directory that exists.
func existingParent(dir string) string {
	for {
		parent := filepath.Dir(dir)
		if _, err := os.Stat(parent); err == nil || parent == dir {
			return parent
		}
		dir = parent
	}
}

// checkSpace checks that the queue may grow to its maximum size.
func (c *checker) checkSpace(dir string) {
	free, err := storecheck.FreeSpace(dir)
	wanted := c.stream(true).QueueSize()
	switch {
	case err != nil:
		c.fail("data", "", err)
	case free < wanted:
		c.warnf("data", "free some space, or set a smaller ROOMLINK_MAX_BYTES",
			"%d MiB are free at %s, and the queue alone may grow to %d MiB", free>>20, dir, wanted>>20)
	default:
		c.okf("data", "%d MiB are free at %s", free>>20, dir)
	}
}

// checkListen checks that the addresses can be bound. An address that is in use fails only if free says that this part
// does not run yet.
func (c *checker) checkListen(free bool) {
	addresses := map[string]string{"ROOMLINK_OPS_LISTEN": c.OpsListen}
	if c.isPublic() {
		addresses["ROOMLINK_LISTEN"] = c.Listen
	}
	if c.isEmbedded() && c.BrokerListen != "" && c.BrokerListen != broker.ListenOff {
		addresses["ROOMLINK_BROKER_LISTEN"] = c.BrokerListen
	}
	var bound []string
	for _, name := range []string{"ROOMLINK_LISTEN", "ROOMLINK_OPS_LISTEN", "ROOMLINK_BROKER_LISTEN"} {
		address, wanted := addresses[name]
		if !wanted {
			continue
		}
		listener, err := net.Listen("tcp", address)
		switch {
		case err == nil:
			_ = listener.Close() // it served nobody
			bound = append(bound, address)
		case errors.Is(err, syscall.EADDRINUSE) && !free:
			c.warnf("listen", "if it is not this part of roomlink, choose another address", "%s: %s is in use", name, address)
		case errors.Is(err, syscall.EADDRINUSE):
			c.fail("listen", "stop the other program, or choose another address", fmt.Errorf("%s: %w", name, err))
		default:
			c.fail("listen", "choose an address of this machine that this user may listen on", fmt.Errorf("%s: %w", name, err))
		}
	}
	if len(bound) > 0 {
		c.okf("listen", "%s can be listened on", strings.Join(bound, ", "))
	}
}
