// Package cluster is the fabric: an embedded NATS server that stores the logs of
// the shards, elects their leaders and carries the messages between nodes. It
// knows streams, routes and replicas; it does not know what is in a record or in
// a message. NATS is a word of this folder alone.
//
// What is stored where, in a node's data folder:
//
//	selvedge.json        what the folder is: layout, standalone or cluster, node, shards
//	selvedge.state       what the logs held lately, and whether the node was stopped in order
//	selvedge.lock        held by the process that uses the folder
//	fabric/jetstream/    what the embedded server stores:
//	  SELVEDGE/streams/S<n>/   the log of shard n: one stream, one subject selvedge.log.<n>
//	  SELVEDGE/streams/KV_selvedge/   the registry of nodes
//	  SYS/_js_/                raft groups: of the cluster itself, and of each log
//	import/              a standalone folder (its selvedge.json and fabric/) that waits
//	                     to be imported into the cluster
//	imported-<time>/     one whose import has ended; it may be deleted
//	damaged/<time>-<what>/   the files of a replica that was damaged; it may be deleted
//
// What is sent where, in the account SELVEDGE, which no client of the broker
// reaches:
//
//	selvedge.log.<n>     appends, each with the expected last sequence
//	selvedge.status      what each node says of itself, once a second
//	selvedge.grant       a node asks whether it may empty a damaged replica
//	selvedge.suspect     a reader tells that a log could not be read
//	selvedge.registry    an entry of the registry was changed
//	selvedge.standing    a node that comes back asks whether it was retired
//	selvedge.name        a node that starts asks whether its name is in use
//	$KV.selvedge.<node>  the registry: what is known of each node that stores
//	selvedge.p.>         messages between nodes: see package peers
//
// The embedded server repairs what it finds damaged by forgetting it, and others
// follow. So a node that was not stopped in order reads all files of its replicas
// before the server does (package blocks); a damaged replica is emptied, when the
// others allow it, and filled by them.
//
// The embedded server listens for routes with a password that is derived from
// the cluster's secret; in a cluster it listens for clients too, on loopback,
// with a random password that no one else knows. Connections of the node itself
// are pipes within the process: one for appends, one for reads, one for peers.
package cluster
