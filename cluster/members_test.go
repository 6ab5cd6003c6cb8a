package cluster

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"
)

// told is an announcement, heard some time ago.
type told struct {
	name    string
	session uint64
	state   MemberState
	ago     time.Duration
}

func TestMembers_States(t *testing.T) {
	for _, c := range []struct {
		name string
		told []told
		want map[string]MemberState
	}{
		{"a node alone sees itself", nil, map[string]MemberState{"self": MemberUp}},
		{"who was just heard is up", []told{{"a", 1, MemberUp, 0}}, map[string]MemberState{"self": MemberUp, "a": MemberUp}},
		{"who is silent is lost", []told{{"a", 1, MemberUp, 5 * time.Second}}, map[string]MemberState{"self": MemberUp, "a": MemberLost}},
		{"who said goodbye has left", []told{{"a", 1, MemberLeft, 5 * time.Second}}, map[string]MemberState{"self": MemberUp, "a": MemberLeft}},
		{"a late word after the goodbye does not count", []told{{"a", 1, MemberLeft, 0}, {"a", 1, MemberUp, 0}}, map[string]MemberState{"self": MemberUp, "a": MemberLeft}},
		{"a new session is up again", []told{{"a", 1, MemberLeft, 0}, {"a", 2, MemberUp, 0}}, map[string]MemberState{"self": MemberUp, "a": MemberUp}},
		{"who is gone for long is forgotten", []told{{"a", 1, MemberUp, 2 * time.Hour}, {"b", 1, MemberLeft, 2 * time.Hour}}, map[string]MemberState{"self": MemberUp}},
		{"another node of the own name is not heard", []told{{"self", 9, MemberLeft, 0}}, map[string]MemberState{"self": MemberUp}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &members{wake: make(chan struct{}, 1), health: newReplicas(nil).list, self: Member{Name: "self", State: MemberUp}, all: make(map[string]Member), former: make(map[string]Member)}
			for _, a := range c.told {
				b, err := json.Marshal(Member{Name: a.name, Session: a.session, State: a.state})
				if err != nil {
					t.Fatal(err)
				}
				m.hear(&nats.Msg{Data: b})
				if o, ok := m.all[a.name]; ok && a.ago > 0 {
					o.LastSeen = time.Now().Add(-a.ago)
					m.all[a.name] = o
				}
			}
			got := make(map[string]MemberState)
			for _, o := range m.list(time.Now()) {
				got[o.Name] = o.State
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("states (-want +got):\n%s", diff)
			}
		})
	}
}

// Two processes of a name announce themselves in turn: each of them is heard by whoever
// asks for the other one.
func TestMembers_SilenceOfAnotherProcess(t *testing.T) {
	for _, c := range []struct {
		name    string
		told    []told
		session uint64 // that asks
		heard   bool
	}{
		{"nobody was heard", nil, 1, false},
		{"the process itself does not count", []told{{"a", 1, MemberUp, 0}}, 1, false},
		{"another one does", []told{{"a", 1, MemberUp, 0}}, 2, true},
		{"one that has left does not", []told{{"a", 1, MemberLeft, 0}}, 2, false},
		{"one that was heard before does", []told{{"a", 1, MemberUp, 0}, {"a", 2, MemberUp, 0}}, 2, true},
		{"and the other way round", []told{{"a", 1, MemberUp, 0}, {"a", 2, MemberUp, 0}}, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &members{wake: make(chan struct{}, 1), all: make(map[string]Member), former: make(map[string]Member)}
			for _, a := range c.told {
				b, err := json.Marshal(Member{Name: a.name, Session: a.session, State: a.state})
				if err != nil {
					t.Fatal(err)
				}
				m.hear(&nats.Msg{Data: b})
			}
			if _, heard := m.silence("a", c.session); heard != c.heard {
				t.Errorf("got heard %v, want %v", heard, c.heard)
			}
		})
	}
}

