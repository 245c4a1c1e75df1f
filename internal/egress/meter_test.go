package egress

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// What the other side had is known by its goodbye: of what was written behind
// that, nothing arrived. A reset tells nothing.
func TestAGoodbyeTellsWhatArrived(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for name, goodbye := range map[string]bool{"goodbye": true, "reset": false} {
		ours, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer ours.Close()
		theirs, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		m := &meter{Conn: ours, patience: new(atomic.Pointer[Patience])}
		m.patience.Store(new(Patience))
		m.acked.Store(-1)
		want := int64(len("late"))
		if goodbye {
			theirs.Close()
			for peek := newPeeker(ours); !peek.closed(); {
				time.Sleep(time.Millisecond)
			}
			if ackedBytes(ours) >= 0 { // else it is not known here
				want = 0
			}
		}
		io.WriteString(m, "late")
		if !goodbye {
			io.ReadFull(theirs, make([]byte, len("late")))
			theirs.(*net.TCPConn).SetLinger(0)
			theirs.Close()
		}
		if _, err := m.Read(make([]byte, 1)); (err == io.EOF) != goodbye {
			t.Errorf("%s: %v", name, err)
		}
		if got := m.delivered(0); got != want {
			t.Errorf("%s: %d bytes may have arrived, not %d", name, got, want)
		}
	}
}
