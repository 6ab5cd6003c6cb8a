package cluster

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Times of placement.
const (
	placeEvery = 100 * time.Millisecond // while something is to be done
	placeIdle  = 2 * time.Second        // when all is as it should be
	// gatherTime is how long a new cluster waits for its other seeds before it
	// makes its logs with fewer replicas.
	gatherTime = 3 * time.Second
)

// shardsKey is the stream metadata that says how many shards the cluster has.
const shardsKey = "selvedge.shards"

// ErrShards says that the cluster was formed with another number of shards.
var ErrShards = errors.New("cluster: another number of shards")

// streamConfig describes the stream of a shard's log: one subject, kept until
// purged, no interior deletes.
func streamConfig(shard, shards, replicas int) server.StreamConfig {
	return server.StreamConfig{
		Name:         streamName(shard),
		Subjects:     []string{streamSubject(shard)},
		Storage:      server.FileStorage,
		Retention:    server.LimitsPolicy,
		Discard:      server.DiscardOld,
		Replicas:     replicas,
		MaxMsgs:      -1,
		MaxBytes:     -1,
		MaxMsgsPer:   -1,
		MaxMsgSize:   -1,
		MaxConsumers: -1,
		Duplicates:   100 * time.Millisecond, // not used: the least there is
		AllowDirect:  true,
		DenyDelete:   true,
		Metadata:     map[string]string{shardsKey: strconv.Itoa(shards)},
	}
}

// streams returns what a cluster of so many nodes that store should hold: the logs of
// the shards, then the registry, each with its number of replicas. The registry has
// three at least, whatever the policy for messages is: it has to outlive a node.
func (n *Node) streams(nodes int) []server.StreamConfig {
	list := make([]server.StreamConfig, 0, len(n.logs)+1)
	for shard := range n.logs {
		list = append(list, streamConfig(shard, len(n.logs), min(n.opts.Replicas, nodes)))
	}
	return append(list, registryConfig(min(max(n.opts.Replicas, DefaultReplicas), nodes)))
}

// describe names what a stream holds.
func describe(stream string) string {
	if stream == registryStream {
		return "the registry"
	}
	return "shard " + strings.TrimPrefix(stream, "S")
}

// createAll makes the streams of a standalone node that do not exist.
func (n *Node) createAll(ctx context.Context) error {
	for shard := range n.logs {
		if _, ok := n.store.local(streamName(shard)); ok {
			continue
		}
		if err := n.create(ctx, streamConfig(shard, len(n.logs), 1)); err != nil {
			return err
		}
	}
	if _, ok := n.store.local(registryStream); ok || n.apart {
		return nil
	}
	if err := n.create(ctx, registryConfig(1)); err != nil {
		n.opts.Log.Warn().Err(err).Msg("registry not made: the next start tries again")
	}
	return nil
}

// create makes a stream; one that exists with the same configuration is fine.
func (n *Node) create(ctx context.Context, cfg server.StreamConfig) error {
	var resp server.JSApiStreamCreateResponse
	if err := n.store.call(ctx, "STREAM.CREATE."+cfg.Name, cfg, &resp, &resp.ApiResponse); err != nil {
		return fmt.Errorf("cluster: create the log of %s: %w", describe(cfg.Name), err)
	}
	n.opts.Log.Info().Str("of", describe(cfg.Name)).Int("replicas", cfg.Replicas).Msg("log created")
	return nil
}

// place makes the logs that are missing, raises replicas when nodes join and counts
// them anew when one was retired, if this node leads the cluster; every node checks that
// it agrees with the cluster about the number of shards.
func (n *Node) place(ctx context.Context) {
	since := time.Time{} // when this node began to lead the cluster
	agreed := false
	for {
		wait := placeEvery
		if !agreed {
			agreed = n.agree(ctx)
		}
		if n.server.srv.JetStreamIsLeader() {
			if since.IsZero() {
				since = time.Now()
			}
			if n.placeAll(ctx, time.Since(since)) && agreed {
				wait = placeIdle
			}
		} else {
			since = time.Time{}
			if agreed {
				wait = 5 * placeEvery
			}
		}
		if pause(ctx, wait) != nil {
			return
		}
	}
}

