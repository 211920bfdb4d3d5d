"""
Laws of Hugging Face's transformers
===================================

GPT-2, Llama, Qwen 3, Mixtral, BERT and ViT, as `transformers` has them and initialises them, are scanned without a word about what
they compute. A small Mixtral is then trained with experts whose gradients are counted twice after half of the steps, as where two
devices hold the same expert: the loss curve of AdamW does not show it, the laws do at once.
"""

import sys
import warnings
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import noetherlite as nl

try:
    import torch
    import transformers
except ImportError:
    print("skipped: this example needs PyTorch and transformers, pip install 'noetherlite[crosscheck]'")
    sys.exit(0)

transformers.logging.set_verbosity_error()
warnings.filterwarnings("ignore", module="transformers")  # of tensors that a class makes for itself
torch.set_num_threads(1)  # models this small wait for each other otherwise
torch.manual_seed(0)

VOCABULARY, TIME = 11, 6
STEPS = int(sys.argv[1]) if sys.argv[1:] else 80  # more by an argument
BUG = STEPS // 2
SMALL = {
    "vocab_size": VOCABULARY, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12,
    "max_position_embeddings": TIME, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "attn_implementation": "eager",
    "hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0, "resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0,
}  # fmt: skip
GROUPED = {"num_key_value_heads": 1, "head_dim": 4}
EXPERTS = {"num_local_experts": 3, "num_experts_per_tok": 2, "experts_implementation": "eager"}
MODELS: dict[str, dict[str, Any]] = {
    "GPT2LMHead": {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": TIME, "n_inner": 12},
    "LlamaForCausalLM": GROUPED,
    "Qwen3ForCausalLM": GROUPED,
    "MixtralForCausalLM": GROUPED | EXPERTS,
    "BertForSequenceClassification": {"num_labels": 3},
    "ViTForImageClassification": {"num_labels": 3, "image_size": 4, "patch_size": 2, "num_channels": 2},
}


def built(name: str) -> Any:
    """Return a small model of a class, as it is initialised."""
    config = getattr(transformers, name.partition("For")[0].removesuffix("LMHead") + "Config")
    model = getattr(transformers, f"{name}Model" if name.endswith("Head") else name)
    return model(config(**(SMALL | MODELS[name])))


def counting(size: int = 3) -> dict[str, Any]:
    """Return a batch of sentences that count upwards."""
    ids = (torch.randint(VOCABULARY, (size, 1)) + torch.arange(TIME - 1)) % VOCABULARY
    return {"input_ids": ids, "labels": ids}


def inputs_of(name: str) -> dict[str, Any]:
    """Return one batch of what a model takes."""
    labels = torch.tensor([0, 1, 2])
    if name.startswith("ViT"):
        return {"pixel_values": torch.randn(3, 2, 4, 4, dtype=torch.float64), "labels": labels}
    return counting() | ({"labels": labels} if name.startswith("Bert") else {})


def scanned(name_of_class: str) -> nl.tensors.Scan:
    """Return the laws of a model in double precision."""
    model, inputs = built(name_of_class).double(), inputs_of(name_of_class)

    def gradient(params: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
        leaves = {name: torch.tensor(x, requires_grad=True) for name, x in params.items()}
        loss = torch.func.functional_call(model, leaves, kwargs=inputs).loss
        return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))

    return nl.scan(gradient, dict(model.named_parameters()), draws=18)


scans = {name: scanned(name) for name in MODELS}
for name_of_class, scan in scans.items():
    print(f"{name_of_class}: {len(scan.relations)} laws of {len(scan.shapes)} tensors")

# %%
# The laws of Mixtral. Losses and gates compute in single precision whatever the parameters have; symmetries that this breaks are no
# bugs, and are said to hold nearly.

print(scans["MixtralForCausalLM"])
scans["MixtralForCausalLM"].plot().figure.savefig("laws_of_mixtral.png", dpi=120)

# %%
# Training in single precision, watched every fifth step: once as it is, and once with experts counted twice.


def trained(is_wrong: bool) -> tuple[list[float], list[float], nl.tensors.Watch]:
    """Return losses, the defects of the gain law before the experts relative to its terms, and the watch."""
    torch.manual_seed(1)
    model = built("MixtralForCausalLM")
    params = dict(model.named_parameters())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    laws = scans["MixtralForCausalLM"].laws()
    gain = next(law for law in laws if "post_attention" in law.name)
    watch, losses, defects = nl.watch(laws, every=5), [], []
    for step in range(STEPS):
        loss = model(**counting(16)).loss
        optimizer.zero_grad()
        loss.backward()
        if is_wrong and step >= BUG:
            for name in (name for name in params if "experts" in name):
                params[name].grad *= 2
        grads = {name: p.grad for name, p in params.items()}
        for finding in watch(params, grads):
            print(f"step {step}, loss {loss.item():.3f}: {finding}")
        arrays = ({name: tensors[name].detach().numpy() for name in gain.tensors} for tensors in (params, grads))
        defect, size = gain.defect(*arrays)
        defects.append(float(np.max(np.abs(defect) / size)))
        losses.append(loss.item())
        optimizer.step()
    return losses, defects, watch


right, wrong = trained(False), trained(True)
print(right[2].report())

figure, (left, middle) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for (losses, defects, _), color, label in ((right, "#0072B2", "correct"), (wrong, "#E69F00", "experts counted twice")):
    left.plot(losses, color=color, label=label)
    middle.semilogy(defects, color=color, label=label)
left.set(xlabel="step", ylabel="loss")
middle.set(xlabel="step", ylabel="defect of the gain law / its terms")
for ax in (left, middle):
    ax.axvline(BUG, color="0.8", zorder=0)
left.legend(frameon=False)
figure.savefig("mixtral_with_a_bug.png", dpi=120)
