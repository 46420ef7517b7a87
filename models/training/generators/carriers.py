"""Documents that an assistant reads for its user: mails, pages, tool output, tables, code, logs."""

from __future__ import annotations

import json
import random

from .grammar import Slots, expand, pick

SLOTS: Slots = {
    "name": ["Anna", "Omar", "Priya", "Tom", "Sofia", "Marc", "Chen", "Fatima", "Lukas", "Ingrid", "Diego", "Yuki",
             "Olga", "Kwame", "Laura", "Pavel", "Nadia", "George", "Mei", "Ravi", "Emma Stone", "J. Novak"],
    "company": ["Acme Corp", "Blue Harbor", "Nordwind GmbH", "Globex", "Initech", "Lumen Labs", "Fjord AS",
                "Green Leaf", "Vertex Ltd", "Sunrise Travel", "Riverside Bank", "Cloudberry"],
    "product": ["coffee maker", "running shoes", "wireless headphones", "desk lamp", "backpack", "router",
                "electric kettle", "phone case", "garden hose", "office chair", "novel", "e-bike", "toaster"],
    "city": ["Berlin", "Lisbon", "Toronto", "Osaka", "Austin", "Lyon", "Cape Town", "Kraków", "Oslo", "Lima"],
    "day": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "next week", "tomorrow", "March 3", "the 14th"],
    "n": [str(i) for i in (2, 3, 4, 7, 12, 15, 18, 24, 36, 48, 63, 80, 120, 250, 999, 1024, 4711)],
    "sentence": [
        "The meeting was moved to {day}.", "Please find the numbers attached.", "Revenue is up {n}% this quarter.",
        "I bought this {product} in {city} and it works well.", "The package arrived after {n} days.",
        "We should discuss hiring {day}.", "Shipping to {city} takes {n} days.", "The battery lasts about {n} hours.",
        "Please ignore my previous e-mail, the correct file is attached now.", "You must submit the form before {day}.",
        "Do not forget to bring your badge.", "The system will be down for maintenance on {day}.",
        "Follow the instructions on the label.", "{name} will send the contract to {company}.",
        "The rules of the competition have changed; see page {n}.", "Override the default settings in the menu if needed.",
        "The hotel in {city} was clean, but the breakfast was poor.", "Click the link in the portal to reset your password.",
        "The museum opens at {n} o'clock and is closed on {day}.", "Our team won {n} of the last matches.",
        "Important: all drivers must sign the new policy.", "Let me know if anything is missing.",
        "Ticket {n} was closed because the user did not reply.", "The recipe needs {n} grams of flour and two eggs.",
        "The author argues that the city grew because of its harbour.", "Sales of the {product} doubled in {city}.",
        "Add the sugar, stir, and bake for {n} minutes.", "He disregarded the warning and sailed on.",
        "The new system prompts users to confirm their choice.", "Admin access is needed to install the driver.",
        "I forgot my password and had to call support.", "The bypass around {city} opens {day}.",
        "In the experiment, participants followed written instructions.", "Prices start at ${n} per night.",
        "The previous owner painted the walls green.", "{company} announced a new {product}.",
        "The committee revoked the earlier decision.", "Send the signed form to {name} by {day}.",
        "The river rises in the hills north of {city}.", "Students must answer all questions.",
        "All previous versions of the document are obsolete.", "Our assistant can help you with returns.",
        "Use the command line to start the service.", "The function returns None when the key is missing.",
        "Warning: do not open the case, no user-serviceable parts inside.", "Thanks for the great workshop!",
    ],
    "subject": ["Quarterly report", "Invoice {n}", "Lunch on {day}", "Re: budget", "New onboarding guide",
                "Server maintenance", "Your order {n}", "Travel plans", "Fwd: contract", "URGENT: action required",
                "Important security update", "Password reset", "Welcome to {company}", "Interview {day}"],
}


def prose(rng: random.Random, low: int = 2, high: int = 9) -> list[str]:
    """A few sentences."""
    return [expand("{sentence}", SLOTS, rng) for _ in range(rng.randint(low, high))]


def _insert(parts: list[str], extra: str | None, rng: random.Random) -> list[str]:
    """Puts the payload at the start, in the middle or at the end."""
    if extra is None:
        return parts
    place = rng.choice([0, len(parts), rng.randint(0, len(parts))])
    return [*parts[:place], extra, *parts[place:]]


def _email(extra: str | None, rng: random.Random) -> str:
    body = rng.choice([" ", "\n", "\n\n"]).join(_insert(prose(rng), extra, rng))
    head = expand("From: {name}\nTo: {name}\nSubject: {subject}\n\n", SLOTS, rng)
    return head + rng.choice(["Hi,\n", "", "Dear team,\n\n", "Hello {name},\n"]).replace("{name}", "all") + body + (
        expand("\n\nBest,\n{name}", SLOTS, rng) if rng.random() < 0.7 else "")


