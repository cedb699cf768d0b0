package server

import "golang.org/x/sys/unix"

// unsentBytes is how many bytes the kernel has not sent yet (ioctl SIOCOUTQNSD).
func unsentBytes(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQNSD)
	if err != nil {
		return 1 << 30
	}
	return n
}
