// Command tool does what an image from scratch has no shell for:
//
//	tool secret FILE   writes a new random secret to the file, unless it exists
//	tool ready ADDR    ends with 0 if the node behind the HTTP listener takes clients
//	tool build DIR     builds the product into the folder, with its version inside
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// readyTimeout is less than the timeout of the image's HEALTHCHECK.
const readyTimeout = 3 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tool:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 2 {
		switch args[0] {
		case "secret":
			return secret(args[1])
		case "ready":
			return ready(args[1])
		case "build":
			return build(args[1])
		}
	}
	return errors.New("want: secret FILE, ready ADDR, or build DIR")
}

// secret makes the file as a whole or not at all, and never changes one that is
// there. It waits until the file is on the disk.
func secret(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".secret-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() //nolint:gosec // the name that CreateTemp chose
	_, err = f.WriteString(rand.Text() + rand.Text() + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func ready(addr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", http.NoBody) //nolint:gosec // who runs the image names the listener
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req) //nolint:gosec // as above
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}
