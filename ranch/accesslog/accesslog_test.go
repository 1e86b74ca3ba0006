package accesslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"goranch/ranch"
)

var discard = slog.New(slog.DiscardHandler)

// messages is a logger that keeps messages.
type messages struct {
	mu  sync.Mutex
	all []string
}

func (m *messages) Enabled(context.Context, slog.Level) bool { return true }
func (m *messages) WithAttrs([]slog.Attr) slog.Handler       { return m }
func (m *messages) WithGroup(string) slog.Handler            { return m }
func (m *messages) Handle(_ context.Context, r slog.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, r.Level.String()+" "+r.Message)
	return nil
}

// disk is a writer that can be full or stuck.
type disk struct {
	mu    sync.Mutex
	got   bytes.Buffer
	room  int           // bytes; negative: no limit
	stuck chan struct{} // a write waits until it is closed; nil: none waits
}

var errFull = errors.New("no space left on device")

func (d *disk) Write(p []byte) (int, error) {
	d.mu.Lock()
	stuck := d.stuck
	d.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(p)
	if d.room >= 0 {
		n = min(n, d.room)
		d.room -= n
	}
	d.got.Write(p[:n])
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

func (d *disk) setRoom(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room = n
}

func (d *disk) lines() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Split(strings.TrimSuffix(d.got.String(), "\n"), "\n")
}

func newLog(t testing.TB, w *disk, o Options) *Log {
	t.Helper()
	l, err := New(w, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func closeLog(t testing.TB, l *Log) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := l.Close(ctx); err != nil {
		t.Errorf("Close: got %v, want nil", err)
	}
}

// numbered returns the listener of line i of a test.
func numbered(i int) string { return fmt.Sprintf("line %04d", i) }

// lineEvent returns the event of addLines. All calls share its connection, because the length of a
// line depends on the id.
func lineEvent(t testing.TB) ranch.Event {
	t.Helper()
	sharedEvent.once.Do(func() { sharedEvent.e = testEvent(t, tcpAddr(t, "192.0.2.1:5")) })
	return sharedEvent.e
}

var sharedEvent struct {
	once sync.Once
	e    ranch.Event
}

// addLines queues the lines from to to-1, which have the same length. Their listener is their
// number.
func addLines(t testing.TB, l *Log, from, to int) {
	t.Helper()
	e := lineEvent(t)
	for i := from; i < to; i++ {
		e.Ref = numbered(i)
		l.record(&e)
	}
}

// lineBytes is the length of the lines of addLines.
func lineBytes(t testing.TB) int {
	t.Helper()
	e := lineEvent(t)
	e.Ref = numbered(0)
	return len(lineOf(&e, testTime))
}

func wantLines(t *testing.T, lines []string, from, to int) {
	t.Helper()
	var got, want []string
	for _, line := range lines {
		got = append(got, decode(t, []byte(line)).Listener)
	}
	for i := from; i < to; i++ {
		want = append(want, numbered(i))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// While the disk is full, lines wait; one line is cut where the room has ended, and then repeated.
// The episode is reported once.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(messages)
		bytes := lineBytes(t)
		d := &disk{room: 2*bytes + 5}
		l := newLog(t, d, Options{Logger: slog.New(log)})
		addLines(t, l, 0, 5)
		time.Sleep(2 * batchTime) // the first line may be written before the others are there
		synctest.Wait()
		if got := d.lines(); len(got) != 3 || got[2] != got[0][:5] {
			t.Errorf("full disk: got %q, want two lines and 5 bytes", got)
		} else {
			wantLines(t, got[:2], 0, 2)
		}
		addLines(t, l, 5, 8)
		time.Sleep(time.Minute)
		d.setRoom(1) // for the line feed after the incomplete line only
		time.Sleep(time.Minute)
		d.setRoom(-1)
		time.Sleep(2 * time.Second)
		addLines(t, l, 8, 10)
		time.Sleep(2 * batchTime)
		synctest.Wait()
		got := d.lines()
		wantLines(t, append(got[:2:2], got[3:]...), 0, 10)
		if st := l.Stats(); st.Lines != 10 || st.Dropped != 0 || st.Errors < 100 || st.Errors > 130 {
			t.Errorf("got %+v, want 10 lines, none dropped, and an error each second", st)
		}
		closeLog(t, l)
		want := []string{"WARN the access log cannot be written; lines are kept in memory", "INFO the access log can be written again"}
		if diff := cmp.Diff(want, log.all); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
	})
}

