# curl as a client for the judge: one process for each request, $CALLERS at a time.
xargs -P "$CALLERS" -L 1 sh -c '
	test "$1" = POST && body="--data body"
	out=$(curl --silent --output /dev/null --connect-timeout 3 --request "$1" $body --write-out "%{http_code} %{size_download}" "$2") || out="error $?"
	echo "$1 $2 $out"' sh
