package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A network namespace is a network stack of one's own: own loopback, own ports,
// own sysctls, own counters, no other traffic. An ordinary user gets one inside
// a user namespace, where systems allow that. A Go program has threads and
// cannot move itself into a user namespace, so it starts itself anew in one.

// insideMark is in the environment of the program that was started anew.
const insideMark = "SOCKET_UP_NAMESPACE"

// errNoNamespace says what to do about it.
var errNoNamespace = errors.New("this system does not give you a network namespace of your own: try as root, or in a virtual machine")

// inNamespace is this program with args, to be started by startAlone.
func inNamespace(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), insideMark+"=yes")
	return cmd
}

// withOwnNetwork does the rest of a verb in a network namespace of its own,
// where the kernel counts and sends nothing else: this program starts itself
// anew there, with the same flags. Where there is none to be had it does the
// rest here; own says which.
func withOwnNetwork(ctx context.Context, flags *flag.FlagSet, stdout io.Writer, rest func(own bool) error) error {
	if insideNamespace() {
		if err := loopbackUp(); err != nil {
			os.Exit(noNetwork)
		}
		return rest(true)
	}
	args := []string{flags.Name()}
	flags.Visit(func(f *flag.Flag) { args = append(args, "-"+f.Name+"="+f.Value.String()) })
	cmd := inNamespace(ctx, args...)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = stdout, &stderr
	if err := startAlone(cmd); err != nil {
		return rest(false)
	}
	var exit *exec.ExitError
	err := cmd.Wait()
	runtime.UnlockOSThread()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &exit) && exit.ExitCode() == noNetwork:
		return rest(false)
	case errors.As(err, &exit):
		return errors.New(strings.TrimSpace(stderr.String()))
	default:
		return err
	}
}

const noNetwork = 3 // exit status inside: there is a namespace, but nothing may be done in it

// startAlone starts cmd in a network namespace of its own: as root straight
// away, otherwise inside a user namespace where the user plays root. It dies
// with this program, however that ends: Pdeathsig. The parent that it is about
// is a thread, to which the caller is bound from here on; the caller waits for cmd.
func startAlone(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	if err := cmd.Start(); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("%w (%w)", errNoNamespace, err)
	}
	return nil
}

func insideNamespace() bool { return os.Getenv(insideMark) != "" }

// loopbackUp switches the loopback on: in a new namespace it is down.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("%w (loopback: %w)", errNoNamespace, err)
	}
	return nil
}
