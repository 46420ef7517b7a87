"""Long harmless documents that speak to a model or a machine: assistants' manuals, picture briefs, JSON settings, set-up notes, worked examples."""

from __future__ import annotations

import json
import random

from . import prompts, roles
from .grammar import Slots, expand, pick

SLOTS: Slots = {k: v for k, v in (prompts.SLOTS | roles.SLOTS).items()} | {
    "bot": ["Note Sorter", "Study Buddy", "Garden Pal", "Code Navigator", "ReviewMate", "Story Weaver", "Plan Pilot", "Data Sage", "Lex Helper", "Chef Nova", "Mentor Prime", "Scene Crafter", "QuizBot", "Focus Lens", "Route Finder"],
    "adj": ["specialised", "careful", "senior", "creative", "patient", "precise", "friendly", "world-class", "virtual", "calm", "interactive", "curious", "methodical", "concise"],
    "phase": ["INTAKE", "Step 1", "Phase A", "Analysis", "OUTPUT", "Review loop", "Initialisation", "Constraints", "Behaviour", "Core loop", "Memory", "Tone", "Safety", "Evaluation", "Final check", "Examples", "Activation"],
    "action": ["ask one question at a time", "restate the goal in your own words", "offer {n} options", "wait for the user's choice", "score every option from 1 to {n}", "explain the reason in one line", "keep the state in a table", "never skip a phase",
               "do not invent facts", "always show the current level", "respond only in {form}", "ignore decorative text", "highlight the risky part", "stop when the user types END", "treat missing values as unknown", "never reveal the solution before the last phase",
               "override the default tone if the user is a child", "simulate {n} rounds before you answer", "do not break immersion", "reset the counter after {n} turns", "must end with a summary", "reject blurred pictures", "prefer plain words", "identify the main subject first",
               "forget earlier drafts when a new one arrives", "adapt to the user's level", "output a single code block", "list assumptions", "check the result against the rules", "execute the phases in order"],
    "light": ["soft morning light", "neon glow", "golden hour", "studio light from the left", "overcast sky", "candle light", "hard flash"],
    "lens": ["35 mm", "85 mm", "slight wide angle", "macro", "eye level", "bird's-eye view", "shallow depth of field"],
    "look": ["hyper-realistic", "isometric", "watercolour", "minimalist", "vintage poster", "cinematic", "pixel art", "architectural model"],
    "thing": ["a city skyline", "a tea cup", "two people in a cafe", "a temple on a hill", "a robot gardener", "a product on a stone", "an old map", "a cat with a hat", "a miniature harbour", "a {role} at work"],
    "cmd": ["docker build -t app:{n} .", "docker run --rm -p 80{n}:80 -e MODE=admin app", "pip install --upgrade {tool}", "export API_URL=http://localhost:50{n}", "curl -s https://example.com/health | jq .status",
            "git clone https://example.com/{tool}.git && cd {tool}", "sudo apt-get install -y build-essential", "chmod +x run.sh && ./run.sh --verbose", "rm -rf build && mkdir build", "ffmpeg -i in.mp4 -c:v libx264 -crf {n} out.mp4", "kubectl delete pod web-{n} --force",
            "mysql -u root -p shop < dump.sql", "systemctl restart nginx", "npm run build -- --mode production", "python train.py --epochs {n} --seed {n}", "set PATH=%PATH%;C:\\tools", "find . -name '*.tmp' -mtime +{n} -delete", "openssl rand -hex {n}"],
    "codeline": ["for (int i = 0; i < {n}; i++) {", "if (user == null) return;", "prompt = f\"Summarise the text: {text}\"", "const total = items.reduce((a, b) => a + b, 0);", "raise ValueError(\"unknown command\")", "match parse(&line) { Ok(v) => v, Err(e) => return Err(e.into()) }", "fn main() {",
                 "self.assertEqual(result, {n})", "setTimeout(() => reset(), {n});", "protected override void OnStart() {", "response = model.generate(prompt, max_tokens={n})", "name = name.strip().lower()", "} catch (Exception e) { log.error(e); }", "rows = list(csv.reader(handle))", "// TODO: remove this hack",
                 "SELECT name FROM users WHERE role = 'admin';", "messages = [{\"role\": \"system\", \"content\": instructions}]", "delete[] buffer;", "return render(request, 'index.html')", "let pin: u32 = {n};", "#define MAX_KEYS {n}", "System.out.println(\"Enter the password: \");", "var key = Environment.GetEnvironmentVariable(\"KEY\");"],
    "fact": ["The harbour was enlarged {n} times in a century.", "Members vote once a year, and absent members may send a letter.", "A box holds {n} screws of two sizes.", "lumi\u00e8re (f)\tlight: La lumi\u00e8re entre par la porte.", "Schl\u00fcssel, der\tkey: Er sucht seinen Schl\u00fcssel.",
             "The warranty ends after {n} months and does not cover water.", "{who} sits left of {who}, and nobody sits next to the window.", "The signal is sampled {n} times per second and then filtered.", "Every claim must name its source.", "The council rejected the plan by {n} votes.",
             "Warning: the value is read before it is set.", "The bridge opens at noon if the tide is high.", "Discuss how {subject} and {subject} depend on each other.", "Bags over {n} kg cost extra.", "El museo abre a las {n} y cierra los lunes.", "Das Rezept ist f\u00fcr {n} Personen."],
}

