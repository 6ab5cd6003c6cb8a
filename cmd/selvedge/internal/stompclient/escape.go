package stompclient

import "strings"

var (
	escaper   = strings.NewReplacer("\\", `\\`, "\r", `\r`, "\n", `\n`, ":", `\c`)
	unescaper = strings.NewReplacer(`\\`, "\\", `\r`, "\r", `\n`, "\n", `\c`, ":")
)

// appendEscaped appends a header value in its spelling on the wire.
// [STOMP 1.2 Value Encoding]
func appendEscaped(b []byte, value string) []byte {
	return append(b, escaper.Replace(value)...)
}

func unescape(value []byte) string { return unescaper.Replace(string(value)) }
