"""Harmless role play as people ask for it, and plain questions of users who want something done."""

from __future__ import annotations

import random

from .grammar import Slots, capital, expand, pick

SLOTS: Slots = {
    "role": ["astrologer", "accountant", "baker", "ballet teacher", "barista", "book reviewer", "botanist", "calligrapher", "career coach", "carpenter", "car mechanic", "chess tutor",
             "comedian", "composer", "critic", "crossword maker", "dentist", "DJ", "dog trainer", "drama teacher", "economist", "emoji translator", "essay writer", "etymologist", "event planner",
             "excel sheet", "fashion designer", "fitness trainer", "florist", "food critic", "football commentator", "fortune teller", "gardener", "geographer", "guitar teacher", "hairdresser",
             "headline writer", "hypnotherapist", "illustrator", "interior decorator", "interpreter", "jeweller", "journal reviewer", "landlord", "language detector", "legal adviser", "librarian",
             "life coach", "logistician", "makeup artist", "mathematician", "memory coach", "mythologist", "nutritionist", "optician", "painter", "parfumier", "pet behaviourist", "pharmacist",
             "philosopher", "photographer", "poet", "politician", "password checker", "plot twister", "postman", "product tester", "psychologist", "puzzle maker", "quiz master", "rapper", "real estate agent",
             "recruiter", "regex generator", "relationship coach", "rabbi", "imam", "monk", "sailor", "salesperson", "scientific data visualiser", "shoemaker", "singer", "slogan writer", "social worker",
             "song recommender", "sommelier", "speech coach", "sports analyst", "SQL terminal", "statistician", "storyteller", "sudoku solver", "survival guide", "tailor", "tarot reader", "tax adviser",
             "tea taster", "term explainer", "time traveller", "title generator", "toy maker", "translator", "travel planner", "tree", "typewriter", "unit converter", "vet", "virtual assistant", "web designer",
             "weather reporter", "wedding speaker", "wine merchant", "yoga instructor", "youth worker", "zookeeper", "Python interpreter", "PHP console", "solution architect", "IT expert", "test engineer",
             "cyber security analyst", "machine learning engineer", "prompt writer", "chatbot for a museum", "language model critic", "mind reader on stage", "wise old wizard", "captain of a pirate ship"],
    "input": ["a topic", "a sentence", "a list of ingredients", "my mood", "some code", "a picture's description", "a date", "a word", "a number", "a film title", "my budget", "a situation", "a dream", "a song",
              "a command", "a table", "details about a person", "a problem", "a country", "an opening move", "a quote", "my symptoms", "a question", "keywords", "a link", "the first line of a story"],
    "result": ["a short review", "three ideas", "a plan", "a corrected version", "an explanation", "a poem", "a list of advantages and drawbacks", "the answer and nothing else", "a diagnosis with a warning", "a suggestion",
               "a recipe", "a title", "a table", "a scene", "a translation", "the next move", "an honest opinion", "a summary", "an estimate", "a code snippet", "a slogan", "the history of it", "a rating from 1 to 10"],
    "subject": ["gardening", "old films", "cheap flights", "healthy food", "modern art", "tax forms", "small talk", "wedding songs", "city trips", "time management", "the solar system", "poetry", "logos", "football tactics",
                "interview questions", "cats", "board games", "ancient Rome", "databases", "networks", "machine learning", "climate", "parenting", "minimalism", "negotiation", "opera", "shoes", "cocktails"],
    "tool": ["pandas", "Qt", "Excel", "React", "Docker", "git", "SQL Server", "PyTorch", "Word", "Photoshop", "Flutter", "nginx", "Jenkins", "ggplot", "Tailwind", "Postgres", "Unity", "AWS Lambda", "Ansible", "OpenGL",
             "VBA", "MongoDB", "LaTeX", "Selenium", "Linux", "PowerShell", "Spring Boot", "Blender", "Home Assistant", "Google Sheets"],
    "item": ["a sorted list", "a date column", "a side bar", "a login form", "duplicate rows", "a bar chart", "a text box", "a moving average", "two tables", "a nested dictionary", "a background job", "an image", "a stored procedure",
             "environment variables", "a REST endpoint", "a regular expression", "a progress bar", "the third largest value", "a socket", "a cron job", "old branches", "a hash map", "a drop-down menu", "unit tests", "an API key"],
    "verb": ["show", "merge", "remove", "create", "debug", "speed up", "print", "convert", "update", "filter", "parse", "group", "plot", "hide", "cache", "rename", "export", "validate", "reset", "inject", "override"],
    "n": ["2", "3", "4", "5", "6", "8", "10", "12", "15", "20", "30", "50", "100"],
    "who": ["Alice", "Bob", "my boss", "a customer", "my son", "our team", "a student", "the user", "Carol", "my landlord"],
}

