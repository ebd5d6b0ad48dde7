package access_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"roomlink/internal/access"
	"roomlink/internal/secret"
	"roomlink/messages"
)

var purposes = []access.Purpose{
	access.PurposeAccess, access.PurposeAgent, access.PurposeCustomer, access.PurposeCard,
}

func claimsFor(purpose access.Purpose) access.Claims {
	return access.Claims{Purpose: purpose, Account: "acme", Subject: "interaction-1", Expires: noon.Add(time.Hour)}
}

func wantRefused(tb testing.TB, keys *access.Keys, token string, purpose access.Purpose) {
	tb.Helper()
	got, err := keys.Verify(token, purpose, noon)
	if !errors.Is(err, access.ErrToken) || got != (access.Claims{}) {
		tb.Errorf("token %q for purpose %d: got %+v and error %v, want %v", token, purpose, got, err, access.ErrToken)
	}
}

func TestTokenIsValidForOnePurpose(t *testing.T) {
	keys := newKeys(t, keyA)
	for _, made := range purposes {
		token := keys.Sign(claimsFor(made))
		for _, asked := range purposes {
			if made != asked {
				wantRefused(t, keys, token, asked)
				continue
			}
			got, err := keys.Verify(token, asked, noon)
			if err != nil || got.Purpose != made || got.Account != "acme" || got.Subject != "interaction-1" ||
				!got.Expires.Equal(noon.Add(time.Hour)) {
				t.Errorf("token for purpose %d: got %+v and error %v, want its claims", made, got, err)
			}
		}
	}
}

func TestTokenCarriesAnySubject(t *testing.T) {
	keys := newKeys(t, keyA)
	for _, subject := range []string{"", "a", "a b/c.d>*", "zażółć gęślą", "\x00", strings.Repeat("x", messages.MaxInteractionID)} {
		for _, account := range []string{"", "a", strings.Repeat("a", 32)} {
			want := access.Claims{Purpose: access.PurposeCard, Account: account, Subject: subject, Expires: noon.Add(time.Hour)}
			token := keys.Sign(want)
			got, err := keys.Verify(token, access.PurposeCard, noon)
			if err != nil || got.Account != account || got.Subject != subject {
				t.Errorf("account %q, subject %q: got %+v and error %v, want them back", account, subject, got, err)
			}
			if strings.ContainsAny(token, "/+=?#%&. ") {
				t.Errorf("token %q: got characters that need escaping in a URL, want none", token)
			}
		}
	}
}

// If the boundary between account and subject could move, one account could sign for
// another.
func TestTokenSeparatesAccountAndSubject(t *testing.T) {
	keys := newKeys(t, keyA)
	one := keys.Sign(access.Claims{Purpose: access.PurposeCard, Account: "acme", Subject: "x-1", Expires: noon.Add(time.Hour)})
	two := keys.Sign(access.Claims{Purpose: access.PurposeCard, Account: "acmex", Subject: "-1", Expires: noon.Add(time.Hour)})
	if one == two {
		t.Errorf("tokens of acme/x-1 and acmex/-1: got the same %q, want two", one)
	}
}

func TestTokenRefusesEveryFlippedBit(t *testing.T) {
	keys := newKeys(t, keyA, keyB)
	for _, purpose := range purposes {
		raw, err := base64.RawURLEncoding.DecodeString(keys.Sign(claimsFor(purpose)))
		if err != nil {
			t.Fatalf("decoding a token: %v", err)
		}
		for i := range raw {
			for bit := range 8 {
				raw[i] ^= 1 << bit
				wantRefused(t, keys, base64.RawURLEncoding.EncodeToString(raw), purpose)
				raw[i] ^= 1 << bit
			}
		}
	}
}

