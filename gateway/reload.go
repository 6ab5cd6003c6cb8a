package gateway

import (
	"bytes"
	"context"
	"os"
	"time"

	"github.com/selvedge-mq/selvedge/gateway/auth"
	"github.com/selvedge-mq/selvedge/gateway/config"
)

const configEvery = 10 * time.Second // between two looks at the configuration file

// follow takes users and rules anew when the configuration file changes, and
// everything that can be renewed when the process is told so, until ctx ends.
func (n *Node) follow(ctx context.Context) {
	tick := time.NewTicker(configEvery)
	defer tick.Stop()
	last := n.configText()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.hangup:
			for _, c := range n.certs {
				c.Look()
			}
			last = n.configText()
			n.reload()
		case <-tick.C:
			if now := n.configText(); now != nil && !bytes.Equal(now, last) {
				last = now
				n.reload()
			}
		}
	}
}

// configText returns the bytes of the configuration file; nil when there is none,
// or none at this moment.
func (n *Node) configText() []byte {
	if n.cfg.File == "" {
		return nil
	}
	text, err := os.ReadFile(n.cfg.File)
	if err != nil {
		return nil
	}
	return text
}

// reload puts the users, the policy and the rules of the configuration in force.
// Connections of users that are gone end; those of others go on.
func (n *Node) reload() {
	c, err := n.load()
	if err == nil {
		err = n.auth.Replace(auth.Options{Users: c.Users, Anonymous: auth.Policy(c.Anonymous), Guest: c.AnonymousUser})
	}
	if err == nil {
		err = n.rules.Replace(c.Rules)
	}
	if err != nil {
		n.metrics.reloads.WithLabelValues("failed").Inc()
		n.log.Error().Err(err).Msg("configuration not reloaded, the former users and rules stay in force")
		return
	}
	n.metrics.reloads.WithLabelValues("done").Inc()
	expelled := n.conns.expel(func(user string) bool { return !n.auth.Knows(user) })
	n.log.Info().Int("users", len(c.Users)).Int("rules", len(c.Rules)).Int("expelled", expelled).Msg("users and rules reloaded")
	if rest := config.Differences(n.cfg, c); len(rest) > 0 {
		n.log.Warn().Strs("settings", rest).Msg("changed settings need a restart")
	}
}
