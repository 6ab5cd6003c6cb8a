package websock

import (
	"net/http"
	"slices"
	"strings"
)

const protocolHeader = "Sec-WebSocket-Protocol"

// offers reports whether the client speaks one of the protocols.
func offers(r *http.Request, protocols []string) bool {
	for _, line := range r.Header.Values(protocolHeader) {
		for word := range strings.SplitSeq(line, ",") {
			if slices.ContainsFunc(protocols, func(p string) bool { return strings.EqualFold(p, strings.TrimSpace(word)) }) {
				return true
			}
		}
	}
	return false
}
