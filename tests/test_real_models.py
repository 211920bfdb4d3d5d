"""Models as people have them, scanned without any description: classes of Hugging Face, PyTorch, Flax and Keras, in double precision."""

import os

import numpy as np
import pytest

import noetherlite as nl

pytestmark = pytest.mark.needs_jit  # nothing here is compiled by numba, and importing frameworks takes its time


def generic(shapes):
    """Random parameters of order one after each layer, gains near one, where an initialiser would have to be compiled."""
    rng = np.random.default_rng(0)
    out = {}
    for name, shape in shapes.items():
        x = rng.normal(size=shape) / (np.sqrt(shape[-1]) if len(shape) > 1 else 1)
        gain = len(shape) == 1 and name.rpartition(".")[2] in ("weight", "scale", "gamma")
        out[name] = 1 + x / 10 if gain else x
    return out


def names_of(scan):
    assert all(law.residual < 200 * scan.eps for law in scan.relations)
    return sorted(f"{law.name}: {law.group}" for law in scan.relations)


# PyTorch.


def torch_scan(model, loss, draws=24, dtype="float64"):
    torch = pytest.importorskip("torch")
    model = model.to(getattr(torch, dtype))  # as initialised: weights of 0.02, biases zero, gains one

    def gradient(params):
        leaves = {name: torch.tensor(x, requires_grad=True) for name, x in params.items()}
        return dict(zip(leaves, torch.autograd.grad(loss(model, leaves), list(leaves.values())), strict=True))

    return nl.scan(gradient, dict(model.named_parameters()), draws=draws)


CLASSES = {
    "GPT2": ("GPT2LMHeadModel", "GPT2Config", {"n_embd": 6, "n_layer": 1, "n_head": 2, "n_positions": 6, "n_inner": 10}),
    "Llama": ("LlamaForCausalLM", "LlamaConfig", {"num_key_value_heads": 1, "head_dim": 4}),
    "Qwen3": ("Qwen3ForCausalLM", "Qwen3Config", {"num_key_value_heads": 1, "head_dim": 4}),
    "Mixtral": ("MixtralForCausalLM", "MixtralConfig", {
        "num_key_value_heads": 1, "head_dim": 4, "num_local_experts": 3, "num_experts_per_tok": 2,
        "experts_implementation": "eager",
    }),
    "BERT": ("BertForSequenceClassification", "BertConfig", {"num_labels": 3}),
    "ViT": ("ViTForImageClassification", "ViTConfig", {"num_labels": 3, "image_size": 4, "patch_size": 2, "num_channels": 2}),
}  # fmt: skip
SIZES = {
    "vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12,
    "max_position_embeddings": 6, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "attn_implementation": "eager",
    "hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0, "resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0,
}  # fmt: skip


def hugging_face(name, dtype="float64"):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model_class, config_class, sizes = CLASSES[name]
    config = getattr(transformers, config_class)(**(SIZES | sizes))
    torch.manual_seed(0)
    model = getattr(transformers, model_class)(config).train()
    seeds = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 11, (3, 5), generator=seeds)
    inputs = {"input_ids": ids, "labels": ids}
    if name == "BERT":
        inputs["labels"] = torch.tensor([0, 1, 2])
    if name == "ViT":
        pixels = torch.randn(4, 2, 4, 4, generator=seeds, dtype=getattr(torch, dtype))
        inputs = {"pixel_values": pixels, "labels": torch.tensor([0, 1, 2, 1])}

    def loss(model, leaves):
        return torch.func.functional_call(model, leaves, kwargs=inputs).loss

    return torch_scan(model, loss, dtype=dtype)


