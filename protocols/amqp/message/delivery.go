package message

// Delivery appends the parts of one delivery of the message to parts: a header
// section (see [Header.Append]), a section of message annotations, and the bare
// message as it came. Either section may be nil; m.MessageAnnotations keeps the
// annotations as they are. Delivery annotations are left out: they were meant
// for this node. [messaging 3.2.1-3]
func (m *Message) Delivery(parts [][]byte, header, annotations []byte) [][]byte {
	for _, p := range [...][]byte{header, annotations, m.Bare} {
		if len(p) > 0 {
			parts = append(parts, p)
		}
	}
	return parts
}
