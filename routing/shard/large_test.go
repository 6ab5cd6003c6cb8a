package shard

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/selvedge-mq/selvedge/internal/cursor"
	"github.com/selvedge-mq/selvedge/routing"
	"github.com/selvedge-mq/selvedge/routing/envelope"
)

// largeModel is what a node knows of its uploads, and of the large messages in a queue.
type largeModel struct {
	*rapid.T
	l       *leader
	opts    Options
	next    [3]uint64 // by lane
	number  uint64    // of the latest upload
	open    map[uint64][][]byte
	queued  map[uint64][]byte // by upload, the bytes behind the head
	held    []Delivery
	dead    []DeadLetter // handed to the leader
	temp    routing.Address
	temps   int
	takings int
}

var largeSub = SubID{Session: 1, Sub: 1}

// uploadSession brings the uploads. It has no lane of its own, so that it can be
// forgotten alone.
const uploadSession = 2

// Uploads and large messages live through leaders, the cleaner and cuts, and leave
// nothing behind.
func TestLarge_PropertyPartsStayTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &largeModel{
			T: t, opts: Options{CleanAbove: 1, CutBytes: 1, MaxFailed: 1000, DeadLetter: routing.Queue("dead")},
			open: map[uint64][][]byte{}, queued: map[uint64][]byte{},
		}
		m.takeOver(nil, 1)
		t.Repeat(rapid.StateMachineActions(m))
		m.finish()
	})
}

func (m *largeModel) takeOver(log [][]byte, first uint64) {
	m.takings++
	m.dead = nil
	m.l = leadFrom(m, m.opts, first, log)
	for lane := byte(1); lane <= 2; lane++ {
		m.next[lane] = m.l.s.OpenLane(LaneID{Session: 1, Lane: lane}, "n1", max(m.next[lane], 1))
	}
	m.l.s.Subscribe(largeSub, routing.Queue("q"))
	for _, d := range m.held {
		m.l.s.Held(largeSub, d.Key)
	}
	m.turn()
}

// turn commits what is composed, purges, and checks what is handed out.
func (m *largeModel) turn() {
	m.Helper()
	fx := m.l.turn()
	for _, c := range fx.Confirms {
		if len(c.Answers) > 0 {
			m.Fatalf("got answers %+v, want none", c.Answers)
		}
	}
	m.held = append(m.held, fx.Deliveries...)
	m.dead = append(m.dead, fx.DeadLetters...)
	if fx.Purge > 0 {
		m.l.log = m.l.log[fx.Purge-m.l.first+1:]
		m.l.first = fx.Purge + 1
	}
	for _, d := range m.held {
		m.readWhole(d.Key)
		if !m.l.s.Reads(largeSub, d.Key) {
			m.Fatalf("message %x is not read by who has it in flight", d.Key)
		}
	}
	for _, d := range m.dead {
		if m.l.s.Locate(d.Key).Size > 0 {
			m.readWhole(d.Key)
		}
	}
}

// readWhole compares a message, read from the log, with what was sent.
func (m *largeModel) readWhole(key uint64) {
	m.Helper()
	at := m.l.s.Locate(key)
	env, err := envelope.Decode(m.bytesAt(at))
	if err != nil {
		m.Fatal(err)
	}
	var number uint64
	if _, err := fmt.Sscan(string(env.Payload), &number); err != nil {
		return // a small message
	}
	var got []byte
	for int64(len(got)) < at.Parts {
		part, start, ok := m.l.s.PartAt(key, int64(len(got)))
		if !ok || start != int64(len(got)) {
			m.Fatalf("upload %d: got no part at %d of %d", number, len(got), at.Parts)
		}
		got = append(got, m.bytesAt(part)...)
	}
	if !bytes.Equal(got, m.queued[number]) {
		m.Fatalf("upload %d: got %q, want %q", number, got, m.queued[number])
	}
}

func (m *largeModel) bytesAt(b Body) []byte { return m.l.log[b.Seq-m.l.first][b.Off : b.Off+b.Size] }

func (m *largeModel) request(f func(id LaneID, number uint64) bool) {
	id := LaneID{Session: 1, Lane: 2}
	if !f(id, m.next[2]) {
		m.Fatalf("request %d was not taken", m.next[2])
	}
	m.next[2]++
}

func (m *largeModel) pick(t *rapid.T) uint64 {
	if len(m.open) == 0 {
		t.Skip("no upload is open")
	}
	numbers := make([]uint64, 0, len(m.open))
	for n := range m.open {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return rapid.SampledFrom(numbers).Draw(t, "upload")
}

func (m *largeModel) Begin(t *rapid.T) {
	m.number++
	m.open[m.number] = nil
	m.part(t, m.number)
}

func (m *largeModel) Part(t *rapid.T) { m.part(t, m.pick(t)) }

func (m *largeModel) part(t *rapid.T, n uint64) {
	data := rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "part")
	index := uint32(len(m.open[n]))
	m.request(func(id LaneID, number uint64) bool {
		return m.l.s.Part(id, number, UploadID{Session: uploadSession, Number: n}, index, data)
	})
	m.open[n] = append(m.open[n], data)
}