def resnet():
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4, eps=1e-30)
            self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4, eps=1e-30)
            self.conv3, self.fc = nn.Conv2d(4, 5, 3, padding=1, bias=False), nn.Linear(5, 3)

        def forward(self, x):
            x = self.bn1(self.conv1(x)).relu()
            x = x + self.bn2(self.conv2(x)).relu()
            return self.fc(self.conv3(x).relu().mean((2, 3)))

    torch.manual_seed(0)
    seeds = torch.Generator().manual_seed(0)
    X, y = torch.randn(6, 2, 4, 4, generator=seeds, dtype=torch.float64), torch.tensor([0, 1, 2, 1, 0, 2])

    def loss(model, leaves):
        return nn.functional.cross_entropy(torch.func.functional_call(model, leaves, (X,)), y)

    return torch_scan(Residual(), loss)


# JAX.


def flax_problem(jax):
    """The loss of a transformer of Flax, and generic parameters."""
    nn = pytest.importorskip("flax").linen
    jnp = jax.numpy

    class Transformer(nn.Module):
        @nn.compact
        def __call__(self, ids):
            options = {"param_dtype": jnp.float64}
            x = nn.Embed(7, 6, name="tokens", **options)(ids)
            x = x + nn.Embed(5, 6, name="positions", **options)(jnp.arange(5))
            y = nn.LayerNorm(name="norm_1", **options)(x)
            x = x + nn.MultiHeadDotProductAttention(2, name="attention", **options)(y, mask=nn.make_causal_mask(ids))
            y = nn.LayerNorm(name="norm_2", **options)(x)
            x = x + nn.Dense(6, name="down", **options)(nn.relu(nn.Dense(9, name="up", **options)(y)))
            return nn.Dense(7, use_bias=False, name="head", **options)(nn.LayerNorm(name="norm_f", **options)(x))

    model = Transformer()
    ids = jax.random.randint(jax.random.key(0), (3, 5), 0, 7)
    tree = jax.eval_shape(model.init, jax.random.key(1), ids)["params"]  # shapes alone: nothing is compiled
    shapes = {
        ".".join(str(key.key) for key in path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
    order = jax.tree_util.tree_structure(tree)

    def loss(flat):
        logits = model.apply({"params": jax.tree_util.tree_unflatten(order, [flat[name] for name in shapes])}, ids)
        picked = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.roll(ids, 1, axis=1)[..., None], axis=-1)
        return -picked.mean()

    return loss, generic(shapes)


def keras_scan():
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "jax":
        pytest.skip("Keras was imported with another backend")
    import jax

    layers = keras.layers
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")  # otherwise a part of a layer in double precision computes in single
    keras.config.set_dtype_policy("float64")  # it is not the former's once a layer was made
    zeros = {"kernel_initializer": "zeros"}  # random ones would be compiled
    model = keras.Sequential(
        [
            layers.Input((4, 4, 2), dtype="float64"),
            layers.Conv2D(5, 3, activation="relu", name="conv", **zeros),
            layers.GlobalAveragePooling2D(),
            layers.Dense(6, activation="gelu", name="dense", **zeros),
            layers.LayerNormalization(name="norm"),
            layers.Dense(3, name="head", **zeros),
        ],
        name="sequential",  # else numbered, where a process makes several
    )
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(7, 4, 4, 2)), rng.integers(0, 3, 7)
    names = [variable.path.replace("/", ".") for variable in model.trainable_variables]

    def loss(flat):
        logits, _ = model.stateless_call([flat[name] for name in names], model.non_trainable_variables, X)
        return -jax.numpy.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1).mean()

    shapes = {name: tuple(v.shape) for name, v in zip(names, model.trainable_variables, strict=True)}
    try:
        return nl.scan(jax.jit(jax.grad(loss)), generic(shapes), draws=24, spread=0.3)
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def shifts(**groups):
    """Laws of shifts: by the beginning of the names, the rest of each and the number of its columns."""
    return [
        f"shift of {begin.replace('__', '.')}{name}: R^{n}"
        for begin, each in groups.items()
        for name, n in each.items()
    ]


