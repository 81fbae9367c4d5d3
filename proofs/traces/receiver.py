# A receiver of OTLP over HTTP that decodes with the official packages `protobuf` and `opentelemetry-proto`, and prints each
# span as a line of JSON. Its first line is its port.
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


def is_known(message):
    """Whether the schema has all that came."""
    if len(UnknownFieldSet(message)) > 0:
        return False
    for field, value in message.ListFields():
        if field.message_type is not None:
            parts = value if field.is_repeated else [value]
            if not all(is_known(part) for part in parts):
                return False
    return True


def plain(pairs):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.body()
        asked = ExportTraceServiceRequest.FromString(body)
        if not is_known(asked):
            print(json.dumps({"problem": "fields that the schema does not know"}), flush=True)
        for resource in asked.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    told = {
                        "path": self.path,
                        "trace": span.trace_id.hex(),
                        "id": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                        "name": span.name,
                        "start": span.start_time_unix_nano,
                        "end": span.end_time_unix_nano,
                        "status": span.status.code,
                        "attributes": plain(span.attributes),
                        "resource": plain(resource.resource.attributes),
                    }
                    print(json.dumps(told, default=str), flush=True)
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def body(self):
        length = self.headers["content-length"]
        if length is not None:
            return self.rfile.read(int(length))
        # In chunks, each behind its length in hexadecimal and before a line end.
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port, flush=True)
server.serve_forever()
