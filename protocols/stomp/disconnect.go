package stomp

import "github.com/selvedge-mq/selvedge/protocols/stomp/frame"

// disconnect ends the connection when all earlier frames are dealt with; its
// RECEIPT is the last frame. [STOMP 1.2 DISCONNECT]
func (m *machine) disconnect(f *frame.Frame) error {
	if id, ok := f.Get("receipt"); ok {
		m.goodbye = append([]byte{}, id...)
	}
	m.leave(true)
	return nil
}
