// Package linetest keeps the lines that several goroutines write, such as a log,
// for a test to look at. It knows nothing of who writes them.
package linetest

import (
	"bytes"
	"slices"
	"strings"
	"sync"
)

// Lines is an [io.Writer] for several goroutines. Its zero value is empty.
type Lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write adds p.
func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String returns all that was written.
func (l *Lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Reset forgets what was written.
func (l *Lines) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Reset()
}

// Count returns how many lines hold all of the texts.
func (l *Lines) Count(texts ...string) (n int) {
	for line := range strings.Lines(l.String()) {
		if !slices.ContainsFunc(texts, func(t string) bool { return !strings.Contains(line, t) }) {
			n++
		}
	}
	return n
}
