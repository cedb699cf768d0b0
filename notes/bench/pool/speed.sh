#!/bin/sh
# Races part 4's client and gateway against their peers: what is measured on one
# core, the server and the load on the other, in turns, medians of the turns.
# Beside calls per second stands the CPU time of one, which a busy machine
# disturbs less; both with their ratio to the first row, more is better.
# Needs two cores, Go, taskset; nginx and HAProxy take part if they are installed.
#
#   notes/bench/pool/speed.sh [TURNS]        default: 5
set -eu
turns=${1:-5}
root=$(cd "$(dirname "$0")/../../.." && pwd)
work=$(mktemp -d)
pids=
trap 'kill $pids 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

go -C "$root" build -o "$work/part3" ./part3-pipelining
go -C "$root" build -o "$work/part4" ./part4-pooling
go -C "$root/notes" build -o "$work/bench" ./bench
go -C "$root/notes" build -o "$work/pool" ./bench/pool

run() { # CORE COMMAND...
	core=$1
	shift
	GOMAXPROCS=1 taskset -c "$core" "$@" >/dev/null 2>>"$work/log" &
	pids="$pids $!" last=$!
}
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
table() { # FIRST...: medians of the files of these names, and how they stand to the first
	base=$(median <"$work/$1.n") baseCPU=$(median <"$work/$1.c")
	for name; do
		[ -s "$work/$name.n" ] || continue
		echo "$name $(median <"$work/$name.n") $base $(median <"$work/$name.c") $baseCPU" |
			awk '{ printf "  %-12s %8d per second  %.2f    %6d ns of CPU  %.2f\n", $1, $2, $2 / $3, $4, $5 / $4 }'
	done
}
note() { # NAME: keeps calls per second and CPU time
	awk -v n="$work/$1" '{ print $1 >>(n ".n"); print ($8 != "" ? $8 : $2) >>(n ".c") }'
}

back=127.0.0.1:18600
parallel=127.0.0.1:18607
run 1 "$work/bench" limit $back
run 1 "$work/part3" serve -addr $parallel
sleep 1

for callers in 1 64 256; do
	rm -f "$work"/*.n "$work"/*.c
	i=0
	while [ $i -lt "$turns" ]; do
		i=$((i + 1))
		GOMAXPROCS=1 taskset -c 0 "$work/part4" get -callers $callers -for 1s http://$back/ | note part4
		GOMAXPROCS=1 taskset -c 0 "$work/pool" client fasthttp $back $callers 1s | note fasthttp
		GOMAXPROCS=1 taskset -c 0 "$work/pool" client nethttp $back $callers 1s | note nethttp
	done
	echo "client, $callers callers, at most 32 connections; ratio to fasthttp's HostClient:"
	table fasthttp part4 nethttp
done

rm -f "$work"/*.n "$work"/*.c
i=0
while [ $i -lt "$turns" ]; do
	i=$((i + 1))
	GOMAXPROCS=1 taskset -c 0 "$work/part4" get -callers 64 -one -for 1s http://$parallel/ | note one
	GOMAXPROCS=1 taskset -c 0 "$work/part4" get -callers 64 -for 1s http://$parallel/ | note pool
	GOMAXPROCS=1 taskset -c 0 "$work/pool" client fasthttp $parallel 64 1s | note fasthttp
	GOMAXPROCS=1 taskset -c 0 "$work/pool" client fasthttp1 $parallel 64 1s | note fasthttp1
	GOMAXPROCS=1 taskset -c 0 "$work/pool" client fasthttpline $parallel 64 1s | note fasthttpline
	GOMAXPROCS=1 taskset -c 0 "$work/pool" client nethttp $parallel 64 1s | note nethttp
done
echo "client, 64 callers, part 3's server: one connection and futures; pools of 32; fasthttp1 and fasthttpline with one connection, the latter pipelined; ratio to fasthttp's HostClient:"
table fasthttp one pool nethttp fasthttp1 fasthttpline

cat >"$work/haproxy.cfg" <<HAPROXY
global
 nbthread 1
defaults
 mode http
 timeout client 30s
 timeout server 30s
 timeout connect 1s
 http-reuse always
frontend f
 bind 127.0.0.1:18604
 option forwardfor
 default_backend b
backend b
 server s $back pool-max-conn 32
HAPROXY
cat >"$work/nginx.conf" <<NGINX
worker_processes 1;
daemon off;
pid $work/nginx.pid;
error_log stderr crit;
events { worker_connections 4096; }
http {
	access_log off;
	keepalive_requests 1000000000;
	upstream b { server $back; keepalive 32; keepalive_requests 1000000000; }
	server { listen 127.0.0.1:18605; location / { proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection "";
		proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for; } }
}
NGINX
run 0 "$work/part4" serve -addr 127.0.0.1:18601 -backend http://$back
pid_part4=$last
run 0 "$work/part4" serve -addr 127.0.0.1:18606 -engine http://$back
pid_engine=$last
run 0 "$work/pool" gateway fasthttp 127.0.0.1:18602 $back
pid_fasthttp=$last
run 0 "$work/pool" gateway nethttp 127.0.0.1:18603 $back
pid_nethttp=$last
names="part4:18601 engine:18606 fasthttp:18602 nethttp:18603"
if command -v haproxy >/dev/null; then
	run 0 haproxy -db -f "$work/haproxy.cfg"
	pid_haproxy=$last
	names="$names haproxy:18604"
fi
if command -v nginx >/dev/null; then
	run 0 nginx -p "$work" -c "$work/nginx.conf"
	pid_nginx=$last
	names="$names nginx:18605"
fi
sleep 1
if [ "${pid_nginx:-}" ]; then # the worker is who works
	for child in $(cat /proc/"$pid_nginx"/task/*/children); do pid_nginx=$child; done
fi
for case in "32 1" "256 1" "32 16"; do
	conns=${case% *} depth=${case#* }
	rm -f "$work"/*.n "$work"/*.c
	i=0
	while [ $i -lt "$turns" ]; do
		i=$((i + 1))
		for n in $names; do
			taskset -c 1 "$work/bench" load -addr 127.0.0.1:"${n#*:}" -conns $conns -depth $depth -for 1s -pid "$(eval echo "\$pid_${n%:*}")" | note "${n%:*}"
		done
	done
	echo "gateway, $conns connections, $depth requests at a time on each; ratio to net/http's ReverseProxy:"
	table nethttp part4 engine fasthttp haproxy nginx
done
