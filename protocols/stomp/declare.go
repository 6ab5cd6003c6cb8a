package stomp

import (
	"github.com/selvedge-mq/selvedge/protocols/stomp/frame"
	"github.com/selvedge-mq/selvedge/routing"
)

// queueArguments are RabbitMQ's headers that declare what a queue does with its
// messages. To ignore one would deliver more or other messages.
var queueArguments = map[string]bool{
	"x-dead-letter-exchange": true, "x-dead-letter-routing-key": true, "x-expires": true, "x-max-length": true,
	"x-max-length-bytes": true, "x-max-priority": true, "x-message-ttl": true, "x-max-age": true, "x-overflow": true,
	"x-single-active-consumer": true, "x-stream-max-segment-size-bytes": true, "x-stream-filter-size-bytes": true,
}

// refuseArgument says which header declares a queue that this version does not
// have. A queue here is durable and shared, as RabbitMQ's is by default.
func refuseArgument(key, value []byte) error {
	var refused bool
	switch string(key) {
	case "auto-delete", "exclusive":
		refused = string(value) == "true" || string(value) == "True"
	case "x-queue-type":
		refused = string(value) != "classic" && string(value) != "quorum"
	default:
		refused = queueArguments[string(key)]
	}
	if refused {
		return notSupported("the header %s is not supported yet", key)
	}
	return nil
}

// refuseArguments does so for SUBSCRIBE. The queue behind a topic subscription is
// its own and goes with it, whatever it is declared as.
func refuseArguments(f *frame.Frame, kind routing.Kind) error {
	for i := range f.Len() {
		key, value := f.Header(i)
		if kind == routing.KindTopic && (string(key) == "auto-delete" || string(key) == "exclusive") {
			continue
		}
		if err := refuseArgument(key, value); err != nil {
			return err
		}
	}
	return nil
}
