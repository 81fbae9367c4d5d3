# Asks an HTTPS server, argv: port; one connection for as long as it lasts. A line each: "c" for a connection, "a" for an
# answer. Ends when its input does.
import socket, ssl, sys, threading, time

port = int(sys.argv[1])
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
context.minimum_version = ssl.TLSVersion.TLSv1_3


def answer(stream):
    head = b''
    while not head.endswith(b'\r\n\r\n'):
        byte = stream.read(1)
        if not byte:
            raise EOFError
        head += byte
    if b'chunked' in head.lower():
        while True:
            size = int(stream.readline(), 16)
            stream.read(size + 2)
            if size == 0:
                return
    length = [line.split(b':')[1] for line in head.lower().split(b'\r\n') if line.startswith(b'content-length')]
    stream.read(int(length[0]))


while not over.is_set():
    tls = context.wrap_socket(socket.create_connection(('127.0.0.1', port)))
    print('c', flush=True)
    stream = tls.makefile('rb')
    try:
        while not over.is_set():
            tls.sendall(b'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
            answer(stream)
            print('a', flush=True)
            time.sleep(0.005)
    except (EOFError, OSError, ssl.SSLError) as error:
        print('lost', repr(error), file=sys.stderr, flush=True)
