package api

import "net/url"

// PathRetire is where a node is retired, with its name for {node}: POST streams
// [RetireStep] values, one a line; DELETE takes a retirement back.
const PathRetire = PathNodes + "/{node}/retirement"

// RetirePath returns [PathRetire] of a node.
func RetirePath(node string) string { return PathNodes + "/" + url.PathEscape(node) + "/retirement" }

// RetireStep is one step of a retirement, or what it waits for. The last one says
// that it is done, or why it is not.
type RetireStep struct {
	Step  string `json:"step,omitempty"`
	Done  bool   `json:"done,omitempty"`
	Error string `json:"error,omitempty"` // it may be tried again, and goes on where it was
}
