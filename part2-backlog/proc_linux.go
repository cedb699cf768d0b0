package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A process is what /proc/PID/stat says of one: proc_pid_stat(5).
type process struct {
	pid, parent int
	name        string
	state       byte // R running, S sleeping, T stopped, Z zombie
}

// processes returns all processes, by PID.
func processes() map[int]process {
	all := map[int]process{}
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			if p, err := readProcess(pid); err == nil {
				all[pid] = p
			}
		}
	}
	return all
}

func readProcess(pid int) (process, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	open, end := strings.IndexByte(string(text), '('), strings.LastIndexByte(string(text), ')') // the last, because a name may contain parentheses
	fields := strings.Fields(string(text[end+1:]))
	if open < 0 || len(fields) < 2 {
		return process{}, fmt.Errorf("/proc/%d/stat: %q", pid, text)
	}
	parent, err := strconv.Atoi(fields[1])
	return process{pid, parent, string(text[open+1 : end]), fields[0][0]}, err
}

// descendants returns the children of pid, their children, and so on.
func descendants(pid int) (pids []int) {
	all := processes()
	for p := range all {
		for at := all[p].parent; at > 0; at = all[at].parent {
			if at == pid {
				pids = append(pids, p)
				break
			}
		}
	}
	return pids
}

// ancestors returns this process, its parent, and so on up to process 1.
func ancestors() map[int]bool {
	all, line := processes(), map[int]bool{1: true}
	for at := os.Getpid(); at > 0; at = all[at].parent {
		line[at] = true
	}
	return line
}

// socketInodes returns the inodes of the sockets that pid holds.
func socketInodes(pid int) (inodes map[int]bool, err error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	inodes = map[int]bool{}
	for _, entry := range entries {
		link, _ := os.Readlink(dir + "/" + entry.Name())
		var inode int
		if n, _ := fmt.Sscanf(link, "socket:[%d]", &inode); n == 1 {
			inodes[inode] = true
		}
	}
	return inodes, err
}

// socketHolders returns the processes that hold one of the sockets, except those whose
// descriptors this user may not read.
func socketHolders(of map[int]bool) (pids []int) {
	for pid := range processes() {
		held, _ := socketInodes(pid)
		for inode := range held {
			if of[inode] {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}

// stopAndWait stops pid with SIGSTOP, which no process can catch, and waits up to a
// second until it has stopped.
func stopAndWait(pid int) error {
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		return err
	}
	for until := time.Now().Add(time.Second); time.Now().Before(until); time.Sleep(time.Millisecond) {
		if p, err := readProcess(pid); err != nil || p.state != 'R' && p.state != 'S' && p.state != 'D' {
			return nil
		}
	}
	return errors.New("it does not stop: it may be waiting for a disk")
}
