package app

import (
	"errors"
	"slices"
	"testing"

	"roomlink/internal/accounts"
)

// TestRefusedAccountsAreUndone gives the former accounts back to the listeners that had accepted
// the refused ones.
func TestRefusedAccountsAreUndone(t *testing.T) {
	var got []string
	errRefused := errors.New("refused")
	former, next := []accounts.Account{{Name: "former"}}, []accounts.Account{{Name: "next"}}
	s := &accountSet{current: former, changed: func(_, _ []accounts.Account) { got = append(got, "changed") }}
	s.onChange(func(all []accounts.Account) error {
		got = append(got, all[0].Name)
		return nil
	})
	refuse := true
	s.onChange(func(all []accounts.Account) error {
		if refuse && all[0].Name == "next" {
			return errRefused
		}
		return nil
	})
	if err := s.apply(next); !errors.Is(err, errRefused) {
		t.Errorf("refused accounts: got error %v, want %v", err, errRefused)
	}
	if want := []string{"next", "former"}; !slices.Equal(got, want) || s.names()[0] != "former" {
		t.Errorf("applied: got %v and %v in use, want %v and the former ones in use", got, s.names(), want)
	}
	refuse, got = false, nil
	if err := s.apply(next); err != nil {
		t.Errorf("accepted accounts: got error %v, want none", err)
	}
	if want := []string{"next", "changed"}; !slices.Equal(got, want) || s.names()[0] != "next" {
		t.Errorf("applied: got %v and %v in use, want %v and the new ones in use", got, s.names(), want)
	}
}
