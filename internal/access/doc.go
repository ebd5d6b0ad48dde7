// Package access decides who may: it checks the credentials of a request, each
// bound to one account, and it makes and checks our signed tokens, both the
// access tokens that Talkdesk fetches and those in the addresses of our pages.
//
// It guarantees that a credential belongs to one account only, that comparing
// takes no longer for a better guess, that a token opens what it was made for
// and nothing else, and that no secret is in an error.
package access
