package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A helper plays the part of a program notes that is killed while a command
// runs in the background. What the command started must not outlive it.
func TestNoCommandOutlivesTheProgram(t *testing.T) {
	if os.Getenv("BE_KILLED") != "" {
		r, err := findRepo(t.Context(), ".")
		if err != nil {
			t.Fatal(err)
		}
		first, err := (&shell{repo: r}).start("sleep 1000 & echo $!; wait")
		fmt.Println("started", strings.TrimSpace(first), err)
		time.Sleep(time.Minute)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "BE_KILLED=yes")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() }).Stop()
	var pid int
	if _, err := fmt.Fscanf(stdout, "started %d <nil>", &pid); err != nil {
		t.Fatal("the helper has started nothing: ", err)
	}

	cmd.Process.Kill()
	cmd.Wait()

	for end := time.Now().Add(10 * time.Second); syscall.Kill(pid, 0) == nil && !zombie(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("process %d outlived the program that started it. shell.go, leash", pid)
		}
	}
}

// zombie says whether pid has ended, and init has not looked yet.
func zombie(pid int) bool {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return strings.Contains(string(stat), ") Z ")
}