// FuzzMembers_Hear has a node hear two announcements and then silence. What it does
// not take changes nothing, what it takes is kept as it was said, and the list is what
// the silence makes of it.
func FuzzMembers_Hear(f *testing.F) {
	up := `{"name":"a","session":1,"state":"up","storage":true,"version":"1.0","status":"eyJ9","health":[{}],"last_seen":"2999-01-01T00:00:00Z"}`
	for _, second := range []string{
		up, `{"name":"a","session":1,"state":"left"}`, `{"name":"a","session":2,"state":"up"}`, `{"name":"b","state":"repairing"}`,
		`{"name":"self","session":9,"state":"left"}`, `{"name":""}`, `{"name":"a","session":-1}`, `{"name":"a"`, `[]`, `null`,
	} {
		f.Add([]byte(up), []byte(second), int64(time.Second))
		f.Add([]byte(second), []byte(up), int64(memberLost+1))
		f.Add([]byte(second), []byte(second), int64(memberForget+1))
	}
	f.Fuzz(func(t *testing.T, first, second []byte, silence int64) {
		m := &members{wake: make(chan struct{}, 1), health: newReplicas(nil).list, self: Member{Name: "self", State: MemberUp}, all: make(map[string]Member), former: make(map[string]Member)}
		want := make(map[string]Member)
		for _, b := range [][]byte{first, second} {
			checkHear(t, m, want, b)
		}
		checkList(t, m, want, time.Now().Add(time.Duration(max(silence, 0))%(2*memberForget)))
	})
}

// checkHear has m hear b and compares what it knows then with want, which it brings up
// to date.
func checkHear(t *testing.T, m *members, want map[string]Member, b []byte) {
	t.Helper()
	var o Member
	err := json.Unmarshal(b, &o)
	old, known := want[o.Name]
	goodbye := known && old.State == MemberLeft && old.Session == o.Session
	news := false
	begun, msg := time.Now(), bytes.Clone(b)
	m.hear(&nats.Msg{Data: msg})
	clear(msg) // the connection's buffer is used again
	if err == nil && o.Name != "" && o.Name != "self" && !goodbye {
		o.LastSeen = m.all[o.Name].LastSeen
		if o.LastSeen.Before(begun) || o.LastSeen.After(time.Now()) {
			t.Errorf("got %v as the time of what was heard now", o.LastSeen)
		}
		want[o.Name], news = o, !known || old.Session != o.Session
	}
	if diff := cmp.Diff(want, m.all); diff != "" {
		t.Errorf("members after %q (-want +got):\n%s", b, diff)
	}
	select {
	case <-m.wake:
		if !news {
			t.Errorf("%q: got an announcement at once, which nobody needs", b)
		}
	default:
		if news {
			t.Errorf("%q: got no announcement at once, a new process needs it", b)
		}
	}
}

// checkList compares the list at a time with what was heard.
func checkList(t *testing.T, m *members, heard map[string]Member, at time.Time) {
	t.Helper()
	want := []Member{{Name: "self", State: MemberUp, LastSeen: at}}
	for _, o := range heard {
		silent := at.Sub(o.LastSeen)
		if silent > memberForget {
			continue
		}
		if silent > memberLost && o.State != MemberLeft {
			o.State = MemberLost
		}
		want = append(want, o)
	}
	slices.SortFunc(want, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	for range 2 { // to look changes nothing
		if diff := cmp.Diff(want, m.list(at), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("list (-want +got):\n%s", diff)
		}
	}
	if len(m.all) != len(want)-1 {
		t.Errorf("got %d members in memory, want the %d of the list", len(m.all), len(want)-1)
	}
}

// A node announced itself once a second, whatever it had to say: one that was killed in the
// second after it had begun to serve was shown as starting until it counted as lost.
func TestSetStatus_IsAnnouncedAtOnce(t *testing.T) {
	n := openNode(t, Options{Node: "n", Dir: t.TempDir(), Shards: 1})
	heard := make(chan []byte, 16)
	sub, err := n.store.nc.Subscribe(statusSubject, func(msg *nats.Msg) {
		var m Member
		if json.Unmarshal(msg.Data, &m) == nil {
			heard <- m.Status
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	fastest := time.Hour
	for i := range byte(5) { // a busy machine may be late once
		<-heard // the next one by itself is a second away
		set := time.Now()
		n.SetStatus([]byte{'a' + i})
		for status := range heard {
			if len(status) == 1 && status[0] == 'a'+i {
				break
			}
		}
		fastest = min(fastest, time.Since(set))
	}
	if fastest > statusEvery/2 {
		t.Errorf("a status was heard after %v, want it at once", fastest)
	}
}
