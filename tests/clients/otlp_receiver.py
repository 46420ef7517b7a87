"""Receives spans over OTLP/gRPC. Prints its port, then every span as a line of JSON."""

import json
import sys
from concurrent import futures

import grpc
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as rpc


class Receiver(rpc.TraceServiceServicer):
    def Export(self, request, context):
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    row = MessageToDict(span)
                    row["traceId"] = span.trace_id.hex()
                    row["spanId"] = span.span_id.hex()
                    row["parentSpanId"] = span.parent_span_id.hex()
                    row["resource"] = MessageToDict(resource.resource)
                    print(json.dumps(row), flush=True)
        return pb.ExportTraceServiceResponse()


server = grpc.server(futures.ThreadPoolExecutor(4))
rpc.add_TraceServiceServicer_to_server(Receiver(), server)
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
sys.stdin.read()  # until the test closes it
server.stop(None)
