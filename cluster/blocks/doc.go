// Package blocks reads what the embedded server stores of a log, without the
// server or beside it: the records of a stream, the entries of a raft group, and the
// snapshot and small files beside them. It checks every checksum. It knows the formats of one
// version of the server; it does not know shards, or what a record means, and it
// never writes.
//
// A store, which is a stream's folder or a raft group's, holds:
//
//	meta.inf, meta.sum   the configuration, and its checksum in hexadecimal
//	msgs/<n>.blk         blocks of records, in order of n, each of 8 MiB or less
//	                     plus one record
//	msgs/index.db        the server's summary of them; absent, old or current
//
// and the folder of a raft group, besides:
//
//	snapshots/snap.<term>.<index>   the state up to an entry; the entries before are gone
//	peers.idx            the members
//	tav.idx              the term, and the vote in it
//	commit.idx           of the cluster's own group: how far it is committed
//
// A record of a block, all numbers little endian:
//
//	u32   length of all of it; the highest bit says that there are headers
//	u64   sequence; the highest bit says that the record is an erased one, the
//	      next bit that it is a tombstone: this sequence was removed
//	i64   time, Unix nanoseconds
//	u16   length of the subject, and the subject
//	u32   length of the headers, and the headers, if there are any
//	      the message
//	u64   HighwayHash-64 of sequence, time, subject, headers and message, with
//	      the key SHA-256("<store>-<n>")
//
// Stores that are encrypted or compressed are refused: Selvedge makes none.
package blocks

// ServerVersion is the version of the embedded server whose formats are read
// here. A test fails when go.mod has another one: then look at filestore.go and
// raft.go of that version, at what is read here, and write the new version down.
const ServerVersion = "2.15.2"
