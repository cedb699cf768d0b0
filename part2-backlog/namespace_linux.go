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

// A network namespace is a separate network stack, with its own loopback, ports,
// sysctls and counters, and no other traffic. An ordinary user can create one inside
// a user namespace, if the system allows that. A Go program has threads and cannot
// move itself into a user namespace, so this program starts a copy of itself in one.

// netnsEnv is set in the environment of that copy.
const netnsEnv = "SOCKET_UP_NAMESPACE"

// errNoNetns is wrapped by the error of everything that needs a network namespace.
var errNoNetns = errors.New("this system does not give you a network namespace of your own: try as root, or in a virtual machine")

// netnsCommand returns the command that runs this program with args, for startInNetns.
func netnsCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), netnsEnv+"=yes")
	return cmd
}

// inNewNetns runs the rest of a verb in a new network namespace, where the kernel
// counts and sends nothing else: it starts a copy of this program there, with the
// same flags. If it cannot, it runs the rest here. own tells the rest which.
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

const exitNoNetwork = 3 // exit status of the copy if it may not bring up the loopback in its namespace

// startInNetns starts cmd in a new network namespace: as root directly, otherwise
// inside a new user namespace in which the user is root. Pdeathsig kills cmd when this
// program ends, for whatever reason. The kernel sends it when the parent thread ends, so
// startInNetns locks the caller to its thread, and the caller unlocks it once cmd has
// ended.
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

// loopbackUp brings up the loopback interface, which is down in a new namespace.
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
