package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"time"
)

// The profile leaves out the second in which a load begins and the one in which it
// ends, and a node takes none that is longer.
const (
	profileMargin  = time.Second
	longestProfile = time.Minute
)

// profile runs the first of the chosen loads once, and prints what the profile of the
// first node says. How fast the load is meanwhile is no figure.
func profile(ctx context.Context, o options, b *bed, out, told io.Writer) error {
	list := chosen(o.only)
	if len(list) == 0 || o.duration < 3*profileMargin {
		return fmt.Errorf("nothing to profile: rows that begin with %q: %d, for %v, want %v at least", o.only, len(list), o.duration, 3*profileMargin)
	}
	s, err := b.measure(ctx, list[0], o)
	if err != nil {
		return fmt.Errorf("%s: %w", list[0].name, err)
	}
	fmt.Fprintf(told, "%s: %v\nlook closer: go tool pprof -http 127.0.0.1:0 %s\n", list[0].name, s, o.profile)
	top := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", "-nodecount=40", o.profile)
	top.Stdout, top.Stderr = out, told
	return top.Run()
}

// takeProfile has the first node profile itself while the load runs. Its error, or
// nil, comes when the profile is in its file, at once if none is wanted.
func (c *cluster) takeProfile(ctx context.Context, o options) <-chan error {
	done := make(chan error, 1)
	if o.profile == "" {
		done <- nil
		return done
	}
	go func() { done <- c.nodes[0].writeProfile(ctx, o) }()
	return done
}

func (n node) writeProfile(ctx context.Context, o options) error {
	select {
	case <-time.After(profileMargin):
	case <-ctx.Done():
		return ctx.Err()
	}
	span := min(o.duration-2*profileMargin, longestProfile)
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", n.ready.HTTP, int(span.Seconds()))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: %s", resp.Status)
	}
	file, err := os.Create(o.profile)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, resp.Body)
	return errors.Join(err, file.Close())
}
