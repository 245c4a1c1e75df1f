package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
)

// Run talks to the service manager that has started this process, and returns
// when the service has ended. body is the service: it ends with its context, and
// returns the exit status that the service manager is told, 0 for well.
//
// Running is reported before body begins: what a start takes is no concern of
// the service manager, which gives up on a slow one.
func Run(ctx context.Context, body func(context.Context, *Host) int) error {
	// Signals are for consoles. The one that a user's logging off sends to every
	// process must not end a service.
	m := &manager{ctx: context.WithoutCancel(ctx), body: body, host: &Host{
		Data: dataDir(), reload: make(chan struct{}, 1), woken: make(chan struct{}, 1),
	}}
	signal.Reset(os.Interrupt, syscall.SIGTERM)
	errs := openErrors(filepath.Join(m.host.Data, logsFolder))
	defer errs.Close()
	m.host.Errors = errs
	m.host.events = newTeller(toEventLog(), errs)
	os.Chdir(m.host.Data) // System32 until then; a path that leads nowhere is told by who uses it
	err := svc.Run(serviceName, m)
	if errors.Is(err, windows.ERROR_FAILED_SERVICE_CONTROLLER_CONNECT) {
		return errors.New("serve --service is for the service manager, which did not start this process: use dynproxy service start, or dynproxy serve")
	}
	return err
}

const (
	logsFolder = "logs"
	errorsFile = "service.log"
	begins     = " begins" // ends the line with which each process starts
)

// mostErrors is the size from which the file of errors is begun anew.
const mostErrors = 1 << 20

// openErrors opens the file that takes what a console would: why a start has
// failed, and the trace of a crash.
func openErrors(dir string) *os.File {
	path := filepath.Join(dir, errorsFile)
	flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND
	if info, err := os.Stat(path); err == nil && info.Size() > mostErrors {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return os.Stderr // of which nobody hears; the event log is told all the same
	}
	debug.SetCrashOutput(f, debug.CrashOptions{})
	fmt.Fprintf(f, "%s process %d%s\n", time.Now().Format(time.RFC3339), os.Getpid(), begins)
	return f
}

// manager is svc.Handler.
type manager struct {
	ctx  context.Context
	body func(context.Context, *Host) int
	host *Host
}

const (
	always = svc.AcceptStop | svc.AcceptShutdown | svc.AcceptPreShutdown

	// whileServing tells others that the start is over, too: see Start.
	whileServing = always | svc.AcceptParamChange

	pendingEvery = 2 * time.Second // a sign of progress while the service ends
	pendingHint  = 10 * time.Second
)

// Execute is svc.Handler's.
func (m *manager) Execute(_ []string, asked <-chan svc.ChangeRequest, tell chan<- svc.Status) (specific bool, exitCode uint32) {
	tell <- svc.Status{State: svc.Running, Accepts: always}
	ctx, stop := context.WithCancel(m.ctx)
	defer stop()
	ended := make(chan int, 1)
	go func() {
		code := m.body(ctx, m.host)
		m.host.events.close() // the process may go when the service manager knows
		ended <- code
	}()

	progress := time.NewTicker(pendingEvery)
	defer progress.Stop()
	ending := uint32(0) // signs of progress since the service was told to end
	pending := func() {
		ending++
		tell <- svc.Status{State: svc.StopPending, CheckPoint: ending, WaitHint: uint32(pendingHint.Milliseconds())}
	}
	for {
		select {
		case code := <-ended:
			return code != 0, uint32(code)
		case <-m.host.woken:
			if ending == 0 {
				tell <- svc.Status{State: svc.Running, Accepts: whileServing}
			}
		case <-progress.C:
			if ending > 0 {
				pending()
			}
		case c := <-asked:
			switch c.Cmd {
			case svc.Interrogate:
				tell <- c.CurrentStatus
			case svc.ParamChange:
				nudge(m.host.reload)
			case svc.Stop, svc.Shutdown, svc.PreShutdown:
				stop()
				pending()
			}
		}
	}
}
