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

IDENTIFIERS = frozenset({
    "API_KEY", "BANK_ACCOUNT", "CREDIT_CARD", "CRYPTO_WALLET", "CVV", "DRIVER_LICENSE", "IBAN", "LICENSE_PLATE", "MAC_ADDRESS",
    "MEDICAL_ID", "NATIONAL_ID", "PASSPORT", "PASSWORD", "SSN",
})
"""What prompts and code of the public corpora do not hold: their tokens are none of these."""

FORMATS = {
    "API_KEY": r"\S{12}",
    "BANK_ACCOUNT": r"(?s)(?:\d.*){5}",
    "CREDIT_CARD": r"^[0-9](?:[^0-9A-Za-z]{0,6}[0-9]){11,18}$",
    "CRYPTO_WALLET": r"^[A-Za-z\d:]{25,}$",
    "CVV": r"^\d{3,4}$",
    "DATE": r"(?i)\d\D+\d|\d{4}|\d\W*[^\W\d]{3}|[^\W\d]{3}\W*\d",
    "DATE_OF_BIRTH": r"\w[\W_]+\w+[\W_]+\w|\d{6}|[^\W\d]{3}\W+\d{4}|\d[/.-]\d",
    "DRIVER_LICENSE": r"\d",
    "EMAIL": r"(?i).(?:@|[\W_](?:at|ät|a|arroba)[\W_]).",
    "IBAN": r"(?i)^[a-z]{2}[^0-9a-z]?[0-9]{2}(?:[^0-9a-z]{0,3}[0-9a-z]){11,30}$",
    "IP_ADDRESS": r"(?i)(?:\d{1,3}\s?(?:\.|\[\.\]|\(\.\)|[\[(]dot[\])])\s?){3}\d|:[\da-f.]*:[\da-f]|[\da-f]{1,4}::",
    "LICENSE_PLATE": r"\d",
    "MAC_ADDRESS": r"(?i)[0-9a-f](?:[\s:._-]{0,2}[0-9a-f]){11}",
    "MEDICAL_ID": r"\d",
    "NATIONAL_ID": r"\d",
    "PASSPORT": r"\d",
    "PASSWORD": r"[\d\W_]|\w{6}",
    "PHONE": r"(?:[0-9][^0-9]{0,4}){6}",
    "SSN": r"(?:[0-9][^0-9]{0,6}){4}",
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
