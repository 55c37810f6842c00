"""Binarisation: unit features → packed binary codes (paper section 3.3).

The paper binarises the features of its network and says no more. Four ways are here, all of them
the sign of a linear map, so that they share one class. Three differ in how the map is found: a
random rotation, iterative quantisation (ITQ, Gong and Lazebnik 2011), and a sigmoid hash layer that
is trained on frozen features to tell categories apart, as in *Visual Search at eBay* (KDD 2017).
The fourth rotates what a feature differs from the centroid of its list by, and keeps two numbers
beside the bits, from which its similarity is estimated: RaBitQ (Gao and Long, SIGMOD 2024).

More are registered in `CODECS`, which is `vsa.codecs`: see docs/extending.md.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from typing import Protocol

import faiss
import numpy as np

from vsa.index.settings import MAX_BITS, OF_LISTS
from vsa.runtime.errors import InputError
from vsa.runtime.registry import Registry
from vsa.runtime.seeds import generator

VERSION = 1
_N_TRIED = 3  # features that a new codec must encode
STORED = np.float16  # features are kept, and encoded, at this precision
_LARGEST = float(np.finfo(STORED).max)


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
    if features.dtype.kind != "f":
        raise InputError(
            f"features are {features.dtype}", cure="Give floating-point numbers, as networks do"
        )
    # nearly always of queries, and then all numbers are fine
    if features.dtype != STORED and np.vdot(features, features) < _LARGEST**2:
        return features.astype(STORED)
    with np.errstate(over="ignore"):
        stored = features.astype(STORED)
    if not np.isfinite(stored).all():
        finite = np.isfinite(features).all(axis=1)
        if not finite.all():
            raise InputError(
                f"feature {finite.argmin()} holds NaN or infinity",
                cure="Look where the features were computed",
            )
        raise InputError("features are too large for float16", cure="Normalise them to length 1")
    return stored


def words_of(codes: np.ndarray) -> np.ndarray:
    """Packed codes, uint8 (n, n_bits / 8) → uint64 (n, n_bits / 64), of the very same bits."""
    return np.ascontiguousarray(codes).view(np.uint64)


class Encoder(Protocol):
    """What makes codes. Equal features must have equal codes, whatever stands beside them."""

    @property
    def n_bits(self) -> int:
        """Bits of a code."""

    @property
    def dim(self) -> int:
        """Length of a feature."""

    def encode(self, features: np.ndarray) -> np.ndarray:
        """Features, floating (n, d) → packed codes, uint8 (n, n_bits / 8)."""


@dataclass(frozen=True)
class Codec:
    """Codes are the signs of ``weight @ x + bias``.

    With `of_differences`, items in lists have other codes: the signs of ``weight @ (x − c)``, where
    c is the centroid of their list, and two factors, from which similarities are estimated.
    """

    weight: np.ndarray  # float32 (n_bits, d)
    bias: np.ndarray  # float32 (n_bits,)
    of_differences: bool = False

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

    def encode_differences(
        self, features: np.ndarray, centroids: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Codes of what features x differ from centroids c by, float32 (n, d) both.

        Returns packed codes, uint8 (n, n_bits / 8), and two factors each, float32 (n, 2): f and g.
        With W = ``weight``, r = x − c and the signs s of W r,

            q · x  is estimated as  (q · c) (1 + g) + f s · W q

        for any query q. Of q, the part along c is known exactly: λ c, where λ = q · c / |c|². What
        is left is never longer than q or q − c, nor is the error greater: its product with r is
        estimated without bias by f s · W (q − λ c), where f = |W r|² / Σ |W r| (RaBitQ, section
        3.2; there λ is 1). So g is c · r − f s · W c, divided by |c|².
        """
        differences = np.asarray(features, np.float32) - centroids
        mapped = differences.astype(np.float64) @ self._precise.T
        sizes = np.abs(mapped).sum(axis=1)
        squares = np.einsum("nb,nb->n", mapped, mapped)
        f = np.divide(squares, sizes, out=np.zeros(len(sizes)), where=sizes > 0)
        known = centroids.astype(np.float64)
        along = np.einsum("nb,nb->n", np.where(mapped > 0, 1.0, -1.0), known @ self._precise.T)
        beside = np.einsum("nd,nd->n", known, differences) - f * along
        lengths = np.einsum("nd,nd->n", known, known)
        g = np.divide(beside, lengths, out=np.zeros(len(lengths)), where=lengths > 0)
        return np.packbits(mapped > 0, axis=1), np.stack([f, g], axis=1).astype(np.float32)


