# nghttpx as a gateway from $ADDR to $BACKEND, which speaks HTTP/2.
backend=${BACKEND#h2c://}
exec nghttpx --conf=/dev/null -f "${ADDR%:*},${ADDR#*:};no-tls" -b "${backend%:*},${backend#*:};;proto=h2" --workers=1
