package stomp

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// BenchmarkWriteMessages weighs the copy of a body against its own place in a writev:
// MESSAGEs to a socket, one at a time and as many as are written at once. cpu/op is the
// writer's own time, which other programs on the machine do not lengthen. Its medians
// say what apartFrom shall be; docs/performance.md has them.
func BenchmarkWriteMessages(b *testing.B) {
	for _, size := range []int{1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10} {
		for _, at := range []struct {
			name  string
			count int
		}{{"one", 1}, {"many", max(1, outHigh/size)}} {
			for _, copied := range []bool{true, false} {
				b.Run(fmt.Sprintf("body=%d/%s/copied=%v", size, at.name, copied), func(b *testing.B) {
					writeMessages(b, size, at.count, copied)
				})
			}
		}
	}
}

func writeMessages(b *testing.B, size, count int, copied bool) {
	b.Helper()
	l, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	client, err := new(net.Dialer).DialContext(b.Context(), "tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{client}, make([]byte, 256<<10))
	})
	w := newWriter(server, time.Minute)
	head := "MESSAGE\nmessage-id:ID-1-7\nsubscription:1\nexpires:0\npriority:4\npersistent:true\ntimestamp:1795603637863\ndestination:/queue/orders\n"
	bodies := make([][]byte, 256)
	for i := range bodies {
		bodies[i] = []byte("content-type:text/plain\n\n" + strings.Repeat("x", size))
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out := output{buf: make([]byte, 0, 2*outHigh)}
	b.SetBytes(int64(size))
	before := threadTime(b)
	b.ResetTimer()
	for n := 0; n < b.N; n += count {
		out.buf, out.apart = out.buf[:0], out.apart[:0]
		for i := range count {
			body := bodies[(n+i)%len(bodies)]
			out.buf = append(out.buf, head...)
			if copied {
				out.buf = append(out.buf, body...)
			} else {
				out.apart = append(out.apart, apart{len(out.buf), body})
			}
			out.buf = append(out.buf, 0, '\n')
		}
		if err := w.write(out); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(threadTime(b)-before)/float64(b.N), "cpu-ns/op")
	server.Close()
	wg.Wait()
	client.Close()
}

// threadTime returns what the goroutine's thread has used, in nanoseconds.
func threadTime(b *testing.B) int64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_THREAD, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
