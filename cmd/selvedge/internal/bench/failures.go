package bench

import (
	"fmt"
	"sync"
)

// maxFailures is how many different errors are kept.
const maxFailures = 20

// failures collects the errors of the connections, equal ones once.
type failures struct {
	mu    sync.Mutex
	texts []string
	count map[string]int
	total int
}

func (f *failures) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total++
	text := err.Error()
	if f.count == nil {
		f.count = make(map[string]int)
	}
	if f.count[text] == 0 {
		if len(f.texts) == maxFailures {
			return
		}
		f.texts = append(f.texts, text)
	}
	f.count[text]++
}

// sum returns how many errors there were.
func (f *failures) sum() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.total
}

// list returns the errors, with how often each came.
func (f *failures) list() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	lines := make([]string, 0, len(f.texts))
	for _, text := range f.texts {
		if n := f.count[text]; n > 1 {
			text = fmt.Sprintf("%s (%d times)", text, n)
		}
		lines = append(lines, text)
	}
	return lines
}
