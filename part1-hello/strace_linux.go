package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A tracer runs a program under ptrace(2) and reports every system call that it makes
// on a socket, as strace(1) does, for the dozen calls of a server.
type tracer struct {
	onCall       func(at time.Time, call string)
	pid          int
	inFlight     map[int]*tracedCall // by thread ID: the call the thread is in
	sockets      map[uint64]bool     // open descriptors that are sockets
	lastReported string              // to suppress repetitions
	err          error
}

// A tracedCall is a system call that has been entered and has not returned.
type tracedCall struct {
	nr   uint64
	args [6]uint64
	at   time.Time
}

// strace runs argv with its standard output connected to stdout, calls see for each
// call on a socket, and returns when the program has ended; when ctx is done, it sends
// SIGTERM. accept4 and read have the time at which they returned, other calls the time
// at which they were entered, because that is when they take effect. If the system
// forbids ptrace, or is older than Linux 5.3, the error says so.
func strace(ctx context.Context, argv []string, stdout *os.File, see func(at time.Time, call string)) error {
	runtime.LockOSThread() // the kernel takes ptrace requests from one thread only
	defer runtime.UnlockOSThread()
	p, err := os.StartProcess(argv[0], argv, &os.ProcAttr{
		Files: []*os.File{nil, stdout, nil},
		Sys:   &syscall.SysProcAttr{Ptrace: true},
	})
	if err != nil {
		return fmt.Errorf("cannot trace: %w", err)
	}
	defer p.Release()
	defer context.AfterFunc(ctx, func() { p.Signal(syscall.SIGTERM) })()
	t := tracer{onCall: see, pid: p.Pid, inFlight: map[int]*tracedCall{}, sockets: map[uint64]bool{}}
	if err := t.run(); err != nil {
		return fmt.Errorf("cannot trace: %w", err)
	}
	return nil
}

// run resumes the traced program after each ptrace stop, until it ends.
func (t *tracer) run() error {
	var status unix.WaitStatus
	if _, err := unix.Wait4(t.pid, &status, unix.WALL, nil); err != nil { // the program stops at its first instruction
		return err
	}
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(t.pid, options); err != nil {
		return err
	}
	for tid := t.pid; ; {
		unix.PtraceSyscall(tid, t.handleStop(tid, status))
		var err error
		for tid, err = unix.Wait4(-1, &status, unix.WALL, nil); !status.Stopped(); tid, err = unix.Wait4(-1, &status, unix.WALL, nil) {
			if err != nil || tid == t.pid {
				return cmp.Or(err, t.err)
			}
		}
	}
}

// handleStop handles a thread's stop and returns the signal to deliver to the thread
// when it resumes, or 0.
func (t *tracer) handleStop(tid int, status unix.WaitStatus) int {
	switch signal := status.StopSignal(); signal {
	case unix.SIGTRAP | 0x80: // PTRACE_O_TRACESYSGOOD: a system call begins or ends
		t.syscall(tid)
		return 0
	case unix.SIGTRAP, unix.SIGSTOP: // the exec, a clone, and the new thread's first stop
		return 0
	default:
		return int(signal)
	}
}

// A syscallInfo is struct ptrace_syscall_info of ptrace(2), the same on every
// architecture since Linux 5.3.
type syscallInfo struct {
	op   uint8 // 1: entry to a system call, 2: exit from it
	_    [23]byte
	data [8]uint64 // at entry: number and arguments; at exit: the result
}

// syscall records the entry to a system call, and reports the call at its exit.
func (t *tracer) syscall(tid int) {
	const getSyscallInfo = 0x420e
	var info syscallInfo
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, getSyscallInfo, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno == unix.ESRCH {
		return // another thread has ended the process meanwhile
	} else if errno != 0 {
		t.err = fmt.Errorf("PTRACE_GET_SYSCALL_INFO: %w", errno)
		return
	}
	if info.op == 1 {
		t.inFlight[tid] = &tracedCall{nr: info.data[0], args: [6]uint64(info.data[1:7]), at: time.Now()}
	} else if c := t.inFlight[tid]; c != nil && info.op == 2 {
		delete(t.inFlight, tid)
		t.report(c, int64(info.data[0]))
	}
}

