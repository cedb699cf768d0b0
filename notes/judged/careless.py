# What many first servers do: line ends that are not CRLF, and a close that
# does not wait for anybody.
import os, socket

host, port = os.environ["ADDR"].rsplit(":", 1)
listener = socket.create_server((host, int(port)), backlog=128)
while True:
    connection, _ = listener.accept()
    with connection:
        connection.recv(16)
        connection.sendall(b"HTTP/1.1 200 OK\nContent-Length: 14\n\nHello, World!\n")
