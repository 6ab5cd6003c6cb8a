package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/selvedge-mq/selvedge/gateway/auth"
)

var update = flag.Bool("update", false, "rewrite docs/config.md")

func environment(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "selvedge.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDefaults(t *testing.T) {
	c, err := Load(Source{})
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Node: nameOf(host), Data: "./selvedge-data", Storage: Switch{On: true},
		STOMP: "127.0.0.1:61613", AMQP: "127.0.0.1:5672", HTTP: "127.0.0.1:8161", MaxConnections: 10000, MaxLogins: 32,
		WSCompression: Switch{On: true}, TLSClientAuth: "optional", TLSMinVersion: "1.2", DiskLow: 1 << 30, DiskFull: 256 << 20, Scrub: 8 << 20,
		STOMPDialect: "activemq", STOMPWSAnswers: "mirror", STOMPLoginFrame: 64 << 10, STOMPSubscriptions: 10000, STOMPTemporary: 1000, STOMPTransactions: 1024, STOMPTransactionSize: 100000,
		STOMPTransactionTimeout: 5 * time.Minute, STOMPWriteTimeout: 30 * time.Minute,
		AMQPDialect: "artemis", AMQPTransactionTimeout: 5 * time.Minute, AMQPIdleTimeout: time.Minute, AMQPMaxFrameSize: 128 << 10, AMQPCredit: 1000, AMQPWindow: 2048,
		ClusterName: "selvedge", Replicas: 3, Shards: 4, Election: 500 * time.Millisecond,
		SendTimeout: 15 * time.Second, ReportTimeout: 500 * time.Millisecond, MaxDeliveries: 10, DeadLetter: "ActiveMQ.DLQ",
		MessageSize: 100 << 20, WholeSize: 4 << 20, Uploads: 64, UploadIdle: 5 * time.Minute, UploadWindow: 2 << 20, HeaderCount: 1000, HeaderSize: 64 << 10, LoginTimeout: 30 * time.Second,
		InFlight: 2000, InFlightBytes: 16 << 20, Prefetch: 1000,
		NodeInFlightBytes: 64 << 20, TransactionBytes: 4 << 20, NonPersistentBytes: 64 << 20, TopicBufferBytes: 16 << 20, ControlBufferBytes: 16 << 20,
		CacheBytes: 32 << 20, CompactAbove: 64 << 20, AppendTimeout: 2 * time.Second, AMQPTransactions: 256, AMQPLinks: 10000, AMQPDynamicNodes: 1024,
		AMQPSuspendedBytes: 16 << 20, AMQPSuspendedTime: 10 * time.Minute,
		LogLevel: "info", LogFormat: "console", DrainTimeout: 20 * time.Second,
	}
	if d := cmp.Diff(want, c); d != "" {
		t.Errorf("got (+), want (-):\n%s", d)
	}
}

