#!/bin/sh
# Races part 3 against its peers: one core for the server, one for the load,
# the servers in turn, medians of the turns. Needs two cores, Go, taskset;
# nginx and wrk take part if they are installed.
#
#   notes/bench/speed.sh [TURNS [DEPTH...]]        default: 7 turns, depths 1 16 64
#   WRK=1 notes/bench/speed.sh                     wrk makes the load
#   BROWSER=1 notes/bench/speed.sh                 with the fields that a browser sends
#   CONNS=256 notes/bench/speed.sh                 default: 32 connections
#
# A row is one server: requests per second, then CPU time of the server for
# one request in nanoseconds, then both as a ratio to fasthttp's.
set -eu
turns=${1:-7}
[ $# -gt 0 ] && shift
depths=${*:-1 16 64}
conns=${CONNS:-32}
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
pids=
trap 'kill $pids 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

go -C "$root" build -o "$work/part3" ./part3-pipelining
go -C "$root/notes" build -o "$work/bench" ./bench
cat >"$work/pipeline.lua" <<'LUA'
init = function(args)
	local head, all = wrk.format("GET", "/"), {}
	for i = 1, tonumber(args[1]) do all[i] = head end
	batch = table.concat(all)
end
request = function() return batch end
LUA
cat >"$work/nginx.conf" <<NGINX
worker_processes 1;
daemon off;
pid $work/nginx.pid;
error_log stderr crit;
events { worker_connections 4096; }
http {
	access_log off;
	keepalive_requests 1000000000;
	default_type text/plain;
	server { listen 127.0.0.1:18504; location / { return 200 "Hello, World!\n"; } }
}
NGINX

run() { # NAME PORT COMMAND...: starts a server on the first core
	name=$1 port=$2
	shift 2
	GOMAXPROCS=1 taskset -c 0 "$@" >/dev/null 2>"$work/$name.log" &
	pids="$pids $!"
	eval "pid_$name=$! port_$name=$port"
	servers="$servers $name"
}
servers=
run limit 18501 "$work/bench" limit 127.0.0.1:18501
run part3 18502 "$work/part3" serve -addr 127.0.0.1:18502
run fasthttp 18503 "$work/bench" fasthttp 127.0.0.1:18503
run nethttp 18505 "$work/bench" nethttp 127.0.0.1:18505
if command -v nginx >/dev/null; then
	run nginx 18504 nginx -c "$work/nginx.conf"
fi
sleep 1
if [ "${pid_nginx:-}" ]; then # the worker is who works
	for child in $(cat /proc/"$pid_nginx"/task/*/children); do pid_nginx=$child; done
fi

cpu() { cat /proc/"$1"/task/*/schedstat | awk '{ s += $1 } END { printf "%.0f\n", s }'; }

measure() { # NAME DEPTH: prints requests per second and nanoseconds per request
	eval "pid=\$pid_$1 port=\$port_$1"
	if [ "${WRK:-}" ]; then
		before=$(cpu "$pid")
		taskset -c 1 wrk -t1 -c"$conns" -d1s -s "$work/pipeline.lua" "http://127.0.0.1:$port" -- "$2" >"$work/out"
		awk -v cpu="$(($(cpu "$pid") - before))" \
			'/requests in/ { n = $1 } /Requests\/sec/ { r = $2 } END { printf "%.0f %.0f\n", r, cpu / n }' "$work/out"
	else
		GOMAXPROCS=1 taskset -c 1 "$work/bench" load -addr "127.0.0.1:$port" -conns "$conns" -depth "$2" \
			${BROWSER:+-browser} -pid "$pid" -for 500ms
	fi
}

turn=0
while [ $turn -lt "$turns" ]; do
	for depth in $depths; do
		for name in $servers; do
			measure "$name" "$depth" >>"$work/$name.$depth" || echo "$name failed at depth $depth" >&2
		done
	done
	first=${servers# } # the next turn begins with another server
	servers="${first#* } ${first%% *}"
	turn=$((turn + 1))
done

median() { awk -v k="$2" '{ print $k }' "$1" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

for depth in $depths; do
	printf '\ndepth %d, %d connections, median of %d\n' "$depth" "$conns" "$turns"
	printf '%-10s %12s %10s %16s %14s\n' server requests/s ns/request "x fasthttp req/s" "x limit CPU"
	f=$(median "$work/fasthttp.$depth" 1)
	l=$(median "$work/limit.$depth" 2)
	for name in limit part3 fasthttp nethttp nginx; do
		[ -s "$work/$name.$depth" ] || continue
		r=$(median "$work/$name.$depth" 1)
		c=$(median "$work/$name.$depth" 2)
		awk -v n="$name" -v r="$r" -v c="$c" -v f="$f" -v l="$l" \
			'BEGIN { printf "%-10s %12d %10d %16.2f %14.2f\n", n, r, c, r / f, c / l }'
	done
done
