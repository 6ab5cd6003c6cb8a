package config

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

//go:generate go test -run ^TestManual$ . -update
const manual = "../../docs/config.md"

const manualHead = `# Configuration

<!-- Made from the fields of gateway/config.Config: make docs -->

A node needs no configuration. Each setting has three spellings; what stands later in this list wins:

1. in the file that ` + "`--config FILE`" + ` (or ` + "`SELVEDGE_CONFIG`" + `) names, in YAML: ` + "`send-timeout: 15s`" + `
2. in the environment: ` + "`SELVEDGE_SEND_TIMEOUT=15s`" + `
3. as a flag: ` + "`selvedge serve --send-timeout 15s`" + `

Durations are written as ` + "`500ms`, `10s`, `5m`" + `, sizes as ` + "`64KiB`, `4MiB`" + ` or in bytes, addresses as ` + "`host:port`" + `
(` + "`:61613`" + ` is every interface). A key that is not known is an error, so a slip of the pen does not go unnoticed;
of variables, those that differ from a setting by a letter or two are logged.
`

const manualTail = `
## Users and rules

These stand in the file only.

` + "```yaml" + `
users:
  - name: alice
    password: $2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy # made with: selvedge passwd
    admin: true # may use the admin API (selvedge status, selvedge queues)
  - name: bob
    password: $2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy
    certificate: dns:bob.example # the name in a certificate that logs in as bob; without dns:, email: or uri: the common name

rules: # the first that matches an address decides alone; what none matches is closed
  - address: orders.* # a name, or the beginning of names; queue:// or topic:// in front limits it to that kind
    read: [alice, bob] # subscribe, browse
    write: ["*"] # send; "*" is everyone who was admitted
    admin: [alice] # create, delete, purge
  - address: "*"
    read: [alice]
    write: [alice]
` + "```" + `

The file is looked at every ten seconds, and at SIGHUP: other users, rules, ` + "`anonymous` and `anonymous-user`" + ` are in force at once. The connections of a
user that is gone end; those of others go on, and what they have subscribed to or sent to already stays open to them. A mistake leaves
everything as it was and is logged. The other settings need a restart.

- While no user is configured, clients of the node's own machine are admitted, whatever login they send, and nobody
  else (` + "`anonymous: loopback`" + `).
- As soon as there are users, everyone needs a login, unless ` + "`anonymous`" + ` says otherwise; a login that is sent must be right.
- Without rules an admitted client may do everything. Temporary queues and topics belong to their connection and need
  no rule.
- The admin API and the metrics are open to the node's own machine while there are no users, then to users with
  ` + "`admin: true`" + ` by HTTP basic authentication. ` + "`/livez` and `/readyz`" + ` are always open.
`

const manualListeners = `
## Further listeners

They stand in the file only, beside those that have a setting.

` + "```yaml" + `
listeners:
  - name: legacy # in logs, metrics and status
    protocol: stomp # stomp, amqp, http, or any: told apart by the first byte
    address: ":61620"
    dialect: rabbitmq # of stomp or amqp; otherwise that of stomp-dialect or amqp-dialect
    message-size: 4MiB # that comes in by it, at most message-size; otherwise that of stomp-message-size or message-size
  - name: browsers
    protocol: stomp
    address: ":15674"
    websocket: true # around stomp or amqp, at any path
    # tls: true # from the first byte; needs tls-cert
` + "```" + `
`

// render writes the manual page.
func render() string {
	var b strings.Builder
	b.WriteString(manualHead)
	groups := []string{}
	settings := make(map[string][]Setting)
	for _, s := range Settings() {
		if settings[s.Group] == nil {
			groups = append(groups, s.Group)
		}
		settings[s.Group] = append(settings[s.Group], s)
	}
	for _, g := range groups {
		fmt.Fprintf(&b, "\n## %s\n\n| flag | environment | file | default | range | |\n|---|---|---|---|---|---|\n", g)
		for _, s := range settings[g] {
			value := ""
			if s.Default != "" {
				value = "`" + s.Default + "`"
			}
			span := ""
			if low, high, ok := s.Bounds(); ok {
				span = low + " to " + high
			}
			fmt.Fprintf(&b, "| `%s %s` | `%s` | `%s` | %s | %s | %s |\n", s.Flag(), s.Placeholder, s.Env(), s.Key(), value, span, s.Help)
		}
	}
	b.WriteString(manualListeners)
	b.WriteString(manualTail)
	return b.String()
}

func TestManual(t *testing.T) {
	want := render()
	if *update {
		if err := os.WriteFile(manual, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("docs/config.md is old, renew it with -update; got (+), want (-):\n%s", d)
	}
}

func TestManualExampleLoads(t *testing.T) {
	var all string
	for _, page := range []string{manualListeners, manualTail} {
		_, text, _ := strings.Cut(page, "```yaml\n")
		text, _, _ = strings.Cut(text, "```")
		all += text
	}
	c, err := Load(Source{File: write(t, all)})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(c.Listeners) + len(c.Users) + len(c.Rules); got != 6 {
		t.Errorf("got %d listeners, users and rules, want 6", got)
	}
}

func TestEverySettingIsExplained(t *testing.T) {
	for _, s := range Settings() {
		if s.Group == "" || s.Placeholder == "" || !strings.HasSuffix(s.Help, ".") {
			t.Errorf("%s: got group %q, placeholder %q, help %q, want all of them and a sentence", s.Name, s.Group, s.Placeholder, s.Help)
		}
	}
}
