package harness

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Metric asks a node's HTTP listener for a metric and returns the sum over its
// labels; a label that is given, as `outcome="committed"`, picks some of them.
func Metric(addr, name, label string) (float64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), viewTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", http.NoBody)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("GET /metrics: %s", resp.Status)
	}
	var sum float64
	found := false
	in := bufio.NewScanner(resp.Body)
	for in.Scan() {
		series, text, _ := strings.Cut(in.Text(), " ")
		base, labels, _ := strings.Cut(series, "{")
		if base != name || !strings.Contains(labels, label) {
			continue
		}
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", series, err)
		}
		sum, found = sum+value, true
	}
	if err := in.Err(); err != nil {
		return 0, err
	}
	if !found {
		return 0, fmt.Errorf("no metric %s with %q", name, label)
	}
	return sum, nil
}
