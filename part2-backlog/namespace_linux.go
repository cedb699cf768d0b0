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

// netnsEnv is in the environment of the program that was started anew.
const netnsEnv = "SOCKET_UP_NAMESPACE"

// errNoNetns says what to do about it.
var errNoNetns = errors.New("this system does not give you a network namespace of your own: try as root, or in a virtual machine")

// netnsCommand is this program with args, to be started by startInNetns.
func netnsCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), netnsEnv+"=yes")
	return cmd
}

// inNewNetns does the rest of a verb in a network namespace of its own,
// where the kernel counts and sends nothing else: this program starts itself
// anew there, with the same flags. Where there is none to be had it does the
// rest here; own says which.
func inNewNetns(ctx context.Context, flags *flag.FlagSet, stdout io.Writer, rest func(own bool) error) error {
	if insideNetns() {
		if err := loopbackUp(); err != nil {
			os.Exit(exitNoNetwork)
		}
		return rest(true)
	}
	args := []string{flags.Name()}
	flags.Visit(func(f *flag.Flag) { args = append(args, "-"+f.Name+"="+f.Value.String()) })
	cmd := netnsCommand(ctx, args...)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = stdout, &stderr
	if err := startInNetns(cmd); err != nil {
		return rest(false)
	}
	var exit *exec.ExitError
	err := cmd.Wait()
	runtime.UnlockOSThread()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &exit) && exit.ExitCode() == exitNoNetwork:
		return rest(false)
	case errors.As(err, &exit):
		return errors.New(strings.TrimSpace(stderr.String()))
	default:
		return err
	}
}

const exitNoNetwork = 3 // exit status inside: there is a namespace, but nothing may be done in it

// startInNetns starts cmd in a network namespace of its own: as root straight
// away, otherwise inside a user namespace where the user plays root. It dies
// with this program, however that ends: Pdeathsig. The parent that it is about
// is a thread, to which the caller is bound from here on; the caller waits for cmd.
func startInNetns(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	if err := cmd.Start(); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("%w (%w)", errNoNetns, err)
	}
	return nil
}

func insideNetns() bool { return os.Getenv(netnsEnv) != "" }

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
		return fmt.Errorf("%w (loopback: %w)", errNoNetns, err)
	}
	return nil
}