class UnfitBitsError(InputError):
    """A codec has no codes of so many bits for these features, and may have some of fewer."""


def random_rotation(
    features: np.ndarray, n_bits: int, seed: int, labels: np.ndarray | None = None
) -> Codec:
    """Signs after a random rotation of the centred features.

    With more bits than dimensions, the columns of the map are orthonormal instead of its rows.
    """
    del labels
    dim, mean = _check(features, n_bits)
    rotation = faiss.RandomRotationMatrix(dim, n_bits)
    rotation.init(int(generator(seed, "rotation").integers(2**31)))
    weight = _matrix(rotation)
    return Codec(weight, -(weight @ mean))


def rabitq(features: np.ndarray, n_bits: int, seed: int, labels: np.ndarray | None = None) -> Codec:
    """As `random_rotation`, of the differences from the centroids of lists."""
    return replace(random_rotation(features, n_bits, seed, labels), of_differences=True)


def itq(features: np.ndarray, n_bits: int, seed: int, labels: np.ndarray | None = None) -> Codec:
    """Iterative quantisation: principal components, rotated until they lie near the signs.

    Raises UnfitBitsError for more bits than dimensions, or features: there are no more components.
    """
    del labels
    dim, mean = _check(features, n_bits)
    if n_bits > dim:
        raise UnfitBitsError(
            f"ITQ finds no {n_bits} bits in {dim} dimensions", cure=f"Take at most {dim} bits"
        )
    if len(features) < n_bits:
        raise UnfitBitsError(
            f"{len(features)} features are too few", cure=f"Give at least {n_bits}"
        )
    centred = np.ascontiguousarray(np.asarray(features, np.float32) - mean)
    components = faiss.PCAMatrix(dim, n_bits)
    components.train(centred)
    rotation = faiss.ITQMatrix(n_bits)
    rotation.seed = int(generator(seed, "itq").integers(2**31))
    rotation.train(components.apply(centred))
    weight = _matrix(rotation) @ _matrix(components)
    return Codec(weight, -(weight @ mean))


def learned_hash(
    features: np.ndarray,
    n_bits: int,
    seed: int,
    labels: np.ndarray | None = None,
    n_steps: int = 600,
) -> Codec:
    """A layer of `n_bits` sigmoids, trained below a softmax over `labels`, int64 (n,).

    The features stay as they are. A bit is set where its sigmoid exceeds one half. Raises
    InputError without labels.
    """
    if labels is None:
        raise InputError(
            "a learned hash needs to know what to tell apart",
            cure="Give categories: index.train(features, categories)",
        )
    import torch  # here: a machine that only searches a shard loads none of it
    from torch import nn

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
    check_n_bits(n_bits)
    if len(features) == 0:
        raise InputError("there are no features to learn codes from", cure="Give at least one")
    return features.shape[1], np.asarray(features, np.float32).mean(axis=0)


def check_n_bits(n_bits: int, *, of_lists: bool = False) -> None:
    """Raise InputError unless a code can have so many bits, and lists can scan it."""
    if not isinstance(n_bits, Integral) or n_bits % 8 or not 8 <= n_bits <= MAX_BITS:
        raise InputError(
            f"a code cannot have {n_bits} bits", cure=f"Take a multiple of 8, at most {MAX_BITS}"
        )
    if of_lists and n_bits % OF_LISTS:
        raise InputError(
            f"lists cannot scan codes of {n_bits} bits", cure=f"Take a multiple of {OF_LISTS}"
        )