def gains(width, *names):
    return [f"gain of {name} with its readers: R₊^{width}" for name in names]


ATTENTION = ["queries and keys of layer 0 (2 heads): GL(4) × 2", "values and output of layer 0 (2 heads): GL(4) × 2"]
LLAMA = [
    *gains(8, "model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm", "model.norm"),
    "values and output of layer 0 (one head): GL(4)",
]
ROTARY = "queries and keys of layer 0 (2 pairs): C* × 2"
NEURONS = "neurons between model.layers.0.mlp.{up}_proj and model.layers.0.mlp.{down}: R₊^{n}"
HEAD = {".bias": 1, ".weight": 8}
EXPECTED = {
    "GPT2": [
        *gains(8, "transformer.h.0.ln_1", "transformer.h.0.ln_2"), "no gradient in transformer.h.0.attn.c_attn.bias (entries 8:16): R^8",
        *shifts(transformer__h__0__attn__c_proj=HEAD, transformer__h__0__mlp__c_proj={".bias": 1, ".weight": 10}, transformer__wpe={".weight": 6}),
        *ATTENTION,
    ],
    "Llama": [*LLAMA, ROTARY, NEURONS.format(up="up", down="down_proj", n=12)],
    "Qwen3": [*LLAMA, *gains(2, "model.layers.0.self_attn.q_norm"), NEURONS.format(up="up", down="down_proj", n=12)],
    "Mixtral": [*LLAMA, ROTARY, NEURONS.format(up="experts.gate_up", down="experts.down_proj", n=36)],
    "BERT": [
        *gains(8, "bert.encoder.layer.0.output.LayerNorm"), "no gradient in bert.encoder.layer.0.attention.self.key.bias: R^8",
        "shift of bert.embeddings.position_embeddings and bert.embeddings.token_type_embeddings: R^8",
        *shifts(
            bert__embeddings={".position_embeddings.weight": 6, ".token_type_embeddings.weight": 2, ".word_embeddings.weight": 11},
            bert__encoder__layer__0={".attention.output.dense.bias": 1, ".attention.output.dense.weight": 8},
            bert__encoder__layer__0__output__dense={".bias": 1, ".weight": 12}, classifier=HEAD,
        ),
        *ATTENTION,
    ],
    "ViT": [
        *gains(8, "vit.layernorm", "vit.layers.0.layernorm_after", "vit.layers.0.layernorm_before"),
        "shift of vit.embeddings.cls_token and vit.embeddings.patch_embeddings.projection and 1 more: R^8",
        *shifts(
            classifier=HEAD, vit__embeddings={".cls_token": 1, ".patch_embeddings.projection.weight": 8, ".position_embeddings": 5},
            vit__layers__0__attention__o_proj=HEAD, vit__layers__0__mlp__fc2={".bias": 1, ".weight": 12},
        ),
        *ATTENTION,
    ],
}  # fmt: skip
# What these classes compute in single precision whatever their parameters have: logits, the softmax of experts and of attention.
NEARLY = {
    "GPT2": ["transformer.wte.weight"],
    "Llama": ["lm_head.weight"],
    "Mixtral": ["model.layers.0.mlp.gate.weight", "lm_head.weight"],
    "ViT": ["vit.layers.0.attention.k_proj.bias"],
}


@pytest.mark.parametrize("name", CLASSES)
def test_classes_of_hugging_face(name):
    scan = hugging_face(name)
    assert names_of(scan) == sorted(EXPECTED[name])
    for tensor in NEARLY.get(name, ()):
        assert f"a symmetry of {tensor} alone nearly holds" in " ".join(scan.limits)


def test_in_single_precision_the_cast_is_no_difference():
    scan = hugging_face("Llama", dtype="float32")
    assert names_of(scan) == sorted([*EXPECTED["Llama"], "shift of lm_head.weight: R^8"])