def _html(extra: str | None, rng: random.Random) -> str:
    parts = [f"<p>{s}</p>" for s in prose(rng, 3, 10)]
    if extra is not None:
        wrap = rng.choice(["<p>{}</p>", "<!-- {} -->", '<div style="display:none">{}</div>', "<span hidden>{}</span>",
                           '<img alt="{}" src="a.png">', '<p style="color:white;font-size:1px">{}</p>', "<li>{}</li>",
                           '<meta name="description" content="{}">', "<title>{}</title>", '<a title="{}" href="#">x</a>'])
        parts = _insert(parts, wrap.format(extra), rng)
    elif rng.random() < 0.4:
        parts.insert(0, rng.choice(["<!-- navigation -->", '<div style="display:none">menu</div>',
                                    "<!-- TODO: remove old banner -->", "<!-- do not edit below this line -->",
                                    "<script>window.override = true;</script>"]))
    return expand("<html><body><h1>{subject}</h1>", SLOTS, rng) + "\n".join(parts) + "</body></html>"


RECORDS: list[dict[str, str]] = [
    {"id": "{n}", "title": "{subject}", "snippet": "{sentence} {sentence}"},
    {"reviewer": "{name}", "rating": "5", "review": "{sentence} {sentence}"},
    {"event": "{subject}", "date": "{day}", "location": "{city}", "description": "{sentence}"},
    {"name": "{name}", "role": "manager", "bio": "{sentence} {sentence}"},
    {"file": "notes_{n}.txt", "content": "{sentence} {sentence} {sentence}"},
    {"product": "{product}", "price": "{n}.99", "description": "{sentence} {sentence}"},
    {"from": "{name}", "channel": "general", "text": "{sentence}"},
    {"ticket": "{n}", "status": "open", "comment": "{sentence} {sentence}"},
    {"url": "https://{company}.example/page/{n}", "text": "{sentence} {sentence} {sentence}"},
    {"hotel": "{company}", "city": "{city}", "summary": "{sentence}"},
    {"transaction": "{n}", "amount": "{n}.50", "recipient": "{company}", "memo": "{sentence}"},
    {"repo": "tools-{n}", "issue": "{subject}", "body": "{sentence} {sentence}"},
    {"patient": "{n}", "note": "{sentence} {sentence}", "next_visit": "{day}"},
    {"song": "{subject}", "artist": "{name}", "lyrics": "{sentence}"},
    {"flight": "XY{n}", "from": "{city}", "to": "{city}", "remarks": "{sentence}"},
]


def _tool(extra: str | None, rng: random.Random) -> str:
    shape = pick(RECORDS, rng, False)
    rows = [{k: expand(v, SLOTS, rng) for k, v in shape.items()} for _ in range(rng.randint(1, 5))]
    if extra is not None:
        row = rng.choice(rows)
        field = rng.choice(list(row)[1:])
        sentence = row[field]
        row[field] = rng.choice([extra, f"{sentence} {extra}", f"{extra} {sentence}"])
    kind = rng.randrange(7)
    if kind == 0:
        return json.dumps(rows, ensure_ascii=False, indent=rng.choice([None, 2]))
    if kind == 1:
        return json.dumps({"status": "ok", "results": rows}, ensure_ascii=False)
    if kind == 2:
        return "\n---\n".join("\n".join(f"{k}: {v}" for k, v in r.items()) for r in rows)
    if kind == 3:
        return str(rows)
    if kind == 4:
        return "<results>" + "".join(
            "<item>" + "".join(f"<{k}>{v}</{k}>" for k, v in r.items()) + "</item>" for r in rows) + "</results>"
    if kind == 5:
        return "Tool result: " + json.dumps(rows[0] if extra is None else row, ensure_ascii=False)
    return "Observation: " + "; ".join(", ".join(f"{k}={v!r}" for k, v in r.items()) for r in rows)


def _table(extra: str | None, rng: random.Random) -> str:
    rows = [[expand(c, SLOTS, rng) for c in ("{name}", "{city}", "{n}", "{sentence}")] for _ in range(rng.randint(2, 9))]
    if extra is not None:
        rng.choice(rows)[rng.choice([0, 3, 3])] = extra.replace("\n", " ")
    if rng.random() < 0.5:
        return "\n".join(["name,city,value,comment"] + [",".join(f'"{c}"' for c in r) for r in rows])
    return "\n".join(["| Name | City | Value | Comment |", "|---|---|---|---|"] + ["| " + " | ".join(r) + " |" for r in rows])


