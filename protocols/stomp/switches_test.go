package stomp

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/protocols/prototest"
	"github.com/selvedge-mq/selvedge/routing"
)

// Each switch does what its dialect does not: octets go in, octets come out, and the
// broker has what is to be left when the client is gone. [stomp Ack_12] [stomp Ack_14]
// [stomp Transaction_08] [stomp Connect_08] [stomp Connect_11] [stomp Destination_02]
// [stomp Destination_04] [stomp Destination_05] [stomp Destination_06] [stomp Escaping_10]
func TestEachSwitchWinsOverItsDialect(t *testing.T) {
	const (
		taken = "SEND|destination:/queue/a||x^@SUBSCRIBE|id:1|destination:/queue/a|ack:client||^@"
		nack  = taken + "~NACK|id:ID-0-1|receipt:n||^@"
		auto  = "SEND|destination:/queue/a||x^@SUBSCRIBE|id:1|destination:/queue/a||^@~ACK|id:ID-0-1|receipt:n||^@"
		open  = "BEGIN|transaction:t||^@SEND|destination:/queue/a|transaction:t|receipt:s||x^@"
		both  = "SEND|destination:/queue/a,/queue/b|receipt:s||x^@"
		slash = "SEND|destination:/queue/a/b|receipt:s||x^@"
		rest  = "SEND|destination:/topic/a.>|receipt:s||x^@"
		words = "SEND|destination:/topic/a.#|receipt:s||x^@"
		queue = "SEND|destination:/queue/a.*|receipt:s||x^@"
		done  = "RECEIPT|receipt-id:s|"
	)
	for _, c := range []struct {
		name    string
		dialect Dialect
		set     Switches
		send    string
		want    string
		queue   string // what must be left in it
		depth   int
	}{
		{"nack: accept", ActiveMQ, Switches{Nack: NackAccept}, nack, "receipt-id:n|", "a", 0},
		{"nack: dead-letter", RabbitMQ, Switches{Nack: NackDeadLetter}, nack, "receipt-id:n|", "DLQ", 1},
		{"nack: requeue", ActiveMQ, Switches{Nack: NackRequeue}, nack, "|redelivered:true|", "a", 1},
		{"bare names: topic", ActiveMQ, Switches{Bare: BareTopic}, "SEND|destination:a|receipt:s||x^@", done, "a", 0},
		{"bare names: queue", Artemis, Switches{Bare: BareQueue}, "SEND|destination:a|receipt:s||x^@", done, "a", 1},
		{"receipt: at-commit", ActiveMQ, Switches{TransactionReceipt: ReceiptAtCommit}, open + "BEGIN|transaction:u|receipt:u||^@COMMIT|transaction:t|receipt:c||^@", "receipt-id:u||^@|RECEIPT|receipt-id:s||^@|RECEIPT|receipt-id:c|", "a", 1},
		{"receipt: at-once", RabbitMQ, Switches{TransactionReceipt: ReceiptAtOnce}, open, done, "a", 0},
		{"late ack: error", ActiveMQ, Switches{LateAck: LateAckError}, auto, "ERROR|message:Unexpected ACK received", "a", 0},
		{"late ack: lenient", Strict, Switches{LateAck: LateAckLenient}, auto, "RECEIPT|receipt-id:n|", "a", 0},
		{"keep open", ActiveMQ, Switches{KeepOpen: true}, "SEND||x^@SEND|destination:/queue/a|receipt:s||x^@", done, "a", 1},
		{"server", ActiveMQ, Switches{Server: `ActiveMQ/5:18\`}, "", "|server:ActiveMQ/5-18-|", "a", 0},
		{"hosts: another", RabbitMQ, Switches{Hosts: []string{"shop"}}, "", "ERROR|message:Bad CONNECT|", "a", 0},
		{"hosts: any", RabbitMQ, Switches{Hosts: []string{"*"}}, "", "CONNECTED|", "a", 0},
		{"client-ids: share", ActiveMQ, Switches{ClientIDs: ClientIDsShare}, "", "CONNECTED|", "a", 0},
		{"commas: separate", RabbitMQ, Switches{Commas: CommasSeparate}, both, done, "b", 1},
		{"commas: literal", ActiveMQ, Switches{Commas: CommasLiteral}, both, done, "a,/queue/b", 1},
		{"slashes: encoded", ActiveMQ, Switches{Slashes: SlashesEncoded}, slash, "ERROR|message:Illegal destination name", "a/b", 0},
		{"slashes: encoded, as such", ActiveMQ, Switches{Slashes: SlashesEncoded}, strings.Replace(slash, "a/b", "a%2Fb", 1), done, "a/b", 1},
		{"slashes: literal", RabbitMQ, Switches{Slashes: SlashesLiteral}, slash, done, "a/b", 1},
		{"wildcards: amqp, and the others are literal", ActiveMQ, Switches{Wildcards: WildcardsAMQP}, rest, done, "a", 0},
		{"wildcards: amqp", ActiveMQ, Switches{Wildcards: WildcardsAMQP}, words, "ERROR|message:wildcard destinations", "a", 0},
		{"wildcards: activemq, and the others are literal", ActiveMQ, Switches{Wildcards: WildcardsActiveMQ}, words, done, "a", 0},
		{"wildcards: both", RabbitMQ, Switches{Wildcards: WildcardsBoth}, rest, "ERROR|message:wildcard destinations", "a", 0},
		{"queue wildcards: off", ActiveMQ, Switches{QueueWildcards: QueueWildcardsOff}, queue, done, "a.*", 1},
		{"queue wildcards: on", RabbitMQ, Switches{QueueWildcards: QueueWildcardsOn}, queue, "ERROR|message:wildcard destinations", "a.*", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := named(t, Options{Dialect: c.dialect, Switches: c.set}, nil)
				defer s.close()
				raw := strings.NewReplacer("|", "\n", "^@", "\x00")
				got := s.say("1", raw.Replace("CONNECT|accept-version:1.2|host:/|client-id:c||^@"))
				for part := range strings.SplitSeq(c.send, "~") { // what comes first has an effect before the rest
					if part != "" {
						got += s.say("1", raw.Replace(part))
					}
				}
				wantIn(t, "the client", got, raw.Replace(c.want))
				s.peers["1"].nc.Close()
				synctest.Wait()
				if n := s.broker.Depth(routing.Queue(c.queue)); n != c.depth {
					t.Errorf("got %d messages in %s, want %d", n, c.queue, c.depth)
				}
			})
		})
	}
}

// A SEND that does not say is persistent where the setting says so; one that says
// false is not.
func TestPersistentIsTheDefaultOfASendThatDoesNotSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStageOf(t, Options{Env: protocols.Env{Auth: prototest.Users{}}, Persistent: true})
		defer s.close()
		s.say("1", connected12)
		s.say("1", "SEND\ndestination:/queue/a\n\nx\x00SEND\ndestination:/queue/a\npersistent:false\n\nx\x00")
		var got []bool
		for _, e := range s.broker.Record().Sent {
			got = append(got, e.Persistent)
		}
		if len(got) != 2 || !got[0] || got[1] {
			t.Errorf("persistent: got %v, want [true false]", got)
		}
	})
}
