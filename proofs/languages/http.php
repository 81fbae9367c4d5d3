<?php
// An HTTP server of PHP alone, on the socket that it was started with (LISTEN_FDS), else on argument 1. PHP's own `-S`
// takes no socket; a script can, by php://fd. SIGTERM: no more is accepted, each connection ends with its next answer
// or after half a second of silence.
$stopping = false;
pcntl_async_signals(true);
pcntl_signal(SIGTERM, function () use (&$stopping) { $stopping = microtime(true); });
$isPassed = getenv('LISTEN_PID') === (string) getmypid();
$listener = $isPassed ? fopen('php://fd/3', 'r+') : stream_socket_server("tcp://{$argv[1]}");
$clients = [];
$heads = [];
while (true) {
    if ($stopping && ($clients === [] || microtime(true) > $stopping + 0.5)) exit(0);
    $readable = $stopping ? $clients : [...$clients, $listener];
    $none = null;
    if ($readable === []) continue;
    if (!@stream_select($readable, $none, $none, 0, 50000)) continue;
    foreach ($readable as $stream) {
        if ($stream === $listener) {
            // Another generation may have taken it.
            $client = @stream_socket_accept($listener, 0);
            if ($client) {
                stream_set_blocking($client, false);
                $clients[(int) $client] = $client;
                $heads[(int) $client] = '';
            }
            continue;
        }
        $id = (int) $stream;
        $chunk = fread($stream, 65536);
        $heads[$id] .= $chunk;
        $ends = ($chunk === '' || $chunk === false) && feof($stream);
        while (!$ends && ($at = strpos($heads[$id], "\r\n\r\n")) !== false) {
            $head = substr($heads[$id], 0, $at);
            $heads[$id] = substr($heads[$id], $at + 4);
            $ends = $stopping || stripos($head, 'connection: close') !== false;
            $body = getmypid() . "\n";
            $how = $ends ? 'close' : 'keep-alive';
            fwrite($stream, "HTTP/1.1 200 OK\r\nContent-Length: " . strlen($body) . "\r\nConnection: $how\r\n\r\n$body");
        }
        if ($ends) {
            fclose($stream);
            unset($clients[$id], $heads[$id]);
        }
    }
}