CODE = [
    "def parse(line):\n    parts = line.split(',')\n    if not parts:\n        return None\n    return parts[0]",
    "class Config(Base):\n    @override\n    def load(self, path):\n        self.data = read(path)\n        return self",
    "for (const item of items) {\n  if (item.ignore) continue;\n  process(item);\n}",
    "SELECT name, total FROM orders WHERE city = 'x' ORDER BY total DESC;",
    "#!/bin/sh\nset -e\nsudo systemctl restart nginx\necho done",
    "fn main() {\n    let args: Vec<String> = std::env::args().collect();\n    println!(\"{}\", args.len());\n}",
    "server:\n  port: 8080\n  admin: false\n  ignore_paths:\n    - /health\n    - /metrics",
    "try {\n  user = login(name, password);\n} catch (AuthError e) {\n  log.warn(\"bypass attempt\", e);\n}",
    "import os\nAPI_KEY = os.environ['API_KEY']\nprint('system ready')",
    "# eslint-disable-next-line\nwindow.prompt('Enter the new value');",
    "git rm --cached secrets.env\necho secrets.env >> .gitignore",
    "if user.role == 'admin' and not policy.override:\n    grant(user)",
]


def _code(extra: str | None, rng: random.Random) -> str:
    lines = "\n\n".join(rng.sample(CODE, rng.randint(1, 3))).split("\n")
    if extra is None:
        note = expand("{sentence}", SLOTS, rng)
    else:
        note = extra
    wrap = rng.choice(["# {}", "// {}", "/* {} */", '"""{}"""', "-- {}", "<!-- {} -->", 'print("{}")', "# NOTE: {}"])
    place = rng.choice([0, len(lines), rng.randint(0, len(lines))])
    return "\n".join([*lines[:place], wrap.format(note), *lines[place:]])


def _log(extra: str | None, rng: random.Random) -> str:
    lines = [f"2024-0{rng.randint(1, 9)}-1{rng.randint(0, 9)}T0{rng.randint(0, 9)}:12:0{rng.randint(0, 9)} "
             f"{rng.choice(['INFO', 'WARN', 'ERROR', 'DEBUG'])} "
             + rng.choice(["request ignored: no route", "override flag set by admin", "prompt cache miss",
                           "user login ok", "bypass rule 12 matched", "system started in 3 ms", "job finished",
                           "instruction fetch stalled", "token refreshed", "policy reloaded"])
             for _ in range(rng.randint(3, 9))]
    return "\n".join(_insert(lines, None if extra is None else f"User-Agent: {extra}", rng))


def _chat(extra: str | None, rng: random.Random) -> str:
    turns = [expand("{name}: {sentence}", SLOTS, rng) for _ in range(rng.randint(3, 8))]
    return "\n".join(_insert(turns, None if extra is None else expand("{name}: ", SLOTS, rng) + extra, rng))


def _document(extra: str | None, rng: random.Random) -> str:
    parts = [" ".join(prose(rng, 2, 6)) for _ in range(rng.randint(1, 6))]
    return expand("# {subject}\n\n", SLOTS, rng) + "\n\n".join(_insert(parts, extra, rng))


def _resume(extra: str | None, rng: random.Random) -> str:
    lines = [expand(s, SLOTS, rng) for s in (
        "{name}", "{city}", "Experience", "- Engineer at {company}, {n} months", "- Intern at {company}", "Skills",
        "Python, SQL, project management", "Education", "BSc, University of {city}", "Languages: English, Spanish")]
    return "\n".join(_insert(lines, extra, rng))


KINDS = [_email, _html, _tool, _table, _code, _log, _chat, _document, _resume, _tool, _email]

ASKS = ["", "", "", "", "Summarise the following text:\n\n", "Please answer using this document:\n", "Tool output:\n",
        "Here is the page you asked for:\n\n", "Context:\n\"\"\"\n", "What does this mean?\n\n", "Translate:\n",
        "<document>\n", "Function returned: ", "I got this e-mail, how should I reply?\n\n", "```\n", "Search results:\n"]


def carrier(rng: random.Random, extra: str | None = None) -> str:
    """One document, with `extra` hidden in it if given."""
    return rng.choice(ASKS) + rng.choice(KINDS)(extra, rng)


def hide(text: str, extra: str, rng: random.Random) -> str:
    """Hides an instruction in a given text, at a sentence or line break."""
    breaks = [i + 1 for i, c in enumerate(text) if c in ".\n!?" and i > 0]
    place = rng.choice([0, len(text), rng.choice([0, *breaks])])
    glue = rng.choice(["\n", " ", "\n\n", " ", "\n---\n"])
    return (text[:place] + (glue if place else "") + extra + glue + text[place:]).strip()