// A line for which there is no room is dropped and counted, and no call waits for the disk.
func TestStuckDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(messages)
		d := &disk{room: -1, stuck: make(chan struct{})}
		l := newLog(t, d, Options{Logger: slog.New(log), MaxBytes: minBytes})
		addLines(t, l, 0, 1)
		synctest.Wait()
		addLines(t, l, 1, 10_000)
		synctest.Wait()
		const limit = minBytes / entryBytes
		if st := l.Stats(); st.Dropped != 10_000-limit || st.Lines != 0 {
			t.Errorf("got %+v, want %d dropped and none written", st, 10_000-limit)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		close(d.stuck)
		synctest.Wait()
		wantLines(t, d.lines(), 0, limit)
		time.Sleep(2 * time.Second)
		addLines(t, l, limit, limit+1)
		synctest.Wait()
		want := []string{"WARN access log lines are dropped: writes are too slow", "INFO the access log can be written again"}
		if diff := cmp.Diff(want, log.all); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
		d.stuck = make(chan struct{})
		addLines(t, l, limit+1, limit+3)
		if err := l.Close(ctx); err != context.DeadlineExceeded {
			t.Errorf("Close of a stuck log: got %v, want %v", err, context.DeadlineExceeded)
		}
		close(d.stuck)
		closeLog(t, l)
		addLines(t, l, limit+3, limit+4)
		wantLines(t, d.lines(), 0, limit+3)
		if st := l.Stats(); st.Lines != limit+3 || st.Dropped != 10_000-limit+1 {
			t.Errorf("after Close: got %+v, want %d lines and one more dropped", st, limit+3)
		}
	})
}

// A log that is closed while its disk is full counts what it could not write.
func TestCloseWhileFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{room: lineBytes(t) + 5}
		l := newLog(t, d, Options{Logger: discard})
		addLines(t, l, 0, 3)
		synctest.Wait()
		addLines(t, l, 3, 5)
		closeLog(t, l)
		if st := l.Stats(); st.Lines != 1 || st.Dropped != 4 {
			t.Errorf("got %+v, want 1 line and 4 dropped", st)
		}
	})
}

func openLog(t *testing.T, path string, o Options) *Log {
	t.Helper()
	o.Logger = discard
	l, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// fileLines returns the lines of a file when there are n.
func fileLines(t *testing.T, path string, n int) []string {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; <-time.After(time.Millisecond) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Count(b, []byte("\n")) >= n {
			return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
		}
		if time.Now().After(end) {
			t.Fatalf("%s: got %q, want %d lines", path, b, n)
		}
	}
}

// After the file was renamed, Reopen continues in a new one, without a lost line. If it fails, the
// old one is used.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	path, old := filepath.Join(dir, "access.log"), filepath.Join(dir, "access.log.1")
	if err := os.WriteFile(path, []byte(`{"listener":"`+numbered(0)+"\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := openLog(t, path, Options{})
	addLines(t, l, 1, 3)
	wantLines(t, fileLines(t, path, 3), 0, 3)
	if err := os.Rename(path, old); err != nil {
		t.Fatal(err)
	}
	addLines(t, l, 3, 4)
	wantLines(t, fileLines(t, old, 4), 0, 4)
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	addLines(t, l, 4, 6)
	wantLines(t, fileLines(t, path, 2), 4, 6)
	if err := os.Rename(path, old); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err == nil {
		t.Error("Reopen of a directory: got no error")
	}
	addLines(t, l, 6, 7)
	closeLog(t, l)
	wantLines(t, fileLines(t, old, 3), 4, 7)
	if st := l.Stats(); st.Dropped != 0 || st.Errors != 0 || st.Lines != 6 {
		t.Errorf("got %+v, want 6 lines and no fault", st)
	}
}

// Lines written during many renames are each in exactly one file.
func TestReopenUnderLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "access.log")
	const n, rounds = 20_000, 50
	l := openLog(t, path, Options{MaxBytes: n * entryBytes})
	done := make(chan struct{})
	go func() {
		defer close(done)
		addLines(t, l, 0, n)
	}()
	var files []string
	for i := range rounds {
		old := fmt.Sprint(path, ".", i)
		if err := os.Rename(path, old); err != nil {
			t.Fatal(err)
		}
		files = append(files, old)
		if err := l.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	<-done
	closeLog(t, l)
	var got []string
	for _, f := range append(files, path) {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		got = slices.AppendSeq(got, strings.Lines(string(b)))
	}
	wantLines(t, got, 0, n)
}

