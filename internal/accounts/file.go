package accounts

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"roomlink/internal/secret"
)

// File is the accounts file. It is YAML; its paths are relative to it.
type File struct {
	Accounts []Account `yaml:"accounts"`
}

// Reader reads an accounts file.
type Reader struct {
	Path string
	// Base provides the values that an account leaves out.
	Base Account
	// Credentials, Rooms and Subscribers select the secrets to read: those of Talkdesk, those
	// of auvious, and those of the subscribers.
	Credentials, Rooms, Subscribers bool

	files []string
}

// Read reads the accounts, and calls check with each. It returns the accounts and the
// paths of all files that it read, even if there is an error. Its errors name the file
// and the line.
func (r *Reader) Read(check func(Account) error) (accounts []Account, files []string, err error) {
	r.files = []string{r.Path}
	data, err := os.ReadFile(r.Path)
	if err != nil {
		return nil, r.files, err
	}
	nodes, err := entries(data)
	if err != nil {
		return nil, r.files, fmt.Errorf("%s: %w", r.Path, err)
	}
	lines := map[string]int{}
	for _, node := range nodes {
		a, err := r.account(node)
		if err == nil {
			if line, twice := lines[a.Name]; twice {
				err = fmt.Errorf("line %d has the same name", line)
			} else {
				lines[a.Name], err = node.Line, check(a)
			}
		}
		if err != nil {
			return nil, r.files, fmt.Errorf("%s: line %d: account %q: %w", r.Path, node.Line, a.Name, err)
		}
		accounts = append(accounts, a)
	}
	return accounts, r.files, nil
}

// entries parses the file and returns the YAML of each account. It refuses unknown
// keys.
func entries(data []byte) ([]yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&File{}); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var root struct {
		Accounts []yaml.Node `yaml:"accounts"`
	}
	if err := yaml.Unmarshal(data, &root); err != nil {
		return nil, err
	}
	if len(root.Accounts) == 0 {
		return nil, errors.New("the file has no accounts")
	}
	return root.Accounts, nil
}

// account decodes one account on top of the base, and reads its secrets.
func (r *Reader) account(node yaml.Node) (Account, error) {
	a := r.Base
	a.Name, a.Talkdesk.Credentials, a.Talkdesk.StartEvents = "", Credentials{}, nil
	a.Auvious.Application, a.Subscribers = Application{}, nil
	rooms := &a.Auvious.Rooms
	rooms.ClientID, rooms.OrganizationID = "", ""
	if err := node.Decode(&a); err != nil {
		return a, err
	}
	rooms.URL = cmp.Or(rooms.URL, r.Base.Auvious.URL)
	rooms.URLBase = cmp.Or(rooms.URLBase, r.Base.Auvious.URLBase)
	rooms.Destination = cmp.Or(rooms.Destination, r.Base.Auvious.Destination)
	if r.Credentials {
		if err := a.Talkdesk.readSecrets(r.secret); err != nil {
			return a, err
		}
	}
	var err error
	for i, s := range a.Subscribers {
		if r.Subscribers && s.PasswordFile != "" {
			if a.Subscribers[i].Password, err = r.secret(s.PasswordFile); err != nil {
				return a, err
			}
		}
	}
	if r.Rooms && rooms.ClientSecretFile != "" {
		rooms.ClientSecret, err = r.secret(rooms.ClientSecretFile)
	}
	return a, err
}

// secret reads a secret from a path relative to the accounts file.
func (r *Reader) secret(path string) (secret.String, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(r.Path), path)
	}
	r.files = append(r.files, path)
	return secret.ReadFile(path)
}
