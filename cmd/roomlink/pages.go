package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"roomlink/internal/access"
	"roomlink/internal/secret"
	"roomlink/messages"
)

// The files of the data directory by which the operator's commands on the same
// machine find the pages.
const (
	keyFile = "link.key"
	urlFile = "public.url"
)

// keepURL tells the commands of the operator where our pages are. It belongs after
// the start of the embedded broker, which holds the directory against others.
func (p *process) keepURL(dataDir string) error {
	if dataDir == "" {
		return nil
	}
	if err := secret.WriteFile(filepath.Join(dataDir, urlFile), secret.String(p.publicURL)); err != nil {
		return fmt.Errorf("writing our public URL: %w", err)
	}
	return nil
}

// addresses are those of the pages of a conversation, as "serve" gives them; nil
// where neither the settings nor the data directory tell enough.
func (s pageSettings) addresses(
	w world, dataDir string, conversation messages.Conversation,
) (*access.Addresses, error) {
	key, err := w.secretOf(linkKey)
	if err != nil {
		return nil, err
	}
	if key == "" {
		key, err = kept(dataDir, keyFile)
	}
	base := secret.String(s.PublicURL)
	if err == nil && base == "" {
		base, err = kept(dataDir, urlFile)
	}
	if err != nil || key == "" || base == "" {
		return nil, err
	}
	keys, err := linkKeys(key)
	if err != nil {
		return nil, err
	}
	url, err := checkPublicURL(base.Reveal())
	if err != nil {
		return nil, err
	}
	addresses := access.Pages{Keys: keys, BaseURL: url, Lifetime: s.PageLifetime}.For(conversation, time.Now())
	return &addresses, nil
}

// kept reads a file of the data directory; "" where there is none.
func kept(dataDir, name string) (secret.String, error) {
	if dataDir == "" {
		return "", nil
	}
	value, err := secret.ReadFile(filepath.Join(dataDir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return value, err
}
