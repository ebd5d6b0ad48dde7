package access

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"roomlink/internal/secret"
	"roomlink/messages"
)

var (
	// ErrToken refuses a token with a bad signature or for another purpose.
	ErrToken = errors.New("the token is not valid")
	// ErrTokenExpired refuses a valid token after its expiry.
	ErrTokenExpired = errors.New("the token has expired")
	// ErrKey refuses a link key that is too short, and any number of keys but one or two.
	ErrKey = errors.New("a link key has at least 32 bytes, and there are one or two of them")
)

// Purpose is what a token is for. A token is valid for one purpose only.
type Purpose byte

// The purposes. Tokens contain these numbers, so they never change.
const (
	// PurposeAccess is an access token of our token endpoint.
	PurposeAccess Purpose = 1
	// PurposeAgent opens the room as the agent.
	PurposeAgent Purpose = 2
	// PurposeCustomer opens the room as the customer.
	PurposeCustomer Purpose = 3
	// PurposeCard shows the canvas card.
	PurposeCard Purpose = 4
)

const (
	tokenVersion = 1
	// macSize is half of an HMAC-SHA256, to keep addresses short. RFC 2104, section 5,
	// allows it.
	macSize = sha256.Size / 2
	// headSize counts the version, the purpose, the expiry in Unix seconds and the length
	// of the account.
	headSize = 1 + 1 + 8 + 1
	// MinKey is the minimum length of a link key, in bytes.
	MinKey = 32
	// maxToken bounds the text of a token before it is decoded, in bytes.
	maxToken = 1024
)

// Claims are the contents of a token.
type Claims struct {
	Purpose Purpose
	Account string
	// Subject is the interaction id, or the client of an access token.
	Subject string
	Expires time.Time
}

// Keys sign and verify tokens. The first key signs. Every key verifies, so that keys can
// be rotated.
type Keys struct {
	keys []key
}

// key is a link key with the subkeys that it signs with.
type key struct {
	link    []byte
	subkeys [PurposeCard + 1][]byte
}

// NewKeys returns keys that sign with the first of one or two link keys. It returns
// [ErrKey] if a key is too short or if there are more or fewer of them.
func NewKeys(links ...secret.String) (*Keys, error) {
	if len(links) < 1 || len(links) > 2 {
		return nil, ErrKey
	}
	k := &Keys{}
	for _, link := range links {
		if len(link) < MinKey {
			return nil, ErrKey
		}
		next := key{link: []byte(link.Reveal())}
		for purpose := range next.subkeys {
			next.subkeys[purpose] = subkey(next.link, fmt.Sprintf("roomlink token %d", purpose))
		}
		k.keys = append(k.keys, next)
	}
	return k, nil
}

// Sign returns a token with the given claims. It needs no escaping in a URL.
func (k *Keys) Sign(c Claims) string {
	body := []byte{tokenVersion, byte(c.Purpose)}
	body = binary.BigEndian.AppendUint64(body, uint64(c.Expires.Unix()))
	body = append(body, byte(len(c.Account)))
	body = append(body, c.Account...)
	body = append(body, c.Subject...)
	return base64.RawURLEncoding.EncodeToString(append(body, k.keys[0].sign(c.Purpose, body)...))
}

// Verify returns the claims of a token for the given purpose. It returns [ErrToken], or
// [ErrTokenExpired] together with the claims.
func (k *Keys) Verify(token string, purpose Purpose, now time.Time) (Claims, error) {
	// The decoder skips line breaks and would accept several spellings of one token.
	if purpose > PurposeCard || len(token) > maxToken || strings.ContainsAny(token, "\r\n") {
		return Claims{}, ErrToken
	}
	body, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(body) < headSize+macSize {
		return Claims{}, ErrToken
	}
	body, sum := body[:len(body)-macSize], body[len(body)-macSize:]
	if !k.signed(purpose, body, sum) || body[0] != tokenVersion || Purpose(body[1]) != purpose {
		return Claims{}, ErrToken
	}
	length := int(body[headSize-1])
	if len(body) < headSize+length {
		return Claims{}, ErrToken
	}
	claims := Claims{
		Purpose: purpose,
		Account: string(body[headSize : headSize+length]),
		Subject: string(body[headSize+length:]),
		Expires: time.Unix(int64(binary.BigEndian.Uint64(body[2:10])), 0),
	}
	if !now.Before(claims.Expires) {
		return claims, ErrTokenExpired
	}
	return claims, nil
}

