// Package config is the configuration of a node: one struct whose fields are the
// settings, filled from a file, the environment and the flags. It starts nothing.
package config

import (
	"time"

	"github.com/selvedge-mq/selvedge/gateway/auth"
)

// Config holds every setting. A field's name tag is its name in three spellings:
// name "send-timeout" is --send-timeout as a flag, SELVEDGE_SEND_TIMEOUT in the
// environment and send-timeout: in the file. The tags group, default, help and
// value (or placeholder, without a default) make the flags' help and
// docs/config.md.
type Config struct {
	Node     string `name:"node" group:"Node" placeholder:"NAME" help:"Name of this node, unique in the cluster and kept for life. Default: the host name."`
	Data     string `name:"data" group:"Node" default:"./selvedge-data" value:"DIR" help:"Folder that the messages are stored in."`
	Storage  Switch `name:"storage" group:"Node" default:"true" value:"BOOL" help:"Whether the node stores messages. With false it serves clients only and needs a cluster."`
	STOMP    string `name:"stomp" group:"Listeners" default:"127.0.0.1:61613" value:"ADDR" help:"Where STOMP clients connect, host:port. Empty switches the listener off, port 0 picks a free port; so for all listeners."`
	STOMPTLS string `name:"stomp-tls" group:"Listeners" placeholder:"ADDR" help:"Where STOMP clients connect by TLS; needs tls-cert."`
	STOMPWS  string `name:"stomp-ws" group:"Listeners" placeholder:"ADDR" help:"Where STOMP clients connect by WebSocket, at any path. They may at /stomp of http and http-tls too."`
	AMQP     string `name:"amqp" group:"Listeners" default:"127.0.0.1:5672" value:"ADDR" help:"Where AMQP 1.0 clients connect."`
	AMQPTLS  string `name:"amqp-tls" group:"Listeners" placeholder:"ADDR" help:"Where AMQP 1.0 clients connect by TLS; needs tls-cert."`
	HTTP     string `name:"http" group:"Listeners" default:"127.0.0.1:8161" value:"ADDR" help:"Where health checks, metrics and the admin API are served, and WebSockets: STOMP at /stomp, AMQP at /amqp."`
	HTTPTLS  string `name:"http-tls" group:"Listeners" placeholder:"ADDR" help:"The same by TLS; needs tls-cert."`
	Mux      string `name:"mux" group:"Listeners" placeholder:"ADDR" help:"One port for STOMP, AMQP and HTTP, told apart by a client's first byte; by TLS too if there is a tls-cert."`

	WSOrigins     List   `name:"ws-origins" group:"Listeners" placeholder:"A,B" help:"Web sites whose pages may open WebSockets beside those of the node's own host: shop.example, *.shop.example or https://shop.example:8443. * is any site."`
	WSCompression Switch `name:"ws-compression" group:"Listeners" default:"true" value:"BOOL" help:"Whether WebSocket messages are compressed for clients that ask for it (permessage-deflate)."`
	ProxyFrom     List   `name:"proxy-from" group:"Listeners" placeholder:"A,B" help:"Addresses or networks of load balancers, as 10.0.0.7 or 10.0.0.0/8. The PROXY header, version 1 or 2, that they put before a connection says where the client is; from elsewhere it is refused. Empty switches it off."`

	MaxConnections        int `name:"max-connections" group:"Listeners" default:"10000" value:"N" help:"How many client connections the node holds at once. One more is closed right away."`
	MaxAddressConnections int `name:"max-connections-per-address" group:"Listeners" default:"0" value:"N" help:"How many of them may come from one IP address; 0 means as many as there may be."`
	MaxUserConnections    int `name:"max-connections-per-user" group:"Listeners" default:"0" value:"N" help:"How many of them one user may have; 0 means as many as there may be. The login of one more is refused."`
	MaxLogins             int `name:"logins-per-address" group:"Listeners" default:"32" value:"N" help:"How many different logins from one IP address (of IPv6, one /64 network) may wait at once for their passwords to be checked. One more is refused right away."`

	TLSCert       string `name:"tls-cert" group:"TLS" placeholder:"FILE" help:"Certificate of the node, followed by those of its issuers, in PEM. Renewed files are taken without a restart."`
	TLSKey        string `name:"tls-key" group:"TLS" placeholder:"FILE" help:"Its private key in PEM."`
	TLSClientCA   string `name:"tls-client-ca" group:"TLS" placeholder:"FILE" help:"Certificates in PEM of who issues certificates for clients. Without it no client is asked for one."`
	TLSClientAuth string `name:"tls-client-auth" group:"TLS" default:"optional" value:"WHEN" help:"Whether a client must show a certificate, if tls-client-ca is set: optional or required."`
	TLSMinVersion string `name:"tls-min-version" group:"TLS" default:"1.2" value:"V" help:"Oldest version of TLS that is spoken: 1.2 or 1.3."`

	Cluster     string        `name:"cluster" group:"Cluster" placeholder:"ADDR" help:"Where the other nodes of the cluster connect, host:port. Empty means that the node runs alone."`
	Advertise   string        `name:"advertise" group:"Cluster" placeholder:"ADDR" help:"Where other nodes reach this one, if that is not the address it listens on."`
	ClusterName string        `name:"cluster-name" group:"Cluster" default:"selvedge" value:"NAME" help:"Name of the cluster. Nodes of a cluster with another name are refused."`
	Secret      string        `name:"secret" group:"Cluster" placeholder:"S" help:"What the nodes of the cluster know and nobody else. Other users of the machine can see flags: prefer the environment or secret-file."`
	SecretFile  string        `name:"secret-file" group:"Cluster" placeholder:"FILE" help:"File that holds the secret, instead of secret."`
	Seeds       List          `name:"seeds" group:"Cluster" placeholder:"A,B" help:"Cluster addresses of some nodes, this one among them or not: host:port, a DNS name of several nodes, or static:(tcp://a:6222,tcp://b:6222)."`
	Replicas    int           `name:"replicas" group:"Cluster" default:"3" value:"N" help:"How many nodes hold each message, if there are as many nodes that store."`
	Shards      int           `name:"shards" group:"Cluster" default:"4" value:"N" help:"Number of logs that the queues are spread over. Chosen once, when the data folder or cluster is new."`
	ClusterCert string        `name:"cluster-tls-cert" group:"Cluster" placeholder:"FILE" help:"Certificate in PEM that this node shows the others, for clients and servers. With it all traffic between nodes is encrypted and both sides are verified: set it on all nodes or none."`
	ClusterKey  string        `name:"cluster-tls-key" group:"Cluster" placeholder:"FILE" help:"Its private key in PEM."`
	ClusterCA   string        `name:"cluster-tls-ca" group:"Cluster" placeholder:"FILE" help:"Certificates in PEM of who issues the certificates of nodes."`
	AcceptLoss  Switch        `name:"accept-loss" group:"Cluster" default:"false" value:"BOOL" help:"Whether to start although the log of a shard is damaged and no other node can repair it: then the shard begins empty and all messages in it are lost. Its files are kept. Meant for one start."`
	Election    time.Duration `name:"election" group:"Cluster" default:"500ms" value:"D" help:"Shortest silence of a leader before another is elected; the longest is twice as long. The same on all nodes."`

	AppendTimeout time.Duration `name:"append-timeout" group:"Cluster" default:"2s" value:"D" help:"How long a leader waits for its log to take a record; then it begins anew, and what it had under way is tried again. Raise it where disks or networks stall for longer."`

	Sync          Sync          `name:"sync" group:"Delivery" default:"always" value:"WHEN" help:"When messages are forced to disk: always, before they are confirmed; or at an interval as 100ms, which can lose what was confirmed since."`
	SendTimeout   time.Duration `name:"send-timeout" group:"Delivery" default:"15s" value:"D" help:"How long a message may wait for its confirmation before the producer is told that it failed."`
	ReportTimeout time.Duration `name:"report-timeout" group:"Delivery" default:"500ms" value:"D" help:"How long a new leader waits for the other nodes to say what their clients hold."`
	MaxDeliveries int           `name:"max-deliveries" group:"Delivery" default:"10" value:"N" help:"How often a message is handed out, if each time fails, before it goes to the dead-letter queue."`
	DeadLetter    string        `name:"dead-letter" group:"Delivery" default:"ActiveMQ.DLQ" value:"QUEUE" help:"Queue of the messages that were rejected or failed too often."`

	MessageSize   Size          `name:"message-size" group:"Limits" default:"100MiB" value:"SIZE" help:"Greatest message: its body, to which a few KiB of headers may come. What is larger than whole-message-size goes to queues alone, piece by piece."`
	WholeSize     Size          `name:"whole-message-size" group:"Limits" default:"4MiB" value:"SIZE" help:"Greatest message that a node holds as a whole: one to a topic, or inside a transaction. At most message-size counts."`
	Uploads       int           `name:"uploads" group:"Limits" default:"64" value:"N" help:"Most messages that a connection may send piece by piece at a time."`
	UploadIdle    time.Duration `name:"upload-idle" group:"Limits" default:"5m" value:"D" help:"How long such a message may wait for its next piece before it is given up."`
	UploadWindow  Size          `name:"upload-window" group:"Limits" default:"2MiB" value:"SIZE" help:"Most bytes of such pieces on their way from a node to a shard. Small messages wait behind so many at most; more is faster over long ways."`
	HeaderCount   int           `name:"header-count" group:"Limits" default:"1000" value:"N" help:"Most headers of a STOMP frame."`
	HeaderSize    Size          `name:"header-size" group:"Limits" default:"64KiB" value:"SIZE" help:"Greatest header line of a STOMP frame."`
	LoginTimeout  time.Duration `name:"login-timeout" group:"Limits" default:"30s" value:"D" help:"How long a client may take to log in after it connected."`
	InFlight      int           `name:"in-flight" group:"Limits" default:"2000" value:"N" help:"Most messages that a connection may have sent without confirmation."`
	InFlightBytes Size          `name:"in-flight-bytes" group:"Limits" default:"16MiB" value:"SIZE" help:"Their most bytes. As many bytes of messages wait at most in a connection to be read by its client."`
	Prefetch      int           `name:"prefetch" group:"Limits" default:"1000" value:"N" help:"Most unacknowledged messages of a STOMP subscription that names no prefetch-count."`

	NodeInFlightBytes  Size `name:"node-in-flight-bytes" group:"Limits" default:"64MiB" value:"SIZE" help:"Most bytes that all clients of the node may have sent without confirmation: then they are asked to pause, and refused at twice that. All open transactions of the node hold as much."`
	TransactionBytes   Size `name:"transaction-bytes" group:"Limits" default:"4MiB" value:"SIZE" help:"Most bytes of a transaction. One message of whole-message-size always fits."`
	NonPersistentBytes Size `name:"non-persistent-bytes" group:"Limits" default:"64MiB" value:"SIZE" help:"Memory of a shard for messages that are not persistent. A send that finds no room is refused."`
	TopicBufferBytes   Size `name:"topic-buffer-bytes" group:"Limits" default:"16MiB" value:"SIZE" help:"Most bytes of topic messages that wait for a subscription without credit, or for a node that does not keep up. What comes beyond is dropped for it."`
	ControlBufferBytes Size `name:"control-buffer-bytes" group:"Limits" default:"16MiB" value:"SIZE" help:"Most bytes of control messages (credit, confirmations, subscriptions) that wait for another node that does not read them, beside the 8 MiB of its window. At more the connection with it ends and begins anew: what its consumers have in flight goes back."`
	CacheBytes         Size `name:"cache-bytes" group:"Limits" default:"32MiB" value:"SIZE" help:"Memory of a shard for the youngest part of its log, at its leader. Older messages are read from the disk."`
	CompactAbove       Size `name:"compact-above" group:"Limits" default:"64MiB" value:"SIZE" help:"Size of a shard's log from which it is compacted when at least half of it is garbage. Smaller costs more writing, larger more disk."`

	DiskLow  Size `name:"disk-low" group:"Limits" default:"1GiB" value:"SIZE" help:"Free space of the data folder's disk below which status calls the node degraded. 0 switches it off."`
	DiskFull Size `name:"disk-full" group:"Limits" default:"256MiB" value:"SIZE" help:"Free space below which the node takes no more messages from its clients; what is there can still be consumed. 0 switches it off."`
	Scrub    Size `name:"scrub" group:"Limits" default:"8MiB" value:"SIZE" help:"How much of its own logs the node reads through each second, to find what its disk has lost. 0 switches it off."`

	STOMPDialect            string        `name:"stomp-dialect" group:"STOMP" default:"activemq" value:"BROKER" help:"Which broker's manners STOMP clients find: activemq, artemis, rabbitmq, or strict for those of the specification. The settings that follow settle single points."`
	STOMPNack               string        `name:"stomp-nack" group:"STOMP" placeholder:"WHAT" help:"What NACK does with a message: dead-letter, requeue or accept. Default: by the dialect."`
	STOMPBareNames          string        `name:"stomp-bare-names" group:"STOMP" placeholder:"KIND" help:"What a destination without a prefix names: queue or topic. Default: by the dialect."`
	STOMPTransactionReceipt string        `name:"stomp-transaction-receipt" group:"STOMP" placeholder:"WHEN" help:"When a SEND inside a transaction is answered: at-once or at-commit. Default: by the dialect."`
	STOMPLateAck            string        `name:"stomp-late-ack" group:"STOMP" placeholder:"HOW" help:"How an ACK is answered that names nothing under way: lenient or error. Default: by the dialect."`
	STOMPClientIDs          string        `name:"stomp-client-ids" group:"STOMP" placeholder:"RULE" help:"How many connections to the node may have the same client-id: share is any number; one with refuse, which the second is told, and with take-over, which ends the first if it is of the same user. Default: by the dialect."`
	STOMPCommas             string        `name:"stomp-commas" group:"STOMP" placeholder:"MEANING" help:"What a comma in a destination means: separate (several destinations, on SEND) or literal. Default: by the dialect."`
	STOMPSlashes            string        `name:"stomp-slashes" group:"STOMP" placeholder:"SPELLING" help:"How a slash stands in a name: literal, or encoded as %2F. Default: by the dialect."`
	STOMPWildcards          string        `name:"stomp-wildcards" group:"STOMP" placeholder:"FAMILY" help:"Which words of a name are wildcards, which are refused so far: activemq (* and >), amqp (* and #) or both; others are literal. Default: by the dialect."`
	STOMPQueueWildcards     string        `name:"stomp-queue-wildcards" group:"STOMP" placeholder:"ON" help:"Whether they are wildcards in the names of queues, too: on, or off for literal. Default: by the dialect."`
	STOMPWSAnswers          string        `name:"stomp-ws-answers" group:"STOMP" default:"mirror" value:"KIND" help:"Of which kind the messages to WebSockets are: mirror (as the client's first one), text or binary. What is no UTF-8 is binary in each, and so is what is larger than whole-message-size."`
	STOMPWSLogin            Switch        `name:"stomp-ws-login" group:"STOMP" default:"false" value:"BOOL" help:"Whether the login that the HTTP request of a WebSocket carries (Authorization: Basic) counts for a client whose CONNECT has none."`
	STOMPServer             string        `name:"stomp-server" group:"STOMP" placeholder:"TEXT" help:"The header server of CONNECTED. Default: product and version, and the dialect."`
	STOMPHosts              List          `name:"stomp-hosts" group:"STOMP" placeholder:"A,B" help:"Virtual hosts that CONNECT may name; * is any. Default: by the dialect."`
	STOMPKeepOpen           Switch        `name:"stomp-keep-open" group:"STOMP" default:"false" value:"BOOL" help:"Whether the connection stays open behind an ERROR about a single request."`
	STOMPPersistent         Switch        `name:"stomp-persistent" group:"STOMP" default:"false" value:"BOOL" help:"Whether a SEND without the header persistent is persistent."`
	STOMPMessageSize        Size          `name:"stomp-message-size" group:"STOMP" default:"0" value:"SIZE" help:"Greatest body from STOMP clients, at most message-size; 0 means message-size. A listener of the file may have its own."`
	STOMPLoginFrame         Size          `name:"stomp-login-frame" group:"STOMP" default:"64KiB" value:"SIZE" help:"Greatest frame before the login."`
	STOMPSubscriptions      int           `name:"stomp-subscriptions" group:"STOMP" default:"10000" value:"N" help:"Most subscriptions of a connection."`
	STOMPTemporary          int           `name:"stomp-temporary" group:"STOMP" default:"1000" value:"N" help:"Most temporary destinations of a connection."`
	STOMPTransactions       int           `name:"stomp-transactions" group:"STOMP" default:"1024" value:"N" help:"Most open transactions of a connection."`
	STOMPTransactionSize    int           `name:"stomp-transaction-size" group:"STOMP" default:"100000" value:"N" help:"Most sends and acknowledgments of a transaction."`
	STOMPIdle               time.Duration `name:"stomp-idle" group:"STOMP" default:"0s" value:"D" help:"How long a connection without heart-beats may be silent; 0s means for ever."`
	STOMPTransactionTimeout time.Duration `name:"stomp-transaction-timeout" group:"STOMP" default:"5m" value:"D" help:"How long a transaction that holds work may be idle before it is rolled back."`
	STOMPWriteTimeout       time.Duration `name:"stomp-write-timeout" group:"STOMP" default:"30m" value:"D" help:"How long a client may read nothing of what it is sent; then the connection ends and its messages go to others. Workers that read a message only when they have done the one before need as long as one takes."`

	AMQPDialect            string        `name:"amqp-dialect" group:"AMQP" default:"artemis" value:"BROKER" help:"Which broker's spelling of addresses AMQP clients use: artemis, activemq or rabbitmq."`
	AMQPQueuePrefix        string        `name:"amqp-queue-prefix" group:"AMQP" placeholder:"TEXT" help:"What clients are told to put before the names of queues."`
	AMQPTopicPrefix        string        `name:"amqp-topic-prefix" group:"AMQP" placeholder:"TEXT" help:"The same for topics."`
	AMQPTransactionTimeout time.Duration `name:"amqp-transaction-timeout" group:"AMQP" default:"5m" value:"D" help:"How long a transaction that holds work may be idle before it is rolled back."`
	AMQPRequireSASL        Switch        `name:"amqp-require-sasl" group:"AMQP" default:"false" value:"BOOL" help:"Whether a client must begin with SASL, also where it is admitted without a login."`
	AMQPIdleTimeout        time.Duration `name:"amqp-idle-timeout" group:"AMQP" default:"1m" value:"D" help:"How long a client may be silent. Half of it is told to the client."`
	AMQPMaxFrameSize       Size          `name:"amqp-max-frame-size" group:"AMQP" default:"128KiB" value:"SIZE" help:"Greatest frame taken and sent. A message may have many."`
	AMQPCredit             int           `name:"amqp-credit" group:"AMQP" default:"1000" value:"N" help:"Credit of a link on which a client sends."`
	AMQPTransactions       int           `name:"amqp-transactions" group:"AMQP" default:"256" value:"N" help:"Most transactions of a connection that are not discharged."`
	AMQPLinks              int           `name:"amqp-links" group:"AMQP" default:"10000" value:"N" help:"Most links of a connection, all its sessions together."`
	AMQPDynamicNodes       int           `name:"amqp-dynamic-nodes" group:"AMQP" default:"1024" value:"N" help:"Most dynamic nodes, which are temporary queues and topics, of a connection."`
	AMQPSuspendedBytes     Size          `name:"amqp-suspended-bytes" group:"AMQP" default:"16MiB" value:"SIZE" help:"Most memory for what is remembered of links that have ended and can be resumed."`
	AMQPSuspendedTime      time.Duration `name:"amqp-suspended-time" group:"AMQP" default:"10m" value:"D" help:"How long that is remembered at most when the connection has ended; a client asks for less, or none."`
	AMQPWindow             int           `name:"amqp-window" group:"AMQP" default:"2048" value:"N" help:"Incoming window of a session, in transfers."`

	Anonymous     string `name:"anonymous" group:"Access" placeholder:"WHO" help:"Which clients are admitted without a login: loopback (of this machine), any or none. Default: loopback while no user is configured, then none."`
	AnonymousUser string `name:"anonymous-user" group:"Access" placeholder:"NAME" help:"Which user a client without a login is, where anonymous admits it. Default: none, it has the rights of everyone alone."`

	LogLevel  string `name:"log-level" group:"Logging" default:"info" value:"L" help:"Least level that is logged: trace, debug, info, warn or error."`
	LogFormat string `name:"log-format" group:"Logging" default:"console" value:"F" help:"console for people or json for machines; on standard error."`

	DrainTimeout time.Duration `name:"drain-timeout" group:"Node" default:"20s" value:"D" help:"How long the node may take to hand its work over when it stops."`
	PProf        Switch        `name:"pprof" group:"Node" default:"false" value:"BOOL" help:"Whether administrators find profiles of the process, of its processor time, memory and goroutines, at /debug/pprof of http and http-tls."`

	Users     []auth.User `kong:"-"` // in the file only
	Rules     []auth.Rule `kong:"-"` // in the file only
	Listeners []Listener  `kong:"-"` // in the file only, beside those of the settings above
	File      string      `kong:"-"` // where the configuration was read from; empty without a file
}

// Clustered reports whether the node is one of a cluster.
func (c *Config) Clustered() bool { return c.Cluster != "" }
