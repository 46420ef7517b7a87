"""Signs a file by minisign's scheme, in py-minisign's implementation, and prints the signer's public key and a
stranger's.

    python sign.py FILE
"""

import json
import sys

import minisign

pair, stranger = minisign.KeyPair.generate(), minisign.KeyPair.generate()
pair.secret_key.sign_file(sys.argv[1], prehash=True, drop_signature=True)
print(json.dumps({name: key.to_base64().decode() for name, key in
                  (("signer", pair.public_key), ("stranger", stranger.public_key))}))
