"""The service of bench/peers.mjs for gunicorn."""
import json

BODY = json.dumps({"greeting": "hello", "padding": "x" * 100}, separators=(",", ":")).encode()


def app(environ, start_response):
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))])
    return [BODY]
