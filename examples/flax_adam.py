"""
Laws of a transformer in Flax, and of Adam's averages
=====================================================

The symmetries of a transformer in Flax are found in double precision and watched while Optax's Adam trains it. Adam has no
conserved quantities in the parameters alone, but its averaged gradients obey an exact law, whatever the update does with them. After
half of the steps, an optimiser with decay folded into the gradient takes over: the gradients are right, and the averages show it.
"""

import sys
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import noetherlite as nl

try:
    import jax
    import jax.numpy as jnp
    import optax
    from flax import linen as nn
    from flax.traverse_util import unflatten_dict
except ImportError:
    print("skipped: this example needs Flax and Optax, pip install 'noetherlite[crosscheck]'")
    sys.exit(0)

jax.config.update("jax_enable_x64", True)
LETTERS, TIME, WIDTH = 7, 5, 8
STEPS = int(sys.argv[1]) if sys.argv[1:] else 80  # more by an argument
BUG = STEPS // 2
Tree = Any


class Transformer(nn.Module):
    """Attention and a feed-forward layer, each after a norm; logits of the next letter."""

    @nn.compact
    def __call__(self, ids: jax.Array) -> jax.Array:
        x = nn.Embed(LETTERS, WIDTH, name="tokens")(ids) + nn.Embed(TIME, WIDTH, name="positions")(jnp.arange(TIME))
        y = nn.LayerNorm(name="norm_1")(x)
        x = x + nn.MultiHeadDotProductAttention(2, name="attention")(y, mask=nn.make_causal_mask(ids))
        y = nn.LayerNorm(name="norm_2")(x)
        x = x + nn.Dense(WIDTH, name="down")(nn.relu(nn.Dense(3 * WIDTH, name="up")(y)))
        return nn.Dense(LETTERS, use_bias=False, name="head")(nn.LayerNorm(name="norm_f")(x))


model = Transformer()
start = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, TIME), int))["params"]


def loss(params: Tree, text: jax.Array) -> jax.Array:
    """Mean cross-entropy of the next letter."""
    logits = model.apply({"params": params}, text[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, text[:, 1:]).mean()


def counting(rng: np.random.Generator, size: int = 8) -> np.ndarray:
    """Return texts that count upwards, some letters of which are wrong."""
    text = (rng.integers(0, LETTERS, (size, 1)) + np.arange(TIME + 1)) % LETTERS
    return np.where(rng.random(text.shape) < 0.2, rng.integers(0, LETTERS, text.shape), text)


rng = np.random.default_rng(0)
batch = counting(rng)
gradient = jax.jit(jax.value_and_grad(loss))

# %%
# A scan calls its function with flat names, "attention.key.kernel"; Flax's `unflatten_dict` goes back.

double = jax.tree.map(lambda x: np.asarray(x, np.float64), start)
scan = nl.scan(lambda flat: gradient(unflatten_dict(flat, sep="."), batch)[1], double, draws=12)
print(scan)
scan.plot().figure.savefig("laws_in_flax.png", dpi=120)

# %%
# `state` is the average before the step that uses the gradient; the law of that step is judged in the next call.

right, wrong = optax.adam(3e-3), optax.chain(optax.add_decayed_weights(0.01), optax.adam(3e-3))
steps = [jax.jit(right.update), jax.jit(wrong.update)]
params = jax.tree.map(lambda x: np.asarray(x, np.float32), start)
state = right.init(params)
watch = nl.watch(scan.laws(), averaging=0.9)
losses = []
for step in range(STEPS):
    value, grads = gradient(params, counting(rng))
    losses.append(float(value))
    averages = state if step <= BUG else state[1]
    new = watch(params, grads, state=averages[0].mu if step else {})
    if new:
        print(f"step {step}, loss {losses[-1]:.3f}, {len(new)} laws broken; the first: {new[0]}")
    if step == BUG:
        state = (optax.EmptyState(), state)
    updates, state = steps[step >= BUG](grads, state, params)
    params = jax.tree.map(lambda x, change: x + np.asarray(change), params, updates)
print(watch)
print(watch.coverage)

figure, ax = plt.subplots(figsize=(5, 3.2), layout="constrained")
ax.plot(losses, color="#0072B2")
ax.axvline(BUG, color="0.8", zorder=0)
ax.set(xlabel="step", ylabel="loss")
figure.savefig("training_in_flax.png", dpi=120)
