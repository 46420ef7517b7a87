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

MAX_LENGTH = 256
"""Tokens per window at serving time, [CLS] and [SEP] included."""
STRIDE = 64
"""Content tokens that neighbouring windows share."""
MAX_WORD_CHARS = 100
"""WordPiece turns longer words into [UNK], so they are cut into pieces of this size first."""

CLS, SEP, PAD = 101, 102, 0