func TestLaterLayersWin(t *testing.T) {
	file := write(t, "node: file\nprefetch: 1\nin-flight: 2\nstomp: \":1\"\n")
	env := map[string]string{"SELVEDGE_PREFETCH": "10", "SELVEDGE_NODE": "env", "SELVEDGE_AMQP": ""}
	for _, tt := range []struct {
		name string
		src  Source
		want string // node prefetch in-flight stomp amqp
	}{
		{"the file beats the defaults", Source{File: file}, "file 1 2 :1 127.0.0.1:5672"},
		{"the environment beats the file", Source{File: file, Env: environment(env)}, "env 10 2 :1 "},
		{
			"flags beat the environment",
			Source{File: file, Env: environment(env), Flags: &Config{Node: "flag", STOMP: "", Prefetch: 9}, Passed: []string{"node", "stomp"}},
			"flag 10 2  ",
		},
		{
			"the environment names the file",
			Source{Env: environment(map[string]string{"SELVEDGE_CONFIG": file})},
			"file 1 2 :1 127.0.0.1:5672",
		},
		{
			"an empty variable is no number",
			Source{File: file, Env: environment(map[string]string{"SELVEDGE_PREFETCH": ""})},
			"file 1 2 :1 127.0.0.1:5672",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Load(tt.src)
			if err != nil {
				t.Fatal(err)
			}
			fields := []string{c.Node, itoa(c.Prefetch), itoa(c.InFlight), c.STOMP, c.AMQP}
			if got := strings.Join(fields, " "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func itoa(n int) string { return Size(n).String() }

func TestEverySettingInTheFile(t *testing.T) {
	c, err := Load(Source{File: "testdata/full.yml"})
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Node: "n1", Data: "/d", Storage: Switch{On: true}, STOMP: ":1", AMQP: ":2", HTTP: "", MaxConnections: 5,
		STOMPTLS: ":3", STOMPWS: ":4", AMQPTLS: ":5", HTTPTLS: ":6", Mux: ":7",
		WSOrigins: List{"shop.example", "*.shop.example"}, ProxyFrom: List{"10.0.0.0/8", "::1"},
		MaxAddressConnections: 4, MaxUserConnections: 3, MaxLogins: 2,
		TLSCert: "cert.pem", TLSKey: "key.pem", TLSClientCA: "ca.pem", TLSClientAuth: "required", TLSMinVersion: "1.3",
		ClusterCert: "node.pem", ClusterKey: "node.key", ClusterCA: "nodes.pem", DiskLow: 4 << 30, DiskFull: 2 << 30, Scrub: 1 << 20,
		STOMPDialect: "rabbitmq", STOMPNack: "requeue", STOMPBareNames: "topic", STOMPTransactionReceipt: "at-commit", STOMPLateAck: "error",
		STOMPCommas: "literal", STOMPSlashes: "encoded", STOMPWildcards: "amqp", STOMPQueueWildcards: "on",
		STOMPWSAnswers: "binary", STOMPWSLogin: Switch{On: true}, STOMPMessageSize: 256 << 10, STOMPClientIDs: "take-over", STOMPServer: "ActiveMQ/5.18", STOMPHosts: List{"/", "shop"}, STOMPKeepOpen: Switch{On: true}, STOMPPersistent: Switch{On: true}, STOMPLoginFrame: 8 << 10,
		STOMPSubscriptions: 1, STOMPTemporary: 2, STOMPTransactions: 3, STOMPTransactionSize: 4, STOMPIdle: time.Hour,
		STOMPTransactionTimeout: time.Minute, STOMPWriteTimeout: 2 * time.Minute,
		AMQPDialect: "activemq", AMQPQueuePrefix: "queue:", AMQPTopicPrefix: "topic:", AMQPTransactionTimeout: time.Minute,
		AMQPRequireSASL: Switch{On: true}, AMQPIdleTimeout: 2 * time.Minute, AMQPMaxFrameSize: 4 << 10, AMQPCredit: 5, AMQPWindow: 6,
		Cluster: ":6222", Advertise: "n1:6222", ClusterName: "c", Secret: "abcdefgh",
		Seeds: List{"n1:6222", "static:(tcp://n2:6222,tcp://n3:6222)"}, Replicas: 1, Shards: 2, Election: time.Second,
		Sync: Sync{Interval: 50 * time.Millisecond}, SendTimeout: time.Second, ReportTimeout: time.Second, MaxDeliveries: 1, DeadLetter: "dead",
		MessageSize: 1 << 20, WholeSize: 1 << 19, Uploads: 3, UploadIdle: time.Minute, UploadWindow: 1 << 20, HeaderCount: 10, HeaderSize: 2000, LoginTimeout: time.Second,
		InFlight: 1, InFlightBytes: 64 << 10, Prefetch: 1, Anonymous: "any", AnonymousUser: "robot",
		NodeInFlightBytes: 32 << 20, TransactionBytes: 1 << 20, NonPersistentBytes: 8 << 20, TopicBufferBytes: 4 << 20, ControlBufferBytes: 3 << 20,
		PProf: Switch{On: true}, CacheBytes: 2 << 20, CompactAbove: 128 << 20, AppendTimeout: 5 * time.Second, AMQPTransactions: 7, AMQPLinks: 9, AMQPDynamicNodes: 8,
		AMQPSuspendedBytes: 1 << 20, AMQPSuspendedTime: 3 * time.Minute,
		LogLevel: "debug", LogFormat: "json", DrainTimeout: time.Minute,
		Users: []auth.User{
			{Name: "alice", Password: "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", Admin: true},
			{Name: "robot", Certificate: "dns:robot.example"},
		},
		Rules: []auth.Rule{
			{Address: "orders.*", Read: []string{"alice"}, Write: []string{"*"}, Admin: []string{"alice"}},
			{Address: "*", Read: []string{"*"}},
		},
		Listeners: []Listener{
			{Name: "legacy", Protocol: "stomp", Address: ":8", Dialect: "artemis", MessageSize: 64 << 10},
			{Name: "browsers", Protocol: "amqp", Address: ":9", TLS: true, WebSocket: true},
		},
		File: "testdata/full.yml",
	}
	if d := cmp.Diff(want, c); d != "" {
		t.Errorf("got (+), want (-):\n%s", d)
	}
}

// TestMistakes reads testdata/*.yaml: one mistake a file, whose first lines say
// what the error must contain.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("got no files (%v), want some", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.SplitN(string(text), "\n", 3)
			line, want := strings.TrimPrefix(lines[0], "# line: "), strings.TrimPrefix(lines[1], "# want: ")
			_, err = Load(Source{File: file})
			if err == nil {
				t.Fatalf("got no error, want %s", want)
			}
			got := err.Error()
			at := file + ":" + line + ": "
			switch line {
			case "0": // a setting that is missing has no line
				at = ""
			case "any":
				at = file + ":"
			}
			if !strings.HasPrefix(got, at) || !strings.Contains(got, want) || strings.Contains(got, "\n") {
				t.Errorf("got  %s\nwant %s%s", got, at, want)
			}
		})
	}
}

