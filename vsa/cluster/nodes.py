"""The nodes of the Ray that this process is connected to."""

from __future__ import annotations

from vsa.cluster.connect import load_ray
from vsa.cluster.placing import Node


def alive_nodes() -> list[Node]:
    """Those that are alive, the head first."""
    found = [node for node in load_ray().nodes() if node["Alive"]]
    found.sort(key=lambda node: "node:__internal_head__" not in node["Resources"])
    return [Node(node["NodeID"], node["Resources"].get("memory", 0.0)) for node in found]
