// Package frame is the bytes of STOMP 1.0, 1.1 and 1.2: a bounded reader that
// does not copy and encoders that append. It knows no command's meaning.
package frame

// Version is a negotiated version of STOMP.
type Version uint8

// The versions, in order.
const (
	V10 Version = iota
	V11
	V12
)

// String returns the version as the headers spell it.
func (v Version) String() string { return [...]string{"1.0", "1.1", "1.2"}[v] }

// Command is the first line of a frame.
type Command uint8

// The commands; Unknown is any other word.
const (
	Unknown Command = iota
	Connect
	Stomp
	Send
	Subscribe
	Unsubscribe
	Ack
	Nack
	Begin
	Commit
	Abort
	Disconnect
	Connected
	Message
	Receipt
	Error
	Commands = iota // how many there are
)

var commandNames = [Commands]string{
	Unknown: "", Connect: "CONNECT", Stomp: "STOMP", Send: "SEND", Subscribe: "SUBSCRIBE", Unsubscribe: "UNSUBSCRIBE",
	Ack: "ACK", Nack: "NACK", Begin: "BEGIN", Commit: "COMMIT", Abort: "ABORT", Disconnect: "DISCONNECT",
	Connected: "CONNECTED", Message: "MESSAGE", Receipt: "RECEIPT", Error: "ERROR",
}

// String returns the command's word.
func (c Command) String() string { return commandNames[c] }

func commandOf(word []byte) Command {
	if string(word) == "SEND" { // by far the most frequent one
		return Send
	}
	for c := Connect; c < Commands; c++ {
		if string(word) == commandNames[c] {
			return c
		}
	}
	return Unknown
}

// escaped reports whether the headers of a frame are escaped in version v.
// [STOMP 1.2 Value Encoding]
func (c Command) escaped(v Version) bool {
	return v != V10 && c != Connect && c != Connected && c != Stomp
}

// span is where a header stands, in offsets from the frame's first octet.
type span struct {
	key, keyEnd, value, valueEnd uint32
}

// Frame is one frame as read. It points into the memory of its [Batch] and is
// valid until the batch is released.
type Frame struct {
	Command   Command
	HasLength bool // content-length was there
	Length    int  // what it says, else the octets of Body
	Body      []byte
	// More says that the body goes on in the next frame, and Continued that this one is
	// nothing but more of the body of the frame before: see [Limits.Whole].
	More, Continued bool

	name  []byte
	buf   []byte
	spans []span
}

// Name returns the word of the command line, also of an unknown command.
func (f *Frame) Name() []byte { return f.name }

// Len returns the number of headers, repetitions included.
func (f *Frame) Len() int { return len(f.spans) }

// HeaderSize returns how many octets the decoded headers have.
func (f *Frame) HeaderSize() int {
	n := uint32(0)
	for _, s := range f.spans {
		n += s.keyEnd - s.key + s.valueEnd - s.value
	}
	return int(n)
}

// Header returns the decoded key and value of the i-th header.
func (f *Frame) Header(i int) (key, value []byte) {
	s := f.spans[i]
	return f.buf[s.key:s.keyEnd:s.keyEnd], f.buf[s.value:s.valueEnd:s.valueEnd]
}

// Get returns the value of the first header with that key.
// [STOMP 1.2 Repeated Header Entries]
func (f *Frame) Get(key string) (value []byte, ok bool) {
	for _, s := range f.spans {
		if string(f.buf[s.key:s.keyEnd]) == key {
			return f.buf[s.value:s.valueEnd:s.valueEnd], true
		}
	}
	return nil, false
}