func TestBadOptions(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct {
		path string
		o    Options
		want string
	}{
		{filepath.Join(dir, "a"), Options{MaxBytes: -1}, "MaxBytes -1: allowed are numbers from 65536"},
		{filepath.Join(dir, "a"), Options{MaxBytes: 1000}, "MaxBytes 1000"},
		{filepath.Join(dir, "a"), Options{Mode: fs.ModeDir | 0o700}, "allowed are permissions"},
		{dir, Options{}, "access log: "},
		{filepath.Join(dir, "missing", "a"), Options{}, "missing"},
		{"", Options{}, "access log: open"},
	} {
		l, err := Open(tc.path, tc.o)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Open(%q, %+v): got %v, want an error with %q", tc.path, tc.o, err, tc.want)
		}
		if l != nil {
			closeLog(t, l)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("got %v, want no file", entries)
	}
}

// A line costs no allocation in the goroutine of the connection once the queue has its size.
func TestObserveAllocates(t *testing.T) {
	d := &disk{room: 0}
	l := newLog(t, d, Options{Logger: discard})
	defer closeLog(t, l)
	e := testEvent(t, tcpAddr(t, "192.0.2.1:5"))
	for range 10_000 {
		l.Observe(e) // until it drops lines
	}
	if n := testing.AllocsPerRun(1000, func() { l.Observe(e) }); n > 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
	l.Observe(ranch.Event{Kind: ranch.ConnStarted, Conn: e.Conn})
}

// badAddr is an address of a user's transport that panics.
type badAddr struct{ net.Addr }

func (badAddr) String() string { panic("test panic") }

// A panic while a line is formatted costs that line only.
func TestAddressPanics(t *testing.T) {
	log := new(messages)
	d := &disk{room: -1}
	l := newLog(t, d, Options{Logger: slog.New(log)})
	addLines(t, l, 0, 1)
	bad := testEvent(t, badAddr{})
	l.record(&bad)
	addLines(t, l, 1, 2)
	closeLog(t, l)
	wantLines(t, d.lines(), 0, 2)
	if st := l.Stats(); st.Lines != 2 || st.Dropped != 1 {
		t.Errorf("got %+v, want 2 lines and 1 dropped", st)
	}
	if want := "ERROR a line of the access log cannot be formatted"; len(log.all) == 0 || log.all[0] != want {
		t.Errorf("got messages %q, want %q", log.all, want)
	}
}

// BenchmarkObserve is the cost of a line in the goroutine of a connection and in the one that
// writes.
func BenchmarkObserve(b *testing.B) {
	l, err := New(io.Discard, Options{Logger: discard})
	if err != nil {
		b.Fatal(err)
	}
	defer closeLog(b, l)
	e := testEvent(b, tcpAddr(b, "192.0.2.1:5"))
	b.ReportAllocs()
	for i := range b.N {
		l.Observe(e)
		if i%batchLines == 0 {
			runtime.Gosched()
		}
	}
	b.ReportMetric(float64(l.Stats().Dropped)/float64(b.N), "dropped/op")
}