func (m *largeModel) Message(t *rapid.T) { m.message(t, routing.Queue("q")) }

func (m *largeModel) message(t *rapid.T, to routing.Address) {
	n := m.pick(t)
	whole := bytes.Join(m.open[n], nil)
	delete(m.open, n)
	m.queued[n] = whole
	m.request(func(id LaneID, number uint64) bool {
		return m.l.s.SendLarge(id, number, UploadID{Session: uploadSession, Number: n}, int64(len(whole)), envTo(to, fmt.Sprint(n), true))
	})
}

// Temporary makes a temporary queue, or sends to it.
func (m *largeModel) Temporary(t *rapid.T) {
	if m.temp.Name != "" {
		m.message(t, m.temp)
		return
	}
	m.temps++
	m.temp = routing.Address{Kind: routing.KindTempQueue, Name: fmt.Sprint("temporary", m.temps)}
	m.request(func(id LaneID, number uint64) bool { return m.l.s.Create(id, number, m.temp) })
}

// Gone ends the temporary queue, and all that is in it.
func (m *largeModel) Gone(t *rapid.T) {
	if m.temp.Name == "" {
		t.Skip("there is no temporary queue")
	}
	m.request(func(id LaneID, number uint64) bool { return m.l.s.Delete(id, number, m.temp) })
	m.temp = routing.Address{}
}

// GiveUp ends the uploads that idle: all of them.
func (m *largeModel) GiveUp(*rapid.T) {
	m.l.s.GiveUpUploads(1, 1)
	m.l.s.GiveUpUploads(2, 1)
	clear(m.open)
}

// Forget ends the session of the uploads, as when its node has left.
func (m *largeModel) Forget(*rapid.T) {
	m.l.s.Forget(uploadSession)
	m.turn()
	clear(m.open)
}

// Buried ends a dead letter, or has it go again.
func (m *largeModel) Buried(t *rapid.T) {
	if len(m.dead) == 0 {
		t.Skip("nothing is dying")
	}
	key := m.dead[0].Key
	m.dead = m.dead[1:]
	if m.l.s.Locate(key).Size > 0 && rapid.Bool().Draw(t, "refused") {
		m.l.s.Unburied(key, routing.CodeClosed)
		return
	}
	m.l.s.Buried(key)
}

func (m *largeModel) Abort(t *rapid.T) {
	n := m.pick(t)
	delete(m.open, n)
	m.request(func(id LaneID, number uint64) bool {
		return m.l.s.Abort(id, number, UploadID{Session: uploadSession, Number: n})
	})
}

func (m *largeModel) Small(*rapid.T) {
	m.request(func(id LaneID, number uint64) bool { return m.l.s.Send(id, number, env("q", "small", true)) })
}

func (m *largeModel) Grant(t *rapid.T) {
	m.l.s.Grant(largeSub, int32(rapid.IntRange(1, 3).Draw(t, "credit")))
}

func (m *largeModel) Settle(t *rapid.T) {
	if len(m.held) == 0 {
		t.Skip("nothing is in flight")
	}
	i := rapid.IntRange(0, len(m.held)-1).Draw(t, "delivery")
	o := rapid.SampledFrom([]routing.Outcome{
		accepted, accepted, {Kind: routing.Released}, {Kind: routing.Rejected}, {Kind: routing.Modified, DeliveryFailed: true},
	}).Draw(t, "outcome")
	m.settle(i, o)
}

func (m *largeModel) settle(i int, o routing.Outcome) {
	r := Settlement{Sub: largeSub, Key: m.held[i].Key, Outcome: o}
	if !m.l.s.Settle(LaneID{Session: 1, Lane: 1}, m.next[1], r) {
		m.Fatalf("settlement %d was not taken", m.next[1])
	}
	m.next[1]++
	m.held = slices.Delete(m.held, i, i+1)
}

func (m *largeModel) Commit(*rapid.T) { m.turn() }

// Clean has the oldest live record written again while other things are composed.
func (m *largeModel) Clean(*rapid.T) {
	if seq, ok := m.l.s.CleanTarget(); ok {
		if err := m.l.s.Rewrite(seq, m.l.log[seq-m.l.first]); err != nil {
			m.Fatal(err)
		}
	}
	m.l.s.ComposeCut()
}

// TakeOver has another leader begin from the log, after what was composed is lost
// or committed.
func (m *largeModel) TakeOver(*rapid.T) {
	m.turn()
	m.takeOver(m.l.log, m.l.first)
	m.l.s.GiveUpUploads(1, 1<<40) // parts of messages that ended before the log begins
	m.turn()
}

// Check compares the leader's state with a replay.
func (m *largeModel) Check(*rapid.T) {
	if diff := cmp.Diff(durable(m.l.s), durable(replay(m, m.opts, m.l.first, m.l.log))); diff != "" {
		m.Fatalf("a replay of the log gives another state (-leader +replay):\n%s", diff)
	}
}

