package gateway

import (
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/selvedge-mq/selvedge/gateway/config"
	"github.com/selvedge-mq/selvedge/protocols"
	"github.com/selvedge-mq/selvedge/routing/engine"
)

// TestEveryLimitIsReachedByASetting: a bound of the engine, of the cluster or of
// a protocol that no setting reaches would be found out when it hurts. What is
// listed is not a limit, or is the code's own affair.
func TestEveryLimitIsReachedByASetting(t *testing.T) {
	c, err := config.Load(config.Source{Env: environmentOf(map[string]string{
		"SELVEDGE_SYNC": "1s", "SELVEDGE_STOMP_IDLE": "1h",
	})})
	if err != nil {
		t.Fatal(err)
	}
	c.Data = t.TempDir() // whose disk is watched
	m, _ := newMetrics("n1", "test")
	n := &Node{cfg: c, status: &status{}, disk: newDisk(c, m, zerolog.Nop())}
	for _, tt := range []struct {
		name    string
		options any
		not     []string // fields that no setting reaches
	}{
		{"engine", engineOptions(c), []string{
			"Fabric", "Peers", "Authorizer", "Admit", "Log", "Metrics", // parts
			"CutBytes", "RecordBytes", // how the log is written
		}},
		{"cluster", clusterOptions(n), []string{
			"Listen", "Advertise", "ClusterName", "Secret", "TLS", "Seeds", // of a node alone
			"FrontOnly", "AcceptLoss", "AcceptAfter", "Version", "Log", "Metrics", // no limits
		}},
		{"protocols", limits(c, config.Listener{}), nil},
		{"STOMP", stompOptions(c, config.Listener{}, protocols.Env{}).Limits, nil},
		{"AMQP", amqpOptions(c, config.Listener{}, protocols.Env{}), []string{"Env", "Names", "QueuePrefix", "TopicPrefix", "NoBareAMQP"}},
	} {
		v := reflect.ValueOf(tt.options)
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if unset := v.Field(i).IsZero(); unset && !slices.Contains(tt.not, name) {
				t.Errorf("%s: no setting reaches %s", tt.name, name)
			}
		}
	}
}

// A cluster whose only seed is the node itself was refused in the words of its options,
// which are no settings.
func TestErrorsOfTheClusterNameTheSetting(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(c *config.Config)
		want   string
	}{
		{"seeds", func(c *config.Config) { c.Seeds = config.List{c.Cluster} }, "seeds: 127.0.0.1:6222: this is the node itself: add the address of another one, or run the node alone, without a cluster address (set it by --seeds, SELVEDGE_SEEDS or seeds: in the file)"},
		{"a seed", func(c *config.Config) { c.Seeds = config.List{"b:x"} }, `seeds: "b:x" is not host:port with a port from 1 to 65535: write for example a:6222 or static:(tcp://a:6222,tcp://b:6222) (set it by --seeds, SELVEDGE_SEEDS or seeds: in the file)`},
		{"the address", func(c *config.Config) { c.Cluster = ":0" }, `cluster: ":0" has no port number: the other nodes must know it (set it by --cluster, SELVEDGE_CLUSTER or cluster: in the file)`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newTestConfig(t, func(c *config.Config) {
				c.Cluster, c.ClusterName, c.Secret, c.Seeds = "127.0.0.1:6222", "c", "0123456789abcdef", config.List{"b:6222"}
				tt.change(c)
			})
			m, registry := newMetrics("n1", "test")
			n := &Node{cfg: c, status: &status{}, disk: newDisk(c, m, zerolog.Nop()), registry: registry, base: zerolog.Nop()}
			_, err := openCluster(t.Context(), n)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	known := config.Settings()
	for option, setting := range clusterSettings {
		if !slices.ContainsFunc(known, func(s config.Setting) bool { return s.Name == setting }) {
			t.Errorf("option %s: there is no setting %s", option, setting)
		}
	}
}

// TestTheGreatestMessageFitsIntoARecord: what the settings allow, the engine takes.
func TestTheGreatestMessageFitsIntoARecord(t *testing.T) {
	for _, env := range []map[string]string{
		{},
		{"SELVEDGE_MESSAGE_SIZE": greatest(t, "message-size"), "SELVEDGE_WHOLE_MESSAGE_SIZE": greatest(t, "whole-message-size")},
		{"SELVEDGE_WHOLE_MESSAGE_SIZE": greatest(t, "whole-message-size"), "SELVEDGE_TRANSACTION_BYTES": greatest(t, "transaction-bytes")},
	} {
		c, err := config.Load(config.Source{Env: environmentOf(env)})
		if err != nil {
			t.Fatal(err)
		}
		o := engineOptions(c)
		if o.WholeSize+transactionExtra > engine.MaxMessage || o.MessageSize > engine.MaxLarge || o.TxBytes > engine.MaxMessage {
			t.Errorf("%v: got messages of %d and transactions of %d bytes, want at most %d", env, o.WholeSize, o.TxBytes, engine.MaxMessage)
		}
		if o.TxBytes < int64(o.WholeSize) {
			t.Errorf("%v: got transactions of %d bytes, want room for a message of %d", env, o.TxBytes, o.WholeSize)
		}
	}
}

func greatest(t *testing.T, setting string) string {
	t.Helper()
	all := config.Settings()
	i := slices.IndexFunc(all, func(s config.Setting) bool { return s.Name == setting })
	_, high, ok := all[i].Bounds()
	if !ok {
		t.Fatalf("%s has no bounds", setting)
	}
	return high
}

// TestALeaseEndsBeforeAnElection: a leader that is cut off must not hand out what
// its successor hands out too. With elections faster than the usual ones the lease
// was longer than the time to the next leader.
func TestALeaseEndsBeforeAnElection(t *testing.T) {
	for _, tt := range []struct{ election, lease, heartbeat time.Duration }{
		{100 * time.Millisecond, 80 * time.Millisecond, 20 * time.Millisecond},
		{500 * time.Millisecond, 400 * time.Millisecond, 100 * time.Millisecond},
		{30 * time.Second, 400 * time.Millisecond, 100 * time.Millisecond},
	} {
		o := engineOptions(&config.Config{Election: tt.election})
		if o.Lease != tt.lease || o.Heartbeat != tt.heartbeat {
			t.Errorf("election %v: got a lease of %v, a heartbeat of %v, want %v, %v", tt.election, o.Lease, o.Heartbeat, tt.lease, tt.heartbeat)
		}
	}
}

// TestWhoDoesNotLogInIsCounted: a client that connects and is silent until
// login-timeout, not one that logs in and goes.
func TestWhoDoesNotLogInIsCounted(t *testing.T) {
	r, addrs := newReal(t, func(c *config.Config) { c.LoginTimeout = 50 * time.Millisecond })
	polite := plain(t, addrs["stomp"])
	if _, err := io.WriteString(polite, "CONNECT\naccept-version:1.2\nhost:/\n\n\x00DISCONNECT\nreceipt:r\n\n\x00"); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(polite); !strings.Contains(string(text), "RECEIPT") {
		t.Fatalf("got %q, %v, want the session to end in good order", text, err)
	}
	if !closed(t, plain(t, addrs["stomp"])) {
		t.Fatal("got a silent client kept, want it closed")
	}
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	deadline := time.After(20 * time.Second)
	for countOf(t, r.node.metrics.refused, "stomp", refusedLogin) == 0 {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatal("got no count of the silent client, want one")
		}
	}
	if got := countOf(t, r.node.metrics.refused, "stomp", refusedLogin); got != 1 {
		t.Errorf("got %v clients without a login, want 1", got)
	}
}

func environmentOf(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
}
