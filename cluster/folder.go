package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// ErrFolder is the kind of errors that say: this folder does not go with these
// settings.
var ErrFolder = errors.New("cluster: the data folder cannot be used as it is")

// Format says how a data folder is stored. The two cannot be opened as each
// other: the embedded server would delete the logs as orphans.
type Format string

// The formats.
const (
	FormatNone       Format = ""           // nothing is stored there yet
	FormatStandalone Format = "standalone" // a node on its own
	FormatCluster    Format = "cluster"    // a node of a cluster
)

// Names in a data folder.
const (
	markerName = "selvedge.json" // what the folder is
	storeName  = "fabric"        // what the embedded server stores
	lockName   = "selvedge.lock" // held by the process that uses the folder
	importName = "import"        // a standalone folder that waits for its import
)

// markerVersion is the version of the folder's layout that this program writes
// and reads.
const markerVersion = 1

// Marker is what selvedge.json in a data folder says.
type Marker struct {
	Version int       `json:"version"`
	Format  Format    `json:"format"`
	Cluster string    `json:"cluster,omitempty"`
	Node    string    `json:"node"`
	Shards  int       `json:"shards"`
	Created time.Time `json:"created"`
	// Retired is when the folder was found to have been retired with its node.
	Retired time.Time `json:"retired,omitzero"`
	// CRC is the checksum of all the rest; a marker that is older than it has none.
	CRC *uint32 `json:"crc32c,omitempty"`
}

// checksum returns what CRC is to be.
func (m Marker) checksum() (uint32, error) {
	m.CRC = nil
	b, err := json.Marshal(m)
	return crc32.Checksum(b, castagnoli), err
}

// sound says whether a marker is the one that was written.
func (m Marker) sound() bool {
	sum, err := m.checksum()
	return err == nil && (m.CRC == nil || *m.CRC == sum)
}

// Detect says what a data folder holds; a folder that is missing or empty holds
// nothing.
func Detect(dir string) (Marker, error) {
	b, err := os.ReadFile(filepath.Join(dir, markerName)) //nolint:gosec // the operator's folder
	if errors.Is(err, fs.ErrNotExist) {
		if exists(filepath.Join(dir, storeName)) {
			return Marker{}, fmt.Errorf("%w: %s holds logs but no %s: restore that file, or use another folder", ErrFolder, dir, markerName)
		}
		return Marker{}, nil
	}
	if err != nil {
		return Marker{}, fmt.Errorf("cluster: read the folder's marker: %w", err)
	}
	var m Marker
	switch err = json.Unmarshal(b, &m); {
	case err != nil:
	case m.Version == 0:
		err = errors.New("it has no layout version")
	case m.Version != markerVersion:
		return Marker{}, fmt.Errorf("%w: %s has layout version %d, this program knows %d: use the version that wrote it", ErrFolder, dir, m.Version, markerVersion)
	case m.Format != FormatStandalone && m.Format != FormatCluster:
		err = fmt.Errorf("the format %q is unknown", m.Format)
	case m.Shards < 1 || m.Shards > maxShards:
		err = fmt.Errorf("there are %d shards", m.Shards)
	case !m.sound():
		err = errors.New("the checksum is wrong")
	default:
		m.CRC = nil
		return m, nil
	}
	return Marker{}, fmt.Errorf("%w: %s is damaged: restore that file, or use another folder: %w", ErrFolder, filepath.Join(dir, markerName), err)
}

// prepareFolder makes the folder ready for a node with these options: it is
// created, taken as it is, or, if it is a standalone one and the node is to be
// part of a cluster, set aside for import. Any other mixture is refused. It
// returns the folder's marker and the folder to import, empty if there is none.
// Every step may be repeated after a kill.
func prepareFolder(o Options) (m Marker, importDir string, err error) {
	if o.FrontOnly {
		return Marker{Shards: o.Shards}, "", refuseFront(o)
	}
	aside := filepath.Join(o.Dir, importName)
	if exists(aside) && !o.clustered() {
		return Marker{}, "", fmt.Errorf("%w: %s waits to be imported into a cluster: start with the cluster's settings, or move its contents up by hand", ErrFolder, aside)
	}
	if m, err = detectInterrupted(o.Dir, aside); err != nil {
		return Marker{}, "", err
	}
	if m.Format == FormatStandalone && o.clustered() {
		if err := setAside(o.Dir, aside); err != nil {
			return Marker{}, "", err
		}
		m = Marker{}
	}
	if err := checkMarker(m, o); err != nil {
		return Marker{}, "", err
	}
	if m.Format == FormatNone {
		if m, err = writeMarker(o); err != nil {
			return Marker{}, "", err
		}
	}
	if exists(aside) {
		importDir = aside
	}
	return m, importDir, nil
}

