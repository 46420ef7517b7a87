"""Validates an OpenAPI document, and that each exchange is as it says.

Reads {"document", "exchanges": [[path, method, request, status, answer]]} from standard input. A request
that was refused (status 400) may well not fit.
"""

import json
import sys

from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource

given = json.load(sys.stdin)
document = given["document"]
OpenAPIV31SpecValidator(document).validate()
resource = Resource.from_contents(
    {"$schema": "https://json-schema.org/draft/2020-12/schema", **document}
)
registry = Registry().with_resource("urn:document", resource)


def check(pointer, value):
    schema = {"$ref": f"urn:document#{pointer}"}
    Draft202012Validator(schema, registry=registry).validate(value)


def escaped(*path):
    return "".join("/" + p.replace("~", "~0").replace("/", "~1") for p in path)


for path, method, request, status, answer in given["exchanges"]:
    at = ("paths", path, method)
    content = ("content", "application/json", "schema")
    if request is not None and status == 200:
        check(escaped(*at, "requestBody", *content), request)
    check(escaped(*at, "responses", str(status), *content), answer)
print(len(given["exchanges"]), "exchanges")
