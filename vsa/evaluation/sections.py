"""Order and titles of the report's sections: one per notebook."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    title: str
    paper_section: str


SECTIONS = {
    "00_tour": Section("A photo's way through the system", "Figures 1 and 2"),
    "01_catalogue": Section("Catalogue and image selection", "3.1"),
    "02_category_fusion": Section("Category prediction", "3.1"),
    "03_click_mined_training": Section("Joint detection and features, learned from clicks", "3.2"),
    "04_binary_index": Section("Binary index and retrieval", "3.3"),
    "05_quality_rerank": Section("Quality-aware re-ranking", "3.3"),
    "06_end_to_end": Section("The whole path, end to end", "4"),
}
