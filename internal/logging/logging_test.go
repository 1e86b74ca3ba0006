package logging_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"goranch/internal/logging"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stuck is a writer whose reader reads when it is told to.
type stuck struct {
	proceed chan struct{}
	mu      sync.Mutex
	got     bytes.Buffer
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.proceed
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.Write(p)
}

func (s *stuck) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.String()
}

func TestQueueDropsWhatNothingReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &stuck{proceed: make(chan struct{})}
		q := logging.NewQueue(w, 100, func(n uint64) []byte { return fmt.Appendf(nil, "dropped %d\n", n) })
		line := []byte(strings.Repeat("x", 29) + "\n")
		for range 10 {
			if n, err := q.Write(line); n != len(line) || err != nil {
				t.Errorf("Write: got %d, %v, want %d and no error", n, err, len(line))
			}
		}
		line[0] = 'y' // it is not retained
		synctest.Wait()
		if n := q.Dropped(); n != 7 {
			t.Errorf("got %d dropped, want 7", n)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := q.Close(short); err != context.DeadlineExceeded {
			t.Errorf("Close of a stuck queue: got %v, want %v", err, context.DeadlineExceeded)
		}
		close(w.proceed)
		if err := q.Close(t.Context()); err != nil {
			t.Errorf("Close: got %v, want nil", err)
		}
		want := strings.Repeat(strings.Repeat("x", 29)+"\n", 3) + "dropped 7\n"
		if diff := cmp.Diff(want, w.String()); diff != "" {
			t.Errorf("written (-want +got):\n%s", diff)
		}
		q.Write(line)
		if n := q.Dropped(); n != 8 {
			t.Errorf("after Close: got %d dropped, want 8", n)
		}
	})
}

func TestQueueKeepsTheOrder(t *testing.T) {
	var got bytes.Buffer
	q := logging.NewQueue(&got, 0, nil)
	var want strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(q, "%d\n", i)
		fmt.Fprintf(&want, "%d\n", i)
	}
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got.String() != want.String() {
		t.Errorf("got %d bytes, want %d in the same order", got.Len(), want.Len())
	}
}

func TestSampler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got bytes.Buffer
		text := slog.NewTextHandler(&got, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})
		log := slog.New(logging.NewSampler(text, 2, time.Second, "reason"))
		for i := range 5 {
			log.Warn("ended", "reason", "failed", "conn", i)
		}
		log.Warn("ended", "reason", "panicked")
		log.Info("ended", "reason", "failed")
		time.Sleep(500 * time.Millisecond)
		log.With("a", 1).Warn("ended", "reason", "failed") // in the same period
		time.Sleep(time.Second)                            // the period ends, without another record
		synctest.Wait()
		for range 3 {
			log.Warn("ended", "reason", "failed")
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		want := `level=WARN msg=ended reason=failed conn=0
level=WARN msg=ended reason=failed conn=1
level=WARN msg=ended reason=panicked
level=INFO msg=ended reason=failed
level=WARN msg=ended a=1 suppressed=4
level=WARN msg=ended reason=failed
level=WARN msg=ended reason=failed
level=WARN msg=ended suppressed=1
`
		if diff := cmp.Diff(want, got.String()); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

func Example() {
	q := logging.NewQueue(io.Discard, 0, nil)
	defer q.Close(context.Background())
	log := slog.New(logging.NewSampler(slog.NewJSONHandler(q, nil), 10, time.Second, "listener", "reason"))
	log.Warn("connection ended", "listener", "shell", "reason", "failed")
	fmt.Println(q.Dropped())
	// Output: 0
}
