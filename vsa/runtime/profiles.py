"""Profiles: how much data and how much training a run gets. Nothing else depends on the size.

``smoke`` is for tests, ``laptop`` for two CPU cores, ``full`` for a GPU at the paper's input
sizes. Sizes of the shop were set before any two methods were compared (see notebook 01,
"Datasheet"), those of click logs before any two of notebook 03 were.
"""

from __future__ import annotations

from dataclasses import dataclass

from vsa.runtime.errors import InputError


@dataclass(frozen=True)
class SyntheticSize:
    """Size of the rendered shop."""

    n_products_per_category: int
    image_px: int


@dataclass(frozen=True)
class ClickSettings:
    """Click model of the simulated page-view log (see ``vsa.study.simulate.clicks``)."""

    n_results: int  # results listed per session
    n_sessions_per_query: int
    position_bias: float  # P(examine rank r) = r ** -position_bias
    noise_click_rate: float  # P(click | examined, not identical)
    max_clicks: int  # a shopper stops after one or two identical results


@dataclass(frozen=True)
class CategorySettings:
    """Training of the category classifier and the set-up of its comparisons."""

    architecture: str  # see vsa.runtime.backbones
    pretrained: bool  # start from ImageNet weights
    store_px: int  # images are kept at this size ...
    crop_px: int  # ... and cropped to this (the paper: 256 and 227)
    n_steps: int
    batch_size: int
    learning_rate: float
    n_seeds: int
    reference_fractions: tuple[float, ...]  # growth of the reference set of the search branch


@dataclass(frozen=True)
class EmbeddingSettings:
    """Click-mined training (see ``vsa.embedding``) and the set-up of its comparisons.

    Chosen on validation queries of the synthetic shop, with seed 0. ``n_matched_steps`` gives an
    unmasked control as many image passes as the box and the joint stages have together: per m
    triplets, an unmasked step needs 3m, a box step 3.5m and a joint step 3.5m. Seconds differ, as
    the training table of notebook 03 shows.
    """

    architecture: str
    pretrained: bool  # the category network it starts from had ImageNet weights
    image_px: int
    feature_dim: int
    n_triplets: int  # m: a step sees 3m images
    margin: float  # δ
    learning_rate: float
    n_steps: int  # of features alone
    n_box_steps: tuple[int, int]  # boxes alone, with a low and with a high slope k
    n_joint_steps: int
    n_matched_steps: int
    n_detector_steps: int
    n_study_seeds: int
    box_margin: float = 0.6
    box_learning_rate: float = 1e-3
    joint_learning_rate: float = 3e-4
    joint_box_learning_rate: float = 5e-5
    slopes: tuple[tuple[float, float], tuple[float, float]] = ((8.0, 12.0), (18.0, 30.0))
    size_priors: tuple[float, float, float] = (2.0, 4.0, 4.0)  # two box stages, joint stage
    expected_side: float = 0.7  # an assumption: the object fills about half of the photo

    def __post_init__(self) -> None:
        passes = 3.5 * (sum(self.n_box_steps) + self.n_joint_steps)
        if abs(3 * self.n_matched_steps - passes) > 3:
            raise ValueError(f"n_matched_steps should be {round(passes / 3)}")


@dataclass(frozen=True)
class IndexSettings:
    """Sizes of the experiments with the index (see ``vsa.index``)."""

    sizes: tuple[int, ...]  # of catalogues grown from the features at hand
    n_peers: int  # the size at which slow peers are compared too
    n_queries: int  # at most, of each split
    load_s: float  # how long a load lasts


@dataclass(frozen=True)
class RankingSettings:
    """Simulated sessions and the trees that learn from them (see ``vsa.ranking``).

    Written down before any two rankers were compared.
    """

    n_sessions: int  # per photo
    n_trees: int
    depth: int
    n_seeds: int  # click logs, and rankers fitted to them
    learning_rate: float = 0.1


