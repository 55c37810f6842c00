"""Carry a study to another machine: what is finished, and what unfinished jobs go on from.

An archive is a plain tar: ``manifest.json`` (run, torch and device, jobs with key and settings, and
of each file its size and SHA-256), then the files. Nothing is written before all of it was checked,
and nothing of it says where on the disk it goes: that follows from the job.

As with published jobs, another version of torch or another device is said, and no reason to refuse;
other methods, settings or data are.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from vsa.runtime.atomic import atomic_file, replace_dir
from vsa.runtime.checked import write_manifest
from vsa.runtime.errors import InputError
from vsa.study.embedding.experiment import start_of
from vsa.study.embedding.jobs import HALF, HALVED, change_card, read_card, read_found, read_weights
from vsa.study.embedding.published import (
    about,
    environment_of,
    is_wanted,
    path_of,
    read_published,
    write_tables,
)
from vsa.study.embedding.slices import FINISHED, LEFT_OUT, StudyJob

_FORMAT, _MANIFEST = 1, "manifest.json"
_MB = 10**6
_FACTS = {  # of each part in the manifest
    **dict.fromkeys(("kind", "variant", "key"), str),
    **dict.fromkeys(("files", "settings", "data"), dict),
    "seed": int,
    "half": bool,
}
_WHOLE = {"run": str, "versions": dict, "device": str, "parts": list}  # of the manifest itself
_OF_FILE = {"bytes": int, "sha256": str}
RESULT, WEIGHTS, CHECKPOINT = "result", "weights", "checkpoint"
_FILES = {  # the files that each kind of part may have
    RESULT: re.compile(r"result\.npz"),
    WEIGHTS: re.compile(r"answers\.npz|log\.parquet|card\.json|net\.pth"),
    CHECKPOINT: re.compile(r"(stage-\d+-)?checkpoint\.pth|halved|stage-\d+\.(pth|parquet)"),
}


_NEEDED = {
    RESULT: {"result.npz"},
    WEIGHTS: {"answers.npz", "log.parquet", "card.json", "net.pth"},
    CHECKPOINT: set(),
}


@dataclass
class Packed:
    """What went into an archive, and what did not fit."""

    n_bytes: int = 0
    parts: list[str] = field(default_factory=list)  # "weights of NAME, seed 0"
    half: list[str] = field(default_factory=list)  # weights of half precision
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Part:
    kind: str
    job: StudyJob
    files: dict[str, bytes | Path]
    is_half: bool = False

    @property
    def title(self) -> str:
        return f"{self.kind} of {self.job.name}, seed {self.job.lab.seed}"

    @property
    def n_bytes(self) -> int:
        """In the archive: each file with its header, in blocks of 512."""
        return sum(512 + -(-_size(file) // 512) * 512 for file in self.files.values())


def check_target(target: Path) -> None:
    """Raise InputError where an archive cannot be written because a folder stands there."""
    if target.is_dir():
        raise InputError(
            "this is a folder, and an archive is a file", cure="Name a file in it", file=target
        )


def export_jobs(jobs: Sequence[StudyJob], run_name: str, target: Path, max_mb: float) -> Packed:
    """Write an archive of at most `max_mb` million bytes.

    It holds the published part of each finished job; of the unfinished ones the weights that they
    start from, and their checkpoints. Where weights do not fit they are halved in precision, which
    the archive says, as do the jobs that start from them: their numbers then differ a little from
    those of a study that ran through. What still does not fit is left out, and has to be made
    again.

    Raises InputError if there is nothing to pack, if the results alone do not fit, or if a folder
    stands where the archive is to be.
    """
    check_target(target)
    results = [_result(job) for job in jobs if job.is_published]
    begun = [job for job in jobs if job.state not in (*FINISHED, LEFT_OUT)]
    weights = [_weights(job) for job in _starts(begun)]
    checkpoints = [_checkpoint(job) for job in begun if any(job.lab.draft(job.name).glob("*.p*"))]
    if not results and not weights and not checkpoints:
        raise InputError("no job is begun yet", cure="Run a slice first: vsa study --minutes 8")
    room = max_mb * _MB - 20_480 - sum(4096 + part.n_bytes for part in results)
    if room < 0:
        raise InputError(
            f"the results of {len(results)} jobs are larger than {max_mb:g} MB",
            cure="Allow more with --max-mb, or pick jobs with --jobs",
        )
    packed, chosen = Packed(), list(results)
    for part in [*weights, *checkpoints]:
        if part.n_bytes + 4096 > room and part.kind == WEIGHTS:
            part = _halved(part)
        if part.n_bytes + 4096 > room:
            packed.left_out.append(part.title)
            continue
        room -= part.n_bytes + 4096
        chosen.append(part)
        packed.half += [part.title] if part.is_half else []
    packed.parts = [part.title for part in chosen]
    with atomic_file(target) as draft:
        _write(draft, chosen, run_name)
    packed.n_bytes = target.stat().st_size
    return packed


def _result(job: StudyJob) -> _Part:
    assert job.lab.published is not None
    return _Part(RESULT, job, {"result.npz": path_of(job.lab.published, job.name, job.lab.seed)})


def _weights(job: StudyJob) -> _Part:
    folder = job.lab.path(job.name)
    names = ("answers.npz", "log.parquet", "card.json", "net.pth")
    return _Part(WEIGHTS, job, {name: folder / name for name in names})


def _checkpoint(job: StudyJob) -> _Part:
    files = sorted(job.lab.draft(job.name).iterdir())
    return _Part(
        CHECKPOINT, job, {f.name: f for f in files if _FILES[CHECKPOINT].fullmatch(f.name)}
    )


def _halved(part: _Part) -> _Part:
    state = torch.load(part.files["net.pth"], weights_only=True, map_location="cpu")
    buffer = io.BytesIO()
    torch.save({k: v.half() if v.is_floating_point() else v for k, v in state.items()}, buffer)
    return _Part(WEIGHTS, part.job, part.files | {"net.pth": buffer.getvalue()}, is_half=True)


def _starts(begun: Sequence[StudyJob]) -> list[StudyJob]:
    """Finished jobs whose weights unfinished ones start from, those that most need first."""
    needed: dict[tuple[int, str], StudyJob] = {}
    counts: dict[tuple[int, str], int] = {}
    for job in begun:
        start = start_of(job.name)
        if start and job.lab.is_done(start):
            key = (job.lab.seed, start)
            needed[key] = StudyJob(job.lab, start)
            counts[key] = counts.get(key, 0) + 1
    return [needed[key] for key in sorted(needed, key=lambda key: -counts[key])]


def _write(draft: Path, parts: Sequence[_Part], run_name: str) -> None:
    told = []
    for part in parts:
        files = {
            name: {"bytes": _size(file), "sha256": _sha256(file)}
            for name, file in part.files.items()
        }
        facts = about(part.job.lab, part.job.name)
        kept = {key: facts[key] for key in ("variant", "seed", "key", "settings", "data")}
        told.append({"kind": part.kind, "half": part.is_half, "files": files, **kept})
    manifest = {
        "format": _FORMAT,
        "run": run_name,
        "parts": told,
        **environment_of(parts[0].job.lab.device),
    }
    with tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, _MANIFEST, json.dumps(manifest, ensure_ascii=False).encode())
        for number, part in enumerate(parts):
            for name, file in part.files.items():
                _add(archive, f"{number}/{name}", file)


def _add(archive: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = _size(content)
    if isinstance(content, bytes):
        archive.addfile(entry, io.BytesIO(content))
        return
    with content.open("rb") as stream:
        archive.addfile(entry, stream)


def _size(content: bytes | Path) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _sha256(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# Import ------------------------------------------------------------------------------------------


def import_jobs(jobs: Sequence[StudyJob], run_name: str, file: Path) -> list[str]:
    """Take over what an archive holds and is not here; returns what was taken, one text each.

    What was begun here and is further than in the archive stays as it is.

    Raises
    ------
    InputError, before anything is written, for an archive that is truncated, damaged or none of
    ours, of another run, or with jobs of other methods, data or settings.
    """
    manifest = read_manifest(file, run_name)
    known = {(job.name, job.lab.seed): job for job in jobs}
    if not manifest["parts"]:
        return []
    for part in manifest["parts"]:
        _check_job(known.get((part["variant"], part["seed"])), part, file)
    folder = jobs[0].lab.folder
    folder.mkdir(parents=True, exist_ok=True)
    taken = []
    with _extracted(manifest, known, file, folder) as places:
        for part, place in zip(manifest["parts"], places, strict=True):
            job = known[part["variant"], part["seed"]]
            if _take(job, part, place):
                taken.append(f"{part['kind']} of {job.name}, seed {job.lab.seed}")
    return taken


def read_manifest(file: Path, run_name: str) -> dict[str, Any]:
    """What an archive says of itself, once every byte of it has been checked."""
    try:
        with tarfile.open(file, "r:") as archive:
            manifest = _manifest_of(archive)
            _check_members(archive, manifest)
    except FileNotFoundError:
        raise InputError("there is no such archive", cure="Correct the path", file=file) from None
    except (tarfile.TarError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"this archive is truncated, damaged, or not one of `vsa study --export` ({error})",
            cure="Export it again, or copy it again",
            file=file,
        ) from None
    if manifest["run"] != run_name:
        raise InputError(
            f"this archive is of the run {manifest['run']}, not of {run_name}",
            cure="Name its data set and profile",
            file=file,
        )
    return manifest


def _manifest_of(archive: tarfile.TarFile) -> dict[str, Any]:
    first = archive.next()
    if first is None or first.name != _MANIFEST or not first.isreg() or first.size > 50 * _MB:
        raise ValueError("it does not begin with its manifest")
    manifest = json.loads(_content(archive, first))
    if manifest["format"] != _FORMAT:
        raise ValueError(f"of format {manifest['format']}, not {_FORMAT}")
    _check_form(manifest)
    return manifest


def _check_form(manifest: dict[str, Any]) -> None:
    """Raise ValueError, KeyError or TypeError for a manifest that is not one of ours."""
    parts = manifest["parts"]
    if {name: type(manifest[name]) for name in _WHOLE} != _WHOLE:
        raise ValueError("its manifest is of another form")
    for part in parts:
        if {name: type(part[name]) for name in _FACTS} != _FACTS:
            raise ValueError("its manifest is of another form")
        for name, facts in part["files"].items():
            if not _FILES[part["kind"]].fullmatch(name):
                raise ValueError(f"an unexpected file {name!r}")
            if {fact: type(facts[fact]) for fact in _OF_FILE} != _OF_FILE:
                raise ValueError("its manifest is of another form")
        if missing := _NEEDED[part["kind"]] - set(part["files"]):
            raise ValueError(f"{sorted(missing)[0]} of {part['variant']} is missing")
    if len({(part["kind"], part["variant"], part["seed"]) for part in parts}) < len(parts):
        raise ValueError("it holds a job twice")


def _check_members(archive: tarfile.TarFile, manifest: dict[str, Any]) -> None:
    wanted = {
        f"{number}/{name}": facts
        for number, part in enumerate(manifest["parts"])
        for name, facts in part["files"].items()
    }
    for entry in archive:
        if entry.name == _MANIFEST and entry.offset == 0:
            continue
        facts = wanted.pop(entry.name, None)
        if facts is None or not entry.isreg():
            raise ValueError(f"an unexpected entry {entry.name!r}")
        if entry.size != facts["bytes"] or _digest(archive, entry) != facts["sha256"]:
            raise ValueError(f"{entry.name} is damaged")
    if wanted:
        raise ValueError(f"{next(iter(wanted))} is missing")


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(entry)
    if stream is None:
        raise ValueError(f"{entry.name} is no file")
    return stream.read()


def _digest(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> str:
    stream = archive.extractfile(entry)
    if stream is None:
        raise ValueError(f"{entry.name} is no file")
    digest = hashlib.sha256()
    while chunk := stream.read(2**20):
        digest.update(chunk)
    return digest.hexdigest()


def _check_job(job: StudyJob | None, part: dict[str, Any], file: Path) -> None:
    title = f"{part['variant']}, seed {part['seed']}"
    if job is None:
        raise InputError(
            f"this archive holds a job that is not of this study: {title}",
            cure="Check out the commit it was made with",
            file=file,
        )
    if part["key"] == job.lab.identity(job.name):
        return
    here = json.loads(json.dumps(about(job.lab, job.name)))
    data = [name for name, sum_ in here["data"].items() if part["data"].get(name) != sum_]
    settings = [k for k, v in here["settings"].items() if part["settings"].get(k) != v]
    why = f"of other data ({', '.join(data)})" if data else "of other code or starting weights"
    if settings and not data:
        why = f"of other settings ({', '.join(settings)})"
    raise InputError(
        f"this archive holds a job {why}: {title}",
        cure="Check out the same commit, with the same data and settings, on both machines",
        file=file,
    )


@contextmanager
def _extracted(
    manifest: dict[str, Any], known: Mapping[tuple[str, int], StudyJob], file: Path, folder: Path
) -> Iterator[list[Path]]:
    """A folder per part, beside the jobs; what was read is checked once more, and can be used."""
    place = Path(tempfile.mkdtemp(prefix=".import-", dir=folder))
    try:
        places = [place / str(number) for number in range(len(manifest["parts"]))]
        with tarfile.open(file, "r:") as archive:
            for number, (part, target) in enumerate(zip(manifest["parts"], places, strict=True)):
                target.mkdir()
                for name, facts in part["files"].items():
                    content = _content(archive, archive.getmember(f"{number}/{name}"))
                    if hashlib.sha256(content).hexdigest() != facts["sha256"]:
                        raise InputError("this archive is changing", cure="Try again", file=file)
                    (target / name).write_bytes(content)
                if part["kind"] == RESULT:
                    _check_result(target / "result.npz", part, file)
                else:
                    _check_usable(known[part["variant"], part["seed"]], part, target, file)
        yield places
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _check_result(result: Path, part: dict[str, Any], file: Path) -> None:
    found = read_published(result)
    told = (found.job.variant, found.job.seed, found.key)
    if told != (part["variant"], part["seed"], part["key"]):
        raise InputError(
            f"a result in this archive is of another job than it says ({told[0]})",
            cure="Export it again",
            file=file,
        )


def _check_usable(job: StudyJob, part: dict[str, Any], place: Path, file: Path) -> None:
    """Read weights, answers or checkpoints as the study will; raises InputError where it cannot."""
    try:
        if part["kind"] == WEIGHTS:
            job.lab.new_net().load_state_dict(read_weights(place))
            read_found(place)
            read_card(place)
            pd.read_parquet(place / "log.parquet")
            return
        for weights in place.glob("stage-*.pth"):
            if weights.name.endswith("checkpoint.pth"):
                continue
            pd.read_parquet(weights.with_suffix(".parquet"))
            state = torch.load(weights, weights_only=True, map_location="cpu")
            job.lab.new_net().load_state_dict(state)
        _n_steps(place)
    except Exception as error:  # what is read may be anything, and may fail in any way
        raise InputError(
            f"{part['kind']} of {job.name}, seed {job.lab.seed}, in this archive cannot be used "
            f"({type(error).__name__})",
            cure="Export it again",
            file=file,
        ) from error


def _take(job: StudyJob, part: dict[str, Any], place: Path) -> bool:
    """Put a part where it belongs, whole; False if what is here already is as good.

    What halved weights have made gives way to what whole ones have, and never the reverse.
    """
    if part["kind"] == RESULT:
        return _take_result(job, place)
    lab, name = job.lab, job.name
    if part["kind"] == WEIGHTS:
        if part["half"]:
            _widen(place)
        if lab.is_done(name) and not _is_half_only_here(lab.path(name), place):
            return False
        write_manifest(place)
        replace_dir(place, lab.path(name))
        return True
    here = lab.draft(name)
    if lab.is_done(name) or _progress(place) <= _progress(here):
        return False
    replace_dir(place, here)
    return True


def _is_half_only_here(here: Path, place: Path) -> bool:
    return HALF in read_card(here) and HALF not in read_card(place)


def _take_result(job: StudyJob, place: Path) -> bool:
    lab, name = job.lab, job.name
    found = read_published(place / "result.npz")
    if lab.published is None or not is_wanted(lab, name, is_half=HALF in found.job.card):
        return False
    write_tables(lab.published, lab.task)
    with atomic_file(path_of(lab.published, name, lab.seed)) as draft:
        shutil.copyfile(place / "result.npz", draft)
    return True


def _widen(place: Path) -> None:
    """Weights of half precision as those of single precision, and a card that says so."""
    whole = {
        k: v.float() if v.dtype == torch.float16 else v for k, v in read_weights(place).items()
    }
    torch.save(whole, place / "net.pth")
    change_card(place, {HALF: True})


def _progress(draft: Path) -> tuple[bool, int]:
    """How good what is begun is: not of halved weights first, then far; none is least."""
    n_steps = _n_steps(draft)
    return n_steps >= 0 and not (draft / HALVED).is_file(), n_steps


def _n_steps(draft: Path) -> int:
    """Steps that a begun job has behind it, those of its checkpoint too; −1 if it is not begun."""
    if not draft.is_dir() or not os.listdir(draft):
        return -1
    n_steps = sum(len(pd.read_parquet(log)) for log in draft.glob("stage-*.parquet"))
    for checkpoint in draft.glob("*checkpoint.pth"):
        state = torch.load(checkpoint, weights_only=True, map_location="cpu")
        n_steps += len(state["log"])
    return n_steps
