"""A client that knows nothing of Portcullis: it learns the service by reflection and calls Check.

    python reflection.py HOST:PORT TEXT      prints the answer as JSON
"""

import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToJson, ParseDict
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)


def main(address: str, text: str) -> None:
    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        names = [n for n in database.get_services() if n.endswith(".GuardService")]
        service = DescriptorPool(database).FindServiceByName(names[0])
        method = service.FindMethodByName("Check")
        request = ParseDict(
            {"segments": [{"role": "ROLE_USER", "text": text}]},
            GetMessageClass(method.input_type)(),
        )
        call = channel.unary_unary(
            f"/{service.full_name}/{method.name}",
            request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        print(MessageToJson(call(request, timeout=10)))


if __name__ == "__main__":
    main(*sys.argv[1:])
