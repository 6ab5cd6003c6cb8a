package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/selvedge-mq/selvedge/gateway/api"
)

// writeReasons tells why the cluster is not healthy.
func writeReasons(w io.Writer, reasons []string) error {
	if len(reasons) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "not healthy because: %s\n", strings.Join(reasons, "; "))
	return err
}

// writeMissing tells since when nodes are not there, and which were retired.
func writeMissing(w io.Writer, nodes []api.Node) error {
	for _, n := range nodes {
		if n.There() {
			continue
		}
		text := fmt.Sprintf("node %s: %s", n.Name, n.State)
		if n.LastSeen != "" {
			text += ", last seen " + n.LastSeen
		}
		switch n.State { //nolint:exhaustive // the others are told as they are
		case api.NodeRetiring:
			text += fmt.Sprintf("; since %s by %s: to finish it, run selvedge retire %s", n.RetiredAt, n.RetiredBy, n.Name)
		case api.NodeRetired:
			text += fmt.Sprintf("; since %s by %s", n.RetiredAt, n.RetiredBy)
		}
		if _, err := fmt.Fprintln(w, text); err != nil {
			return err
		}
	}
	return nil
}
