"""OpenAI's client asks for responses, whole or streamed.

    python responses.py BASE_URL whole|stream TEXT      prints what it got as JSON
"""

import json
import sys

from openai import APIError, APIStatusError, OpenAI

url, how, text = sys.argv[1:]
client = OpenAI(base_url=url, api_key="none", max_retries=0)
asked = {"model": "m", "instructions": "Be brief.", "input": [{"role": "user", "content": text}]}
got = {"deltas": "", "repeats": [], "error": None}
try:
    if how == "whole":
        got["deltas"] = client.responses.create(**asked).output_text
    else:
        for event in client.responses.create(**asked, stream=True):
            if event.type == "response.output_text.delta":
                got["deltas"] += event.delta
            elif event.type == "response.output_text.done":
                got["repeats"].append(event.text)
            elif event.type == "response.content_part.done":
                got["repeats"].append(event.part.text)
            elif event.type == "response.output_item.done":
                got["repeats"].append(event.item.content[0].text)
            elif event.type == "response.completed":
                got["repeats"].append(event.response.output_text)
except APIStatusError as error:
    got["error"] = [error.status_code, error.code]
except APIError as error:
    got["error"] = [200, error.code]
print(json.dumps(got))