func TestMistakesOutsideTheFile(t *testing.T) {
	empty := write(t, "  \n")
	env := func(name, value string) func(string) (string, bool) {
		return environment(map[string]string{name: value})
	}
	for _, tt := range []struct {
		name string
		src  Source
		want string
	}{
		{
			"a wrong variable is named",
			Source{Env: env("SELVEDGE_REPLICAS", "x")},
			`SELVEDGE_REPLICAS: "x" is not a number (set it by --replicas, SELVEDGE_REPLICAS or replicas: in the file)`,
		},
		{
			"a wrong flag is named",
			Source{Flags: &Config{LogLevel: "loud"}, Passed: []string{"log-level"}},
			`--log-level: "loud" is not one of trace, debug, info, warn, error (set it by --log-level, SELVEDGE_LOG_LEVEL or log-level: in the file)`,
		},
		{"a file that is not there is named", Source{File: "nowhere.yaml"}, "configuration file: stat nowhere.yaml: no such file or directory"},
		{"an empty secret file is named", Source{Env: env("SELVEDGE_SECRET_FILE", empty)}, "SELVEDGE_SECRET_FILE: " + empty + " is empty"},
		{
			"two secrets are refused",
			Source{Flags: &Config{Secret: "x", SecretFile: empty}, Passed: []string{"secret", "secret-file"}},
			"--secret-file: secret is set too: remove one of them",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(tt.src)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// TestEveryNumberIsBounded sets each setting that is a number to what lies just
// outside of its bounds: nothing is taken that the parts behind it cannot do.
func TestEveryNumberIsBounded(t *testing.T) {
	free := []string{"disk-low", "disk-full", "sync"} // any disk may be that large, any interval that long
	for _, s := range Settings() {
		low, high, ok := s.Bounds()
		switch reflect.TypeFor[Config]().Field(s.field).Type {
		case reflect.TypeFor[int](), reflect.TypeFor[Size](), reflect.TypeFor[time.Duration]():
			if !ok && !slices.Contains(free, s.Name) {
				t.Errorf("%s: got no bounds, want some", s.Name)
			}
		}
		if !ok {
			continue
		}
		for _, beyond := range outside(t, s) {
			_, err := Load(Source{Env: environment(map[string]string{s.Env(): beyond})})
			want := fmt.Sprintf("%s: %s is not in %s to %s (set it by %s,", s.Env(), beyond, low, high, s.Flag())
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s: got %v, want %s", s.Name, err, want)
			}
		}
	}
}

// outside returns the values next to the bounds of a setting.
func outside(t *testing.T, s Setting) []string {
	t.Helper()
	var out []string
	add := func(below, above string, low bool) {
		if low {
			out = append(out, below)
		}
		out = append(out, above)
	}
	if r, ok := ranges[s.Name]; ok {
		add(s.spell(r.low-1), s.spell(r.high+1), r.low > 0)
	}
	if r, ok := periods[s.Name]; ok {
		add((r.low - 1).String(), (r.high + 1).String(), true)
	}
	return out
}

// A site without a host was taken, and no page was ever let in by it.
func TestWSOrigins(t *testing.T) {
	for _, c := range []struct {
		sites, login, want string // in the error; empty: none
	}{
		{"shop.example,*.shop.example,https://shop.example:8443,https://*,*,shop?.example", "false", ""},
		{"shop.example", "true", ""},
		{"shop.example,http://", "false", `"http://" is not a web site: write for example shop.example`},
		{"://shop.example", "false", "is not a web site"},
		{"https://:8443", "false", "is not a web site"},
		{"https://shop.example/", "false", "without a path"},
		{"shop.example/page", "false", "without a path"},
		{"https://ann@shop.example", "false", "is not a web site"},
		{"shop[.example", "false", "is not a web site"},
		{"http//", "false", `"http//" is not a web site`},
		{"http:", "false", `"http:" is not a web site`},
		{"https:shop.example", "false", "is not a web site"},
		{"shop.example:", "false", "is not a web site"},
		{"shop.example:https", "false", "is not a web site"},
		{"shop.example:65536", "false", "is not a web site"},
		{"shop.example:0", "false", "is not a web site"},
		{"https://[::1]:8443", "false", "is not a web site"}, // a class of characters, for the pattern
		{"ht tp://shop.example", "false", "is not a web site"},
		{"https://shop.example:443", "false", `browsers leave the port 443 of https out: write https://shop.example`},
		{"HTTP://shop.example:80", "false", `write HTTP://shop.example`},
		{"https://shop.example:80,shop.example:443,shop.example:84*,http*://shop.example,chrome-extension://abcdef", "false", ""},
		{"*", "true", "with ws-origins * a page of any site"},
		{"https://*", "true", "with ws-origins https://* a page of any site"},
		{"*.*", "true", "with ws-origins *.* a page of any site"},
	} {
		_, err := Load(Source{Env: environment(map[string]string{"SELVEDGE_WS_ORIGINS": c.sites, "SELVEDGE_STOMP_WS_LOGIN": c.login})})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, login %s: got %v, want %q", c.sites, c.login, err, c.want)
		}
	}
}

func TestSecretFile(t *testing.T) {
	file := write(t, "0123456789abcdef\n")
	c, err := Load(Source{Env: environment(map[string]string{
		"SELVEDGE_SECRET_FILE": file, "SELVEDGE_CLUSTER": ":0", "SELVEDGE_SEEDS": "a:1",
	})})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Secret, "0123456789abcdef"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEmptyFile(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "null\n"} {
		if _, err := Load(Source{File: write(t, text)}); err != nil {
			t.Errorf("%q: got %v, want no error", text, err)
		}
	}
}

func TestErrorUnwraps(t *testing.T) {
	cause := errors.New("cause")
	if err := error(&Error{Setting: "node", Err: cause}); !errors.Is(err, cause) {
		t.Errorf("got %v, want it to wrap its cause", err)
	}
}

func TestNameOfHost(t *testing.T) {
	for host, want := range map[string]string{
		"box":                    "box",
		"box.example.org":        "box-example-org",
		"-box":                   "box",
		"":                       "node",
		"büro":                   "b--ro",
		strings.Repeat("a", 100): strings.Repeat("a", 63),
	} {
		if got := nameOf(host); got != want || !namePattern.MatchString(got) {
			t.Errorf("%q: got %q, want %q", host, got, want)
		}
	}
}

func TestSizeIsReadAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Size(rapid.IntRange(0, 1<<31-1).Draw(t, "size"))
		var got Size
		if err := got.UnmarshalText([]byte(want.String())); err != nil || got != want {
			t.Errorf("%v: got %d, %v, want %d", want, got, err, want)
		}
	})
}

func TestListKeepsParentheses(t *testing.T) {
	var l List
	if err := l.UnmarshalText([]byte(" a:1, static:(tcp://b:1,tcp://c:1) ,,d ")); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(List{"a:1", "static:(tcp://b:1,tcp://c:1)", "d"}, l); d != "" {
		t.Errorf("got (+), want (-):\n%s", d)
	}
}

func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/*.y*ml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := Load(Source{File: write(t, text)}); err == nil && c.Node == "" {
			t.Errorf("got a configuration without a name, want an error")
		}
	})
}
