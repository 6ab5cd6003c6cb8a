package batch

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEverythingIsWrittenInOrder(t *testing.T) {
	client, server := net.Pipe()
	w := NewWriter(client)
	var want bytes.Buffer
	go func() {
		for i := range 1000 {
			if err := w.Append(func(b []byte) []byte { return append(b, byte(i), byte(i>>8)) }); err != nil {
				t.Error(err)
			}
		}
	}()
	for i := range 1000 {
		want.Write([]byte{byte(i), byte(i >> 8)})
	}
	got := make([]byte, want.Len())
	if _, err := io.ReadFull(server, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("got other bytes than were added")
	}
	w.Fail(net.ErrClosed)
	w.Wait()
}

func TestFailFreesWhoeverWaits(t *testing.T) {
	client, server := net.Pipe() // nobody reads: the first write blocks
	defer server.Close()
	w := NewWriter(client)
	failed := make(chan error)
	go func() {
		for {
			if err := w.Append(func(b []byte) []byte { return append(b, make([]byte, 64<<10)...) }); err != nil {
				failed <- err
				return
			}
		}
	}()
	want := errors.New("over")
	w.Fail(want)
	w.Fail(errors.New("later"))
	if err := <-failed; !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	w.Wait()
}
