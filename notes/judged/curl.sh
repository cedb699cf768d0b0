# curl as a client for the judge: one process for each request, $CALLERS at a time.
xargs -P "$CALLERS" -L 1 sh -c '
	case $1 in HEAD) how=--head ;; POST) how="--data body" ;; esac
	out=$(curl --silent --output /dev/null --connect-timeout 3 --max-time 8 $how --write-out "%{http_code} %{size_download}" "$2") || out="error $?"
	echo "$1 $2 $out"' sh