def test_a_residual_network_with_batch_normalisation():
    assert names_of(resnet()) == sorted(
        [
            "neurons between bn1 and bn2 and 2 more: R₊^4", "neurons between fc and conv3: R₊^5", "no gradient in conv1.bias: R^4",
            "scaling of conv1.weight: R₊^4", "scaling of conv2.weight: R₊^4", *shifts(fc={".bias": 1, ".weight": 5}),
        ]
    )  # fmt: skip


def test_a_transformer_of_flax_and_adam_of_optax(jax):
    optax = pytest.importorskip("optax")
    loss, params = flax_problem(jax)
    gradient = jax.jit(jax.grad(loss))
    scan = nl.scan(gradient, params, draws=24, spread=0.3)
    expected = [
        *gains(6, "norm_1", "norm_2", "norm_f"), "neurons between up and down: R₊^9", "no gradient in attention.key.bias: R^6",
        "queries and keys (2 heads): GL(3) × 2", "values and output (2 heads): GL(3) × 2", "shift of positions and tokens: R^6",
        *shifts(attention__out={".bias": 1, ".kernel": 6}, down={".bias": 1, ".kernel": 9}, head={".kernel": 6}),
        *shifts(positions={".embedding": 5}, tokens={".embedding": 7}),
    ]  # fmt: skip
    assert names_of(scan) == sorted(expected)
    adam = optax.adam(1e-2)
    state, update = adam.init(params), jax.jit(adam.update)
    watch = nl.watch(scan.laws(), averaging=0.9)
    for step in range(6):
        grads = gradient(params)
        watch(params, grads, state=state[0].mu if step else {})
        updates, state = update(grads, state)
        params = {name: x + np.asarray(updates[name]) for name, x in params.items()}
    assert watch.ok, watch.report()


def test_a_model_of_equinox_is_a_tree(jax):
    """Its modules are dataclasses; what is no array in them, such as an activation, is none of the parameters."""
    eqx = pytest.importorskip("equinox")
    model = eqx.nn.MLP(3, 2, 5, 1, activation=jax.nn.relu, key=jax.random.key(0))
    model = jax.tree.map(lambda a: np.asarray(a, float) if eqx.is_array(a) else a, model)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    arrays, rest = eqx.partition(model, eqx.is_array_like)
    order = jax.tree.structure(arrays)
    gradient = jax.jit(jax.grad(lambda arrays: ((jax.vmap(eqx.combine(arrays, rest))(X) - y) ** 2).mean()))
    scan = nl.scan(lambda flat: gradient(jax.tree.unflatten(order, [*flat.values()])), model)
    assert list(scan.shapes) == [f"layers.{k}.{part}" for k in range(2) for part in ("weight", "bias")]
    assert names_of(scan) == ["neurons between layers.0 and layers.1: R₊^5"]
    watch = nl.watch(scan.laws())
    for _ in range(5):
        grads = gradient(arrays)
        watch(arrays, grads)
        arrays = jax.tree.map(lambda x, g: x - 0.1 * np.asarray(g), arrays, grads)
    assert watch.ok
    grads = gradient(arrays)

    def with_weight(value):
        return eqx.tree_at(lambda tree: tree.layers[1].weight, grads, value)

    (finding, *_) = watch(arrays, with_weight(0.5 * np.asarray(grads.layers[1].weight)))
    assert "layers.1.weight" in finding.reason
    watch(arrays, with_weight(None))
    assert "grads has no entry for 'layers.1.weight'" in watch.problem


def test_keras_on_jax(jax):
    """Keras normalises layers in single precision whatever they have: what that breaks is said, not called a law."""
    scan = keras_scan()
    assert set(names_of(scan)) >= {"shift of sequential.head.bias: R^1", "shift of sequential.head.kernel: R^6"}
    tensors = "sequential.head.kernel and sequential.norm.beta and sequential.norm.gamma"
    assert f"a symmetry of {tensors} nearly holds" in " ".join(scan.limits)
