package peers

import (
	"encoding/hex"

	"github.com/selvedge-mq/selvedge/routing/engine"
)

// Subjects. Everything for a node lies under its token; "all" is no token, for
// tokens begin with n or x.
const (
	subjectPrefix = "selvedge.p."
	subjectAll    = subjectPrefix + "all"
)

// laneNames are the lanes' names in subjects, logs and metrics.
var laneNames = [engine.Lanes]string{"control", "settle", "send", "deliver"}

// token returns a node's name as one token of a subject. Different names have
// different tokens.
func token(node string) string {
	for i := range len(node) {
		c := node[i]
		plain := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
		if !plain {
			return "x" + hex.EncodeToString([]byte(node))
		}
	}
	return "n" + node
}

// subjectOf returns the subject of one kind of traffic for a node: a lane's
// name, "notice" or "ask".
func subjectOf(node, what string) string {
	return subjectPrefix + token(node) + "." + what
}