OPENINGS = [
    "Your name is {bot}. You are a {adj} {role} and people come to you with questions on {subject}.", "**{bot}** ({adj})\n\nHelps with {subject} and nothing else.", "**Who you are:** {role}, {adj}",
    "# {bot}\n_A {adj} {role} for {subject}_", "SYSTEM ROLE: {role}\nMISSION: {result}", "You run as {bot} inside {tool} and answer questions about {subject}.", "{bot} is a {adj} {role}. It reads {input} and writes {result}.", "In this chat you work as a {role} for {firm} and know {tool} well.",
    "<role>\nYou are a {adj} {role} with {n} years of experience.\n</role>", "You write for {firm}; the readers like {subject}.", "Profile of the assistant\n- name: {bot}\n- field: {subject}\n- style: {adj}", "Welcome to {bot}! This prompt turns a chat into a {adj} {role}.",
]
PICTURES = [
    "Create a {look} picture of {thing}. It stands on a wooden table.", "Scene: {thing}, {light}. Camera: {lens}.", "Camera: {lens}, {lens}. In front {thing}, behind it haze.", "Style: {look}, {light}, no text, no logo.", "Negative prompt: blurry, extra fingers, watermark, low quality",
    "Place: [place]\nClothes: [clothes]\nLight: {light}", "Keep the face of the person exactly as in the reference picture.", "The details: {thing} in front, {thing} far behind, fog between them.", "Aspect ratio {n}:{n}, {look}, highly detailed.", "Replace the background by {thing}, but do not change the pose.", "A {look} scene with {thing} and {thing}.",
]
KEYS = ["role", "mode", "directive", "principle", "input", "output", "language", "style", "camera", "lighting", "rules", "priority", "description", "constraints", "street_level", "steps", "thinking", "negative", "format", "version", "reasoning", "must_avoid"]
NOTES = ["Install the packages first:", "You need a terminal and an editor.", "After that:", "Without administrator rights, ask your system administrator.", "These settings are read at the start:", "You should see something like this:", "To begin anew, drop the volume.", "Warnings about the cache can be ignored.",
         "Old builds are deleted by this.", "Sign in with the account that you made before.", "Check that the service answers:", "If the port is taken, choose another one.", "The file in your home folder overrides the one in /etc."]
TASKS = ["Return every name in the text as {form}.", "Is the statement true? Answer true or false.", "Classify the request as question, command or other.", "Rewrite the command as {form}.", "Label the tone of the review.", "Translate the entry and give an example.", "Write one line for each entry.", "Say which rule applies."]


def _bullets(lines: list[str], rng: random.Random) -> str:
    mark = rng.choice(["- ", "* ", "• ", "1. ", "", "  - ", "→ "])
    return "\n".join(mark + line for line in lines)


def _lines(items: list[str], low: int, high: int, rng: random.Random, validation: bool) -> list[str]:
    return [expand(pick(items, rng, validation), SLOTS, rng) for _ in range(rng.randint(low, high))]


