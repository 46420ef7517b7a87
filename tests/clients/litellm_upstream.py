"""A small LLM: it repeats what it is told, whole or as a stream of small pieces, and puts a secret that it
knows in place of THE-KEY.

Prints its port, then every request it got as a line of JSON.
"""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        print(json.dumps(request), flush=True)
        told = request["messages"][-1]["content"]
        answer = told.replace("THE-KEY", "AKIA" + "QYLPMN5HHHFPZAM2")
        if request.get("stream"):
            pieces = [answer[i : i + 7] for i in range(0, len(answer), 7)]
            events = [self.chunk({"role": "assistant", "content": p}, None) for p in pieces]
            events += [self.chunk({}, "stop"), "[DONE]"]
            body = "".join(f"data: {e}\n\n" for e in events).encode()
            self.reply(body, "text/event-stream")
        else:
            message = {"role": "assistant", "content": answer}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            whole = self.frame("chat.completion", choice) | {"usage": usage}
            self.reply(json.dumps(whole).encode(), "application/json")

    def chunk(self, delta, finish):
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return json.dumps(self.frame("chat.completion.chunk", choice))

    def frame(self, kind, choice):
        return {"id": "1", "object": kind, "created": 1, "model": "m", "choices": [choice]}

    def reply(self, body, kind):
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
print(server.server_address[1], flush=True)
server.serve_forever()
