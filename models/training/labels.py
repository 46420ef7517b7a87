"""Label sets and shape constants shared by training, evaluation and export."""

from __future__ import annotations

INJECTION = ["SAFE", "INJECTION"]
TOXICITY = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]
ENTITIES = [
    "ADDRESS", "AGE", "API_KEY", "BANK_ACCOUNT", "CREDIT_CARD", "CRYPTO_WALLET", "CVV", "DATE",
    "DATE_OF_BIRTH", "DRIVER_LICENSE", "EMAIL", "IBAN", "IP_ADDRESS", "LICENSE_PLATE", "LOCATION",
    "MAC_ADDRESS", "MEDICAL_ID", "NATIONAL_ID", "ORGANIZATION", "PASSPORT", "PASSWORD", "PERSON",
    "PHONE", "SSN", "URL", "USERNAME", "ZIP_CODE",
]
BIO = ["O"] + [f"{prefix}-{label}" for label in ENTITIES for prefix in "BI"]
"""Token classes: O is 0, B-X of entity number k is 2k+1, I-X is 2k+2."""

FORMATS = {
    "AGE": r"\d",
    "API_KEY": r"^\S{12,}$",
    "BANK_ACCOUNT": r"(?s)(?:\d.*){5}",
    "CREDIT_CARD": r"^\d(?:\D{0,3}\d){11,18}$",
    "CRYPTO_WALLET": r"^[A-Za-z\d:]{25,}$",
    "CVV": r"^\d{3,4}$",
    "DATE": r"(?i)\d\D+\d|\d{4}|\d\W*[^\W\d]{3}|[^\W\d]{3}\W*\d",
    "DATE_OF_BIRTH": r"\w[\W_]+\w+[\W_]+\w|\d{6}",
    "DRIVER_LICENSE": r"(?s)(?:\d.*){4}",
    "EMAIL": r"(?i).(?:@|\W+at\W+).",
    "IBAN": r"(?i)^[a-z]{2}\s?\d{2}(?:[\s-]?[a-z\d]){11,30}$",
    "IP_ADDRESS": r"(?i)(?:\d{1,3}\s?[.\[\]()]+\s?){3}\d|:[\da-f.]*:",
    "LICENSE_PLATE": r"\d",
    "MAC_ADDRESS": r"(?i)[\da-f](?:[\s:.-]{0,2}[\da-f]){11}",
    "MEDICAL_ID": r"(?s)(?:\d.*){4}",
    "NATIONAL_ID": r"(?s)(?:\d.*){4}",
    "PASSPORT": r"(?s)(?:\d.*){4}",
    "PASSWORD": r"[\d\W_]",
    "PHONE": r"(?:\d\D{0,4}){7}",
    "SSN": r"^\d(?:\D{0,3}\d){8}$",
    "URL": r"(?i)\.|://|\bdot\b|hxxp",
    "USERNAME": r"^\S{2,}$",
    "ZIP_CODE": r"(?i)\d{4}|[a-z].*\d.*\d|\d.*[a-z].*\d|\d\d\d?[\s-]\d",
}
"""What an entity's text must match somewhere; a span that does not look like its label is none."""

MAX_LENGTH = 256
"""Tokens per window at serving time, [CLS] and [SEP] included."""
STRIDE = 64
"""Content tokens that neighbouring windows share."""
MAX_WORD_CHARS = 100
"""WordPiece turns longer words into [UNK], so they are cut into pieces of this size first."""

CLS, SEP, PAD = 101, 102, 0