# Registered ------------------------------------------------------------------------------------


class MakeCodec(Protocol):
    """What is registered: learns a codec from features, float32 (n, d), and perhaps labels."""

    def __call__(
        self, features: np.ndarray, n_bits: int, seed: int, labels: np.ndarray | None = None
    ) -> Encoder: ...


def _check_entry(name: str, entry: MakeCodec) -> None:
    try:
        inspect.signature(entry).bind(None, 64, 0, labels=None)
    except (TypeError, ValueError):
        raise InputError(
            f"the codec {name!r} cannot be called as a codec is",
            cure="Register a function of (features, n_bits, seed, labels=None)",
        ) from None


CODECS: Registry[MakeCodec] = Registry("codec", "codecs", _check_entry)
CODECS.register("rotation", random_rotation)
CODECS.register("itq", itq)
CODECS.register("learned hash", learned_hash)
CODECS.register("rabitq", rabitq)


def make_codec(
    name: str, features: np.ndarray, n_bits: int, seed: int, labels: np.ndarray | None = None
) -> Encoder:
    """Let a registered codec learn, and look at what it made.

    Raises InputError for a name that nobody registered, and for what does not encode as it should.
    """
    make, n_bits = CODECS[name], int(n_bits)
    dim = features.shape[1]
    with _told(name):
        made = make(np.asarray(features, np.float32), n_bits, seed, labels=labels)
    if type(made) is Codec and (np.ndim(made.weight), np.ndim(made.bias)) != (2, 1):
        raise _wrong(name, "has a map that is no (n_bits, d) with a bias (n_bits,)")
    lacking = [part for part in ("encode", "n_bits", "dim") if not hasattr(made, part)]
    if lacking:
        raise _wrong(name, f"returned {type(made).__name__}, without {lacking[0]!r}")
    if (made.n_bits, made.dim) != (n_bits, dim):
        raise _wrong(
            name,
            f"makes {made.n_bits} bits of {made.dim} dimensions, where {n_bits} of {dim} were "
            "wanted",
        )
    if type(made) is Codec:
        with _told(name):
            weight, bias = (np.asarray(part, np.float32) for part in (made.weight, made.bias))
        if len(bias) != n_bits or not np.isfinite(weight).all() or not np.isfinite(bias).all():
            raise _wrong(name, f"has a bias {bias.shape}, or numbers that are not finite")
        return replace(made, weight=weight, bias=bias)
    guarded = _Guarded(name, made)
    guarded.encode(features[:_N_TRIED])
    return guarded


@dataclass(frozen=True)
class _Guarded:
    """Somebody else's codec, of whose codes shape and type are checked."""

    name: str
    codec: Encoder

    @property
    def n_bits(self) -> int:
        return self.codec.n_bits

    @property
    def dim(self) -> int:
        return self.codec.dim

    def encode(self, features: np.ndarray) -> np.ndarray:
        with _told(self.name):
            codes = self.codec.encode(np.asarray(features, np.float32))
        wanted = (len(features), self.n_bits // 8)
        if not isinstance(codes, np.ndarray) or (codes.dtype, codes.shape) != (np.uint8, wanted):
            found = f"{getattr(codes, 'dtype', type(codes))} {getattr(codes, 'shape', '')}".strip()
            raise _wrong(self.name, f"encodes as {found}, not as uint8 {wanted}")
        return np.ascontiguousarray(codes)


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Say of which codec an exception is."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise _wrong(name, f"raises {type(error).__name__}: {error}") from error


def _wrong(name: str, problem: str) -> InputError:
    return InputError(
        f"the codec {name!r} {problem}",
        cure="Return a Codec(weight, bias), or an object with n_bits, dim and "
        "encode(features) → uint8 (n, n_bits / 8), as np.packbits makes them",
    )
