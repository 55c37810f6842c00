"""Which describer an engine serves: declared beforehand, chosen on validation photos.

A pretrained network that learned nothing of the shop is the first of them, so that an engine is
never worse than the plain thing without anybody's knowing. The order is that of simplicity.
"""

from __future__ import annotations

PLAIN, PLAIN_CROP = "plain, whole photo", "plain, learned crop"
ADAPTED, ADAPTED_CROP = "adapted, whole photo", "adapted, learned crop"
MASKED, JOINT_CROP = "joint, mask", "joint, learned crop"
CANDIDATES = (PLAIN, PLAIN_CROP, ADAPTED, ADAPTED_CROP, MASKED, JOINT_CROP)
