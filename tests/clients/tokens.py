"""Keys and tokens of an issuer, by PyJWT: a JWK set in FOLDER/jwks.json, and tokens by name as JSON.

    python tokens.py FOLDER
"""

import json
import pathlib
import sys
import time

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

folder = pathlib.Path(sys.argv[1])
keys = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
makers = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "ES384": ECAlgorithm, "EdDSA": OKPAlgorithm}


def public(name):
    return makers[name].to_jwk(keys[name].public_key(), as_dict=True) | {"kid": name, "use": "sig"}


def write(names, extra=()):
    (folder / "jwks.json").write_text(json.dumps({"keys": [public(name) for name in names] + list(extra)}))


# A key for encryption is none for signatures.
write(keys, [public("RS256") | {"kid": "enc", "use": "enc"}])
now = int(time.time())
claims = {"iss": "https://issuer.example", "aud": "portcullis", "sub": "ann", "exp": now + 600}


def token(algorithm="ES256", kid=None, key=None, headers=None, **changed):
    given = {name: value for name, value in (claims | changed).items() if value is not None}
    headers = {"kid": kid or algorithm} | (headers or {})
    return jwt.encode(given, key or keys[algorithm], algorithm=algorithm, headers=headers)


pem = keys["RS256"].public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
secret = public("RS256")["n"]
stranger = ec.generate_private_key(ec.SECP256R1())
good = token()
head, body, signature = good.split(".")
print(json.dumps({
    "good": {
        **{name: token(name) for name in keys},
        "PS512": token("PS512", "RS256", keys["RS256"]), "RS384": token("RS384", "RS256", keys["RS256"]),
        "several audiences": token(aud=["other", "portcullis"]), "a little late": token(exp=now - 20),
    },
    # Clocks may differ by a minute.
    "ending": {"soon": token(exp=now - 52)},
    "roles": {
        "check": token(roles=["check"]), "both": token(roles="check scores"), "none": token(),
        "other": token(roles=["admin", 7]),
    },
    "bad": {
        "expired": token(exp=now - 600), "no end": token(exp=None), "an end that is no number": token(exp="never"),
        "not yet": token(nbf=now + 600), "a beginning that is no number": token(nbf="now"),
        "other issuer": token(iss="https://other.example"), "no issuer": token(iss=None),
        "other audience": token(aud="other"), "no audience": token(aud=None),
        "stranger": token(key=stranger), "no key": token(kid="unknown"), "encryption's key": token("RS256", "enc"),
        "key of another": token("ES256", "ES384"), "other algorithm": token("RS256", "ES256"),
        "secret": jwt.encode(claims, secret, algorithm="HS256", headers={"kid": "RS256"}),
        "pem as secret": jwt.api_jws.PyJWS().encode(json.dumps(claims).encode(), key="x" * 64, algorithm="HS512",
                                                    headers={"kid": "RS256"}),
        "unsigned": jwt.encode(claims, None, algorithm="none", headers={"kid": "ES256"}),
        "signature gone": f"{head}.{body}.", "signature cut": good[:-8],
        "other claims": ".".join([head, token(sub="bob").split(".")[1], signature]),
        "critical": token(headers={"crit": ["x"], "x": 1}),
        "no tenant": token(sub=None), "tenant with a line": token(sub="a\nb"), "tenant too long": token(sub="a" * 200),
        "too long": token(filler="a" * 9000), "no token": "a.b.c", "nothing": "..",
    },
}))
