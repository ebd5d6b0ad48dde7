package store

// MaxFeedMessages is the number of messages by which a feed may fall behind.
const MaxFeedMessages = maxFeedMessages

// Hold keeps a feed from passing messages until release is called.
func (f *Feed) Hold() (release func()) {
	f.mu.Lock()
	return f.mu.Unlock
}
