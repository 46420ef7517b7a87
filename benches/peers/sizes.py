"""Models of random weights, made from a seed, in the sizes of those that matter.

    sizes.py FOLDER NAME ...     # a package each, FOLDER/NAME
"""

import pathlib
import shutil
import sys

import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEED = 20261123

# Layers, hidden size and intermediate size; heads are of 64 values, MiniLM's of 32.
DEBERTA = {
    "deberta-v3-base": (12, 768, 3072),
    "deberta-v3-xsmall": (12, 384, 1536),
    "deberta-v3-large": (24, 1024, 4096),
}
BERT = {"minilm-l6": (6, 384, 1536), "bert-base": (12, 768, 3072), "xlm-r-large": (24, 1024, 4096)}
MODELS = ["deberta-v3-base", "minilm-l6", "deberta-v3-xsmall", "bert-base", "modernbert-base"]


def config(name, layers=None, vocabulary=None):
    """The configuration of a size; fewer layers and a smaller vocabulary make a quick model of its shapes."""
    common = dict(num_labels=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    if name == "modernbert-base":
        return transformers.ModernBertConfig(
            num_labels=2, vocab_size=vocabulary or 50368, num_hidden_layers=layers or 22,
            pad_token_id=0, cls_token_id=2, bos_token_id=2, sep_token_id=3, eos_token_id=3)
    if name not in DEBERTA | BERT:
        raise SystemExit(f"no such model: {name}")
    own_layers, hidden, intermediate = (DEBERTA | BERT)[name]
    common |= dict(num_hidden_layers=layers or own_layers, hidden_size=hidden, intermediate_size=intermediate)
    if name in DEBERTA:
        return transformers.DebertaV2Config(
            vocab_size=vocabulary or 128100, num_attention_heads=hidden // 64, max_position_embeddings=512,
            type_vocab_size=0, relative_attention=True, position_buckets=256, norm_rel_ebd="layer_norm",
            share_att_key=True, pos_att_type=["p2c", "c2p"], layer_norm_eps=1e-7, max_relative_positions=-1,
            position_biased_input=False, pooler_dropout=0.0, pooler_hidden_act="gelu",
            pooler_hidden_size=hidden, **common)
    if name == "xlm-r-large":
        return transformers.XLMRobertaConfig(
            vocab_size=vocabulary or 250002, num_attention_heads=hidden // 64, max_position_embeddings=514,
            type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5, **common)
    return transformers.BertConfig(vocab_size=vocabulary or 30522, num_attention_heads=12, **common)


def sharpen(model):
    """Makes attention choose and scores differ, as trained models do: with the usual small random weights
    every token would attend to all alike, and wrong positions would hardly show."""
    with torch.no_grad():
        for part, weight in model.named_parameters():
            if part.endswith(("query_proj.weight", "key_proj.weight", "query.weight", "key.weight")):
                weight *= 2.7
            elif part.endswith("Wqkv.weight"):
                weight[: weight.shape[0] // 3 * 2] *= 2.7
            elif part == "classifier.weight":
                weight *= 10


def package(name, folder, **smaller):
    """Random weights in a package's layout. The tokenizer is one of letters; its ids fit the smallest
    vocabulary."""
    made = folder / name
    if made.is_dir():
        return made
    torch.manual_seed(SEED)
    model = transformers.AutoModelForSequenceClassification.from_config(config(name, **smaller))
    sharpen(model)
    model.float().save_pretrained(made)
    shutil.copy(ROOT / "tests/golden/bert-sequence/tokenizer.json", made)
    return made


if __name__ == "__main__":
    for name in sys.argv[2:]:
        print(package(name, pathlib.Path(sys.argv[1])))
