package backends

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// httpd is Apache's with mod_http2 and the event MPM. Its graceful restart is SIGUSR1.
func (b *Backend) startHttpd(o Options) error {
	program, modules, err := Httpd()
	if err != nil {
		return err
	}
	behind, err := b.forwardTo()
	if err != nil {
		return err
	}
	root, err := b.writeFiles()
	if err != nil {
		return err
	}
	if err := b.claim(); err != nil {
		return err
	}
	config, err := b.fill("httpd.conf", httpdConf,
		"{dir}", b.dir, "{root}", root, "{addr}", b.Addr, "{behind}", behind, "{modules}", modules, "{user}", HttpdUser(),
		"{streams}", strconv.Itoa(cmp.Or(o.Streams, 100)))
	if err != nil {
		return err
	}
	p, err := Run(b.dir, b.Addr, program, "-f", config, "-DFOREGROUND")
	if err != nil {
		return err
	}
	b.onClose(p.Stop)
	b.restart = func() error { return p.Process.Signal(syscall.SIGUSR1) }
	return nil
}

// Httpd finds Apache's program, and the directory of its modules.
func Httpd() (program, modules string, err error) {
	for _, name := range []string{"apache2", "httpd"} {
		if program, err = exec.LookPath(name); err == nil {
			break
		}
	}
	if err != nil {
		return "", "", fmt.Errorf("apache2 or httpd: %w", ErrMissing)
	}
	for _, modules := range []string{"/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/libexec/apache2"} {
		if _, err := os.Stat(filepath.Join(modules, "mod_http2.so")); err == nil {
			return program, modules, nil
		}
	}
	return "", "", fmt.Errorf("mod_http2 of %s: %w", program, ErrMissing)
}

// HttpdUser are the directives that it needs when root starts it.
func HttpdUser() string {
	if os.Geteuid() != 0 {
		return ""
	}
	return "User \"#65534\"\nGroup \"#65534\""
}

const httpdConf = `ServerRoot {dir}
DefaultRuntimeDir {dir}
PidFile {dir}/pid
Mutex file:{dir}
ErrorLog /dev/stderr
LogLevel warn
ServerName localhost
Listen {addr}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule dir_module {modules}/mod_dir.so
LoadModule http2_module {modules}/mod_http2.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
{user}
Protocols h2c http/1.1
H2Direct on
H2MaxSessionStreams {streams}
H2EarlyHints on
StartServers 1
ServerLimit 8
ThreadLimit 64
ThreadsPerChild 64
MaxRequestWorkers 512
MinSpareThreads 1
MaxSpareThreads 512
KeepAlive on
MaxKeepAliveRequests 0
DocumentRoot {root}
DirectoryIndex index.html
ProxyPass /echo http://{behind}/echo
ProxyPass /once/ http://{behind}/once/
ProxyPass /early http://{behind}/early
ProxyPass /sleep/ http://{behind}/sleep/
`