func (t *tracer) report(c *tracedCall, result int64) {
	opens := c.nr == unix.SYS_SOCKET || c.nr == unix.SYS_ACCEPT4
	if opens && result >= 0 {
		t.sockets[uint64(result)] = true
	}
	if c.nr != unix.SYS_SOCKET && !t.sockets[c.args[0]] {
		return // a file, or an argument that is no descriptor
	}
	text := t.format(c, result)
	if text == "" {
		return
	}
	if c.nr == unix.SYS_CLOSE {
		delete(t.sockets, c.args[0])
	}
	outcome := fmt.Sprint(result)
	if result < 0 {
		outcome = unix.ErrnoName(unix.Errno(-result))
	}
	at := c.at
	if c.nr == unix.SYS_ACCEPT4 || c.nr == unix.SYS_READ {
		at = time.Now()
	}
	if line := text + " = " + outcome; line != t.lastReported { // a call that times out repeatedly is reported once
		t.lastReported = line
		t.onCall(at, line)
	}
}

// format renders a call as its man page writes it, or returns "" for one that the
// demo does not show.
func (t *tracer) format(c *tracedCall, result int64) string {
	fd := c.args[0]
	switch c.nr {
	case unix.SYS_SOCKET:
		families := map[uint64]string{unix.AF_INET: "AF_INET", unix.AF_INET6: "AF_INET6"}
		return fmt.Sprintf("socket(%s, SOCK_STREAM|SOCK_CLOEXEC)", families[c.args[0]])
	case unix.SYS_SETSOCKOPT:
		options := map[uint64]string{unix.SO_REUSEADDR: "SO_REUSEADDR", unix.SO_RCVTIMEO: "SO_RCVTIMEO"}
		return fmt.Sprintf("setsockopt(%d, %s)", fd, options[c.args[2]])
	case unix.SYS_BIND:
		return fmt.Sprintf("bind(%d, port %d)", fd, binary.BigEndian.Uint16(t.readMemory(c.args[1]+2, 2)))
	case unix.SYS_LISTEN:
		return fmt.Sprintf("listen(%d, %d)", fd, c.args[1])
	case unix.SYS_ACCEPT4:
		return fmt.Sprintf("accept4(%d, SOCK_CLOEXEC)", fd)
	case unix.SYS_READ:
		return fmt.Sprintf("read(%d, %s)", fd, t.quote(c.args[1], result))
	case unix.SYS_WRITE:
		return fmt.Sprintf("write(%d, %s)", fd, t.quote(c.args[1], int64(c.args[2])))
	case unix.SYS_SHUTDOWN:
		return fmt.Sprintf("shutdown(%d, %s)", fd, []string{"SHUT_RD", "SHUT_WR", "SHUT_RDWR"}[c.args[1]%3])
	case unix.SYS_FCNTL:
		if c.args[1] == unix.F_SETFL {
			return fmt.Sprintf("fcntl(%d, F_SETFL, O_NONBLOCK)", fd)
		}
	case unix.SYS_CLOSE:
		return fmt.Sprintf("close(%d)", fd)
	}
	return ""
}

// quote quotes the first 32 of the n bytes at addr in the traced program.
func (t *tracer) quote(addr uint64, n int64) string {
	const shown = 32
	if n <= 0 {
		return `""`
	}
	text := fmt.Sprintf("%q", t.readMemory(addr, min(n, shown)))
	if n > shown {
		text += "..."
	}
	return text
}

// readMemory copies n bytes at addr from the traced program; bytes that it cannot
// read are zero.
func (t *tracer) readMemory(addr uint64, n int64) []byte {
	buf := make([]byte, n)
	local := []unix.Iovec{{Base: &buf[0], Len: uint64(n)}}
	unix.ProcessVMReadv(t.pid, local, []unix.RemoteIovec{{Base: uintptr(addr), Len: int(n)}}, 0)
	return buf
}