// claimFolder creates a node's data folder if need be and locks it; a front-only
// node has none.
func claimFolder(o Options) (*os.File, error) {
	if o.FrontOnly {
		return nil, nil
	}
	if err := makeFolder(o.Dir); err != nil {
		return nil, fmt.Errorf("cluster: create the data folder: %w", err)
	}
	return lockFolder(o.Dir)
}

// makeFolder creates a folder and those that it is in, and has their names durable.
func makeFolder(dir string) error {
	if exists(dir) {
		return os.MkdirAll(dir, 0o700) // an error if it is no folder
	}
	parent := filepath.Dir(dir)
	if err := makeFolder(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := syncDir(parent); !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil // a folder that may be written to and not be read
}

// detectInterrupted is Detect for a folder whose setting aside may have been
// interrupted between its two renames.
func detectInterrupted(dir, aside string) (Marker, error) {
	if !exists(filepath.Join(dir, markerName)) && exists(filepath.Join(aside, markerName)) &&
		!exists(filepath.Join(aside, storeName)) {
		return Detect(aside) // the marker went first, the logs are still here
	}
	return Detect(dir)
}

// setAside moves a standalone folder's marker and logs into aside. A second one
// is refused: the first import must end before.
func setAside(dir, aside string) error {
	if exists(filepath.Join(aside, storeName)) {
		return fmt.Errorf("%w: %s holds another folder whose import has not ended", ErrFolder, aside)
	}
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return fmt.Errorf("cluster: set the standalone folder aside: %w", err)
	}
	for _, name := range []string{markerName, stateName, storeName} {
		from := filepath.Join(dir, name)
		if !exists(from) {
			continue // moved before a kill, or never made
		}
		if err := os.Rename(from, filepath.Join(aside, name)); err != nil {
			return fmt.Errorf("cluster: set the standalone folder aside: %w", err)
		}
	}
	return errors.Join(syncDir(aside), syncDir(dir))
}

// checkMarker refuses a folder of another kind, cluster or node.
func checkMarker(m Marker, o Options) error {
	switch {
	case m.Format == FormatNone:
		return nil
	case m.Format == FormatCluster && !o.clustered():
		return fmt.Errorf("%w: %s belongs to the cluster %q: start with that cluster's settings, or use another folder", ErrFolder, o.Dir, m.Cluster)
	case m.Format == FormatCluster && m.Cluster != o.ClusterName:
		return fmt.Errorf("%w: %s belongs to the cluster %q, not to %q: use that name, or another folder", ErrFolder, o.Dir, m.Cluster, o.ClusterName)
	case m.Format == FormatCluster && m.Node != o.Node:
		return fmt.Errorf("%w: %s belongs to the node %q, not to %q: a node keeps its name for life", ErrFolder, o.Dir, m.Node, o.Node)
	case !m.Retired.IsZero():
		return errRetiredFolder
	}
	return nil
}

// refuseFront refuses to run without storage over a folder that has replicas.
func refuseFront(o Options) error {
	if o.Dir == "" {
		return nil
	}
	m, err := Detect(o.Dir)
	if err == nil && m.Format != FormatNone {
		err = fmt.Errorf("%w: %s holds logs, but this node is to store nothing: start it with storage, or use another folder", ErrFolder, o.Dir)
	}
	return err
}

// writeMarker writes the marker of a new folder.
func writeMarker(o Options) (Marker, error) {
	m := Marker{Version: markerVersion, Format: FormatStandalone, Node: o.Node, Shards: o.Shards, Created: time.Now().UTC()}
	if o.clustered() {
		m.Format, m.Cluster = FormatCluster, o.ClusterName
	}
	return m, saveMarker(o.Dir, m)
}

// saveMarker replaces a folder's marker.
func saveMarker(dir string, m Marker) error {
	sum, err := m.checksum()
	if err != nil {
		return fmt.Errorf("cluster: encode the folder's marker: %w", err)
	}
	m.CRC = &sum
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("cluster: encode the folder's marker: %w", err)
	}
	tmp := filepath.Join(dir, markerName+".new")
	if err := writeSynced(tmp, append(b, '\n')); err != nil {
		return fmt.Errorf("cluster: write the folder's marker: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, markerName)); err != nil {
		return fmt.Errorf("cluster: write the folder's marker: %w", err)
	}
	return syncDir(dir)
}

func writeSynced(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // the operator's folder
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	f, err := os.Open(dir) //nolint:gosec // the operator's folder
	if err != nil {
		return fmt.Errorf("cluster: sync the folder: %w", err)
	}
	return errors.Join(f.Sync(), f.Close())
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}
