"""Binarisation: unit features → packed binary codes (paper section 3.3).

The paper binarises the features of its network and says no more. Three ways are here, all of them
the sign of a linear map, so that they share one class and differ in how the map is found: a random
rotation, iterative quantisation (ITQ, Gong and Lazebnik 2011), and a sigmoid hash layer that is
trained on frozen features to tell categories apart, as in *Visual Search at eBay* (KDD 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import faiss
import numpy as np
import torch
from torch import nn

from vsa.runtime.errors import InputError
from vsa.runtime.seeds import generator

VERSION = 1
MAX_BITS = 4096
STORED = np.float16  # features are kept, and encoded, at this precision


def check_features(features: np.ndarray, dim: int) -> np.ndarray:
    """Features as float16 (n, dim), as an index keeps them.

    Raises InputError for another shape or for values that are not finite numbers.
    """
    features = np.asarray(features)
    if features.ndim != 2 or features.shape[1] != dim:
        raise InputError(
            f"features have shape {features.shape}, not (n, {dim})",
            cure="Use the network that the index was built with",
        )
    if not np.issubdtype(features.dtype, np.floating):
        raise InputError(
            f"features are {features.dtype}", cure="Give floating-point numbers, as networks do"
        )
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise InputError(
            f"feature {finite.argmin()} holds NaN or infinity",
            cure="Look where the features were computed",
        )
    with np.errstate(over="ignore"):
        stored = features.astype(STORED)
    if not np.isfinite(stored).all():
        raise InputError("features are too large for float16", cure="Normalise them to length 1")
    return stored


@dataclass(frozen=True)
class Codec:
    """Codes are the signs of ``weight @ x + bias``."""

    weight: np.ndarray  # float32 (n_bits, d)
    bias: np.ndarray  # float32 (n_bits,)

    @property
    def n_bits(self) -> int:
        """Bits of a code."""
        return self.weight.shape[0]

    @property
    def dim(self) -> int:
        """Length of a feature."""
        return self.weight.shape[1]

    @cached_property
    def _precise(self) -> np.ndarray:
        return self.weight.astype(np.float64)

    def encode(self, features: np.ndarray, batch_size: int = 65536) -> np.ndarray:
        """Features (n, d) of any floating type → packed codes, uint8 (n, n_bits / 8).

        BLAS rounds a row differently with other rows beside it. In float64 that is too little to
        change a bit, so equal features have equal codes.
        """
        codes = np.empty((len(features), self.n_bits // 8), np.uint8)
        for start in range(0, len(features), batch_size):
            batch = np.asarray(features[start : start + batch_size], np.float64)
            bits = batch @ self._precise.T > -self.bias
            codes[start : start + batch_size] = np.packbits(bits, axis=1)
        return codes


def random_rotation(features: np.ndarray, n_bits: int, seed: int) -> Codec:
    """Signs after a random rotation of the centred features.

    With more bits than dimensions, the columns of the map are orthonormal instead of its rows.
    """
    dim, mean = _check(features, n_bits)
    rotation = faiss.RandomRotationMatrix(dim, n_bits)
    rotation.init(int(generator(seed, "rotation").integers(2**31)))
    weight = _matrix(rotation)
    return Codec(weight, -(weight @ mean))


def itq(features: np.ndarray, n_bits: int, seed: int) -> Codec:
    """Iterative quantisation: principal components, rotated until they lie near the signs.

    Raises InputError for more bits than dimensions, of which there are no more components.
    """
    dim, mean = _check(features, n_bits)
    if n_bits > dim:
        raise InputError(
            f"ITQ finds no {n_bits} bits in {dim} dimensions", cure=f"Take at most {dim} bits"
        )
    if len(features) < n_bits:
        raise InputError(f"{len(features)} features are too few", cure=f"Give at least {n_bits}")
    centred = np.ascontiguousarray(np.asarray(features, np.float32) - mean)
    components = faiss.PCAMatrix(dim, n_bits)
    components.train(centred)
    rotation = faiss.ITQMatrix(n_bits)
    rotation.seed = int(generator(seed, "itq").integers(2**31))
    rotation.train(components.apply(centred))
    weight = _matrix(rotation) @ _matrix(components)
    return Codec(weight, -(weight @ mean))


def learned_hash(
    features: np.ndarray, labels: np.ndarray, n_bits: int, seed: int, n_steps: int = 600
) -> Codec:
    """A layer of `n_bits` sigmoids, trained below a softmax over `labels`, int64 (n,).

    The features stay as they are. A bit is set where its sigmoid exceeds one half.
    """
    dim, mean = _check(features, n_bits)
    torch.manual_seed(int(generator(seed, "hash").integers(2**31)))
    values = torch.from_numpy(np.asarray(features, np.float32) - mean)
    targets = torch.from_numpy(np.asarray(labels, np.int64))
    layer = nn.Linear(dim, n_bits)
    # sigmoids of unit features must not start, and stay, near one half
    nn.init.normal_(layer.weight, std=4.0)
    nn.init.zeros_(layer.bias)
    head = nn.Linear(n_bits, int(targets.max()) + 1)
    optimizer = torch.optim.AdamW([*layer.parameters(), *head.parameters()], 1e-2)
    for _ in range(n_steps):
        batch = torch.randint(len(values), (256,))
        bits = torch.sigmoid(layer(values[batch]))
        loss = nn.functional.cross_entropy(head(2 * bits - 1), targets[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    weight = layer.weight.detach().numpy().copy()
    return Codec(weight, layer.bias.detach().numpy() - weight @ mean)


def _matrix(transform: faiss.LinearTransform) -> np.ndarray:
    return faiss.vector_to_array(transform.A).reshape(transform.d_out, transform.d_in)


def _check(features: np.ndarray, n_bits: int) -> tuple[int, np.ndarray]:
    if n_bits % 8 or not 8 <= n_bits <= MAX_BITS:
        raise InputError(
            f"a code cannot have {n_bits} bits", cure=f"Take a multiple of 8, at most {MAX_BITS}"
        )
    if len(features) == 0:
        raise InputError("there are no features to learn codes from", cure="Give at least one")
    return features.shape[1], np.asarray(features, np.float32).mean(axis=0)
