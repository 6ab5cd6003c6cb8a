package gateway

import (
	"context"
	"crypto/tls"
	"fmt"

	"github.com/selvedge-mq/selvedge/gateway/api"
	"github.com/selvedge-mq/selvedge/gateway/certs"
	"github.com/selvedge-mq/selvedge/gateway/config"
)

// tlsVersions are the spellings of the setting tls-min-version.
var tlsVersions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// openEntrance reads the certificates of the listeners and whom to believe.
func (n *Node) openEntrance() error {
	n.entrance = &entrance{patience: n.cfg.LoginTimeout}
	for _, text := range n.cfg.ProxyFrom {
		network, err := config.ParseNetwork(text)
		if err != nil {
			return fmt.Errorf("proxy-from: %w", err)
		}
		n.entrance.proxies = append(n.entrance.proxies, network)
	}
	if n.cfg.TLSCert == "" {
		return nil
	}
	source, err := certs.Open(certs.Options{
		Cert: n.cfg.TLSCert, Key: n.cfg.TLSKey, CA: n.cfg.TLSClientCA, Require: n.cfg.TLSClientAuth == "required",
		MinVersion: tlsVersions[n.cfg.TLSMinVersion], Log: n.log,
		Expiry: n.metrics.expiry.WithLabelValues("listeners").Set,
	})
	if err != nil {
		return fmt.Errorf("tls-cert: %w", err)
	}
	n.entrance.certs = source
	n.certs = append(n.certs, source)
	return nil
}

// openClusterTLS reads the certificate that this node shows the others.
func (n *Node) openClusterTLS() error {
	if n.cfg.ClusterCert == "" {
		return nil
	}
	source, err := certs.Open(certs.Options{
		Cert: n.cfg.ClusterCert, Key: n.cfg.ClusterKey, CA: n.cfg.ClusterCA, Require: true, Log: n.log,
		Expiry: n.metrics.expiry.WithLabelValues("cluster").Set,
	})
	if err == nil {
		n.clusterTLS, err = source.Mutual()
	}
	if err != nil {
		return fmt.Errorf("cluster-tls-cert: %w", err)
	}
	n.certs = append(n.certs, source)
	return nil
}

// tryPorts finds ports that are in use before anything is started.
func (n *Node) tryPorts(ctx context.Context) error {
	for _, port := range n.cfg.Ports() {
		if isEarly(port) {
			continue // it is opened at once
		}
		ln, err := listen(ctx, port)
		if err != nil {
			return err
		}
		if err := ln.Close(); err != nil {
			return fmt.Errorf("try the listener %s: %w", port.Name, err)
		}
	}
	return nil
}

// isEarly reports whether a port opens before the node can serve clients: HTTP, so
// that others can see what it waits for.
func isEarly(p config.Listener) bool { return p.Protocol == config.ProtocolHTTP }

// openListeners opens the ports that are wanted.
func (n *Node) openListeners(ctx, life context.Context, want func(config.Listener) bool) error {
	for _, port := range n.cfg.Ports() {
		if !want(port) {
			continue
		}
		ln, err := listen(ctx, port)
		if err != nil {
			return err
		}
		l := &listener{
			port: port, ln: ln, entrance: n.entrance, conns: n.conns, web: n.web.of(port), metrics: n.metrics,
			log: n.log.With().Str("listener", port.Name).Logger(),
		}
		if port.Protocol == config.ProtocolHTTP {
			l.conns = l.web.conns // health checks are answered however many clients there are
		}
		n.listeners = append(n.listeners, l)
		n.status.addListener(api.Listener{
			Name: port.Name, Protocol: port.Protocol, Address: ln.Addr().String(), TLS: port.TLS, WebSocket: port.WebSocket,
		})
		n.wg.Go(func() { l.serve(life) })
	}
	return nil
}

// closeListeners closes the ports that are wanted; their connections go on.
func (n *Node) closeListeners(want func(config.Listener) bool) {
	for _, l := range n.listeners {
		if !want(l.port) {
			continue
		}
		if err := l.ln.Close(); err != nil {
			l.log.Warn().Err(err).Msg("listener not closed")
		}
	}
}