func TestTokenRefusesOtherSpellings(t *testing.T) {
	keys := newKeys(t, keyA)
	// The length is not a multiple of 3, so the last character has unused bits.
	token := keys.Sign(claimsFor(access.PurposeAgent))
	for length := range len(token) {
		wantRefused(t, keys, token[:length], access.PurposeAgent)
	}
	for i := range token {
		for _, foreign := range []string{"\n", "\r", " ", "=", "+", "/", "\x00", "é"} {
			wantRefused(t, keys, token[:i]+foreign+token[i:], access.PurposeAgent)
			wantRefused(t, keys, token[:i]+foreign+token[i+1:], access.PurposeAgent)
		}
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := token[len(token)-1]
	for _, c := range []byte(alphabet) {
		if c != last {
			wantRefused(t, keys, token[:len(token)-1]+string(c), access.PurposeAgent)
		}
	}
	for _, other := range []string{token + "A", token + "AAAA", token + "=", "A" + token, token + token, token + "\n", strings.Repeat("A", 1<<20)} {
		wantRefused(t, keys, other, access.PurposeAgent)
	}
}

func TestTokenExpires(t *testing.T) {
	keys := newKeys(t, keyA)
	token := keys.Sign(claimsFor(access.PurposeCustomer))
	for _, test := range []struct {
		after time.Duration
		want  error
	}{
		{0, nil},
		{-100 * 365 * 24 * time.Hour, nil},
		{time.Hour - time.Second, nil},
		{time.Hour - time.Nanosecond, nil},
		{time.Hour, access.ErrTokenExpired},
		{time.Hour + time.Second, access.ErrTokenExpired},
		{100 * 365 * 24 * time.Hour, access.ErrTokenExpired},
	} {
		got, err := keys.Verify(token, access.PurposeCustomer, noon.Add(test.after))
		if !errors.Is(err, test.want) || got.Account != "acme" || got.Subject != "interaction-1" {
			t.Errorf("after %v: got %+v and error %v, want the claims and error %v", test.after, got, err, test.want)
		}
	}
	// A changed token that has expired reveals no claims.
	got, err := keys.Verify(token, access.PurposeAgent, noon.Add(2*time.Hour))
	if !errors.Is(err, access.ErrToken) || got != (access.Claims{}) {
		t.Errorf("expired, for another purpose: got %+v and error %v, want %v", got, err, access.ErrToken)
	}
}

func TestKeysRotate(t *testing.T) {
	old, both, after := newKeys(t, keyA), newKeys(t, keyB, keyA), newKeys(t, keyB)
	tokens := map[string]string{
		"old":  old.Sign(claimsFor(access.PurposeCard)),
		"both": both.Sign(claimsFor(access.PurposeCard)),
	}
	for _, test := range []struct {
		signed string
		name   string
		keys   *access.Keys
		want   error
	}{
		{"old", "old", old, nil},
		{"old", "both", both, nil},
		{"old", "after", after, access.ErrToken},
		{"both", "old", old, access.ErrToken},
		{"both", "both", both, nil},
		{"both", "after", after, nil},
	} {
		if _, err := test.keys.Verify(tokens[test.signed], access.PurposeCard, noon); !errors.Is(err, test.want) {
			t.Errorf("signed with the keys %q, checked with %q: got error %v, want %v", test.signed, test.name, err, test.want)
		}
	}
}

func TestNewKeys(t *testing.T) {
	short := keyA[:access.MinKey-1]
	for _, test := range []struct {
		name string
		keys []secret.String
		want error
	}{
		{"none", nil, access.ErrKey},
		{"empty", []secret.String{""}, access.ErrKey},
		{"too short", []secret.String{short}, access.ErrKey},
		{"shortest", []secret.String{keyA[:access.MinKey]}, nil},
		{"two", []secret.String{keyA, keyB}, nil},
		{"second too short", []secret.String{keyA, short}, access.ErrKey},
		{"three", []secret.String{keyA, keyB, keyA + keyB}, access.ErrKey},
	} {
		keys, err := access.NewKeys(test.keys...)
		if !errors.Is(err, test.want) || (keys != nil) != (test.want == nil) {
			t.Errorf("%s: got %v and error %v, want error %v", test.name, keys != nil, err, test.want)
		}
	}
}

func TestPages(t *testing.T) {
	pages := access.Pages{Keys: newKeys(t, keyA), BaseURL: "https://rooms.example", Lifetime: 24 * time.Hour}
	for _, id := range []string{"interaction-1", "a/b c?d#e%", "žluťoučký"} {
		got := pages.For(messages.Conversation{Account: "acme", InteractionID: id}, noon)
		for _, test := range []struct {
			url, prefix string
			purpose     access.Purpose
		}{
			{got.Context, "https://rooms.example/open/", access.PurposeAgent},
			{got.Customer, "https://rooms.example/open/", access.PurposeCustomer},
			{got.Card, "https://rooms.example/card/", access.PurposeCard},
		} {
			token, ok := strings.CutPrefix(test.url, test.prefix)
			claims, err := pages.Keys.Verify(token, test.purpose, noon)
			if !ok || err != nil || claims.Account != "acme" || claims.Subject != id ||
				!claims.Expires.Equal(noon.Add(24*time.Hour)) {
				t.Errorf("address %q: got %+v and error %v, want %q for %q in a day", test.url, claims, err, test.prefix, id)
			}
		}
	}
}

// Repeated requests get the same addresses for a while. An address never expires early.
func TestPagesRepeatAddresses(t *testing.T) {
	conversation := messages.Conversation{Account: "acme", InteractionID: "interaction-1"}
	for _, test := range []struct {
		lifetime, after time.Duration
		same            bool
		left            time.Duration
	}{
		{24 * time.Hour, time.Second, true, 25*time.Hour - time.Second},
		{24 * time.Hour, time.Hour, true, 24 * time.Hour},
		{24 * time.Hour, time.Hour + time.Second, false, 25*time.Hour - time.Second},
		{time.Hour, 150 * time.Second, true, time.Hour},
		{time.Hour, 151 * time.Second, false, time.Hour + 149*time.Second},
		{10 * time.Second, time.Second, false, 10 * time.Second},
	} {
		pages := access.Pages{Keys: newKeys(t, keyA), Lifetime: test.lifetime}
		first := pages.For(conversation, noon.Add(time.Second/2))
		now := noon.Add(test.after)
		got := pages.For(conversation, now)
		if same := got == first; same != test.same {
			t.Errorf("%v, after %v: got the same addresses: %v, want %v", test.lifetime, test.after, same, test.same)
		}
		claims, err := pages.Keys.Verify(strings.TrimPrefix(got.Card, "/card/"), access.PurposeCard, now)
		if left := claims.Expires.Sub(now); err != nil || left != test.left {
			t.Errorf("%v, after %v: got %v left and error %v, want %v", test.lifetime, test.after, left, err, test.left)
		}
	}
}

// Verify accepts the token of the longest account and interaction id.
func TestPagesWithLongestNames(t *testing.T) {
	pages := access.Pages{Keys: newKeys(t, keyA), Lifetime: time.Hour}
	conversation := messages.Conversation{
		Account: strings.Repeat("a", 32), InteractionID: strings.Repeat("é", messages.MaxInteractionID/2),
	}
	token := strings.TrimPrefix(pages.For(conversation, noon).Card, "/card/")
	if _, err := pages.Keys.Verify(token, access.PurposeCard, noon); err != nil {
		t.Errorf("a token of %d characters: got error %v, want none", len(token), err)
	}
}

// FuzzVerify checks that every accepted token is exactly what Sign returns for its claims.
func FuzzVerify(f *testing.F) {
	keys := newKeys(f, keyA)
	for _, purpose := range purposes {
		token := keys.Sign(claimsFor(purpose))
		f.Add(token, byte(purpose))
		f.Add(token[:len(token)-1], byte(purpose))
		f.Add(token+"\n", byte(purpose))
		f.Add(token[:8]+"\r\n"+token[8:], byte(purpose))
	}
	f.Add("", byte(0))
	f.Add("AQEAAAAAAAAAAP8", byte(1))
	f.Fuzz(func(t *testing.T, token string, purpose byte) {
		claims, err := keys.Verify(token, access.Purpose(purpose), noon)
		switch {
		case errors.Is(err, access.ErrToken):
			if claims != (access.Claims{}) {
				t.Errorf("refused: got %+v, want no claims", claims)
			}
		case err == nil, errors.Is(err, access.ErrTokenExpired):
			if again := keys.Sign(claims); again != token {
				t.Errorf("accepted %q: signed again it is %q, want the same", token, again)
			}
		default:
			t.Errorf("got error %v, want %v or %v", err, access.ErrToken, access.ErrTokenExpired)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	keys := newKeys(b, keyA, keyB)
	token := keys.Sign(claimsFor(access.PurposeAgent))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := keys.Verify(token, access.PurposeAgent, noon); err != nil {
			b.Fatal(err)
		}
	}
}

func ExamplePages_For() {
	keys, err := access.NewKeys("an invented key of at least 32 bytes")
	if err != nil {
		fmt.Println(err)
		return
	}
	pages := access.Pages{Keys: keys, BaseURL: "https://rooms.example", Lifetime: 24 * time.Hour}
	now := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	addresses := pages.For(messages.Conversation{Account: "acme", InteractionID: "9b3d5e7f"}, now)

	token := strings.TrimPrefix(addresses.Context, "https://rooms.example/open/")
	claims, err := keys.Verify(token, access.PurposeAgent, now)
	fmt.Println(claims.Account, claims.Subject, err)
	_, err = keys.Verify(token, access.PurposeCustomer, now)
	fmt.Println(err)
	_, err = keys.Verify(token, access.PurposeAgent, now.Add(25*time.Hour))
	fmt.Println(err)
	// Output:
	// acme 9b3d5e7f <nil>
	// the token is not valid
	// the token has expired
}