// placeAll does the next thing that is to be done; it returns true if there was
// nothing.
func (n *Node) placeAll(ctx context.Context, leading time.Duration) bool {
	online, expected := n.storageNodes()
	complete := n.streams(expected)
	for i, cfg := range n.streams(online) {
		info, err := n.store.info(ctx, cfg.Name)
		switch {
		case notFound(err):
			if cfg.Replicas < complete[i].Replicas && leading < gatherTime {
				return false // the others may still be starting
			}
			err = n.create(ctx, cfg)
		case err != nil:
		case bereft(info):
			err = n.setReplicas(ctx, info, held(info))
		case info.Config.Replicas < cfg.Replicas:
			err = n.raise(ctx, info, cfg.Replicas)
		default:
			continue
		}
		if err != nil && ctx.Err() == nil {
			n.opts.Log.Debug().Err(err).Str("of", describe(cfg.Name)).Msg("placement tried again")
		}
		return false
	}
	return true
}

// held returns how many replicas a stream has, the leader's included.
func held(info *server.StreamInfo) int { return 1 + len(info.Cluster.Replicas) }

// bereft says whether a stream has fewer replicas than it should, for good: a node
// was retired, and there was no other one for its replica. Then it should have as many
// as there are, and more when there is a node for them. A server that ends may answer
// without its raft group, which says nothing of the replicas.
func bereft(info *server.StreamInfo) bool {
	c := info.Cluster
	return c != nil && c.Leader != "" && c.RaftGroup != "" && c.Desired == nil && len(c.Replicas) > 0 && held(info) < info.Config.Replicas
}

// raise gives a stream more replicas, one step at a time: only while all that it
// has are well.
func (n *Node) raise(ctx context.Context, info *server.StreamInfo, target int) error {
	if info.Cluster != nil {
		if info.Cluster.Desired != nil {
			return nil // under way
		}
		for _, p := range info.Cluster.Replicas {
			if p.Offline || !p.Current {
				return nil
			}
		}
	}
	return n.setReplicas(ctx, info, target)
}

// setReplicas changes how many replicas a stream should have.
func (n *Node) setReplicas(ctx context.Context, info *server.StreamInfo, target int) error {
	cfg := info.Config
	before := cfg.Replicas
	cfg.Replicas = target
	body, err := encode(cfg)
	if err != nil {
		return err
	}
	var resp server.JSApiStreamUpdateResponse
	if err := n.store.try(ctx, "STREAM.UPDATE."+cfg.Name, body, &resp, &resp.ApiResponse); err != nil {
		return fmt.Errorf("cluster: change the replicas of %s: %w", describe(cfg.Name), err)
	}
	n.opts.Log.Info().Str("of", describe(cfg.Name)).Int("replicas", target).Int("before", before).Msg("replicas changed")
	return nil
}

// storageNodes returns how many nodes that store can be reached, and how many
// there are or should be.
func (n *Node) storageNodes() (online, expected int) {
	jsz, err := n.server.srv.Jsz(nil)
	if err != nil || jsz.Meta == nil {
		return 1, 1
	}
	online = 1
	for _, p := range jsz.Meta.Replicas {
		if !p.Offline {
			online++
		}
	}
	return online, max(jsz.Meta.Size, n.server.seeds)
}

// agree compares the number of shards with the cluster's. It returns true when
// that is known and the same. A folder that was made with a wrong number is
// corrected, so that the next start goes well.
func (n *Node) agree(ctx context.Context) bool {
	cfg, ok := n.firstConfig(ctx)
	if !ok {
		return false
	}
	shards, err := strconv.Atoi(cfg.Metadata[shardsKey])
	if err != nil || shards == len(n.logs) {
		return err == nil
	}
	if n.members.met(len(connected(n.server.srv))) || time.Since(n.started) > memberLost {
		n.otherShards(shards)
	}
	return false
}

// otherShards ends a node whose cluster has another number of shards.
func (n *Node) otherShards(shards int) {
	n.failNoting(func(m *Marker) { m.Shards = shards }, fmt.Errorf("%w: the cluster has %d, this node was started with %d: set that number and start again", ErrShards, shards, len(n.logs)))
}

// firstConfig returns the configuration of the first shard's stream.
func (n *Node) firstConfig(ctx context.Context) (server.StreamConfig, bool) {
	info, err := n.store.info(ctx, streamName(0))
	if err != nil {
		return server.StreamConfig{}, false
	}
	return info.Config, true
}

// notFound says whether the server answered that a stream does not exist.
func notFound(err error) bool { return apiError(err, server.JSStreamNotFoundErr) }
