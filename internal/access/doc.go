// Package access authenticates requests and signs tokens. An [Authenticator] checks the
// credentials of a request; each credential belongs to one account. [Keys] sign and
// verify tokens: the access tokens for Talkdesk and the tokens in the addresses of our
// pages.
//
// It guarantees that the time of a comparison does not depend on how close a guess is,
// that a token is valid for its own purpose only, and that no error contains a secret.
package access
