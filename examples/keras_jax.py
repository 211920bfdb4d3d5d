"""
Laws of a Keras model on JAX
============================

A small convolutional network in Keras, with JAX as its backend, is scanned and watched in a loop of its own. After half of the
steps, one kernel receives half of its gradient; the loss falls all the same.
"""

import os
import sys
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import noetherlite as nl

os.environ.setdefault("KERAS_BACKEND", "jax")
try:
    import jax
    import keras
except ImportError:
    print("skipped: this example needs Keras and JAX, pip install 'noetherlite[crosscheck]'")
    sys.exit(0)
if keras.backend.backend() != "jax":
    print("skipped: this example needs Keras with the backend JAX, which was imported with another one")
    sys.exit(0)

CLASSES, SIZE, RATE = 3, 8, 0.05
STEPS = int(sys.argv[1]) if sys.argv[1:] else 80  # more by an argument
BUG = STEPS // 2
layers = keras.layers
keras.utils.set_random_seed(0)
keras.backend.clear_session()  # names are not numbered then
model = keras.Sequential(
    [
        layers.Input((SIZE, SIZE, 1)),
        layers.Conv2D(6, 3, activation="relu", name="conv"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(12, activation="relu", name="dense"),
        layers.Dense(CLASSES, name="head"),
    ],
    name="model",
)
names = [variable.path.replace("/", ".") for variable in model.trainable_variables]


def loss(params: dict[str, Any], pictures: np.ndarray, labels: np.ndarray) -> jax.Array:
    """Mean cross-entropy of a batch, at parameters by their names."""
    logits, _ = model.stateless_call([params[name] for name in names], model.non_trainable_variables, pictures)
    return keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True).mean()


def stripes(rng: np.random.Generator, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy pictures of stripes, horizontal, vertical or oblique, and which they are."""
    labels = rng.integers(0, CLASSES, size)
    i, j = np.indices((SIZE, SIZE))
    phase = np.stack([i, j, i + j])[labels] * 2.0 + rng.uniform(0, 2 * np.pi, (size, 1, 1))
    return (np.sin(phase) + rng.normal(size=phase.shape))[..., None].astype(np.float32), labels


rng = np.random.default_rng(0)
gradient = jax.jit(jax.value_and_grad(loss))
params = {name: np.asarray(variable) for name, variable in zip(names, model.trainable_variables, strict=True)}

# %%
# Keras computes in single precision by default. Laws show in it, too, with a gap that is smaller.

batch = stripes(rng)
scan = nl.scan(lambda params: gradient(params, *batch)[1], params)
print(scan)
scan.plot().figure.savefig("laws_in_keras.png", dpi=120)

# %%
# Training by plain gradient descent, every fifth step watched.

watch = nl.watch(scan.laws(), every=5)
losses = []
for step in range(STEPS):
    value, grads = gradient(params, *stripes(rng))
    grads = {name: np.array(g) for name, g in grads.items()}
    if step >= BUG:
        grads["model.dense.kernel"] *= np.float32(0.5)
    for finding in watch(params, grads):
        print(f"step {step}, loss {value:.3f}: {finding}")
    params = {name: x - np.float32(RATE) * grads[name] for name, x in params.items()}
    losses.append(float(value))
print(watch.report())

figure, ax = plt.subplots(figsize=(5, 3.2), layout="constrained")
ax.plot(losses, color="#0072B2")
ax.axvline(BUG, color="0.8", zorder=0)
ax.set(xlabel="step", ylabel="loss")
figure.savefig("training_in_keras.png", dpi=120)
