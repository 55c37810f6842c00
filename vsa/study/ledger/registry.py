"""The one registry of metrics: name, unit, direction, definition, format.

The ledger takes no other names. To add a metric, add a line to ``METRICS``.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from vsa.runtime.errors import InputError

Direction = Literal["higher", "lower", "none"]


@dataclass(frozen=True)
class Metric:
    """What a recorded number means and how it is printed."""

    name: str
    unit: str  # "" for shares between 0 and 1, counts and bare numbers
    direction: Direction  # which way is better; "none" for a plain description
    definition: str
    format: str = ".3f"  # of str.format

    @property
    def is_timed(self) -> bool:
        """Whether a clock decides it, so that two equal runs differ."""
        return self.unit in ("ms", "s") or self.name in _BY_THE_CLOCK

    @property
    def is_count(self) -> bool:
        return self.format == ",d"

    @property
    def compares(self) -> bool:
        """Whether it sets one method against another, so that its rows have no best one."""
        return self.name.endswith((" difference", " ratio")) or self.name in _COMPARISONS

    def text(self, value: float) -> str:
        """The value as printed, without its unit: ``0.813``, ``1,204``."""
        return format(int(value) if self.is_count else value, self.format)


_BY_THE_CLOCK = (
    "acknowledged changes",
    "adds per second",
    "cost ratio",
    "error rate",
    "growth exponent",
    "machines",
    "p95 over median",
    "partial answers",
    "queries per second",
    "ratio of p95",
    "replicas",
    "routers",
    "searches",
    "share of the time",
    "share of time saved",
    "speed-up",
    "time over off the shelf",
    "time over the index's",
    "time ratio",
    "wait for data",
)
_COMPARISONS = ("share of the distance", "ratio of p95", "p95 over median")


def _count(name: str, definition: str) -> Metric:
    return Metric(name, "", "none", definition, ",d")


_METRICS = [
    _count("images", "Images in the catalogue"),
    _count("products", "Different products"),
    _count("queries", "Query photos"),
    _count("categories", "Different categories"),
    _count("rejected images", "Images that could not be read"),
    _count("removed images", "Catalogue images that selection removed"),
    Metric(
        "removal precision",
        "",
        "higher",
        "Share of the removed copies that show the product of the image they gave way to",
    ),
    Metric(
        "duplicate rate", "", "lower", "Share of images that repeat another one of the same list"
    ),
    Metric("Accuracy@1", "", "higher", "Share of queries whose most probable category is right"),
    Metric(
        "Accuracy@3", "", "higher", "Share of queries with the right category among the top three"
    ),
    Metric(
        "Accuracy@1 difference", "", "higher", "Accuracy@1 of the first minus the second", "+.3f"
    ),
    Metric("share of queries", "", "none", "Share of all queries for which this holds"),
    Metric(
        "expected calibration error",
        "",
        "lower",
        "Mean gap between confidence and accuracy, over equal-width bins weighted by count",
    ),
    Metric("negative log-likelihood", "nats", "lower", "Mean of −log p(true category)"),
    *(
        Metric(
            f"Identical Recall@{k}",
            "",
            "higher",
            f"Share of queries with an identical item in the top {k}",
        )
        for k in (1, 5, 20, 60)
    ),
    Metric("mAP", "", "higher", "Mean over queries of the average precision of identical items"),
    Metric("mAP difference", "", "higher", "mAP of the first minus the second", "+.3f"),
    Metric(
        "behind the best", "", "lower", "mAP of the best candidate minus this one's, same queries"
    ),
    Metric(
        "standard error", "", "none", "Of the difference before it, photos of a product together"
    ),
    Metric(
        "Identical Recall@1 difference",
        "",
        "higher",
        "Identical Recall@1 of the first minus the second, over the same queries",
        "+.3f",
    ),
    Metric(
        "Identical Recall@1 ratio",
        "",
        "higher",
        "Identical Recall@1 of the first over the second's, over the same queries",
        ".2f",
    ),
    Metric("mAP ratio", "", "higher", "mAP of the first over the second's, same queries", ".2f"),
    Metric(
        "share of the distance",
        "",
        "higher",
        "Share of the distance in Identical Recall@1 to the identity oracle that is closed",
        ".2f",
    ),
    Metric("mean IoU", "", "higher", "Mean intersection over union with the true box"),
    Metric("IoU@0.5", "", "higher", "Share of boxes with an IoU above 0.5"),
    Metric("IoU@0.7", "", "higher", "Share of boxes with an IoU above 0.7"),
    Metric("mean IoU difference", "", "higher", "Mean IoU of the first minus the second", "+.3f"),
    Metric(
        "centre correlation",
        "",
        "higher",
        "Correlation of learned with true centres, mean over the two axes",
        ".2f",
    ),
    Metric(
        "size correlation",
        "",
        "higher",
        "Correlation of learned with true sides, mean over the two axes",
        ".2f",
    ),
    _count("sessions per photo", "Page views of each photo in the click log"),
    Metric("object's share of the photo", "", "none", "Area of the object's box, of the photo's"),
    Metric("rate of stray clicks", "", "none", "P(click | examined, another product)", "g"),
    Metric("mean side", "", "none", "Mean side of the boxes, as a share of the image's", ".2f"),
    Metric(
        "Linear Recall@60",
        "",
        "higher",
        "Share of the first 60 of a linear scan over the same codes that are found; ties count",
    ),
    Metric(
        "float Recall@60",
        "",
        "higher",
        "Share of the first 60 of a linear scan over the float features that are found; ties count",
    ),
    Metric("NDCG@60", "", "higher", "Agreement of the order with a linear scan of the features"),
    Metric("query latency", "ms", "lower", "Median time for one query on one thread"),
    Metric("query latency, p95", "ms", "lower", "95th percentile of that time"),
    Metric("query latency, p99", "ms", "lower", "99th percentile of that time"),
    Metric("speed-up", "", "higher", "Time of the linear scan over that of the method", ".1f"),
    Metric(
        "time over the index's",
        "",
        "lower",
        "Median time over that of the index, or of its coarse filter, asked in turns with it",
        ".2f",
    ),
    Metric("share of time saved", "", "higher", "1 − time over that of the linear scan"),
    Metric("growth exponent", "", "lower", "b in latency ~ items ^ b", ".2f"),
    Metric("bytes in memory", "", "lower", "Per item; without files that are only mapped", ".0f"),
    Metric("bytes on disk", "", "lower", "Per item, of all files", ".0f"),
    Metric(
        "time over off the shelf",
        "",
        "lower",
        "Median over photos of the time over that of a plain pooled feature, asked in turn",
        ".1f",
    ),
    Metric(
        "bytes per picture", "", "lower", "Kept of each catalogue picture, to search it", ",.0f"
    ),
    Metric("megabytes of weights", "", "lower", "Of the network, as float32", ".1f"),
    Metric(
        "trustworthiness",
        "",
        "higher",
        "How far neighbours in the plane are neighbours in the features; 1 where all are",
    ),
    Metric(
        "neighbourhood hit",
        "",
        "higher",
        "Share of the ten nearest in the plane that are of the same category, mean over points",
    ),
    Metric("build time", "s", "lower", "Time to build, from features that are at hand", ".1f"),
    Metric("opening time", "s", "lower", "Time to open what was built", ".3f"),
    Metric("local dimension", "", "none", "Dimension of the data around a query", ".1f"),
    Metric("similarity", "", "none", "Mean inner product of unit features"),
    Metric("p95 over median", "", "lower", "95th percentile of the latency over its median", ".2f"),
    Metric("time ratio", "", "lower", "Median time over that of the naive pipeline", ".2f"),
    Metric("queries per second", "", "higher", "Over all clients", ".0f"),
    Metric("adds per second", "", "higher", "Durable, in batches of 256", ".0f"),
    Metric("ratio of p95", "", "lower", "95th percentile over that beside an idle writer", ".2f"),
    Metric("equal results", "", "higher", "Share of queries with the very same ids and scores"),
    Metric("right answers", "", "higher", "Share of the answers that are what they have to be"),
    Metric("error rate", "", "lower", "Share of searches that got no answer at all", ".4f"),
    Metric("partial answers", "", "lower", "Share that lacks a shard, and names it", ".4f"),
    Metric("time to whole", "s", "lower", "Until every replica and writer answers again", ".1f"),
    Metric("start time", "s", "lower", "Until every replica answers", ".1f"),
    Metric("latency added", "ms", "lower", "Median latency less that of the other way", "+.2f"),
    _count("searches", "Searches that clients began"),
    _count("changes", "Items that were added, replaced or removed"),
    _count("acknowledged changes", "Items whose change was acknowledged"),
    _count("lost changes", "Acknowledged changes that are not there afterwards"),
    _count("nodes lost", "Worker nodes that were killed"),
    Metric("cost", "ms", "lower", "Time of one core, as fitted to what was measured", ".4f"),
    Metric("cost ratio", "", "none", "Median time by the model over the measured one", ".2f"),
    _count("machines", "Machines that the model asks for"),
    _count("shards", "Parts of the catalogue, one to a machine"),
    _count("replicas", "Copies of each shard"),
    _count("routers", "Machines that ask shards and merge answers"),
    Metric("gigabytes per machine", "", "lower", "Memory that a shard takes, 10⁹ bytes", ".0f"),
    Metric("modelled latency", "ms", "lower", "Of one query, nobody else asking: a model", ".1f"),
    Metric("kilobytes per query", "", "lower", "That shards answer to the router", ",.0f"),
    Metric(
        "share of slow queries",
        "",
        "none",
        "Queries that meet a shard beyond its own 99th percentile, if shards are independent",
    ),
    _count("items", "Items in the index"),
    _count("lists visited", "Lists visited per query"),
    _count("candidates", "Items per query that are ranked by feature"),
    Metric(
        "Identical Recall@20 difference",
        "",
        "higher",
        "Identical Recall@20 of the first minus the second, over the same queries",
        "+.3f",
    ),
    Metric(
        "conversion rate",
        "",
        "higher",
        "Exact probability that a simulated session ends in a purchase, mean over photos",
        ".4f",
    ),
    Metric(
        "conversion rate difference",
        "",
        "higher",
        "Conversion rate of the first minus the second, over the same photos",
        "+.4f",
    ),
    Metric(
        "conversion rate ratio",
        "",
        "higher",
        "Conversion rate of the first over the second's, over the same photos",
    ),
    Metric(
        "conversion rate lost",
        "",
        "none",
        "What the conversion rate falls by when this is shuffled among the results of a page",
        "+.4f",
    ),
    Metric(
        "NDCG of appearance",
        "",
        "higher",
        "Agreement of a page's order with its order by appearance; 1 where nothing moved",
    ),
    Metric(
        "chosen blend weight",
        "",
        "none",
        "Weight of the ranker's score beside appearance, chosen on validation, mean over logs",
        ".2f",
    ),
    Metric(
        "chosen inverse penalty",
        "",
        "none",
        "Inverse strength of the penalty (scikit-learn's C), chosen on validation sessions",
        ".1g",
    ),
    Metric(
        "purchase calibration error",
        "",
        "lower",
        "Mean gap between predicted and true purchase probability, over 15 bins of equal count",
        ".4f",
    ),
    Metric("predicted purchase probability", "", "none", "Mean over the results shown", ".4f"),
    Metric("true purchase probability", "", "none", "Mean over the results shown", ".4f"),
    Metric("re-ranking time", "ms", "lower", "Median time to re-order one page, one thread", ".2f"),
    Metric("re-ranking time, p95", "ms", "lower", "95th percentile of that time", ".2f"),
    Metric("latency", "ms", "lower", "Median time for one image", ".1f"),
    Metric("share of the time", "", "lower", "Median time as a share of the other method's"),
    Metric("active share", "", "none", "Triplet terms above zero in the last 20 steps"),
    Metric("training steps", "", "none", "Steps of all stages together", ",d"),
    Metric("training time", "s", "lower", "Time of all training steps", ".0f"),
    _count("triplets", "Clicks that make a triplet"),
    Metric("triplets per query", "", "none", "Triplets per query that has one", ".2f"),
    Metric("chosen epsilon", "", "none", "ε, chosen on validation; 1 is the mean distance", ".2f"),
    Metric("chosen gamma", "", "none", "γ, chosen on validation; 1 is the mean distance", ".2f"),
    _count("sessions", "Page views in the click log"),
    _count("impressions", "Results listed in the click log"),
    _count("clicks", "Results clicked in the click log"),
    Metric("click-through rate", "", "none", "Share of the listed results that were clicked"),
    Metric("click precision", "", "higher", "Share of the clicks that fell on an identical item"),
    Metric(
        "false-negative rate",
        "",
        "lower",
        "Share of the results that were not clicked and yet are identical to the query",
    ),
    Metric("run time", "s", "lower", "Wall-clock time", ".1f"),
    Metric("step time", "ms", "lower", "Median time of a training step", ".0f"),
    Metric("wait for data", "", "lower", "Share of a training step spent waiting for images"),
    Metric("throughput", "images/s", "higher", "Images processed per second", ".0f"),
    Metric("training loss", "", "lower", "Mean loss over the last 20 steps"),
    Metric("chosen lambda", "", "none", "λ of the search branch, chosen on validation", ".3g"),
    Metric(
        "chosen fusion weight",
        "",
        "none",
        "Weight of the model branch, chosen on validation",
        ".2f",
    ),
]
METRICS = {metric.name: metric for metric in _METRICS}


def get_metric(name: str) -> Metric:
    """The metric of that name; raises InputError for any other."""
    if name not in METRICS:
        near = difflib.get_close_matches(name, METRICS, n=1)
        hint = f"Did you mean {near[0]!r}? If not, a" if near else "A"
        raise InputError(
            f"{name!r} is not a registered metric",
            cure=f"{hint}dd it to METRICS in vsa/study/ledger/registry.py",
        )
    return METRICS[name]
