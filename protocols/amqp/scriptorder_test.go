package amqp

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	answerLine      = regexp.MustCompile(`^\d*< `)
	dispositionLine = regexp.MustCompile(`^(\d*< \d+ disposition role=\w+ )(?:first=(\d+) )?(?:last=(\d+) )?(.*)$`)
)

// unordered is a transcript without what the goroutines of broker and connection
// decide between them: in which order the answers to one step are written, and
// how many dispositions share a frame.
func unordered(transcript string) []string {
	var out, run []string
	flush := func() {
		slices.Sort(run)
		out, run = append(out, run...), nil
	}
	for line := range strings.SplitSeq(transcript, "\n") {
		switch {
		case !answerLine.MatchString(line):
			flush()
			out = append(out, line)
		case dispositionLine.MatchString(line):
			run = append(run, singly(dispositionLine.FindStringSubmatch(line))...)
		default:
			run = append(run, line)
		}
	}
	flush()
	return out
}

// singly writes a disposition of a range of deliveries as one for each.
func singly(m []string) []string {
	number := func(text string, none uint64) uint32 {
		if n, err := strconv.ParseUint(text, 10, 32); err == nil {
			none = n
		}
		return uint32(none)
	}
	first := number(m[2], 0)
	last := number(m[3], uint64(first))
	var out []string
	for id := first; ; id++ { // a serial number: it may pass zero
		out = append(out, fmt.Sprintf("%sfirst=%d %s", m[1], id, m[4]))
		if id == last {
			return out
		}
	}
}
