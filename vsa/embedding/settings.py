"""How boxes and features are learned from clicks (paper section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

from vsa.runtime.settings import Count, NotNegative, Positive, Share, Text


@dataclass(frozen=True, kw_only=True)
class EmbeddingSettings:
    """Network, pictures, loss and steps of the click-mined training.

    Rates, weights and slopes were chosen on validation queries of the synthetic shop, with seed 0;
    the defaults are for photographs.
    """

    architecture: Text = "googlenet"  # the category network's
    pretrained: bool = True  # the category network it starts from had ImageNet weights
    image_px: Count = 224
    feature_dim: Count = 256
    n_triplets: Count = 64  # m: a step sees 3m images
    margin: Positive = 0.5  # δ
    learning_rate: Positive = 5e-4
    n_steps: Count = 1000  # of features alone
    # of boxes alone, with a low and with a high slope k
    n_box_steps: tuple[Count, Count] = (500, 500)
    n_joint_steps: Count = 500
    box_margin: Positive = 0.6
    box_learning_rate: Positive = 1e-3
    joint_learning_rate: Positive = 3e-4
    joint_box_learning_rate: Positive = 5e-5
    # k at the first and last step, of the low and of the high slope
    slopes: tuple[tuple[Positive, Positive], tuple[Positive, Positive]] = (
        (8.0, 12.0),
        (18.0, 30.0),
    )
    # of two box stages and the joint stage
    size_priors: tuple[NotNegative, NotNegative, NotNegative] = (2.0, 4.0, 4.0)
    expected_side: Share = 0.7  # an assumption: the object fills about half of the photo
    # the plain candidate, boxes by its local features (vsa.embedding.boxes), and the linear
    # adaptation of its features (vsa.embedding.candidates)
    describer: Text = "mobilenet_v2"  # a backbone with ImageNet weights
    describer_px: Count = 224
    objectness_px: Count = 320  # of the pictures that its boxes are found in
    adapted_dim: Count = 256
    n_adapt_triplets: Count = 128
    n_adapt_steps: Count = 400
    adapt_learning_rate: Positive = 1e-3
    adapt_margin: Positive = 0.2