@dataclass(frozen=True)
class EndToEndSettings:
    """Sizes of the experiments with the whole path (see ``vsa.study.end_to_end``)."""

    n_items: int  # of the grown catalogue that time is measured with
    n_timed: int  # photos, at most
    load_s: float  # how long a number of clients asks
    n_clients: tuple[int, ...] = (1, 2, 4)


@dataclass(frozen=True)
class Profile:
    """One named size of everything."""

    name: str
    synthetic: SyntheticSize
    clicks: ClickSettings
    category_scratch: CategorySettings  # GoogLeNet from random weights (synthetic)
    category_pretrained: CategorySettings  # pretrained backbone, fine-tuned (photographs)
    embedding_scratch: EmbeddingSettings  # starts from category_scratch
    embedding_pretrained: EmbeddingSettings  # starts from category_pretrained
    index: IndexSettings
    end_to_end: EndToEndSettings
    ranking: RankingSettings
    n_bootstrap: int  # resamples behind every confidence interval
    max_images_per_table: int | None = None  # of a public data set; None: all of them


_GROWTH = (0.01, 0.03, 0.1, 0.3, 1.0)

PROFILES = {
    "smoke": Profile(
        name="smoke",
        synthetic=SyntheticSize(n_products_per_category=8, image_px=64),
        clicks=ClickSettings(
            n_results=20,
            n_sessions_per_query=2,
            position_bias=0.5,
            noise_click_rate=0.02,
            max_clicks=2,
        ),
        category_scratch=CategorySettings(
            architecture="googlenet_4a",
            pretrained=False,
            store_px=72,
            crop_px=64,
            n_steps=20,
            batch_size=32,
            learning_rate=3e-3,
            n_seeds=2,
            reference_fractions=(0.1, 1.0),
        ),
        category_pretrained=CategorySettings(
            architecture="mobilenet_v2",
            pretrained=True,
            store_px=72,
            crop_px=64,
            n_steps=20,
            batch_size=32,
            learning_rate=5e-4,
            n_seeds=2,
            reference_fractions=(0.1, 1.0),
        ),
        embedding_scratch=EmbeddingSettings(
            architecture="googlenet_4a",
            pretrained=False,
            image_px=64,
            feature_dim=128,
            n_triplets=12,
            margin=0.5,
            learning_rate=5e-4,
            n_steps=6,
            n_box_steps=(5, 5),
            n_joint_steps=5,
            n_matched_steps=18,
            n_detector_steps=5,
            n_study_seeds=2,
        ),
        embedding_pretrained=EmbeddingSettings(
            architecture="mobilenet_v2",
            pretrained=True,
            image_px=64,
            feature_dim=128,
            n_triplets=12,
            margin=0.5,
            learning_rate=5e-4,
            n_steps=6,
            n_box_steps=(5, 5),
            n_joint_steps=5,
            n_matched_steps=18,
            n_detector_steps=5,
            n_study_seeds=2,
        ),
        index=IndexSettings(sizes=(1_000, 4_000), n_peers=1_000, n_queries=40, load_s=0.5),
        ranking=RankingSettings(n_sessions=40, n_trees=30, depth=3, n_seeds=3),
        end_to_end=EndToEndSettings(n_items=4_000, n_timed=10, load_s=0.5),
        n_bootstrap=500,
        max_images_per_table=400,
    ),
    "laptop": Profile(
        name="laptop",
        synthetic=SyntheticSize(n_products_per_category=100, image_px=64),
        clicks=ClickSettings(
            n_results=60,
            n_sessions_per_query=4,
            position_bias=0.5,
            noise_click_rate=0.02,
            max_clicks=2,
        ),
        category_scratch=CategorySettings(
            architecture="googlenet_4a",
            pretrained=False,
            store_px=72,
            crop_px=64,
            n_steps=380,
            batch_size=64,
            learning_rate=3e-3,
            n_seeds=3,
            reference_fractions=_GROWTH,
        ),
        category_pretrained=CategorySettings(
            architecture="mobilenet_v2",
            pretrained=True,
            store_px=112,
            crop_px=96,
            n_steps=120,
            batch_size=64,
            learning_rate=5e-4,
            n_seeds=3,
            reference_fractions=_GROWTH,
        ),
        embedding_scratch=EmbeddingSettings(
            architecture="googlenet_4a",
            pretrained=False,
            image_px=64,
            feature_dim=128,
            n_triplets=24,
            margin=0.5,
            learning_rate=5e-4,
            n_steps=150,
            n_box_steps=(120, 100),
            n_joint_steps=120,
            n_matched_steps=397,
            n_detector_steps=120,
            n_study_seeds=3,
        ),
        embedding_pretrained=EmbeddingSettings(
            architecture="mobilenet_v2",
            pretrained=True,
            image_px=96,
            feature_dim=128,
            n_triplets=16,
            margin=0.5,
            learning_rate=5e-4,
            n_steps=90,
            n_box_steps=(60, 50),
            n_joint_steps=60,
            n_matched_steps=198,
            n_detector_steps=60,
            n_study_seeds=3,
        ),
        index=IndexSettings(sizes=(100_000, 1_000_000), n_peers=100_000, n_queries=200, load_s=5.0),
        ranking=RankingSettings(n_sessions=100, n_trees=60, depth=3, n_seeds=3),
        end_to_end=EndToEndSettings(n_items=1_000_000, n_timed=100, load_s=5.0),
        n_bootstrap=2000,
    ),
    "full": Profile(
        name="full",
        synthetic=SyntheticSize(n_products_per_category=1000, image_px=256),
        clicks=ClickSettings(
            n_results=60,
            n_sessions_per_query=4,
            position_bias=0.5,
            noise_click_rate=0.02,
            max_clicks=2,
        ),
        category_scratch=CategorySettings(
            architecture="googlenet",
            pretrained=False,
            store_px=256,
            crop_px=227,
            n_steps=6000,
            batch_size=256,
            learning_rate=2e-3,
            n_seeds=5,
            reference_fractions=_GROWTH,
        ),
        category_pretrained=CategorySettings(
            architecture="mobilenet_v2",
            pretrained=True,
            store_px=256,
            crop_px=227,
            n_steps=1000,
            batch_size=128,
            learning_rate=5e-4,
            n_seeds=5,
            reference_fractions=_GROWTH,
        ),
        embedding_scratch=EmbeddingSettings(
            architecture="googlenet",
            pretrained=False,
            image_px=227,
            feature_dim=256,
            n_triplets=64,
            margin=0.5,
            learning_rate=5e-4,
            n_steps=4000,
            n_box_steps=(2000, 2000),
            n_joint_steps=3000,
            n_matched_steps=8167,
            n_detector_steps=3000,
            n_study_seeds=5,
        ),
        embedding_pretrained=EmbeddingSettings(
            architecture="mobilenet_v2",
            pretrained=True,
            image_px=224,
            feature_dim=256,
            n_triplets=64,
            margin=0.5,
            learning_rate=5e-4,
            n_steps=1000,
            n_box_steps=(500, 500),
            n_joint_steps=500,
            n_matched_steps=1750,
            n_detector_steps=1000,
            n_study_seeds=5,
        ),
        index=IndexSettings(
            sizes=(100_000, 1_000_000, 10_000_000), n_peers=1_000_000, n_queries=200, load_s=30.0
        ),
        ranking=RankingSettings(n_sessions=400, n_trees=200, depth=4, n_seeds=5),
        end_to_end=EndToEndSettings(n_items=1_000_000, n_timed=500, load_s=20.0),
        n_bootstrap=10000,
    ),
}


def get_profile(name: str) -> Profile:
    """The profile of that name; raises InputError for any other."""
    if name not in PROFILES:
        raise InputError(
            f"unknown profile {name!r}", cure=f"Choose one of {', '.join(PROFILES)} (PROFILE=...)"
        )
    return PROFILES[name]
