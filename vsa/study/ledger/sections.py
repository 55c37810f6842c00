"""Order, titles and methods of the report's sections: one per notebook, and regimes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    title: str
    paper_section: str
    method: str  # what the paper does here, in brief


REGIMES = "regimes"
SECTIONS = {
    "00_tour": Section(
        "A photo's way through the system",
        "Figures 1 and 2",
        "One test photo, followed through every stage of the online path.",
    ),
    "01_catalogue": Section(
        "Catalogue and image selection",
        "3.1",
        "Listings without the attributes a search needs and images of poor quality are left out; "
        "of identical and nearly identical images one is kept.",
    ),
    "02_category_fusion": Section(
        "Category prediction",
        "3.1",
        "A classifier gives one distribution over categories; the 30 nearest labelled images of a "
        "photo, weighted by exp(−λ‖x − xᵢ‖²), vote for another; a weighted average fuses both.",
    ),
    "03_click_mined_training": Section(
        "Joint detection and features, learned from clicks",
        "3.2",
        "Clicked results that look like the photo are its positives; results not clicked, and "
        "unlike both, its negatives. All negatives of a batch are shared by its triplets. One "
        "branch finds a box, whose soft mask the other branch sees the photo through: the triplet "
        "loss alone trains both.",
    ),
    REGIMES: Section(
        "How far it carries",
        "3.2",
        "The paper learned from one shop. Here the rendered shop is made another one: its photos "
        "have fewer and more page views in the click log, or objects of another size. "
        "`vsa study` writes this section; it has no notebook.",
    ),
    "04_binary_index": Section(
        "Binary index and retrieval",
        "3.3",
        "Features become binary codes in inverted lists. A coarse filter keeps the candidates "
        "nearest by Hamming distance, and a refined rank orders them by the features themselves. "
        "Shards hold parts of the catalogue, replicas share the traffic.",
    ),
    "05_quality_rerank": Section(
        "Quality-aware re-ranking",
        "3.3",
        "The first 60 by appearance are re-ordered by boosted trees whose leaves feed a logistic "
        "regression, over sales, conversion, applause, price and the shopper's portrait.",
    ),
    "06_end_to_end": Section(
        "The whole path, end to end",
        "4",
        "One engine takes a photo from its bytes to the ordered page; each stage is left out in "
        "turn, and timed.",
    ),
    "07_lineage": Section(
        "Lineage: what the paper builds on and is compared with",
        "references",
        "The works that the paper cites, and some that came after, search the same photos: by "
        "features of one frozen network where the idea allows, with settings that validation "
        "photos chose by one rule; test photos are asked once.",
    ),
    "08_scale_out": Section(
        "Scale-out: shards and replicas on several nodes",
        "3.3, 4",
        "Shards hold parts of the catalogue and replicas share the traffic. Here each is a process "
        "of a Ray cluster: results are compared with one index while both change, a node is "
        "killed while clients ask, and what shards, messages and bytes cost is drawn to larger "
        "catalogues.",
    ),
}

# What a data set's card says where photos and pictures are of no known products
NO_PRODUCTS = (
    "Click-mined training, retrieval and quality-aware re-ranking: products are not known."
)
NEED_PRODUCTS = frozenset(
    {
        "03_click_mined_training",
        "04_binary_index",
        "05_quality_rerank",
        "06_end_to_end",
    }
)
# A run is whole without them: C4a is judged in notebook 04, too, by what one process can show
OPTIONAL = frozenset({"00_tour", REGIMES, "07_lineage", "08_scale_out"})

# Shown first in the report, where a run has them.
KEY_FIGURES = ("embedding_recall", "latency_growth", "conversion", "latency_waterfall")