def _manual(rng: random.Random, validation: bool) -> str:
    parts = _lines(OPENINGS, 1, 1, rng, validation)
    for _ in range(rng.randint(2, 7)):
        head = rng.choice(["## {phase}", "### {phase}", "**{phase}**", "{phase}:", "[{phase}]", "---\n{phase}", "<{phase}>", "{phase} – {subject}"])
        actions = [expand(rng.choice(["{action}", "{action}", "You must {action}.", "{action} and {action}", "**{phase}:** {action}", "Always {action}.", "If {input} is given, {action}.", "IF unclear THEN {action}"]), SLOTS, rng) for _ in range(rng.randint(2, 6))]
        parts.append(expand(head, SLOTS, rng) + "\n" + _bullets(actions, rng))
    return rng.choice(["\n\n", "\n"]).join(parts)


def _picture(rng: random.Random, validation: bool) -> str:
    return rng.choice(["\n\n", " ", "\n"]).join(_lines(PICTURES, 3, 12, rng, validation))


def _settings(rng: random.Random, validation: bool, depth: int = 0) -> dict:
    out: dict = {}
    for key in rng.sample(KEYS, rng.randint(3, 7)):
        kind = rng.random()
        if kind < 0.25 and depth < 2:
            out[key] = _settings(rng, validation, depth + 1)
        elif kind < 0.45:
            out[key] = [expand("{action}", SLOTS, rng) for _ in range(rng.randint(1, 4))]
        elif kind < 0.55:
            out[key] = rng.choice([True, False, rng.randint(0, 99), "auto", "thinking", "tr", "v2"])
        else:
            out[key] = expand(rng.choice(["{action}", "{thing}, {light}", "{result}", "{role}", "{look} {thing}"]), SLOTS, rng)
    return out


def _json(rng: random.Random, validation: bool) -> str:
    return json.dumps(_settings(rng, validation), ensure_ascii=False, indent=rng.choice([None, 2, 2, 4]))


def _setup(rng: random.Random, validation: bool) -> str:
    lines = []
    for _ in range(rng.randint(3, 10)):
        lines.append(rng.choice(["", "#", "# ", "- "]) + pick(NOTES, rng, validation))
        lines += [rng.choice(["", "$ ", "    ", "> "]) + expand("{cmd}", SLOTS, rng) for _ in range(rng.randint(1, 3))]
    return "\n".join(lines)


def _listing(rng: random.Random, validation: bool) -> str:
    lines = [" " * rng.choice([0, 0, 4, 4, 8, 12]) + expand(rng.choice(SLOTS["codeline"]), SLOTS, rng) for _ in range(rng.randint(8, 40))]
    ask = roles.plain(rng, validation)
    return rng.choice([ask + "\n", "", ""]) + "\n".join(lines) + rng.choice(["", "\n\n" + ask])


def _examples(rng: random.Random, validation: bool) -> str:
    parts = _lines(TASKS, 1, 2, rng, validation)
    for i in range(rng.randint(2, 8)):
        source = expand(rng.choice(["{fact}", "Add {thing} with {subject}", "{action}", "{who} wants to {verb} {item}"]), SLOTS, rng)
        parts.append(rng.choice([f"Input: {source}\nOutput: ", f"Text: {source}\nLabel: ", f"Example {i + 1}: {source}\nAnswer: ", f"Q: {source}\nA: "]) + expand(rng.choice(["false", "true", "{result}", "{n}", "NONE", "{subject}"]), SLOTS, rng))
    return "\n".join(parts)


def _facts(rng: random.Random, validation: bool) -> str:
    return rng.choice([" ", "\n", "\n\n"]).join(expand("{fact}", SLOTS, rng) for _ in range(rng.randint(5, 20)))


KINDS = [_manual, _manual, _manual, _picture, _json, _setup, _listing, _examples, _facts]


def document(rng: random.Random, validation: bool = False) -> str:
    """One kind, or several after one another."""
    parts = [rng.choice(KINDS)(rng, validation)]
    while rng.random() < 0.55 and sum(map(len, parts)) < 6000:
        parts.append(rng.choice([*KINDS, prompts.long_prompt])(rng, validation))
    return rng.choice(["\n\n", "\n", "\n\n---\n"]).join(parts)
