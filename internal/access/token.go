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
	// ErrToken says that a token was not made by us, or for something else.
	ErrToken = errors.New("the token is not valid")
	// ErrTokenExpired says that a token was ours, and has ended.
	ErrTokenExpired = errors.New("the token has expired")
	// ErrKey says that a key is too short, or that there are too many.
	ErrKey = errors.New("a link key has at least 32 bytes, and there are one or two of them")
)

// Purpose is the one thing that a token opens.
type Purpose byte

// The purposes of our tokens. Their numbers are in the tokens, and never change.
const (
	// PurposeAccess is an access token of our own token endpoint.
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
	// macSize is half of the HMAC-SHA256, which RFC 2104 (section 5) allows and
	// which keeps addresses short.
	macSize = sha256.Size / 2
	// headSize is version, purpose, expiry in Unix seconds, length of the account.
	headSize = 1 + 1 + 8 + 1
	// MinKey is the length of the shortest link key, in bytes.
	MinKey = 32
	// maxToken bounds a token's text before it is decoded.
	maxToken = 1024
	// usualToken has room for a token, and for an address that ends in one, of all but
	// the longest names.
	usualToken = 256
)

// Claims are what a token says.
type Claims struct {
	Purpose Purpose
	Account string
	// Subject is the interaction id, or the client of an access token.
	Subject string
	Expires time.Time
}

// Keys sign and check tokens. The first key signs; both are accepted, so that
// keys can be rotated.
type Keys struct {
	keys []key
}

// key is a link key with what signs for each purpose.
type key struct {
	link    []byte
	signing [PurposeCard + 1]*signer
}

// NewKeys takes one or two link keys. It returns [ErrKey] for others.
func NewKeys(keys ...secret.String) (*Keys, error) {
	if len(keys) < 1 || len(keys) > 2 {
		return nil, ErrKey
	}
	k := &Keys{}
	for _, link := range keys {
		if len(link) < MinKey {
			return nil, ErrKey
		}
		k.keys = append(k.keys, newKey([]byte(link.Reveal())))
	}
	return k, nil
}

func newKey(link []byte) key {
	k := key{link: link}
	for purpose := range k.signing {
		k.signing[purpose] = newPurposeSigner(link, Purpose(purpose))
	}
	return k
}

// forPurpose signs for a purpose, be it one of ours or not.
func (k key) forPurpose(purpose Purpose) *signer {
	if int(purpose) < len(k.signing) {
		return k.signing[purpose]
	}
	return newPurposeSigner(k.link, purpose)
}

func newPurposeSigner(link []byte, purpose Purpose) *signer {
	return newSigner(subkey(link, fmt.Sprintf("roomlink token %d", purpose)))
}

// Sign makes a token, which may stand in an address as it is.
func (k *Keys) Sign(c Claims) string {
	var room [usualToken]byte
	return string(k.appendToken(room[:0], c))
}

// appendToken appends a token to a text.
func (k *Keys) appendToken(text []byte, c Claims) []byte {
	var room [usualToken]byte
	body := append(room[:0], tokenVersion, byte(c.Purpose))
	body = binary.BigEndian.AppendUint64(body, uint64(c.Expires.Unix()))
	body = append(body, byte(len(c.Account)))
	body = append(body, c.Account...)
	body = append(body, c.Subject...)
	sum := k.keys[0].sum(c.Purpose, body)
	return base64.RawURLEncoding.AppendEncode(text, append(body, sum[:macSize]...))
}

// Verify reads a token that was made for a purpose. It returns [ErrToken] or
// [ErrTokenExpired]; with the latter the claims are those of the token.
func (k *Keys) Verify(token string, purpose Purpose, now time.Time) (Claims, error) {
	// The decoder passes over line ends, and so would take a token in many spellings.
	if len(token) > maxToken || strings.ContainsAny(token, "\r\n") {
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
		expected := key.sum(purpose, body)
		ok = hmac.Equal(expected[:macSize], sum) || ok
	}
	return ok
}

// sum is the HMAC with the subkey of a purpose, so that a token of one purpose is no
// token of another whatever its body says.
func (k key) sum(purpose Purpose, body []byte) [sha256.Size]byte {
	return k.forPurpose(purpose).sum(body)
}

// fingerprints name a client's secret in its access tokens, one for each key. A
// token tells nothing of the secret to whoever does not have the key.
func (k *Keys) fingerprints(id string, clientSecret secret.String) []string {
	prints := make([]string, len(k.keys))
	for i, key := range k.keys {
		sum := newSigner(subkey(key.link, "roomlink client "+id)).sum([]byte(clientSecret.Reveal()))
		prints[i] = hex.EncodeToString(sum[:8])
	}
	return prints
}

// subkey derives the key of one use (HKDF, RFC 5869).
func subkey(key []byte, use string) []byte {
	derived, err := hkdf.Key(sha256.New, key, nil, use, sha256.Size)
	if err != nil {
		panic(err) // HKDF refuses nothing but lengths beyond 8,160 bytes
	}
	return derived
}

// Pages makes the addresses of the pages of a conversation. They are valid
// before the room exists.
type Pages struct {
	Keys *Keys
	// BaseURL is where our viewer is reached, without a slash at the end.
	BaseURL string
	// Lifetime of the addresses, at least. They end at whole 24ths of it, so that
	// those which are made one after the other are mostly the same.
	Lifetime time.Duration
}

// Addresses of the pages of a conversation, as every answer of ours has them.
type Addresses struct {
	// Context is the agent's context link.
	Context string `json:"contextUrl"`
	// Customer is the customer's link.
	Customer string `json:"customerUrl"`
	// Card is the canvas card.
	Card string `json:"cardUrl"`
}

// For makes the addresses of a conversation, which end after the lifetime.
func (p Pages) For(conversation messages.Conversation, now time.Time) Addresses {
	expires := p.end(now)
	address := func(path string, purpose Purpose) string {
		var room [usualToken]byte
		text := append(append(room[:0], p.BaseURL...), path...)
		return string(p.Keys.appendToken(text, Claims{
			Purpose: purpose,
			Account: conversation.Account,
			Subject: conversation.InteractionID,
			Expires: expires,
		}))
	}
	return Addresses{
		Context:  address("/open/", PurposeAgent),
		Customer: address("/open/", PurposeCustomer),
		Card:     address("/card/", PurposeCard),
	}
}

// end is when addresses end that are made now.
func (p Pages) end(now time.Time) time.Time {
	end := now.Add(p.Lifetime)
	step := (p.Lifetime / 24).Truncate(time.Second) // a token knows no less
	if whole := end.Truncate(step); whole.Before(end) {
		return whole.Add(step)
	}
	return end
}