ROLES = [
    "I want you to act as a {role}.", "Act as a {role}.", "I want you to act as an experienced {role} and help with {subject}.", "You are a {role}.", "Please act as a {role} for me.", "I want you to pretend to be a {role}.",
    "You will act as my personal {role}.", "Be a {role}.", "I would like you to be a {role} who loves {subject}.", "Take on the role of a {role}.", "I want you to play the {role} in this chat.", "Pretend you are the best {role} in town.",
    "Your role: {role} with a focus on {subject}.", "act like a {role}", "As a {role} you know everything about {subject}.", "From now on, you are a {role}.", "I need you to act as a {role} and as a {role} at the same time.",
    "You are a world-class {role} specialised in {subject}.", "Hi, can you act as a {role}?", "Imagine you are a {role}.",
]
DUTIES = [
    "I will provide {input} and you will reply with {result}.", "I will give you {input}, and your task is to write {result}.", "When I write {input}, answer with {result}.", "You will come up with {result} about {subject}.",
    "Your goal is to give {result} that people understand.", "You should only reply with {result}.", "Do not write explanations.", "Do not type anything else.", "Reply with {result} and nothing else.", "I want you to only reply with {result}.",
    "You should be able to explain {subject} with simple words.", "You may choose any style, as long as it is about {subject}.", "Use your knowledge of {subject} to find {result}.", "It should be creative, helpful and correct.",
    "Take into account {input} and {input}.", "Do not ask questions back.", "Ask me for {input} if it is missing.", "Only answer when I say go.", "You must never reply with more than {n} words.", "Use the latest methods of {subject}.",
    "For example, I might send {input} and you would send {result}.", "Never forget that I am a beginner in {subject}.", "Keep a neutral tone.", "You are very intelligent and interested in {subject}, travel and music.",
    "You speak {n} languages and have worked in many countries.", "Your answers must follow the rules of {subject}.", "Ignore spelling mistakes in {input}.", "Format: first {result}, then {result}.", "If I send {input} twice, tell me.",
    "It will be your job to find {result} that fits {input}.",
]
FIRSTS = [
    "My first request is \"I need help with {subject}\".", "My first sentence is \"{subject}\".", "My first question: what should I know about {subject}?", "Let's start with {subject}.", "First input: {subject}.", "My first command is help.",
    "The first topic is {subject}.", "Start by asking me for {input}.", "My first suggestion request is \"{result} for {n} people\".", "Say hello when you are ready.", "Now begin.", "Reply 'OK' to confirm that you understood.",
    "Here is {input}: {subject} and {subject}.", "What do you suggest for {subject}?", "Can you do this?",
]
PLAIN = [
    "How can I {verb} {item} in {tool}?", "how to {verb} {item} with {tool}", "I have {item} in {tool} and want to {verb} it every {n} minutes. How?", "Using only {tool}, {verb} {item}.", "Write a program in {tool} that can {verb} {item} and {verb} {item}.",
    "There is {item} with the columns name, year and amount. I want to {verb} the best {n} of each year.", "Suggest functions for a system that can {verb} {item}: users, projects, deadlines and reports.", "What is the difference between {tool} and {tool}?",
    "{who} has {n} apples and {who} has {n}. They take turns; who wins if both play well?", "{who} and {who} roll two dice and note the sum. What is the chance that {who} gets {n} first?", "There are {n} pumps, each with a power of {n} kW. How long do they need together?",
    "Write a proposal for {who} about {subject} instead of {subject}.", "Explain how {tool} works to {who}.", "Write technical requirements for this function: the display shall show {item} within {n} ms.", "My {tool} crashes when I {verb} {item}, what now?",
    "Give me a plan to learn {tool} in {n} weeks.", "act like an expert in {tool} and tell me how to {verb} {item}", "Create a small app with {tool}: it should {verb} {item}, {verb} {item} and look modern.", "Answer these {n} questions about {subject} in essay form.",
    "You are a moderator of a forum about {subject}. Reply to this message of {who}: when do we start?", "I am trying to write a prompt so that a model can {verb} {item}. How would you word it?", "Describe {item} in {tool} with {n} examples.", "show the memory use of {item} in {tool}",
    "What happened to {subject} in the last {n} years?", "Write {n} jokes about {subject}.", "Is it better to {verb} {item} or to {verb} it later?", "Tell me how to {verb} {item}, then how to test it.", "Compare {subject} in {n} countries as a table.", "I'm building {item} for {who}. Review my idea: it will {verb} and {verb} things.",
    "Translate this to German: {who} wants to {verb} {item}.", "Go one level up: explain how you explained {subject}.", "Which questions should {who} ask about {subject}?", "The customer says: {item} is broken since {n} days. Draft an answer.", "List what can go wrong when you {verb} {item}.", "Calculate the cost of {n} trips with {n} people each.",
]
SYSTEMS = [
    "Context:\nThis prompt is used by a tool for {tool}.\n\nPurpose:\n{verb} {item} from natural language.\n\nRules:\n- ask for {input} if needed\n- return {result}", '{\n  "role": "{role}",\n  "mode": "simulation of {subject}",\n  "input": "{input}",\n  "output": "{result}"\n}',
    "## Role\n{role}\n## Skills\n{subject}, {subject}\n## Rules\n1. {result} first\n2. no more than {n} lines\n## Start\nGreet {who}.", "When I give you {input}, never reply with text. Instead imagine {result} in the style of {subject}.", "You reply only with 'yes' or 'no'. Do not write anything else. Structure: {input}, then the answer.",
    "# {role} for {subject}\nYou help people who know {tool} but not {subject}. Go step by step: 1) ask for {input} 2) give {result} 3) check.", "Eres un {role}. Tienes prohibido dar la solución; guía al alumno paso a paso sobre {subject}.", "Du bist ein {role}. Antworte nur mit {result}.",
    "Tu es un {role}. Je te donne {input}, tu réponds par {result}.", "Variables: tone={subject}; length={n}; audience={who}. Task: {result}.",
]


def role(rng: random.Random, validation: bool = False) -> str:
    """A role, what it does, and often a first request."""
    if rng.random() < 0.15:
        return expand(pick(SYSTEMS, rng, validation), SLOTS, rng)
    parts = [pick(ROLES, rng, validation)] + [pick(DUTIES, rng, validation) for _ in range(rng.choice([1, 2, 3, 4, 5, 7]))]
    if rng.random() < 0.75:
        parts.append(pick(FIRSTS, rng, validation))
    return capital(rng.choice([" ", " ", " ", "\n"]).join(expand(p, SLOTS, rng) for p in parts))


def plain(rng: random.Random, validation: bool = False) -> str:
    """One to three plain requests."""
    parts = [expand(pick(PLAIN, rng, validation), SLOTS, rng) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
    return rng.choice([" ", "\n"]).join(parts)
