"""What is said of several ledgers together, and which of them are left out."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from made_ledgers import WHOLE, surely

from vsa.runtime.paths import ROOT
from vsa.study.ledger.bootstrap import Interval
from vsa.study.ledger.findings import published_folders, write_findings
from vsa.study.ledger.findings.peers import told_beside_peers
from vsa.study.ledger.findings.plots import forest_plot
from vsa.study.ledger.findings.regimes import find_regimes
from vsa.study.ledger.findings.runs import read_runs
from vsa.study.ledger.findings.stages import stage_table
from vsa.study.ledger.findings.systems import simplest_systems
from vsa.study.ledger.findings.verdicts import MIXED, find_all, in_short

UNSURE = Interval(0.01, -0.02, 0.04, 100)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PICTURE = re.compile(r'src="data:[^>]*?"')  # whose bytes are those of the machine's libraries
NO_WIDTH = Interval(0.01, 0.01, 0.01, 100)


def found(folders):
    """Claim → finding."""
    return {one.claim.id: one for one in find_all(read_runs(folders)[0])}


def edited(folder, change):
    path = folder / "metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))
    change(metrics)
    path.write_text(json.dumps(metrics), encoding="utf-8")


# Sentences ---------------------------------------------------------------------------------------


def test_a_claim_that_held_wherever_it_can_be_judged(publish):
    folders = [
        publish("grocery", {"C5": {"sales": surely(0.2)}}),
        publish("synthetic", {"C5": {"sales": surely(0.1)}}),
        publish("clothing", products=False, sections=WHOLE[:2]),
    ]
    finding = found(folders)["C5"]
    assert finding.sentence == (
        "**Held** on every data set that can judge it: grocery (sales +0.200 [+0.100, +0.300]), "
        "synthetic (sales +0.100 [+0.050, +0.150]); **could not be judged** on clothing "
        "(products are not known)."
    )
    assert [cell.symbol for cell in finding.cells] == ["✓", "✓", "–"]


def test_a_claim_that_held_here_fell_there_and_is_open_elsewhere(publish):
    folders = [
        publish("grocery", {"C1": {"over model": surely(0.2), "over search": surely(0.1)}}),
        publish("synthetic", {"C1": {"over model": surely(0.2), "over search": surely(-0.1)}}),
        publish("vpr2023", {"C1": {"over model": UNSURE, "over search": surely(0.1)}}),
    ]
    finding = found(folders)["C1"]
    assert finding.sentence == (
        "**Held** on grocery (its weakest effect: over model +0.200 [+0.100, +0.300]); "
        "**did not hold** on synthetic (over search -0.100 [-0.150, -0.050]); "
        "**left open** on vpr2023 (over model +0.010 [-0.020, +0.040])."
    )
    assert finding.outcome == MIXED


def test_what_is_lacking_is_named_and_shared_reasons_once(publish):
    folders = [
        publish(
            name,
            {"C2": {"clicks": surely(0.2)}},
            lacks=["filter, own negatives", "3 training seeds"],
        )
        for name in ("grocery", "synthetic")
    ]
    findings = found(folders)
    assert findings["C2"].sentence == (
        "**Could not be judged** on grocery and synthetic "
        "(lacking: “filter, own negatives”, training with 3 seeds)."
    )
    assert findings["C3a"].sentence == (
        "**Could not be judged** on grocery and synthetic "
        "(needs true boxes of photos, to train a detector and to judge by)."
    )
    assert findings["C2"].simulated == ["The click log: made up (grocery and synthetic)."]
    assert findings["C1"].simulated == []


def test_a_verdict_that_the_adjustment_takes_back_says_so(publish):
    barely = Interval(0.02, 0.0001, 0.04, 100)
    folder = publish("grocery", {"C1": {"over model": barely}, "C5": {"sales": barely}})
    assert found([folder])["C1"].sentence == (
        "**Left open** on grocery (its intervals alone would reproduce it, not once adjusted for "
        "the 2 claims of the run)."
    )
    barely = Interval(-0.02, -0.04, -0.0001, 100)
    effects = {"over model": surely(0.2), "over search": barely}
    folder = publish("grocery", {"C1": effects, "C5": {"sales": surely(0.2)}})
    assert found([folder])["C1"].sentence == (
        "**Left open** on grocery (over search -0.020 [-0.040, -0.000] alone would refute it, not "
        "once adjusted for its 2 effects and the 2 claims of the run)."
    )


def test_effects_are_called_so_that_more_is_better(publish):
    folder = publish("grocery", {"C3a": {"time saved beyond one half": surely(-0.2)}})
    assert "(share of time saved − 0.5 -0.200 " in found([folder])["C3a"].sentence


def test_an_interval_of_no_width_is_named_and_an_old_verdict_on_it_too(publish):
    folder = publish("grocery", {"C1": {"over model": NO_WIDTH}})
    cell = found([folder])["C1"].cells[0]
    assert cell.why.endswith("which says nothing of others: over model +0.010 [+0.010, +0.010]")
    edited(folder, lambda metrics: metrics["claims"][0].update(verdict="reproduced"))
    assert found([folder])["C1"].cells[0].why.startswith("reproduced by the rule of its time")


def test_claims_are_grouped_by_what_became_of_them(publish):
    folders = [
        publish(
            "grocery",
            {"C1": {"a": surely(0.2)}, "C2": {"a": surely(0.2)}, "C4": {"b": surely(-0.2)}},
        ),
        publish(
            "synthetic",
            {"C1": {"a": UNSURE}, "C2": {"a": surely(-0.2)}, "C5": {"c": surely(0.2)}},
        ),
    ]
    short = {
        words: [finding.claim.id for finding in group]
        for words, group in in_short(list(found(folders).values()))
    }
    assert short["Held on every data set that can judge it"] == ["C5"]
    assert short["Held on some data sets, and left open on others"] == ["C1"]
    assert short["Held on some data sets, and surely did not on others"] == ["C2"]
    assert short["Surely did not hold on some data sets, and held on none"] == ["C4"]
    assert short["Settled on no data set"] == ["C2a", "C2b", "C3", "C3a", "C4a", "C6", "C7"]


# How far it carries ------------------------------------------------------------------------------

_REGIMES = "regimes"


def point(experiment, variant, value, metric="mAP"):
    reach = Interval(value, value - 0.01, value + 0.01, 100)
    return (_REGIMES, experiment, variant, metric, reach)


def test_runs_that_were_walked_along_an_axis_are_drawn_and_told(publish):
    axis = "sessions per photo"
    curve = [point(f"regime: {axis}", f"{n} | raw clicks", 0.1 + n / 100) for n in (1, 16)]
    curve.append((_REGIMES, f"regime: {axis}", "this shop", axis, 4))
    effects = [
        point(f"regime: {axis}: differences", f"{n} | raw − plain", v, "mAP difference")
        for n, v in ((1, 0.0), (16, 0.1))
    ]
    walked = publish(
        "synthetic",
        {"C1": {"a": surely(0.2)}},
        sections=(*WHOLE, _REGIMES),
        records=[*curve, *effects],
    )
    other = publish("grocery", {"C1": {"a": surely(0.2)}})
    (regime,) = find_regimes(read_runs([walked, other])[0])
    assert regime.axis == axis
    assert regime.lines == [
        "**synthetic**: raw against plain: surely ahead at 16; no sure difference at 1; "
        "the largest difference is +0.100 [+0.090, +0.110] in mAP, at 16."
    ]
    assert "dashed" in regime.figure.words.caption
    assert "not known here" in regime.figure.words.caption
    assert len(regime.figure.axes) == 1
    markdown, html = write_findings(walked.parent, [walked, other])
    for page in (markdown, html):
        assert "How far does it carry?" in page.read_text(encoding="utf-8")
    assert (walked.parent / "findings" / "regime_sessions_per_photo.png").is_file()
    assert find_regimes(read_runs([other])[0]) == []
    markdown, _ = write_findings(walked.parent, [other])
    assert "How far does it carry?" not in markdown.read_text(encoding="utf-8")
    assert not (walked.parent / "findings" / "regime_sessions_per_photo.png").exists()


# What is left out --------------------------------------------------------------------------------


def test_what_no_whole_run_stands_behind_is_left_out_by_name(publish):
    whole = publish("grocery", {"C1": {"a": surely(0.2)}})
    partial = publish("synthetic", {"C1": {"a": surely(0.2)}}, sections=WHOLE[:3])
    smoke = publish("grocery", {"C1": {"a": surely(0.2)}}, profile="smoke")
    reports = whole.parent
    old = reports / "vpr2023-laptop"
    shutil.copytree(whole, old)
    edited(old, lambda metrics: metrics["records"][0].pop("seeds"))
    broken = reports / "broken-laptop"
    broken.mkdir()
    (broken / "metrics.json").write_text("{", encoding="utf-8")
    runs, left_out = read_runs([whole, partial, smoke, old, broken])
    assert [run.name for run in runs] == ["grocery-laptop"]
    assert list(left_out) == [
        "broken-laptop",
        "grocery-smoke",
        "synthetic-laptop",
        "vpr2023-laptop",
    ]
    assert left_out["grocery-smoke"] == "it is a smoke run, whose numbers mean nothing"
    assert left_out["synthetic-laptop"] == (
        "it lacks the notebooks 04_binary_index, 05_quality_rerank, 06_end_to_end"
    )
    assert "a record lacks seeds" in left_out["vpr2023-laptop"]
    markdown = write_findings(reports, [whole, partial, old])[0].read_text(encoding="utf-8")
    told, named = markdown.split("Left out, as no whole run stands behind them:")
    assert "synthetic" not in told
    assert "- synthetic-laptop: it lacks the notebooks 04" in named


def test_two_folders_of_one_run_are_both_left_out(publish):
    first, other = publish("grocery", {"C1": {"a": surely(0.2)}}), publish("synthetic")
    copy = first.with_name("grocery-copy")
    shutil.copytree(first, copy)
    runs, left_out = read_runs([first, copy, other])
    assert [run.name for run in runs] == ["synthetic-laptop"]
    assert set(left_out) == {"grocery-laptop", "grocery-copy"}
    assert set(left_out.values()) == {"several folders hold a run of the name grocery-laptop"}


def test_a_ledger_of_old_that_names_no_run_and_counts_no_looks_is_told(publish):
    folder = publish("clothing", {"C1": {"a": surely(0.2)}}, products=False, sections=WHOLE[:2])

    def age(metrics):
        del metrics["run"]["name"]
        for section in metrics["run"]["sections"].values():
            del section["looks"]

    edited(folder, age)
    markdown, html = write_findings(folder.parent, [folder])
    for path in (markdown, html):
        text = path.read_text(encoding="utf-8")
        assert "Category prediction not counted" in text
        assert re.search(r"could have seen 0\.143", text)  # 2.8016 × 0.2 / 3.92


def test_runs_of_one_data_set_are_called_by_their_folders(publish):
    folders = [publish("grocery"), publish("grocery", profile="full"), publish("synthetic")]
    labels = [run.label for run in read_runs(folders)[0]]
    assert labels == ["grocery-laptop", "grocery-full", "synthetic"]


def test_smoke_runs_and_folders_of_somebodys_own_are_not_published(publish):
    whole = publish("grocery")
    for name in ("grocery-smoke", "grocery-smoke-1a2b", "folder-mine-laptop"):
        shutil.copytree(whole, whole.with_name(name))
    assert published_folders(whole.parent) == [whole]


# Choices of an engineer --------------------------------------------------------------------------

_END = "06_end_to_end"


def test_whether_a_stage_pays_follows_from_the_interval_of_leaving_it_out(publish):
    left_out = "what leaving it out changes"

    def records(change):
        name, metric = "no re-rank − whole path", "Identical Recall@20 difference"
        return [
            (_END, left_out, name, metric, change),
            (_END, "latency by stage, 1,000 items", "re-rank", "query latency", 2.25),
            ("05_quality_rerank", "gain over appearance only, simulated quality signals",
             "GBDT + LR", "conversion rate difference", surely(0.02)),
        ]  # fmt: skip

    folders = [
        publish("grocery", records=records(surely(0.04))),
        publish("synthetic", records=records(surely(-0.04))),
        publish("vpr2023", records=records(UNSURE)),
        publish("clothing", records=records(Interval(0.0, 0.0, 0.0, 9))),
    ]
    runs = read_runs(folders)[0]
    (row,) = [row for row in stage_table(runs) if row["title"] == "Quality re-ranking"]
    assert row["verdict"] == (
        "conversion rate: pays on grocery, synthetic, vpr2023, clothing. "
        "Identical Recall@20: pays on synthetic; loses on grocery; no sure difference on vpr2023; "
        "changes no answer on clothing."
    )
    assert row["gains"]["Identical Recall@20"][0] == ("grocery", "-0.040 [-0.060, -0.020]")
    assert row["gains"]["Identical Recall@20"][3] == ("clothing", "+0.000 [+0.000, +0.000]")
    assert row["costs"][0] == ("grocery", "2.2 ms")


def test_the_index_is_told_at_its_largest_size(publish):
    def size(n, ms):
        experiment, vsa = f"{n:,} items", "vsa (n_probe 4)"
        yield "04_binary_index", experiment, vsa, "query latency", ms
        yield "04_binary_index", experiment, vsa, "float Recall@60", 0.995
        yield "04_binary_index", experiment, vsa, "bytes in memory", 40.0
        yield "04_binary_index", experiment, vsa, "share of time saved", surely(0.5)
        coarse = "vsa, coarse filter alone (n_probe 2)"
        yield "04_binary_index", experiment, coarse, "query latency", 0.01

    folder = publish("grocery", records=[*size(1000, 0.1), *size(1_000_000, 0.3)])
    rows = stage_table(read_runs([folder])[0])
    assert [row["title"] for row in rows] == ["Binary index"]
    assert rows[0]["verdict"] == "share of time saved: pays on grocery."
    assert rows[0]["costs"] == [
        (
            "grocery",
            "among 1,000,000 items: index 0.30 ms at float Recall@60 0.995, 40 MB of memory",
        )
    ]


def test_the_index_is_told_beside_the_fastest_peer_that_finds_as_much(publish):
    def method(name, ms, recall, n_bytes, experiment="1,000,000 items", times=None):
        name = f"{name} (n 4)"
        if times is not None:
            yield "04_binary_index", experiment, name, "time over the index's", times
        yield "04_binary_index", experiment, name, "query latency", ms
        yield "04_binary_index", experiment, name, "bytes in memory", n_bytes
        if recall is not None:
            yield "04_binary_index", experiment, name, "float Recall@60", recall

    def run(name, ms, times):
        others = [
            *method("faiss A", 1.5, 0.995, 1000.0, times=times),
            *method("faiss B", 0.1, 0.98, 10.0, times=0.1),  # finds too little
            *method("faiss BinaryIVF", 0.1, None, 40.0, times=0.1),  # ranks by codes alone
            *method("faiss C", 1.4, 0.999, 30.0, times=times + 0.1),  # the machine was faster then
            *method("faiss D", 0.1, 0.999, 30.0),  # was not asked in turns
        ]
        return publish(name, records=[*method("vsa", ms, 0.998, 36.0), *others])

    runs = read_runs([run("grocery", 1.0, 1.6), run("vpr2023", 1.0, 0.5)])[0]
    found = "1.50 ms at float Recall@60 0.995, 1,000 MB of memory"
    assert told_beside_peers(runs) == [
        "grocery, 1,000,000 items: 1.00 ms at float Recall@60 0.998, 36 MB of memory; "
        f"faiss A, 1.60 × the time: {found}",
        "vpr2023, 1,000,000 items: 1.00 ms at float Recall@60 0.998, 36 MB of memory; "
        f"faiss A, 0.50 × the time: {found}",
        "Slower than that peer: vpr2023, 1,000,000 items. More memory: nowhere. Times are compared "
        "in turns, in the same seconds. Its features stay on the disk, and its changes are there "
        "before they are acknowledged, which no peer's are.",
    ]
    few = [
        *method("vsa", 1.0, 0.998, 36.0, "2,000 items"),
        *method("a graph", 0.5, 0.99, 30.0, "2,000 items", times=0.5),
    ]
    lines = told_beside_peers(read_runs([publish("synthetic", records=few)])[0])
    assert "Slower than that peer: synthetic, 2,000 items. More memory: synthetic, 2" in lines[1]
    assert told_beside_peers(read_runs([publish("clothing")])[0]) == []


def test_the_simplest_near_the_best_and_who_has_not_compared(publish):
    lineage, simplest = "07_lineage", "the simplest within 0.02"
    records = [
        (lineage, simplest, "joint", "mAP", 0.4),
        (lineage, simplest, "off the shelf", "mAP", 0.39),
        (lineage, simplest, "off the shelf − joint", "mAP difference",
         Interval(-0.01, -0.015, -0.005, 9)),
        (lineage, "methods", "off the shelf", "latency", 12.0),
    ]  # fmt: skip
    folders = [
        publish("grocery", sections=(*WHOLE, lineage), records=records),
        publish("vpr2023", sections=(*WHOLE, lineage), records=records[:1]),
        publish("synthetic"),
    ]
    two, one, none = simplest_systems(read_runs(folders)[0])
    assert two == (
        "**grocery**: the simplest within 0.02 of the best on validation photos is "
        "**off the shelf** (mAP 0.390 on test photos, 12.0 ms); the best is joint "
        "(0.400). On test photos that held: -0.010 [-0.015, -0.005]."
    )
    assert one.startswith("**vpr2023**: the best on validation photos is **joint**, and nothing")
    assert none == "No comparison of the lineage (notebook 07) is published for synthetic."


# Pages and figures -------------------------------------------------------------------------------


def test_both_pages_are_made_of_the_ledgers_alone_and_again_the_same(publish):
    effects = {"over model": surely(0.2), "a | b <i>": UNSURE}
    folders = [publish("grocery", {"C1": effects}), publish("synthetic", {"C1": effects})]
    reports = folders[0].parent
    (reports / "findings").mkdir()
    (reports / "findings" / "forest_C7.png").write_bytes(b"of yesterday")
    pages = write_findings(reports, folders)
    before = [path.read_bytes() for path in pages]
    assert [path.name for path in (reports / "findings").iterdir()] == ["forest_C1.png"]
    markdown, html = (text.decode() for text in before)
    assert "(findings/forest_C1.png)" in markdown
    assert "<i>" not in html
    assert "<i>" not in markdown
    assert not re.search(r'src="(?!data:image/webp;base64,)', html)
    assert re.findall(r'href="#([^"]+)"', html)
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(re.findall(r'id="([^"]+)"', html))
    for table in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    write_findings(reports, folders)
    assert [path.read_bytes() for path in pages] == before


def test_sections_of_several_commits_are_not_told_as_one(publish):
    folder = publish("grocery", {"C1": {"a": surely(0.2)}})

    def made_by(*commits):
        def change(metrics):
            sections = metrics["run"]["sections"].values()
            for place, section in enumerate(sections):
                section["commit"] = commits[place % len(commits)]
            metrics["run"]["commit"] = commits[-1]

        edited(folder, change)
        return write_findings(folder.parent, [folder])[0].read_text(encoding="utf-8")

    assert ", commit 0123456789ab |" in made_by("0123456789abcdef")
    assert ", 2 commits |" in made_by("0123456789abcdef", "fedcba9876543210")


def test_a_forest_has_a_panel_per_effect_and_a_shape_per_answer(publish):
    folders = [
        publish("grocery", {"C1": {"over model, 10 items": surely(0.2), "b": UNSURE}}),
        publish("synthetic", {"C1": {"over model, 2,000 items": surely(-0.2), "b": NO_WIDTH}}),
    ]
    findings = found(folders)
    figure = forest_plot(findings["C1"])
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["over model", "b"]
    markers = [
        [line.get_marker() for line in axis.lines if line.get_marker() != "None"]
        for axis in figure.axes
    ]
    assert markers == [["o", "s"], ["D", "D"]]
    assert "grocery +0.200 [+0.100, +0.300], could have seen 0.143" in figure.words.alt_text
    assert "synthetic +0.010 [+0.010, +0.010], could have seen –" in figure.words.alt_text
    assert forest_plot(findings["C7"]) is None


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
def test_the_page_is_no_wider_than_a_phone(publish):
    from playwright.sync_api import sync_playwright

    long = "a_name_without_any_blank_in_it_" * 4
    folder = publish("grocery", {"C1": {long: surely(0.2)}, "C4": {"a": UNSURE}})
    html = write_findings(folder.parent, [folder])[1]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        for width in (390, 1280):
            tab = browser.new_page(viewport={"width": width, "height": 800})
            tab.goto(html.as_uri())
            assert tab.evaluate("document.documentElement.scrollWidth") == width
        browser.close()


def test_the_published_findings_are_what_the_ledgers_give(tmp_path, as_published):
    reports = ROOT / "reports"
    write_findings(tmp_path, published_folders(reports))
    for name in ("FINDINGS.md", "FINDINGS.html"):
        made, kept = ((place / name).read_text("utf-8") for place in (tmp_path, reports))
        assert PICTURE.sub("", made) == PICTURE.sub("", kept)