func (k *Keys) signed(purpose Purpose, body, sum []byte) bool {
	ok := false
	for _, key := range k.keys {
		ok = hmac.Equal(key.sign(purpose, body), sum) || ok
	}
	return ok
}

// sign returns the signature of a token's body. Each purpose has its own subkey, so a
// token of one purpose is never valid for another, whatever its body says.
func (k key) sign(purpose Purpose, body []byte) []byte {
	return mac(k.subkeys[purpose], body)[:macSize]
}

// fingerprints identify a client's secret in access tokens, one for each key. Without
// the key, a fingerprint reveals nothing about the secret.
func (k *Keys) fingerprints(id string, clientSecret secret.String) []string {
	prints := make([]string, len(k.keys))
	for i, key := range k.keys {
		prints[i] = hex.EncodeToString(mac(subkey(key.link, "roomlink client "+id), []byte(clientSecret.Reveal()))[:8])
	}
	return prints
}

// mac returns an HMAC-SHA256 (RFC 2104).
func mac(key, body []byte) []byte {
	hash := hmac.New(sha256.New, key)
	hash.Write(body)
	return hash.Sum(nil)
}

// subkey derives the key for one use (HKDF, RFC 5869).
func subkey(key []byte, use string) []byte {
	derived, err := hkdf.Key(sha256.New, key, nil, use, sha256.Size)
	if err != nil {
		panic(err) // HKDF only refuses lengths above 8,160 bytes
	}
	return derived
}

// Pages makes the addresses of a conversation's pages. The addresses are valid before
// the room exists.
type Pages struct {
	Keys *Keys
	// BaseURL is the public URL of the viewer, without a trailing slash.
	BaseURL string
	// Lifetime is the minimum lifetime of an address. The expiry is rounded up to a
	// multiple of Lifetime/24, so most repeated requests get the same addresses.
	Lifetime time.Duration
}

// Addresses are the addresses of a conversation's pages, as every answer contains them.
type Addresses struct {
	// Context is the agent's context link.
	Context string `json:"contextUrl"`
	// Customer is the customer's link.
	Customer string `json:"customerUrl"`
	// Card is the canvas card.
	Card string `json:"cardUrl"`
}

// For returns the addresses of a conversation's pages.
func (p Pages) For(conversation messages.Conversation, now time.Time) Addresses {
	expires := p.expiry(now)
	token := func(purpose Purpose) string {
		return p.Keys.Sign(Claims{
			Purpose: purpose, Account: conversation.Account, Subject: conversation.InteractionID, Expires: expires,
		})
	}
	return Addresses{
		Context:  p.BaseURL + "/open/" + token(PurposeAgent),
		Customer: p.BaseURL + "/open/" + token(PurposeCustomer),
		Card:     p.BaseURL + "/card/" + token(PurposeCard),
	}
}

// expiry is when the addresses made at now expire.
func (p Pages) expiry(now time.Time) time.Time {
	end := now.Add(p.Lifetime)
	step := (p.Lifetime / 24).Truncate(time.Second) // a token contains whole seconds
	if whole := end.Truncate(step); whole.Before(end) {
		return whole.Add(step)
	}
	return end
}

// ParseKeys reads link keys, one a line. Its errors are those of [NewKeys].
func ParseKeys(text secret.String) (*Keys, error) {
	var keys []secret.String
	for line := range strings.Lines(text.Reveal()) {
		keys = append(keys, secret.String(strings.TrimRight(line, "\r\n")))
	}
	return NewKeys(keys...)
}
