"""Regimes: how far what was found carries, along axes on which the shop is made another one.

*Sessions per photo*: how much log does click mining need (paper 3.2)? The log is simulated with
fewer and with more page views of each photo, and a linear map of plain features is learned from it.
*Object's share of the photo*: where do masks and crops pay? The test photos are drawn once more,
all else alike, with an object of that share, and asked of networks that learned from the shop as it
is. A third axis, the rate of stray clicks, costs seconds, and is asked in notebook 03 itself
(`vsa.study.embedding.linear`).

Each point of an axis is a job of the study for each way of learning or of looking. Those that need
no network of notebooks 02 and 03 rest on the data alone: none is trained for them.
"""

from __future__ import annotations

from dataclasses import dataclass

from vsa.embedding.candidates import PLAIN, PLAIN_OBJECT

SESSIONS, SHARE = "sessions per photo", "object's share of the photo"
N_SESSIONS = (1, 2, 4, 8, 16, 32, 64)
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of the photo's area that the object's box covers

RAW, FILTERED = "raw clicks", "filtered clicks"
NO_CLICKS = "no clicks"  # where every map starts: principal components, scaled
TRUE_MASK, TRUE_CROP = "plain, true mask", "plain, true crop"
JOINT_WHOLE, JOINT_MASK = "joint, whole photo", "joint, mask"
LOOKS_AT = (PLAIN, TRUE_MASK, PLAIN_OBJECT, TRUE_CROP, JOINT_WHOLE, JOINT_MASK)


@dataclass(frozen=True)
class Point:
    """One place on an axis, by one way of learning or of looking."""

    axis: str
    at: float
    arm: str

    @property
    def name(self) -> str:
        """Of its job."""
        return f"{self.axis} {self.at:g} | {self.arm}"


AXES: dict[str, tuple[Point, ...]] = {
    SESSIONS: (
        Point(SESSIONS, 0, NO_CLICKS),
        *(Point(SESSIONS, n, arm) for n in N_SESSIONS for arm in (RAW, FILTERED)),
    ),
    SHARE: tuple(Point(SHARE, share, arm) for share in SHARES for arm in LOOKS_AT),
}
ALONE = frozenset(
    point.name
    for points in AXES.values()
    for point in points
    if point.arm not in (JOINT_WHOLE, JOINT_MASK)
)  # need no network that the run trains
POINTS = {point.name: point for points in AXES.values() for point in points}
