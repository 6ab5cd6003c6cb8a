package cluster

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
			m := &members{wake: make(chan struct{}, 1), health: newReplicas(nil).list, self: Member{Name: "self", State: MemberUp}, all: make(map[string]Member)}
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

func FuzzMembers_Hear(f *testing.F) {
	f.Add([]byte(`{"name":"a","session":1,"state":"up"}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &members{wake: make(chan struct{}, 1), health: newReplicas(nil).list, all: make(map[string]Member)}
		m.hear(&nats.Msg{Data: b})
		if len(m.list(time.Now())) > 2 {
			t.Error("one announcement made two members")
		}
	})
}
