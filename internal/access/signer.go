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

func newSigner(key []byte) *signer {
	return &signer{states: sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

// sum is the HMAC of a body.
func (s *signer) sum(body []byte) (sum [sha256.Size]byte) {
	state, _ := s.states.Get().(hash.Hash)
	state.Write(body)
	state.Sum(sum[:0])
	state.Reset()
	s.states.Put(state)
	return sum
}
