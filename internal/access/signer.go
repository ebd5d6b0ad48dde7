package access

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
)

// signer makes HMAC-SHA256s (RFC 2104) of one key. It keeps states that have taken
// in the key, which is half of the work for something short. It may be used by many
// goroutines at once.
type signer struct{ states sync.Pool }

// signing is what one HMAC is made with. What a hash is given lies on the heap, and
// so here.
type signing struct {
	hash hash.Hash
	body []byte
	sum  [sha256.Size]byte
}

func newSigner(key []byte) *signer {
	return &signer{states: sync.Pool{New: func() any { return &signing{hash: hmac.New(sha256.New, key)} }}}
}

// sum is the HMAC of a body.
func (s *signer) sum(body []byte) [sha256.Size]byte {
	state, _ := s.states.Get().(*signing)
	defer s.states.Put(state)
	state.body = append(state.body[:0], body...)
	state.hash.Write(state.body)
	clear(state.body) // it may be a secret
	state.hash.Sum(state.sum[:0])
	state.hash.Reset()
	return state.sum
}
