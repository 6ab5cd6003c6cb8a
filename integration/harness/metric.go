package harness

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Metric asks a node's HTTP listener for a metric and returns the sum over its
// labels; a label that is given, as `outcome="committed"`, picks some of them.
func Metric(addr, name, label string) (sum float64, err error) {
	found := false
	err = ask(addr, "/metrics", func(r io.Reader) error {
		in := bufio.NewScanner(r)
		for in.Scan() {
			series, text, _ := strings.Cut(in.Text(), " ")
			base, labels, _ := strings.Cut(series, "{")
			if base != name || !strings.Contains(labels, label) {
				continue
			}
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return fmt.Errorf("metric %s: %w", series, err)
			}
			sum, found = sum+value, true
		}
		return in.Err()
	})
	if err == nil && !found {
		err = fmt.Errorf("no metric %s with %q", name, label)
	}
	return sum, err
}