// The bytes of entries about large messages never change.
func TestLarge_EntriesHaveTheirBytes(t *testing.T) {
	id := UploadID{Session: 0x1122334455667788, Number: 300}
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"a part of an open upload", appendPart(nil, id, 2, 0, []byte("abc")), "181122334455667788ac0202000000000000000003616263"},
		{"a part of a message", appendPart(nil, id, 0, 0x10000000001, []byte("a")), "181122334455667788ac020000000100000000010161"},
		{"the end of an upload", appendAbort(nil, id), "191122334455667788ac02"},
		{
			"a message with 500 bytes in parts",
			appendEnqueue(nil, 0x10000000002, 3, flagReserve, &upload{id: id, size: 500}, []byte("env")), "0300000100000000020341" +
				"1122334455667788ac02" + "f403" + "03656e76",
		},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
		var e entry
		r := entryReader{cursor.New(c.got)}
		if err := r.next(&e); err != nil || r.More() {
			t.Errorf("%s: reading it: %v, %d octets left", c.name, err, len(r.Rest))
		}
		if e.upload != id {
			t.Errorf("%s: got upload %v, want %v", c.name, e.upload, id)
		}
	}
}

// finish ends everything: nothing of an upload may be left.
func (m *largeModel) finish() {
	m.turn()
	for n := range m.open {
		m.request(func(id LaneID, number uint64) bool {
			return m.l.s.Abort(id, number, UploadID{Session: uploadSession, Number: n})
		})
	}
	if m.temp.Name != "" {
		m.request(func(id LaneID, number uint64) bool { return m.l.s.Delete(id, number, m.temp) })
	}
	for range 3 {
		m.l.s.Grant(largeSub, 1000)
		m.turn()
		for _, d := range m.dead {
			m.l.s.Buried(d.Key)
		}
		m.dead = nil
		for len(m.held) > 0 {
			m.settle(0, accepted)
		}
		m.turn()
	}
	m.takeOver(m.l.log, m.l.first)
	m.l.s.GiveUpUploads(1, 1<<40)
	m.turn()
	if live := m.l.s.Live(); live != 0 || len(m.l.s.uploads.byID) != 0 || len(m.l.s.uploads.byKey) != 0 {
		m.Fatalf("got %d messages and %d uploads left, want none", live, len(m.l.s.uploads.byID))
	}
}

// The same uploads were given up in another order each time, so that a run could not be
// repeated.
func TestLarge_UploadsAreGivenUpInTheirOrder(t *testing.T) {
	l := lead(t, Options{}, nil)
	lane := LaneID{Session: 1, Lane: 2}
	l.s.OpenLane(lane, "n1", 1)
	const uploads = 50
	for n := range uint64(uploads) {
		l.s.Part(lane, n+1, UploadID{Session: uploadSession, Number: n}, 0, []byte("part"))
	}
	l.turn()
	l.s.GiveUpUploads(1, 10)
	if given := l.s.GiveUpUploads(11, 10); given != uploads {
		t.Fatalf("%d uploads are given up, want %d", given, uploads)
	}
	l.turn()
	_, entries, _, err := parseRecord(l.log[len(l.log)-1])
	if err != nil {
		t.Fatal(err)
	}
	var got []uint64
	for r := (entryReader{cursor.New(entries)}); r.More(); {
		var e entry
		if err := r.next(&e); err != nil {
			t.Fatal(err)
		}
		if e.kind == kindAbort {
			got = append(got, e.upload.Number)
		}
	}
	if len(got) != uploads || !slices.IsSorted(got) {
		t.Errorf("got %v given up, want all in their order", got)
	}
}

// The largest message, in the least parts that there may be, had some more than an
// upload took: the last ones were refused as not valid.
func TestLarge_AsManyPartsAsTheLargestMessageCanHave(t *testing.T) {
	const largest = 1<<30 + routing.MaxHead // message-size at its most, and what a head adds
	const parts = largest / routing.LeastPart
	l := lead(t, Options{}, nil)
	lane, id := LaneID{Session: 1, Lane: 2}, UploadID{Session: uploadSession, Number: 1}
	l.s.OpenLane(lane, "n1", 1)
	turn := func() {
		for _, c := range l.turn().Confirms {
			if len(c.Answers) > 0 {
				t.Fatalf("got answers %+v, want none", c.Answers)
			}
		}
	}
	for index := range uint32(parts) {
		l.s.Part(lane, uint64(index)+1, id, index, []byte("x"))
		if l.s.Full() {
			turn()
		}
	}
	turn()
	again := leadFrom(t, Options{}, 1, l.log) // what is in the log is read, too
	if u := again.s.uploads.byID[id]; u == nil || len(u.parts) != parts {
		t.Errorf("got an upload %v, want one of %d parts", u != nil, parts)
	}
}
