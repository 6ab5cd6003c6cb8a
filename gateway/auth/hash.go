package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// Parameters of new hashes: the second of OWASP's recommendations for argon2id.
const (
	newMemory  = 19 << 10 // KiB
	newTime    = 2
	newThreads = 1
	newSalt    = 16
	newKey     = 32
)

// Bounds of hashes that are accepted: a configuration must not make a login
// cost the node its memory.
const (
	maxMemory     = 256 << 10 // KiB
	maxTime       = 32
	maxThreads    = 16
	maxBcryptCost = 16
)

var errNotHash = errors.New(`the password is not a bcrypt, argon2id or SCRAM hash: make one with "selvedge passwd"`)

// Hash returns the argon2id hash of a password, as it stands in the
// configuration.
func Hash(password string) (string, error) {
	if password == "" {
		return "", errors.New("the password is empty")
	}
	if len(password) > maxPassword {
		return "", fmt.Errorf("the password has %d bytes, at most %d are allowed", len(password), maxPassword)
	}
	h := argonHash{memory: newMemory, time: newTime, threads: newThreads, salt: make([]byte, newSalt)}
	rand.Read(h.salt) // never fails: the process ends if there is no randomness
	h.key = argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, newKey)
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.time, h.threads, b64(h.salt), b64(h.key)), nil
}

// CheckHash reports why text cannot stand as a user's password, or nil.
func CheckHash(text string) error {
	_, err := parseHash(text)
	return err
}

// hash is a stored password. matches takes constant time for a given hash.
type hash interface {
	matches(password string) bool
	cost() int // about milliseconds: only for comparison
}

func parseHash(text string) (hash, error) {
	switch {
	case strings.HasPrefix(text, "$argon2id$"):
		return parseArgon(text)
	case strings.HasPrefix(text, "SCRAM-"):
		return parseSCRAM(text)
	case strings.HasPrefix(text, "$2"):
		cost, err := bcrypt.Cost([]byte(text))
		if err != nil || len(text) != 60 {
			return nil, errNotHash
		}
		if cost > maxBcryptCost {
			return nil, fmt.Errorf("the bcrypt hash has cost %d, at most %d is allowed", cost, maxBcryptCost)
		}
		return bcryptHash{text: []byte(text), factor: cost}, nil
	}
	return nil, errNotHash
}

type bcryptHash struct {
	text   []byte
	factor int
}

func (h bcryptHash) matches(password string) bool {
	return bcrypt.CompareHashAndPassword(h.text, []byte(password)) == nil
}

func (h bcryptHash) cost() int { return 1 << h.factor >> 4 }

type argonHash struct {
	memory, time uint32
	threads      uint8
	salt, key    []byte
}

func (h argonHash) matches(password string) bool {
	key := argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, uint32(len(h.key))) //nolint:gosec // at most 64
	return subtle.ConstantTimeCompare(key, h.key) == 1
}

func (h argonHash) cost() int { return int(h.memory>>10) * int(h.time) }

// parseArgon reads the PHC string format.
func parseArgon(text string) (hash, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 {
		return nil, errNotHash
	}
	var version int
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return nil, fmt.Errorf("the argon2id hash is not of version %d", argon2.Version)
	}
	var h argonHash
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.threads); err != nil {
		return nil, errNotHash
	}
	if h.memory < 8 || h.memory > maxMemory || h.time < 1 || h.time > maxTime || h.threads < 1 || h.threads > maxThreads {
		return nil, fmt.Errorf("the argon2id hash has m=%d,t=%d,p=%d, at most m=%d,t=%d,p=%d is allowed",
			h.memory, h.time, h.threads, maxMemory, maxTime, maxThreads)
	}
	var err error
	if h.salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil || len(h.salt) < 8 || len(h.salt) > 64 {
		return nil, errNotHash
	}
	if h.key, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil || len(h.key) < 16 || len(h.key) > 64 {
		return nil, errNotHash
	}
	return h, nil
}
