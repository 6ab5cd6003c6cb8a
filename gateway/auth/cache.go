package auth

import (
	"container/list"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
)

type cacheKey [sha256.Size]byte

// cache remembers logins that were found right, so that a hash is not computed
// for each connection of a client. It keeps no passwords: a login is an HMAC
// under a key that never leaves the process. Wrong logins are not remembered.
type cache struct {
	secret [32]byte
	limit  int

	mu     sync.Mutex
	recent *list.List // of cacheKey, the most recently used first
	known  map[cacheKey]*list.Element
}

func newCache(limit int) *cache {
	c := &cache{limit: limit, recent: list.New(), known: make(map[cacheKey]*list.Element)}
	rand.Read(c.secret[:]) // never fails: the process ends if there is no randomness
	return c
}

// key covers the stored hash too: a changed password makes old entries useless.
func (c *cache) key(user, hash, password string) cacheKey {
	mac := hmac.New(sha256.New, c.secret[:])
	for _, part := range []string{user, hash, password} {
		mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part)))) //nolint:gosec // frames are far below 4 GiB
		mac.Write([]byte(part))
	}
	return cacheKey(mac.Sum(nil))
}

func (c *cache) has(k cacheKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.known[k]
	if ok {
		c.recent.MoveToFront(e)
	}
	return ok
}

func (c *cache) add(k cacheKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.known[k]; ok {
		return
	}
	c.known[k] = c.recent.PushFront(k)
	if c.recent.Len() > c.limit {
		oldest := c.recent.Back()
		delete(c.known, c.recent.Remove(oldest).(cacheKey))
	}
}
